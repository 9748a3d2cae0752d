#include "model/match.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void dmq_listing_add(dmq_listing *l, const char *name)
{
    size_t n = strlen(l->text);

    if (l->count++ < DMQ_LISTING_NAMED) {
        snprintf(l->text + n, sizeof l->text - n, "%s%.*s", l->count > 1 ? ", " : "", DMQ_NAME_MAX,
                 name);
    }
}

dmq_status dmq_listing_note(dmq_status st, const dmq_listing *l, const char *what)
{
    if (l->count > DMQ_LISTING_NAMED) {
        return dmq_fail_note(st, "  %d %s: %s and %d more", l->count, what, l->text,
                             l->count - DMQ_LISTING_NAMED);
    }
    return l->count ? dmq_fail_note(st, "  %d %s: %s", l->count, what, l->text) : st;
}

dmq_status dmq_model_match(int *found, const dmq_model *model, const char *const *name, int n,
                           const char *path)
{
    dmq_status st = DMQ_OK;
    dmq_listing missing = { 0 }, unknown = { 0 }, twice = { 0 };

    for (int i = 0; i < model->n_entries; i++)
        found[i] = -1;
    for (int k = 0; k < n; k++) {
        size_t length = strlen(name[k]);
        const dmq_entry *e = dmq_model_entry(model, name[k]);

        if (length > 0 && name[k][length - 1] == '/')
            continue;
        if (!e) {
            dmq_listing_add(&unknown, name[k]);
        } else if (found[e - model->entry] >= 0) {
            dmq_listing_add(&twice, name[k]);
        } else {
            found[e - model->entry] = k;
        }
    }
    for (int i = 0; i < model->n_entries; i++) {
        if (found[i] < 0)
            dmq_listing_add(&missing, model->entry[i].name);
    }
    if (!missing.count && !unknown.count && !twice.count)
        return DMQ_OK;
    st = dmq_fail(DMQ_EDATA, "%s: the tensors are not those of the network (%s)", path,
                  model->arch->kind);
    st = dmq_listing_note(st, &missing, "missing");
    st = dmq_listing_note(st, &unknown, "unknown to it");
    return dmq_listing_note(st, &twice, "there twice");
}

dmq_status dmq_model_check_finite(const dmq_entry *entry, const dmq_real *value, const char *path)
{
    size_t n = dmq_shape_count(entry->shape), bad = 0;

    for (size_t i = 0; i < n; i++)
        bad += isfinite(value[i]) ? 0 : 1;
    if (bad) {
        return dmq_fail(DMQ_EDATA, "%s: %s: %zu of %zu numbers are NaN or infinite", path,
                        entry->name, bad, n);
    }
    return DMQ_OK;
}
