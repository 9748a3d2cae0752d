/**
 * safetensors files: u64 length of a JSON header, the header, one buffer of all tensors, little-endian, C
 * order, without holes.
 *
 * Reading trusts nothing: sizes are held against the file's length before anything is allocated, the
 * header is checked as strictly as the format is written (names once, whole numbers without sign, no
 * unknown members, tensors side by side from 0 to the end), and every refusal says which tensor and what.
 *
 * Writing puts tensors in order of element width, then name, aligns the buffer to 8 bytes, and gives the
 * file its name when it is complete (file.h). Equal content, equal bytes.
 *
 * @see specs: models.md 4.0 and 4.1; the safetensors format
 */
#ifndef DMQ_IO_SAFETENSORS_H
#define DMQ_IO_SAFETENSORS_H

#include "base/status.h"
#include "io/input.h"

#include <stdint.h>

#define DMQ_SAFETENSORS_RANK 8

typedef enum dmq_st_type {
    DMQ_ST_BOOL,
    DMQ_ST_U8,
    DMQ_ST_I8,
    DMQ_ST_F16,
    DMQ_ST_BF16,
    DMQ_ST_I32,
    DMQ_ST_F32,
    DMQ_ST_I64,
    DMQ_ST_F64,
    DMQ_ST_OTHER /**< listed, but not read: F4, F8_*, U16, C64, ... */
} dmq_st_type;

/** One tensor of a file. */
typedef struct dmq_st_tensor {
    char *name;
    dmq_st_type type;
    const char *type_name; /**< as in the file: "BF16" */
    int rank;              /**< 0: one number */
    int64_t dims[DMQ_SAFETENSORS_RANK];
    int64_t count;
    uint64_t offset; /**< from the start of the file, in bytes */
    uint64_t bytes;
} dmq_st_tensor;

typedef struct dmq_safetensors dmq_safetensors;

/** ENOINPUT; EDATA with path, tensor and what is wrong; EIO. */
dmq_status dmq_safetensors_open(dmq_safetensors **out, const char *path);

/** The same of an input that stays the caller's and must outlive it. */
dmq_status dmq_safetensors_read(dmq_safetensors **out, dmq_input *input);

/** Takes NULL. */
void dmq_safetensors_close(dmq_safetensors *file);

/** Tensors by name, in alphabetical order. */
int dmq_safetensors_count(const dmq_safetensors *file);

const dmq_st_tensor *dmq_safetensors_at(const dmq_safetensors *file, int i);

/** NULL when there is none. */
const dmq_st_tensor *dmq_safetensors_find(const dmq_safetensors *file, const char *name);

/** A text of __metadata__; NULL when there is none. The file's. */
const char *dmq_safetensors_metadata(const dmq_safetensors *file, const char *key);

/**
 * A whole tensor as float, from F32, F16, BF16 or F64 (rounded).
 *
 * @param rank, dims  what is expected; -1 takes any; dims NULL: not checked
 * @return            EDATA when there is none of that name, ESHAPE with both sides
 */
dmq_status dmq_safetensors_read_f32(float *out, const dmq_safetensors *file, const char *name,
                                    int rank, const int64_t *dims);

/** As whole numbers, from I64, I32, I8, U8 or BOOL. */
dmq_status dmq_safetensors_read_i64(int64_t *out, const dmq_safetensors *file, const char *name,
                                    int rank, const int64_t *dims);

/** What is to be written: data in the type's own form, F16 and BF16 from float, rounded to nearest even. */
typedef struct dmq_st_source {
    const char *name;
    dmq_st_type type;
    int rank;
    int64_t dims[DMQ_SAFETENSORS_RANK];
    const void *data;
} dmq_st_source;

/**
 * @param metadata  n_metadata pairs, key and text; may be NULL with 0
 * @return          EINVAL for a name twice, empty, too long or not UTF-8; EIO; ENOMEM
 */
dmq_status dmq_safetensors_save(const char *path, const dmq_st_source *tensors, int count,
                                const char *const (*metadata)[2], int n_metadata);

#endif
