/*
 * Group norm backward and jvp on the device (group_norm.cuh: the tiles). Both are
 *
 *   sums over a group of u and u norm, then    rstd (weight u - m1 - norm m2)
 *
 *   backward: u = slope dy, weight = gamma, m1 and m2 the means of gamma u and gamma u norm
 *   jvp:      u = x' + shift', weight = 1, and the result times gamma slope, with gamma' and beta' added
 *
 * Bytes an element: 12 (x and dy or x' in, dx or y' out; 16 with add) is the floor, and what the whole
 * form moves: norm and u stay in registers between the sums and the result. In parts 20. dgamma, dbeta
 * and dshift cost sums of a few KiB an image.
 */
#include "kernels/group_norm.cuh"

enum { COMBINE = 128, SUMS = 3 }; /* of u, of u norm, of dx */

/* What a thread knows of its channels. */
template <int W> struct channels {
    dmq_pack<W> centre, rstd, gamma, beta;
    dmq_fq_step step;
};

template <int W>
static __device__ __forceinline__ channels<W> channels_of(const dmq_group_norm_args &a,
                                                          const dmq_gn_place &p)
{
    const int per = a.c / a.groups;
    const size_t groups = (size_t)p.image * a.groups;
    const dmq_pack<W> shift = dmq_gn_param<W>(p, a.shift, (size_t)p.image * a.c, 0);
    channels<W> c;

    c.centre = dmq_gn_of_groups<W>(p, a.mean + groups, 0, per);
    for (int w = 0; w < W; w++)
        c.centre.at[w] -= shift.at[w];
    c.rstd = dmq_gn_of_groups<W>(p, a.rstd + groups, 0, per);
    c.gamma = dmq_gn_param<W>(p, a.gamma, 0, 0);
    c.beta = dmq_gn_param<W>(p, a.beta, 0, 0);
    c.step = dmq_gn_step(a, p.image);
    return c;
}

/* x becomes norm, d becomes u; their sums over the pixels of the thread. */
template <bool JVP, int W, int V>
static __device__ __forceinline__ void enter(float (&sum)[W], float (&dot)[W], dmq_pack<W> (&x)[V],
                                             dmq_pack<W> (&d)[V], const dmq_group_norm_args &a,
                                             const dmq_gn_place &p, const dmq_gn_tile &t,
                                             const channels<W> &c)
{
    const dmq_real *from = JVP ? a.x_tan : a.dy;
    dmq_pack<W> shift_tan;

#pragma unroll
    for (int k = 0; k < V; k++) {
        size_t at = p.at + (size_t)(k * t.rows) * a.c;

        if (k * t.rows < p.left) {
            x[k] = dmq_load<W>(a.x + at, 0);
            for (int w = 0; w < W; w++)
                d[k].at[w] = 0;
            if (!JVP || from)
                d[k] = dmq_load<W>(from + at, 0);
        }
    }
    if (JVP)
        shift_tan = dmq_gn_param<W>(p, a.shift_tan, (size_t)p.image * a.c, 0);
    for (int w = 0; w < W; w++)
        sum[w] = dot[w] = 0;
#pragma unroll
    for (int k = 0; k < V; k++) {
        if (k * t.rows < p.left) {
            for (int w = 0; w < W; w++) {
                float norm = (x[k].at[w] - c.centre.at[w]) * c.rstd.at[w], u = d[k].at[w];

                if (JVP)
                    u += shift_tan.at[w];
                else
                    u *= dmq_gn_slope(a, fmaf(norm, c.gamma.at[w], c.beta.at[w]), c.step);
                x[k].at[w] = norm;
                d[k].at[w] = u;
                sum[w] += u;
                dot[w] += u * norm;
            }
        }
    }
}

