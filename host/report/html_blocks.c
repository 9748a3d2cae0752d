/* By reconstruction unit: held-out losses, nearest rounding and what each arm made of it; and how uneven
   the sample weights are. */
#include "base/memory.h"
#include "report/html_inner.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct unit {
    const char *name;
} unit;

/* Units in the order of the runs that have them, each name once. */
static dmq_status list_units(unit **out, int *count, const dmq_results *all)
{
    dmq_status st = DMQ_OK;

    *out = NULL;
    *count = 0;
    for (int i = 0; i < all->n_arms; i++) {
        for (int j = 0; j < all->arm[i].n_runs; j++) {
            const dmq_json *blocks = dmq_json_get(all->arm[i].run[j]->blocks, "blocks");

            for (size_t k = 0; k < dmq_json_count(blocks); k++) {
                const char *name =
                    dmq_json_text(dmq_json_get(dmq_json_at(blocks, k), "block"), "?");
                int known = 0;

                for (int u = 0; u < *count && !known; u++)
                    known = strcmp((*out)[u].name, name) == 0;
                if (known)
                    continue;
                DMQ_TRY(dmq_grow((void **)out, (size_t)*count, (size_t)*count + 1, sizeof **out));
                (*out)[(*count)++].name = name;
            }
        }
    }
done:
    return st;
}

static const dmq_json *block_of(const dmq_result *run, const char *name)
{
    const dmq_json *blocks = dmq_json_get(run->blocks, "blocks");

    for (size_t k = 0; k < dmq_json_count(blocks); k++) {
        if (strcmp(dmq_json_text(dmq_json_get(dmq_json_at(blocks, k), "block"), "?"), name) == 0)
            return dmq_json_at(blocks, k);
    }
    return NULL;
}

/* Losses of a unit, one value a seed; returns how many. The temporal unit has no held-out samples. */
static int losses(double *value, double *nearest, double *last, const dmq_arm *arm,
                  const char *name)
{
    double logs[2] = { 0, 0 };
    int n = 0;

    for (int j = 0; j < arm->n_runs; j++) {
        const dmq_json *b = block_of(arm->run[j], name);
        double from = dmq_json_real(dmq_json_find(b, "recon.nearest_held"), 0);
        double to = dmq_json_real(dmq_json_find(b, "recon.final_held"), 0);

        if (!(from > 0) || !(to > 0))
            continue;
        logs[0] += log(from);
        logs[1] += log(to);
        value[n++] = to;
    }
    *nearest = n > 0 ? exp(logs[0] / n) : (double)NAN;
    *last = n > 0 ? exp(logs[1] / n) : (double)NAN;
    return n;
}

/* ------------------------------------------------------------------ rows of units */

typedef struct rows {
    dmq_svg_row *row;
    double *value, *next; /* values of all rows, and where free room begins */
    char (*tip)[224];
    int n, *wanted; /* (n_arms) that have a row */
} rows;

static dmq_status create(rows *r, const dmq_results *all, int n_units)
{
    size_t room = (size_t)n_units * (size_t)all->n_runs + (size_t)all->n_arms;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&r->row, room, sizeof *r->row));
    DMQ_TRY(dmq_alloc((void **)&r->value, room, sizeof *r->value));
    DMQ_TRY(dmq_alloc((void **)&r->tip, room, sizeof *r->tip));
    DMQ_TRY(dmq_alloc((void **)&r->wanted, (size_t)all->n_arms, sizeof *r->wanted));
    r->next = r->value;
done:
    return st;
}

static void release(rows *r)
{
    dmq_free(r->row);
    dmq_free(r->value);
    dmq_free(r->tip);
    dmq_free(r->wanted);
}

/* A row with the n values at r->next. first: the unit's first row so far. */
static dmq_svg_row *add_row(rows *r, const dmq_page *page, int arm, int n, int first)
{
    dmq_svg_row *row = &r->row[r->n];

    *row = (dmq_svg_row){ .tip = r->tip[r->n],
                          .style = page->style[arm],
                          .from = (double)NAN,
                          .mean = (double)NAN,
                          .value = r->next,
                          .n = n,
                          .apart = r->n == first };
    r->wanted[arm] = 1;
    r->next += n;
    r->n++;
    return row;
}

/* The name stands in the middle of the unit's rows. */
static void name_rows(rows *r, int first, const char *name)
{
    if (r->n > first)
        r->row[first + (r->n - first) / 2].label = name;
}

