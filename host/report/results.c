#include "report/results_inner.h"

#include "base/memory.h"
#include "base/path.h"
#include "base/text.h"
#include "io/file.h"
#include "report/paper.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ one run */

const dmq_yaml_entry *dmq_result_entry(const dmq_result *run, const char *key)
{
    for (int i = 0; i < run->config->count; i++) {
        if (strcmp(run->config->entry[i].key, key) == 0)
            return &run->config->entry[i];
    }
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
    if (strcmp(dmq_json_text(dmq_json_get(*out, "format"), ""), format) != 0) {
        st = dmq_fail(DMQ_EDATA, "%s says format \"%s\", not \"%s\"", path,
                      dmq_json_text(dmq_json_get(*out, "format"), ""), format);
    }
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

/* ------------------------------------------------------------------ shared work */

static const dmq_json *stage_of(const dmq_result *r, const char *stage)
{
    return dmq_json_get(dmq_json_get(r->manifest, "stages"), stage);
}

/* Runs that find a result in the store of their sweep take no time for it: the one that made it tells. What
   shards made and another joined has the time of none. */
static double seconds_of(const dmq_results *all, const dmq_result *r, const char *stage)
{
    const char *key = dmq_json_text(dmq_json_get(stage_of(r, stage), "key"), "");
    double most = (double)NAN;

    for (int i = 0; i < all->n_runs; i++) {
        const dmq_json *other = stage_of(&all->run[i], stage);

        if (strcmp(dmq_json_text(dmq_json_get(other, "key"), "-"), key) != 0 ||
            dmq_json_bool(dmq_json_get(other, "shared"), false) ||
            dmq_json_bool(dmq_json_get(other, "joined"), false))
            continue;
        most = fmax(most, dmq_json_real(dmq_json_get(other, "seconds"), (double)NAN));
    }
    return most;
}

static void find_times(dmq_results *all)
{
    for (int i = 0; i < all->n_runs; i++) {
        dmq_result *r = &all->run[i];

        r->calibrate_seconds = seconds_of(all, r, "calibrate");
        r->sample_fp_seconds = seconds_of(all, r, "sample-fp");
        r->sample_seconds = seconds_of(all, r, "sample");
    }
}

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

dmq_status dmq_results_load(dmq_results **out, const char *const *folders, int n_folders)
{
    dmq_results *all = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&all, 1, sizeof *all));
    for (int i = 0; i < n_folders; i++) {
        int is_run;

        DMQ_TRY(has_run(&is_run, folders[i]));
        if (is_run) {
            DMQ_TRY(add_run(all, folders[i], i));
        } else {
            DMQ_TRY(add_below(all, folders[i], i));
        }
    }
    find_times(all);
    DMQ_TRY(dmq_results_arrange(all, folders));
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
    dmq_paper_destroy(all->paper);
    for (int i = 0; all->fp && i < all->n_fp; i++)
        dmq_free(all->fp[i].published.differs);
    for (int i = 0; all->arm && i < all->n_arms; i++) {
        dmq_free(all->arm[i].published.differs);
        dmq_free(all->arm[i].own_label);
        dmq_free(all->arm[i].run);
    }
    for (int i = 0; i < all->n_runs; i++)
        release(&all->run[i]);
    dmq_free(all->arm);
    dmq_free(all->fp);
    dmq_free(all->unfinished);
    dmq_free(all->run);
    dmq_free(all->title);
    dmq_free(all);
}
