/**
 * LMDB databases, read: the records of the main database in the order of their keys. LSUN's images come so, a key and a
 * file of WebP or JPEG each.
 *
 * Read by its own walk through the tree, without a lock and without mapping: what the file claims is held against its
 * length and its own pages, and damage is an error, not a signal. Nobody may write to it meanwhile. Pages of 512 to
 * 65536 bytes, written by a 64-bit little-endian machine; duplicates and databases inside are refused.
 *
 *   page   16 bytes: number (8), pad (2), flags (2), end and start of its free room (2 + 2), or pages of a large value (4)
 *   meta   pages 0 and 1, the one of the later transaction counts: magic 0xBEEFC0DE, version 1, ..., free list and main
 *          database of 48 bytes each (page size or pad (4), flags (2), depth (2), pages (3 x 8), records (8), root (8)),
 *          last page (8), transaction (8)
 *   node   size or child (2 + 2), flags or rest of child (2), bytes of key (2), key, value or number of its first page (8)
 *
 * @see LMDB 0.9, mdb.c, "Page structures"
 */
#ifndef DMQ_IO_LMDB_H
#define DMQ_IO_LMDB_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

/** Room for the text of a key. */
enum { DMQ_LMDB_KEY = 96 };

typedef struct dmq_lmdb dmq_lmdb;

/**
 * @param path  data.mdb, or the folder that holds it
 * @return      ENOINPUT; EDATA with what is wrong; ENOMEM: 24 bytes a record are kept
 */
dmq_status dmq_lmdb_open(dmq_lmdb **out, const char *path);

/** Takes NULL. */
void dmq_lmdb_close(dmq_lmdb *file);

/** Of data.mdb itself. */
const char *dmq_lmdb_path(const dmq_lmdb *file);

int64_t dmq_lmdb_count(const dmq_lmdb *file);

/** The key of record i as text, what does not print as "?", for messages. Any thread may call. */
void dmq_lmdb_key(char out[DMQ_LMDB_KEY], const dmq_lmdb *file, int64_t i);

/** Bytes of the value of record i. */
size_t dmq_lmdb_size(const dmq_lmdb *file, int64_t i);

/** The value of record i. EDATA when its pages are damaged; EIO. Any thread may call. */
dmq_status dmq_lmdb_read(void *out, const dmq_lmdb *file, int64_t i);

#endif
