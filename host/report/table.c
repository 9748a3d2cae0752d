#include "report/table.h"

#include "base/memory.h"
#include "io/json.h"
#include "report/measure.h"
#include "report/table_inner.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

dmq_status dmq_table_format_parse(dmq_table_format *out, const char *name)
{
    static const char *const names[] = { "md", "csv", "json" };

    for (int i = 0; i < 3; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (dmq_table_format)i;
            return DMQ_OK;
        }
    }
    return dmq_fail(DMQ_EUSAGE, "--format %s: must be one of md|csv|json", name);
}

/* ------------------------------------------------------------------ what stands under a table */

void dmq_seeds_text(char *out, size_t size, const dmq_arm *arm, int limit)
{
    size_t n = 0;

    out[0] = '\0';
    if (arm->n_runs > limit) {
        (void)snprintf(out, size, "%d seeds", arm->n_runs);
        return;
    }
    for (int i = 0; i < arm->n_runs && n < size; i++) {
        n += (size_t)snprintf(out + n, size - n, "%s%lld", i ? ", " : "",
                              (long long)arm->run[i]->seed);
    }
}

void dmq_images_text(char *out, size_t size, const dmq_results *all)
{
    int64_t least = INT64_MAX, most = 0;

    for (int i = 0; i < all->n_arms; i++) {
        for (int j = 0; j < all->arm[i].n_runs; j++) {
            int64_t n = dmq_json_int(dmq_json_get(all->arm[i].run[j]->metrics, "images"), 0);

            least = n < least ? n : least;
            most = n > most ? n : most;
        }
    }
    if (least == most) {
        (void)snprintf(out, size, "%lld images", (long long)most);
    } else {
        (void)snprintf(out, size, "%lld to %lld images", (long long)least, (long long)most);
    }
}

dmq_status dmq_devices_text(char **out, const dmq_results *all)
{
    dmq_text t = { 0 };

    for (int i = 0; i < all->n_arms; i++) {
        for (int j = 0; j < all->arm[i].n_runs; j++) {
            const dmq_json *m = all->arm[i].run[j]->manifest;
            int64_t threads = dmq_json_int(dmq_json_get(m, "threads"), 0);
            char one[160];

            (void)snprintf(one, sizeof one, "%s, %lld thread%s, dmq %s",
                           dmq_json_text(dmq_json_get(m, "device"), "?"), (long long)threads,
                           threads == 1 ? "" : "s", dmq_json_text(dmq_json_get(m, "dmq"), "?"));
            if (!t.data || !strstr(t.data, one))
                dmq_text_add(&t, "%s%s", t.data ? "; " : "", one);
        }
    }
    return dmq_text_take(out, &t);
}

/* ------------------------------------------------------------------ csv */

static void csv_text(dmq_text *t, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        dmq_text_add(t, "%s", text);
        return;
    }
    dmq_text_add(t, "\"");
    for (; *text; text++)
        dmq_text_add(t, *text == '"' ? "\"\"" : "%c", *text);
    dmq_text_add(t, "\"");
}

static void csv_real(dmq_text *t, double x)
{
    char text[DMQ_TEXT_REAL];

    dmq_text_real(text, x);
    dmq_text_add(t, ",%s", isfinite(x) ? text : "");
}

/* What a line begins with, up to the measures. run NULL: of all seeds. */
static void csv_begin(dmq_text *t, const char *row, const char *label, const char *bits,
                      const dmq_result *run, const char *seed, const dmq_result *any)
{
    char images[32];

    (void)snprintf(images, sizeof images, "%lld",
                   (long long)dmq_json_int(dmq_json_get(any->metrics, "images"), 0));
    dmq_text_add(t, "%s,", row);
    csv_text(t, label);
    dmq_text_add(t, ",%s,", bits);
    csv_text(t, seed);
    dmq_text_add(t, ",%s,", images);
    csv_text(t, dmq_json_text(dmq_json_get(any->manifest, "device"), ""));
    dmq_text_add(t, ",");
    csv_text(t, run ? run->path : "");
}

static dmq_status csv_ids(dmq_text *t, const dmq_result *run, int fp)
{
    dmq_text ids = { 0 };
    char *text = NULL;
    dmq_status st = DMQ_OK;

    for (int m = 0; m < DMQ_MEASURES; m++) {
        int64_t n;
        const char *id = dmq_measure_id(run, m, fp, &n);

        if (!id)
            continue;
        dmq_text_add(&ids, "%s%s=%s", ids.data ? "; " : "", dmq_measures[m].key, id);
        if (n > 0)
            dmq_text_add(&ids, " n=%lld", (long long)n);
    }
    DMQ_TRY(dmq_text_take(&text, &ids));
    dmq_text_add(t, ",");
    csv_text(t, text);
    dmq_text_add(t, "\n");
done:
    dmq_free(text);
    return st;
}