/* The result of norm and u; in backward its sums over the pixels of the thread. m1, m2: of the groups. */
template <bool JVP, int W, int V>
static __device__ __forceinline__ void
leave(float (&sum)[W], const dmq_pack<W> (&norm)[V], const dmq_pack<W> (&u)[V],
      const dmq_pack<W> &m1, const dmq_pack<W> &m2, const dmq_group_norm_args &a,
      const dmq_gn_place &p, const dmq_gn_tile &t, const channels<W> &c)
{
    dmq_real *out = JVP ? a.y_tan : a.dx;
    dmq_pack<W> gamma_tan, beta_tan;

    if (JVP) {
        gamma_tan = dmq_gn_param<W>(p, a.gamma_tan, 0, 0);
        beta_tan = dmq_gn_param<W>(p, a.beta_tan, 0, 0);
    }
    for (int w = 0; w < W; w++)
        sum[w] = 0;
#pragma unroll
    for (int k = 0; k < V; k++) {
        size_t at = p.at + (size_t)(k * t.rows) * a.c;

        if (k * t.rows < p.left) {
            dmq_pack<W> v;

            for (int w = 0; w < W; w++) {
                float n = norm[k].at[w], g = c.gamma.at[w],
                      mine = JVP ? u[k].at[w] : u[k].at[w] * g;

                v.at[w] = c.rstd.at[w] * fmaf(-n, m2.at[w], mine - m1.at[w]);
                if (JVP) {
                    v.at[w] = fmaf(v.at[w], g, fmaf(gamma_tan.at[w], n, beta_tan.at[w])) *
                              dmq_gn_slope(a, fmaf(n, g, c.beta.at[w]), c.step);
                }
                sum[w] += v.at[w];
            }
            if (!JVP && a.add && out)
                dmq_add(v, dmq_load<W>(out + at, 0), 1);
            if (JVP || out)
                dmq_store(out + at, 0, v);
        }
    }
}

/* Means over group g of the tile from the sums of its channels, those times weight. */
static __device__ float group_mean(const double *total, const dmq_real *weight, int g, int per,
                                   double count)
{
    double sum = 0;

    for (int j = g * per; j < (g + 1) * per; j++)
        sum += weight ? total[j] * (double)weight[j] : total[j];
    return (float)(sum / count);
}

static __device__ void put(dmq_real *y, float value, int add)
{
    *y = add ? *y + value : value;
}

/* Where the sums of a tile's first channel are: (image, down, SUMS, c). */
static __device__ double *sums_of(double *sums, const dmq_group_norm_args &a, const dmq_gn_tile &t,
                                  int image, int down)
{
    return sums + ((size_t)image * t.down + down) * SUMS * a.c;
}

/* ------------------------------------------------------------------ whole */

/* sums: NULL, or where those of u and of u norm go, for dgamma and dbeta. */
template <bool JVP, int W, int V>
static __global__ void __launch_bounds__(DMQ_GN_BLOCK, 1)
    whole(dmq_group_norm_args a, dmq_gn_tile t, double *sums)
{
    DMQ_SHARED(double, total);
    const int per = a.c / a.groups, groups = t.width / per;
    const double count = (double)a.hw * per;
    double *dots = total + t.width;
    float *m1 = reinterpret_cast<float *>(dots + t.width), *m2 = m1 + groups, *part = m2 + groups;
    const dmq_gn_place p = dmq_gn_where<W>(a, t, blockIdx.x);
    const channels<W> c = channels_of<W>(a, p);
    float sum[W], dot[W];
    dmq_pack<W> x[V], d[V];

    enter<JVP>(sum, dot, x, d, a, p, t, c);
    dmq_gn_sum_rows<W>(total, part, sum, p, t);
    dmq_gn_sum_rows<W>(dots, part, dot, p, t);
    if (!JVP && sums) {
        double *to = sums_of(sums, a, t, p.image, 0) + p.start;

        for (int j = (int)threadIdx.x; j < t.width; j += (int)blockDim.x) {
            to[j] = total[j];
            to[a.c + j] = dots[j];
        }
    }
    if (!JVP && !a.dx && !a.dshift)
        return;
    for (int g = (int)threadIdx.x; g < groups; g += (int)blockDim.x) {
        const dmq_real *weight = JVP ? NULL : a.gamma + p.start;

        m1[g] = group_mean(total, weight, g, per, count);
        m2[g] = group_mean(dots, weight, g, per, count);
    }
    __syncthreads();
    leave<JVP>(sum, x, d, dmq_gn_of_groups<W>(p, m1, p.start / per, per),
               dmq_gn_of_groups<W>(p, m2, p.start / per, per), a, p, t, c);
    if (!JVP && a.dshift) {
        dmq_real *to = a.dshift + (size_t)p.image * a.c + p.start;

        dmq_gn_sum_rows<W>(total, part, sum, p, t);
        for (int j = (int)threadIdx.x; j < t.width; j += (int)blockDim.x)
            put(to + j, (float)total[j], a.add_shift);
    }
}

/* ------------------------------------------------------------------ in parts */

