/**
 * Sampler update of one element (sampler.h).
 */
#ifndef DMQ_KERNELS_SAMPLER_MATH_H
#define DMQ_KERNELS_SAMPLER_MATH_H

#include "kernels/fake_quant_math.h"

/** r x + c eps */
DMQ_HD dmq_real dmq_sampler_linear(dmq_real x, dmq_real eps, dmq_real r, dmq_real c)
{
    return r * x + c * eps;
}

/** sqrt(a') x0 + d eps' with x0 clipped to [-1, 1] and eps' the noise that belongs to it. */
DMQ_HD dmq_real dmq_sampler_clipped(dmq_real x, dmq_real eps, dmq_real sqrt_a, dmq_real sqrt_1ma,
                                    dmq_real sqrt_an, dmq_real d)
{
    dmq_real x0 = dmq_fq_clip((x - sqrt_1ma * eps) / sqrt_a, -1, 1);

    return sqrt_an * x0 + d * ((x - sqrt_a * x0) / sqrt_1ma);
}

#endif
