/* The table of results, and the main measures seed by seed. */
#include "base/memory.h"
#include "report/html_inner.h"
#include "report/table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *group_name(const dmq_column *c)
{
    static const char *const names[] = { "images", "steps", "blocks", "cost", "time" };

    return names[dmq_measures[c->measure].group];
}

static void head(dmq_page *page, const dmq_column *column, int n)
{
    static const char *const what[] = { "", "published ", "Δ " };
    dmq_text *out = &page->out;

    dmq_text_add(out, "<thead>\n<tr><td colspan=\"3\"></td>");
    for (int i = 0, j; i < n; i = j) {
        for (j = i; j < n && group_name(&column[j]) == group_name(&column[i]); j++)
            ;
        dmq_text_add(out,
                     "<th class=\"group\" scope=\"colgroup\" colspan=\"%d\"><span>%s</span></th>",
                     j - i, group_name(&column[i]));
    }
    dmq_text_add(out, "</tr>\n<tr><th class=\"corner\" scope=\"col\">method</th>"
                      "<th class=\"text\" scope=\"col\">bits</th><th scope=\"col\">seeds</th>");
    for (int i = 0; i < n; i++) {
        const dmq_measure *m = &dmq_measures[column[i].measure];

        dmq_text_add(out, "<th scope=\"col\" title=\"");
        dmq_html_text(out, m->help);
        dmq_text_add(out, "\">");
        dmq_html_text(out, m->title);
        if (m->better != 0 && column[i].paper != DMQ_COLUMN_DIFFERENCE) {
            dmq_text_add(out, "&nbsp;<span class=\"better\" title=\"%s is better\">%s</span>",
                         m->better < 0 ? "less" : "more", m->better < 0 ? "↓" : "↑");
        }
        dmq_text_add(out, "<small>%s", what[column[i].paper]);
        dmq_html_text(out, m->unit);
        dmq_page_power(page, column[i].exponent);
        dmq_text_add(out, "</small></th>");
    }
    dmq_text_add(out, "</tr>\n</thead>\n");
}

static void body(dmq_page *page, const dmq_column *column, int n)
{
    const dmq_results *all = page->all;
    dmq_text *out = &page->out;

    dmq_text_add(out, "<tbody>\n");
    for (int i = 0; i < dmq_rows_count(all); i++) {
        char seeds[64] = "";
        dmq_row row;

        dmq_row_at(&row, all, i);
        dmq_text_add(out, "<tr%s><th scope=\"row\">",
                     row.fp          ? " class=\"fp\""
                     : row.published ? " class=\"published\""
                                     : "");
        if (row.arm) {
            dmq_seeds_text(seeds, sizeof seeds, row.arm, 3);
            dmq_svg_swatch(out, page->style[row.arm - all->arm], 0);
        }
        dmq_html_text(out, row.label);
        dmq_text_add(out, "</th><td class=\"text\">%s</td><td>%s</td>", row.bits, seeds);
        for (int j = 0; j < n; j++)
            dmq_page_cell(page, &column[j], &row);
        dmq_text_add(out, "</tr>\n");
    }
    dmq_text_add(out, "</tbody>\n");
}

static void meanings(dmq_page *page, const dmq_column *column, int n)
{
    dmq_text *out = &page->out;

    dmq_text_add(out,
                 "<details><summary>What the columns mean, and their metric ids</summary>\n<dl>\n");
    for (int i = 0; i < n; i++) {
        const dmq_measure *m = &dmq_measures[column[i].measure];

        if (column[i].paper)
            continue;
        dmq_text_add(out, "<dt>");
        dmq_html_text(out, m->title);
        dmq_text_add(out, "</dt><dd>");
        dmq_html_text(out, m->help);
        if (column[i].id) {
            dmq_text_add(out, " <code>");
            dmq_html_text(out, column[i].id);
            dmq_text_add(out, "</code>");
            if (column[i].n > 0)
                dmq_text_add(out, ", n&nbsp;=&nbsp;%lld", (long long)column[i].n);
        }
        dmq_text_add(out, "</dd>\n");
    }
    dmq_text_add(out, "</dl></details>\n");
}

