/**
 * Which pixels a window of kernels/pool2d.h has, and which windows a pixel is in; along one axis.
 */
#ifndef DMQ_KERNELS_POOL2D_MATH_H
#define DMQ_KERNELS_POOL2D_MATH_H

#include "kernels/pool2d.h"

/** First position of window i, and one behind its last; size: of x along the axis. */
DMQ_HD int dmq_pool_from(const dmq_pool2d_args *a, int i)
{
    int from = i * a->stride - a->pad;

    return from < 0 ? 0 : from;
}

DMQ_HD int dmq_pool_to(const dmq_pool2d_args *a, int i, int size)
{
    int to = i * a->stride - a->pad + a->k;

    return to > size ? size : to;
}

/** First window that has position p, and one behind the last; windows: how many there are. */
DMQ_HD int dmq_pool_first(const dmq_pool2d_args *a, int p)
{
    int over = p + a->pad - a->k + a->stride;

    return over < 0 ? 0 : over / a->stride;
}

DMQ_HD int dmq_pool_end(const dmq_pool2d_args *a, int p, int windows)
{
    int end = (p + a->pad) / a->stride + 1;

    return end > windows ? windows : end;
}

/** Whether x takes the place of the greatest so far. */
DMQ_HD int dmq_pool_takes(dmq_real x, dmq_real greatest)
{
    return x > greatest || x != x;
}

#endif
