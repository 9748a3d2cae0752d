/**
 * Fake quantization of one element: value and straight-through derivatives (fake_quant.h).
 *
 * The operations that need nothing but these formulas are exact or rounded once by IEEE 754, so that
 * vector code and a device that follow them produce the same codes bit for bit.
 */
#ifndef DMQ_KERNELS_FAKE_QUANT_MATH_H
#define DMQ_KERNELS_FAKE_QUANT_MATH_H

#include "kernels/kernel.h"

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
