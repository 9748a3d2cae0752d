/* What the arms differ in, the runs with their times, and how to make them again. */
#include "base/memory.h"
#include "base/path.h"
#include "report/html_inner.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ settings */

/* The seed is what runs of one arm differ in; names and the sweep's own list say nothing of a method. */
static int is_told(const char *key)
{
    return strcmp(key, "seed") != 0 && strcmp(key, "name") != 0 && strncmp(key, "sweep.", 6) != 0;
}

static dmq_status text_of(char **out, const dmq_result *run, const char *key)
{
    const dmq_yaml_entry *e = dmq_result_entry(run, key);

    dmq_free(*out);
    *out = NULL;
    return e ? dmq_result_entry_text(out, e) : dmq_strdup(out, "–");
}

static dmq_status differs(int *out, const dmq_results *all, const char *key)
{
    char *first = NULL, *other = NULL;
    dmq_status st = DMQ_OK;

    *out = 0;
    DMQ_TRY(text_of(&first, all->arm[0].run[0], key));
    for (int i = 1; i < all->n_arms && !*out; i++) {
        DMQ_TRY(text_of(&other, all->arm[i].run[0], key));
        *out = strcmp(first, other) != 0;
    }
done:
    dmq_free(first);
    dmq_free(other);
    return st;
}

static dmq_status setting_row(dmq_page *page, const char *key)
{
    const dmq_results *all = page->all;
    dmq_text *out = &page->out;
    char *text = NULL, *before = NULL;
    dmq_status st = DMQ_OK;

    dmq_text_add(out, "<tr><th scope=\"row\" class=\"mono\">");
    dmq_html_text(out, key);
    dmq_text_add(out, "</th>");
    for (int i = 0; i < all->n_arms; i++) {
        DMQ_TRY(text_of(&text, all->arm[i].run[0], key));
        dmq_text_add(out, "<td class=\"text%s\">",
                     before && strcmp(before, text) == 0 ? " same" : "");
        dmq_html_text(out, text);
        dmq_text_add(out, "</td>");
        dmq_free(before);
        before = text;
        text = NULL;
    }
    dmq_text_add(out, "</tr>\n");
done:
    dmq_free(text);
    dmq_free(before);
    return st;
}

dmq_status dmq_page_settings(dmq_page *page)
{
    const dmq_results *all = page->all;
    const dmq_yaml *first = all->arm[0].run[0]->config;
    dmq_text *out = &page->out;
    dmq_status st = DMQ_OK;
    int rows = 0;

    if (all->n_arms < 2)
        goto done;
    dmq_page_open(page, "settings", "What the arms differ in", NULL);
    dmq_text_add(out,
                 "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Settings that "
                 "differ\"><table><thead><tr><th class=\"corner\" scope=\"col\">setting</th>");
    for (int i = 0; i < all->n_arms; i++) {
        dmq_text_add(out, "<th class=\"text\" scope=\"col\">");
        dmq_html_text(out, all->arm[i].label);
        dmq_text_add(out, "</th>");
    }
    dmq_text_add(out, "</tr></thead><tbody>\n");
    for (int i = 0; i < first->count; i++) {
        int other;

        if (!is_told(first->entry[i].key))
            continue;
        DMQ_TRY(differs(&other, all, first->entry[i].key));
        if (other)
            DMQ_TRY(setting_row(page, first->entry[i].key));
        rows += other;
    }
    if (rows == 0) {
        dmq_text_add(out, "<tr><td class=\"text\" colspan=\"%d\">nothing</td></tr>\n",
                     all->n_arms + 1);
    }
    dmq_text_add(out, "</tbody></table></div>\n<p class=\"note\">All other settings are alike; "
                      "config.yaml in each run folder has them all.</p>\n");
    dmq_page_close(page);
done:
    return st;
}

/* ------------------------------------------------------------------ runs */

static const char *const stages[] = { "calibrate", "sample-fp", "quantize", "sample", "evaluate" };

enum { STAGES = 5 };

