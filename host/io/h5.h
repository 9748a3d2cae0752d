/**
 * HDF5 files: named arrays in groups, with attributes. The only place that calls HDF5.
 *
 * Written files open in h5py and hold no time and no machine: equal content gives equal bytes, as long as
 * it is written in the same order. Arrays are contiguous, little-endian, C order, at most 8 dims. Names
 * are paths ("layers/conv_in/wq"); groups are made as needed, members keep their order of creation.
 *
 * Input is not trusted: no links to other files, no plugins, no virtual or external storage, and sizes
 * are held against the file's length before anyone allocates them.
 *
 * Arrays are told by (rank, dims): DMQ_DIMS(4, 3, 8, 8) writes both arguments. When reading, a dim of -1
 * takes any; the file's may be asked before with dmq_h5_shape().
 *
 * Any thread may call; one call runs at a time.
 *
 * Errors: ENOINPUT no such file; EDATA not HDF5, damaged, truncated, or without that name; ESHAPE another
 * shape or type than asked, both told; EIO the disk.
 */
#ifndef DMQ_IO_H5_H
#define DMQ_IO_H5_H

#include "base/status.h"
#include "kernels/kernel.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DMQ_H5_RANK 8

/** rank and dims as two arguments: dmq_h5_write_f32(file, "x", DMQ_DIMS(n, 3), x) */
#define DMQ_DIMS(...)                                                    \
    ((int)(sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t))), \
        ((const int64_t[]){ __VA_ARGS__ })

typedef struct dmq_h5 dmq_h5;

typedef enum dmq_h5_mode { DMQ_H5_READ, DMQ_H5_WRITE } dmq_h5_mode;

typedef enum dmq_h5_type {
    DMQ_H5_F16,
    DMQ_H5_F32,
    DMQ_H5_F64,
    DMQ_H5_U8,
    DMQ_H5_I8,
    DMQ_H5_I32,
    DMQ_H5_I64,
    DMQ_H5_TEXT /**< one string */
} dmq_h5_type;

typedef struct dmq_h5_info {
    dmq_h5_type type;
    int rank; /**< 0: one number */
    int64_t dims[DMQ_H5_RANK];
    int64_t count; /**< product of dims */
} dmq_h5_info;

typedef struct dmq_h5_names {
    char **name;
    int count;
} dmq_h5_names;

/* ------------------------------------------------------------------ the file */

/**
 * READ: an existing file. WRITE: a new one, under a temporary name until dmq_h5_commit(); an old file of
 * that name stays untouched until then.
 */
dmq_status dmq_h5_open(dmq_h5 **out, const char *path, dmq_h5_mode mode);

/** Written completely: to the disk, and to its final name. The file is closed; destroy it all the same. */
dmq_status dmq_h5_commit(dmq_h5 *file);

/** Takes NULL. A file open for writing that was not committed leaves nothing behind. */
void dmq_h5_close(dmq_h5 *file);

/** The path it was opened with. */
const char *dmq_h5_path(const dmq_h5 *file);

/** Say what the file is: root attributes format ("dmq-calib"), format_version, creator. */
dmq_status dmq_h5_format_set(dmq_h5 *file, const char *format, int version);

/** EDATA when the file is of another format (told), or of a later version. */
dmq_status dmq_h5_format_check(dmq_h5 *file, const char *format, int version);

/* ------------------------------------------------------------------ names */

/** Whether there is an array or group of that name. */
bool dmq_h5_has(dmq_h5 *file, const char *name);

/** EDATA when there is none, or of a type that dmq does not read. */
dmq_status dmq_h5_shape(dmq_h5_info *out, dmq_h5 *file, const char *name);

/** Members of a group ("" or "/": root) in order of creation, groups with "/" at their end. */
dmq_status dmq_h5_list(dmq_h5_names *out, dmq_h5 *file, const char *group);

void dmq_h5_names_release(dmq_h5_names *names);

/** "f32 [4,3,8,8]", for messages. */
void dmq_h5_info_text(char *out, size_t size, const dmq_h5_info *info);

/* ------------------------------------------------------------------ reading */

/** From f32 or f16. */
dmq_status dmq_h5_read_f32(float *out, dmq_h5 *file, const char *name, int rank,
                           const int64_t *dims);

