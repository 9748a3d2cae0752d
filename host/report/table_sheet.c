/* The table as sheets of texts, and the lines under it: what its two forms for people share. */
#include "base/memory.h"
#include "report/table_inner.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ cells */

int dmq_sheet_width(const char *text)
{
    int n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

const char *dmq_sheet_cell(const dmq_sheet *s, int row, int column)
{
    return s->cell[row * s->columns + column];
}

static dmq_status put(dmq_sheet *s, int row, int column, const char *text,
                      const dmq_sheet_form *form)
{
    char **cell = &s->cell[row * s->columns + column];
    dmq_text t = { 0 };
    dmq_status st = DMQ_OK;
    int width;

    form->escape(&t, text);
    DMQ_TRY(dmq_text_take(cell, &t));
    width = dmq_sheet_width(*cell);
    if (width > s->width[column])
        s->width[column] = width;
done:
    return st;
}

static dmq_status put_head(dmq_sheet *s, const dmq_sheet_form *form)
{
    static const char *const fixed[] = { "method", "bits", "seeds" };
    dmq_status st = DMQ_OK;

    assert(s->fixed <= 3);
    for (int i = 0; i < s->fixed; i++)
        DMQ_TRY(put(s, 0, i, fixed[i], form));
    for (int i = 0; i < s->n; i++) {
        int better = dmq_measures[s->column[i].measure].better;
        char title[96], text[112];

        if (s->column[i].paper == DMQ_COLUMN_DIFFERENCE)
            better = 0;
        dmq_column_title(title, sizeof title, &s->column[i]);
        (void)snprintf(text, sizeof text, "%s%s", title,
                       better < 0   ? " ↓"
                       : better > 0 ? " ↑"
                                    : "");
        DMQ_TRY(put(s, 0, s->fixed + i, text, form));
    }
done:
    return st;
}

static dmq_status put_row(dmq_sheet *s, const dmq_results *all, const dmq_row *row,
                          const dmq_sheet_form *form)
{
    char seeds[64] = "", text[DMQ_CELL];
    dmq_status st = DMQ_OK;
    int at = s->rows++;

    DMQ_TRY(put(s, at, 0, row->label, form));
    if (s->fixed > 1)
        DMQ_TRY(put(s, at, 1, row->bits, form));
    if (s->fixed > 2) {
        if (row->arm)
            dmq_seeds_text(seeds, sizeof seeds, row->arm, 3);
        DMQ_TRY(put(s, at, 2, seeds, form));
    }
    for (int i = 0; i < s->n; i++) {
        dmq_row_cell(text, all, row, &s->column[i], form->minus);
        DMQ_TRY(put(s, at, s->fixed + i, text, form));
    }
done:
    return st;
}

/* ------------------------------------------------------------------ sheets */

static dmq_sheet_kind kind_of(const dmq_column *c)
{
    switch (dmq_measures[c->measure].group) {
    case DMQ_MEASURE_BLOCKS:
        return DMQ_SHEET_UNITS;
    case DMQ_MEASURE_COST:
    case DMQ_MEASURE_TIME:
        return DMQ_SHEET_COSTS;
    default:
        return DMQ_SHEET_IMAGES;
    }
}

static int has_any(const dmq_sheet *s, const dmq_results *all, const dmq_row *row)
{
    char text[DMQ_CELL];

    for (int i = 0; i < s->n; i++) {
        dmq_row_cell(text, all, row, &s->column[i], "-");
        if (text[0])
            return 1;
    }
    return 0;
}

dmq_status dmq_sheet_make(dmq_sheet *s, const dmq_results *all, dmq_sheet_kind kind,
                          const dmq_sheet_form *form)
{
    int taken = 0, n, rows = dmq_rows_count(all);
    dmq_status st = DMQ_OK;

    *s = (dmq_sheet){ .kind = kind, .fixed = 3, .left = 2 };
    n = dmq_columns_choose(s->column, all);
    for (int i = 0; i < n; i++) {
        if (kind_of(&s->column[i]) == kind)
            s->column[taken++] = s->column[i];
    }
    s->n = taken;
    if (kind == DMQ_SHEET_UNITS)
        s->fixed = s->left = 1;
    if (kind == DMQ_SHEET_COSTS)
        s->fixed = s->left = 2;
    s->columns = s->fixed + s->n;
    DMQ_TRY(dmq_alloc((void **)&s->cell, (size_t)((rows + 1) * s->columns), sizeof *s->cell));
    DMQ_TRY(dmq_alloc((void **)&s->width, (size_t)s->columns, sizeof *s->width));
    s->rows = 1;
    DMQ_TRY(put_head(s, form));
    for (int i = 0; i < rows; i++) {
        dmq_row row;

        dmq_row_at(&row, all, i);
        if ((kind == DMQ_SHEET_IMAGES && !row.published) || has_any(s, all, &row))
            DMQ_TRY(put_row(s, all, &row, form));
    }
done:
    return st;
}

void dmq_sheet_release(dmq_sheet *s)
{
    for (int i = 0; s->cell && i < s->rows * s->columns; i++)
        dmq_free(s->cell[i]);
    dmq_free(s->cell);
    dmq_free(s->width);
    *s = (dmq_sheet){ 0 };
}

/* ------------------------------------------------------------------ lines under them */

void dmq_sheet_notes(dmq_text *t, const dmq_sheet *s)
{
    const char *before = "metrics: ";

    for (int i = 0; i < s->n; i++) {
        const dmq_column *c = &s->column[i];

        if (!c->id)
            continue;
        dmq_text_add(t, "%s%s %s", before, dmq_measures[c->measure].title, c->id);
        if (c->n > 0)
            dmq_text_add(t, " (n %lld)", (long long)c->n);
        before = "; ";
    }
    if (*before == ';')
        dmq_text_add(t, "\n");
    for (int i = 0; i < s->n && s->kind == DMQ_SHEET_COSTS; i++) {
        const dmq_measure *m = &dmq_measures[s->column[i].measure];

        if (s->column[i].paper == DMQ_COLUMN_MEASURED)
            dmq_text_add(t, "%s: %s\n", m->title, m->help);
    }
}

/* "ddim, 100 steps, eta 0, quad": everything that another number of the same name may have been made with. */
static void sampler_text(char *out, size_t size, const dmq_result *r)
{
    const char *guidance = dmq_result_setting(r, "sampler.guidance", "1");
    const char *levels = dmq_result_setting(r, "sample.levels", "");

    (void)snprintf(
        out, size, "%.24s, %.12s steps, eta %.12s, %.24s%s%.12s%s%.24s",
        dmq_result_setting(r, "sampler.kind", "?"), dmq_result_setting(r, "sampler.steps", "?"),
        dmq_result_setting(r, "sampler.eta", "?"), dmq_result_setting(r, "sampler.spacing", "?"),
        strcmp(guidance, "1") != 0 ? ", guidance " : "", strcmp(guidance, "1") != 0 ? guidance : "",
        levels[0] ? ", levels " : "", levels);
}

/* Each sampler once; with the arms that have it where there are several. */
static void note_samplers(dmq_text *t, const dmq_results *all)
{
    char first[160], mine[160], other[160];
    int several = 0;

    sampler_text(first, sizeof first, all->arm[0].run[0]);
    for (int i = 1; i < all->n_arms; i++) {
        sampler_text(other, sizeof other, all->arm[i].run[0]);
        several = several || strcmp(first, other) != 0;
    }
    for (int i = 0; i < (several ? all->n_arms : 1); i++) {
        sampler_text(mine, sizeof mine, all->arm[i].run[0]);
        dmq_text_add(t, "sampler%s%s: %s\n", several ? " of " : "",
                     several ? all->arm[i].label : "", mine);
    }
}

static const char *calibration_key(const dmq_result *r)
{
    return dmq_json_text(dmq_json_find(r->manifest, "stages.calibrate.key"), "");
}

/* Runs whose calibration set an earlier one of them has too. */
static int count_shared(const dmq_results *all)
{
    int n = 0;

    for (int i = 0; i < all->n_runs; i++) {
        int shared = 0;

        for (int j = 0; j < i && !shared; j++)
            shared = strcmp(calibration_key(&all->run[i]), calibration_key(&all->run[j])) == 0;
        n += shared;
    }
    return n;
}

/* Times that say less than they seem to. */
static void note_times(dmq_text *t, const dmq_results *all)
{
    int shared = count_shared(all);

    if (shared > 0) {
        dmq_text_add(t,
                     "calibration: %d of %d runs share the calibration set of another; its time is "
                     "told of each\n",
                     shared, all->n_runs);
    }
    for (int i = 0; i < all->n_arms; i++) {
        for (int j = 0; j < all->arm[i].n_runs; j++) {
            const dmq_result *r = all->arm[i].run[j];
            long long starts = (long long)dmq_json_int(dmq_json_get(r->manifest, "starts"), 1);

            if (starts > 1) {
                dmq_text_add(t,
                             "%s, seed %lld: made in %lld starts; of one that was killed no "
                             "time is known\n",
                             all->arm[i].label, (long long)r->seed, starts);
            }
        }
    }
}

dmq_status dmq_table_notes(dmq_text *t, const dmq_results *all)
{
    char images[64], *devices = NULL;
    dmq_status st = DMQ_OK;
    int spread = 0;

    dmq_images_text(images, sizeof images, all);
    DMQ_TRY(dmq_devices_text(&devices, all));
    for (int i = 0; i < all->n_arms; i++)
        spread = spread || all->arm[i].n_runs > 1;
    dmq_text_add(t, "%s a row; %s; %s\n", images, devices,
                 spread ? "± is the sample standard deviation over seeds"
                        : "one seed, so no spread is known");
    for (int i = 0; i < all->n_arms; i++) {
        char seeds[256];

        dmq_seeds_text(seeds, sizeof seeds, &all->arm[i], 24);
        if (all->arm[i].n_runs > 3)
            dmq_text_add(t, "seeds of %s: %s\n", all->arm[i].label, seeds);
    }
    note_samplers(t, all);
    note_times(t, all);
    DMQ_TRY(dmq_across_notes(t, all));
    DMQ_TRY(dmq_paper_notes(t, all));
    for (int i = 0; i < all->n_unfinished; i++) {
        dmq_text_add(t, "left out: %s (%s, seed %lld): evaluate is not done\n",
                     all->unfinished[i]->path, all->unfinished[i]->label,
                     (long long)all->unfinished[i]->seed);
    }
done:
    dmq_free(devices);
    return st;
}
