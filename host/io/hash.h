/**
 * SHA-256, as 64 lower-case hexadecimal digits.
 */
#ifndef DMQ_IO_HASH_H
#define DMQ_IO_HASH_H

#include "base/status.h"

#include <stddef.h>

/** 64 digits and the NUL. */
#define DMQ_HASH_TEXT 65

typedef struct dmq_hash dmq_hash;

/** Of size bytes. */
dmq_status dmq_hash_memory(char out[DMQ_HASH_TEXT], const void *data, size_t size);

/** Of a whole file. ENOINPUT, EIO. */
dmq_status dmq_hash_file(char out[DMQ_HASH_TEXT], const char *path);

/** Piece by piece: create, add as often as wanted, text once, destroy. */
dmq_status dmq_hash_create(dmq_hash **out);

dmq_status dmq_hash_add(dmq_hash *hash, const void *data, size_t size);

dmq_status dmq_hash_text(char out[DMQ_HASH_TEXT], dmq_hash *hash);

/** Takes NULL. */
void dmq_hash_destroy(dmq_hash *hash);

#endif
