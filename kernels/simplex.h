/**
 * Sample weights on the simplex: w = softmax(s / tau) over a batch, and its gradient.
 *
 *   ds_i = (w_i / tau)(d_i - sum_j w_j d_j),  d = dL/dw
 *
 * Equal to the softmax over all samples, renormalized to the batch. Sums in double.
 * @see specs: gac.md 1.2 to 1.4, 1.6
 */
#ifndef DMQ_KERNELS_SIMPLEX_H
#define DMQ_KERNELS_SIMPLEX_H

#include "kernels/kernel.h"

typedef struct dmq_simplex_args {
    const dmq_real *s; /**< (n) logits */
    dmq_real *w;       /**< (n); written by forward, read by backward */
    const dmq_real *d; /**< (n); backward */
    dmq_real *ds;      /**< (n); backward */
    int n;
    dmq_real tau;
} dmq_simplex_args;

dmq_status dmq_simplex_forward_ref(dmq_queue *queue, const dmq_simplex_args *a);
dmq_status dmq_simplex_backward_ref(dmq_queue *queue, const dmq_simplex_args *a);

#endif
