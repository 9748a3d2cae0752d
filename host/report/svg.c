#include "report/svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void dmq_html_text(dmq_text *out, const char *text)
{
    for (; *text; text++) {
        size_t plain = strcspn(text, "&<>\"'");

        dmq_text_add_bytes(out, text, plain);
        text += plain;
        if (*text == '\0')
            return;
        dmq_text_add(out, "%s",
                     *text == '&'   ? "&amp;"
                     : *text == '<' ? "&lt;"
                     : *text == '>' ? "&gt;"
                     : *text == '"' ? "&quot;"
                                    : "&#39;");
    }
}

/* ------------------------------------------------------------------ marks */

void dmq_svg_mark(dmq_text *out, dmq_style s, double x, double y, double r)
{
    const char *hollow = s.form % 2 ? " hollow" : "";

    if (s.form < 2) {
        dmq_text_add(out, "<circle class=\"s%d mark%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>",
                     s.colour, hollow, x, y, r);
    } else {
        dmq_text_add(out,
                     "<rect class=\"s%d mark%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                     "height=\"%.1f\"/>",
                     s.colour, hollow, x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r);
    }
}

void dmq_svg_swatch(dmq_text *out, dmq_style s, int line)
{
    dmq_text_add(out, "<svg class=\"swatch%s\" viewBox=\"0 0 %d 12\" aria-hidden=\"true\">",
                 line ? " long" : "", line ? 30 : 12);
    if (line) {
        dmq_text_add(out, "<path class=\"s%d d%d line\" d=\"M1 6H29\"/>", s.colour, s.form);
    } else {
        dmq_svg_mark(out, s, 6, 6, 4);
    }
    dmq_text_add(out, "</svg>");
}

static void open_svg(dmq_text *out, const char *class, const char *alt, double height)
{
    dmq_text_add(out, "<svg class=\"%s\" role=\"img\" viewBox=\"0 0 %d %.0f\" aria-label=\"", class,
                 DMQ_SVG_WIDTH, height);
    dmq_html_text(out, alt);
    dmq_text_add(out, "\">");
}

/* anchor: start, middle, end */
static void text_at(dmq_text *out, const char *class, const char *anchor, double x, double y,
                    const char *text)
{
    dmq_text_add(out, "<text class=\"%s\" text-anchor=\"%s\" x=\"%.1f\" y=\"%.1f\">", class, anchor,
                 x, y);
    dmq_html_text(out, text);
    dmq_text_add(out, "</text>");
}

/* ------------------------------------------------------------------ axes */

/* A value's place on an axis of that many units. */
static double place(const dmq_axis *a, double x, double units)
{
    if (a->log)
        return log(x / a->least) / log(a->most / a->least) * units;
    return (x - a->least) / (a->most - a->least) * units;
}

static void widen(dmq_axis *a, double x)
{
    if (!isfinite(x) || (a->log && !(x > 0)))
        return;
    if (!(x >= a->least)) /* also from NaN */
        a->least = x;
    if (!(x <= a->most))
        a->most = x;
}

/* Room at both ends; never of no length. */
static void settle(dmq_axis *a)
{
    if (isnan(a->least)) {
        a->least = a->log ? 0.1 : 0;
        a->most = 1;
    }
    if (a->log) {
        double room = fmax(pow(a->most / a->least, 0.06), 1.08);

        a->least /= room;
        a->most *= room;
    } else {
        double room = fmax((a->most - a->least) * 0.08, fabs(a->most) * 0.02 + 1e-12);

        a->least -= a->least >= 0 && a->least - room < 0 ? a->least : room;
        a->most += room;
    }
}

/* "0.02", "1e-4": as short as it can be. */
static void tick_text(char out[32], double x)
{
    int e = x > 0 ? (int)floor(log10(x) + 1e-9) : 0;

    if (x != 0 && (e < -2 || e > 4)) {
        (void)snprintf(out, 32, "%ge%d", x / pow(10, e), e);
    } else {
        (void)snprintf(out, 32, "%g", x);
    }
}

enum { TICKS = 24 };

/* Over few decades also at 2 and 5, or at 3, of each. */
static int log_ticks(double out[TICKS], const dmq_axis *a)
{
    static const double parts[3][3] = { { 1, 2, 5 }, { 1, 3, 0 }, { 1, 0, 0 } };
    double decades = log10(a->most / a->least);
    const double *part = parts[decades < 1.3 ? 0 : decades < 2.6 ? 1 : 2];
    int n = 0, every = decades > 8 ? 2 : 1;

    for (int e = (int)floor(log10(a->least)); e <= (int)ceil(log10(a->most)); e++) {
        for (int i = 0; i < 3 && part[i] > 0; i++) {
            double x = part[i] * pow(10, e);

            if (x >= a->least && x <= a->most && n < TICKS && e % every == 0)
                out[n++] = x;
        }
    }
    return n;
}

