/**
 * Inner loops that several reference kernels share.
 */
#ifndef DMQ_KERNELS_REF_UTIL_H
#define DMQ_KERNELS_REF_UTIL_H

#include "kernels/kernel.h"

/**
 * sum a[i] b[i] by eight partial sums, joined pairwise: a fixed order that a compiler may vectorize,
 * and an error that grows with count/8 terms instead of count.
 */
static inline dmq_real dmq_ref_dot(const dmq_real *a, const dmq_real *b, ptrdiff_t count)
{
    dmq_real part[8] = { 0 }, tail = 0;
    ptrdiff_t i = 0;

    for (; i + 8 <= count; i += 8) {
        for (int l = 0; l < 8; l++)
            part[l] += a[i + l] * b[i + l];
    }
    for (; i < count; i++)
        tail += a[i] * b[i];
    return ((part[0] + part[4]) + (part[2] + part[6])) +
           ((part[1] + part[5]) + (part[3] + part[7])) + tail;
}

/** y[i] += alpha x[i] */
static inline void dmq_ref_axpy(dmq_real *y, dmq_real alpha, const dmq_real *x, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++)
        y[i] += alpha * x[i];
}

/** What an output starts from: itself when it is added to, else zero. */
static inline void dmq_ref_start(dmq_real *y, ptrdiff_t count, int add)
{
    if (!add) {
        for (ptrdiff_t i = 0; i < count; i++)
            y[i] = 0;
    }
}

/** Store a value, or add it. */
static inline void dmq_ref_put(dmq_real *y, dmq_real value, int add)
{
    *y = add ? *y + value : value;
}

#endif