template <bool JVP, int W>
static __global__ void __launch_bounds__(DMQ_GN_BLOCK, 1)
    gather(dmq_group_norm_args a, dmq_gn_tile t, double *sums)
{
    DMQ_SHARED(double, total);
    double *dots = total + t.width;
    float *part = reinterpret_cast<float *>(dots + t.width);
    const dmq_gn_place p = dmq_gn_where<W>(a, t, blockIdx.x);
    const channels<W> c = channels_of<W>(a, p);
    double *to = sums_of(sums, a, t, p.image, p.down) + p.start;
    float sum[W], dot[W];
    dmq_pack<W> x[DMQ_GN_PARTS], d[DMQ_GN_PARTS];

    enter<JVP>(sum, dot, x, d, a, p, t, c);
    dmq_gn_sum_rows<W>(total, part, sum, p, t);
    dmq_gn_sum_rows<W>(dots, part, dot, p, t);
    for (int j = (int)threadIdx.x; j < t.width && p.start + j < a.c; j += (int)blockDim.x) {
        to[j] = total[j];
        to[a.c + j] = dots[j];
    }
}

/* A block an image and group. means: m1 (n, groups), then m2. */
template <bool JVP>
static __global__ void __launch_bounds__(COMBINE)
    combine(dmq_group_norm_args a, dmq_gn_tile t, const double *sums, float *means)
{
    __shared__ double slot[2][DMQ_WARPS_MOST];
    const int per = a.c / a.groups, group = (int)(blockIdx.x % a.groups);
    const double count = (double)a.hw * per;
    double sum = 0, dot = 0;

    sums += (size_t)(blockIdx.x / a.groups) * t.down * SUMS * a.c + (size_t)group * per;
    for (int i = (int)threadIdx.x; i < t.down * per; i += COMBINE) {
        const double *from = sums + (size_t)(i / per) * SUMS * a.c + i % per;
        double weight = JVP ? 1.0 : (double)a.gamma[group * per + i % per];

        sum += from[0] * weight;
        dot += from[a.c] * weight;
    }
    sum = dmq_block_sum(sum, slot[0]);
    dot = dmq_block_sum(dot, slot[1]);
    if (threadIdx.x == 0) {
        means[blockIdx.x] = (float)(sum / count);
        means[gridDim.x + blockIdx.x] = (float)(dot / count);
    }
}

template <bool JVP, int W>
static __global__ void __launch_bounds__(DMQ_GN_BLOCK, 1)
    apply(dmq_group_norm_args a, dmq_gn_tile t, double *sums, const float *means)
{
    DMQ_SHARED(double, total);
    const int per = a.c / a.groups;
    float *part = reinterpret_cast<float *>(total + t.width);
    const dmq_gn_place p = dmq_gn_where<W>(a, t, gridDim.x - 1 - blockIdx.x);
    const channels<W> c = channels_of<W>(a, p);
    const float *m1 = means + (size_t)p.image * a.groups, *m2 = m1 + (size_t)a.n * a.groups;
    float sum[W], dot[W];
    dmq_pack<W> x[DMQ_GN_PARTS], d[DMQ_GN_PARTS];

    enter<JVP>(sum, dot, x, d, a, p, t, c);
    leave<JVP>(sum, x, d, dmq_gn_of_groups<W>(p, m1, 0, per), dmq_gn_of_groups<W>(p, m2, 0, per), a,
               p, t, c);
    if (!JVP && a.dshift) {
        double *to = sums_of(sums, a, t, p.image, p.down) + 2 * a.c + p.start;

        dmq_gn_sum_rows<W>(total, part, sum, p, t);
        for (int j = (int)threadIdx.x; j < t.width && p.start + j < a.c; j += (int)blockDim.x)
            to[j] = total[j];
    }
}

/* ------------------------------------------------------------------ what is summed over tiles */

/* dbeta (y = 0), dgamma (y = 1): image by image, as ref adds them, so that parts of a batch may follow. */
static __global__ void __launch_bounds__(DMQ_WARP)
    parameters(dmq_group_norm_args a, int down, const double *sums)
{
    const int j = (int)(blockIdx.x * DMQ_WARP + threadIdx.x), which = (int)blockIdx.y;
    dmq_real *out = which == 0 ? a.dbeta : a.dgamma;

    if (!out || j >= a.c)
        return;
    float all = a.add_param ? out[j] : 0;

    sums += (size_t)which * a.c + j;
    for (int i = 0; i < a.n; i++) {
        double sum = 0;

        for (int k = 0; k < down; k++, sums += (size_t)SUMS * a.c)
            sum += *sums;
        all += (float)sum;
    }
    out[j] = all;
}

static __global__ void shifts(dmq_group_norm_args a, int down, const double *sums)
{
    DMQ_EACH_INDEX(i, (size_t)a.n * a.c)
    {
        const double *from = sums + i / a.c * down * SUMS * a.c + 2 * a.c + i % a.c;
        double sum = 0;

        for (int k = 0; k < down; k++)
            sum += from[(size_t)k * SUMS * a.c];
        put(a.dshift + i, (float)sum, a.add_shift);
    }
}

