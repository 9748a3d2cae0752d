/**
 * A batch for the network from a file: x (N, C, H, W), t (N) and, where the network knows classes, label (N), in an
 * HDF5 or .npz file.
 */
#ifndef DMQ_CLI_BATCH_FILE_H
#define DMQ_CLI_BATCH_FILE_H

#include "model/model.h"

/** Start from { 0 }. eps has room for the network's output, the size of x. */
typedef struct dmq_forward_batch {
    dmq_real *x, *t, *eps;
    int *label;      /**< NULL: the network knows no classes */
    int64_t dims[4]; /**< N, C, H, W */
} dmq_forward_batch;

/** @param option  names the file in the hint: "--input" */
dmq_status dmq_forward_batch_read(dmq_forward_batch *batch, const dmq_model *model,
                                  const char *path, const char *option);

void dmq_forward_batch_release(dmq_forward_batch *batch);

#endif
