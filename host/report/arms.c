/* Runs become arms: what may be averaged, and in which order it is told. */
#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "base/schema.h"
#include "base/text.h"
#include "report/results_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ order */

/* As they were given; inside a sweep's folder by task, or as they were made. */
static int by_order(const void *a, const void *b)
{
    const dmq_result *x = a, *y = b;
    int64_t task_x = dmq_json_int(dmq_json_get(x->manifest, "task"), INT64_MAX);
    int64_t task_y = dmq_json_int(dmq_json_get(y->manifest, "task"), INT64_MAX);
    int d = x->given - y->given;

    if (d == 0)
        d = (task_x > task_y) - (task_x < task_y);
    if (d == 0) {
        d = strcmp(dmq_json_text(dmq_json_get(x->manifest, "created"), ""),
                   dmq_json_text(dmq_json_get(y->manifest, "created"), ""));
    }
    return d ? d : strcmp(x->path, y->path);
}

static int by_seed(const void *a, const void *b)
{
    const dmq_result *x = *(const dmq_result *const *)a, *y = *(const dmq_result *const *)b;

    return (x->seed > y->seed) - (x->seed < y->seed);
}

/* ------------------------------------------------------------------ what may be averaged */

/* Keys that results depend on, but the seed, which is what runs of an arm differ in. */
static int matters(const char *key)
{
    const unsigned stages =
        DMQ_STAGE_CALIBRATE | DMQ_STAGE_QUANTIZE | DMQ_STAGE_SAMPLE | DMQ_STAGE_EVALUATE;
    int n;
    const dmq_config_key *keys = dmq_schema_keys(&n);

    if (strcmp(key, "seed") == 0)
        return 0;
    for (int i = 0; i < n; i++) {
        if (strcmp(keys[i].name, key) == 0)
            return (keys[i].stages & stages) != 0;
    }
    return 1; /* of another version: not known to be harmless */
}

/* The first setting that differs, as words; stays empty when none does. */
static dmq_status compare_settings(dmq_text *why, const dmq_result *a, const dmq_result *b)
{
    dmq_status st = DMQ_OK;
    char *x = NULL, *y = NULL;

    for (int i = 0; i < a->config->count && !why->data; i++) {
        const dmq_yaml_entry *mine = &a->config->entry[i];
        const dmq_yaml_entry *other = dmq_result_entry(b, mine->key);

        if (!matters(mine->key))
            continue;
        DMQ_TRY(dmq_result_entry_text(&x, mine));
        if (other)
            DMQ_TRY(dmq_result_entry_text(&y, other));
        if (!other || strcmp(x, y) != 0) {
            dmq_text_add(why, "%s is %s in %s, but %s in %s", mine->key, x, a->path,
                         y ? y : "not there", b->path);
        }
        dmq_free(x);
        dmq_free(y);
        x = y = NULL;
    }
    if (!why->data && strcmp(dmq_result_fp_key(a), dmq_result_fp_key(b)) != 0) {
        dmq_text_add(why, "%s and %s do not start from the same full-precision images", a->path,
                     b->path);
    }
    st = why->status;
done:
    dmq_free(x);
    dmq_free(y);
    return st;
}

/* Why a run may not join an arm; stays empty when it may. */
static dmq_status compare(dmq_text *why, const dmq_arm *arm, const dmq_result *r)
{
    dmq_status st = compare_settings(why, arm->run[0], r);

    for (int i = 0; i < arm->n_runs && st == DMQ_OK && !why->data; i++) {
        if (arm->run[i]->seed == r->seed) {
            dmq_text_add(why, "it was run twice with seed %lld, in %s and %s", (long long)r->seed,
                         arm->run[i]->path, r->path);
            st = why->status;
        }
    }
    return st;
}

/* ------------------------------------------------------------------ arms */

static void bits_of(char out[16], const dmq_result *r)
{
    const char *w = dmq_result_setting(r, "quant.weight.bits", "?");
    const char *a = dmq_result_setting(r, "quant.act.bits", "?");

    (void)snprintf(out, 16, "W%.4sA%.4s", strcmp(w, "off") == 0 ? "32" : w,
                   strcmp(a, "off") == 0 ? "32" : a);
}

/* Two arms of one label: of two folders they are compared, in one folder something went wrong. */
static dmq_status set_apart(dmq_arm *arm, const dmq_result *r, const char *why)
{
    dmq_status st;

    if (arm->run[0]->given == r->given) {
        st = dmq_fail(DMQ_EDATA, "\"%s\": %s", r->label, why);
        return dmq_fail_note(st,
                             "  hint: a mean over both would mean nothing; give the folders that "
                             "belong together, one by one");
    }
    if (!arm->apart)
        dmq_log_warn("same-label", "\"%s\": %s: these are two rows", r->label, why);
    arm->apart = 1;
    return DMQ_OK;
}

