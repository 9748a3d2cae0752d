/* Bilinear resizing from levels on the device: a thread a number of y.

   8 images of 299x299 are 8.6 MB written and a quarter of that read, most of it from the cache: beside 91
   GFLOP of the network behind it there is nothing to gain by more. */
#include "kernels/map.cuh"

extern "C" {
#include "kernels/resize.h"
#include "kernels/resize_math.h"
}

static __global__ void resize_levels(dmq_resize_args a, dmq_divider c, dmq_divider wo,
                                     dmq_divider ho)
{
    size_t count = (size_t)a.n * a.ho * a.wo * a.c, row = (size_t)a.wd * a.c;

    DMQ_EACH_INDEX(at, count)
    {
        unsigned k, j, i, pixel = dmq_divide((unsigned)at, &k, c), line = dmq_divide(pixel, &j, wo),
                          n = dmq_divide(line, &i, ho);
        dmq_resize_place v = dmq_resize_at(a.rule, (int)i, a.h, a.ho);
        dmq_resize_place u = dmq_resize_at(a.rule, (int)j, a.wd, a.wo);
        const uint8_t *image = a.x + (size_t)n * a.h * row;
        const uint8_t *top = image + (size_t)v.low * row, *bottom = image + (size_t)v.high * row;
        size_t left = (size_t)u.low * a.c + k, right = (size_t)u.high * a.c + k;

        a.y[at] = dmq_resize_value(&a, top[left], top[right], bottom[left], bottom[right], u.weight,
                                   v.weight);
    }
}

DMQ_DEVICE(dmq_resize_levels)(dmq_queue *queue, const dmq_resize_args *a)
{
    size_t count = (size_t)a->n * (size_t)a->ho * (size_t)a->wo * (size_t)a->c;
    dmq_status st = dmq_map_fits("resize", count);

    if (st != DMQ_OK || count == 0)
        return st;
    return DMQ_LAUNCH(resize_levels, dmq_grid(count, 256), 256, 0, queue, *a,
                      dmq_divider_of((size_t)a->c), dmq_divider_of((size_t)a->wo),
                      dmq_divider_of((size_t)a->ho));
}
