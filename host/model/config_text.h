/**
 * The small text in which an architecture's configuration is kept in files and hashed: one
 * "key: value" a line, a list as [1, 2, 2]; the same settings always give the same text.
 *
 * The readers take a text of our own writing, or one that somebody changed: EDATA with the key.
 */
#ifndef DMQ_MODEL_CONFIG_TEXT_H
#define DMQ_MODEL_CONFIG_TEXT_H

#include "base/status.h"

#include <stddef.h>

/** Room for any configuration text. */
#define DMQ_CONFIG_TEXT 1024

dmq_status dmq_config_text_int(int *out, const char *text, const char *key);

dmq_status dmq_config_text_double(double *out, const char *text, const char *key);

/** At most max numbers; *n is how many there were. */
dmq_status dmq_config_text_ints(int *out, int *n, int max, const char *text, const char *key);

/** "[1, 2, 2]" of n numbers at the end of a text in size bytes; cut off where it does not fit. */
void dmq_config_text_list(char *text, size_t size, const char *key, const int *value, int n);

#endif