static dmq_status add_to_arm(dmq_results *all, const dmq_result *r)
{
    dmq_text why = { 0 };
    dmq_arm *arm = NULL;
    dmq_status st = DMQ_OK;
    int apart = 0;

    for (int i = 0; i < all->n_arms && !arm; i++) {
        dmq_arm *other = &all->arm[i];

        if (strcmp(other->run[0]->label, r->label) != 0)
            continue;
        dmq_text_release(&why);
        DMQ_TRY(compare(&why, other, r));
        if (!why.data) {
            arm = other;
        } else {
            DMQ_TRY(set_apart(other, r, why.data));
            apart = 1;
        }
    }
    if (!arm) {
        arm = &all->arm[all->n_arms];
        DMQ_TRY(dmq_alloc((void **)&arm->run, (size_t)all->n_runs, sizeof(const dmq_result *)));
        arm->label = r->label;
        arm->apart = apart;
        bits_of(arm->bits, r);
        all->n_arms++;
    }
    arm->run[arm->n_runs++] = r;
done:
    dmq_text_release(&why);
    return st;
}

/* Arms of one label are told with their folders. */
static dmq_status name_arms(dmq_results *all, const char *const *folders)
{
    dmq_status st = DMQ_OK;

    for (int i = 0; i < all->n_arms; i++) {
        dmq_arm *arm = &all->arm[i];
        dmq_text text = { 0 };

        if (!arm->apart)
            continue;
        dmq_text_add(&text, "%s (%s)", arm->label, folders[arm->run[0]->given]);
        DMQ_TRY(dmq_text_take(&arm->own_label, &text));
        arm->label = arm->own_label;
    }
done:
    return st;
}

static void not_finished(dmq_results *all, const dmq_result *r)
{
    char stages[128];

    dmq_result_stages_text(stages, sizeof stages, r);
    dmq_log_warn("not-evaluated",
                 "%s (\"%s\", seed %lld) is left out: evaluate is not done (done: %s)", r->path,
                 r->label, (long long)r->seed, stages);
    all->unfinished[all->n_unfinished++] = r;
}

/* ------------------------------------------------------------------ full-precision models */

/* Almost always one; several when runs of several models or samplers are put side by side. */
static void add_baseline(dmq_results *all, const dmq_result *r)
{
    dmq_baseline *b;

    for (int i = 0; i < all->n_fp; i++) {
        if (strcmp(dmq_result_fp_key(all->fp[i].run), dmq_result_fp_key(r)) == 0)
            return;
    }
    b = &all->fp[all->n_fp++];
    b->run = r;
    (void)snprintf(b->label, sizeof b->label, "FP");
}

static void name_baselines(dmq_results *all)
{
    for (int i = 0; all->n_fp > 1 && i < all->n_fp; i++) {
        const dmq_json *m = all->fp[i].run->manifest;

        (void)snprintf(all->fp[i].label, sizeof all->fp[i].label, "FP (%d: %.60s)", i + 1,
                       dmq_path_name(dmq_json_text(dmq_json_find(m, "model.path"), "model")));
    }
}

/* ------------------------------------------------------------------ all together */

dmq_status dmq_results_arrange(dmq_results *all, const char *const *folders)
{
    size_t n = (size_t)all->n_runs;
    dmq_status st = DMQ_OK;

    qsort(all->run, n, sizeof *all->run, by_order);
    DMQ_TRY(dmq_alloc((void **)&all->arm, n, sizeof *all->arm));
    DMQ_TRY(dmq_alloc((void **)&all->fp, n, sizeof *all->fp));
    DMQ_TRY(dmq_alloc((void **)&all->unfinished, n, sizeof(const dmq_result *)));
    for (int i = 0; i < all->n_runs; i++) {
        const dmq_result *r = &all->run[i];

        if (!r->metrics) {
            not_finished(all, r);
            continue;
        }
        DMQ_TRY(add_to_arm(all, r));
        add_baseline(all, r);
    }
    if (all->n_arms == 0) {
        st = dmq_fail(DMQ_ENOINPUT, "none of %d runs is evaluated yet", all->n_runs);
        st = dmq_fail_note(st, "  hint: dmq run -c %s/config.yaml -o %s goes on", all->run[0].path,
                           all->run[0].path);
        goto done;
    }
    name_baselines(all);
    DMQ_TRY(name_arms(all, folders));
    for (int i = 0; i < all->n_arms; i++)
        qsort(all->arm[i].run, (size_t)all->arm[i].n_runs, sizeof(const dmq_result *), by_seed);
done:
    return st;
}
