/**
 * The rows of a table, and what stands in their cells: full-precision models, arms, and with --vs paper the
 * published rows that nobody ran.
 *
 *   measured column    mean and spread over seeds
 *   published column   the value of report.paper.*, else of the published table
 *   difference column  mean - published; "†" behind it: not measured as it was published, the notes say how
 */
#ifndef DMQ_REPORT_ROWS_H
#define DMQ_REPORT_ROWS_H

#include "base/text.h"
#include "report/measure.h"
#include "report/paper.h"

typedef struct dmq_row {
    const char *label; /**< the arm's; else own */
    char own[192];
    const char *bits;
    const dmq_baseline *fp; /**< one of the three */
    const dmq_arm *arm;
    const dmq_paper_row *published;
} dmq_row;

int dmq_rows_count(const dmq_results *all);

/** The i-th: baselines, arms, published rows. */
void dmq_row_at(dmq_row *out, const dmq_results *all, int i);

/** Of a measure: what was measured, what was published, their difference (NaN without either). */
dmq_stat dmq_row_stat(const dmq_row *row, int measure);
double dmq_row_paper(const dmq_row *row, int measure);
double dmq_row_difference(const dmq_row *row, int measure);

/** Whether a difference is of numbers that were measured in another way. */
int dmq_row_unlike(const dmq_results *all, const dmq_row *row, int measure);

/** The text of a cell, "" for nothing; minus: how a minus is written. */
void dmq_row_cell(char out[DMQ_CELL], const dmq_results *all, const dmq_row *row,
                  const dmq_column *column, const char *minus);

/** Ids of each row in the columns that may mix metrics, a line each; nothing without such columns. */
dmq_status dmq_across_notes(dmq_text *out, const dmq_results *all);

/** Where published values are from and what runs do otherwise, a line each; nothing without them. */
dmq_status dmq_paper_notes(dmq_text *out, const dmq_results *all);

#endif
