/**
 * What h5.c, h5_array.c and h5_write.c share. Nobody else includes this.
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
 * EDATA when reading, EIO when writing. what: a name in the file, or NULL for the file itself.
 */
dmq_status dmq_h5_failed(dmq_h5 *file, const char *what);

/** Make the groups above name, without times and with creation order. */
dmq_status dmq_h5_parents(dmq_h5 *file, const char *name);

static inline bool dmq_h5_is_float(dmq_h5_type type)
{
    return type <= DMQ_H5_F64;
}

/** The machine's own form of a type. */
hid_t dmq_h5_memory_type(const dmq_h5 *file, dmq_h5_type type);

/** Opens the array and says what it is; *id is the caller's to close, unless it is -1. */
dmq_status dmq_h5_open_array(hid_t *id, dmq_h5_info *info, dmq_h5 *file, const char *name);

/** The array's space with these rows selected; the caller's to close. */
hid_t dmq_h5_rows_space(hid_t id, const dmq_h5_info *info, int64_t first, int64_t count);

/** Like dmq_h5_has, with the lock held. */
bool dmq_h5_found(const dmq_h5 *file, const char *name);

#endif
