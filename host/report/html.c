#include "report/html.h"

#include "base/memory.h"
#include "base/path.h"
#include "report/html_inner.h"
#include "report/table.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ how arms are drawn */

/* "GAC W4A8" -> "GAC": rows of one method have one colour, their bits are told by dash and mark. */
static void stem_of(char out[96], const char *label)
{
    const char *p = label;
    size_t n = 0;

    out[0] = '\0';
    while (*p) {
        size_t word = strcspn(p, " ");
        int w, a, used = 0;
        int bits = sscanf(p, "W%dA%d%n", &w, &a, &used) == 2 && (size_t)used == word;

        if (!bits && word > 0 && n + word + 2 < 96)
            n += (size_t)snprintf(out + n, 96 - n, "%s%.*s", n ? " " : "", (int)word, p);
        p += word + strspn(p + word, " ");
    }
}

static int is_nearest(const dmq_arm *arm)
{
    return strcmp(dmq_result_setting(arm->run[0], "quant.weight.round", ""), "nearest") == 0;
}

/* When there are more methods than colours, a colour comes again with another form. */
static void keep_apart(dmq_page *page, int arm)
{
    dmq_style *s = &page->style[arm];

    for (int tries = 1; tries < DMQ_STYLE_FORMS; tries++) {
        int taken = 0;

        for (int j = 0; j < arm && !taken; j++)
            taken = page->style[j].colour == s->colour && page->style[j].form == s->form;
        if (!taken)
            return;
        s->form = (s->form + 1) % DMQ_STYLE_FORMS;
    }
}

/* What costs nothing is grey; the others take colours in order. */
static void choose_styles(dmq_page *page)
{
    const dmq_results *all = page->all;
    int colours = 0, forms = 0;

    for (int i = 0; i < all->n_arms; i++) {
        const dmq_arm *arm = &all->arm[i];
        dmq_style *s = &page->style[i];
        char stem[96], other[96];

        stem_of(stem, arm->label);
        s->colour = -1;
        s->form = -1;
        for (int j = 0; j < i; j++) {
            stem_of(other, all->arm[j].label);
            if (strcmp(stem, other) == 0)
                s->colour = page->style[j].colour;
            if (s->form < 0 && strcmp(arm->bits, all->arm[j].bits) == 0)
                s->form = page->style[j].form; /* of the first, which had the choice */
        }
        if (s->colour < 0)
            s->colour = is_nearest(arm) ? DMQ_STYLE_GREY : colours++ % DMQ_STYLE_COLOURS;
        if (s->form < 0)
            s->form = forms++ % DMQ_STYLE_FORMS;
        keep_apart(page, i);
    }
}

/* ------------------------------------------------------------------ pieces of a page */

void dmq_page_open(dmq_page *page, const char *id, const char *title, const char *lead)
{
    dmq_text_add(&page->nav, "<a href=\"#%s\">%c%s</a>\n", id, toupper((unsigned char)id[0]),
                 id + 1);
    dmq_text_add(&page->out, "<section id=\"%s\">\n<h2>", id);
    dmq_html_text(&page->out, title);
    dmq_text_add(&page->out, "</h2>\n");
    if (lead) {
        dmq_text_add(&page->out, "<p class=\"lead\">");
        dmq_html_text(&page->out, lead);
        dmq_text_add(&page->out, "</p>\n");
    }
}

void dmq_page_close(dmq_page *page)
{
    dmq_text_add(&page->out, "</section>\n");
}

void dmq_page_legend(dmq_page *page, const int *wanted, int line)
{
    dmq_text_add(&page->out, "<ul class=\"legend\">\n");
    for (int i = 0; i < page->all->n_arms; i++) {
        if (wanted && !wanted[i])
            continue;
        dmq_text_add(&page->out, "<li>");
        dmq_svg_swatch(&page->out, page->style[i], line);
        dmq_html_text(&page->out, page->all->arm[i].label);
        dmq_text_add(&page->out, "</li>\n");
    }
    dmq_text_add(&page->out, "</ul>\n");
}

static void number(dmq_page *page, const char *cell)
{
    const char *spread = strstr(cell, " ± ");

    if (spread) {
        dmq_text_add(&page->out, "<td>%.*s<span class=\"sd\">%s</span></td>", (int)(spread - cell),
                     cell, spread);
    } else {
        dmq_text_add(&page->out, "<td>%s</td>", cell);
    }
}

