/**
 * Softmax over the last axis.
 *
 *   y = exp(x - max x) / sum exp(x - max x)
 *   derive: out = y * (v - <y, v>)      the Jacobian is symmetric, so this is both the backward pass
 *                                       (v = dy, out = dx) and the tangent (v = x_tan, out = y_tan)
 */
#ifndef DMQ_KERNELS_SOFTMAX_H
#define DMQ_KERNELS_SOFTMAX_H

#include "kernels/kernel.h"

typedef struct dmq_softmax_args {
    const dmq_real *x; /**< (rows, cols); read by forward */
    dmq_real *y;       /**< (rows, cols); written by forward (may be x), read by derive */
    const dmq_real *v; /**< (rows, cols); read by derive */
    dmq_real *out;     /**< (rows, cols); written by derive, may be v if add = 0 */
    int rows, cols;
    int add; /**< of out */
} dmq_softmax_args;

dmq_status dmq_softmax_forward_ref(dmq_queue *queue, const dmq_softmax_args *a);
dmq_status dmq_softmax_derive_ref(dmq_queue *queue, const dmq_softmax_args *a);

/**
 * Cross entropy of logits against a class: loss[n] = log sum_j exp(x[n,j]) - x[n, label[n]].
 * backward: dx[n,j] = dloss[n] (softmax(x)[n,j] - [j = label[n]]).
 */
typedef struct dmq_xent_args {
    const dmq_real *x;     /**< (n, classes) */
    const int *label;      /**< (n), 0..classes-1 */
    dmq_real *loss;        /**< (n); written by forward */
    const dmq_real *dloss; /**< (n); read by backward */
    dmq_real *dx;          /**< (n, classes); written by backward */
    int n, classes;
    int add;
} dmq_xent_args;

dmq_status dmq_xent_forward_ref(dmq_queue *queue, const dmq_xent_args *a);
dmq_status dmq_xent_backward_ref(dmq_queue *queue, const dmq_xent_args *a);

#endif