/* The rows in two columns with one axis, where there are many. */
static void draw(dmq_page *page, const rows *r, dmq_svg_rows chart)
{
    int units = 0, half = 0, seen = 0;

    chart.least = INFINITY;
    chart.most = -INFINITY;
    for (int i = 0; i < r->n; i++) {
        const dmq_svg_row *row = &r->row[i];

        units += row->apart;
        for (int k = -1; k < row->n; k++) {
            double x = k < 0 ? row->from : row->value[k];

            if (isfinite(x)) {
                chart.least = fmin(chart.least, x);
                chart.most = fmax(chart.most, x);
            }
        }
    }
    for (int i = 0; i < r->n && half == 0; i++) {
        seen += r->row[i].apart;
        if (units >= 8 && seen == (units + 1) / 2 + 1)
            half = i;
    }
    chart.row_height = r->n > 100 ? 7 : 9;
    for (int i = 0; i < (half > 0 ? 2 : 1); i++) {
        chart.row = r->row + (i ? half : 0);
        chart.n = i || half == 0 ? r->n - (i ? half : 0) : half;
        dmq_text_add(&page->out, "<figure>");
        dmq_svg_draw_rows(&page->out, &chart);
        dmq_text_add(&page->out, "</figure>\n");
    }
}

/* ------------------------------------------------------------------ losses */

static void fill_losses(rows *r, const dmq_page *page, const unit *units, int n_units)
{
    for (int u = 0; u < n_units; u++) {
        int first = r->n;

        for (int i = 0; i < page->all->n_arms; i++) {
            const dmq_arm *arm = &page->all->arm[i];
            double nearest, last;
            int n = losses(r->next, &nearest, &last, arm, units[u].name);
            dmq_svg_row *row;

            if (n == 0)
                continue;
            (void)snprintf(r->tip[r->n], sizeof r->tip[r->n],
                           "%.80s, %.80s: nearest %.3g, after reconstruction %.3g", units[u].name,
                           arm->label, nearest, last);
            row = add_row(r, page, i, n, first);
            row->from = nearest;
            row->mean = last;
        }
        name_rows(r, first, units[u].name);
    }
}

dmq_status dmq_page_blocks(dmq_page *page)
{
    unit *units = NULL;
    rows r = { 0 };
    const dmq_svg_rows chart = { .alt =
                                     "Held-out loss of reconstruction units and arms, from nearest "
                                     "rounding to the end of reconstruction",
                                 .x_title = "held-out loss (log)",
                                 .reference = (double)NAN,
                                 .log = 1 };
    int n_units;
    dmq_status st = DMQ_OK;

    DMQ_TRY(list_units(&units, &n_units, page->all));
    DMQ_TRY(create(&r, page->all, n_units));
    fill_losses(&r, page, units, n_units);
    if (r.n == 0)
        goto done;
    dmq_page_open(
        page, "blocks", "Block losses",
        "Held-out reconstruction loss of every unit on a logarithmic axis. A line starts at the "
        "little stroke, nearest rounding, and ends at the mark, where reconstruction left it: "
        "the longer the way to the left, the more was gained.");
    dmq_page_legend(page, r.wanted, 0);
    dmq_text_add(&page->out, "<div class=\"pair\">\n");
    draw(page, &r, chart);
    dmq_text_add(&page->out, "</div>\n");
    dmq_page_close(page);
done:
    release(&r);
    dmq_free(units);
    return st;
}

/* ------------------------------------------------------------------ effective sample size */

/* A row for every arm, on it a mark for every unit: their mean over seeds. */
static void fill_ess(rows *r, const dmq_page *page, const unit *units, int n_units)
{
    for (int i = 0; i < page->all->n_arms; i++) {
        const dmq_arm *arm = &page->all->arm[i];
        dmq_stat all = { 0 };
        dmq_svg_row *row;

        for (int u = 0; u < n_units; u++) {
            dmq_stat one = { 0 };

            for (int j = 0; j < arm->n_runs; j++) {
                const dmq_json *b = block_of(arm->run[j], units[u].name);

                dmq_stat_add(&one, dmq_json_real(dmq_json_find(b, "weights.ess"), (double)NAN));
            }
            if (one.n > 0) {
                r->next[all.n] = one.mean;
                dmq_stat_add(&all, one.mean);
            }
        }
        if (all.n == 0)
            continue;
        (void)snprintf(r->tip[r->n], sizeof r->tip[r->n], "%.80s: mean %.3f over %d units",
                       arm->label, all.mean, all.n);
        row = add_row(r, page, i, all.n, -1);
        row->mean = all.mean;
        row->label = arm->label;
    }
}

dmq_status dmq_page_ess(dmq_page *page)
{
    unit *units = NULL;
    rows r = { 0 };
    dmq_svg_rows chart = { .alt =
                               "Effective sample size of every unit and arm with learned weights",
                           .x_title = "effective share of samples, a mark a unit",
                           .reference = 1,
                           .reference_name = "uniform" };
    int n_units;
    dmq_status st = DMQ_OK;

    DMQ_TRY(list_units(&units, &n_units, page->all));
    DMQ_TRY(create(&r, page->all, n_units));
    fill_ess(&r, page, units, n_units);
    if (r.n == 0)
        goto done;
    chart.row_height = 20;
    chart.row = r.row;
    chart.n = r.n;
    dmq_text_add(&page->out, "<figure>");
    dmq_svg_draw_rows(&page->out, &chart);
    dmq_text_add(&page->out, "</figure>\n");
done:
    release(&r);
    dmq_free(units);
    return st;
}
