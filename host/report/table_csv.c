/* The table for programs, a line a run, and of each arm mean and spread. */
#include "base/memory.h"
#include "report/table_inner.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

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

/* Whether there are columns of published values: those that a configuration can tell, always. */
static int is_published(const dmq_results *all, int measure)
{
    for (int i = 0; all->vs_paper && i < dmq_rows_count(all); i++) {
        dmq_row row;

        dmq_row_at(&row, all, i);
        if (isfinite(dmq_row_paper(&row, measure)))
            return 1;
    }
    return dmq_measure_has_paper(measure);
}

/* told: published values stand on this line, as on all but spreads; compared: differences too, as on means. */
static void csv_published(dmq_text *t, const dmq_results *all, const dmq_row *row, int told,
                          int compared)
{
    const dmq_beside *p = row->fp ? &row->fp->published : row->arm ? &row->arm->published : NULL;
    const dmq_paper_row *from = p ? p->row : row->published;

    for (int m = 0; m < DMQ_MEASURES; m++) {
        if (is_published(all, m))
            csv_real(t, told ? dmq_row_paper(row, m) : (double)NAN);
    }
    if (!all->vs_paper)
        return;
    for (int m = 0; m < DMQ_MEASURES; m++) {
        if (is_published(all, m))
            csv_real(t, compared ? dmq_row_difference(row, m) : (double)NAN);
    }
    dmq_text_add(t, ",");
    csv_text(t, told && from ? from->source : "");
    dmq_text_add(t, ",%s,", told && from ? from->tag : "");
    csv_text(t, compared && p && p->differs ? p->differs : "");
    dmq_text_add(t, ",");
    for (int m = 0, n = 0; m < DMQ_MEASURES && compared; m++) {
        if (isfinite(dmq_row_difference(row, m)) && dmq_row_unlike(all, row, m))
            dmq_text_add(t, "%s%s", n++ ? " " : "", dmq_measures[m].key);
    }
}

static dmq_status csv_fp(dmq_text *t, const dmq_results *all, const dmq_row *row)
{
    const dmq_result *run = row->fp->run;

    csv_begin(t, "fp", row->label, row->bits, run, "", run);
    for (int m = 0; m < DMQ_MEASURES; m++)
        csv_real(t, dmq_measure_value(run, m, 1));
    csv_published(t, all, row, 1, 1);
    return csv_ids(t, run, 1);
}

static dmq_status csv_arm(dmq_text *t, const dmq_results *all, const dmq_row *row)
{
    const dmq_arm *arm = row->arm;
    char seeds[256];
    dmq_status st = DMQ_OK;

    for (int i = 0; i < arm->n_runs; i++) {
        (void)snprintf(seeds, sizeof seeds, "%lld", (long long)arm->run[i]->seed);
        csv_begin(t, "run", arm->label, arm->bits, arm->run[i], seeds, arm->run[i]);
        for (int m = 0; m < DMQ_MEASURES; m++)
            csv_real(t, dmq_measure_value(arm->run[i], m, 0));
        csv_published(t, all, row, 1, 0);
        DMQ_TRY(csv_ids(t, arm->run[i], 0));
    }
    dmq_seeds_text(seeds, sizeof seeds, arm, 24);
    for (int sd = 0; sd < (arm->n_runs > 1 ? 2 : 1); sd++) {
        csv_begin(t, sd ? "sd" : "mean", arm->label, arm->bits, NULL, seeds, arm->run[0]);
        for (int m = 0; m < DMQ_MEASURES; m++) {
            dmq_stat s = dmq_stat_of(arm, m);

            csv_real(t, s.n == 0 ? (double)NAN : sd ? dmq_stat_sd(&s) : s.mean);
        }
        csv_published(t, all, row, !sd, !sd);
        DMQ_TRY(csv_ids(t, arm->run[0], 0));
    }
done:
    return st;
}

static void csv_unrun(dmq_text *t, const dmq_results *all, const dmq_row *row)
{
    dmq_text_add(t, "published,");
    csv_text(t, row->label);
    dmq_text_add(t, ",%s,,,,", row->bits);
    for (int m = 0; m < DMQ_MEASURES; m++)
        dmq_text_add(t, ",");
    csv_published(t, all, row, 1, 0);
    dmq_text_add(t, ",\n");
}

static void csv_head(dmq_text *t, const dmq_results *all)
{
    dmq_text_add(t, "row,label,bits,seed,images,device,folder");
    for (int m = 0; m < DMQ_MEASURES; m++)
        dmq_text_add(t, ",%s", dmq_measures[m].key);
    for (int m = 0; m < DMQ_MEASURES; m++) {
        if (is_published(all, m))
            dmq_text_add(t, ",paper_%s", dmq_measures[m].key);
    }
    for (int m = 0; m < DMQ_MEASURES && all->vs_paper; m++) {
        if (is_published(all, m))
            dmq_text_add(t, ",difference_%s", dmq_measures[m].key);
    }
    dmq_text_add(t, "%s,metrics\n",
                 all->vs_paper ? ",published_source,published_tag,differs,unlike" : "");
}

dmq_status dmq_table_csv(dmq_text *t, const dmq_results *all)
{
    dmq_status st = DMQ_OK;

    csv_head(t, all);
    for (int i = 0; i < dmq_rows_count(all); i++) {
        dmq_row row;

        dmq_row_at(&row, all, i);
        if (row.fp)
            DMQ_TRY(csv_fp(t, all, &row));
        if (row.arm)
            DMQ_TRY(csv_arm(t, all, &row));
        if (row.published)
            csv_unrun(t, all, &row);
    }
done:
    return st;
}
