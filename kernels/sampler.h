/**
 * One update of a diffusion sampler, x' = r x + c eps + sigma z, or the same through a clipped x0.
 *
 *   x0 = (x - sqrt(1-a) eps)/sqrt(a), clipped to [-1, 1];  eps' = (x - sqrt(a) x0)/sqrt(1-a)
 *   x' = sqrt(a') x0 + d eps' + sigma z
 *
 * Coefficients are computed in FP64 by the sampler and rounded once.
 * @see specs: corrections.md 0.2, models.md 5
 */
#ifndef DMQ_KERNELS_SAMPLER_H
#define DMQ_KERNELS_SAMPLER_H

#include "kernels/kernel.h"

typedef struct dmq_sampler_args {
    const dmq_real *x, *eps; /**< (count) */
    const dmq_real *z;       /**< (count), optional if sigma = 0 */
    dmq_real *out;           /**< (count), may be x */
    size_t count;
    dmq_real r, c, sigma;
    int clip; /**< 1: by x0, with the fields below */
    dmq_real sqrt_a, sqrt_1ma, sqrt_an, d;
} dmq_sampler_args;

dmq_status dmq_sampler_update_ref(dmq_queue *queue, const dmq_sampler_args *a);

#endif