static int even_ticks(double out[TICKS], const dmq_axis *a)
{
    double span = a->most - a->least, step = pow(10, floor(log10(span / 4)));
    int n = 0;

    if (span / step > 10) {
        step *= span / step > 25 ? 5 : 2;
    } else if (span / step > 5) {
        step *= 2;
    }
    for (double k = ceil(a->least / step - 1e-9); k * step <= a->most + 1e-9 * span && n < TICKS;
         k++)
        out[n++] = k * step;
    return n;
}

/* On a short piece of a logarithmic axis too few round numbers lie: then even ones. */
static int ticks_of(double out[TICKS], const dmq_axis *a)
{
    int n = a->log ? log_ticks(out, a) : 0;

    return n > 2 ? n : even_ticks(out, a);
}

/* ------------------------------------------------------------------ lines */

enum { LEFT = 50, RIGHT = 10, TOP = 22, BOTTOM = 42, HEIGHT = 290 };

static const double inner_width = DMQ_SVG_WIDTH - LEFT - RIGHT;
static const double inner_height = HEIGHT - TOP - BOTTOM;

typedef struct plane {
    dmq_axis x, y;
} plane;

static double at_x(const plane *p, double x)
{
    return LEFT + place(&p->x, x, inner_width);
}

static double at_y(const plane *p, double y)
{
    return TOP + inner_height - place(&p->y, y, inner_height);
}

static void draw_axes(dmq_text *out, const plane *p)
{
    double tick[TICKS];
    char label[32];
    int n = ticks_of(tick, &p->y);

    for (int i = 0; i < n; i++) {
        double y = at_y(p, tick[i]);

        dmq_text_add(out, "<path class=\"grid\" d=\"M%d %.1fh%.0f\"/>", LEFT, y, inner_width);
        tick_text(label, tick[i]);
        text_at(out, "tick", "end", LEFT - 6, y + 4, label);
    }
    n = ticks_of(tick, &p->x);
    for (int i = 0; i < n; i++) {
        tick_text(label, tick[i]);
        dmq_text_add(out, "<path class=\"axis\" d=\"M%.1f %dv4\"/>", at_x(p, tick[i]),
                     HEIGHT - BOTTOM);
        text_at(out, "tick", "middle", at_x(p, tick[i]), HEIGHT - BOTTOM + 17, label);
    }
    dmq_text_add(out, "<path class=\"axis\" d=\"M%d %dh%.0f\"/>", LEFT, HEIGHT - BOTTOM,
                 inner_width);
    text_at(out, "title", "start", 0, 12, p->y.title);
    text_at(out, "title", "middle", LEFT + inner_width / 2, HEIGHT - 6, p->x.title);
}

static int shown(const plane *p, double y)
{
    return isfinite(y) && (!p->y.log || y > 0);
}

static void draw_band(dmq_text *out, const plane *p, const dmq_svg_line *l)
{
    if (!l->low)
        return;
    dmq_text_add(out, "<path class=\"s%d band\" d=\"", l->style.colour);
    for (int i = 0, first = 1; i < l->n; i++) {
        if (shown(p, l->high[i]) && shown(p, l->low[i])) {
            dmq_text_add(out, "%s%.1f %.1f", first ? "M" : "L", at_x(p, l->x0 + i * l->dx),
                         at_y(p, l->high[i]));
            first = 0;
        }
    }
    for (int i = l->n - 1; i >= 0; i--) {
        if (shown(p, l->high[i]) && shown(p, l->low[i]))
            dmq_text_add(out, "L%.1f %.1f", at_x(p, l->x0 + i * l->dx), at_y(p, l->low[i]));
    }
    dmq_text_add(out, "Z\"/>");
}

static void draw_line(dmq_text *out, const plane *p, const dmq_svg_line *l)
{
    int pen = 0;

    dmq_text_add(out, "<path class=\"s%d d%d line\" d=\"", l->style.colour, l->style.form);
    for (int i = 0; i < l->n; i++) {
        if (!shown(p, l->y[i])) {
            pen = 0;
            continue;
        }
        dmq_text_add(out, "%s%.1f %.1f", pen ? "L" : "M", at_x(p, l->x0 + i * l->dx),
                     at_y(p, l->y[i]));
        pen = 1;
    }
    dmq_text_add(out, "\"><title>");
    dmq_html_text(out, l->name);
    dmq_text_add(out, "</title></path>");
}

