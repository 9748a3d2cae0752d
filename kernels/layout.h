/**
 * Moving numbers: strided copy (concat, split, slice) and permutation of axes.
 */
#ifndef DMQ_KERNELS_LAYOUT_H
#define DMQ_KERNELS_LAYOUT_H

#include "kernels/kernel.h"

/** dst[i, j] = src[i, j] for rows of cols numbers, leading dimensions in numbers. */
typedef struct dmq_copy2d_args {
    const dmq_real *src;
    dmq_real *dst;
    size_t rows, cols, src_ld, dst_ld;
    int add;
} dmq_copy2d_args;

dmq_status dmq_copy2d_ref(dmq_queue *queue, const dmq_copy2d_args *a);

/** Axis d of y is axis perm[d] of x. */
typedef struct dmq_permute_args {
    const dmq_real *x;
    dmq_real *y;
    int dim[4]; /**< of x; unused axes 1 at the end */
    int perm[4];
    int add;
} dmq_permute_args;

dmq_status dmq_permute_ref(dmq_queue *queue, const dmq_permute_args *a);

#endif
