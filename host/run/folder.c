#include "run/folder.h"

#include "backend/cuda.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "io/file.h"
#include "run/version.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

dmq_status dmq_folder_file(char **out, const dmq_folder *f, const char *name)
{
    return dmq_path_join(out, f->path, name);
}

/* ------------------------------------------------------------------ one process at a time */

static int lock_as(const dmq_folder *f, short type)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET };

    return fcntl(f->lock, F_SETLK, &lock) == 0;
}

static dmq_status take_lock(dmq_folder *f, int shared)
{
    dmq_status st = DMQ_OK;
    char *path = NULL;

    DMQ_TRY(dmq_folder_file(&path, f, "LOCK"));
    f->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (f->lock < 0) {
        st = dmq_file_failed(path, true, errno);
        goto done;
    }
    f->alone = !shared;
    if (!lock_as(f, shared ? F_RDLCK : F_WRLCK)) {
        struct flock held = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        int known = fcntl(f->lock, F_GETLK, &held) == 0 && held.l_type != F_UNLCK;

        st = dmq_fail(DMQ_EEXIST, "%s: another dmq works in this folder (process %ld)", f->path,
                      known ? (long)held.l_pid : 0L);
        st = dmq_fail_note(st, "  hint: wait for it, stop it, or choose another folder with -o");
    }
done:
    dmq_free(path);
    return st;
}

long dmq_folder_worker(const char *folder)
{
    struct flock held = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    char *path = NULL;
    long pid = 0;
    int fd = -1;

    if (dmq_path_join(&path, folder, "LOCK") == DMQ_OK)
        fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && fcntl(fd, F_GETLK, &held) == 0 && held.l_type != F_UNLCK)
        pid = (long)held.l_pid;
    if (fd >= 0)
        (void)close(fd);
    dmq_free(path);
    return pid;
}

int dmq_folder_claim(dmq_folder *f)
{
    if (!f->alone && f->lock >= 0)
        f->alone = lock_as(f, F_WRLCK);
    return f->alone;
}

/* ------------------------------------------------------------------ manifest */

static dmq_status save(dmq_folder *f)
{
    struct rusage usage;
    dmq_status st = DMQ_OK;
    char *path = NULL, now[DMQ_CLOCK_TEXT];

    dmq_clock_iso(now);
    (void)getrusage(RUSAGE_SELF, &usage);
    DMQ_TRY(dmq_folder_file(&path, f, "run.json"));
    DMQ_TRY(dmq_json_set_text(f->manifest, "written", now));
    DMQ_TRY(
        dmq_json_set_real(f->manifest, "wall_seconds_last_start", dmq_clock_seconds() - f->opened));
    DMQ_TRY(dmq_json_set_real(f->manifest, "cpu_seconds_last_start", dmq_clock_cpu_seconds()));
    DMQ_TRY(dmq_json_set_int(f->manifest, "peak_memory_bytes", usage.ru_maxrss * 1024L));
    DMQ_TRY(dmq_json_save(path, f->manifest));
done:
    dmq_free(path);
    return st;
}

static dmq_status write_config(dmq_folder *f, const dmq_config *c)
{
    char *text = NULL, *path = NULL, hash[DMQ_HASH_TEXT];
    dmq_json *origins = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_config_dump(&text, c));
    DMQ_TRY(dmq_folder_file(&path, f, "config.yaml"));
    DMQ_TRY(dmq_file_write_text(path, text));
    DMQ_TRY(dmq_hash_memory(hash, text, strlen(text)));
    DMQ_TRY(dmq_json_set_text(f->manifest, "config_sha256", hash));
    DMQ_TRY(dmq_json_object(&origins));
    for (int i = 0; i < dmq_config_count(c); i++) {
        const char *key = dmq_config_key_at(c, i)->name;
        const dmq_origin *o = dmq_config_origin(c, key);
        char where[512];

        if (o->kind == DMQ_ORIGIN_FILE) {
            (void)snprintf(where, sizeof where, "%s:%d", o->place, o->line);
        } else {
            (void)snprintf(where, sizeof where, "%s",
                           o->kind == DMQ_ORIGIN_DEFAULT ? "default" : o->place);
        }
        DMQ_TRY(dmq_json_set_text(origins, key, where));
    }
    dmq_free(path);
    path = NULL;
    DMQ_TRY(dmq_folder_file(&path, f, "config.origin.json"));
    DMQ_TRY(dmq_json_save(path, origins));
done:
    dmq_json_destroy(origins);
    dmq_free(path);
    dmq_free(text);
    return st;
}

