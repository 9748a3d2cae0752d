/**
 * |e|^p of one element and its derivative (loss.h).
 */
#ifndef DMQ_KERNELS_LOSS_MATH_H
#define DMQ_KERNELS_LOSS_MATH_H

#include "kernels/loss.h"

/** |e|^p */
DMQ_HD dmq_real dmq_loss_term(dmq_real e, dmq_real power)
{
    return power == 2 ? e * e : dmq_pow(dmq_fabs(e), power);
}

/** p |e|^(p-1) sign(e) */
DMQ_HD dmq_real dmq_loss_slope(dmq_real e, dmq_real power)
{
    dmq_real d;

    if (power == 2)
        return 2 * e;
    d = power * dmq_pow(dmq_fabs(e), power - 1);
    return e < 0 ? -d : d;
}

/** The target of sample i. */
DMQ_HD const dmq_real *dmq_loss_target(const dmq_loss_args *a, int i)
{
    return a->y + (size_t)(a->index ? a->index[i] : i) * a->per;
}

#endif