void dmq_svg_draw_lines(dmq_text *out, const dmq_svg_lines *c)
{
    plane p = { { c->x_title, (double)NAN, (double)NAN, 0 },
                { c->y_title, (double)NAN, (double)NAN, c->log } };

    for (int i = 0; i < c->n; i++) {
        for (int k = 0; k < c->line[i].n; k++) {
            widen(&p.x, c->line[i].x0 + k * c->line[i].dx);
            widen(&p.y, c->line[i].y[k]);
            if (c->line[i].low) {
                widen(&p.y, c->line[i].low[k]);
                widen(&p.y, c->line[i].high[k]);
            }
        }
    }
    widen(&p.y, c->reference);
    settle(&p.y);
    if (!(p.x.most > p.x.least))
        settle(&p.x);
    open_svg(out, "chart", c->alt, HEIGHT);
    draw_axes(out, &p);
    if (isfinite(c->reference)) {
        double y = at_y(&p, c->reference);

        dmq_text_add(out, "<path class=\"reference\" d=\"M%d %.1fh%.0f\"/>", LEFT, y, inner_width);
        text_at(out, "note", "end", LEFT + inner_width, y - 5, c->reference_name);
    }
    for (int i = 0; i < c->n; i++)
        draw_band(out, &p, &c->line[i]);
    for (int i = 0; i < c->n; i++)
        draw_line(out, &p, &c->line[i]);
    dmq_text_add(out, "</svg>\n");
}

/* ------------------------------------------------------------------ dots on rows */

enum { ROWS_TOP = 34, APART = 9, LETTERS = 26 };

static int letters_of(const char *text)
{
    int n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* A label that fits its room, cut in the middle, because names are alike at their ends. */
static void fit(char out[128], const char *label)
{
    size_t n = strlen(label), ends = LETTERS / 2 - 1;

    if (letters_of(label) <= LETTERS || n != (size_t)letters_of(label)) {
        (void)snprintf(out, 128, "%.120s", label);
    } else {
        (void)snprintf(out, 128, "%.*s…%s", (int)ends, label, label + n - ends);
    }
}

/* Units that a text takes at most in a plain wide font: a clipped label is worse than a narrow chart. */
static double width_of(const char *text)
{
    double width = 0;

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (strchr("ijltf.,:;'|!()[] ", c)) {
            width += 5;
        } else if (c >= 'A' && c <= 'Z') {
            width += c == 'M' || c == 'W' ? 11.8 : 9.2;
        } else if ((c & 0xc0) != 0x80) {
            width += c == 'm' || c == 'w' ? 11.2 : 8.1;
        }
    }
    return width;
}

static double label_width(const dmq_svg_rows *c)
{
    double most = 0;
    char label[128];

    for (int i = 0; i < c->n; i++) {
        if (c->row[i].label) {
            fit(label, c->row[i].label);
            most = fmax(most, width_of(label));
        }
    }
    return 12 + most;
}

static void draw_row(dmq_text *out, const dmq_axis *a, const dmq_svg_row *r, double y, double left)
{
    double size = r->n > 1 ? 3 : 4, width = DMQ_SVG_WIDTH - left - 16;
    char label[128];

    dmq_text_add(out, "<g>");
    if (r->tip) {
        dmq_text_add(out, "<title>");
        dmq_html_text(out, r->tip);
        dmq_text_add(out, "</title>");
    }
    if (r->label) {
        fit(label, r->label);
        text_at(out, "label", "end", left - 8, y + 4, label);
    }
    if (isfinite(r->from) && isfinite(r->mean) && (!a->log || (r->from > 0 && r->mean > 0))) {
        double x0 = left + place(a, r->from, width), x1 = left + place(a, r->mean, width);

        dmq_text_add(out, "<path class=\"s%d way\" d=\"M%.1f %.1fH%.1f\"/>", r->style.colour, x0, y,
                     x1);
        dmq_text_add(out, "<path class=\"s%d start\" d=\"M%.1f %.1fv%d\"/>", r->style.colour, x0,
                     y - 3, 6);
    }
    for (int i = 0; i < r->n; i++) {
        if (isfinite(r->value[i]) && (!a->log || r->value[i] > 0))
            dmq_svg_mark(out, r->style, left + place(a, r->value[i], width), y, size);
    }
    if (r->n > 1 && isfinite(r->mean) && (!a->log || r->mean > 0)) {
        dmq_text_add(out, "<path class=\"s%d mean\" d=\"M%.1f %.1fv14\"/>", r->style.colour,
                     left + place(a, r->mean, width), y - 7);
    }
    dmq_text_add(out, "</g>");
}

