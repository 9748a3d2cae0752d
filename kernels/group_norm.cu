/*
 * Group norm forward on the device, with shift, SiLU and quantizer fused (group_norm.cuh: the tiles).
 *
 * Bytes an element: 8 (x in, y out) is the floor, and what the whole form moves: x stays in registers
 * between the sums and the result. 32x32x128 in 32 groups: 256 tiles of 64 KiB for 32 images, two on a
 * multiprocessor, one round. In parts x is read twice, 12 bytes; the second pass goes through the images
 * backwards, so that what the first read last is still in the cache. Arithmetic, 30 instructions an
 * element with SiLU and quantizer, is half of the time of the bytes.
 */
#include "kernels/group_norm.cuh"

/* Mean or second moment of one tile and channel, for the form in parts. */
struct moment {
    double mean, squares;
};

enum { COMBINE = 128 };

/* fq(act(slope (x - centre) + beta)), slope = rstd gamma */
template <int W>
static __device__ __forceinline__ dmq_pack<W>
result(const dmq_group_norm_args &a, const dmq_pack<W> &x, const dmq_pack<W> &centre,
       const dmq_pack<W> &slope, const dmq_pack<W> &beta, dmq_fq_step step)
{
    dmq_pack<W> y;

#pragma unroll
    for (int w = 0; w < W; w++) {
        float v = fmaf(x.at[w] - centre.at[w], slope.at[w], beta.at[w]);

        if (a.silu)
            v = dmq_gn_silu(v);
        y.at[w] = a.quant ? dmq_fq_step_value(v, step, a.lo, a.hi) : v;
    }
    return y;
}

/* The sum of a thread's x + shift (centre = -shift), or of their squares. */
template <int W, int V>
static __device__ __forceinline__ void add_up(float (&sum)[W], const dmq_pack<W> (&x)[V],
                                              const dmq_pack<W> &centre, const dmq_gn_place &p,
                                              const dmq_gn_tile &t, bool squares)
{
    for (int w = 0; w < W; w++)
        sum[w] = 0;
#pragma unroll
    for (int k = 0; k < V; k++) {
        if (k * t.rows < p.left) {
            for (int w = 0; w < W; w++) {
                float d = x[k].at[w] - centre.at[w];

                sum[w] += squares ? d * d : d;
            }
        }
    }
}

template <int W, int V>
static __device__ __forceinline__ void load(dmq_pack<W> (&x)[V], const dmq_real *from,
                                            const dmq_group_norm_args &a, const dmq_gn_place &p,
                                            const dmq_gn_tile &t)
{
#pragma unroll
    for (int k = 0; k < V; k++) {
        if (k * t.rows < p.left)
            x[k] = dmq_load<W>(from + p.at + (size_t)(k * t.rows) * a.c, 0);
    }
}

template <int W>
static __device__ __forceinline__ dmq_pack<W> minus(const dmq_pack<W> &x, const dmq_pack<W> &y)
{
    dmq_pack<W> d;

    for (int w = 0; w < W; w++)
        d.at[w] = x.at[w] - y.at[w];
    return d;
}

template <int W, int V>
static __device__ __forceinline__ void
store(const dmq_group_norm_args &a, const dmq_pack<W> (&x)[V], const dmq_pack<W> &centre,
      dmq_pack<W> slope, const dmq_gn_place &p, const dmq_gn_tile &t)
{
    const dmq_pack<W> gamma = dmq_gn_param<W>(p, a.gamma, 0, 0);
    const dmq_pack<W> beta = dmq_gn_param<W>(p, a.beta, 0, 0);
    const dmq_fq_step step = dmq_gn_step(a, p.image);

    for (int w = 0; w < W; w++)
        slope.at[w] *= gamma.at[w];
#pragma unroll
    for (int k = 0; k < V; k++) {
        if (k * t.rows < p.left) {
            dmq_store(a.y + p.at + (size_t)(k * t.rows) * a.c, 0,
                      result(a, x[k], centre, slope, beta, step));
        }
    }
}

/* ------------------------------------------------------------------ whole */

