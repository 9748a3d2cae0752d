/** What the readers of both containers of PyTorch share: the walk through the pickle. */
#ifndef DMQ_IO_TORCH_INNER_H
#define DMQ_IO_TORCH_INNER_H

#include "io/pickle.h"
#include "io/torch_file.h"

/** What a pickle says about a storage. */
typedef struct dmq_torch_storage {
    const char *key; /**< key_size bytes of [0-9A-Za-z_.-], the pickle's */
    size_t key_size;
    dmq_dtype type;
    int64_t count;                  /**< elements of the whole storage */
    int64_t view_first, view_count; /**< the part that is meant; all of it but in legacy files */
} dmq_torch_storage;

/** From a PERSISTENT node. EDATA when it tells of no storage that is known. */
dmq_status dmq_torch_storage_of(dmq_torch_storage *out, const dmq_pickle *pickle,
                                dmq_pickle_node node, const char *path);

/** Where the first byte of a whole storage lies; EDATA when it is not there, or has another length. */
typedef dmq_status dmq_torch_place_fn(uint64_t *offset, void *context,
                                      const dmq_torch_storage *storage);

/** All tensors that can be reached from the root. */
dmq_status dmq_torch_walk(dmq_table *table, const dmq_pickle *pickle, dmq_torch_place_fn *place,
                          void *context, const char *path);

/** Names that are not known; see dmq_torch_read_zip. */
dmq_status dmq_torch_list_foreign(dmq_torch_foreign *foreign, const dmq_pickle *pickle, int strict,
                                  const char *path);

#endif
