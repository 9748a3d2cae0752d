#include "report/rows.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ rows */

static int unrun(const dmq_results *all)
{
    int n = 0;

    for (int i = 0; all->paper && i < all->paper->n_rows; i++)
        n += !all->paper->row[i].taken;
    return n;
}

int dmq_rows_count(const dmq_results *all)
{
    return all->n_fp + all->n_arms + unrun(all);
}

static const dmq_paper_row *unrun_at(const dmq_paper *paper, int i)
{
    const dmq_paper_row *row = paper->row;

    while (row->taken || i-- > 0)
        row++;
    return row;
}

void dmq_row_at(dmq_row *out, const dmq_results *all, int i)
{
    const dmq_paper_row *p;
    char settings[64];

    *out = (dmq_row){ .bits = "W32A32" };
    if (i < all->n_fp) {
        out->fp = &all->fp[i];
        out->label = out->fp->label;
    } else if (i < all->n_fp + all->n_arms) {
        out->arm = &all->arm[i - all->n_fp];
        out->bits = out->arm->bits;
        out->label = out->arm->label;
    } else {
        p = out->published = unrun_at(all->paper, i - all->n_fp - all->n_arms);
        out->bits = p->bits;
        dmq_paper_row_settings(settings, sizeof settings, all->paper, p);
        (void)snprintf(out->own, sizeof out->own, "%.60s%s (published [%s] %.40s)", p->label,
                       settings, p->tag, p->source_id);
        out->label = out->own;
    }
}

/* ------------------------------------------------------------------ values */

static const dmq_beside *published_of(const dmq_row *row)
{
    return row->fp ? &row->fp->published : row->arm ? &row->arm->published : NULL;
}

dmq_stat dmq_row_stat(const dmq_row *row, int measure)
{
    dmq_stat s = { 0 };

    if (row->arm)
        return dmq_stat_of(row->arm, measure);
    if (row->fp)
        dmq_stat_add(&s, dmq_measure_value(row->fp->run, measure, 1));
    return s;
}

double dmq_row_paper(const dmq_row *row, int measure)
{
    const dmq_beside *p = published_of(row);

    if (row->published)
        return row->published->value[measure];
    if (row->arm)
        return dmq_measure_paper(row->arm, measure);
    return p->row ? p->row->value[measure] : (double)NAN;
}

double dmq_row_difference(const dmq_row *row, int measure)
{
    dmq_stat s = dmq_row_stat(row, measure);

    return s.n > 0 ? s.mean - dmq_row_paper(row, measure) : (double)NAN;
}

static const char *id_of(const dmq_row *row, int measure)
{
    const dmq_result *run = row->fp ? row->fp->run : row->arm ? row->arm->run[0] : NULL;

    return run ? dmq_measure_id(run, measure, row->fp != NULL, NULL) : NULL;
}

/* Settings decide what images are, not what a network weighs. Where no protocol is told, nobody knows. */
int dmq_row_unlike(const dmq_results *all, const dmq_row *row, int measure)
{
    const dmq_beside *p = published_of(row);
    int images = dmq_measures[measure].group == DMQ_MEASURE_IMAGES;

    if (!p)
        return 0;
    if (!p->differs)
        return images;
    return (images && p->differs[0]) || dmq_paper_unlike(all->paper, measure, id_of(row, measure));
}

void dmq_row_cell(char out[DMQ_CELL], const dmq_results *all, const dmq_row *row,
                  const dmq_column *c, const char *minus)
{
    dmq_stat s = { 0 };
    char number[DMQ_CELL];

    if (c->paper == DMQ_COLUMN_MEASURED) {
        dmq_cell_text(out, c, dmq_row_stat(row, c->measure), minus);
        return;
    }
    if (c->paper == DMQ_COLUMN_PUBLISHED) {
        dmq_stat_add(&s, dmq_row_paper(row, c->measure));
        dmq_cell_text(out, c, s, minus);
        return;
    }
    dmq_stat_add(&s, dmq_row_difference(row, c->measure));
    dmq_cell_text(number, c, s, minus);
    (void)snprintf(out, DMQ_CELL, "%s%.40s%s", s.n > 0 && s.mean > 0 ? "+" : "", number,
                   s.n > 0 && dmq_row_unlike(all, row, c->measure) ? "†" : "");
}

/* ------------------------------------------------------------------ notes */

