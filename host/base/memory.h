/**
 * Memory on the host: all of dmq allocates here, so that a test can make the n-th allocation fail.
 */
#ifndef DMQ_BASE_MEMORY_H
#define DMQ_BASE_MEMORY_H

#include "base/status.h"

#include <stddef.h>

/** count * size bytes, 64-byte aligned, zeroed; ENOMEM (also when the product overflows). */
dmq_status dmq_alloc(void **out, size_t count, size_t size);

/** Grow (or make, from NULL) an array made by dmq_alloc; new part zeroed, old pointer kept on failure. */
dmq_status dmq_grow(void **array, size_t old_count, size_t new_count, size_t size);

/** A copy of a string; NULL gives NULL. */
dmq_status dmq_strdup(char **out, const char *text);

/** Takes NULL. */
void dmq_free(void *memory);

/** For tests: let the n-th allocation from now fail (0: never). */
void dmq_alloc_fail_at(long n);

/** Allocations since the start of the program: "nothing is allocated inside an iteration". */
long dmq_alloc_count(void);

#endif
