#include "report/table.h"

#include "io/json.h"
#include "report/table_inner.h"

#include <stdio.h>
#include <string.h>

dmq_status dmq_table_format_parse(dmq_table_format *out, const char *name)
{
    static const char *const names[] = { "md", "csv", "json", "tex" };

    for (int i = 0; i < 4; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (dmq_table_format)i;
            return DMQ_OK;
        }
    }
    return dmq_fail(DMQ_EUSAGE, "--format %s: must be one of md|csv|json|tex", name);
}

/* ------------------------------------------------------------------ what stands under a table */

void dmq_seeds_text(char *out, size_t size, const dmq_arm *arm, int limit)
{
    size_t n = 0;

    out[0] = '\0';
    if (arm->n_runs > limit) {
        (void)snprintf(out, size, "%d seeds", arm->n_runs);
        return;
    }
    for (int i = 0; i < arm->n_runs && n < size; i++) {
        n += (size_t)snprintf(out + n, size - n, "%s%lld", i ? ", " : "",
                              (long long)arm->run[i]->seed);
    }
}

void dmq_images_text(char *out, size_t size, const dmq_results *all)
{
    int64_t least = INT64_MAX, most = 0;

    for (int i = 0; i < all->n_arms; i++) {
        for (int j = 0; j < all->arm[i].n_runs; j++) {
            int64_t n = dmq_json_int(dmq_json_get(all->arm[i].run[j]->metrics, "images"), 0);

            least = n < least ? n : least;
            most = n > most ? n : most;
        }
    }
    if (least == most) {
        (void)snprintf(out, size, "%lld images", (long long)most);
    } else {
        (void)snprintf(out, size, "%lld to %lld images", (long long)least, (long long)most);
    }
}

dmq_status dmq_devices_text(char **out, const dmq_results *all)
{
    dmq_text t = { 0 };

    for (int i = 0; i < all->n_arms; i++) {
        for (int j = 0; j < all->arm[i].n_runs; j++) {
            const dmq_json *m = all->arm[i].run[j]->manifest;
            const char *precision =
                dmq_result_setting(all->arm[i].run[j], "device.precision", "fp32");
            int64_t threads = dmq_json_int(dmq_json_get(m, "threads"), 0);
            int plain = strcmp(precision, "fp32") == 0;
            char one[160];

            (void)snprintf(one, sizeof one, "%s, %s%s%lld thread%s, dmq %s",
                           dmq_json_text(dmq_json_get(m, "device"), "?"), plain ? "" : precision,
                           plain ? "" : ", ", (long long)threads, threads == 1 ? "" : "s",
                           dmq_json_text(dmq_json_get(m, "dmq"), "?"));
            if (!t.data || !strstr(t.data, one))
                dmq_text_add(&t, "%s%s", t.data ? "; " : "", one);
        }
    }
    return dmq_text_take(out, &t);
}

/* ------------------------------------------------------------------ forms */

dmq_status dmq_table_render(char **out, const dmq_results *all, dmq_table_format format)
{
    dmq_text t = { 0 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_measures_check(all));
    switch (format) {
    case DMQ_TABLE_MD:
        st = dmq_table_md(&t, all);
        break;
    case DMQ_TABLE_CSV:
        st = dmq_table_csv(&t, all);
        break;
    case DMQ_TABLE_JSON:
        st = dmq_table_json(&t, all);
        break;
    case DMQ_TABLE_TEX:
        st = dmq_table_tex(&t, all);
        break;
    }
    if (st == DMQ_OK)
        st = dmq_text_take(out, &t);
done:
    dmq_text_release(&t);
    return st;
}