static dmq_status new_manifest(dmq_json **out)
{
    dmq_status st = DMQ_OK;
    char now[DMQ_CLOCK_TEXT];

    dmq_clock_iso(now);
    DMQ_TRY(dmq_json_object(out));
    DMQ_TRY(dmq_json_set_text(*out, "format", "dmq-run"));
    DMQ_TRY(dmq_json_set_int(*out, "format_version", 1));
    DMQ_TRY(dmq_json_set_text(*out, "created", now));
    DMQ_TRY(dmq_json_set_int(*out, "starts", 0));
done:
    return st;
}

/* The manifest of an earlier start, or a new one. */
static dmq_status read_manifest(dmq_folder *f, const dmq_folder_options *o)
{
    dmq_status st = DMQ_OK;
    char *path = NULL;

    DMQ_TRY(dmq_folder_file(&path, f, "run.json"));
    if (f->lock >= 0) /* a start that finds all done writes nothing, and would leave them */
        DMQ_TRY(dmq_file_clean(path));
    if (dmq_file_exists(path)) {
        st = dmq_json_load(&f->manifest, path);
        if (st != DMQ_OK) {
            st = dmq_fail_note(st,
                               "  hint: put a copy of it back, or choose another folder with -o");
            goto done;
        }
        if (strcmp(dmq_json_text(dmq_json_get(f->manifest, "format"), ""), "dmq-run") != 0) {
            st = dmq_fail(DMQ_EEXIST, "%s is not a manifest of dmq", path);
            st = dmq_fail_note(st, "  hint: choose another folder with -o");
            goto done;
        }
        if (f->afresh) {
            dmq_json_unset(f->manifest, "stages");
            dmq_json_unset(f->manifest, "stopped");
        }
    } else if (o->resume == DMQ_RESUME_REQUIRED) {
        st = dmq_fail(DMQ_ENOINPUT, "%s holds no run to go on with", f->path);
        st = dmq_fail_note(st, "  hint: --resume auto starts one");
        goto done;
    } else {
        DMQ_TRY(new_manifest(&f->manifest));
    }
    if (!dmq_json_get(f->manifest, "stages"))
        DMQ_TRY(dmq_json_set_object(NULL, f->manifest, "stages"));
done:
    dmq_free(path);
    return st;
}

static dmq_status describe(dmq_folder *f, const dmq_experiment *e)
{
    const dmq_config *c = e->config;
    const char *name = dmq_config_text(c, "name");
    dmq_status st = DMQ_OK;
    dmq_json *model;

    DMQ_TRY(dmq_json_set_text(f->manifest, "name", name));
    DMQ_TRY(dmq_json_set_text(f->manifest, "label", f->label ? f->label : name));
    if (f->label)
        DMQ_TRY(dmq_json_set_int(f->manifest, "task", f->task));
    DMQ_TRY(dmq_json_set_text(f->manifest, "dmq", dmq_version()));
    DMQ_TRY(dmq_json_set_text(f->manifest, "device", e->backend->name));
    DMQ_TRY(dmq_json_set_int(f->manifest, "threads", dmq_lanes_count(e->lanes)));
    DMQ_TRY(dmq_json_set_int(f->manifest, "seed", dmq_config_int64(c, "seed")));
    DMQ_TRY(dmq_json_set_int(f->manifest, "starts",
                             dmq_json_int(dmq_json_get(f->manifest, "starts"), 0) + 1));
    DMQ_TRY(dmq_json_set_object(&model, f->manifest, "model"));
    DMQ_TRY(dmq_json_set_text(model, "path", e->model_path));
    DMQ_TRY(dmq_json_set_text(model, "sha256", e->model_hash));
    DMQ_TRY(dmq_json_set_int(model, "parameters", (int64_t)dmq_model_count(e->model)));
    if (e->first.model) {
        DMQ_TRY(dmq_json_set_object(&model, f->manifest, "first_stage"));
        DMQ_TRY(dmq_json_set_text(model, "path", e->first.path));
        DMQ_TRY(dmq_json_set_text(model, "sha256", e->first.hash));
        DMQ_TRY(dmq_json_set_real(model, "scale_factor", e->first.scale_factor));
    }
done:
    return st;
}

/* ------------------------------------------------------------------ a start */

/* Units and images that an earlier start left: --resume never makes them again too. */
static dmq_status clear_checkpoints(const dmq_folder *f)
{
    dmq_status st = DMQ_OK;
    char *folder = NULL, *path = NULL;
    struct dirent *entry;
    DIR *dir = NULL;

    DMQ_TRY(dmq_folder_file(&folder, f, "ckpt"));
    dir = opendir(folder);
    while (dir && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        dmq_free(path);
        path = NULL;
        DMQ_TRY(dmq_path_join(&path, folder, entry->d_name));
        DMQ_TRY(dmq_file_remove(path));
    }
done:
    if (dir)
        (void)closedir(dir);
    dmq_free(folder);
    dmq_free(path);
    return st;
}

