/* The table for papers: tabulars of booktabs, and under each what its numbers are, to be put into a float. */
#include "report/table_inner.h"

#include <string.h>

/* What means something to TeX, and the signs that its text fonts lack. */
static const struct {
    const char *from, *to;
} signs[] = {
    { "\\", "\\textbackslash{}" },
    { "{", "\\{" },
    { "}", "\\}" },
    { "&", "\\&" },
    { "%", "\\%" },
    { "$", "\\$" },
    { "#", "\\#" },
    { "_", "\\_" },
    { "~", "\\textasciitilde{}" },
    { "^", "\\textasciicircum{}" },
    { "<", "$<$" },
    { ">", "$>$" },
    { "|", "$|$" },
    { "\n", " " },
    { "\r", " " },
    { "±", "$\\pm$" },
    { "−", "$-$" },
    { "×", "$\\times$" },
    { "†", "$^{\\dagger}$" },
    { "Δ", "$\\Delta$" },
    { "↓", "$\\downarrow$" },
    { "↑", "$\\uparrow$" },
};

static void escape(dmq_text *t, const char *text)
{
    while (*text) {
        size_t used = 0;

        for (size_t i = 0; i < sizeof signs / sizeof *signs && !used; i++) {
            size_t n = strlen(signs[i].from);

            if (strncmp(text, signs[i].from, n) == 0) {
                dmq_text_add(t, "%s", signs[i].to);
                used = n;
            }
        }
        if (!used)
            dmq_text_add_bytes(t, text, used = 1);
        text += used;
    }
}

static void write_row(dmq_text *t, const dmq_sheet *s, int row)
{
    dmq_text_add(t, " ");
    for (int c = 0; c < s->columns; c++) {
        const char *text = dmq_sheet_cell(s, row, c);

        dmq_text_add(t, " %s%*s %s", text, s->width[c] - dmq_sheet_width(text), "",
                     c + 1 < s->columns ? "&" : "\\\\\n");
    }
}

/* Lines as paragraphs of their own. */
static void write_notes(dmq_text *t, const char *lines)
{
    dmq_text_add(t, "\\par\\smallskip{\\footnotesize\\raggedright\n");
    while (*lines) {
        size_t n = strcspn(lines, "\n");
        dmq_text one = { 0 };

        dmq_text_add_bytes(&one, lines, n);
        if (one.data)
            escape(t, one.data);
        dmq_text_add(t, "\\par\n");
        if (one.status != DMQ_OK)
            t->status = one.status;
        dmq_text_release(&one);
        lines += n + (lines[n] == '\n');
    }
    dmq_text_add(t, "}\n");
}

static void write_sheet(dmq_text *t, const dmq_sheet *s)
{
    dmq_text notes = { 0 };

    dmq_text_add(t, "\\begin{tabular}{");
    for (int c = 0; c < s->columns; c++)
        dmq_text_add(t, c < s->left ? "l" : "r");
    dmq_text_add(t, "}\n  \\toprule\n");
    write_row(t, s, 0);
    dmq_text_add(t, "  \\midrule\n");
    for (int r = 1; r < s->rows; r++)
        write_row(t, s, r);
    dmq_text_add(t, "  \\bottomrule\n\\end{tabular}\n");
    dmq_sheet_notes(&notes, s);
    if (notes.data)
        write_notes(t, notes.data);
    if (notes.status != DMQ_OK)
        t->status = notes.status;
    dmq_text_release(&notes);
    dmq_text_add(t, "\n");
}

dmq_status dmq_table_tex(dmq_text *out, const dmq_results *all)
{
    const dmq_sheet_form form = { .escape = escape, .minus = "−" };
    dmq_text notes = { 0 };
    dmq_sheet s = { 0 };
    dmq_status st = DMQ_OK;

    dmq_text_add(out, "%% \\usepackage{booktabs}\n");
    for (int kind = 0; kind < DMQ_SHEETS; kind++) {
        DMQ_TRY(dmq_sheet_make(&s, all, (dmq_sheet_kind)kind, &form));
        if (s.n > 0)
            write_sheet(out, &s);
        dmq_sheet_release(&s);
    }
    DMQ_TRY(dmq_table_notes(&notes, all));
    DMQ_TRY(notes.status);
    write_notes(out, notes.data);
done:
    dmq_text_release(&notes);
    dmq_sheet_release(&s);
    return st;
}
