/**
 * Charts as SVG to stand inside an HTML page: lines, dots on rows, heat maps.
 *
 * Colours and fonts come from the page's style sheet (page_style.c), so that a chart follows its light and
 * dark form: class "sN" is the colour of style N, "dN" its dash, and N % DMQ_STYLE_COLOURS never tells
 * anything alone, because marks differ too. All charts are DMQ_SVG_WIDTH units wide and scale with their
 * column; texts are escaped. Equal input gives equal bytes.
 */
#ifndef DMQ_REPORT_SVG_H
#define DMQ_REPORT_SVG_H

#include "base/text.h"

enum { DMQ_SVG_WIDTH = 480 };

/** How an arm is drawn everywhere. */
typedef struct dmq_style {
    int colour; /**< 0..DMQ_STYLE_COLOURS - 1; DMQ_STYLE_GREY for what is plain */
    int form;   /**< 0..3: dash of a line, shape of a mark */
} dmq_style;

enum { DMQ_STYLE_COLOURS = 7, DMQ_STYLE_GREY = 7, DMQ_STYLE_FORMS = 4 };

/** Text with & < > " ' escaped. */
void dmq_html_text(dmq_text *out, const char *text);

/** A mark of a style, at x, y. */
void dmq_svg_mark(dmq_text *out, dmq_style style, double x, double y, double radius);

/** A little drawing of a style for a legend. */
void dmq_svg_swatch(dmq_text *out, dmq_style style, int line);

/** An axis: from least to most, ticks at round numbers. */
typedef struct dmq_axis {
    const char *title;
    double least, most;
    int log;
} dmq_axis;

/** A line: y[i] at x0 + i dx, NaN is a gap. low, high (n) a band around it, or NULL. */
typedef struct dmq_svg_line {
    const char *name;
    dmq_style style;
    double x0, dx;
    const double *y, *low, *high;
    int n;
} dmq_svg_line;

/** Lines over one x axis. reference: a level drawn across; NaN for none. */
typedef struct dmq_svg_lines {
    const char *alt; /**< what is seen, for those who do not see it */
    const char *x_title, *y_title;
    int log; /**< of y */
    double reference;
    const char *reference_name;
    const dmq_svg_line *line;
    int n;
} dmq_svg_lines;

void dmq_svg_draw_lines(dmq_text *out, const dmq_svg_lines *chart);

/** A row of dots: single values, their mean, and where the mean came from (NaN for none). */
typedef struct dmq_svg_row {
    const char *label; /**< NULL: of the row above */
    const char *tip;   /**< told when pointed at */
    dmq_style style;
    double from, mean;
    const double *value; /**< (n) */
    int n;
    int apart; /**< some room above it */
} dmq_svg_row;

/** Rows over one axis. reference: a level drawn down all rows; NaN for none. */
typedef struct dmq_svg_rows {
    const char *alt, *x_title;
    double reference;
    const char *reference_name;
    double least, most; /**< the axis reaches there too, if least < most */
    int log;
    int row_height;
    const dmq_svg_row *row;
    int n;
} dmq_svg_rows;

void dmq_svg_draw_rows(dmq_text *out, const dmq_svg_rows *chart);

/** A k x k matrix of cosines, with numbers in its cells; row and column names are 1..k. */
void dmq_svg_draw_cosines(dmq_text *out, const char *alt, const double *matrix, int k);

#endif
