/**
 * Adam over one block of parameters (all tensors of a model lie in one), and sums of such blocks.
 *
 *   m <- b1 m + (1-b1) g     v <- b2 v + (1-b2) g^2
 *   p <- p - lr * (m / (1 - b1^step)) / (sqrt(v / (1 - b2^step)) + eps)       no weight decay
 *
 *   sum_blocks: y = alpha * sum_k x[k], k ascending: gradients of shards, the same bits for any number
 *               of threads
 *   dot:        <x, y> in double, in fixed order
 */
#ifndef DMQ_KERNELS_OPTIM_H
#define DMQ_KERNELS_OPTIM_H

#include "kernels/kernel.h"

typedef struct dmq_adam_args {
    dmq_real *p, *m, *v;
    const dmq_real *g;
    size_t count;
    dmq_real lr, beta1, beta2, eps;
    int step; /**< 1, 2, ... */
} dmq_adam_args;

dmq_status dmq_adam_ref(dmq_queue *queue, const dmq_adam_args *a);

typedef struct dmq_sum_blocks_args {
    const dmq_real *const *x; /**< n_blocks pointers, in host memory, to (count) */
    dmq_real *y;              /**< (count); not among x */
    int n_blocks;
    size_t count;
    dmq_real alpha;
    int add;
} dmq_sum_blocks_args;

dmq_status dmq_sum_blocks_ref(dmq_queue *queue, const dmq_sum_blocks_args *a);

typedef struct dmq_dot_args {
    const dmq_real *x, *y;
    size_t count;
    double *out; /**< (1) */
} dmq_dot_args;

dmq_status dmq_dot_ref(dmq_queue *queue, const dmq_dot_args *a);

#endif
