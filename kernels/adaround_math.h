/**
 * AdaRound of one element: value, first and second derivative, regularizer (adaround.h).
 */
#ifndef DMQ_KERNELS_ADAROUND_MATH_H
#define DMQ_KERNELS_ADAROUND_MATH_H

#include "kernels/adaround.h"
#include "kernels/fake_quant_math.h"

#define DMQ_ADAROUND_SPAN ((dmq_real)(DMQ_ADAROUND_ZETA - DMQ_ADAROUND_GAMMA))

/** s(alpha) = 1/(1 + e^-alpha); e^-alpha may be infinite, the quotient is then 0. */
DMQ_HD dmq_real dmq_ada_sigmoid(dmq_real alpha)
{
    return 1 / (1 + dmq_exp(-alpha));
}

/** h~ = s (zeta - gamma) + gamma, before the clip. */
DMQ_HD dmq_real dmq_ada_stretch(dmq_real s)
{
    return s * DMQ_ADAROUND_SPAN + (dmq_real)DMQ_ADAROUND_GAMMA;
}

/** h = clip(h~, 0, 1). */
DMQ_HD dmq_real dmq_ada_h(dmq_real alpha)
{
    return dmq_fq_clip(dmq_ada_stretch(dmq_ada_sigmoid(alpha)), 0, 1);
}

/** h' given s: (zeta - gamma) s (1 - s) where h is not clipped. */
DMQ_HD dmq_real dmq_ada_slope(dmq_real s)
{
    dmq_real h = dmq_ada_stretch(s);

    return h <= 0 || h >= 1 ? 0 : DMQ_ADAROUND_SPAN * s * (1 - s);
}

/** The hard rounding: up where alpha >= 0. */
DMQ_HD dmq_real dmq_ada_up(dmq_real alpha)
{
    return alpha >= 0 ? 1 : 0;
}

/** alpha with h(alpha) = the fraction of w/scale. */
DMQ_HD dmq_real dmq_ada_init(dmq_real w, dmq_real scale)
{
    dmq_real u = w / scale, r = u - dmq_floor(u);

    return -dmq_log(DMQ_ADAROUND_SPAN / (r - (dmq_real)DMQ_ADAROUND_GAMMA) - 1);
}

/** Code before the clip: floor(w/scale) + h + zero. */
DMQ_HD dmq_real dmq_ada_code(dmq_real w, dmq_real h, dmq_real scale, dmq_real zero)
{
    return dmq_floor(w / scale) + h + zero;
}

/** The soft weight. */
DMQ_HD dmq_real dmq_ada_soft(dmq_real w, dmq_real alpha, dmq_real scale, dmq_real zero, dmq_real lo,
                             dmq_real hi)
{
    dmq_real code = dmq_ada_code(w, dmq_ada_h(alpha), scale, zero);

    return dmq_fq_value(dmq_fq_clip(code, lo, hi), scale, zero);
}

/** D = dw_soft/dalpha. The ends of the range count as outside, as those of h do: nothing moves there. */
DMQ_HD dmq_real dmq_ada_d(dmq_real w, dmq_real alpha, dmq_real scale, dmq_real zero, dmq_real lo,
                          dmq_real hi)
{
    dmq_real s = dmq_ada_sigmoid(alpha);
    dmq_real code = dmq_ada_code(w, dmq_fq_clip(dmq_ada_stretch(s), 0, 1), scale, zero);

    return code <= lo || code >= hi ? 0 : scale * dmq_ada_slope(s);
}

/** D2 = d2w_soft/dalpha2. */
DMQ_HD dmq_real dmq_ada_d2(dmq_real w, dmq_real alpha, dmq_real scale, dmq_real zero, dmq_real lo,
                           dmq_real hi)
{
    dmq_real s = dmq_ada_sigmoid(alpha);

    return dmq_ada_d(w, alpha, scale, zero, lo, hi) * (1 - 2 * s);
}

/** 1 - |2h - 1|^beta. */
DMQ_HD dmq_real dmq_ada_reg(dmq_real alpha, dmq_real beta)
{
    return 1 - dmq_pow(dmq_fabs(2 * dmq_ada_h(alpha) - 1), beta);
}

/** Its derivative in alpha: -2 beta |2h-1|^(beta-1) sign(2h-1) h'. */
DMQ_HD dmq_real dmq_ada_dreg(dmq_real alpha, dmq_real beta)
{
    dmq_real s = dmq_ada_sigmoid(alpha);
    dmq_real t = 2 * dmq_fq_clip(dmq_ada_stretch(s), 0, 1) - 1;
    dmq_real d = 2 * beta * dmq_pow(dmq_fabs(t), beta - 1) * dmq_ada_slope(s);

    return t < 0 ? d : -d;
}

#endif
