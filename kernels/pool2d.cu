/* Pooling on the device: a thread has a pack of channels of one pixel of the output.

   Forward reads each pixel of x as often as windows have it, 9 times for 3x3 with stride 1, all but the first
   from the cache: neighbouring threads have neighbouring channels, and a row of windows follows the other.
   Backward gathers, windows in their order, so that there is neither an atomic sum nor another order than the
   reference's; it looks for each maximum again, k^4 reads a pixel, which nobody has to wait for: networks with
   such layers are not trained here. */
#include "kernels/map.cuh"

extern "C" {
#include "kernels/pool2d.h"
#include "kernels/pool2d_math.h"
}

/* Packs in the order (n, h, w, c) of what is written. */
struct place {
    dmq_divider c, w, h;

    __device__ unsigned find(size_t pack, int *n, int *i, int *j) const
    {
        unsigned col, x, y, pixel = dmq_divide((unsigned)pack, &col, c),
                            row = dmq_divide(pixel, &x, w);

        *n = (int)dmq_divide(row, &y, h);
        *i = (int)y;
        *j = (int)x;
        return col;
    }
};

/* Pack `col` of pixel (n, p, q) of an array with this height and width. */
static __device__ __forceinline__ size_t pack_of(const place &at, int h, int w, int n, int p, int q,
                                                 unsigned col)
{
    return (((size_t)n * h + p) * w + q) * at.c.d + col;
}

/* Maxima of a window, and whose pixels they are. */
template <int W> struct maxima {
    dmq_pack<W> v;
    size_t pixel[W];

    __device__ void find(const dmq_pool2d_args &a, const place &at, int n, int i, int j,
                         unsigned col)
    {
        int top = dmq_pool_from(&a, i), left = dmq_pool_from(&a, j);
        size_t first = pack_of(at, a.h, a.wd, n, top, left, col);

        v = dmq_load<W>(a.x, first);
        for (int k = 0; k < W; k++)
            pixel[k] = first;
        for (int p = top; p < dmq_pool_to(&a, i, a.h); p++) {
            for (int q = left; q < dmq_pool_to(&a, j, a.wd); q++) {
                size_t here = pack_of(at, a.h, a.wd, n, p, q, col);
                dmq_pack<W> x = dmq_load<W>(a.x, here);

                for (int k = 0; k < W; k++) {
                    if (dmq_pool_takes(x.at[k], v.at[k])) {
                        v.at[k] = x.at[k];
                        pixel[k] = here;
                    }
                }
            }
        }
    }
};

struct pool_max {
    dmq_pool2d_args a;
    place at;

    enum { depth = 1 };
    template <int W> struct held {
        maxima<W> m;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        int n, i, j;
        unsigned col = at.find(pack, &n, &i, &j);

        h.m.find(a, at, n, i, j, col);
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        dmq_store<W>(a.y, pack, h.m.v);
    }
};

struct pool_max_jvp {
    dmq_pool2d_args a;
    place at;

    enum { depth = 1 };
    template <int W> struct held {
        dmq_pack<W> v;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        maxima<W> m;
        int n, i, j;
        unsigned col = at.find(pack, &n, &i, &j);

        m.find(a, at, n, i, j, col);
        for (int k = 0; k < W; k++)
            h.v.at[k] = a.x_tan[m.pixel[k] * W + k];
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        dmq_store<W>(a.y_tan, pack, h.v);
    }
};

struct pool_mean {
    dmq_pool2d_args a;
    place at;

    enum { depth = 1 };
    template <int W> struct held {
        dmq_pack<W> v;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        int n, i, j, count = 0;
        unsigned col = at.find(pack, &n, &i, &j);

        h.v = {};
        for (int p = dmq_pool_from(&a, i); p < dmq_pool_to(&a, i, a.h); p++) {
            for (int q = dmq_pool_from(&a, j); q < dmq_pool_to(&a, j, a.wd); q++, count++) {
                dmq_pack<W> x = dmq_load<W>(a.x, pack_of(at, a.h, a.wd, n, p, q, col));

                for (int k = 0; k < W; k++)
                    h.v.at[k] += x.at[k];
            }
        }
        for (int k = 0; k < W; k++)
            h.v.at[k] /= (dmq_real)count;
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        dmq_store<W>(a.y, pack, h.v);
    }
};

/* dx of a pixel: of the windows that have it, dy where its number is the maximum, or a share of dy. */
template <bool MAX> struct pool_back {
    dmq_pool2d_args a;
    place at; /* of x */

    enum { depth = 1 };
    template <int W> struct held {
        dmq_pack<W> sum;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        int n, p, q;
        unsigned col = at.find(pack, &n, &p, &q);

        h.sum = dmq_old<W>(a.dx, pack, a.add);
        for (int i = dmq_pool_first(&a, p); i < dmq_pool_end(&a, p, a.ho); i++) {
            for (int j = dmq_pool_first(&a, q); j < dmq_pool_end(&a, q, a.wo); j++) {
                dmq_pack<W> dy = dmq_load<W>(a.dy, pack_of(at, a.ho, a.wo, n, i, j, col));
                int count = (dmq_pool_to(&a, i, a.h) - dmq_pool_from(&a, i)) *
                            (dmq_pool_to(&a, j, a.wd) - dmq_pool_from(&a, j));
                maxima<W> m = {};

                if (MAX)
                    m.find(a, at, n, i, j, col);
                for (int k = 0; k < W; k++) {
                    if (!MAX)
                        h.sum.at[k] += dy.at[k] / (dmq_real)count;
                    else if (m.pixel[k] == pack)
                        h.sum.at[k] += dy.at[k];
                }
            }
        }
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        dmq_store<W>(a.dx, pack, h.sum);
    }
};

/* h, w: of what is written. */
template <typename Op>
static dmq_status run(dmq_queue *queue, const dmq_pool2d_args *a, int h, int w)
{
    size_t count = (size_t)a->n * (size_t)h * (size_t)w * (size_t)a->c;
    bool wide = a->c % 4 == 0 && dmq_aligned(a->x, a->y, a->dy, a->dx, a->x_tan, a->y_tan);
    dmq_status st = dmq_map_fits("pool2d", wide ? count / 4 : count);

    if (st != DMQ_OK || count == 0)
        return st;
    Op op = { *a,
              { dmq_divider_of((size_t)(wide ? a->c / 4 : a->c)), dmq_divider_of((size_t)w),
                dmq_divider_of((size_t)h) } };

    return dmq_map(queue, op, count, wide);
}

DMQ_DEVICE(dmq_pool2d_forward)(dmq_queue *queue, const dmq_pool2d_args *a)
{
    return a->kind == DMQ_POOL_MAX ? run<pool_max>(queue, a, a->ho, a->wo)
                                   : run<pool_mean>(queue, a, a->ho, a->wo);
}

DMQ_DEVICE(dmq_pool2d_backward)(dmq_queue *queue, const dmq_pool2d_args *a)
{
    return a->kind == DMQ_POOL_MAX ? run<pool_back<true>>(queue, a, a->h, a->wd)
                                   : run<pool_back<false>>(queue, a, a->h, a->wd);
}

DMQ_DEVICE(dmq_pool2d_jvp)(dmq_queue *queue, const dmq_pool2d_args *a)
{
    return run<pool_max_jvp>(queue, a, a->ho, a->wo);
}
