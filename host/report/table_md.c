/* The table for people: pipe tables with aligned columns, and under them what their numbers are. */
#include "report/table_inner.h"

#include <string.h>

/* A bar would end the cell, a line end the row. */
static void escape(dmq_text *t, const char *text)
{
    for (; *text; text++) {
        if (*text == '|') {
            dmq_text_add(t, "\\|");
        } else {
            dmq_text_add_bytes(t, *text == '\n' || *text == '\r' ? " " : text, 1);
        }
    }
}

static void write_row(dmq_text *t, const dmq_sheet *s, int row)
{
    dmq_text_add(t, "|");
    for (int c = 0; c < s->columns; c++) {
        const char *text = dmq_sheet_cell(s, row, c);
        int blank = s->width[c] - dmq_sheet_width(text);

        dmq_text_add(t, " %*s%s%*s |", c < s->left ? 0 : blank, "", text, c < s->left ? blank : 0,
                     "");
    }
    dmq_text_add(t, "\n");
}

static void write_rule(dmq_text *t, const dmq_sheet *s)
{
    dmq_text_add(t, "|");
    for (int c = 0; c < s->columns; c++) {
        dmq_text_add(t, "%s", c < s->left ? ":" : "-");
        for (int i = 0; i < s->width[c]; i++)
            dmq_text_add(t, "-");
        dmq_text_add(t, "%s|", c < s->left ? "-" : ":");
    }
    dmq_text_add(t, "\n");
}

dmq_status dmq_table_md(dmq_text *out, const dmq_results *all)
{
    const dmq_sheet_form form = { .escape = escape, .minus = "-" };
    dmq_sheet s = { 0 };
    dmq_status st = DMQ_OK;

    for (int kind = 0; kind < DMQ_SHEETS; kind++) {
        DMQ_TRY(dmq_sheet_make(&s, all, (dmq_sheet_kind)kind, &form));
        if (s.n > 0) {
            write_row(out, &s, 0);
            write_rule(out, &s);
            for (int r = 1; r < s.rows; r++)
                write_row(out, &s, r);
            dmq_text_add(out, "\n");
            dmq_sheet_notes(out, &s);
            dmq_text_add(out, "\n");
        }
        dmq_sheet_release(&s);
    }
    DMQ_TRY(dmq_table_notes(out, all));
done:
    dmq_sheet_release(&s);
    return st;
}