/* Columns that mix metrics, what published values are from, and what was not measured as they were. */
static dmq_status sources(dmq_page *page)
{
    dmq_text notes = { 0 };
    char *text = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_across_notes(&notes, page->all));
    DMQ_TRY(dmq_paper_notes(&notes, page->all));
    DMQ_TRY(dmq_text_take(&text, &notes));
    if (text[0] == '\0')
        goto done;
    dmq_text_add(&page->out, "<p class=\"note\">");
    for (char *line = text, *end; *line; line = end + 1) {
        end = line + strcspn(line, "\n"); /* every line has one */
        *end = '\0';
        dmq_html_text(&page->out, line);
        dmq_text_add(&page->out, end[1] ? "<br>\n" : "</p>\n");
    }
done:
    dmq_text_release(&notes);
    dmq_free(text);
    return st;
}

static void unfinished(dmq_page *page)
{
    const dmq_results *all = page->all;
    dmq_text *out = &page->out;

    if (all->n_unfinished == 0)
        return;
    dmq_text_add(out, "<p class=\"warning\" role=\"note\"><strong>Left out, because they are not "
                      "evaluated yet:</strong> ");
    for (int i = 0; i < all->n_unfinished; i++) {
        const dmq_result *r = all->unfinished[i];
        char stages[128];

        dmq_result_stages_text(stages, sizeof stages, r);
        dmq_text_add(out, "%s", i ? "; " : "");
        dmq_html_text(out, r->label);
        dmq_text_add(out, ", seed %lld (<code>", (long long)r->seed);
        dmq_html_text(out, r->path);
        dmq_text_add(out, "</code>, done: ");
        dmq_html_text(out, stages);
        dmq_text_add(out, ")");
    }
    dmq_text_add(out, ".</p>\n");
}

static int most_seeds(const dmq_results *all)
{
    int most = 0;

    for (int i = 0; i < all->n_arms; i++) {
        if (all->arm[i].n_runs > most)
            most = all->arm[i].n_runs;
    }
    return most;
}

dmq_status dmq_page_results(dmq_page *page)
{
    dmq_column column[DMQ_COLUMNS];
    int n = dmq_columns_choose(column, page->all);
    char images[64];
    dmq_status st;

    dmq_images_text(images, sizeof images, page->all);
    dmq_page_open(page, "results", "Results", NULL);
    unfinished(page);
    dmq_text_add(&page->out, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
                             "aria-label=\"Table of results\">\n<table>\n");
    head(page, column, n);
    body(page, column, n);
    dmq_text_add(&page->out,
                 "</table>\n</div>\n<p class=\"note\">%s a row. %s↓ less is better, ↑ more "
                 "is.</p>\n",
                 images,
                 most_seeds(page->all) > 1
                     ? "Mean ± sample standard deviation over seeds. "
                     : "One seed: no spread is known, so small differences mean "
                       "nothing. ");
    st = sources(page);
    meanings(page, column, n);
    dmq_page_close(page);
    return st;
}

/* ------------------------------------------------------------------ the main measures, seed by seed */

typedef struct strip {
    dmq_svg_row *row; /* (n_arms) */
    double *value;    /* (n_runs) of all arms */
    char (*tip)[224]; /* (n_arms) */
    int n;
    double least, most;
} strip;

