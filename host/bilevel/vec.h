/**
 * Small vector sums of the bilevel optimizer, in double and in a fixed order: its dot products are
 * between gradients of about 1e-6 and decide signs.
 */
#ifndef DMQ_BILEVEL_VEC_H
#define DMQ_BILEVEL_VEC_H

#include "kernels/kernel.h"

static inline double dmq_vec_dot(const dmq_real *x, const dmq_real *y, size_t n)
{
    double part[8] = { 0, 0, 0, 0, 0, 0, 0, 0 };
    const size_t whole = n / 8 * 8;

    for (size_t i = 0; i < whole; i += 8)
        for (int j = 0; j < 8; j++)
            part[j] += (double)x[i + (size_t)j] * (double)y[i + (size_t)j];
    for (size_t i = whole; i < n; i++)
        part[0] += (double)x[i] * (double)y[i];
    return ((part[0] + part[1]) + (part[2] + part[3])) +
           ((part[4] + part[5]) + (part[6] + part[7]));
}

static inline double dmq_vec_norm(const dmq_real *x, size_t n)
{
    return sqrt(dmq_vec_dot(x, x, n));
}

/** y = alpha x + beta y; beta = 0 does not read y. */
static inline void dmq_vec_axpby(dmq_real *y, double beta, const dmq_real *x, double alpha,
                                 size_t n)
{
    const dmq_real a = (dmq_real)alpha, b = (dmq_real)beta;

    if (beta == 0)
        for (size_t i = 0; i < n; i++)
            y[i] = a * x[i];
    else
        for (size_t i = 0; i < n; i++)
            y[i] = a * x[i] + b * y[i];
}

#endif
