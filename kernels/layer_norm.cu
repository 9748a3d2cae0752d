/*
 * Layer norm on the device, a row a team of threads (rows.cuh).
 *
 * Bytes an element: forward 8, backward and jvp 12 (16 with add), the floor of each; gamma and beta stay
 * in the caches. dgamma and dbeta are sums over rows, a launch of their own that reads x and dy again:
 * wanted in training only.
 */
#include "kernels/rows.cuh"

extern "C" {
#include "kernels/layer_norm.h"
}

enum { COLUMNS = 32, STRIPES = 8, STRIPE_ROWS = 16 };

/* x minus the mean, over rstd; what all passes call norm. */
static __device__ float norm_of(float x, float mean, float rstd)
{
    return (x - mean) * rstd;
}

template <int TEAM, int W, int V>
static __global__ void __launch_bounds__(DMQ_TEAM) forward(dmq_layer_norm_args a)
{
    __shared__ double slot[2][DMQ_WARPS_MOST];
    int i = dmq_row_number<TEAM>();
    double sum = 0, squares = 0;

    if (i >= a.rows)
        return;
    const dmq_row<TEAM, W, V> x(a.x + (size_t)i * a.d, a.d);
    dmq_real *y = a.y + (size_t)i * a.d;

    x.each([&](size_t, const dmq_pack<W> &p) { sum += dmq_pack_sum(p); });
    const float mean = (float)(dmq_team_join<TEAM>(sum, slot[0], dmq_sum_of()) / a.d);

    x.each([&](size_t, const dmq_pack<W> &p) {
        dmq_pack<W> square;

        for (int k = 0; k < W; k++)
            square.at[k] = (p.at[k] - mean) * (p.at[k] - mean);
        squares += dmq_pack_sum(square);
    });
    squares = dmq_team_join<TEAM>(squares, slot[1], dmq_sum_of());
    const float rstd = (float)(1.0 / sqrt(squares / a.d + (double)a.eps));

    if (threadIdx.x % TEAM == 0) {
        a.mean[i] = mean;
        a.rstd[i] = rstd;
    }
    x.each([&](size_t at, const dmq_pack<W> &p) {
        dmq_pack<W> gamma = dmq_load<W>(a.gamma, at), v = dmq_load<W>(a.beta, at);

        for (int k = 0; k < W; k++)
            v.at[k] = fmaf(norm_of(p.at[k], mean, rstd), gamma.at[k], v.at[k]);
        dmq_store(y, at, v);
    });
}

/* dx = rstd (dnorm - mean dnorm - norm mean(dnorm norm)), dnorm = gamma dy */
template <int TEAM, int W, int V>
static __global__ void __launch_bounds__(DMQ_TEAM) backward(dmq_layer_norm_args a)
{
    __shared__ double slot[2][DMQ_WARPS_MOST];
    int i = dmq_row_number<TEAM>();
    double sum = 0, dot = 0;

    if (i >= a.rows)
        return;
    const dmq_row<TEAM, W, V> x(a.x + (size_t)i * a.d, a.d), dy(a.dy + (size_t)i * a.d, a.d);
    const float mean = a.mean[i], rstd = a.rstd[i];
    dmq_real *dx = a.dx + (size_t)i * a.d;

    x.each(dy, [&](size_t at, const dmq_pack<W> &p, const dmq_pack<W> &d) {
        dmq_pack<W> one = dmq_load<W>(a.gamma, at), two;

        for (int k = 0; k < W; k++) {
            one.at[k] *= d.at[k];
            two.at[k] = one.at[k] * norm_of(p.at[k], mean, rstd);
        }
        sum += dmq_pack_sum(one);
        dot += dmq_pack_sum(two);
    });
    const float m1 = (float)(dmq_team_join<TEAM>(sum, slot[0], dmq_sum_of()) / a.d);
    const float m2 = (float)(dmq_team_join<TEAM>(dot, slot[1], dmq_sum_of()) / a.d);

    x.each(dy, [&](size_t at, const dmq_pack<W> &p, const dmq_pack<W> &d) {
        dmq_pack<W> v = dmq_load<W>(a.gamma, at);

        for (int k = 0; k < W; k++) {
            float rest = d.at[k] * v.at[k] - m1;

            v.at[k] = rstd * fmaf(-norm_of(p.at[k], mean, rstd), m2, rest);
        }
        if (a.add)
            dmq_add(v, dmq_load<W>(dx, at), 1);
        dmq_store(dx, at, v);
    });
}

