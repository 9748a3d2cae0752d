/**
 * Texts: one that grows, numbers as people write them, and the nearest word to a typo.
 */
#ifndef DMQ_BASE_TEXT_H
#define DMQ_BASE_TEXT_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

/**
 * A text that grows. Start from { 0 }. A failed allocation is remembered, later calls do nothing, and
 * dmq_text_take() reports it, so that a page of additions needs one check.
 */
typedef struct dmq_text {
    char *data; /**< NUL at the end; NULL while empty */
    size_t size;
    size_t room;
    dmq_status status;
} dmq_text;

void dmq_text_add(dmq_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** size bytes as they are. */
void dmq_text_add_bytes(dmq_text *text, const char *bytes, size_t size);

/** In double quotes, with the escapes that JSON and YAML share. */
void dmq_text_add_quoted(dmq_text *text, const char *s);

/** As base64, for data: URIs. */
void dmq_text_add_base64(dmq_text *text, const void *bytes, size_t size);

/** Hand the text over ("" when empty) and start anew. The caller frees. ENOMEM if any addition failed. */
dmq_status dmq_text_take(char **out, dmq_text *text);

void dmq_text_release(dmq_text *text);

/** Whether the bytes are UTF-8: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
bool dmq_text_is_utf8(const char *text);

/** Room for dmq_text_real. */
#define DMQ_TEXT_REAL 32

/** The shortest decimal number that reads back as the same double: 0.001, 20, 1e-08, nan, inf, -inf. */
void dmq_text_real(char out[DMQ_TEXT_REAL], double x);

/** Edits (insert, delete, replace, swap neighbours) that make b of a; texts are looked at up to 95 bytes. */
int dmq_text_distance(const char *a, const char *b);

/**
 * The word that was probably meant: the index of the nearest of count words, or -1 when none is near
 * (more than a third of its length away).
 */
int dmq_text_nearest(const char *word, const char *const *words, int count);

#endif
