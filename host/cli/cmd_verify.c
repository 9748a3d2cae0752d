/* dmq verify DIR: the files of a run, hashed again; dmq status DIR: how far it is */
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "cli/verbs.h"
#include "io/file.h"
#include "io/hash.h"
#include "io/json.h"
#include "run/stage.h"
#include "run/sweep_record.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is told of a run; list: as JSON instead. */
typedef struct telling telling;

struct telling {
    dmq_json *list;
    int bad;
    dmq_status (*each_folder)(const char *folder, telling *to); /* behind its runs; may be NULL */
};

typedef dmq_status each_run_fn(const char *folder, const dmq_json *manifest, telling *to);

static dmq_status load_manifest(dmq_json **out, const char *folder)
{
    dmq_status st = DMQ_OK;
    char *path = NULL;

    DMQ_TRY(dmq_path_join(&path, folder, "run.json"));
    DMQ_TRY(dmq_json_load(out, path));
done:
    dmq_free(path);
    return st;
}

static dmq_status holds_run(int *yes, const char *folder)
{
    char *path = NULL;
    dmq_status st = dmq_path_join(&path, folder, "run.json");

    *yes = st == DMQ_OK && dmq_file_exists(path);
    dmq_free(path);
    return st;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static dmq_status one_run(const char *folder, each_run_fn *fn, telling *to)
{
    dmq_json *manifest = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(load_manifest(&manifest, folder));
    DMQ_TRY(fn(folder, manifest, to));
done:
    dmq_json_destroy(manifest);
    return st;
}

/* A run folder, or a folder of run folders. */
static dmq_status each_run(const char *folder, each_run_fn *fn, telling *to)
{
    dmq_status st = DMQ_OK;
    struct dirent **entry = NULL;
    int count, n = 0, run;

    st = holds_run(&run, folder);
    if (st != DMQ_OK || run)
        return st != DMQ_OK ? st : one_run(folder, fn, to);
    count = scandir(folder, &entry, is_visible, by_name);
    if (count < 0) {
        return dmq_fail(DMQ_ENOINPUT,
                        "there is no folder %s\n  hint: name a run folder, or the one above",
                        folder);
    }
    for (int i = 0; i < count; i++) {
        char *path = NULL;

        if (st == DMQ_OK)
            st = dmq_path_join(&path, folder, entry[i]->d_name);
        if (st == DMQ_OK)
            st = holds_run(&run, path);
        if (st == DMQ_OK && run) {
            st = one_run(path, fn, to);
            n++;
        }
        dmq_free(path);
        free(entry[i]);
    }
    free(entry);
    if (st == DMQ_OK && n == 0) {
        st = dmq_fail(DMQ_ENOINPUT,
                      "%s holds no run (no run.json in it or one below)\n"
                      "  hint: dmq run -o %s makes one",
                      folder, folder);
    }
    return st;
}

/* For each folder of the command line; the list is printed where there is one. */
static dmq_status tell(const dmq_options *o, each_run_fn *fn, telling *to)
{
    dmq_status st = DMQ_OK;
    char *text = NULL;

    if (o->json)
        DMQ_TRY(dmq_json_array(&to->list));
    for (int i = 0; i < o->n_arg; i++) {
        DMQ_TRY(each_run(o->arg[i], fn, to));
        if (to->each_folder)
            DMQ_TRY(to->each_folder(o->arg[i], to));
    }
    if (to->list) {
        DMQ_TRY(dmq_json_dump(&text, to->list, 2));
        (void)puts(text);
    }
done:
    dmq_json_destroy(to->list);
    dmq_free(text);
    return st;
}

/* ------------------------------------------------------------------ verify */

static dmq_status tell_verdict(telling *to, const char *path, const char *verdict)
{
    dmq_status st = DMQ_OK;
    dmq_json *entry;

    to->bad += strcmp(verdict, "same") != 0;
    if (!to->list) {
        (void)printf("%-8s %s\n", verdict, path);
        return st;
    }
    DMQ_TRY(dmq_json_add_object(&entry, to->list));
    DMQ_TRY(dmq_json_set_text(entry, "file", path));
    DMQ_TRY(dmq_json_set_text(entry, "verdict", verdict));
done:
    return st;
}

static dmq_status verify_run(const char *folder, const dmq_json *manifest, telling *to)
{
    dmq_status st = DMQ_OK;
    char *path = NULL, hash[DMQ_HASH_TEXT];

    for (int i = 0; i < DMQ_RUN_STAGES; i++) {
        const dmq_json *r = dmq_json_get(dmq_json_get(manifest, "stages"), dmq_stages[i].name);
        const char *want = dmq_json_text(dmq_json_get(r, "sha256"), "");
        const char *verdict = "same";

        if (!r)
            continue;
        dmq_free(path);
        path = NULL;
        DMQ_TRY(dmq_path_join(&path, folder, dmq_json_text(dmq_json_get(r, "file"), "?")));
        if (!dmq_file_exists(path)) {
            verdict = "missing";
        } else {
            DMQ_TRY(dmq_hash_file(hash, path));
            if (strcmp(hash, want) != 0)
                verdict = "DIFFERS";
        }
        DMQ_TRY(tell_verdict(to, path, verdict));
    }
done:
    dmq_free(path);
    return st;
}

dmq_status dmq_cmd_verify(const dmq_options *o)
{
    dmq_status st = DMQ_OK;
    telling to = { 0 };

    if (o->n_arg == 0)
        return dmq_fail(DMQ_EUSAGE, "dmq verify: of which folder?\n  hint: dmq verify runs/NAME");
    DMQ_TRY(tell(o, verify_run, &to));
    if (to.bad) {
        st = dmq_fail(DMQ_EDATA,
                      "verify: %d file%s not what the manifest says\n"
                      "  hint: remove what differs and dmq run makes it again",
                      to.bad, to.bad == 1 ? " is" : "s are");
    }
done:
    return st;
}

/* ------------------------------------------------------------------ status */

static dmq_status status_json(telling *to, const char *folder, const dmq_json *manifest, long pid)
{
    static const char *const copied[] = { "label", "seed", "starts", "device" };
    const dmq_json *stages = dmq_json_get(manifest, "stages");
    dmq_json *entry, *list, *stage;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_add_object(&entry, to->list));
    DMQ_TRY(dmq_json_set_text(entry, "folder", folder));
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++) {
        if (dmq_json_get(manifest, copied[i]))
            DMQ_TRY(dmq_json_set_copy(entry, copied[i], dmq_json_get(manifest, copied[i])));
    }
    if (pid > 0)
        DMQ_TRY(dmq_json_set_int(entry, "process", pid));
    DMQ_TRY(dmq_json_set_object(&list, entry, "stages"));
    for (int i = 0; i < DMQ_RUN_STAGES; i++) {
        const dmq_json *r = dmq_json_get(stages, dmq_stages[i].name);

        DMQ_TRY(dmq_json_set_object(&stage, list, dmq_stages[i].name));
        DMQ_TRY(dmq_json_set_bool(stage, "done", r != NULL));
        if (r) {
            DMQ_TRY(
                dmq_json_set_real(stage, "seconds", dmq_json_real(dmq_json_get(r, "seconds"), 0)));
        }
    }
