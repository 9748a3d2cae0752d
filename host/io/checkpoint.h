/**
 * Checkpoints of any container as one table of tensors.
 *
 *   safetensors, PyTorch (zip and legacy), NumPy (.npz and .npy), HDF5, and shards of the first two behind an
 *   index.json ({"weight_map": {name: file}})
 *
 * What a file is, its first bytes say, not its name. Nothing in it is executed, no path that it holds is opened but
 * the plain names of an index, beside it; PyTorch's oldest containers (tar) are refused with advice.
 *
 * @see specs: models.md 4.0
 */
#ifndef DMQ_IO_CHECKPOINT_H
#define DMQ_IO_CHECKPOINT_H

#include "io/tensor_table.h"
#include "io/torch_file.h"

typedef enum dmq_container {
    DMQ_CONTAINER_UNKNOWN,
    DMQ_CONTAINER_SAFETENSORS,
    DMQ_CONTAINER_TORCH_LEGACY,
    DMQ_CONTAINER_TORCH_TAR,
    DMQ_CONTAINER_ZIP, /**< PyTorch or NumPy: its directory says */
    DMQ_CONTAINER_NPY,
    DMQ_CONTAINER_HDF5,
    DMQ_CONTAINER_JSON,
    DMQ_CONTAINER_TORCH_ZIP,
    DMQ_CONTAINER_NPZ
} dmq_container;

/** By the first bytes. EIO. */
dmq_status dmq_container_of(dmq_container *out, const dmq_input *input);

/** "PyTorch, zip", for people. */
const char *dmq_container_name(dmq_container container);

typedef struct dmq_checkpoint dmq_checkpoint;

/**
 * @param strict  see dmq_torch_read_zip
 * @return        ENOINPUT; EDATA with path and what is wrong; ENOMEM, EIO
 */
dmq_status dmq_checkpoint_open(dmq_checkpoint **out, const char *path, int strict);

/** The same of an input, which is taken over, also after a failure. NumPy and HDF5 files are opened by its path. */
dmq_status dmq_checkpoint_read(dmq_checkpoint **out, dmq_input *input, int strict);

/** Takes NULL. */
void dmq_checkpoint_close(dmq_checkpoint *checkpoint);

/** Of the file; of the first shard. */
dmq_container dmq_checkpoint_container(const dmq_checkpoint *checkpoint);

const char *dmq_checkpoint_path(const dmq_checkpoint *checkpoint);

/** In the order of the file, finished. */
const dmq_table *dmq_checkpoint_table(const dmq_checkpoint *checkpoint);

/** What a pickle names beyond tensors; empty for other containers. */
const dmq_torch_foreign *dmq_checkpoint_foreign(const dmq_checkpoint *checkpoint);

/** The files that hold the tensors: 1, or as many as there are shards. */
int dmq_checkpoint_files(const dmq_checkpoint *checkpoint);

const char *dmq_checkpoint_file(const dmq_checkpoint *checkpoint, int i);

/** Compare the checksums that the container holds (ZIP); nothing for others. EDATA names what is damaged. */
dmq_status dmq_checkpoint_check(const dmq_checkpoint *checkpoint);

/** All elements of a tensor of the table, in C order, as float. EDATA for another type. */
dmq_status dmq_checkpoint_read_f32(float *out, const dmq_checkpoint *checkpoint,
                                   const dmq_stored *tensor);

#endif
