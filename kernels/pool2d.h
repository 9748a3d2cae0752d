/**
 * Pooling over square windows of any stride and padding, NHWC.
 *
 *   max:  y[n,i,j,c] = max of x over the window        dx: dy to the place of the maximum
 *   mean: y[n,i,j,c] = sum of x over the window / V    dx: dy / V to each of them
 *
 * The window of (i, j) is rows i*stride - pad .. + k - 1 and columns likewise, cut at the borders: what is
 * outside of x neither counts nor is divided by, V is the number of pixels that are left (in the frameworks'
 * words count_include_pad is false). Of equal maxima the first one counts, rows first; a NaN is greater than
 * all. Sums run rows first, one by one, those of dx over the windows likewise: the same bits everywhere.
 *
 * Sizes: ho = (h + 2 pad - k)/stride + 1, wo likewise; 0 <= pad < k, so that no window is empty.
 */
#ifndef DMQ_KERNELS_POOL2D_H
#define DMQ_KERNELS_POOL2D_H

#include "kernels/kernel.h"

typedef enum dmq_pool_kind { DMQ_POOL_MAX, DMQ_POOL_MEAN } dmq_pool_kind;

typedef struct dmq_pool2d_args {
    dmq_pool_kind kind;
    const dmq_real *x;     /**< (n, h, w, c); all but the backward pass of the mean */
    dmq_real *y;           /**< (n, ho, wo, c), not x; forward */
    const dmq_real *dy;    /**< as y; backward */
    dmq_real *dx;          /**< as x; backward */
    const dmq_real *x_tan; /**< as x; jvp */
    dmq_real *y_tan;       /**< as y; jvp. For the maximum alone: the mean's is forward(x_tan) */
    int n, h, wd, c;       /**< of x */
    int k, stride, pad;    /**< in pixels, both directions */
    int ho, wo;            /**< of y */
    int add;               /**< of dx */
} dmq_pool2d_args;

dmq_status dmq_pool2d_forward_ref(dmq_queue *queue, const dmq_pool2d_args *a);
dmq_status dmq_pool2d_backward_ref(dmq_queue *queue, const dmq_pool2d_args *a);
dmq_status dmq_pool2d_jvp_ref(dmq_queue *queue, const dmq_pool2d_args *a);

#endif