/* ------------------------------------------------------------------ launches */

template <bool JVP, int W>
static dmq_status whole_launch(dmq_queue *queue, const dmq_group_norm_args *a, const dmq_gn_tile *t,
                               double *sums)
{
    const size_t groups = (size_t)(t->width / (a->c / a->groups));
    const size_t shared = (size_t)t->width * 16 + groups * 8 + dmq_gn_part_bytes(t);
    const unsigned grid = (unsigned)(a->n * t->across);

    return t->v == 2 ? DMQ_LAUNCH((whole<JVP, W, 2>), grid, t->block, shared, queue, *a, *t, sums)
                     : DMQ_LAUNCH((whole<JVP, W, 8>), grid, t->block, shared, queue, *a, *t, sums);
}

template <bool JVP, int W>
static dmq_status parts_launch(dmq_queue *queue, const dmq_group_norm_args *a, const dmq_gn_tile *t,
                               double *sums)
{
    const unsigned grid = (unsigned)(a->n * t->across * t->down);
    const size_t shared = (size_t)t->width * 16 + dmq_gn_part_bytes(t);
    float *means = reinterpret_cast<float *>(sums + (size_t)a->n * t->down * SUMS * a->c);
    dmq_status st = DMQ_OK;

    DMQ_TRY(DMQ_LAUNCH((gather<JVP, W>), grid, t->block, shared, queue, *a, *t, sums));
    if (!JVP && !a->dx && !a->dshift)
        goto done;
    DMQ_TRY(DMQ_LAUNCH((combine<JVP>), (unsigned)(a->n * a->groups), COMBINE, 0, queue, *a, *t,
                       static_cast<const double *>(sums), means));
    DMQ_TRY(DMQ_LAUNCH((apply<JVP, W>), grid, t->block, shared, queue, *a, *t, sums,
                       static_cast<const float *>(means)));
    if (!JVP && a->dshift) {
        DMQ_TRY(DMQ_LAUNCH(shifts, dmq_grid((size_t)a->n * a->c, 256), 256, 0, queue, *a, t->down,
                           static_cast<const double *>(sums)));
    }
done:
    return st;
}

template <bool JVP, int W>
static dmq_status derive(dmq_queue *queue, const dmq_group_norm_args *a, bool wide)
{
    const dmq_gn_tile t = dmq_gn_tile_of(a, 8, wide);
    const bool param = !JVP && (a->dgamma || a->dbeta);
    const size_t bytes =
        t.whole && !param ? 0 : (size_t)t.down * SUMS * a->c * 8 + (size_t)a->groups * 8;
    const int at_once = dmq_gn_at_once(a, bytes);
    dmq_status st = DMQ_OK;
    void *scratch = NULL;

    if (bytes > 0)
        DMQ_TRY(dmq_cuda_scratch(&scratch, queue, bytes * at_once));
    for (int first = 0; first < a->n; first += at_once) {
        int count = a->n - first < at_once ? a->n - first : at_once;
        dmq_group_norm_args s = dmq_gn_images(a, first, count);
        double *sums = static_cast<double *>(scratch);

        s.add_param = a->add_param || first > 0;
        if (t.whole)
            DMQ_TRY((whole_launch<JVP, W>(queue, &s, &t, sums)));
        else
            DMQ_TRY((parts_launch<JVP, W>(queue, &s, &t, sums)));
        if (param) {
            DMQ_TRY(DMQ_LAUNCH(parameters, dim3((unsigned)(a->c + DMQ_WARP - 1) / DMQ_WARP, 2),
                               DMQ_WARP, 0, queue, s, t.down, static_cast<const double *>(sums)));
        }
    }
done:
    return st;
}

DMQ_DEVICE(dmq_group_norm_backward)(dmq_queue *queue, const dmq_group_norm_args *a)
{
    bool wide = dmq_by_four(a->c) && dmq_aligned(a->x, a->shift, a->gamma, a->beta, a->dy, a->dx);

    return wide ? derive<false, 4>(queue, a, true) : derive<false, 1>(queue, a, false);
}

DMQ_DEVICE(dmq_group_norm_jvp)(dmq_queue *queue, const dmq_group_norm_args *a)
{
    bool wide = dmq_by_four(a->c) && dmq_aligned(a->x, a->shift, a->gamma, a->beta) &&
                dmq_aligned(a->x_tan, a->shift_tan, a->gamma_tan, a->beta_tan, a->y_tan);

    return wide ? derive<true, 4>(queue, a, true) : derive<true, 1>(queue, a, false);
}