static void seconds(dmq_text *out, double s)
{
    if (isfinite(s)) {
        dmq_text_add(out, "<td>%.1f</td>", s);
    } else {
        dmq_text_add(out, "<td></td>");
    }
}

static void run_row(dmq_text *out, const dmq_result *run)
{
    const dmq_json *m = run->manifest;

    dmq_text_add(out, "<tr><th scope=\"row\">");
    dmq_html_text(out, run->label);
    dmq_text_add(out, "</th><td>%lld</td>", (long long)run->seed);
    for (int i = 0; i < STAGES; i++) {
        seconds(out, dmq_json_real(dmq_json_get(dmq_json_get(dmq_json_get(m, "stages"), stages[i]),
                                                "seconds"),
                                   (double)NAN));
    }
    dmq_text_add(out, "<td>%.0f</td><td>%lld</td><td class=\"text\">",
                 dmq_json_real(dmq_json_get(m, "peak_memory_bytes"), 0) / 1e6,
                 (long long)dmq_json_int(dmq_json_get(m, "starts"), 0));
    dmq_html_text(out, dmq_json_text(dmq_json_get(m, "device"), "?"));
    dmq_text_add(out, " × %lld</td><td class=\"text\">",
                 (long long)dmq_json_int(dmq_json_get(m, "threads"), 0));
    dmq_html_text(out, dmq_json_text(dmq_json_get(m, "dmq"), "?"));
    dmq_text_add(out, "</td><td class=\"text\">");
    dmq_html_text(out, dmq_json_text(dmq_json_get(m, "created"), "?"));
    dmq_text_add(out, "</td><td class=\"text mono\">%.12s</td><td class=\"text mono\">",
                 dmq_json_text(dmq_json_find(m, "stages.quantize.sha256"), ""));
    dmq_html_text(out, run->path);
    dmq_text_add(out, "</td></tr>\n");
}

static void command(dmq_text *out, const dmq_result *run)
{
    dmq_html_text(out, "dmq run -c ");
    dmq_html_text(out, run->path);
    dmq_html_text(out, "/config.yaml -o again/");
    dmq_html_text(out, dmq_path_name(run->path));
    dmq_text_add(out, "\n");
}

dmq_status dmq_page_runs(dmq_page *page)
{
    const dmq_results *all = page->all;
    dmq_text *out = &page->out;

    dmq_page_open(
        page, "runs", "Runs",
        "Wall seconds of each stage. Stages that do not depend on the method are made once in a "
        "sweep and take no time in the runs that share them.");
    dmq_text_add(out,
                 "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Runs\"><table>"
                 "<thead><tr><th class=\"corner\" scope=\"col\">run</th><th "
                 "scope=\"col\">seed</th>");
    for (int i = 0; i < STAGES; i++)
        dmq_text_add(out, "<th scope=\"col\">%s<small>s</small></th>", stages[i]);
    dmq_text_add(out,
                 "<th scope=\"col\">peak<small>MB</small></th><th scope=\"col\">starts</th><th "
                 "class=\"text\" scope=\"col\">device</th><th class=\"text\" scope=\"col\">dmq</th>"
                 "<th class=\"text\" scope=\"col\">begun</th><th class=\"text\" "
                 "scope=\"col\">quant.h5<small>sha256</small></th><th class=\"text\" "
                 "scope=\"col\">folder</th></tr></thead><tbody>\n");
    for (int i = 0; i < all->n_arms; i++) {
        for (int j = 0; j < all->arm[i].n_runs; j++)
            run_row(out, all->arm[i].run[j]);
    }
    dmq_text_add(out, "</tbody></table></div>\n");
    dmq_text_add(out,
                 "<details><summary>Commands to repeat them</summary><p class=\"note\">A run "
                 "folder's config.yaml stands alone. Equal settings give equal bits on one device."
                 "</p><pre tabindex=\"0\"><code>");
    for (int i = 0; i < all->n_arms; i++) {
        for (int j = 0; j < all->arm[i].n_runs; j++)
            command(out, all->arm[i].run[j]);
    }
    dmq_text_add(out, "dmq table again\n</code></pre></details>\n");
    dmq_page_close(page);
    return DMQ_OK;
}
