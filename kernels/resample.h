/**
 * Nearest up-sampling and average pooling by a whole factor f, NHWC.
 *
 *   up:   y[n, i, j, c] = x[n, i/f, j/f, c]                 backward: dx = sum of the f*f copies
 *   pool: y[n, i, j, c] = mean of x over the f*f window     backward: dx = dy / f^2 in the window
 *
 * Pooling wants h and w to be multiples of f. Both are linear: the tangent is the forward pass.
 */
#ifndef DMQ_KERNELS_RESAMPLE_H
#define DMQ_KERNELS_RESAMPLE_H

#include "kernels/kernel.h"

typedef struct dmq_resample_args {
    const dmq_real *x;  /**< (n, h, w, c); forward */
    dmq_real *y;        /**< (n, h f, w f, c) or (n, h/f, w/f, c); forward */
    const dmq_real *dy; /**< as y; backward */
    dmq_real *dx;       /**< as x; backward */
    int n, h, wd, c;    /**< of x */
    int factor;
    int add; /**< of y, dx */
} dmq_resample_args;

dmq_status dmq_upsample_forward_ref(dmq_queue *queue, const dmq_resample_args *a);
dmq_status dmq_upsample_backward_ref(dmq_queue *queue, const dmq_resample_args *a);
dmq_status dmq_avg_pool_forward_ref(dmq_queue *queue, const dmq_resample_args *a);
dmq_status dmq_avg_pool_backward_ref(dmq_queue *queue, const dmq_resample_args *a);

#endif