static dmq_axis axis_of(const dmq_svg_rows *c)
{
    dmq_axis a = { c->x_title, (double)NAN, (double)NAN, c->log };

    for (int i = 0; i < c->n; i++) {
        widen(&a, c->row[i].from);
        widen(&a, c->row[i].mean);
        for (int k = 0; k < c->row[i].n; k++)
            widen(&a, c->row[i].value[k]);
    }
    widen(&a, c->reference);
    if (c->least < c->most) {
        widen(&a, c->least);
        widen(&a, c->most);
    }
    settle(&a);
    return a;
}

void dmq_svg_draw_rows(dmq_text *out, const dmq_svg_rows *c)
{
    dmq_axis a = axis_of(c);
    double left = label_width(c), width = DMQ_SVG_WIDTH - left - 16, height = ROWS_TOP + 30, bottom,
           tick[TICKS], last = -99;
    double y = ROWS_TOP;
    int n = ticks_of(tick, &a);

    for (int i = 0; i < c->n; i++)
        height += c->row_height + (c->row[i].apart ? APART : 0);
    bottom = height - 26;
    open_svg(out, "chart", c->alt, height);
    text_at(out, "title", "start", 0, 12, c->x_title);
    for (int i = 0; i < n; i++) {
        double x = left + place(&a, tick[i], width);
        char label[32];

        dmq_text_add(out, "<path class=\"grid\" d=\"M%.1f %dV%.1f\"/>", x, ROWS_TOP - 8, bottom);
        tick_text(label, tick[i]);
        if (x - last > 6.5 * (double)strlen(label) + 6) {
            text_at(out, "tick", "middle", x, bottom + 16, label);
            last = x;
        }
    }
    if (isfinite(c->reference)) {
        double x = left + place(&a, c->reference, width);

        dmq_text_add(out, "<path class=\"reference\" d=\"M%.1f %dV%.1f\"/>", x, ROWS_TOP - 8,
                     bottom);
        text_at(out, "note", x > left + width / 2 ? "end" : "start",
                x > left + width / 2 ? x - 4 : x + 4, ROWS_TOP - 12, c->reference_name);
    }
    for (int i = 0; i < c->n; i++) {
        y += c->row[i].apart ? APART : 0;
        if (c->row[i].apart && i > 0) {
            dmq_text_add(out, "<path class=\"rule\" d=\"M0 %.1fH%d\"/>", y - APART / 2.0,
                         DMQ_SVG_WIDTH);
        }
        draw_row(out, &a, &c->row[i], y + c->row_height / 2.0, left);
        y += c->row_height;
    }
    dmq_text_add(out, "</svg>\n");
}

/* ------------------------------------------------------------------ heat maps */

enum { SIDE = 240, EDGE = 22 };

void dmq_svg_draw_cosines(dmq_text *out, const char *alt, const double *matrix, int k)
{
    double cell = (double)(SIDE - EDGE) / k;
    char text[32];

    dmq_text_add(out, "<svg class=\"heat\" role=\"img\" viewBox=\"0 0 %d %d\" aria-label=\"", SIDE,
                 SIDE);
    dmq_html_text(out, alt);
    dmq_text_add(out, "\">");
    for (int i = 0; i < k; i++) {
        double at = EDGE + cell * (i + 0.5);

        (void)snprintf(text, sizeof text, "%d", i + 1);
        text_at(out, "tick", "middle", at, EDGE - 7, text);
        text_at(out, "tick", "middle", EDGE / 2.0 - 1, at + 4, text);
        for (int j = 0; j < k; j++) {
            double c = matrix[i * k + j], x = EDGE + cell * j, y = EDGE + cell * i;

            if (i == j || !isfinite(c)) {
                dmq_text_add(out,
                             "<rect class=\"self\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                             "height=\"%.1f\"/>",
                             x + 1, y + 1, cell - 2, cell - 2);
                continue;
            }
            dmq_text_add(out,
                         "<rect class=\"%s\" fill-opacity=\"%.2f\" x=\"%.1f\" y=\"%.1f\" "
                         "width=\"%.1f\" height=\"%.1f\"/>",
                         c < 0 ? "minus" : "plus", fmin(fabs(c), 1), x + 1, y + 1, cell - 2,
                         cell - 2);
            if (k > 8)
                continue;
            (void)snprintf(text, sizeof text, "%s%.2f", c < -0.005 ? "−" : "", fabs(c));
            text_at(out, fabs(c) > 0.82 ? "value strong" : "value", "middle", x + cell / 2,
                    y + cell / 2 + 4, text);
        }
    }
    dmq_text_add(out, "</svg>\n");
}
