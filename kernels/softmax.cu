/*
 * Softmax on the device, a row a team of threads (rows.cuh).
 *
 * Bytes an element: forward 8 (x in, y out), derive 12 (y, v in, out), 16 with add; each number crosses
 * the bus once, so that is the floor too. Rows of 256 and 1024 (attention over 16x16 and 32x32) are one
 * warp's and meet no barrier; a row of 4096 is a block's.
 */
#include "kernels/rows.cuh"

extern "C" {
#include "kernels/softmax.h"
}

/* Largest number of a row; NaN is never it (fmaxf), but reaches every sum. */
template <int TEAM, int W, int V>
static __device__ float largest(const dmq_row<TEAM, W, V> &x, float *slot)
{
    float most = -INFINITY;

    x.each([&](size_t, const dmq_pack<W> &p) {
        for (int k = 0; k < W; k++)
            most = fmaxf(most, p.at[k]);
    });
    return dmq_team_join<TEAM>(most, slot, dmq_max_of());
}

template <int TEAM, int W, int V>
static __device__ double sum_exp(const dmq_row<TEAM, W, V> &x, float most, double *slot)
{
    double sum = 0;

    x.each([&](size_t, const dmq_pack<W> &p) {
        dmq_pack<W> e;

        for (int k = 0; k < W; k++)
            e.at[k] = dmq_exp(p.at[k] - most);
        sum += dmq_pack_sum(e);
    });
    return dmq_team_join<TEAM>(sum, slot, dmq_sum_of());
}

template <int TEAM, int W, int V>
static __global__ void __launch_bounds__(DMQ_TEAM) forward(dmq_softmax_args a)
{
    __shared__ float slot[DMQ_WARPS_MOST];
    __shared__ double slots[DMQ_WARPS_MOST];
    int i = dmq_row_number<TEAM>();

    if (i >= a.rows)
        return;
    const dmq_row<TEAM, W, V> x(a.x + (size_t)i * a.cols, a.cols);
    dmq_real *y = a.y + (size_t)i * a.cols;
    const float most = largest(x, slot);
    const float share = 1 / (float)sum_exp(x, most, slots);

    x.each([&](size_t at, const dmq_pack<W> &p) {
        dmq_pack<W> e;

        for (int k = 0; k < W; k++)
            e.at[k] = dmq_exp(p.at[k] - most) * share;
        dmq_store(y, at, e);
    });
}

template <int TEAM, int W, int V>
static __global__ void __launch_bounds__(DMQ_TEAM) derive(dmq_softmax_args a)
{
    __shared__ double slot[DMQ_WARPS_MOST];
    int i = dmq_row_number<TEAM>();
    double sum = 0;

    if (i >= a.rows)
        return;
    const dmq_row<TEAM, W, V> y(a.y + (size_t)i * a.cols, a.cols);
    const dmq_row<TEAM, W, V> v(a.v + (size_t)i * a.cols, a.cols);
    dmq_real *out = a.out + (size_t)i * a.cols;

    y.each(v, [&](size_t, const dmq_pack<W> &p, const dmq_pack<W> &q) {
        dmq_pack<W> product;

        for (int k = 0; k < W; k++)
            product.at[k] = p.at[k] * q.at[k];
        sum += dmq_pack_sum(product);
    });
    const float dot = (float)dmq_team_join<TEAM>(sum, slot, dmq_sum_of());

    y.each(v, [&](size_t at, const dmq_pack<W> &p, const dmq_pack<W> &q) {
        dmq_pack<W> d;

        for (int k = 0; k < W; k++)
            d.at[k] = p.at[k] * (q.at[k] - dot);
        if (a.add)
            dmq_add(d, dmq_load<W>(out, at), 1);
        dmq_store(out, at, d);
    });
}

DMQ_DEVICE(dmq_softmax_forward)(dmq_queue *queue, const dmq_softmax_args *a)
{
    bool wide = dmq_aligned(a->x, a->y) && dmq_by_four(a->cols);

    return DMQ_LAUNCH_ROWS(forward, wide, queue, a->rows, a->cols, *a);
}

DMQ_DEVICE(dmq_softmax_derive)(dmq_queue *queue, const dmq_softmax_args *a)
{
    bool wide = dmq_aligned(a->y, a->v, a->out) && dmq_by_four(a->cols);

    return DMQ_LAUNCH_ROWS(derive, wide, queue, a->rows, a->cols, *a);
}