static dmq_status make_folders(const dmq_folder *f)
{
    dmq_status st = DMQ_OK;
    char *ckpt = NULL;

    DMQ_TRY(dmq_folder_file(&ckpt, f, "ckpt"));
    DMQ_TRY(dmq_folder_create(ckpt));
    if (f->store)
        DMQ_TRY(dmq_folder_create(f->store));
done:
    dmq_free(ckpt);
    return st == DMQ_OK ? st : dmq_fail_note(st, "  hint: choose another folder with -o");
}

dmq_status dmq_folder_open(dmq_folder **out, const dmq_folder_options *o)
{
    dmq_status st = DMQ_OK;
    dmq_folder *f = NULL;

    DMQ_TRY(dmq_alloc((void **)&f, 1, sizeof *f));
    f->lock = -1;
    f->overwrite = o->overwrite;
    f->afresh = o->resume == DMQ_RESUME_AFRESH;
    f->task = o->task;
    f->opened = dmq_clock_seconds();
    DMQ_TRY(dmq_strdup(&f->path, o->path));
    DMQ_TRY(dmq_strdup(&f->store, o->store));
    DMQ_TRY(dmq_strdup(&f->label, o->label));
    if (!o->dry_run && (o->resume != DMQ_RESUME_REQUIRED || dmq_folder_exists(o->path))) {
        DMQ_TRY(make_folders(f));
        DMQ_TRY(take_lock(f, o->shared));
    }
    DMQ_TRY(read_manifest(f, o));
    *out = f;
    f = NULL;
done:
    dmq_folder_close(f);
    return st;
}

dmq_status dmq_folder_begin(dmq_folder *f, const dmq_experiment *e)
{
    dmq_status st = DMQ_OK;
    char *log = NULL;

    if (f->begun)
        return st;
    if (f->afresh)
        DMQ_TRY(clear_checkpoints(f));
    DMQ_TRY(describe(f, e));
    DMQ_TRY(save(f));
    DMQ_TRY(write_config(f, e->config));
    DMQ_TRY(dmq_folder_file(&log, f, "log.txt"));
    DMQ_TRY(dmq_log_copy(log));
    if (dmq_backend_auto_reason()[0])
        dmq_log_info("device: %s", dmq_backend_auto_reason());
    f->begun = 1;
done:
    dmq_free(log);
    return st;
}

void dmq_folder_close(dmq_folder *f)
{
    if (!f)
        return;
    if (f->begun) {
        (void)save(f); /* what it adds is times; a full disk has been reported before */
        (void)dmq_log_copy(NULL);
    }
    if (f->lock >= 0)
        (void)close(f->lock);
    dmq_json_destroy(f->manifest);
    dmq_free(f->path);
    dmq_free(f->store);
    dmq_free(f->label);
    dmq_free(f);
}

/* ------------------------------------------------------------------ stages */

/* Which algorithms the device took: another choice may change the last bits. */
static dmq_status note_convolutions(dmq_folder *f)
{
    enum { ROOM = 1 << 16 };
    dmq_status st = DMQ_OK;
    char *text = NULL;

    DMQ_TRY(dmq_alloc((void **)&text, ROOM, 1));
    dmq_backend_cuda_choices(text, ROOM);
    if (text[0])
        DMQ_TRY(dmq_json_set_text(f->manifest, "convolutions", text));
done:
    dmq_free(text);
    return st;
}

static dmq_json *record_of(const dmq_folder *f, const char *stage)
{
    return dmq_json_get(dmq_json_get(f->manifest, "stages"), stage);
}

dmq_status dmq_folder_look(dmq_stage_state *out, const dmq_folder *f, const char *stage,
                           const char *key)
{
    dmq_json *r = record_of(f, stage);
    char *path = NULL;
    uint64_t size = 0;
    dmq_status st = DMQ_OK;

    *out = DMQ_STAGE_MISSING;
    if (!r)
        return st;
    DMQ_TRY(dmq_folder_file(&path, f, dmq_json_text(dmq_json_get(r, "file"), "?")));
    if (dmq_file_exists(path) && dmq_file_size(&size, path) == DMQ_OK &&
        (int64_t)size == dmq_json_int(dmq_json_get(r, "bytes"), -1)) {
        *out = strcmp(dmq_json_text(dmq_json_get(r, "key"), ""), key) == 0 ? DMQ_STAGE_DONE
                                                                           : DMQ_STAGE_OTHER;
    }
done:
    dmq_free(path);
    return st;
}

const char *dmq_folder_text_of(const dmq_folder *f, const char *stage)
{
    return dmq_json_text(dmq_json_get(record_of(f, stage), "made_of"), NULL);
}

