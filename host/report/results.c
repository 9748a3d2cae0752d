#include "report/results.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "base/schema.h"
#include "base/text.h"
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ one run */

const dmq_yaml_entry *dmq_result_entry(const dmq_result *run, const char *key)
{
    for (int i = 0; i < run->config->count; i++)
        if (strcmp(run->config->entry[i].key, key) == 0)
            return &run->config->entry[i];
    return NULL;
}

const char *dmq_result_setting(const dmq_result *run, const char *key, const char *otherwise)
{
    const dmq_yaml_entry *e = dmq_result_entry(run, key);

    return e && e->text ? e->text : otherwise;
}

double dmq_result_setting_real(const dmq_result *run, const char *key)
{
    const char *text = dmq_result_setting(run, key, "");
    char *end = NULL;
    double x = strtod(text, &end);

    return end != text && *end == '\0' ? x : (double)NAN;
}

dmq_status dmq_result_entry_text(char **out, const dmq_yaml_entry *e)
{
    dmq_text t = { 0 };

    if (e->text)
        return dmq_strdup(out, e->text);
    dmq_text_add(&t, "[");
    for (int i = 0; i < e->count; i++)
        dmq_text_add(&t, "%s%s", i ? ", " : "", e->item[i]);
    dmq_text_add(&t, "]");
    return dmq_text_take(out, &t);
}

const char *dmq_result_fp_key(const dmq_result *run)
{
    const char *model = dmq_json_text(dmq_json_find(run->manifest, "model.sha256"), "");

    return dmq_json_text(dmq_json_find(run->manifest, "stages.sample-fp.key"), model);
}

void dmq_result_stages_text(char *out, size_t size, const dmq_result *run)
{
    const dmq_json *stages = dmq_json_get(run->manifest, "stages");
    size_t n = 0;

    out[0] = '\0';
    for (void *m = dmq_json_first(stages); m && n < size; m = dmq_json_next(stages, m))
        n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : "", dmq_json_member_key(m));
    if (n == 0)
        (void)snprintf(out, size, "none");
}

static void release(dmq_result *r)
{
    dmq_free(r->path);
    dmq_json_destroy(r->manifest);
    dmq_json_destroy(r->metrics);
    dmq_json_destroy(r->blocks);
    dmq_yaml_destroy(r->config);
}

/* A JSON file of the folder with the format that it must say; *out stays NULL when there is no file. */
static dmq_status load_json(dmq_json **out, const char *folder, const char *name,
                            const char *format)
{
    char *path = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_path_join(&path, folder, name));
    if (!dmq_file_exists(path))
        goto done;
    DMQ_TRY(dmq_json_load(out, path));
    if (strcmp(dmq_json_text(dmq_json_get(*out, "format"), ""), format) != 0)
        st = dmq_fail(DMQ_EDATA, "%s says format \"%s\", not \"%s\"", path,
                      dmq_json_text(dmq_json_get(*out, "format"), ""), format);
done:
    dmq_free(path);
    return st;
}

static dmq_status load_run(dmq_result *r, const char *folder, int given)
{
    char *config = NULL;
    dmq_status st = DMQ_OK;

    r->given = given;
    DMQ_TRY(dmq_strdup(&r->path, folder));
    DMQ_TRY(load_json(&r->manifest, folder, "run.json", "dmq-run"));
    r->seed = dmq_json_int(dmq_json_get(r->manifest, "seed"), -1);
    r->label = dmq_json_text(dmq_json_get(r->manifest, "label"), dmq_path_name(r->path));
    DMQ_TRY(dmq_path_join(&config, folder, "config.yaml"));
    DMQ_TRY(dmq_yaml_read(&r->config, config));
    DMQ_TRY(load_json(&r->blocks, folder, "blocks.json", "dmq-blocks"));
    if (dmq_json_find(r->manifest, "stages.evaluate"))
        DMQ_TRY(load_json(&r->metrics, folder, "metrics.json", "dmq-metrics"));
done:
    dmq_free(config);
    return st;
}

/* ------------------------------------------------------------------ finding them */

static dmq_status has_run(int *out, const char *folder)
{
    char *path = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_path_join(&path, folder, "run.json"));
    *out = dmq_file_exists(path);
done:
    dmq_free(path);
    return st;
}