/* Rows of the arms that have a value. */
static void fill_strip(strip *s, const dmq_page *page, int measure)
{
    const dmq_results *all = page->all;
    double *value = s->value;

    s->n = 0;
    s->least = INFINITY;
    s->most = -INFINITY;

    for (int i = 0; i < all->n_arms; i++) {
        const dmq_arm *arm = &all->arm[i];
        dmq_stat stat = dmq_stat_of(arm, measure);
        char mean[DMQ_CELL], sd[DMQ_CELL];

        if (stat.n == 0)
            continue;
        for (int j = 0; j < arm->n_runs; j++) {
            value[j] = dmq_measure_value(arm->run[j], measure, 0);
            s->least = fmin(s->least, value[j]);
            s->most = fmax(s->most, value[j]);
        }
        dmq_number_text(mean, stat.mean, 4);
        dmq_number_text(sd, stat.n > 1 ? dmq_stat_sd(&stat) : 0, 2);
        (void)snprintf(s->tip[s->n], sizeof s->tip[s->n], "%.60s: %s%s%s", arm->label, mean,
                       stat.n > 1 ? " ± " : "", stat.n > 1 ? sd : "");
        s->row[s->n] = (dmq_svg_row){ .label = arm->label,
                                      .tip = s->tip[s->n],
                                      .style = page->style[i],
                                      .from = (double)NAN,
                                      .mean = stat.mean,
                                      .value = value,
                                      .n = arm->n_runs };
        s->n++;
        value += arm->n_runs;
    }
}

/* 1 when it was drawn. */
static int draw_strip(dmq_page *page, strip *s, const char *key)
{
    const dmq_results *all = page->all;
    int measure = dmq_measure_find(key);
    const dmq_measure *m = &dmq_measures[measure];
    char alt[256], title[96];
    dmq_svg_rows chart = { .alt = alt,
                           .x_title = title,
                           .reference = (double)NAN,
                           .reference_name = "full precision",
                           .row_height = 20,
                           .row = s->row };

    fill_strip(s, page, measure);
    if (s->n == 0)
        return 0;
    chart.n = s->n;
    if (all->n_fp == 1)
        chart.reference = dmq_measure_value(all->fp[0].run, measure, 1);
    chart.log = s->least > 0 && s->most / s->least > 6;
    (void)snprintf(title, sizeof title, "%s%s%s%s%s", m->title, m->unit[0] ? ", " : "", m->unit,
                   m->better < 0   ? " ↓"
                   : m->better > 0 ? " ↑"
                                   : "",
                   chart.log ? " (log)" : "");
    (void)snprintf(alt, sizeof alt, "%s of every arm and seed; the numbers are in the table above",
                   m->title);
    dmq_text_add(&page->out, "<figure>");
    dmq_svg_draw_rows(&page->out, &chart);
    dmq_text_add(&page->out, "</figure>\n");
    return 1;
}

dmq_status dmq_page_glance(dmq_page *page)
{
    static const char *const keys[] = { "fid",         "fd",          "mse_rest",
                                        "noise_error", "block_ratio", "psnr" };
    size_t arms = (size_t)page->all->n_arms;
    strip s = { 0 };
    dmq_status st = DMQ_OK;
    int drawn = 0;

    if (page->all->n_runs - page->all->n_unfinished < 2) /* nothing to compare */
        return DMQ_OK;
    DMQ_TRY(dmq_alloc((void **)&s.row, arms, sizeof *s.row));
    DMQ_TRY(dmq_alloc((void **)&s.tip, arms, sizeof *s.tip));
    DMQ_TRY(dmq_alloc((void **)&s.value, (size_t)page->all->n_runs, sizeof *s.value));
    dmq_page_open(
        page, "overview", "At a glance",
        most_seeds(page->all) > 1
            ? "Every mark is one seed, the upright stroke their mean. Where the seeds of two "
              "arms overlap, the arms do not differ by much."
            : NULL);
    dmq_text_add(&page->out, "<div class=\"pair\">\n");
    for (size_t i = 0; i < sizeof keys / sizeof *keys && drawn < 4; i++)
        drawn += draw_strip(page, &s, keys[i]);
    dmq_text_add(&page->out, "</div>\n");
    dmq_page_close(page);
done:
    dmq_free(s.row);
    dmq_free(s.tip);
    dmq_free(s.value);
    return st;
}
