/**
 * The distance by which codes are chosen, and the choice. Every implementation goes through these, or does
 * the same steps in the same order.
 */
#ifndef DMQ_KERNELS_NEAREST_MATH_H
#define DMQ_KERNELS_NEAREST_MATH_H

#include "kernels/nearest.h"

/** <a, b>, one product after the other. */
DMQ_HD dmq_real dmq_nearest_dot(const dmq_real *a, const dmq_real *b, int d)
{
    dmq_real sum = 0;

    for (int k = 0; k < d; k++)
        sum += a[k] * b[k];
    return sum;
}

DMQ_HD dmq_real dmq_nearest_distance(dmq_real xx, dmq_real ee, dmq_real xe)
{
    return (xx + ee) - 2 * xe;
}

/** Whether a later code takes the place of the best one so far: nearer, or the first that is NaN. */
DMQ_HD int dmq_nearest_takes(dmq_real distance, dmq_real best)
{
    return !(distance >= best) && best == best;
}

/** Number k of the code chosen at `distance`; NaN where that is no number. */
DMQ_HD dmq_real dmq_nearest_value(dmq_real code, dmq_real distance)
{
    return code + (distance - distance);
}

#endif