/** From f64, f32 or f16. */
dmq_status dmq_h5_read_f64(double *out, dmq_h5 *file, const char *name, int rank,
                           const int64_t *dims);

/** From f64, f32 or f16, rounded where dmq_real is narrower. */
dmq_status dmq_h5_read_real(dmq_real *out, dmq_h5 *file, const char *name, int rank,
                            const int64_t *dims);

dmq_status dmq_h5_read_u8(uint8_t *out, dmq_h5 *file, const char *name, int rank,
                          const int64_t *dims);

dmq_status dmq_h5_read_i8(int8_t *out, dmq_h5 *file, const char *name, int rank,
                          const int64_t *dims);

/** From any whole numbers that fit; EDATA when one does not. */
dmq_status dmq_h5_read_i32(int32_t *out, dmq_h5 *file, const char *name, int rank,
                           const int64_t *dims);

/** From any whole numbers. */
dmq_status dmq_h5_read_i64(int64_t *out, dmq_h5 *file, const char *name, int rank,
                           const int64_t *dims);

/**
 * Rows first .. first + count - 1 of the first dim, as memory: F32 (from f16, f32), F64, U8, I8, I32 or
 * I64. dims[0] is the number of all rows, or -1.
 */
dmq_status dmq_h5_read_rows(void *out, dmq_h5 *file, const char *name, int64_t first, int64_t count,
                            dmq_h5_type memory, int rank, const int64_t *dims);

/** The caller frees. */
dmq_status dmq_h5_read_text(char **out, dmq_h5 *file, const char *name);

/* ------------------------------------------------------------------ writing */

dmq_status dmq_h5_write_f32(dmq_h5 *file, const char *name, int rank, const int64_t *dims,
                            const float *data);

/** Stored in half precision, rounded to nearest even. */
dmq_status dmq_h5_write_f16(dmq_h5 *file, const char *name, int rank, const int64_t *dims,
                            const float *data);

dmq_status dmq_h5_write_f64(dmq_h5 *file, const char *name, int rank, const int64_t *dims,
                            const double *data);

/** Stored as f32 in every build. */
dmq_status dmq_h5_write_real(dmq_h5 *file, const char *name, int rank, const int64_t *dims,
                             const dmq_real *data);

dmq_status dmq_h5_write_u8(dmq_h5 *file, const char *name, int rank, const int64_t *dims,
                           const uint8_t *data);

dmq_status dmq_h5_write_i8(dmq_h5 *file, const char *name, int rank, const int64_t *dims,
                           const int8_t *data);

dmq_status dmq_h5_write_i32(dmq_h5 *file, const char *name, int rank, const int64_t *dims,
                            const int32_t *data);

dmq_status dmq_h5_write_i64(dmq_h5 *file, const char *name, int rank, const int64_t *dims,
                            const int64_t *data);

dmq_status dmq_h5_write_text(dmq_h5 *file, const char *name, const char *text);

/** An array to be filled by rows; rows that nobody writes are zeros. */
dmq_status dmq_h5_create(dmq_h5 *file, const char *name, dmq_h5_type stored, int rank,
                         const int64_t *dims);

/** memory: F32 (to f16, f32), F64 (to f64), or the stored whole type. data: count rows. */
dmq_status dmq_h5_write_rows(dmq_h5 *file, const char *name, int64_t first, int64_t count,
                             dmq_h5_type memory, const void *data);

/* ------------------------------------------------------------------ attributes of an array or group */

/** object: "" or "/" for the file itself. A name that is there already is replaced. */
dmq_status dmq_h5_attr_set_text(dmq_h5 *file, const char *object, const char *name,
                                const char *text);

dmq_status dmq_h5_attr_set_i64(dmq_h5 *file, const char *object, const char *name, int64_t value);

dmq_status dmq_h5_attr_set_f64(dmq_h5 *file, const char *object, const char *name, double value);

bool dmq_h5_attr_has(dmq_h5 *file, const char *object, const char *name);

/** The caller frees. EDATA when there is none, or when it is not a text. */
dmq_status dmq_h5_attr_text(char **out, dmq_h5 *file, const char *object, const char *name);

dmq_status dmq_h5_attr_i64(int64_t *out, dmq_h5 *file, const char *object, const char *name);

dmq_status dmq_h5_attr_f64(double *out, dmq_h5 *file, const char *object, const char *name);

#endif
