#include "run/stage.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "base/schema.h"
#include "base/text.h"
#include "io/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const dmq_stage dmq_stages[DMQ_RUN_STAGES] = {
    [DMQ_RUN_CALIBRATE] = { .name = "calibrate",
                            .file = "calib.h5",
                            .version = 1,
                            .keys = DMQ_STAGE_CALIBRATE,
                            .shared = 1,
                            .run = dmq_stage_calibrate },
    [DMQ_RUN_SAMPLE_FP] = { .name = "sample-fp",
                            .file = "images-fp.h5",
                            .version = 1,
                            .keys = DMQ_STAGE_SAMPLE,
                            .shared = 1,
                            .run = dmq_stage_sample_fp },
    [DMQ_RUN_QUANTIZE] = { .name = "quantize",
                           .file = "quant.h5",
                           .version = 1,
                           .keys = DMQ_STAGE_QUANTIZE,
                           .input = { DMQ_RUN_CALIBRATE },
                           .n_inputs = 1,
                           .run = dmq_stage_quantize },
    [DMQ_RUN_SAMPLE] = { .name = "sample",
                         .file = "images-q.h5",
                         .version = 1,
                         .keys = DMQ_STAGE_SAMPLE,
                         .input = { DMQ_RUN_QUANTIZE },
                         .n_inputs = 1,
                         .run = dmq_stage_sample },
    [DMQ_RUN_EVALUATE] = { .name = "evaluate",
                           .file = "metrics.json",
                           .version = 1,
                           .keys = DMQ_STAGE_EVALUATE,
                           .input = { DMQ_RUN_CALIBRATE, DMQ_RUN_SAMPLE_FP, DMQ_RUN_SAMPLE },
                           .n_inputs = 3,
                           .run = dmq_stage_evaluate },
};

dmq_status dmq_stage_key(char out[DMQ_HASH_TEXT], char **text, const dmq_experiment *e,
                         dmq_stage_id id)
{
    const dmq_stage *s = &dmq_stages[id];
    dmq_text t = { 0 };
    char *keys = NULL, *all = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_config_stage_text(&keys, e->config, s->keys));
    dmq_text_add(&t, "stage %s %d\nmodel %s\n%s", s->name, s->version, e->model_hash, keys);
    for (int i = 0; i < s->n_inputs; i++) {
        char key[DMQ_HASH_TEXT];

        DMQ_TRY(dmq_stage_key(key, NULL, e, (dmq_stage_id)s->input[i]));
        dmq_text_add(&t, "input %s %s\n", dmq_stages[s->input[i]].name, key);
    }
    DMQ_TRY(dmq_text_take(&all, &t));
    DMQ_TRY(dmq_hash_memory(out, all, strlen(all)));
    if (text) {
        *text = all;
        all = NULL;
    }
done:
    dmq_text_release(&t);
    dmq_free(keys);
    dmq_free(all);
    return st;
}

/* Name the first line that differs between what a result was made of and what it would be made of now. */
static dmq_status refuse_other(const dmq_folder *f, const dmq_stage *s, const char *text)
{
    const char *was = dmq_folder_text_of(f, s->name), *now = text;
    dmq_status st =
        dmq_fail(DMQ_EEXIST, "%s/%s was made with another configuration", f->path, s->file);

    while (was && *was && *now) {
        int a = (int)strcspn(was, "\n"), b = (int)strcspn(now, "\n");

        if (a != b || strncmp(was, now, (size_t)a) != 0) {
            (void)dmq_fail_note(st, "  it was: %.*s", a, was);
            (void)dmq_fail_note(st, "  now is: %.*s", b, now);
            break;
        }
        was += a + (was[a] == '\n');
        now += b + (now[b] == '\n');
    }
    return dmq_fail_note(st, "  hint: --overwrite makes it again; -o DIR keeps both");
}

/* A result of the store becomes a file of the folder: a link, or a copy where links cannot be. */
static dmq_status link_or_copy(const char *from, const char *to)
{
    dmq_status st = DMQ_OK;
    char *data = NULL;
    size_t size = 0;

    if (dmq_file_exists(to))
        DMQ_TRY(dmq_file_remove(to));
    if (link(from, to) == 0)
        return DMQ_OK;
    DMQ_TRY(dmq_file_read(&data, &size, from, (size_t)1 << 40));
    DMQ_TRY(dmq_file_write(to, data, size));
done:
    dmq_free(data);
    return st;
}

static dmq_status store_path(char **out, const dmq_folder *f, const dmq_stage *s, const char *key)
{
    char name[128];

    (void)snprintf(name, sizeof name, "%.16s-%s", key, s->file);
    return dmq_path_join(out, f->store, name);
}

static dmq_status make(const dmq_experiment *e, dmq_folder *f, const dmq_stage *s, const char *key,
                       const char *text, const dmq_stage_options *o)
{
    dmq_job job = { .experiment = e, .folder = f, .shard = o->shard, .n_shards = o->n_shards };
    int stored = s->shared && f->store;
    char *file = NULL;
    double start = dmq_clock_seconds();
    dmq_status st = DMQ_OK;

    memcpy(job.key, key, sizeof job.key);
    DMQ_TRY(dmq_folder_file(&file, f, s->file));
    if (stored)
        DMQ_TRY(store_path(&job.out, f, s, key));
    else
        DMQ_TRY(dmq_strdup(&job.out, file));
    if (stored && dmq_file_exists(job.out)) {
        dmq_log_detail("%s: taken from %s", s->name, job.out);
    } else {
        DMQ_TRY(s->run(&job));
        if (job.incomplete)
            goto done;
    }
    if (stored)
        DMQ_TRY(link_or_copy(job.out, file));
    DMQ_TRY(dmq_folder_done(f, s->name, key, text, s->file, dmq_clock_seconds() - start));
done:
    dmq_free(job.out);
    dmq_free(file);
    return st;
}

static int needed(int id, int only)
{
    if (only < 0 || id == only)
        return 1;
    for (int i = 0; i < dmq_stages[only].n_inputs; i++)
        if (needed(id, dmq_stages[only].input[i]))
            return 1;
    return 0;
}

dmq_status dmq_stages_run(const dmq_experiment *e, dmq_folder *f, const dmq_stage_options *o)
{
    dmq_status st = DMQ_OK;
    char *text = NULL;

    if (needed(DMQ_RUN_EVALUATE, o->only))
        DMQ_TRY(dmq_evaluate_check(e));
    for (int id = 0; id < DMQ_RUN_STAGES; id++) {
        const dmq_stage *s = &dmq_stages[id];
        char key[DMQ_HASH_TEXT];
        dmq_stage_state state;

        if (!needed(id, o->only))
            continue;
        dmq_free(text);
        text = NULL;
        DMQ_TRY(dmq_stage_key(key, &text, e, (dmq_stage_id)id));
        state = dmq_folder_look(f, s->name, key);
        if (state == DMQ_STAGE_DONE) {
            dmq_log_detail("%s: done before", s->name);
            continue;
        }
        if (state == DMQ_STAGE_OTHER && !f->overwrite) {
            st = refuse_other(f, s, text);
            goto done;
        }
        if (o->dry_run) {
            dmq_log_info("%s: would make %s/%s", s->name, f->path, s->file);
            continue;
        }
        if (state == DMQ_STAGE_OTHER)
            DMQ_TRY(dmq_folder_forget(f, s->name, s->file));
        DMQ_TRY(make(e, f, s, key, text, o));
        if (o->n_shards > 0 && dmq_folder_look(f, s->name, key) != DMQ_STAGE_DONE)
            break;
    }
done:
    dmq_free(text);
    return st;
}
