/**
 * Run folders as a sweep leaves them, written by hand and tiny: for the tests of tables and reports.
 */
#ifndef DMQ_TESTS_REPORT_FIXTURE_H
#define DMQ_TESTS_REPORT_FIXTURE_H

#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "io/file.h"
#include "io/h5.h"
#include "io/json.h"
#include "report/html.h"
#include "report/measure.h"
#include "report/table.h"
#include "scratch.h"

#include <fcntl.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIXTURE_OK(call)                              \
    do {                                              \
        dmq_status fixture_status = (call);           \
        if (fixture_status != DMQ_OK)                 \
            fail_msg("%s: %s", #call, dmq_message()); \
    } while (0)

/** What a test may want to differ between runs; 0 or NULL: as all have it. */
typedef struct fixture_run {
    const char *name, *label;
    int64_t seed;
    double fd;
    const char *fd_id;
    int64_t psnr_n;
    const char *created;
    int task;       /**< 0: not told */
    int unfinished; /**< evaluate is not done */
    int no_blocks;
    int unit_n;                 /**< units that block losses are a mean over */
    const char *iters;          /**< recon.iters */
    const char *paper;          /**< report.paper.is */
    const char *table, *method; /**< report.table, report.method */
    const char *bits;           /**< quant.weight.bits */
    int older;                /**< metrics.json tells no sizes: the manifest does, without scales */
    double calibrate_seconds; /**< 0: 2.5; below 0: it took another's */
    const char *round;
    const char *fp_key;
    int no_images;
} fixture_run;

static int fixture_log = -1;

/** Where a file of a run lies. */
static inline const char *fixture_file(const char *run, const char *name)
{
    char both[200];

    (void)snprintf(both, sizeof both, "%s/%s", run, name);
    return in_folder(both);
}

static inline dmq_status fixture_metric(dmq_json *to, const char *name, const char *id,
                                        double value, int64_t n)
{
    dmq_json *m;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_object(&m, to, name));
    DMQ_TRY(dmq_json_set_text(m, "id", id));
    DMQ_TRY(dmq_json_set_real(m, "value", value));
    DMQ_TRY(dmq_json_set_int(m, "n", n));
done:
    return st;
}

static inline dmq_status fixture_metrics(const fixture_run *r)
{
    const double steps[4] = { 1e-4, 2e-4, 4e-4, 8e-4 }, groups[2] = { 1.5e-4, 6e-4 };
    const char *fd = r->fd_id ? r->fd_id : "fd8/abc/shapes16-heldout-16/uint8-round";
    int unit_n = r->unit_n ? r->unit_n : 2;
    dmq_json *root = NULL, *fp, *q;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_object(&root));
    DMQ_TRY(dmq_json_set_text(root, "format", "dmq-metrics"));
    DMQ_TRY(dmq_json_set_int(root, "images", 8));
    DMQ_TRY(dmq_json_set_object(&fp, root, "fp"));
    DMQ_TRY(fixture_metric(fp, "fd", fd, 5, 8));
    if (!r->older) {
        DMQ_TRY(fixture_metric(fp, "size_mb", "size/weights+scales", 2, 0));
        DMQ_TRY(fixture_metric(fp, "bops", "bops/mac-wa", 1.024e12, 0));
        DMQ_TRY(fixture_metric(fp, "bops_fp23", "bops/2mac-wa-fp23", 1.058e12, 0));
    }
    DMQ_TRY(dmq_json_set_object(&q, root, "quantized"));
    DMQ_TRY(fixture_metric(q, "fd", fd, r->fd, 8));
    if (!r->older) {
        DMQ_TRY(fixture_metric(q, "size_mb", "size/weights+scales", 0.25, 0));
        DMQ_TRY(fixture_metric(q, "bops", "bops/mac-wa", 3.2e10, 0));
        DMQ_TRY(fixture_metric(q, "bops_fp23", "bops/2mac-wa-fp23", 6.4e10, 0));
    }
    DMQ_TRY(fixture_metric(q, "is", "is8/abc/1-split", 9, 8));
    DMQ_TRY(fixture_metric(q, "psnr", "paired-psnr/peak-2", 20, r->psnr_n ? r->psnr_n : 8));
    DMQ_TRY(fixture_metric(q, "mse_rest", "paired-mse/without-the-mean", r->fd * 1e-4, 8));
    DMQ_TRY(fixture_metric(q, "noise_error", "noise-mse/held-out-fp-states", 3.75e-4, 16));
    DMQ_TRY(dmq_json_set_reals(dmq_json_get(q, "noise_error"), "by_step", steps, 4));
    DMQ_TRY(dmq_json_set_reals(dmq_json_get(q, "noise_error"), "groups_noisy_to_clean", groups, 2));
    if (!r->no_blocks) {
        DMQ_TRY(fixture_metric(q, "block_loss", "geometric-mean/held-out", 0.2, unit_n));
        DMQ_TRY(fixture_metric(q, "block_loss_nearest", "geometric-mean/held-out", 0.5, unit_n));
        DMQ_TRY(fixture_metric(q, "ess", "mean-over-units", 0.9, unit_n));
    }
    DMQ_TRY(dmq_json_save(fixture_file(r->name, "metrics.json"), root));
