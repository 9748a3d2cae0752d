/** One file a part of the page; for html.c. */
#ifndef DMQ_REPORT_HTML_INNER_H
#define DMQ_REPORT_HTML_INNER_H

#include "report/rows.h"
#include "report/svg.h"

typedef struct dmq_page {
    dmq_text out;
    const dmq_results *all;
    dmq_style *style; /**< (n_arms) */
    dmq_text nav;     /**< links to the parts that are there */
} dmq_page;

/** The style sheet, without its tags. */
extern const char dmq_page_style[];

/** Heading of a part; id, in small letters, is its name in the navigation; lead is a paragraph. */
void dmq_page_open(dmq_page *page, const char *id, const char *title, const char *lead);

void dmq_page_close(dmq_page *page);

/** Arms for which wanted is not 0, with their colours; line: drawn as lines. */
void dmq_page_legend(dmq_page *page, const int *wanted, int line);

/** "8.21 ± 0.30" as a cell; an empty one when there is no value. */
void dmq_page_number(dmq_page *page, const dmq_column *column, dmq_stat stat);

/** The same of a row of the table; differences with their sign and mark. */
void dmq_page_cell(dmq_page *page, const dmq_column *column, const dmq_row *row);

/** " ×10⁻³" as HTML; nothing for 0. */
void dmq_page_power(dmq_page *page, int exponent);

dmq_status dmq_page_results(dmq_page *page);
dmq_status dmq_page_glance(dmq_page *page);
dmq_status dmq_page_images(dmq_page *page);
dmq_status dmq_page_noise(dmq_page *page);
dmq_status dmq_page_cosines(dmq_page *page);
dmq_status dmq_page_weights(dmq_page *page);
dmq_status dmq_page_blocks(dmq_page *page);

/** A figure for dmq_page_weights: effective sample size by unit. */
dmq_status dmq_page_ess(dmq_page *page);
dmq_status dmq_page_settings(dmq_page *page);
dmq_status dmq_page_runs(dmq_page *page);

#endif
