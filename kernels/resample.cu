/* Up-sampling and average pooling on the device.

   A thread has one pack of channels of the small image and the f x f packs of the large one that belong to
   it: each number is read once and written once, 4 (1 + f^2) bytes for each of the small image (and as
   much again of what is added to). A warp moves 512 neighbouring bytes where C >= 128. */
#include "kernels/map.cuh"

extern "C" {
#include "kernels/resample.h"
}

/* Where things are: packs in the order (n, h, w, c) of the small image. */
struct place {
    dmq_divider c, w; /* packs of a pixel; pixels of a row, small */
    unsigned f;

    /* The first of the f x f packs in the large image. */
    __device__ size_t corner(size_t pack) const
    {
        unsigned col, j, pixel = dmq_divide((unsigned)pack, &col, c),
                         row = dmq_divide(pixel, &j, w);

        return ((size_t)row * f * w.d + j) * f * c.d + col;
    }
    __device__ size_t step(unsigned i, unsigned j) const
    {
        return ((size_t)i * w.d * f + j) * c.d;
    }
};

/* large = small (up, forward) or small / f^2 (pool, backward); F = 0: any factor. */
template <int F, bool MEAN> struct spread {
    const dmq_real *small;
    dmq_real *large;
    place at;
    int add;

    enum { depth = 2 };
    template <int W> struct held {
        dmq_pack<W> v;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.v = dmq_load<W>(small, pack);
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        const unsigned f = F ? F : at.f;
        size_t corner = at.corner(pack);

        for (int k = 0; MEAN && k < W; k++)
            h.v.at[k] /= (dmq_real)(f * f);
#pragma unroll
        for (unsigned i = 0; i < f; i++) {
#pragma unroll
            for (unsigned j = 0; j < f; j++) {
                size_t to = corner + at.step(i, j);
                dmq_pack<W> v = h.v;

                dmq_add<W>(v, dmq_old<W>(large, to, add), add);
                dmq_store<W>(large, to, v);
            }
        }
    }
};

/* small = sum over the window (up, backward) or its mean (pool, forward), rows first. */
template <int F, bool MEAN> struct join {
    const dmq_real *large;
    dmq_real *small;
    place at;
    int add;

    enum { depth = F ? 2 : 1, SIDE = F ? F : 1 };
    template <int W> struct held {
        dmq_pack<W> v[SIDE * SIDE], old;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        size_t corner = at.corner(pack);

        h.old = dmq_old<W>(small, pack, add);
        for (int k = 0; k < F * F; k++)
            h.v[k] = dmq_load<W>(large, corner + at.step((unsigned)k / SIDE, (unsigned)k % SIDE));
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        const unsigned f = F ? F : at.f;
        size_t corner = at.corner(pack);
        dmq_pack<W> sum = {};

        if (!MEAN)
            sum = h.old; /* zeros if it does not add */
#pragma unroll
        for (unsigned k = 0; k < f * f; k++) {
            dmq_pack<W> v = h.v[0];

            if (F)
                v = h.v[k];
            else
                v = dmq_load<W>(large, corner + at.step(k / f, k % f));
            for (int l = 0; l < W; l++)
                sum.at[l] += v.at[l];
        }
        for (int l = 0; MEAN && l < W; l++)
            sum.at[l] /= (dmq_real)(f * f);
        if (MEAN)
            dmq_add<W>(sum, h.old, add);
        dmq_store<W>(small, pack, sum);
    }
};

/* from, to: the pass's input and output; h, w: the small image's. */
template <template <int, bool> class Op, bool MEAN>
static dmq_status run(dmq_queue *queue, const dmq_resample_args *a, const dmq_real *from,
                      dmq_real *to, int h, int w)
{
    size_t count = (size_t)a->n * (size_t)h * (size_t)w * (size_t)a->c;
    bool wide = a->c % 4 == 0 && dmq_aligned(from, to);
    dmq_status st = dmq_map_fits("resample", wide ? count / 4 : count);

    if (st != DMQ_OK || count == 0)
        return st;
    place at = { dmq_divider_of((size_t)(wide ? a->c / 4 : a->c)), dmq_divider_of((size_t)w),
                 (unsigned)a->factor };
    Op<2, MEAN> two = { from, to, at, a->add };
    Op<0, MEAN> any = { from, to, at, a->add };

    return a->factor == 2 ? dmq_map(queue, two, count, wide) : dmq_map(queue, any, count, wide);
}

DMQ_DEVICE(dmq_upsample_forward)(dmq_queue *queue, const dmq_resample_args *a)
{
    return run<spread, false>(queue, a, a->x, a->y, a->h, a->wd);
}

DMQ_DEVICE(dmq_upsample_backward)(dmq_queue *queue, const dmq_resample_args *a)
{
    return run<join, false>(queue, a, a->dy, a->dx, a->h, a->wd);
}

DMQ_DEVICE(dmq_avg_pool_forward)(dmq_queue *queue, const dmq_resample_args *a)
{
    return run<join, true>(queue, a, a->x, a->y, a->h / a->factor, a->wd / a->factor);
}

DMQ_DEVICE(dmq_avg_pool_backward)(dmq_queue *queue, const dmq_resample_args *a)
{
    return run<spread, true>(queue, a, a->dy, a->dx, a->h / a->factor, a->wd / a->factor);
}