template <int W, int V>
static __global__ void __launch_bounds__(DMQ_GN_BLOCK, V > 8 ? 1 : 2)
    whole(dmq_group_norm_args a, dmq_gn_tile t)
{
    DMQ_SHARED(double, total);
    const int per = a.c / a.groups, groups = t.width / per;
    const double count = (double)a.hw * per;
    float *mean = reinterpret_cast<float *>(total + t.width), *rstd = mean + groups;
    float *part = rstd + groups;
    const dmq_gn_place p = dmq_gn_where<W>(a, t, blockIdx.x);
    const int first_group = p.start / per;
    float sum[W];
    dmq_pack<W> x[V], centre;

    load(x, a.x, a, p, t);
    const dmq_pack<W> shift = dmq_gn_param<W>(p, a.shift, (size_t)p.image * a.c, 0);
    centre = dmq_gn_param<W>(p, NULL, 0, 0);
    centre = minus(centre, shift);
    add_up(sum, x, centre, p, t, false);
    dmq_gn_sum_rows<W>(total, part, sum, p, t);
    for (int g = (int)threadIdx.x; g < groups; g += (int)blockDim.x) {
        double all = 0;

        for (int j = g * per; j < (g + 1) * per; j++)
            all += total[j];
        mean[g] = (float)(all / count);
    }
    __syncthreads();
    centre = minus(dmq_gn_of_groups<W>(p, mean, first_group, per), shift);
    add_up(sum, x, centre, p, t, true);
    dmq_gn_sum_rows<W>(total, part, sum, p, t);
    for (int g = (int)threadIdx.x; g < groups; g += (int)blockDim.x) {
        size_t at = (size_t)p.image * a.groups + first_group + g;
        double all = 0;

        for (int j = g * per; j < (g + 1) * per; j++)
            all += total[j];
        rstd[g] = (float)(1.0 / sqrt(all / count + (double)a.eps));
        a.mean[at] = mean[g];
        a.rstd[at] = rstd[g];
    }
    __syncthreads();
    store(a, x, centre, dmq_gn_of_groups<W>(p, rstd, first_group, per), p, t);
}

/* ------------------------------------------------------------------ in parts */

static __device__ int pixels_of(const dmq_group_norm_args &a, const dmq_gn_tile &t, int down)
{
    int left = a.hw - down * t.pixels;

    return left < t.pixels ? left : t.pixels;
}

/* Mean of each channel of the tile, and the squares about it. */
template <int W>
static __global__ void __launch_bounds__(DMQ_GN_BLOCK, 2)
    gather(dmq_group_norm_args a, dmq_gn_tile t, moment *part_of)
{
    DMQ_SHARED(double, total);
    float *mean = reinterpret_cast<float *>(total + t.width), *part = mean + t.width;
    const dmq_gn_place p = dmq_gn_where<W>(a, t, blockIdx.x);
    const double count = pixels_of(a, t, p.down);
    float sum[W];
    dmq_pack<W> x[DMQ_GN_PARTS], centre;

    load(x, a.x, a, p, t);
    const dmq_pack<W> shift = dmq_gn_param<W>(p, a.shift, (size_t)p.image * a.c, 0);
    centre = minus(dmq_gn_param<W>(p, NULL, 0, 0), shift);
    add_up(sum, x, centre, p, t, false);
    dmq_gn_sum_rows<W>(total, part, sum, p, t);
    for (int j = (int)threadIdx.x; j < t.width; j += (int)blockDim.x)
        mean[j] = (float)(total[j] / count);
    __syncthreads();
    for (int w = 0; w < W; w++)
        centre.at[w] = p.live ? mean[p.pack * W + w] - shift.at[w] : 0;
    add_up(sum, x, centre, p, t, true);
    dmq_gn_sum_rows<W>(total, part, sum, p, t);
    part_of += ((size_t)p.image * t.down + p.down) * a.c + p.start;
    for (int j = (int)threadIdx.x; j < t.width && p.start + j < a.c; j += (int)blockDim.x)
        part_of[j] = { (double)mean[j], total[j] };
}

