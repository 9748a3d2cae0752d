/* The loss of each sample on the device.

   Bytes an element, the least there is: forward 8, its tangent 12, backward 8 + 4 (+ 4 where it adds).
   A sample's sum is cut by its length alone (row_sum.cuh), so it does not know its batch either. With
   power 2 there is nothing but memory; the power function of others is 60 of the 55 to 80 instructions
   that memory leaves time for. */
#include "kernels/row_sum.cuh"

extern "C" {
#include "kernels/loss.h"
#include "kernels/loss_math.h"
}

template <bool SQUARE> struct value {
    dmq_loss_args a;

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> f, y;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.f = dmq_load<W>(a.f, pack);
        h.y = dmq_load<W>(a.y, pack);
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

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> f, y, f_tan;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.f = dmq_load<W>(a.f, pack);
        h.y = dmq_load<W>(a.y, pack);
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
    dmq_divider row; /* packs of a sample */

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> f, y, old;
        dmq_real seed;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        unsigned rest, i = dmq_divide((unsigned)pack, &rest, row);

        h.f = dmq_load<W>(a.f, pack);
        h.y = dmq_load<W>(a.y, pack);
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

template <typename Op>
static dmq_status sums(dmq_queue *queue, const dmq_loss_args *a, const dmq_real *third)
{
    Op op = { *a };

    return a->n < 1 ? DMQ_OK
                    : dmq_row_sum(queue, op, 1, (size_t)a->n, a->per,
                                  a->per % 4 == 0 && dmq_aligned(a->f, a->y, third));
}

DMQ_DEVICE(dmq_loss_forward)(dmq_queue *queue, const dmq_loss_args *a)
{
    return a->power == 2 ? sums<value<true>>(queue, a, NULL) : sums<value<false>>(queue, a, NULL);
}

DMQ_DEVICE(dmq_loss_jvp)(dmq_queue *queue, const dmq_loss_args *a)
{
    return a->power == 2 ? sums<tangent<true>>(queue, a, a->f_tan)
                         : sums<tangent<false>>(queue, a, a->f_tan);
}

template <typename Op> static dmq_status spread(dmq_queue *queue, const dmq_loss_args *a)
{
    bool wide = a->per % 4 == 0 && dmq_aligned(a->f, a->y, a->df);
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
