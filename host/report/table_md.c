/* The table for people: pipe tables with aligned columns, and under them what their numbers are. Two of
   them, images and reconstruction units, because one would be too wide for a terminal. */
#include "base/memory.h"
#include "report/measure.h"
#include "report/table_inner.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

typedef struct sheet {
    const dmq_column *column; /* (n) */
    int n;
    int fixed; /* columns before those: method, or method, bits, seeds */
    int left;  /* the first of them, aligned left */
    int rows, columns;
    char **cell; /* (rows, columns) */
    int *width;  /* (columns), in characters */
} sheet;

static void release_sheet(sheet *s)
{
    for (int i = 0; s->cell && i < s->rows * s->columns; i++)
        dmq_free(s->cell[i]);
    dmq_free(s->cell);
    dmq_free(s->width);
}

/* Characters, not bytes: "±" is one. */
static int width_of(const char *text)
{
    int n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* A bar would end the cell, a line end the row. */
static dmq_status put(sheet *s, int row, int column, const char *text)
{
    char **cell = &s->cell[row * s->columns + column];
    dmq_text t = { 0 };
    dmq_status st = DMQ_OK;
    int width;

    for (; *text; text++) {
        if (*text == '|') {
            dmq_text_add(&t, "\\|");
        } else {
            dmq_text_add_bytes(&t, *text == '\n' || *text == '\r' ? " " : text, 1);
        }
    }
    DMQ_TRY(dmq_text_take(cell, &t));
    width = width_of(*cell);
    if (width > s->width[column])
        s->width[column] = width;
done:
    return st;
}

static dmq_status put_head(sheet *s)
{
    static const char *const fixed[] = { "method", "bits", "seeds" };
    dmq_status st = DMQ_OK;

    assert(s->fixed <= 3);
    for (int i = 0; i < s->fixed; i++)
        DMQ_TRY(put(s, 0, i, fixed[i]));
    for (int i = 0; i < s->n; i++) {
        int better = dmq_measures[s->column[i].measure].better;
        char title[96], text[112];

        dmq_column_title(title, sizeof title, &s->column[i]);
        (void)snprintf(text, sizeof text, "%s%s", title,
                       better < 0   ? " ↓"
                       : better > 0 ? " ↑"
                                    : "");
        DMQ_TRY(put(s, 0, s->fixed + i, text));
    }
done:
    return st;
}

/* arm NULL: the full-precision model of run. */
static dmq_status put_row(sheet *s, const char *label, const dmq_arm *arm, const dmq_result *run)
{
    char seeds[64] = "";
    dmq_status st = DMQ_OK;
    int row = s->rows++;

    DMQ_TRY(put(s, row, 0, label));
    if (s->fixed > 1) {
        if (arm)
            dmq_seeds_text(seeds, sizeof seeds, arm, 3);
        DMQ_TRY(put(s, row, 1, arm ? arm->bits : "W32A32"));
        DMQ_TRY(put(s, row, 2, seeds));
    }
    for (int i = 0; i < s->n; i++) {
        const dmq_column *c = &s->column[i];
        dmq_stat stat = { 0 };
        char text[DMQ_CELL];

        if (arm && !c->paper) {
            stat = dmq_stat_of(arm, c->measure);
        } else if (arm) {
            dmq_stat_add(&stat, dmq_measure_paper(arm, c->measure));
        } else if (!c->paper) {
            dmq_stat_add(&stat, dmq_measure_value(run, c->measure, 1));
        }
        dmq_cell_text(text, c, stat, "-");
        DMQ_TRY(put(s, row, s->fixed + i, text));
    }
done:
    return st;
}

/* Whether the arm has a number in any of the columns. */
static int has_any(const sheet *s, const dmq_arm *arm)
{
    for (int i = 0; i < s->n; i++) {
        if (dmq_stat_of(arm, s->column[i].measure).n > 0)
            return 1;
    }
    return 0;
}

static void write_row(dmq_text *t, const sheet *s, int row)
{
    dmq_text_add(t, "|");
    for (int c = 0; c < s->columns; c++) {
        const char *text = s->cell[row * s->columns + c];
        int blank = s->width[c] - width_of(text);

        dmq_text_add(t, " %*s%s%*s |", c < s->left ? 0 : blank, "", text, c < s->left ? blank : 0,
                     "");
    }
    dmq_text_add(t, "\n");
}

static void write_rule(dmq_text *t, const sheet *s)
{
    dmq_text_add(t, "|");
    for (int c = 0; c < s->columns; c++) {
        dmq_text_add(t, "%s", c < s->left ? ":" : "-");
        for (int i = 0; i < s->width[c]; i++)
            dmq_text_add(t, "-");
        dmq_text_add(t, "%s|", c < s->left ? "-" : ":");
    }
    dmq_text_add(t, "\n");
}

/* Columns of the two sheets: those of units, or the others. Returns how many. */
static int take_columns(dmq_column *out, const dmq_column *from, int n, int of_units)
{
    int taken = 0;

    for (int i = 0; i < n; i++) {
        if ((dmq_measures[from[i].measure].group == DMQ_MEASURE_BLOCKS) == of_units)
            out[taken++] = from[i];
    }
    return taken;
}

/* One sheet and the metric ids of its columns. */
static dmq_status write_sheet(dmq_text *t, const dmq_results *all, const dmq_column *column, int n,
                              int of_units)
{
    sheet s = {
        .column = column, .n = n, .fixed = of_units ? 1 : 3, .left = of_units ? 1 : 2, .rows = 1
    };
    int room = 1 + all->n_fp + all->n_arms;
    dmq_status st = DMQ_OK;
    const char *before = "";

    s.columns = s.fixed + n;
    DMQ_TRY(dmq_alloc((void **)&s.cell, (size_t)(room * s.columns), sizeof *s.cell));
    DMQ_TRY(dmq_alloc((void **)&s.width, (size_t)s.columns, sizeof *s.width));
    DMQ_TRY(put_head(&s));
    for (int i = 0; i < all->n_fp && !of_units; i++)
        DMQ_TRY(put_row(&s, all->fp[i].label, NULL, all->fp[i].run));
    for (int i = 0; i < all->n_arms; i++) {
        if (!of_units || has_any(&s, &all->arm[i]))
            DMQ_TRY(put_row(&s, all->arm[i].label, &all->arm[i], NULL));
    }
    write_row(t, &s, 0);
    write_rule(t, &s);
    for (int r = 1; r < s.rows; r++)
        write_row(t, &s, r);
    dmq_text_add(t, "\nmetrics: ");
    for (int i = 0; i < n; i++) {
        if (column[i].id) {
            dmq_text_add(t, "%s%s %s", before, dmq_measures[column[i].measure].title, column[i].id);
            if (column[i].n > 0)
                dmq_text_add(t, " (n %lld)", (long long)column[i].n);
            before = "; ";
        }
    }
    dmq_text_add(t, "\n");
done:
    release_sheet(&s);
    return st;
}

static dmq_status write_notes(dmq_text *t, const dmq_results *all)
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
        const char *source = dmq_paper_source(&all->arm[i]);
        char seeds[256];

        dmq_seeds_text(seeds, sizeof seeds, &all->arm[i], 24);
        if (all->arm[i].n_runs > 3)
            dmq_text_add(t, "seeds of %s: %s\n", all->arm[i].label, seeds);
        if (source)
            dmq_text_add(t, "published, %s: %s\n", all->arm[i].label, source);
    }
    for (int i = 0; i < all->n_unfinished; i++) {
        dmq_text_add(t, "left out: %s (%s, seed %lld): evaluate is not done\n",
                     all->unfinished[i]->path, all->unfinished[i]->label,
                     (long long)all->unfinished[i]->seed);
    }
done:
    dmq_free(devices);
    return st;
}

dmq_status dmq_table_md(dmq_text *out, const dmq_results *all)
{
    dmq_column column[DMQ_COLUMNS], part[DMQ_COLUMNS];
    int n = dmq_columns_choose(column, all), taken;
    dmq_status st = DMQ_OK;

    DMQ_TRY(write_sheet(out, all, part, take_columns(part, column, n, 0), 0));
    taken = take_columns(part, column, n, 1);
    if (taken > 0) {
        dmq_text_add(out, "\n");
        DMQ_TRY(write_sheet(out, all, part, taken, 1));
    }
    dmq_text_add(out, "\n");
    DMQ_TRY(write_notes(out, all));
done:
    return st;
}
