/**
 * NumPy files: .npz, a ZIP of arrays (stored or deflated), and .npy, one array, which reads as an archive
 * with one member "".
 *
 * Read are |u1 <f4 <f8 <i4 <i8 in C order; Python objects, Fortran order and big-endian numbers are
 * refused. Nothing is evaluated, and nothing is allocated by a size that a file claims: data goes into the
 * caller's array.
 *
 * @see specs: models.md 4.5
 */
#ifndef DMQ_IO_NPZ_H
#define DMQ_IO_NPZ_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

#define DMQ_NPZ_RANK 8

typedef enum dmq_npz_type {
    DMQ_NPZ_U1,
    DMQ_NPZ_F4,
    DMQ_NPZ_F8,
    DMQ_NPZ_I4,
    DMQ_NPZ_I8
} dmq_npz_type;

typedef struct dmq_npz_info {
    dmq_npz_type type;
    int rank; /**< 0: one number */
    int64_t dims[DMQ_NPZ_RANK];
    int64_t count;
} dmq_npz_info;

typedef struct dmq_npz dmq_npz;

/** ENOINPUT; EDATA when it is neither, or damaged. */
dmq_status dmq_npz_open(dmq_npz **out, const char *path);

/** Takes NULL. */
void dmq_npz_close(dmq_npz *file);

/** Names of the arrays, without ".npy", in the order of the archive. */
int dmq_npz_count(const dmq_npz *file);

const char *dmq_npz_name(const dmq_npz *file, int i);

/** EDATA when there is none, or of a kind that is not read. */
dmq_status dmq_npz_shape(dmq_npz_info *out, dmq_npz *file, const char *name);

/**
 * The whole array, as float from f4 or f8 (rounded).
 *
 * @param rank, dims  what is expected; -1 takes any
 * @return            EDATA, also for damage that a checksum finds; ESHAPE with both sides
 */
dmq_status dmq_npz_read_f32(float *out, dmq_npz *file, const char *name, int rank,
                            const int64_t *dims);

/** From f4 or f8. */
dmq_status dmq_npz_read_f64(double *out, dmq_npz *file, const char *name, int rank,
                            const int64_t *dims);

/** From i4, i8 or u1. */
dmq_status dmq_npz_read_i64(int64_t *out, dmq_npz *file, const char *name, int rank,
                            const int64_t *dims);

dmq_status dmq_npz_read_u8(uint8_t *out, dmq_npz *file, const char *name, int rank,
                           const int64_t *dims);

/** Write one array as .npy. */
dmq_status dmq_npy_save(const char *path, dmq_npz_type type, int rank, const int64_t *dims,
                        const void *data);

#endif