/* Twice the same folder, by two ways of naming it, is one run. */
static dmq_status add_run(dmq_results *all, const char *folder, int given)
{
    char *mine = NULL, *other = NULL;
    dmq_status st = DMQ_OK;
    int known = 0;

    DMQ_TRY(dmq_path_absolute(&mine, folder));
    for (int i = 0; i < all->n_runs && !known; i++) {
        dmq_free(other);
        other = NULL;
        DMQ_TRY(dmq_path_absolute(&other, all->run[i].path));
        known = strcmp(mine, other) == 0;
    }
    if (known)
        goto done;
    DMQ_TRY(dmq_grow((void **)&all->run, (size_t)all->n_runs, (size_t)all->n_runs + 1,
                     sizeof *all->run));
    all->n_runs++;
    DMQ_TRY(load_run(&all->run[all->n_runs - 1], folder, given));
done:
    dmq_free(mine);
    dmq_free(other);
    return st;
}

static dmq_status add_below(dmq_results *all, const char *folder, int given)
{
    struct dirent *entry;
    char *path = NULL;
    dmq_status st = DMQ_OK;
    DIR *list = opendir(folder);
    int before = all->n_runs, is_run;

    if (!list)
        return dmq_file_failed(folder, false, errno);
    while (st == DMQ_OK && (entry = readdir(list)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        DMQ_TRY(dmq_path_join(&path, folder, entry->d_name));
        DMQ_TRY(has_run(&is_run, path));
        if (is_run)
            DMQ_TRY(add_run(all, path, given));
        dmq_free(path);
        path = NULL;
    }
    if (all->n_runs == before) {
        st = dmq_fail(DMQ_ENOINPUT, "%s holds no run: no run.json in it or in the folders in it",
                      folder);
        st = dmq_fail_note(st, "  hint: give the folder of a dmq run or of a dmq sweep");
    }
done:
    dmq_free(path);
    (void)closedir(list);
    return st;
}

/* As they were given; inside a sweep's folder by task, or as they were made. */
static int by_order(const void *a, const void *b)
{
    const dmq_result *x = a, *y = b;
    int64_t task_x = dmq_json_int(dmq_json_get(x->manifest, "task"), INT64_MAX);
    int64_t task_y = dmq_json_int(dmq_json_get(y->manifest, "task"), INT64_MAX);
    int d = x->given - y->given;

    if (d == 0)
        d = (task_x > task_y) - (task_x < task_y);
    if (d == 0)
        d = strcmp(dmq_json_text(dmq_json_get(x->manifest, "created"), ""),
                   dmq_json_text(dmq_json_get(y->manifest, "created"), ""));
    return d ? d : strcmp(x->path, y->path);
}

/* ------------------------------------------------------------------ arms */

static int by_seed(const void *a, const void *b)
{
    const dmq_result *x = *(const dmq_result *const *)a, *y = *(const dmq_result *const *)b;

    return (x->seed > y->seed) - (x->seed < y->seed);
}

static void bits_of(char out[16], const dmq_result *r)
{
    const char *w = dmq_result_setting(r, "quant.weight.bits", "?");
    const char *a = dmq_result_setting(r, "quant.act.bits", "?");

    (void)snprintf(out, 16, "W%.4sA%.4s", strcmp(w, "off") == 0 ? "32" : w,
                   strcmp(a, "off") == 0 ? "32" : a);
}

/* Keys that results depend on, but the seed, which is what runs of an arm differ in. */
static int matters(const char *key)
{
    const unsigned stages =
        DMQ_STAGE_CALIBRATE | DMQ_STAGE_QUANTIZE | DMQ_STAGE_SAMPLE | DMQ_STAGE_EVALUATE;
    int n;
    const dmq_config_key *keys = dmq_schema_keys(&n);

    if (strcmp(key, "seed") == 0)
        return 0;
    for (int i = 0; i < n; i++)
        if (strcmp(keys[i].name, key) == 0)
            return (keys[i].stages & stages) != 0;
    return 1; /* of another version: not known to be harmless */
}

static dmq_status same_settings(const dmq_result *a, const dmq_result *b)
{
    dmq_status st = DMQ_OK;
    char *x = NULL, *y = NULL;

    for (int i = 0; i < a->config->count; i++) {
        const dmq_yaml_entry *mine = &a->config->entry[i];
        const dmq_yaml_entry *other = dmq_result_entry(b, mine->key);

        if (!matters(mine->key))
            continue;
        DMQ_TRY(dmq_result_entry_text(&x, mine));
        if (other)
            DMQ_TRY(dmq_result_entry_text(&y, other));
        if (!other || strcmp(x, y) != 0) {
            st = dmq_fail(DMQ_EDATA, "\"%s\": %s is %s in %s, but %s in %s", a->label, mine->key, x,
                          a->path, y ? y : "not there", b->path);
            st = dmq_fail_note(
                st, "  hint: a mean over both would mean nothing; table the two folders apart");
            goto done;
        }
        dmq_free(x);
        dmq_free(y);
        x = y = NULL;
    }
    if (strcmp(dmq_result_fp_key(a), dmq_result_fp_key(b)) != 0) {
        st = dmq_fail(DMQ_EDATA, "\"%s\": %s and %s quantize different models", a->label, a->path,
                      b->path);
        st = dmq_fail_note(st, "  hint: table the two folders apart");
    }
done:
    dmq_free(x);
    dmq_free(y);
    return st;
}

static dmq_status add_to_arm(dmq_results *all, const dmq_result *r)
{
    dmq_arm *arm = NULL;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < all->n_arms && !arm; i++)
        if (strcmp(all->arm[i].label, r->label) == 0)
            arm = &all->arm[i];
    if (!arm) {
        arm = &all->arm[all->n_arms++];
        arm->label = r->label;
        bits_of(arm->bits, r);
        DMQ_TRY(dmq_alloc((void **)&arm->run, (size_t)all->n_runs, sizeof(const dmq_result *)));
    }
    for (int i = 0; i < arm->n_runs; i++)
        if (arm->run[i]->seed == r->seed) {
            st = dmq_fail(DMQ_EDATA, "\"%s\" was run twice with seed %lld: %s and %s", r->label,
                          (long long)r->seed, arm->run[i]->path, r->path);
            st = dmq_fail_note(st, "  hint: leave one of the two folders out");
            goto done;
        }
    if (arm->n_runs > 0)
        DMQ_TRY(same_settings(arm->run[0], r));
    arm->run[arm->n_runs++] = r;
done:
    return st;
}

