/**
 * The table of results: arms as rows, measures as columns, mean and sample standard deviation over seeds.
 *
 *   md    for people: a pipe table, and under it the metric ids, images, seeds, device, what is missing
 *   csv   for programs, full precision. Column `row` says what a line is: fp, run (one seed), mean, sd;
 *         column `metrics` holds the ids
 *   json  the same as a document: columns (with id and n), fp, arms (mean, sd, runs), unfinished
 *   tex   tabulars of booktabs with the same lines under them
 *
 * Published values (report.paper.*) stand in columns of their own. After dmq_results_compare those of the
 * published table do too, with differences, the rows of the table that nobody ran (csv: row is `published`),
 * and what was not measured as it was published: marked † in md and tex, in csv and json listed (`differs`:
 * settings, `unlike`: measures).
 */
#ifndef DMQ_REPORT_TABLE_H
#define DMQ_REPORT_TABLE_H

#include "base/text.h"
#include "report/results.h"

typedef enum dmq_table_format {
    DMQ_TABLE_MD,
    DMQ_TABLE_CSV,
    DMQ_TABLE_JSON,
    DMQ_TABLE_TEX
} dmq_table_format;

/** EUSAGE for a name that is none of md, csv, json, tex. */
dmq_status dmq_table_format_parse(dmq_table_format *out, const char *name);

/** The text of the table, with a line end; the caller frees. EDATA when columns would mix metrics. */
dmq_status dmq_table_render(char **out, const dmq_results *all, dmq_table_format format);

/** "1, 2, 3": seeds of an arm; "12 seeds" when there are more than limit. */
void dmq_seeds_text(char *out, size_t size, const dmq_arm *arm, int limit);

/** "256 images", "256 or 1024 images": what rows are measured on. */
void dmq_images_text(char *out, size_t size, const dmq_results *all);

/** "cpu, 2 threads, dmq 0.1.0", "cuda, tf32, ..."; the different ones joined by "; ". The caller frees. */
dmq_status dmq_devices_text(char **out, const dmq_results *all);

#endif
