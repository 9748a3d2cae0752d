/**
 * One number of each result of hyper.h.
 */
#ifndef DMQ_KERNELS_HYPER_MATH_H
#define DMQ_KERNELS_HYPER_MATH_H

#include "kernels/hyper.h"

/** <g_i, .> of row t. */
DMQ_HD double dmq_hyper_product(const dmq_hyper_args *a, int t, int i)
{
    return a->products ? a->products[(ptrdiff_t)t * a->n + i]
                       : (double)a->tangents[(ptrdiff_t)t * a->ld + i];
}

DMQ_HD void dmq_hyper_scale_at(const dmq_hyper_args *a, int i)
{
    double c = 1;

    if (a->squares)
        c = a->squares[i] > 0 ? 1 / sqrt(a->squares[i]) : 0;
    a->scale[i] = (dmq_real)c;
    a->factor[i] = a->w[i] * a->scale[i];
}

DMQ_HD void dmq_hyper_mse_at(const dmq_hyper_args *a, int i)
{
    double sum = 0;

    for (int t = 0; t < a->k; t++)
        sum += dmq_hyper_product(a, t, i);
    a->d_mse[i] = (dmq_real)(-a->eta * (double)a->scale[i] * sum / a->k);
}

/** a_t[i] of the surrogate form. */
DMQ_HD double dmq_hyper_compared(const dmq_hyper_args *a, int t, int i)
{
    return -a->eta * (double)a->scale[i] * dmq_hyper_product(a, t, i);
}

DMQ_HD double dmq_hyper_norm(const dmq_hyper_args *a, int t)
{
    double norm = a->cosine ? sqrt(a->gram[t * a->k + t]) : 1;

    return norm > 0 ? norm
                    : 1; /* a zero gradient has no direction: its terms vanish by themselves */
}

/** Row t of C; what t adds to the value. */
DMQ_HD double dmq_hyper_coefficients(const dmq_hyper_args *a, int t)
{
    double norm = dmq_hyper_norm(a, t), sum = 0;
    double c = a->k > 1 ? 2.0 / (a->k * (a->k - 1.0)) : 0;

    for (int j = 0; j < a->k; j++) {
        double other = dmq_hyper_norm(a, j);

        if (j == t)
            continue;
        sum += a->gram[t * a->k + j] / other;
        a->coefficient[t * a->k + j] = -c / (norm * other);
    }
    a->coefficient[t * a->k + t] = a->cosine ? c * sum / (norm * norm * norm) : 0;
    return -0.5 * c * sum / norm;
}

/** Number i of row t of the factors: of n in the surrogate form, else of k. */
DMQ_HD void dmq_hyper_factor_at(const dmq_hyper_args *a, int t, int i)
{
    double sum = 0;

    if (!a->surrogate) {
        a->factor[t * a->k + i] = (dmq_real)a->coefficient[t * a->k + i];
        return;
    }
    for (int j = 0; j < a->k; j++)
        sum += a->coefficient[t * a->k + j] * dmq_hyper_compared(a, j, i);
    a->factor[(ptrdiff_t)t * a->ld + i] = (dmq_real)((double)a->scale[i] * sum);
}

DMQ_HD void dmq_hyper_steps_at(const dmq_hyper_args *a, int t)
{
    double norm = sqrt(a->gram[t * a->k + t]);
    double e = norm > 0 ? a->move * sqrt((double)a->n_theta) / norm : 0;
    dmq_real half = (dmq_real)(e > 0 ? 1 / (2 * e) : 0);
    int vectors = a->wave == 1 ? 1 : a->k, mine = a->wave == 1 ? 0 : t;
    dmq_real *p = a->points + (ptrdiff_t)2 * t * (1 + vectors);

    for (int side = 0; side < 2; side++, p += 1 + vectors) {
        p[0] = 1;
        for (int j = 0; j < vectors; j++)
            p[1 + j] = (dmq_real)(j != mine ? 0 : side ? -e : e);
    }
    a->joins[2 * t] = half;
    a->joins[2 * t + 1] = -half;
}

DMQ_HD void dmq_hyper_walk_at(const dmq_hyper_args *a, int i)
{
    double step = a->rate * a->eta * (double)a->scale[i] * dmq_hyper_product(a, 0, i);

    a->w_walked[i] = (dmq_real)((double)a->w_walked[i] + step);
    a->factor[i] = a->w_walked[i] * a->scale[i];
}

DMQ_HD void dmq_hyper_join_at(const dmq_hyper_args *a, int i)
{
    double d;

    if (a->walked)
        d = ((double)a->w[i] - (double)a->w_walked[i]) / (a->rate * a->k) - (double)a->d_mse[i];
    else
        d = a->joined * (double)a->scale[i] * dmq_hyper_product(a, 0, i);
    a->d_gm[i] = (dmq_real)d;
}

#endif