static void not_finished(dmq_results *all, const dmq_result *r)
{
    char stages[128];

    dmq_result_stages_text(stages, sizeof stages, r);
    dmq_log_warn("not-evaluated",
                 "%s (\"%s\", seed %lld) is left out: evaluate is not done "
                 "(done: %s)",
                 r->path, r->label, (long long)r->seed, stages);
    all->unfinished[all->n_unfinished++] = r;
}

/* ------------------------------------------------------------------ full-precision models */

/* Almost always one; several when runs of several models or samplers are put side by side. */
static void add_baseline(dmq_results *all, const dmq_result *r)
{
    dmq_baseline *b;

    for (int i = 0; i < all->n_fp; i++)
        if (strcmp(dmq_result_fp_key(all->fp[i].run), dmq_result_fp_key(r)) == 0)
            return;
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

/* report.title, else the name of what was asked for. */
static dmq_status find_title(dmq_results *all, const char *const *folders, int n_folders)
{
    const dmq_result *first = all->arm[0].run[0];
    const char *title = dmq_result_setting(first, "report.title", "");
    char *path = NULL;
    dmq_status st = DMQ_OK;

    if (title[0] != '\0')
        return dmq_strdup(&all->title, title);
    if (all->n_runs == 1)
        return dmq_strdup(&all->title, first->label);
    if (n_folders > 1)
        return dmq_strdup(&all->title, "Runs side by side");
    DMQ_TRY(dmq_path_absolute(&path, folders[0]));
    DMQ_TRY(dmq_strdup(&all->title, dmq_path_name(path)));
done:
    dmq_free(path);
    return st;
}

static dmq_status arrange(dmq_results *all)
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
    for (int i = 0; i < all->n_arms; i++)
        qsort(all->arm[i].run, (size_t)all->arm[i].n_runs, sizeof(const dmq_result *), by_seed);
done:
    return st;
}

dmq_status dmq_results_load(dmq_results **out, const char *const *folders, int n_folders)
{
    dmq_results *all = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&all, 1, sizeof *all));
    for (int i = 0; i < n_folders; i++) {
        int is_run;

        DMQ_TRY(has_run(&is_run, folders[i]));
        if (is_run)
            DMQ_TRY(add_run(all, folders[i], i));
        else
            DMQ_TRY(add_below(all, folders[i], i));
    }
    DMQ_TRY(arrange(all));
    DMQ_TRY(find_title(all, folders, n_folders));
    *out = all;
    all = NULL;
done:
    dmq_results_destroy(all);
    return st;
}

void dmq_results_destroy(dmq_results *all)
{
    if (!all)
        return;
    for (int i = 0; all->arm && i < all->n_arms; i++)
        dmq_free(all->arm[i].run);
    for (int i = 0; i < all->n_runs; i++)
        release(&all->run[i]);
    dmq_free(all->arm);
    dmq_free(all->fp);
    dmq_free(all->unfinished);
    dmq_free(all->run);
    dmq_free(all->title);
    dmq_free(all);
}
