/* Curves over timesteps: noise-prediction error, sample weights. */
#include "base/memory.h"
#include "report/html_inner.h"

#include <math.h>
#include <stdio.h>

enum { STEPS = 1024, GROUPS = 32 };

/* Values at steps or groups, over the runs (and units) of an arm. */
typedef struct curve {
    int n;
    dmq_stat at[STEPS];
    double mean[STEPS], low[STEPS], high[STEPS];
} curve;

static void add(curve *c, const dmq_json *list)
{
    int n = (int)dmq_json_count(list);

    n = n < STEPS ? n : STEPS;
    c->n = n > c->n ? n : c->n;
    for (int i = 0; i < n; i++) {
        double x = dmq_json_real(dmq_json_at(list, (size_t)i), (double)NAN);

        if (c->at[i].n == 0 || x < c->low[i])
            c->low[i] = x;
        if (c->at[i].n == 0 || x > c->high[i])
            c->high[i] = x;
        dmq_stat_add(&c->at[i], x);
    }
}

static void finish(curve *c)
{
    for (int i = 0; i < c->n; i++)
        c->mean[i] = c->at[i].n > 0 ? c->at[i].mean : (double)NAN;
}

typedef struct curves {
    curve *arm;  /* (n_arms) */
    int *wanted; /* (n_arms) that have one */
    dmq_svg_line *line;
    int n_lines;
} curves;

static dmq_status create(curves *c, const dmq_results *all)
{
    size_t n = (size_t)all->n_arms;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&c->arm, n, sizeof *c->arm));
    DMQ_TRY(dmq_alloc((void **)&c->wanted, n, sizeof *c->wanted));
    DMQ_TRY(dmq_alloc((void **)&c->line, n, sizeof *c->line));
done:
    return st;
}

static void release(curves *c)
{
    dmq_free(c->arm);
    dmq_free(c->wanted);
    dmq_free(c->line);
}

enum { BANDS = 6 }; /* more than these would cover each other */

/* Lines of the arms that have values; a band where there are several seeds. */
static void make_lines(curves *c, const dmq_page *page, int bands)
{
    for (int i = 0; i < page->all->n_arms; i++) {
        curve *v = &c->arm[i];
        int several = bands && page->all->n_arms <= BANDS && page->all->arm[i].n_runs > 1;

        finish(v);
        c->wanted[i] = v->n > 0;
        if (v->n > 0) {
            c->line[c->n_lines++] = (dmq_svg_line){ .name = page->all->arm[i].label,
                                                    .style = page->style[i],
                                                    .x0 = 1,
                                                    .dx = 1,
                                                    .y = v->mean,
                                                    .low = several ? v->low : NULL,
                                                    .high = several ? v->high : NULL,
                                                    .n = v->n };
        }
    }
}

/* The numbers of a chart: places as rows, arms as columns. */
static void numbers(dmq_page *page, const curves *c, const char *what, const char *place, double x0,
                    double dx)
{
    dmq_text *out = &page->out;
    dmq_column column = { 0 };
    double least = INFINITY, most = 0;
    int rows = 0;

    for (int i = 0; i < page->all->n_arms; i++) {
        rows = c->arm[i].n > rows ? c->arm[i].n : rows;
        for (int k = 0; k < c->arm[i].n; k++) {
            if (c->arm[i].mean[k] > 0) {
                least = fmin(least, c->arm[i].mean[k]);
                most = fmax(most, c->arm[i].mean[k]);
            }
        }
    }
    if (!(most > 0))
        return;
    dmq_column_form(&column, least, most);
    if (column.decimals < 3)
        column.decimals = 3;
    dmq_text_add(out, "<details><summary>The numbers: %s", what);
    if (column.exponent != 0)
        dmq_text_add(out, ", ");
    dmq_page_power(page, column.exponent);
    dmq_text_add(out,
                 "</summary><div class=\"scroll\" tabindex=\"0\" role=\"region\" "
                 "aria-label=\"Numbers\"><table><thead><tr><th class=\"corner\" "
                 "scope=\"col\">%s</th>",
                 place);
    for (int i = 0; i < page->all->n_arms; i++) {
        if (c->arm[i].n > 0) {
            dmq_text_add(out, "<th scope=\"col\">");
            dmq_html_text(out, page->all->arm[i].label);
            dmq_text_add(out, "</th>");
        }
    }
    dmq_text_add(out, "</tr></thead><tbody>\n");
    for (int k = 0; k < rows; k++) {
        dmq_text_add(out, "<tr><th scope=\"row\">%g</th>", x0 + k * dx);
        for (int i = 0; i < page->all->n_arms; i++) {
            if (c->arm[i].n > 0)
                dmq_page_number(page, &column, c->arm[i].at[k]);
        }
        dmq_text_add(out, "</tr>\n");
    }
    dmq_text_add(out, "</tbody></table></div></details>\n");
}

