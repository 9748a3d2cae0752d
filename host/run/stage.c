#include "run/stage.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "base/schema.h"
#include "base/text.h"
#include "io/file.h"
#include "run/store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BIT(stage) (1U << (stage))

const dmq_stage dmq_stages[DMQ_RUN_STAGES] = {
    [DMQ_RUN_CALIBRATE] = { .name = "calibrate",
                            .file = "calib.h5",
                            .version = 1,
                            .keys = DMQ_STAGE_CALIBRATE,
                            .shared = 1,
                            .check = dmq_calibrate_check,
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
                           .reads = BIT(DMQ_RUN_CALIBRATE),
                           .check = dmq_quantize_check,
                           .run = dmq_stage_quantize },
    [DMQ_RUN_SAMPLE] = { .name = "sample",
                         .file = "images-q.h5",
                         .version = 1,
                         .keys = DMQ_STAGE_SAMPLE,
                         .input = { DMQ_RUN_QUANTIZE },
                         .n_inputs = 1,
                         .reads = BIT(DMQ_RUN_QUANTIZE),
                         .run = dmq_stage_sample },
    [DMQ_RUN_EVALUATE] = { .name = "evaluate",
                           .file = "metrics.json",
                           .version = 1,
                           .keys = DMQ_STAGE_EVALUATE,
                           .input = { DMQ_RUN_CALIBRATE, DMQ_RUN_SAMPLE_FP, DMQ_RUN_SAMPLE },
                           .n_inputs = 3,
                           .reads = BIT(DMQ_RUN_CALIBRATE) | BIT(DMQ_RUN_SAMPLE_FP) |
                                    BIT(DMQ_RUN_QUANTIZE) | BIT(DMQ_RUN_SAMPLE),
                           .check = dmq_evaluate_check,
                           .run = dmq_stage_evaluate },
};

/* Whose last bits a result has: a run that goes on elsewhere would have neither's. */
static const char *arithmetic(const dmq_experiment *e)
{
    return strcmp(e->backend->name, "check") == 0 ? "ref" : e->backend->name;
}

dmq_status dmq_stage_key(char out[DMQ_HASH_TEXT], char **text, const dmq_experiment *e,
                         dmq_stage_id id)
{
    const dmq_stage *s = &dmq_stages[id];
    dmq_text t = { 0 };
    char *keys = NULL, *all = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_config_stage_text(&keys, e->config, s->keys));
    dmq_text_add(&t, "stage %s %d\nmodel %s\n", s->name, s->version, e->model_hash);
    if (strcmp(arithmetic(e), "cpu") != 0) /* what the CPU makes has no such line */
        dmq_text_add(&t, "device %s\n", arithmetic(e));
    dmq_text_add(&t, "%s", keys);
    if (e->first.model && (s->keys & DMQ_STAGE_SAMPLE))
        dmq_text_add(&t, "first_stage %s\n", e->first.hash);
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

/* The device that a line of a key names; a key without one is of the CPU. */
static const char *device_of(const char *line)
{
    return strncmp(line, "device cuda", 11) == 0  ? "cuda"
           : strncmp(line, "device ref", 10) == 0 ? "ref"
                                                  : "cpu";
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
            if (strncmp(was, "device ", 7) == 0 || strncmp(now, "device ", 7) == 0)
                (void)dmq_fail_note(st, "  hint: --device %s goes on with it", device_of(was));
            break;
        }
        was += a + (was[a] == '\n');
        now += b + (now[b] == '\n');
    }
    return dmq_fail_note(st, "  hint: --overwrite makes it again; -o DIR keeps both");
}

/* made 0: it was there already, another run's */
static dmq_status tell_done(const dmq_folder *f, const dmq_stage *s, int made, double seconds)
{
    dmq_status st = DMQ_OK;
    dmq_json *event = NULL;

    DMQ_TRY(dmq_json_object(&event));
    DMQ_TRY(dmq_json_set_text(event, "stage", s->name));
    DMQ_TRY(dmq_json_set_text(event, "file", s->file));
    DMQ_TRY(dmq_json_set_bool(event, "shared", !made));
    DMQ_TRY(dmq_json_set_real(event, "seconds", seconds));
    DMQ_TRY(dmq_folder_event(f, event));
done:
    dmq_json_destroy(event);
    return st;
}

typedef struct making {
    const dmq_stage *stage;
    dmq_job *job;
} making;

static dmq_status run_maker(const char *path, void *context)
{
    making *m = context;
    dmq_status st = DMQ_OK;

    dmq_free(m->job->out);
    m->job->out = NULL;
    DMQ_TRY(dmq_strdup(&m->job->out, path));
    DMQ_TRY(m->stage->run(m->job));
done:
    return st;
}

static dmq_status make(const dmq_experiment *e, dmq_folder *f, const dmq_stage *s, const char *key,
                       const char *text, const dmq_stage_options *o)
{
    dmq_job job = {
        .experiment = e, .folder = f, .shard = o->shard, .n_shards = o->n_shards, .merge = o->merge
    };
    making m = { .stage = s, .job = &job };
    int stored = s->shared && f->store, made = 1;
    char *file = NULL;
    double start = dmq_clock_seconds(), seconds;
    dmq_status st = DMQ_OK;

    if (f->alone)
        DMQ_TRY(dmq_folder_begin(f, e));
    memcpy(job.key, key, sizeof job.key);
    DMQ_TRY(dmq_folder_file(&file, f, s->file));
    if (stored) {
        DMQ_TRY(dmq_store_take(&made, f->store, key, s->file, run_maker, &m));
    } else {
        DMQ_TRY(run_maker(file, &m));
    }
    if (job.incomplete)
        goto done;
    DMQ_TRY(dmq_folder_begin(f, e));
    if (stored)
        DMQ_TRY(dmq_store_link(f->store, key, s->file, file));
    seconds = dmq_clock_seconds() - start;
    DMQ_TRY(dmq_folder_done(f, s->name,
                            &(dmq_folder_stage){ .key = key,
                                                 .text = text,
                                                 .file = s->file,
                                                 .seconds = seconds,
                                                 .shared = !made,
                                                 .joined = o->merge || o->n_shards > 0 }));
    DMQ_TRY(tell_done(f, s, made, seconds));
done:
    if (st == DMQ_ESTOP && f->begun && o->n_shards == 0)
        (void)dmq_folder_stopped(f, s->name, key, dmq_clock_seconds() - start);
    dmq_free(job.out);
    dmq_free(file);
    return st;
}

