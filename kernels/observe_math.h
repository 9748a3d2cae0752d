/**
 * One candidate of the range search (observe.h).
 */
#ifndef DMQ_KERNELS_OBSERVE_MATH_H
#define DMQ_KERNELS_OBSERVE_MATH_H

#include "kernels/fake_quant_math.h"
#include "kernels/loss_math.h"

/** Step and zero point of a range. */
typedef struct dmq_range {
    dmq_real scale, zero;
} dmq_range;

/** Smallest step: that of a channel of zeros. */
#define DMQ_RANGE_FLOOR ((dmq_real)1e-8)

/** Candidate i of [lo, hi]: both ends shrunk by 0.01 i; top = 2^bits - 1. */
DMQ_HD dmq_range dmq_range_candidate(dmq_real lo, dmq_real hi, int i, dmq_real top, int always_zero)
{
    dmq_real factor = (dmq_real)(1.0 - 0.01 * (double)i);
    dmq_real lo_i = lo * factor, hi_i = hi * factor;
    dmq_range r;

    if (always_zero) {
        r.scale = hi_i / top;
        r.zero = 0;
    } else {
        r.scale = (hi_i - lo_i) / top;
        r.zero = dmq_rint(-lo_i / r.scale);
    }
    return r;
}

/** 1 if there is something to search: an empty range has no candidates, a NaN no best one. */
DMQ_HD int dmq_range_is_open(dmq_real lo, dmq_real hi, int always_zero)
{
    return always_zero ? hi > 0 : hi > lo;
}

/**
 * The step of a range that is not open. A constant v is met exactly by scale |v| and zero [v < 0];
 * zeros get the smallest step; a NaN stays one.
 */
DMQ_HD dmq_range dmq_range_closed(dmq_real lo, dmq_real hi, int always_zero)
{
    dmq_real v = dmq_fabs(hi);
    dmq_range r;

    r.zero = !always_zero && hi < 0 ? 1 : 0;
    r.scale = always_zero || v < DMQ_RANGE_FLOOR ? DMQ_RANGE_FLOOR : v;
    if (lo != lo || hi != hi)
        r.scale = lo + hi;
    return r;
}

/** |x - fq(x)|^p */
DMQ_HD dmq_real dmq_range_term(dmq_real x, dmq_range r, dmq_real top, dmq_real power)
{
    return dmq_loss_term(x - dmq_fq(x, r.scale, r.zero, 0, top), power);
}

#endif
