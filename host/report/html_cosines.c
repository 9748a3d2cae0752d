/* Cosines between the gradients of timestep groups, before and after reconstruction. */
#include "base/memory.h"
#include "report/html_inner.h"

#include <math.h>
#include <stdio.h>

enum { GROUPS = 32 };

typedef struct cosines {
    int k; /* groups; 0: none */
    dmq_stat before[GROUPS * GROUPS], after[GROUPS * GROUPS];
} cosines;

static void add_matrix(dmq_stat *to, const dmq_json *list, int k)
{
    if (dmq_json_count(list) != (size_t)k * (size_t)k)
        return;
    for (int i = 0; i < k * k; i++)
        dmq_stat_add(&to[i], dmq_json_real(dmq_json_at(list, (size_t)i), (double)NAN));
}

/* Mean over units and seeds. */
static void gather_cosines(cosines *c, const dmq_arm *arm)
{
    *c = (cosines){ 0 };
    for (int j = 0; j < arm->n_runs; j++) {
        const dmq_json *blocks = dmq_json_get(arm->run[j]->blocks, "blocks");

        for (size_t i = 0; i < dmq_json_count(blocks); i++) {
            const dmq_json *b = dmq_json_at(blocks, i);
            int k = (int)dmq_json_int(dmq_json_get(b, "groups"), 0);

            if (k < 2 || k > GROUPS || (c->k != 0 && k != c->k))
                continue;
            c->k = k;
            add_matrix(c->before, dmq_json_get(b, "cosines_before"), k);
            add_matrix(c->after, dmq_json_get(b, "cosines_after"), k);
        }
    }
}

/* Of the pairs, without the diagonal. */
static double mean_of(const dmq_stat *at, int k)
{
    dmq_stat s = { 0 };

    for (int i = 0; i < k * k; i++) {
        if (i / k != i % k && at[i].n > 0)
            dmq_stat_add(&s, at[i].mean);
    }
    return s.n > 0 ? s.mean : (double)NAN;
}

static void draw_map(dmq_page *page, const char *when, const char *label, const dmq_stat *at, int k)
{
    double mean[GROUPS * GROUPS];
    char alt[256], number[DMQ_CELL];
    const dmq_column column = { .decimals = 2 };
    dmq_stat all = { 0 };

    for (int i = 0; i < k * k; i++)
        mean[i] = at[i].n > 0 ? at[i].mean : (double)NAN;
    dmq_stat_add(&all, mean_of(at, k));
    dmq_cell_text(number, &column, all, "−");
    (void)snprintf(alt, sizeof alt,
                   "%.80s, %s: cosines between the gradients of %d timestep groups, mean %s", label,
                   when, k, number);
    dmq_text_add(&page->out, "<div><span>%s, mean %s</span>", when, number);
    dmq_svg_draw_cosines(&page->out, alt, mean, k);
    dmq_text_add(&page->out, "</div>\n");
}

dmq_status dmq_page_cosines(dmq_page *page)
{
    cosines *c = NULL;
    dmq_status st = DMQ_OK;
    int opened = 0;

    DMQ_TRY(dmq_alloc((void **)&c, 1, sizeof *c));
    for (int i = 0; i < page->all->n_arms; i++) {
        const dmq_arm *arm = &page->all->arm[i];

        gather_cosines(c, arm);
        if (c->k == 0)
            continue;
        if (!opened) {
            dmq_page_open(
                page, "gradients", "Do timesteps agree?",
                "Cosine between the gradients that two groups of timesteps ask of the same "
                "weights, on validation samples: before (nearest rounding) and after "
                "reconstruction. Group 1 is the noisiest. Mean over units and seeds.");
            dmq_text_add(&page->out, "<div class=\"maps\">\n");
        }
        opened = 1;
        dmq_text_add(&page->out, "<figure><h3>");
        dmq_svg_swatch(&page->out, page->style[i], 0);
        dmq_html_text(&page->out, arm->label);
        dmq_text_add(&page->out, "</h3><div class=\"beside\">\n");
        draw_map(page, "before", arm->label, c->before, c->k);
        draw_map(page, "after", arm->label, c->after, c->k);
        dmq_text_add(&page->out, "</div></figure>\n");
    }
    if (opened) {
        dmq_text_add(&page->out, "</div>\n");
        dmq_page_close(page);
    }
done:
    dmq_free(c);
    return st;
}
