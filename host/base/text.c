#include "base/text.h"

#include "base/memory.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_SIZE = 96 };

/* Room for n more bytes and the NUL. */
static int reserve(dmq_text *text, size_t n)
{
    size_t room = text->room ? text->room : 256;

    if (text->status != DMQ_OK)
        return 0;
    while (room < text->size + n + 1)
        room *= 2;
    if (room > text->room) {
        text->status = dmq_grow((void **)&text->data, text->room, room, 1);
        if (text->status != DMQ_OK)
            return 0;
        text->room = room;
    }
    return 1;
}

void dmq_text_add_bytes(dmq_text *text, const char *bytes, size_t size)
{
    if (!reserve(text, size))
        return;
    memcpy(text->data + text->size, bytes, size);
    text->size += size;
    text->data[text->size] = '\0';
}

void dmq_text_add(dmq_text *text, const char *format, ...)
{
    va_list args, again;
    int n;

    va_start(args, format);
    va_copy(again, args);
    n = vsnprintf(NULL, 0, format, args);
    if (n > 0 && reserve(text, (size_t)n)) {
        (void)vsnprintf(text->data + text->size, (size_t)n + 1, format, again);
        text->size += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

void dmq_text_add_quoted(dmq_text *text, const char *s)
{
    dmq_text_add_bytes(text, "\"", 1);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '"' || c == '\\') {
            dmq_text_add(text, "\\%c", c);
        } else if (c == '\n') {
            dmq_text_add_bytes(text, "\\n", 2);
        } else if (c == '\t') {
            dmq_text_add_bytes(text, "\\t", 2);
        } else if (c < 32) {
            dmq_text_add(text, "\\u%04x", c);
        } else {
            dmq_text_add_bytes(text, s, 1);
        }
    }
    dmq_text_add_bytes(text, "\"", 1);
}

void dmq_text_add_base64(dmq_text *text, const void *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = bytes;

    if (!reserve(text, (size + 2) / 3 * 4))
        return;
    for (size_t i = 0; i < size; i += 3) {
        unsigned three = (unsigned)p[i] << 16 | (i + 1 < size ? (unsigned)p[i + 1] << 8 : 0U) |
                         (i + 2 < size ? p[i + 2] : 0U);
        char four[4] = { digits[three >> 18], digits[three >> 12 & 63U],
                         (char)(i + 1 < size ? digits[three >> 6 & 63U] : '='),
                         (char)(i + 2 < size ? digits[three & 63U] : '=') };

        dmq_text_add_bytes(text, four, 4);
    }
}

dmq_status dmq_text_take(char **out, dmq_text *text)
{
    dmq_status st = text->status;

    *out = NULL;
    if (st == DMQ_OK && !text->data) {
        st = dmq_strdup(out, "");
    } else if (st == DMQ_OK) {
        *out = text->data;
        text->data = NULL;
    }
    dmq_text_release(text);
    return st;
}

void dmq_text_release(dmq_text *text)
{
    dmq_free(text->data);
    memset(text, 0, sizeof *text);
}

bool dmq_text_is_utf8(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    while (*p) {
        int more = *p < 0x80   ? 0
                   : *p < 0xC2 ? -1
                   : *p < 0xE0 ? 1
                   : *p < 0xF0 ? 2
                   : *p < 0xF5 ? 3
                               : -1;

        if (more < 0 || (*p == 0xE0 && p[1] < 0xA0) || (*p == 0xED && p[1] > 0x9F) ||
            (*p == 0xF0 && p[1] < 0x90) || (*p == 0xF4 && p[1] > 0x8F))
            return false;
        for (p++; more > 0; more--, p++) {
            if ((*p & 0xC0U) != 0x80U)
                return false;
        }
    }
    return true;
}

void dmq_text_real(char out[DMQ_TEXT_REAL], double x)
{
    if (isnan(x)) {
        (void)snprintf(out, DMQ_TEXT_REAL, "nan");
        return;
    }
    if (x == floor(x) && fabs(x) < 1e15) {
        (void)snprintf(out, DMQ_TEXT_REAL, "%.0f", x);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(out, DMQ_TEXT_REAL, "%.*g", digits, x);
        if (strtod(out, NULL) == x)
            return;
    }
}

static int min3(int a, int b, int c)
{
    int m = a < b ? a : b;

    return m < c ? m : c;
}

int dmq_text_distance(const char *a, const char *b)
{
    int rows[3][WORD_SIZE + 1]; /* of the table of distances of prefixes: i - 2, i - 1, i */
    int n = (int)strnlen(a, WORD_SIZE - 1), m = (int)strnlen(b, WORD_SIZE - 1);
    int *before = rows[0], *above = rows[1], *row = rows[2];

    for (int j = 0; j <= m; j++) {
        before[j] = 0;
        above[j] = j;
    }
    for (int i = 1; i <= n; i++) {
        int *old = before;

        row[0] = i;
        for (int j = 1; j <= m; j++) {
            row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
        before = above;
        above = row;
        row = old;
    }
    return above[m];
}

int dmq_text_nearest(const char *word, const char *const *words, int count)
{
    int best = -1, least = 0;

    for (int i = 0; i < count; i++) {
        int d = dmq_text_distance(word, words[i]);

        if (d * 3 <= (int)strlen(words[i]) + 2 && (best < 0 || d < least)) {
            best = i;
            least = d;
        }
    }
    return best;
}
