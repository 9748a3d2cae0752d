/* Runs beside a published table: which row is whose, and what the runs do otherwise. */
#include "base/memory.h"
#include "base/schema.h"
#include "report/measure.h"
#include "report/paper.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ what runs are told with */

static dmq_status set_text(dmq_yaml *config, const char *key, const char *text)
{
    dmq_yaml_entry *e = NULL;
    char *copy = NULL;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < config->count && !e; i++)
        e = strcmp(config->entry[i].key, key) == 0 ? &config->entry[i] : NULL;
    DMQ_TRY(dmq_strdup(&copy, text));
    if (!e) {
        DMQ_TRY(dmq_grow((void **)&config->entry, (size_t)config->count, (size_t)config->count + 1,
                         sizeof *config->entry));
        e = &config->entry[config->count];
        DMQ_TRY(dmq_strdup(&e->key, key));
        config->count++;
    }
    dmq_free(e->text);
    e->text = copy;
    copy = NULL;
done:
    dmq_free(copy);
    return st;
}

dmq_status dmq_results_set(dmq_results *all, const char *assignment)
{
    size_t n = strcspn(assignment, "=");
    dmq_config *config = NULL;
    char key[64];
    dmq_status st = DMQ_OK;

    (void)snprintf(key, sizeof key, "%.*s", (int)(n < 63 ? n : 63), assignment);
    DMQ_TRY(dmq_schema_config(&config));
    DMQ_TRY(dmq_config_set_flag(config, assignment));
    if (strncmp(key, "report.", 7) != 0 || strcmp(key, "report.title") == 0) {
        st = dmq_fail(DMQ_EUSAGE,
                      "--set %s: runs are made; only what they are told with is set here",
                      assignment);
        st = dmq_fail_note(st, "  hint: report.table, report.method, report.paper.*");
        goto done;
    }
    for (int i = 0; i < all->n_runs; i++) {
        const dmq_config_key *k = dmq_config_key_find(config, key);
        const char *text = k->type == DMQ_CONFIG_TEXT ? dmq_config_text(config, key)
                                                      : dmq_config_value(config, key);

        DMQ_TRY(set_text(all->run[i].config, key, text));
    }
done:
    dmq_config_destroy(config);
    return st;
}

/* ------------------------------------------------------------------ beside a table */

/* The table that all runs mean: one, or none. */
static dmq_status find_name(const char **out, const dmq_results *all)
{
    const dmq_result *first = NULL;
    dmq_status st = DMQ_OK;

    *out = "";
    for (int i = 0; i < all->n_arms; i++) {
        const dmq_result *run = all->arm[i].run[0];
        const char *name = dmq_result_setting(run, "report.table", "");

        if (!name[0] || strcmp(name, *out) == 0)
            continue;
        if (first) {
            st = dmq_fail(DMQ_EDATA, "report.table is \"%s\" in %s, but \"%s\" in %s", *out,
                          first->path, name, run->path);
            return dmq_fail_note(st,
                                 "  hint: one published table at a time: table these runs apart");
        }
        first = run;
        *out = name;
    }
    return st;
}

static int tells_any(const dmq_results *all)
{
    for (int i = 0; i < all->n_arms; i++) {
        if (dmq_paper_source(&all->arm[i]))
            return 1;
    }
    return 0;
}

static dmq_status fill(dmq_beside *out, const dmq_paper *paper, const char *method,
                       const char *bits, const dmq_result *run)
{
    out->row = dmq_paper_find(paper, method, bits, run);
    return dmq_paper_differs(&out->differs, paper, out->row, run);
}

/* A run of another network than the table's says so by not naming it. */
static int names_table(const dmq_result *run)
{
    return dmq_result_setting(run, "report.table", "")[0] != '\0';
}

static dmq_status beside(dmq_results *all)
{
    dmq_status st = DMQ_OK;

    for (int i = 0; i < all->n_fp; i++) {
        if (names_table(all->fp[i].run))
            DMQ_TRY(fill(&all->fp[i].published, all->paper, "fp", "W32A32", all->fp[i].run));
    }
    for (int i = 0; i < all->n_arms; i++) {
        const dmq_result *run = all->arm[i].run[0];

        if (names_table(run)) {
            DMQ_TRY(fill(&all->arm[i].published, all->paper,
                         dmq_result_setting(run, "report.method", ""), all->arm[i].bits, run));
        }
    }
    for (int r = 0; r < all->paper->n_rows; r++) {
        dmq_paper_row *row = &all->paper->row[r];

        for (int i = 0; i < all->n_fp; i++)
            row->taken = row->taken || all->fp[i].published.row == row;
        for (int i = 0; i < all->n_arms; i++)
            row->taken = row->taken || all->arm[i].published.row == row;
    }
done:
    return st;
}

dmq_status dmq_results_compare(dmq_results *all)
{
    const char *name;
    dmq_status st = DMQ_OK;

    all->vs_paper = 1;
    DMQ_TRY(find_name(&name, all));
    if (name[0]) {
        DMQ_TRY(dmq_paper_load(&all->paper, name));
        DMQ_TRY(beside(all));
    } else if (!tells_any(all)) {
        st = dmq_fail(DMQ_EINVAL, "--vs paper: no run says which published table it stands beside");
        st = dmq_fail_note(st, "  hint: report.table and report.method of a configuration name it, "
                               "report.paper.* tell single values; --set tells them of runs that "
                               "are made");
    }
done:
    return st;
}