/* A block an image and group: squares about the common mean = those about each own, and of the own's. */
static __global__ void __launch_bounds__(COMBINE)
    combine(dmq_group_norm_args a, dmq_gn_tile t, const moment *part_of)
{
    __shared__ double slot[2][DMQ_WARPS_MOST];
    const int per = a.c / a.groups, image = (int)(blockIdx.x / a.groups);
    const int group = (int)(blockIdx.x % a.groups), items = t.down * per;
    const double count = (double)a.hw * per;
    double sum = 0, squares = 0;

    part_of += (size_t)image * t.down * a.c + (size_t)group * per;
    for (int i = (int)threadIdx.x; i < items; i += COMBINE)
        sum += part_of[(size_t)(i / per) * a.c + i % per].mean * pixels_of(a, t, i / per);
    const float mean = (float)(dmq_block_sum(sum, slot[0]) / count);

    for (int i = (int)threadIdx.x; i < items; i += COMBINE) {
        moment m = part_of[(size_t)(i / per) * a.c + i % per];
        double d = m.mean - (double)mean;

        squares += m.squares + d * d * pixels_of(a, t, i / per);
    }
    squares = dmq_block_sum(squares, slot[1]);
    if (threadIdx.x == 0) {
        a.mean[blockIdx.x] = mean;
        a.rstd[blockIdx.x] = (float)(1.0 / sqrt(squares / count + (double)a.eps));
    }
}

template <int W>
static __global__ void __launch_bounds__(DMQ_GN_BLOCK, 2)
    apply(dmq_group_norm_args a, dmq_gn_tile t)
{
    const dmq_gn_place p = dmq_gn_where<W>(a, t, gridDim.x - 1 - blockIdx.x);
    const int per = a.c / a.groups;
    const size_t groups = (size_t)p.image * a.groups;
    dmq_pack<W> x[DMQ_GN_PARTS];

    load(x, a.x, a, p, t);
    const dmq_pack<W> centre = minus(dmq_gn_of_groups<W>(p, a.mean + groups, 0, per),
                                     dmq_gn_param<W>(p, a.shift, (size_t)p.image * a.c, 0));

    store(a, x, centre, dmq_gn_of_groups<W>(p, a.rstd + groups, 0, per), p, t);
}

template <int W>
static dmq_status in_parts(dmq_queue *queue, const dmq_group_norm_args *a, const dmq_gn_tile *t)
{
    const size_t bytes = (size_t)t->down * a->c * sizeof(moment);
    const size_t shared = (size_t)t->width * 12 + dmq_gn_part_bytes(t);
    const int at_once = dmq_gn_at_once(a, bytes);
    dmq_status st = DMQ_OK;
    void *scratch = NULL;

    DMQ_TRY(dmq_cuda_scratch(&scratch, queue, bytes * at_once));
    for (int first = 0; first < a->n; first += at_once) {
        int count = a->n - first < at_once ? a->n - first : at_once;
        dmq_group_norm_args s = dmq_gn_images(a, first, count);
        unsigned grid = (unsigned)(count * t->across * t->down);

        DMQ_TRY(DMQ_LAUNCH((gather<W>), grid, t->block, shared, queue, s, *t,
                           static_cast<moment *>(scratch)));
        DMQ_TRY(DMQ_LAUNCH(combine, (unsigned)(count * a->groups), COMBINE, 0, queue, s, *t,
                           static_cast<const moment *>(scratch)));
        DMQ_TRY(DMQ_LAUNCH((apply<W>), grid, t->block, 0, queue, s, *t));
    }
done:
    return st;
}

template <int W>
static dmq_status forward(dmq_queue *queue, const dmq_group_norm_args *a, bool wide)
{
    const dmq_gn_tile t = dmq_gn_tile_of(a, 16, wide);
    const size_t shared = (size_t)t.width * sizeof(double) + dmq_gn_part_bytes(&t) +
                          2 * sizeof(float) * t.width / (a->c / a->groups);
    const unsigned grid = (unsigned)(a->n * t.across);

    if (!t.whole)
        return in_parts<W>(queue, a, &t);
    return t.v == 2   ? DMQ_LAUNCH((whole<W, 2>), grid, t.block, shared, queue, *a, t)
           : t.v == 8 ? DMQ_LAUNCH((whole<W, 8>), grid, t.block, shared, queue, *a, t)
                      : DMQ_LAUNCH((whole<W, 16>), grid, t.block, shared, queue, *a, t);
}

DMQ_DEVICE(dmq_group_norm_forward)(dmq_queue *queue, const dmq_group_norm_args *a)
{
    bool wide = dmq_by_four(a->c) && dmq_aligned(a->x, a->y, a->shift, a->gamma, a->beta);

    return wide ? forward<4>(queue, a, true) : forward<1>(queue, a, false);
}