static dmq_status csv_run(dmq_text *t, const char *row, const char *label, const char *bits,
                          const dmq_result *run, const dmq_arm *arm)
{
    char seed[32] = "";

    if (arm)
        (void)snprintf(seed, sizeof seed, "%lld", (long long)run->seed);
    csv_begin(t, row, label, bits, run, seed, run);
    for (int m = 0; m < DMQ_MEASURES; m++)
        csv_real(t, dmq_measure_value(run, m, !arm));
    for (int m = 0; m < DMQ_MEASURES; m++) {
        if (dmq_measure_has_paper(m))
            csv_real(t, arm ? dmq_measure_paper(arm, m) : (double)NAN);
    }
    return csv_ids(t, run, !arm);
}

static dmq_status csv_arm(dmq_text *t, const dmq_arm *arm)
{
    char seeds[256];
    dmq_status st = DMQ_OK;

    for (int i = 0; i < arm->n_runs; i++)
        DMQ_TRY(csv_run(t, "run", arm->label, arm->bits, arm->run[i], arm));
    dmq_seeds_text(seeds, sizeof seeds, arm, 24);
    for (int sd = 0; sd < (arm->n_runs > 1 ? 2 : 1); sd++) {
        csv_begin(t, sd ? "sd" : "mean", arm->label, arm->bits, NULL, seeds, arm->run[0]);
        for (int m = 0; m < DMQ_MEASURES; m++) {
            dmq_stat s = dmq_stat_of(arm, m);

            csv_real(t, s.n == 0 ? (double)NAN : sd ? dmq_stat_sd(&s) : s.mean);
        }
        for (int m = 0; m < DMQ_MEASURES; m++) {
            if (dmq_measure_has_paper(m))
                csv_real(t, sd ? (double)NAN : dmq_measure_paper(arm, m));
        }
        DMQ_TRY(csv_ids(t, arm->run[0], 0));
    }
done:
    return st;
}

static dmq_status table_csv(dmq_text *t, const dmq_results *all)
{
    dmq_status st = DMQ_OK;

    dmq_text_add(t, "row,label,bits,seed,images,device,folder");
    for (int m = 0; m < DMQ_MEASURES; m++)
        dmq_text_add(t, ",%s", dmq_measures[m].key);
    for (int m = 0; m < DMQ_MEASURES; m++) {
        if (dmq_measure_has_paper(m))
            dmq_text_add(t, ",paper_%s", dmq_measures[m].key);
    }
    dmq_text_add(t, ",metrics\n");
    for (int i = 0; i < all->n_fp; i++)
        DMQ_TRY(csv_run(t, "fp", all->fp[i].label, "W32A32", all->fp[i].run, NULL));
    for (int i = 0; i < all->n_arms; i++)
        DMQ_TRY(csv_arm(t, &all->arm[i]));
done:
    return st;
}

/* ------------------------------------------------------------------ json */

static dmq_status json_columns(dmq_json *root, const dmq_results *all)
{
    dmq_json *list, *one;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_array(&list, root, "columns"));
    for (int m = 0; m < DMQ_MEASURES; m++) {
        const dmq_measure *measure = &dmq_measures[m];
        dmq_column c = { .measure = m };

        DMQ_TRY(dmq_json_add_object(&one, list));
        DMQ_TRY(dmq_json_set_text(one, "key", measure->key));
        DMQ_TRY(dmq_json_set_text(one, "title", measure->title));
        DMQ_TRY(dmq_json_set_text(one, "unit", measure->unit));
        DMQ_TRY(dmq_json_set_int(one, "better", measure->better));
        dmq_column_find_id(&c, all);
        if (c.id) {
            DMQ_TRY(dmq_json_set_text(one, "id", c.id));
            DMQ_TRY(dmq_json_set_int(one, "n", c.n));
        }
    }
done:
    return st;
}

static dmq_status json_values(dmq_json *object, const dmq_result *run, int fp)
{
    dmq_status st = DMQ_OK;

    for (int m = 0; m < DMQ_MEASURES; m++) {
        double x = dmq_measure_value(run, m, fp);

        if (isfinite(x))
            DMQ_TRY(dmq_json_set_real(object, dmq_measures[m].key, x));
    }
done:
    return st;
}