void dmq_page_number(dmq_page *page, const dmq_column *column, dmq_stat stat)
{
    char cell[DMQ_CELL];

    dmq_cell_text(cell, column, stat, "−");
    number(page, cell);
}

void dmq_page_cell(dmq_page *page, const dmq_column *column, const dmq_row *row)
{
    char cell[DMQ_CELL];

    dmq_row_cell(cell, page->all, row, column, "−");
    number(page, cell);
}

void dmq_page_power(dmq_page *page, int exponent)
{
    static const char *const digit[10] = { "⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹" };
    char digits[16];

    if (exponent == 0)
        return;
    (void)snprintf(digits, sizeof digits, "%d", exponent < 0 ? -exponent : exponent);
    dmq_text_add(&page->out, "×10%s", exponent < 0 ? "⁻" : "");
    for (const char *p = digits; *p; p++)
        dmq_text_add(&page->out, "%s", digit[*p - '0']);
}

/* ------------------------------------------------------------------ the page */

static dmq_status top(dmq_text *out, const dmq_page *page)
{
    const dmq_results *all = page->all;
    const dmq_result *r = all->arm[0].run[0];
    const dmq_json *model = dmq_json_get(r->manifest, "model");
    char images[64], *devices = NULL;
    dmq_status st = DMQ_OK;
    int runs = all->n_runs - all->n_unfinished;

    dmq_images_text(images, sizeof images, all);
    DMQ_TRY(dmq_devices_text(&devices, all));
    dmq_text_add(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                      "<meta name=\"generator\" content=\"dmq\">\n<title>");
    dmq_html_text(out, all->title);
    dmq_text_add(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n", dmq_page_style);
    dmq_text_add(out, "<header>\n<p class=\"kicker\">dmq report</p>\n<h1>");
    dmq_html_text(out, all->title);
    dmq_text_add(out, "</h1>\n<p class=\"facts\">");
    dmq_text_add(out, "%d arm%s, %d run%s, %s each · ", all->n_arms, all->n_arms == 1 ? "" : "s",
                 runs, runs == 1 ? "" : "s", images);
    dmq_html_text(out, dmq_result_setting(r, "sampler.kind", "?"));
    dmq_text_add(out, ", ");
    dmq_html_text(out, dmq_result_setting(r, "sampler.steps", "?"));
    dmq_text_add(out, " steps · ");
    dmq_html_text(out, dmq_path_name(dmq_json_text(dmq_json_get(model, "path"), "model")));
    dmq_text_add(out, ", %.2f M parameters · ",
                 dmq_json_real(dmq_json_get(model, "parameters"), 0) / 1e6);
    dmq_html_text(out, devices);
    dmq_text_add(out,
                 "</p>\n<nav aria-label=\"Parts of this page\">\n%s</nav>\n</header>\n<main>\n",
                 page->nav.data ? page->nav.data : "");
done:
    dmq_free(devices);
    return st;
}

static dmq_status parts(dmq_page *page)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_page_results(page));
    DMQ_TRY(dmq_page_glance(page));
    DMQ_TRY(dmq_page_images(page));
    DMQ_TRY(dmq_page_noise(page));
    DMQ_TRY(dmq_page_blocks(page));
    DMQ_TRY(dmq_page_cosines(page));
    DMQ_TRY(dmq_page_weights(page));
    DMQ_TRY(dmq_page_settings(page));
    DMQ_TRY(dmq_page_runs(page));
done:
    return st;
}

dmq_status dmq_html_render(char **out, const dmq_results *all)
{
    dmq_page page = { .all = all };
    dmq_text text = { 0 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_measures_check(all));
    DMQ_TRY(dmq_alloc((void **)&page.style, (size_t)all->n_arms, sizeof *page.style));
    choose_styles(&page);
    DMQ_TRY(parts(&page));
    DMQ_TRY(page.out.status);
    DMQ_TRY(page.nav.status);
    DMQ_TRY(top(&text, &page));
    dmq_text_add_bytes(&text, page.out.data, page.out.size);
    dmq_text_add(&text,
                 "</main>\n<footer>Written by dmq. Everything on this page comes from the run "
                 "folders that it names.</footer>\n</body>\n</html>\n");
    DMQ_TRY(dmq_text_take(out, &text));
done:
    dmq_text_release(&text);
    dmq_text_release(&page.out);
    dmq_text_release(&page.nav);
    dmq_free(page.style);
    return st;
}