/* dgamma += dy norm, dbeta += dy: 32 columns a block, a stripe of rows in float, stripes in double. */
static __global__ void __launch_bounds__(COLUMNS *STRIPES) columns(dmq_layer_norm_args a)
{
    __shared__ double part[2][STRIPES][COLUMNS];
    int lane = (int)threadIdx.x % COLUMNS, stripe = (int)threadIdx.x / COLUMNS;
    int j = (int)blockIdx.x * COLUMNS + lane;
    double total[2] = { 0, 0 };

    for (int first = stripe * STRIPE_ROWS; j < a.d && first < a.rows;
         first += STRIPES * STRIPE_ROWS) {
        int end = first + STRIPE_ROWS < a.rows ? first + STRIPE_ROWS : a.rows;
        float dgamma = 0, dbeta = 0;

        for (int i = first; i < end; i++) {
            size_t at = (size_t)i * a.d + j;

            dgamma += a.dy[at] * norm_of(a.x[at], a.mean[i], a.rstd[i]);
            dbeta += a.dy[at];
        }
        total[0] += (double)dgamma;
        total[1] += (double)dbeta;
    }
    part[0][stripe][lane] = total[0];
    part[1][stripe][lane] = total[1];
    __syncthreads();
    if (stripe < 2 && j < a.d) {
        dmq_real *out = stripe == 0 ? a.dgamma : a.dbeta;
        double sum = 0;

        for (int s = 0; s < STRIPES; s++)
            sum += part[stripe][s][lane];
        if (out)
            out[j] = a.add_param ? out[j] + (float)sum : (float)sum;
    }
}

template <int TEAM, int W, int V>
static __global__ void __launch_bounds__(DMQ_TEAM) tangent(dmq_layer_norm_args a)
{
    __shared__ double slot[2][DMQ_WARPS_MOST];
    int i = dmq_row_number<TEAM>();
    double sum = 0, dot = 0;

    if (i >= a.rows)
        return;
    /* without a tangent x stands for it, and counts nothing */
    const dmq_row<TEAM, W, V> x(a.x + (size_t)i * a.d, a.d);
    const dmq_row<TEAM, W, V> t((a.x_tan ? a.x_tan : a.x) + (size_t)i * a.d, a.d);
    const float mean = a.mean[i], rstd = a.rstd[i];
    dmq_real *y_tan = a.y_tan + (size_t)i * a.d;

    x.each(t, [&](size_t, const dmq_pack<W> &p, const dmq_pack<W> &v) {
        dmq_pack<W> product;

        for (int k = 0; k < W; k++)
            product.at[k] = v.at[k] * norm_of(p.at[k], mean, rstd);
        sum += dmq_pack_sum(v);
        dot += dmq_pack_sum(product);
    });
    const float m1 = (float)(dmq_team_join<TEAM>(sum, slot[0], dmq_sum_of()) / a.d);
    const float m2 = (float)(dmq_team_join<TEAM>(dot, slot[1], dmq_sum_of()) / a.d);

    x.each(t, [&](size_t at, const dmq_pack<W> &p, const dmq_pack<W> &v) {
        dmq_pack<W> gamma = dmq_load<W>(a.gamma, at), gamma_tan, out;

        for (int k = 0; k < W; k++)
            gamma_tan.at[k] = out.at[k] = 0;
        if (a.beta_tan)
            out = dmq_load<W>(a.beta_tan, at);
        if (a.gamma_tan)
            gamma_tan = dmq_load<W>(a.gamma_tan, at);
        for (int k = 0; k < W; k++) {
            float norm = norm_of(p.at[k], mean, rstd);

            if (a.gamma_tan)
                out.at[k] += gamma_tan.at[k] * norm;
            if (a.x_tan)
                out.at[k] += gamma.at[k] * rstd * fmaf(-norm, m2, v.at[k] - m1);
        }
        dmq_store(y_tan, at, out);
    });
}

DMQ_DEVICE(dmq_layer_norm_forward)(dmq_queue *queue, const dmq_layer_norm_args *a)
{
    bool wide = dmq_aligned(a->x, a->y, a->gamma, a->beta) && dmq_by_four(a->d);

    return DMQ_LAUNCH_ROWS(forward, wide, queue, a->rows, a->d, *a);
}

DMQ_DEVICE(dmq_layer_norm_backward)(dmq_queue *queue, const dmq_layer_norm_args *a)
{
    bool wide = dmq_aligned(a->x, a->dy, a->dx, a->gamma) && dmq_by_four(a->d);
    dmq_status st = DMQ_OK;

    if (a->dgamma || a->dbeta) { /* first: dx may be dy */
        st = DMQ_LAUNCH(columns, (unsigned)(a->d + COLUMNS - 1) / COLUMNS, COLUMNS * STRIPES, 0,
                        queue, *a);
    }
    if (st == DMQ_OK && a->dx)
        st = DMQ_LAUNCH_ROWS(backward, wide, queue, a->rows, a->d, *a);
    return st;
}

DMQ_DEVICE(dmq_layer_norm_jvp)(dmq_queue *queue, const dmq_layer_norm_args *a)
{
    bool wide = dmq_by_four(a->d) && dmq_aligned(a->x, a->x_tan, a->y_tan) &&
                dmq_aligned(a->gamma, a->gamma_tan, a->beta_tan);

    return DMQ_LAUNCH_ROWS(tangent, wide, queue, a->rows, a->d, *a);
}
