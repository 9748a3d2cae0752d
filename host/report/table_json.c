/* The table as a document. */
#include "base/memory.h"
#include "io/json.h"
#include "report/table_inner.h"

#include <math.h>

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

/* Values of a row by measure: {"fid": 4.32}. */
static dmq_status json_each(dmq_json *to, const dmq_row *row,
                            double (*value)(const dmq_row *row, int measure))
{
    dmq_status st = DMQ_OK;

    for (int m = 0; m < DMQ_MEASURES; m++) {
        double x = value(row, m);

        if (isfinite(x))
            DMQ_TRY(dmq_json_set_real(to, dmq_measures[m].key, x));
    }
done:
    return st;
}

static dmq_status json_origin(dmq_json *to, const dmq_paper_row *row)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_text(to, "source", row->source));
    DMQ_TRY(dmq_json_set_text(to, "tag", row->tag));
done:
    return st;
}

/* paper: values; with --vs paper also difference, published (source and certainty), differs, unlike */
static dmq_status json_paper(dmq_json *to, const dmq_results *all, const dmq_row *row)
{
    const dmq_beside *p = row->fp ? &row->fp->published : &row->arm->published;
    dmq_json *object;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_object(&object, to, "paper"));
    DMQ_TRY(json_each(object, row, dmq_row_paper));
    if (!all->vs_paper)
        goto done;
    DMQ_TRY(dmq_json_set_object(&object, to, "difference"));
    DMQ_TRY(json_each(object, row, dmq_row_difference));
    if (p->row) {
        DMQ_TRY(dmq_json_set_object(&object, to, "published"));
        DMQ_TRY(json_origin(object, p->row));
    }
    DMQ_TRY(dmq_json_set_text(to, "differs", p->differs));
    DMQ_TRY(dmq_json_set_array(&object, to, "unlike"));
    for (int m = 0; m < DMQ_MEASURES; m++) {
        if (isfinite(dmq_row_difference(row, m)) && dmq_row_unlike(all, row, m))
            DMQ_TRY(dmq_json_add_text(object, dmq_measures[m].key));
    }
done:
    return st;
}

static dmq_status json_arm(dmq_json *to, const dmq_results *all, const dmq_row *row)
{
    const dmq_arm *arm = row->arm;
    dmq_json *mean, *sd, *runs, *one;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_text(to, "label", arm->label));
    DMQ_TRY(dmq_json_set_text(to, "bits", arm->bits));
    DMQ_TRY(dmq_json_set_object(&mean, to, "mean"));
    DMQ_TRY(dmq_json_set_object(&sd, to, "sd"));
    for (int m = 0; m < DMQ_MEASURES; m++) {
        const char *key = dmq_measures[m].key;
        dmq_stat s = dmq_stat_of(arm, m);

        if (s.n > 0)
            DMQ_TRY(dmq_json_set_real(mean, key, s.mean));
        if (s.n > 1)
            DMQ_TRY(dmq_json_set_real(sd, key, dmq_stat_sd(&s)));
    }
    DMQ_TRY(json_paper(to, all, row));
    DMQ_TRY(dmq_json_set_array(&runs, to, "runs"));
    for (int i = 0; i < arm->n_runs; i++) {
        DMQ_TRY(dmq_json_add_object(&one, runs));
        DMQ_TRY(json_run(one, arm->run[i]));
    }
done:
    return st;
}

static dmq_status json_fp(dmq_json *to, const dmq_results *all, const dmq_row *row)
{
    dmq_json *values;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_text(to, "label", row->label));
    DMQ_TRY(dmq_json_set_text(to, "folder", row->fp->run->path));
    DMQ_TRY(dmq_json_set_object(&values, to, "values"));
    DMQ_TRY(json_values(values, row->fp->run, 1));
    if (all->vs_paper)
        DMQ_TRY(json_paper(to, all, row));
done:
    return st;
}

/* A row that nobody ran. */
static dmq_status json_unrun(dmq_json *to, const dmq_row *row)
{
    dmq_json *values;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_text(to, "label", row->label));
    DMQ_TRY(dmq_json_set_text(to, "bits", row->bits));
    DMQ_TRY(json_origin(to, row->published));
    DMQ_TRY(dmq_json_set_object(&values, to, "values"));
    DMQ_TRY(json_each(values, row, dmq_row_paper));
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

static dmq_status json_rows(dmq_json *root, const dmq_results *all)
{
    dmq_json *fp, *arms, *published = NULL, *one;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_array(&fp, root, "fp"));
    DMQ_TRY(dmq_json_set_array(&arms, root, "arms"));
    if (all->vs_paper)
        DMQ_TRY(dmq_json_set_array(&published, root, "published"));
    for (int i = 0; i < dmq_rows_count(all); i++) {
        dmq_row row;

        dmq_row_at(&row, all, i);
        DMQ_TRY(dmq_json_add_object(&one, row.fp ? fp : row.arm ? arms : published));
        if (row.fp)
            DMQ_TRY(json_fp(one, all, &row));
        if (row.arm)
            DMQ_TRY(json_arm(one, all, &row));
        if (row.published)
            DMQ_TRY(json_unrun(one, &row));
    }
done:
    return st;
}

dmq_status dmq_table_json(dmq_text *t, const dmq_results *all)
{
    dmq_json *root = NULL;
    char *text = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_object(&root));
    DMQ_TRY(dmq_json_set_text(root, "format", "dmq-table"));
    DMQ_TRY(dmq_json_set_int(root, "format_version", 1));
    DMQ_TRY(dmq_json_set_text(root, "title", all->title));
    DMQ_TRY(json_columns(root, all));
    DMQ_TRY(json_rows(root, all));
    DMQ_TRY(json_unfinished(root, all));
    DMQ_TRY(dmq_json_dump(&text, root, 2));
    dmq_text_add(t, "%s\n", text);
done:
    dmq_json_destroy(root);
    dmq_free(text);
    return st;
}
