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

/**
 * EDATA when there is none, or of a kind that is not read, or when the file has not as many bytes as the shape needs: a
 * caller may allocate by it.
 */
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

/** The rows of an array (dims[0], ...), some at a time, so that no memory has to hold all: packs of images. */
typedef struct dmq_npz_rows dmq_npz_rows;

/** file must outlive it. As dmq_npz_shape; EDATA also when there is no row. */
dmq_status dmq_npz_rows_open(dmq_npz_rows **out, const dmq_npz *file, const char *name);

/** Takes NULL. */
void dmq_npz_rows_close(dmq_npz_rows *rows);

const dmq_npz_info *dmq_npz_rows_info(const dmq_npz_rows *rows);

/**
 * Rows first .. first + count - 1, in the type of the file. In order is fastest: a compressed array is unpacked again
 * from its start to go back. A checksum is compared when all rows have been read in order.
 *
 * @return  EDATA when they cannot be read, or the checksum is another one
 */
dmq_status dmq_npz_rows_read(void *out, dmq_npz_rows *rows, int64_t first, int64_t count);

/** Write one array as .npy. */
dmq_status dmq_npy_save(const char *path, dmq_npz_type type, int rank, const int64_t *dims,
                        const void *data);

#endif
