/**
 * What h5.c and h5_array.c share. Nobody else includes this.
 *
 * Every function here is called with the lock held.
 */
#ifndef DMQ_IO_H5_HANDLE_H
#define DMQ_IO_H5_HANDLE_H

#include "io/h5.h"

#include <hdf5.h>

struct dmq_h5 {
    hid_t id; /* -1: closed */
    char *path;
    char *temp; /* NULL: open for reading */
    uint64_t size_bytes;
    hid_t half;  /* the file type of f16 */
    bool failed; /* a write failed: commit must not succeed */
};

/** One caller at a time; also silences HDF5's own printing in this thread. */
void dmq_h5_lock(void);

void dmq_h5_unlock(void);

/**
 * The message for what HDF5 just refused: its innermost error, or the disk's when the system named one.
 * what: "array x", "attribute seed", or NULL for the file. damage: EDATA unless the disk is to blame.
 */
dmq_status dmq_h5_failed(dmq_h5 *file, const char *what);

/** Make the groups above name, without times and with creation order. */
dmq_status dmq_h5_parents(dmq_h5 *file, const char *name);

/** Like dmq_h5_has, with the lock held. */
bool dmq_h5_found(const dmq_h5 *file, const char *name);

#endif