done:
    return st;
}

static dmq_status status_run(const char *folder, const dmq_json *manifest, telling *to)
{
    const dmq_json *stages = dmq_json_get(manifest, "stages");
    long pid = dmq_folder_worker(folder);
    int done = 0;

    if (to->list)
        return status_json(to, folder, manifest, pid);
    (void)printf("%s: %s, seed %lld, started %lld time(s)", folder,
                 dmq_json_text(dmq_json_get(manifest, "label"), "?"),
                 (long long)dmq_json_int(dmq_json_get(manifest, "seed"), 0),
                 (long long)dmq_json_int(dmq_json_get(manifest, "starts"), 0));
    if (pid > 0)
        (void)printf(", process %ld works on it", pid);
    (void)printf("\n");
    for (int i = 0; i < DMQ_RUN_STAGES; i++) {
        const dmq_json *r = dmq_json_get(stages, dmq_stages[i].name);
        char took[DMQ_CLOCK_TEXT] = "-";

        if (r) {
            dmq_clock_duration(took, dmq_json_real(dmq_json_get(r, "seconds"), 0));
            done++;
        }
        (void)printf("  %-10s %-8s %s\n", dmq_stages[i].name, r ? "done" : "to do", took);
    }
    (void)printf("  %d of %d stages\n", done, DMQ_RUN_STAGES);
    return DMQ_OK;
}

/* Behind its runs: how far a sweep is as a whole. */
static dmq_status status_sweep(const char *folder, telling *to)
{
    dmq_sweep_progress p;
    dmq_json *entry;
    char left[DMQ_CLOCK_TEXT];
    int found;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_sweep_look(&p, &found, folder));
    if (!found)
        return st;
    if (!to->list) {
        (void)printf("%s: %d of %d tasks done, %d begun (%d under way here), %d not begun", folder,
                     p.done, p.tasks, p.begun, p.working, p.tasks - p.done - p.begun);
        if (p.done > 0 && p.done < p.tasks) {
            dmq_clock_duration(left, p.seconds_left);
            (void)printf("; %s left if they take as long as the others", left);
        }
        (void)printf("\n");
        return st;
    }
    DMQ_TRY(dmq_json_add_object(&entry, to->list));
    DMQ_TRY(dmq_json_set_text(entry, "sweep", folder));
    DMQ_TRY(dmq_json_set_int(entry, "tasks", p.tasks));
    DMQ_TRY(dmq_json_set_int(entry, "done", p.done));
    DMQ_TRY(dmq_json_set_int(entry, "begun", p.begun));
    DMQ_TRY(dmq_json_set_int(entry, "working", p.working));
    if (!isnan(p.seconds_left))
        DMQ_TRY(dmq_json_set_real(entry, "seconds_left", p.seconds_left));
done:
    return st;
}

dmq_status dmq_cmd_status(const dmq_options *o)
{
    telling to = { .each_folder = status_sweep };

    if (o->n_arg == 0)
        return dmq_fail(DMQ_EUSAGE, "dmq status: of which folder?\n  hint: dmq status runs/NAME");
    return tell(o, status_run, &to);
}