done:
    dmq_json_destroy(root);
    return st;
}

static inline dmq_status fixture_block(dmq_json *list, const char *name, double held)
{
    const double before[4] = { 1, 0.5, 0.5, 1 }, after[4] = { 1, -0.25, -0.25, 1 };
    const double weight[4] = { 1.2, 1.1, 0.9, 0.8 };
    dmq_json *b, *part;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_add_object(&b, list));
    DMQ_TRY(dmq_json_set_text(b, "block", name));
    DMQ_TRY(dmq_json_set_object(&part, b, "recon"));
    DMQ_TRY(dmq_json_set_real(part, "nearest_held", held));
    DMQ_TRY(dmq_json_set_real(part, "final_held", held / 2));
    if (!(held > 0)) /* the temporal unit: no held-out samples, no cosines, no weights */
        goto done;
    DMQ_TRY(dmq_json_set_int(b, "groups", 2));
    DMQ_TRY(dmq_json_set_reals(b, "cosines_before", before, 4));
    DMQ_TRY(dmq_json_set_reals(b, "cosines_after", after, 4));
    DMQ_TRY(dmq_json_set_object(&part, b, "weights"));
    DMQ_TRY(dmq_json_set_real(part, "ess", 0.9));
    DMQ_TRY(dmq_json_set_reals(part, "step_weight", weight, 4));
done:
    return st;
}

static inline dmq_status fixture_blocks(const fixture_run *r)
{
    dmq_json *root = NULL, *list;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_object(&root));
    DMQ_TRY(dmq_json_set_text(root, "format", "dmq-blocks"));
    DMQ_TRY(dmq_json_set_array(&list, root, "blocks"));
    if (!r->no_blocks) {
        DMQ_TRY(fixture_block(list, "temb", 0));
        DMQ_TRY(fixture_block(list, "down.0.block.0", 0.5));
        DMQ_TRY(fixture_block(list, "up.0.block.0", 0.01));
    }
    DMQ_TRY(dmq_json_save(fixture_file(r->name, "blocks.json"), root));
done:
    dmq_json_destroy(root);
    return st;
}

static inline dmq_status fixture_stage(dmq_json *stages, const char *name, const char *key,
                                       double seconds)
{
    dmq_json *s;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_object(&s, stages, name));
    DMQ_TRY(dmq_json_set_text(s, "key", key));
    DMQ_TRY(dmq_json_set_real(s, "seconds", fabs(seconds)));
    if (seconds < 0)
        DMQ_TRY(dmq_json_set_bool(s, "shared", 1));
done:
    return st;
}

static inline dmq_status fixture_manifest(const fixture_run *r)
{
    const char *fp_key = r->fp_key ? r->fp_key : "fp";
    dmq_json *root = NULL, *stages, *model;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_object(&root));
    DMQ_TRY(dmq_json_set_text(root, "format", "dmq-run"));
    DMQ_TRY(dmq_json_set_text(root, "created", r->created ? r->created : "2026-11-22T10:00:00Z"));
    DMQ_TRY(dmq_json_set_text(root, "label", r->label));
    if (r->task > 0)
        DMQ_TRY(dmq_json_set_int(root, "task", r->task));
    DMQ_TRY(dmq_json_set_int(root, "seed", r->seed));
    DMQ_TRY(dmq_json_set_text(root, "dmq", "0.1.0"));
    DMQ_TRY(dmq_json_set_text(root, "device", "cpu"));
    DMQ_TRY(dmq_json_set_int(root, "threads", 2));
    DMQ_TRY(dmq_json_set_real(root, "size_bytes", 250000));
    DMQ_TRY(dmq_json_set_object(&model, root, "model"));
    DMQ_TRY(dmq_json_set_text(model, "path", "/models/tiny.h5"));
    DMQ_TRY(dmq_json_set_int(model, "parameters", 500000));
    DMQ_TRY(dmq_json_set_object(&stages, root, "stages"));
    DMQ_TRY(fixture_stage(stages, "calibrate", "c",
                          r->calibrate_seconds != 0 ? r->calibrate_seconds : 2.5));
    DMQ_TRY(fixture_stage(stages, "sample-fp", fp_key, 2.5));
    DMQ_TRY(fixture_stage(stages, "quantize", "q", 2.5));
    DMQ_TRY(fixture_stage(stages, "sample", r->name, 4));
    if (!r->unfinished)
        DMQ_TRY(fixture_stage(stages, "evaluate", "e", 2.5));
    DMQ_TRY(dmq_json_save(fixture_file(r->name, "run.json"), root));
done:
    dmq_json_destroy(root);
    return st;
}

