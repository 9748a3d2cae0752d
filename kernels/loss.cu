/* The loss of each sample on the device.

   Bytes an element, the least there is: forward 8, its tangent 12, backward and both 8 + 4 (+ 4 where they add).
   Rows of a table of targets are read where they lie.
   A sample's sum is cut by its length alone (row_sum.cuh), so it does not know its batch either. With
   power 2 there is nothing but memory; the power function of others is 60 of the 55 to 80 instructions
   that memory leaves time for. */
#include "kernels/row_sum.cuh"

extern "C" {
#include "kernels/loss.h"
#include "kernels/loss_math.h"
}

/* What a pack of f is compared with; row: packs of a sample. */
template <int W>
static __device__ __forceinline__ dmq_pack<W> target(const dmq_loss_args &a, size_t pack,
                                                     const dmq_divider &row)
{
    unsigned rest, i;

    if (!a.index)
        return dmq_load<W>(a.y, pack);
    i = dmq_divide((unsigned)pack, &rest, row);
    return dmq_load<W>(a.y, (size_t)a.index[i] * row.d + rest);
}

template <bool SQUARE> struct value {
    dmq_loss_args a;
    dmq_divider row;

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> f, y;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.f = dmq_load<W>(a.f, pack);
        h.y = target<W>(a, pack, row);
    }
    template <int W> __device__ double term(const held<W> &h) const
    {
        double t[W];

        for (int k = 0; k < W; k++)
            t[k] = (double)dmq_loss_term(h.f.at[k] - h.y.at[k], SQUARE ? 2 : a.power);
        return dmq_pack_sum<W>(t);
    }
    __device__ void finish(size_t row, double sum) const
    {
        a.loss[row] = (dmq_real)((double)a.coef * sum);
    }
};

template <bool SQUARE> struct tangent {
    dmq_loss_args a;
    dmq_divider row;

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> f, y, f_tan;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.f = dmq_load<W>(a.f, pack);
        h.y = target<W>(a, pack, row);
        h.f_tan = dmq_load<W>(a.f_tan, pack);
    }
    template <int W> __device__ double term(const held<W> &h) const
    {
        double t[W];

        for (int k = 0; k < W; k++) {
            dmq_real slope = dmq_loss_slope(h.f.at[k] - h.y.at[k], SQUARE ? 2 : a.power);

            t[k] = (double)slope * (double)h.f_tan.at[k];
        }
        return dmq_pack_sum<W>(t);
    }
    __device__ void finish(size_t row, double sum) const
    {
        a.loss_tan[row] = (dmq_real)((double)a.coef * sum);
    }
};

/* loss[i] = coef sum |f - y|^p: df = dloss[i] coef p |f - y|^(p-1) sign(f - y). */
template <bool SQUARE> struct gradient {
    dmq_loss_args a;
    dmq_divider row;

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> f, y, old;
        dmq_real seed;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        unsigned rest, i = dmq_divide((unsigned)pack, &rest, row);

        h.f = dmq_load<W>(a.f, pack);
        h.y = target<W>(a, pack, row);
        h.seed = a.dloss[i] * a.coef;
        h.old = dmq_old<W>(a.df, pack, a.add);
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        for (int k = 0; k < W; k++) {
            dmq_real e = h.f.at[k] - h.y.at[k];

            h.f.at[k] = h.seed * dmq_loss_slope(e, SQUARE ? 2 : a.power);
        }
        dmq_add<W>(h.f, h.old, a.add);
        dmq_store<W>(a.df, pack, h.f);
    }
};

/* The sum of value, in its order, and the numbers of gradient on the way. */
template <bool SQUARE> struct value_and_gradient {
    dmq_loss_args a;
    dmq_divider row;

    enum { depth = 4 };
    template <int W> struct held {
        typename gradient<SQUARE>::template held<W> g;
        size_t pack;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        gradient<SQUARE>{ a, row }.template load<W>(h.g, pack);
        h.pack = pack;
    }
    template <int W> __device__ double term(held<W> &h) const
    {
        double t[W];

        for (int k = 0; k < W; k++)
            t[k] = (double)dmq_loss_term(h.g.f.at[k] - h.g.y.at[k], SQUARE ? 2 : a.power);
        gradient<SQUARE>{ a, row }.template store<W>(h.g, h.pack);
        return dmq_pack_sum<W>(t);
    }
    __device__ void finish(size_t i, double sum) const
    {
        a.loss[i] = (dmq_real)((double)a.coef * sum);
    }
};

/* Whole packs alone: a sample ends where the next one begins. */
static bool is_wide(const dmq_loss_args *a, const dmq_real *third)
{
    return a->per % 4 == 0 && dmq_aligned(a->f, a->y, third);
}

template <typename Op>
static dmq_status sums(dmq_queue *queue, const dmq_loss_args *a, const dmq_real *third)
{
    bool wide = is_wide(a, third);
    size_t packs = wide ? a->per / 4 : a->per;
    Op op = { *a, dmq_divider_of(packs) };
    dmq_status st = dmq_map_fits("loss", (size_t)a->n * packs);

    return st != DMQ_OK || a->n < 1 ? st : dmq_row_sum(queue, op, 1, (size_t)a->n, a->per, wide);
}

DMQ_DEVICE(dmq_loss_forward)(dmq_queue *queue, const dmq_loss_args *a)
{
    return a->power == 2 ? sums<value<true>>(queue, a, NULL) : sums<value<false>>(queue, a, NULL);
}

DMQ_DEVICE(dmq_loss_both)(dmq_queue *queue, const dmq_loss_args *a)
{
    return a->power == 2 ? sums<value_and_gradient<true>>(queue, a, a->df)
                         : sums<value_and_gradient<false>>(queue, a, a->df);
}

DMQ_DEVICE(dmq_loss_jvp)(dmq_queue *queue, const dmq_loss_args *a)
{
    return a->power == 2 ? sums<tangent<true>>(queue, a, a->f_tan)
                         : sums<tangent<false>>(queue, a, a->f_tan);
}

template <typename Op> static dmq_status spread(dmq_queue *queue, const dmq_loss_args *a)
{
    bool wide = is_wide(a, a->df);
    size_t count = (size_t)a->n * a->per;
    dmq_status st = dmq_map_fits("loss", wide ? count / 4 : count);

    if (st != DMQ_OK || count == 0)
        return st;
    Op op = { *a, dmq_divider_of(wide ? a->per / 4 : a->per) };
    return dmq_map(queue, op, count, wide);
}

DMQ_DEVICE(dmq_loss_backward)(dmq_queue *queue, const dmq_loss_args *a)
{
    return a->power == 2 ? spread<gradient<true>>(queue, a) : spread<gradient<false>>(queue, a);
}