/* ------------------------------------------------------------------ noise-prediction error */

static void gather(curves *c, const dmq_results *all, const char *path)
{
    for (int i = 0; i < all->n_arms; i++) {
        for (int j = 0; j < all->arm[i].n_runs; j++)
            add(&c->arm[i], dmq_json_find(all->arm[i].run[j]->metrics, path));
    }
}

/* Value of one seed. */
static double group_error(const dmq_result *run, int group)
{
    const dmq_json *list =
        dmq_json_find(run->metrics, "quantized.noise_error.groups_noisy_to_clean");

    return dmq_json_real(dmq_json_at(list, (size_t)group), (double)NAN);
}

/* Groups are few: a mark for every seed of every arm. */
static dmq_status draw_groups(dmq_page *page, const curves *c)
{
    const dmq_results *all = page->all;
    dmq_svg_rows chart = { .alt =
                               "Noise-prediction error of every timestep group, arm and seed on a "
                               "logarithmic axis",
                           .x_title = "by timestep group (log)",
                           .reference = (double)NAN,
                           .log = 1 };
    dmq_svg_row *row = NULL;
    double *value = NULL, *next;
    char label[GROUPS][32];
    int groups = 0, n = 0;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < all->n_arms; i++)
        groups = c->arm[i].n > groups ? c->arm[i].n : groups;
    if (groups > GROUPS)
        groups = GROUPS;
    DMQ_TRY(dmq_alloc((void **)&row, (size_t)all->n_arms * GROUPS, sizeof *row));
    DMQ_TRY(dmq_alloc((void **)&value, (size_t)all->n_runs * GROUPS, sizeof *value));
    next = value;
    for (int g = 0; g < groups; g++) {
        int first = n;

        (void)snprintf(label[g], sizeof label[g], "group %d%s", g + 1,
                       g == 0            ? ", noisy"
                       : g == groups - 1 ? ", clean"
                                         : "");
        for (int i = 0; i < all->n_arms; i++) {
            const dmq_arm *arm = &all->arm[i];

            if (g >= c->arm[i].n)
                continue;
            row[n] = (dmq_svg_row){ .tip = arm->label,
                                    .style = page->style[i],
                                    .from = (double)NAN,
                                    .mean = c->arm[i].mean[g],
                                    .value = next,
                                    .n = arm->n_runs,
                                    .apart = n == first };
            for (int j = 0; j < arm->n_runs; j++)
                *next++ = group_error(arm->run[j], g);
            n++;
        }
        if (n > first)
            row[first + (n - first) / 2].label = label[g];
    }
    chart.row_height = n > 40 ? 8 : 11;
    chart.row = row;
    chart.n = n;
    dmq_svg_draw_rows(&page->out, &chart);
done:
    dmq_free(row);
    dmq_free(value);
    return st;
}

static void draw_steps(dmq_page *page, const curves *c)
{
    const dmq_svg_lines chart = {
        .alt = "Noise-prediction error by sampler step, one line an arm, on a "
               "logarithmic axis",
        .x_title = "sampler step, noisy to clean",
        .y_title = "by sampler step (log)",
        .log = 1,
        .reference = (double)NAN,
        .line = c->line,
        .n = c->n_lines
    };

    dmq_svg_draw_lines(&page->out, &chart);
}