/* Seconds of the starts that stopped in this stage. */
static double spent_before(const dmq_folder *f, const char *stage, const char *key)
{
    const dmq_json *spent = dmq_json_get(dmq_json_get(f->manifest, "stopped"), stage);

    return strcmp(dmq_json_text(dmq_json_get(spent, "key"), ""), key) == 0
               ? dmq_json_real(dmq_json_get(spent, "seconds"), 0)
               : 0;
}

dmq_status dmq_folder_stopped(dmq_folder *f, const char *stage, const char *key, double seconds)
{
    double before = spent_before(f, stage, key);
    dmq_json *all = dmq_json_get(f->manifest, "stopped"), *spent;
    dmq_status st = DMQ_OK;

    if (!all)
        DMQ_TRY(dmq_json_set_object(&all, f->manifest, "stopped"));
    DMQ_TRY(dmq_json_set_object(&spent, all, stage));
    DMQ_TRY(dmq_json_set_text(spent, "key", key));
    DMQ_TRY(dmq_json_set_real(spent, "seconds", before + seconds));
done:
    return st;
}

dmq_status dmq_folder_done(dmq_folder *f, const char *stage, const dmq_folder_stage *done)
{
    dmq_status st = DMQ_OK;
    char *path = NULL, hash[DMQ_HASH_TEXT], now[DMQ_CLOCK_TEXT];
    uint64_t size = 0;
    dmq_json *r = NULL;

    dmq_clock_iso(now);
    DMQ_TRY(dmq_folder_file(&path, f, done->file));
    DMQ_TRY(dmq_hash_file(hash, path));
    DMQ_TRY(dmq_file_size(&size, path));
    DMQ_TRY(dmq_json_object(&r)); /* put into the manifest whole: half of one is another key's */
    DMQ_TRY(dmq_json_set_text(r, "file", done->file));
    DMQ_TRY(dmq_json_set_text(r, "sha256", hash));
    DMQ_TRY(dmq_json_set_int(r, "bytes", (int64_t)size));
    DMQ_TRY(dmq_json_set_text(r, "key", done->key));
    DMQ_TRY(dmq_json_set_text(r, "made_of", done->text));
    DMQ_TRY(dmq_json_set_real(r, "seconds", spent_before(f, stage, done->key) + done->seconds));
    if (done->shared)
        DMQ_TRY(dmq_json_set_bool(r, "shared", true));
    if (done->joined)
        DMQ_TRY(dmq_json_set_bool(r, "joined", true));
    DMQ_TRY(dmq_json_set_text(r, "finished", now));
    DMQ_TRY(dmq_json_set_copy(dmq_json_get(f->manifest, "stages"), stage, r));
    dmq_json_unset(dmq_json_get(f->manifest, "stopped"), stage);
    if (dmq_json_count(dmq_json_get(f->manifest, "stopped")) == 0)
        dmq_json_unset(f->manifest, "stopped");
    DMQ_TRY(note_convolutions(f));
    DMQ_TRY(save(f));
done:
    dmq_json_destroy(r);
    dmq_free(path);
    return st;
}

dmq_status dmq_folder_check(const dmq_folder *f, const char *stage)
{
    dmq_json *r = record_of(f, stage);
    const char *want = dmq_json_text(dmq_json_get(r, "sha256"), "");
    dmq_status st = DMQ_OK;
    char *path = NULL, hash[DMQ_HASH_TEXT];

    DMQ_TRY(dmq_folder_file(&path, f, dmq_json_text(dmq_json_get(r, "file"), "?")));
    DMQ_TRY(dmq_hash_file(hash, path));
    if (strcmp(hash, want) != 0) {
        st = dmq_fail(DMQ_EDATA,
                      "%s is not the file that %s left: sha256 %.16s..., run.json says %.16s...",
                      path, stage, hash, want);
        st = dmq_fail_note(st, "  hint: remove it and it is made again, or put a copy back");
    }
done:
    dmq_free(path);
    return st;
}

dmq_status dmq_folder_forget(dmq_folder *f, const char *stage, const char *file)
{
    dmq_status st = DMQ_OK;
    char *path = NULL;

    DMQ_TRY(dmq_folder_file(&path, f, file));
    dmq_json_unset(dmq_json_get(f->manifest, "stages"), stage);
    DMQ_TRY(save(f));
    if (dmq_file_exists(path))
        DMQ_TRY(dmq_file_remove(path));
done:
    dmq_free(path);
    return st;
}

dmq_status dmq_folder_event(const dmq_folder *f, dmq_json *event)
{
    dmq_status st = DMQ_OK;
    char *path = NULL;

    DMQ_TRY(dmq_json_set_real(event, "t", dmq_clock_unix()));
    DMQ_TRY(dmq_folder_file(&path, f, "events.jsonl"));
    DMQ_TRY(dmq_json_append_line(path, event));
done:
    dmq_free(path);
    return st;
}
