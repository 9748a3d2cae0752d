/**
 * Fake quantization of one element: value and straight-through derivatives (fake_quant.h).
 *
 * The operations that need nothing but these formulas are exact or rounded once by IEEE 754, so that
 * vector code and a device that follow them produce the same codes bit for bit.
 */
#ifndef DMQ_KERNELS_FAKE_QUANT_MATH_H
#define DMQ_KERNELS_FAKE_QUANT_MATH_H

#include "kernels/kernel.h"

#ifdef DMQ_REAL_DOUBLE
#define dmq_fma fma
#else
#define dmq_fma fmaf
#endif

/** Code before clipping: half to even as torch.round, and a division: x * (1/s) differs near ties. */
DMQ_HD dmq_real dmq_fq_code(dmq_real x, dmq_real scale, dmq_real zero)
{
    return dmq_rint(x / scale) + zero;
}

/** Clip. Not fminf/fmaxf: those would turn a NaN into lo. */
DMQ_HD dmq_real dmq_fq_clip(dmq_real code, dmq_real lo, dmq_real hi)
{
    return code < lo ? lo : code > hi ? hi : code;
}

/** 1 where the code before clipping is within lo..hi, ends included. NaN counts as inside, so that a
    NaN stays visible in the gradient. */
DMQ_HD int dmq_fq_inside(dmq_real code, dmq_real lo, dmq_real hi)
{
    return !(code < lo) && !(code > hi);
}

/** Back to units of x. */
DMQ_HD dmq_real dmq_fq_value(dmq_real clipped, dmq_real scale, dmq_real zero)
{
    return (clipped - zero) * scale;
}

/** All of it: y of one element. */
DMQ_HD dmq_real dmq_fq(dmq_real x, dmq_real scale, dmq_real zero, dmq_real lo, dmq_real hi)
{
    return dmq_fq_value(dmq_fq_clip(dmq_fq_code(x, scale, zero), lo, hi), scale, zero);
}

/**
 * One step and what a loop over many numbers of it needs: x / scale without a division each.
 *
 * With the inverse rounded to nearest, a product and two corrections by the remainder give the quotient
 * rounded to nearest, as the division does, unless something overflows or underflows on the way: steps
 * beyond 2^-60..2^60 are divided by, and quotients from 2^22 on are left as they come, which is beyond
 * every code. (Markstein, IBM J. Res. Dev. 34, 1990.)
 */
typedef struct dmq_fq_step {
    dmq_real scale, inverse, zero;
    int divide; /**< 1: the scale is too far from 1 */
} dmq_fq_step;

DMQ_HD dmq_fq_step dmq_fq_step_of(dmq_real scale, dmq_real zero)
{
    dmq_fq_step s;

    s.scale = scale;
    s.inverse = 1 / scale;
    s.zero = zero;
    s.divide = !(scale > (dmq_real)8.7e-19 && scale < (dmq_real)1.1e18);
    return s;
}

/** The bits of x / scale. */
DMQ_HD dmq_real dmq_fq_quotient(dmq_real x, dmq_fq_step s)
{
    dmq_real q = x * s.inverse;

    if (s.divide)
        return x / s.scale;
    if (!(dmq_fabs(q) < (dmq_real)4194304)) /* NaN and infinity too */
        return q;
    q = dmq_fma(dmq_fma(-s.scale, q, x), s.inverse, q);
    return dmq_fma(dmq_fma(-s.scale, q, x), s.inverse, q);
}

/** dmq_fq_code, the same bits. */
DMQ_HD dmq_real dmq_fq_step_code(dmq_real x, dmq_fq_step s)
{
    return dmq_rint(dmq_fq_quotient(x, s)) + s.zero;
}

/** dmq_fq, the same bits. */
DMQ_HD dmq_real dmq_fq_step_value(dmq_real x, dmq_fq_step s, dmq_real lo, dmq_real hi)
{
    return dmq_fq_value(dmq_fq_clip(dmq_fq_step_code(x, s), lo, hi), s.scale, s.zero);
}

/** dy/dscale: rint(u) - u inside, lo - zero below, hi - zero above. */
DMQ_HD dmq_real dmq_fq_dscale(dmq_real x, dmq_real scale, dmq_real zero, dmq_real lo, dmq_real hi)
{
    dmq_real u = x / scale;
    dmq_real near = dmq_rint(u);
    dmq_real code = near + zero;

    return code < lo ? lo - zero : code > hi ? hi - zero : near - u;
}

/** The stored code of a clipped code; NaN has none and is stored as 0. */
DMQ_HD int16_t dmq_fq_store(dmq_real clipped)
{
    return clipped == clipped ? (int16_t)clipped : (int16_t)0;
}

#endif