dmq_status dmq_page_noise(dmq_page *page)
{
    curves step = { 0 }, group = { 0 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(create(&step, page->all));
    DMQ_TRY(create(&group, page->all));
    gather(&step, page->all, "quantized.noise_error.by_step");
    gather(&group, page->all, "quantized.noise_error.groups_noisy_to_clean");
    make_lines(&step, page, 1);
    make_lines(&group, page, 0);
    if (step.n_lines == 0 && group.n_lines == 0)
        goto done;
    dmq_page_open(
        page, "noise", "Noise-prediction error",
        "Mean squared difference between the noise that the quantized and the full-precision "
        "network predict, on held-out states of the full-precision sampler. Lines are means "
        "over seeds; a band, where there is one, reaches from the least to the largest seed.");
    dmq_page_legend(page, step.n_lines ? step.wanted : group.wanted, step.n_lines > 0);
    dmq_text_add(&page->out, "<div class=\"pair\">\n");
    if (step.n_lines > 0) {
        dmq_text_add(&page->out, "<figure>");
        draw_steps(page, &step);
        dmq_text_add(&page->out, "</figure>\n");
    }
    if (group.n_lines > 0) {
        dmq_text_add(&page->out, "<figure>");
        DMQ_TRY(draw_groups(page, &group));
        dmq_text_add(&page->out, "</figure>\n");
    }
    dmq_text_add(&page->out, "</div>\n");
    numbers(page, &group, "error by timestep group, 1 the noisiest", "group", 1, 1);
    numbers(page, &step, "error by sampler step", "step", 1, 1);
    dmq_page_close(page);
done:
    release(&step);
    release(&group);
    return st;
}

/* ------------------------------------------------------------------ sample weights */

static void gather_weights(curves *c, const dmq_results *all)
{
    for (int i = 0; i < all->n_arms; i++) {
        for (int j = 0; j < all->arm[i].n_runs; j++) {
            const dmq_json *blocks = dmq_json_get(all->arm[i].run[j]->blocks, "blocks");

            for (size_t k = 0; k < dmq_json_count(blocks); k++)
                add(&c->arm[i], dmq_json_find(dmq_json_at(blocks, k), "weights.step_weight"));
        }
    }
}

/* Steps between two places of the weight set. */
static double interval_of(const dmq_arm *arm)
{
    double interval = dmq_result_setting_real(arm->run[0], "calibrate.interval");

    return interval >= 1 ? interval : 1;
}

dmq_status dmq_page_weights(dmq_page *page)
{
    curves c = { 0 };
    dmq_svg_lines chart = { .alt =
                                "Mean sample weight by sampler step, one line an arm with learned "
                                "weights",
                            .x_title = "sampler step, noisy to clean",
                            .y_title = "mean weight, by step",
                            .reference = 1,
                            .reference_name = "uniform" };
    double interval = 1;
    dmq_status st = DMQ_OK;

    DMQ_TRY(create(&c, page->all));
    gather_weights(&c, page->all);
    make_lines(&c, page, 0);
    if (c.n_lines == 0)
        goto done;
    for (int i = 0, n = 0; i < page->all->n_arms; i++) {
        if (c.wanted[i]) {
            interval = interval_of(&page->all->arm[i]);
            c.line[n++].dx = interval;
        }
    }
    chart.line = c.line;
    chart.n = c.n_lines;
    dmq_page_open(
        page, "weights", "Sample weights by timestep",
        "Mean learned weight of the calibration samples of a step, over units and seeds; 1 is "
        "what uniform weights give every sample. Beside it, what share of the samples counts in "
        "effect: (sum w)² / (n sum w²).");
    dmq_page_legend(page, c.wanted, 1);
    dmq_text_add(&page->out, "<div class=\"pair\">\n<figure>");
    dmq_svg_draw_lines(&page->out, &chart);
    dmq_text_add(&page->out, "</figure>\n");
    DMQ_TRY(dmq_page_ess(page));
    dmq_text_add(&page->out, "</div>\n");
    numbers(page, &c, "weight by sampler step, ± over units and seeds", "step", 1, interval);
    dmq_page_close(page);
done:
    release(&c);
    return st;
}
