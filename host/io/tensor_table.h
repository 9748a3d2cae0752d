/**
 * The tensors of a checkpoint, whatever container they lie in: one table from names to places in files.
 *
 *   element (i_0, ..., i_r-1) lies at  offset + width * sum_k i_k strides_k
 *
 * Readers (safetensors.h, torch_file.h) fill it, checkpoint.h finishes it and reads by it. Nothing gets in that
 * does not fit: every tensor lies inside its file, names are told once, and neither names, ranks nor counts go
 * beyond the bounds below.
 *
 * @see specs: models.md 4.0
 */
#ifndef DMQ_IO_TENSOR_TABLE_H
#define DMQ_IO_TENSOR_TABLE_H

#include "base/arena.h"
#include "io/input.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DMQ_TABLE_RANK  8
#define DMQ_TABLE_NAME  1024    /**< bytes of a name */
#define DMQ_TABLE_LIMIT 1000000 /**< tensors */
#define DMQ_TABLE_COUNT (INT64_C(1) << 40)

typedef enum dmq_dtype {
    DMQ_DTYPE_BOOL,
    DMQ_DTYPE_U8,
    DMQ_DTYPE_I8,
    DMQ_DTYPE_I16,
    DMQ_DTYPE_I32,
    DMQ_DTYPE_I64,
    DMQ_DTYPE_F16,
    DMQ_DTYPE_BF16,
    DMQ_DTYPE_F32,
    DMQ_DTYPE_F64,
    DMQ_DTYPE_OTHER /**< listed, but not read */
} dmq_dtype;

/** Bytes of an element; 0 for OTHER. */
int dmq_dtype_width(dmq_dtype type);

/** "F32"; "?" for OTHER. */
const char *dmq_dtype_name(dmq_dtype type);

/** By its name as safetensors writes it; OTHER when it is none of the above. */
dmq_dtype dmq_dtype_find(const char *name);

/** One tensor: a view of bytes in a file, perhaps the same bytes that others view. */
typedef struct dmq_stored {
    const char *name; /**< UTF-8; in nested containers the path: "state_dict/conv_in.weight" */
    dmq_dtype type;
    const char *
        type_name; /**< "BF16", "F8_E4M3"; of what is no plain tensor, the function that makes it */
    int rank;      /**< 0: one number */
    int64_t dims[DMQ_TABLE_RANK];
    int64_t strides[DMQ_TABLE_RANK]; /**< in elements; 0: the same element again and again */
    int64_t count;                   /**< product of dims */
    int file;                        /**< which file of the checkpoint; 0 but for shards */
    uint64_t offset; /**< of the first element, from the start of the file, in bytes */
    uint64_t bytes;  /**< from the first element to behind the last one in the file */
} dmq_stored;

/** Start from { 0 }. */
typedef struct dmq_table {
    dmq_stored *tensor; /**< in the order of the file */
    int count;
    int room;
    int *by_name; /**< (count) numbers of tensors, by name; made by dmq_table_finish */
    dmq_arena names;
} dmq_table;

void dmq_table_release(dmq_table *table);

/**
 * One tensor more. name (size bytes, need not end) and type_name are copied; strides are those of C order where
 * C order is asked for. bytes is set here.
 *
 * @param c_order  1: strides are set here, too
 * @param path     of the file, for messages
 * @return         EDATA: a name that is empty, too long, not UTF-8 or with control characters, sizes beyond bounds, negative strides, too
 *                 many tensors
 */
dmq_status dmq_table_add(dmq_table *table, const dmq_stored *tensor, size_t size, int c_order,
                         const char *path);

/** After the last one: order the names. EDATA for a name that is there twice. */
dmq_status dmq_table_finish(dmq_table *table, const char *path);

/** NULL when there is none. */
const dmq_stored *dmq_table_find(const dmq_table *table, const char *name);

/** Whether elements lie side by side in C order. */
bool dmq_stored_is_c_order(const dmq_stored *tensor);

/** Whether one element of the file stands for several: an expanded tensor. */
bool dmq_stored_is_expanded(const dmq_stored *tensor);

/** "BF16 [4,3]", for messages. */
void dmq_stored_text(char *out, size_t size, const dmq_stored *tensor);

/**
 * All elements in C order, as float from F16, BF16, F32 or F64 (rounded).
 *
 * @param out    (tensor->count)
 * @param input  the file that holds it
 * @return       EDATA: another type, or cut short; ENOMEM, EIO
 */
dmq_status dmq_stored_read_f32(float *out, const dmq_stored *tensor, const dmq_input *input);

#endif