static inline dmq_status fixture_config(const fixture_run *r)
{
    char text[1024];

    (void)snprintf(
        text, sizeof text,
        "schema: dmq/1\nname: x\nseed: %lld\nsampler:\n  kind: ddim\n  steps: 4\n"
        "calibrate:\n  interval: 1\n  microbatch: %lld\nquant:\n  weight:\n    bits: %s\n"
        "    round: %s\n  act:\n    bits: 8\nrecon:\n  iters: %s\n  beta: [20, 2]\n"
        "report:\n  table: \"%s\"\n  method: \"%s\"\n  paper:\n    is: %s\n"
        "    source: \"a <paper>\"\n",
        (long long)r->seed, (long long)r->seed + 8, r->bits ? r->bits : "4",
        r->round ? r->round : "adaround", r->iters ? r->iters : "100", r->table ? r->table : "",
        r->method ? r->method : "", r->paper ? r->paper : "none");
    return dmq_file_write_text(fixture_file(r->name, "config.yaml"), text);
}

static inline dmq_status fixture_images(const fixture_run *r, const char *name, float shift)
{
    enum { N = 8, SIDE = 4 };
    float x[N * 3 * SIDE * SIDE];
    dmq_h5 *file = NULL;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < N * 3 * SIDE * SIDE; i++)
        x[i] = sinf((float)i) * 0.5F + shift;
    DMQ_TRY(dmq_h5_open(&file, fixture_file(r->name, name), DMQ_H5_WRITE));
    DMQ_TRY(dmq_h5_format_set(file, "dmq-images", 1));
    DMQ_TRY(dmq_h5_write_f32(file, "images", DMQ_DIMS(N, 3, SIDE, SIDE), x));
    DMQ_TRY(dmq_h5_commit(file));
done:
    dmq_h5_close(file);
    return st;
}

/** A run folder below the fixture's; name may hold folders: "sweep/gac-s1". */
static inline void fixture_make(const fixture_run *r)
{
    FIXTURE_OK(dmq_folder_create(in_folder(r->name)));
    FIXTURE_OK(fixture_manifest(r));
    FIXTURE_OK(fixture_config(r));
    FIXTURE_OK(fixture_blocks(r));
    if (!r->unfinished)
        FIXTURE_OK(fixture_metrics(r));
    if (!r->no_images) {
        FIXTURE_OK(fixture_images(r, "images-fp.h5", 0));
        FIXTURE_OK(fixture_images(r, "images-q.h5", (float)r->fd * 0.002F));
    }
}

/** Talk goes to a file of its own, so that a test can read what was warned of. */
static inline int fixture_open(void **state)
{
    if (scratch_make(state) != 0)
        return -1;
    fixture_log = open(in_folder("talk"), O_RDWR | O_CREAT, 0600);
    dmq_log_fd_set(fixture_log);
    return fixture_log < 0;
}

static inline int fixture_close(void **state)
{
    dmq_log_fd_set(2);
    (void)close(fixture_log);
    return scratch_remove(state);
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)

/** Whether it was said since the test began. */
static inline int fixture_said(const char *what)
{
    char *text = NULL;
    int said;

    FIXTURE_OK(dmq_file_read(&text, NULL, in_folder("talk"), 1 << 20));
    said = strstr(text, what) != NULL;
    dmq_free(text);
    return said;
}

static inline dmq_results *fixture_load(const char *name)
{
    const char *folder = in_folder(name);
    dmq_results *results = NULL;

    FIXTURE_OK(dmq_results_load(&results, &folder, 1));
    return results;
}

/** The table of a folder; freed by the caller. */
static inline char *fixture_table(const char *name, dmq_table_format format)
{
    dmq_results *results = fixture_load(name);
    char *text = NULL;

    FIXTURE_OK(dmq_table_render(&text, results, format));
    dmq_results_destroy(results);
    return text;
}

static inline char *fixture_html(const char *name)
{
    dmq_results *results = fixture_load(name);
    char *text = NULL;

    FIXTURE_OK(dmq_html_render(&text, results));
    dmq_results_destroy(results);
    return text;
}

static inline void fixture_contains(const char *text, const char *what)
{
    if (!strstr(text, what))
        fail_msg("no \"%s\" in:\n%.6000s", what, text);
}

/* Load the runs of a folder and render their table in every form. */
static inline dmq_status fixture_all_tables(const char *folder, int compare)
{
    dmq_results *r = NULL;
    char *text = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_results_load(&r, &folder, 1));
    if (compare)
        DMQ_TRY(dmq_results_compare(r));
    for (int format = 0; format < 4; format++) {
        DMQ_TRY(dmq_table_render(&text, r, (dmq_table_format)format));
        dmq_free(text);
        text = NULL;
    }
done:
    dmq_results_destroy(r);
    dmq_free(text);
    return st;
}

/** Any allocation of that may fail, cleanly; there are more than `least` of them. compare: with published values. */
static inline void fixture_memory_runs_out(const char *name, int compare, long least)
{
    const char *folder = in_folder(name);
    dmq_status st = DMQ_ENOMEM;
    long n = 0;

    while (st != DMQ_OK) {
        n += n < 300 ? 1 : 7; /* all that is of another kind, then many of one kind */
        dmq_alloc_fail_at(n);
        st = fixture_all_tables(folder, compare);
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK || st == DMQ_ENOMEM);
    }
    assert_true(n > least);
}

#endif
