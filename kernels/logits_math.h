/**
 * What host and device share of a step of the logits (logits.h).
 */
#ifndef DMQ_KERNELS_LOGITS_MATH_H
#define DMQ_KERNELS_LOGITS_MATH_H

#include "kernels/logits.h"

/** Sums over a batch, both parts centred: <m, m>, <g, g>, <m, g>. */
typedef struct dmq_gm_sums {
    double mm, gg, mg;
} dmq_gm_sums;

/** d = m + factor (g - along m), both parts centred. */
typedef struct dmq_gm_join {
    double along, factor;
    double rho, cosine;
} dmq_gm_join;

/** lambda > 0 is the factor, else it comes from rho_0. */
DMQ_HD dmq_gm_join dmq_gm_join_of(dmq_gm_sums s, dmq_gm_weight policy, double rho_0, double lambda)
{
    dmq_gm_join j;
    double rest;

    j.factor = 0;
    j.rho = s.mm > 0 ? sqrt(s.gg / s.mm) : 0;
    j.cosine = s.mm > 0 && s.gg > 0 ? s.mg / sqrt(s.mm * s.gg) : 0;
    j.along = s.mm > 0 ? s.mg / s.mm : 0; /* g = along m + rest */
    rest = s.gg - j.along * s.mg;         /* squared norm of the orthogonal part */
    if (policy != DMQ_GM_PROJECTED)
        j.along = 0;
    if (lambda > 0)
        j.factor = policy == DMQ_GM_OFF ? 0 : lambda;
    else if (policy == DMQ_GM_LITERAL)
        j.factor = 1;
    else if (policy == DMQ_GM_BALANCED || policy == DMQ_GM_CAPPED)
        j.factor = s.gg > 0 ? rho_0 * sqrt(s.mm / s.gg) : 0;
    else if (policy == DMQ_GM_PROJECTED) /* below rounding there is no orthogonal part */
        j.factor = rest > 1e-12 * s.gg ? rho_0 * sqrt(s.mm / rest) : 0;
    return j;
}

/** The median of DMQ_LOGITS_FREEZE numbers. */
DMQ_HD double dmq_logits_median(const double *x)
{
    double sorted[DMQ_LOGITS_FREEZE];

    for (int i = 0; i < DMQ_LOGITS_FREEZE; i++) {
        int at = i;

        while (at > 0 && sorted[at - 1] > x[i]) {
            sorted[at] = sorted[at - 1];
            at--;
        }
        sorted[at] = x[i];
    }
    return 0.5 * (sorted[DMQ_LOGITS_FREEZE / 2 - 1] + sorted[DMQ_LOGITS_FREEZE / 2]);
}

/** Take note of a step with this join and rms of d; what d is to be divided by. */
DMQ_HD double dmq_logits_note(dmq_logits_state *state, const dmq_gm_join *j, double rms)
{
    int step = state->steps++;

    state->rho = j->rho;
    state->cosine = j->cosine;
    state->used = j->factor;
    if (step < DMQ_LOGITS_FREEZE) {
        state->first_lambda[step] = j->factor;
        state->first_scale[step] = rms;
    }
    if (step == DMQ_LOGITS_FREEZE - 1) {
        state->lambda = dmq_logits_median(state->first_lambda);
        state->scale = dmq_logits_median(state->first_scale);
    }
    return state->scale > 0 ? state->scale : rms > 0 ? rms : 1;
}

/** Adam on s[j] with gradient g. */
DMQ_HD void dmq_logits_move(const dmq_logits_args *a, int j, double g)
{
    const double b1 = 0.9, b2 = 0.999, eps = 1e-8;
    int step = ++a->visited[j];
    double m = b1 * (double)a->m[j] + (1 - b1) * g;
    double v = b2 * (double)a->v[j] + (1 - b2) * g * g;

    a->m[j] = (dmq_real)m;
    a->v[j] = (dmq_real)v;
    a->s[j] -= (dmq_real)(a->lr * (m / (1 - pow(b1, (double)step))) /
                          (sqrt(v / (1 - pow(b2, (double)step))) + eps));
}

/** e^{(s - top) / tau} */
DMQ_HD double dmq_logits_power(const dmq_logits_args *a, dmq_real s, dmq_real top)
{
    return exp(((double)s - (double)top) / a->tau);
}

#endif
