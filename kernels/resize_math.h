/**
 * Places and weights of kernels/resize.h along one axis, and the mean of two.
 */
#ifndef DMQ_KERNELS_RESIZE_MATH_H
#define DMQ_KERNELS_RESIZE_MATH_H

#include "kernels/resize.h"

/** Two neighbours, and the weight of the second. */
typedef struct dmq_resize_place {
    int low, high;
    dmq_real weight;
} dmq_resize_place;

/** Of position d of `out`, among `in`. */
DMQ_HD dmq_resize_place dmq_resize_at(dmq_resize rule, int d, int in, int out)
{
    dmq_real scale = (dmq_real)in / (dmq_real)out, at = (dmq_real)d * scale;
    dmq_resize_place p;

    if (rule == DMQ_RESIZE_HALF_PIXEL) {
        at = ((dmq_real)d + (dmq_real)0.5) * scale - (dmq_real)0.5;
        at = at < 0 ? (dmq_real)0 : at;
    }
    p.low = (int)dmq_floor(at);
    p.low = p.low < in ? p.low : in - 1; /* the product may round up to `in` */
    p.high = p.low + 1 < in ? p.low + 1 : p.low;
    p.weight = at - (dmq_real)p.low;
    return p;
}

/** a where weight is 0, b where it is 1. */
DMQ_HD dmq_real dmq_resize_between(dmq_real a, dmq_real b, dmq_real weight)
{
    return a + (b - a) * weight;
}

/** One number of y from its four neighbours: top left, top right, bottom left, bottom right. */
DMQ_HD dmq_real dmq_resize_value(const dmq_resize_args *a, uint8_t tl, uint8_t tr, uint8_t bl,
                                 uint8_t br, dmq_real fx, dmq_real fy)
{
    dmq_real top = dmq_resize_between((dmq_real)tl / a->unit, (dmq_real)tr / a->unit, fx);
    dmq_real bottom = dmq_resize_between((dmq_real)bl / a->unit, (dmq_real)br / a->unit, fx);

    return a->alpha * dmq_resize_between(top, bottom, fy) + a->beta;
}

#endif
