/**
 * Files of torch.save: tensors as views of storages, and a pickle that says which tensor is which.
 *
 *   zip     (PyTorch 1.6 and later)  <root>/data.pkl, <root>/data/<key> one storage each, stored
 *   legacy  (before)                 five pickles, then the storages one after the other
 *
 * Tensors are found where dictionaries with texts as keys, lists and tuples lead from the root; the name of each
 * is the way there: "state_dict/conv_in.weight", "4/module.conv_in.weight". Objects of other classes are passed
 * over, with all that is in them; the names of those classes are listed. What is not a plain tensor (quantized,
 * sparse) is in the table as type OTHER.
 *
 * Every tensor lies inside its storage, every storage inside the file, and a storage has the length that the
 * pickle says. A root that is an object of a class, big-endian numbers and TorchScript are refused.
 *
 * @see specs: models.md 4.2 to 4.4; torch/serialization.py
 */
#ifndef DMQ_IO_TORCH_FILE_H
#define DMQ_IO_TORCH_FILE_H

#include "io/tensor_table.h"
#include "io/zip_stored.h"

/** Classes and functions that a pickle names and that are not known here: "os.system". Start from { 0 }. */
typedef struct dmq_torch_foreign {
    char **name; /**< sorted, each once */
    int count;
} dmq_torch_foreign;

void dmq_torch_foreign_release(dmq_torch_foreign *foreign);

/**
 * @param table    its tensors are added; dmq_table_finish is the caller's
 * @param foreign  names are added
 * @param zip      of the input
 * @param strict   1: EDATA for a name outside collections, torch, numpy, pytorch_lightning and omegaconf
 * @return         EDATA with path and what is wrong; ENOMEM, EIO
 */
dmq_status dmq_torch_read_zip(dmq_table *table, dmq_torch_foreign *foreign, const dmq_input *input,
                              const dmq_zip *zip, int strict);

/** The same of a legacy file. */
dmq_status dmq_torch_read_legacy(dmq_table *table, dmq_torch_foreign *foreign,
                                 const dmq_input *input, int strict);

#endif
