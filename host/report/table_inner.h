/** One file a form of the table; for table.c. */
#ifndef DMQ_REPORT_TABLE_INNER_H
#define DMQ_REPORT_TABLE_INNER_H

#include "report/rows.h"
#include "report/table.h"

dmq_status dmq_table_md(dmq_text *out, const dmq_results *all);
dmq_status dmq_table_tex(dmq_text *out, const dmq_results *all);
dmq_status dmq_table_csv(dmq_text *out, const dmq_results *all);
dmq_status dmq_table_json(dmq_text *out, const dmq_results *all);

/* ------------------------------------------------------------------ sheets, for md and tex */

/** Parts of a table, because one would be too wide: images and steps, reconstruction units, costs and times. */
typedef enum dmq_sheet_kind {
    DMQ_SHEET_IMAGES,
    DMQ_SHEET_UNITS,
    DMQ_SHEET_COSTS,
    DMQ_SHEETS
} dmq_sheet_kind;

/** How a form writes text. */
typedef struct dmq_sheet_form {
    void (*escape)(dmq_text *out, const char *text);
    const char *minus;
} dmq_sheet_form;

typedef struct dmq_sheet {
    dmq_sheet_kind kind;
    dmq_column column[DMQ_COLUMNS];
    int n;             /**< measures; 0: nothing to show */
    int fixed;         /**< columns before those: method, or method, bits, seeds */
    int left;          /**< the first of them, aligned left */
    int rows, columns; /**< row 0 is the heading */
    char **cell;       /**< (rows, columns) escaped */
    int *width;        /**< (columns) in characters */
} dmq_sheet;

/** Release it, whatever is returned. */
dmq_status dmq_sheet_make(dmq_sheet *sheet, const dmq_results *all, dmq_sheet_kind kind,
                          const dmq_sheet_form *form);

void dmq_sheet_release(dmq_sheet *sheet);

const char *dmq_sheet_cell(const dmq_sheet *sheet, int row, int column);

/** Characters, not bytes. */
int dmq_sheet_width(const char *text);

/** What its columns are: metric ids, and of costs and times a sentence each. Lines. */
void dmq_sheet_notes(dmq_text *out, const dmq_sheet *sheet);

/** What stands under all of them. Lines. */
dmq_status dmq_table_notes(dmq_text *out, const dmq_results *all);

#endif