static int needed(int id, int only)
{
    if (only < 0 || id == only)
        return 1;
    for (int i = 0; i < dmq_stages[only].n_inputs; i++) {
        if (needed(id, dmq_stages[only].input[i]))
            return 1;
    }
    return 0;
}

/* What scores images is looked for first, all of it: a check ends where it misses one thing. */
static dmq_status look_for_references(int *gone, const dmq_experiment *e, dmq_missing *missing)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_missing_look(gone, missing, e->config, "evaluate.features", "evaluate.source"));
    DMQ_TRY(dmq_missing_look(gone, missing, e->config, "evaluate.reference", "evaluate.source"));
done:
    return st;
}

dmq_status dmq_stages_check(const dmq_experiment *e, int only, dmq_missing *missing)
{
    int gone = 0;
    dmq_status st = DMQ_OK;

    if (missing && needed(DMQ_RUN_EVALUATE, only))
        DMQ_TRY(look_for_references(&gone, e, missing));

    for (int id = 0; id < DMQ_RUN_STAGES; id++) {
        if (!needed(id, only) || !dmq_stages[id].check)
            continue;
        st = dmq_stages[id].check(e);
        if (st == DMQ_ENOINPUT && missing)
            st = gone ? DMQ_OK : dmq_missing_add(missing, dmq_message());
        DMQ_TRY(st);
    }
done:
    return st;
}

/* ------------------------------------------------------------------ all of them */

/* What is known of each stage before the first one runs. */
typedef struct plan {
    dmq_stage_state state[DMQ_RUN_STAGES];
    char key[DMQ_RUN_STAGES][DMQ_HASH_TEXT];
    char *text[DMQ_RUN_STAGES];
    unsigned good; /* stages whose files are known to be what was written, as bits */
} plan;

static dmq_status look(plan *p, const dmq_experiment *e, const dmq_folder *f, int only)
{
    dmq_status st = DMQ_OK;

    for (int id = 0; id < DMQ_RUN_STAGES; id++) {
        DMQ_TRY(dmq_stage_key(p->key[id], &p->text[id], e, (dmq_stage_id)id));
        DMQ_TRY(dmq_folder_look(&p->state[id], f, dmq_stages[id].name, p->key[id]));
        if (p->state[id] == DMQ_STAGE_OTHER && needed(id, only) && !f->overwrite)
            return refuse_other(f, &dmq_stages[id], p->text[id]);
    }
done:
    return st;
}

static dmq_status check_inputs(plan *p, const dmq_folder *f, const dmq_stage *s)
{
    dmq_status st = DMQ_OK;

    for (int id = 0; id < DMQ_RUN_STAGES; id++) {
        if (!(s->reads & BIT(id)) || (p->good & BIT(id)))
            continue;
        DMQ_TRY(dmq_folder_check(f, dmq_stages[id].name));
        p->good |= BIT(id);
    }
done:
    return st;
}

/* Several shards run at once: what they all need is there before the first one starts. */
static dmq_status claim(dmq_folder *f, const dmq_stage *s)
{
    dmq_status st;

    if (dmq_folder_claim(f))
        return DMQ_OK;
    st = dmq_fail(DMQ_EEXIST, "%s/%s has to be made first, and others work in the folder", f->path,
                  s->file);
    return dmq_fail_note(st, "  hint: run this stage alone, then start the shards");
}

static dmq_status run_stage(plan *p, int id, const dmq_experiment *e, dmq_folder *f,
                            const dmq_stage_options *o)
{
    const dmq_stage *s = &dmq_stages[id];
    int sharded = o->n_shards > 0 && id == o->only;
    dmq_status st = DMQ_OK;

    if (p->state[id] == DMQ_STAGE_DONE) {
        dmq_log_detail("%s: done before", s->name);
        return st;
    }
    if (o->dry_run) {
        dmq_log_info("%s: would make %s/%s", s->name, f->path, s->file);
        return st;
    }
    if (!sharded || p->state[id] == DMQ_STAGE_OTHER)
        DMQ_TRY(claim(f, s));
    DMQ_TRY(check_inputs(p, f, s));
    if (p->state[id] == DMQ_STAGE_OTHER)
        DMQ_TRY(dmq_folder_forget(f, s->name, s->file));
    DMQ_TRY(make(e, f, s, p->key[id], p->text[id], o));
    p->good |= BIT(id);
done:
    return st;
}

dmq_status dmq_stages_run(const dmq_experiment *e, dmq_folder *f, const dmq_stage_options *o)
{
    dmq_status st = DMQ_OK;
    plan p = { .good = 0 };

    DMQ_TRY(look(&p, e, f, o->only));
    for (int id = 0; id < DMQ_RUN_STAGES; id++) {
        if (needed(id, o->only))
            DMQ_TRY(run_stage(&p, id, e, f, o));
    }
done:
    for (int id = 0; id < DMQ_RUN_STAGES; id++)
        dmq_free(p.text[id]);
    return st;
}