static int has_difference(const dmq_row *row)
{
    for (int m = 0; m < DMQ_MEASURES; m++) {
        if (isfinite(dmq_row_difference(row, m)))
            return 1;
    }
    return 0;
}

/* What each row has otherwise than it was published. */
static void note_unlike(dmq_text *out, const dmq_results *all, const dmq_row *row)
{
    const dmq_beside *p = published_of(row);

    if (!p || !has_difference(row))
        return;
    if (!p->differs || !all->paper) {
        dmq_text_add(out, "† %s %s: no published protocol is told\n", row->label, row->bits);
        return;
    }
    if (p->differs[0])
        dmq_text_add(out, "† %s %s: %s\n", row->label, row->bits, p->differs);
    for (int m = 0; m < DMQ_MEASURES; m++) {
        const char *id = id_of(row, m), *what = dmq_paper_unlike(all->paper, m, id);

        if (!what || !isfinite(dmq_row_difference(row, m)))
            continue;
        if (all->paper->convention[m]) {
            dmq_text_add(out, "† %s %s: %s, as published: %s\n", row->label, row->bits,
                         dmq_measures[m].title, what);
        } else {
            dmq_text_add(out, "† %s %s: %s is %s (published: with %s)\n", row->label, row->bits,
                         dmq_measures[m].title, id, what);
        }
    }
}

/* Each source once, and which of its rows stand beside runs. */
static void note_sources(dmq_text *out, const dmq_results *all)
{
    const dmq_paper *paper = all->paper;

    for (int i = 0; i < paper->n_rows; i++) {
        int told = 0;

        for (int j = 0; j < i && !told; j++)
            told = paper->row[j].source == paper->row[i].source;
        if (!told)
            dmq_text_add(out, "%s: %s\n", paper->row[i].source_id, paper->row[i].source);
    }
    for (int i = 0; i < all->n_fp + all->n_arms; i++) {
        const dmq_paper_row *p;
        dmq_row row;

        dmq_row_at(&row, all, i);
        p = published_of(&row)->row;
        if (p) {
            dmq_text_add(out, "published beside %s %s: %s %s [%s] %s\n", row.label, row.bits,
                         p->label, p->bits, p->tag, p->source_id);
        }
    }
}

static void note_id(dmq_text *out, const dmq_result *run, const char *label, int measure, int fp)
{
    int64_t n;
    const char *id = dmq_measure_id(run, measure, fp, &n);

    if (!id)
        return;
    dmq_text_add(out, "%s of %s: %s", dmq_measures[measure].title, label, id);
    if (n > 0)
        dmq_text_add(out, " (n %lld)", (long long)n);
    dmq_text_add(out, "\n");
}

dmq_status dmq_across_notes(dmq_text *out, const dmq_results *all)
{
    for (int m = 0; m < DMQ_MEASURES; m++) {
        if (!dmq_measure_is_across(all, m))
            continue;
        dmq_text_add(out, "%s: rows may have other metrics and cannot be compared as they stand\n",
                     dmq_measures[m].title);
        for (int i = 0; i < all->n_fp; i++)
            note_id(out, all->fp[i].run, all->fp[i].label, m, 1);
        for (int i = 0; i < all->n_arms; i++)
            note_id(out, all->arm[i].run[0], all->arm[i].label, m, 0);
    }
    return out->status;
}

dmq_status dmq_paper_notes(dmq_text *out, const dmq_results *all)
{
    for (int i = 0; i < all->n_arms; i++) {
        const char *source = dmq_paper_source(&all->arm[i]);

        if (source)
            dmq_text_add(out, "published, %s: %s\n", all->arm[i].label, source);
    }
    if (!all->vs_paper)
        return out->status;
    if (all->paper) {
        const dmq_paper *p = all->paper;

        dmq_text_add(out, "published table: %s (%s)%s%s\n", p->title, p->name,
                     p->tool[0] ? "; scored with " : "", p->tool);
        note_sources(out, all);
        dmq_text_add(out,
                     "[V] read in the source, [R] reported by others, [U] not looked up again\n");
    }
    dmq_text_add(out, "Δ is measured - published; †: not measured as it was published\n");
    for (int i = 0; i < all->n_fp + all->n_arms; i++) {
        dmq_row row;

        dmq_row_at(&row, all, i);
        note_unlike(out, all, &row);
    }
    return out->status;
}