static dmq_status json_run(dmq_json *one, const dmq_result *run)
{
    dmq_json *values;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_int(one, "seed", run->seed));
    DMQ_TRY(dmq_json_set_text(one, "folder", run->path));
    DMQ_TRY(dmq_json_set_text(one, "device",
                              dmq_json_text(dmq_json_get(run->manifest, "device"), NULL)));
    DMQ_TRY(dmq_json_set_int(one, "images", dmq_json_int(dmq_json_get(run->metrics, "images"), 0)));
    DMQ_TRY(dmq_json_set_object(&values, one, "values"));
    DMQ_TRY(json_values(values, run, 0));
done:
    return st;
}

static dmq_status json_arm(dmq_json *to, const dmq_arm *arm)
{
    dmq_json *mean, *sd, *paper, *runs, *one;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_text(to, "label", arm->label));
    DMQ_TRY(dmq_json_set_text(to, "bits", arm->bits));
    DMQ_TRY(dmq_json_set_object(&mean, to, "mean"));
    DMQ_TRY(dmq_json_set_object(&sd, to, "sd"));
    DMQ_TRY(dmq_json_set_object(&paper, to, "paper"));
    for (int m = 0; m < DMQ_MEASURES; m++) {
        const char *key = dmq_measures[m].key;
        dmq_stat s = dmq_stat_of(arm, m);

        if (s.n > 0)
            DMQ_TRY(dmq_json_set_real(mean, key, s.mean));
        if (s.n > 1)
            DMQ_TRY(dmq_json_set_real(sd, key, dmq_stat_sd(&s)));
        if (isfinite(dmq_measure_paper(arm, m)))
            DMQ_TRY(dmq_json_set_real(paper, key, dmq_measure_paper(arm, m)));
    }
    DMQ_TRY(dmq_json_set_array(&runs, to, "runs"));
    for (int i = 0; i < arm->n_runs; i++) {
        DMQ_TRY(dmq_json_add_object(&one, runs));
        DMQ_TRY(json_run(one, arm->run[i]));
    }
done:
    return st;
}

static dmq_status json_unfinished(dmq_json *root, const dmq_results *all)
{
    dmq_json *list, *one;
    char stages[128];
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_array(&list, root, "unfinished"));
    for (int i = 0; i < all->n_unfinished; i++) {
        const dmq_result *r = all->unfinished[i];

        dmq_result_stages_text(stages, sizeof stages, r);
        DMQ_TRY(dmq_json_add_object(&one, list));
        DMQ_TRY(dmq_json_set_text(one, "label", r->label));
        DMQ_TRY(dmq_json_set_int(one, "seed", r->seed));
        DMQ_TRY(dmq_json_set_text(one, "folder", r->path));
        DMQ_TRY(dmq_json_set_text(one, "done", stages));
    }
done:
    return st;
}

static dmq_status table_json(dmq_text *t, const dmq_results *all)
{
    dmq_json *root = NULL, *list, *one, *values;
    char *text = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_object(&root));
    DMQ_TRY(dmq_json_set_text(root, "format", "dmq-table"));
    DMQ_TRY(dmq_json_set_int(root, "format_version", 1));
    DMQ_TRY(dmq_json_set_text(root, "title", all->title));
    DMQ_TRY(json_columns(root, all));
    DMQ_TRY(dmq_json_set_array(&list, root, "fp"));
    for (int i = 0; i < all->n_fp; i++) {
        DMQ_TRY(dmq_json_add_object(&one, list));
        DMQ_TRY(dmq_json_set_text(one, "label", all->fp[i].label));
        DMQ_TRY(dmq_json_set_text(one, "folder", all->fp[i].run->path));
        DMQ_TRY(dmq_json_set_object(&values, one, "values"));
        DMQ_TRY(json_values(values, all->fp[i].run, 1));
    }
    DMQ_TRY(dmq_json_set_array(&list, root, "arms"));
    for (int i = 0; i < all->n_arms; i++) {
        DMQ_TRY(dmq_json_add_object(&one, list));
        DMQ_TRY(json_arm(one, &all->arm[i]));
    }
    DMQ_TRY(json_unfinished(root, all));
    DMQ_TRY(dmq_json_dump(&text, root, 2));
    dmq_text_add(t, "%s\n", text);
done:
    dmq_json_destroy(root);
    dmq_free(text);
    return st;
}

dmq_status dmq_table_render(char **out, const dmq_results *all, dmq_table_format format)
{
    dmq_text t = { 0 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_measures_check(all));
    switch (format) {
    case DMQ_TABLE_MD:
        st = dmq_table_md(&t, all);
        break;
    case DMQ_TABLE_CSV:
        st = table_csv(&t, all);
        break;
    case DMQ_TABLE_JSON:
        st = table_json(&t, all);
        break;
    }
    if (st == DMQ_OK)
        st = dmq_text_take(out, &t);
done:
    dmq_text_release(&t);
    return st;
}
