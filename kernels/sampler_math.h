/**
 * Sampler update of one element (sampler.h).
 */
#ifndef DMQ_KERNELS_SAMPLER_MATH_H
#define DMQ_KERNELS_SAMPLER_MATH_H

#include "kernels/fake_quant_math.h"
#include "kernels/sampler.h"

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

/** Between the answers without and with the condition, or beyond the latter. */
DMQ_HD dmq_real dmq_sampler_guided(dmq_real null, dmq_real eps, dmq_real guidance)
{
    return null + guidance * (eps - null);
}

/** Standard deviation that the network chose by v in [-1, 1] between two variances. */
DMQ_HD dmq_real dmq_sampler_spread(dmq_real v, dmq_real log_min, dmq_real log_max)
{
    dmq_real f = (v + 1) / 2;

    return dmq_exp((f * log_max + (1 - f) * log_min) / 2);
}

/** Element i, in channel `channel` of `pixel`: all that sampler.h says. */
DMQ_HD void dmq_sampler_move(const dmq_sampler_args *a, const dmq_sampler_coef *k, size_t pixel,
                             int channel)
{
    size_t c = (size_t)a->channels, count = a->pixels * c, i = pixel * c + (size_t)channel;
    size_t at = pixel * (size_t)a->eps_channels + (size_t)channel;
    dmq_real x = a->x[i], e = a->eps[at], y, spread = k->sigma;

    if (a->null && channel < a->guided)
        e = dmq_sampler_guided(a->null[at], e, a->guidance);
    if (a->form == DMQ_MOVE_CLIPPED) {
        y = dmq_sampler_clipped(x, e, k->sqrt_a, k->sqrt_1ma, k->sqrt_an, k->d);
    } else if (a->form == DMQ_MOVE_KEPT) {
        dmq_real q = k->q_x * x + k->q_e * e;

        y = dmq_sampler_linear(x, q, k->r, k->c);
        for (int s = 0; s < DMQ_SAMPLER_SLOTS; s++) {
            if (k->slot[s] != 0)
                y += k->slot[s] * a->slots[(size_t)s * count + i];
        }
        if (a->keep[0] >= 0)
            a->slots[(size_t)a->keep[0] * count + i] = q;
        if (a->keep[1] >= 0)
            a->slots[(size_t)a->keep[1] * count + i] = x;
    } else {
        y = dmq_sampler_linear(x, e, k->r, k->c);
    }
    if (a->form == DMQ_MOVE_LEARNED && k->sigma != 0)
        spread *= dmq_sampler_spread(a->eps[at + c], k->log_min, k->log_max);
    if (k->sigma != 0)
        y += spread * a->z[i];
    a->out[i] = y;
    if (a->twin)
        a->twin[i] = y;
}

#endif
