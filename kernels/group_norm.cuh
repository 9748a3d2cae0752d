/**
 * How group norm is dealt out to blocks, forward and backward: what group_norm.cu and
 * group_norm_derive.cu share.
 *
 * An image is (hw, c). A block takes a tile: some neighbouring channels of some pixels. Thread (r, q) holds
 * pack q (W channels) of the pixels r, r + rows, r + 2 rows, ..., V of them, in registers; so what belongs
 * to a channel (gamma, mean, ...) is loaded once a thread, and a warp reads runs of 64 bytes or more.
 *
 *   whole    the tile is all pixels of whole groups: sums and result in one launch, x read once
 *   parts    the image is too large for that: sums of tiles to scratch, joined, x read again
 *
 * The tile follows from (hw, c, groups) alone, never from n: an image has the same bits in any batch.
 * Sums: float over the V pixels of a thread, double beyond, in a fixed order.
 */
#ifndef DMQ_KERNELS_GROUP_NORM_CUH
#define DMQ_KERNELS_GROUP_NORM_CUH

#include "kernels/map.cuh"
#include "kernels/reduce.cuh"

extern "C" {
#include "kernels/fake_quant_math.h"
#include "kernels/group_norm.h"
#include "kernels/pointwise_math.h"
}

#ifdef DMQ_SIMT
enum { DMQ_GN_BLOCK = 32 }; /* few, so that tests have images in parts */
#else
enum { DMQ_GN_BLOCK = 512 }; /* threads at most */
#endif
enum { DMQ_GN_PARTS = 8 }; /* V in parts */

/** By value into the kernels. */
struct dmq_gn_tile {
    int width; /* channels */
    int packs; /* of a pixel of the tile */
    int rows;  /* of threads */
    int lanes; /* that add up one channel: a power of two, at most a warp */
    int pixels;
    int across, down; /* tiles of an image */
    int whole;
    int v; /* pixels a thread */
    unsigned block;
};

static inline void dmq_gn_threads(dmq_gn_tile *t)
{
    t->block = (unsigned)(t->packs * t->rows + DMQ_WARP - 1) / DMQ_WARP * DMQ_WARP;
    t->lanes = DMQ_WARP;
    while (t->lanes > 1 && (unsigned)(t->width * t->lanes) > t->block)
        t->lanes /= 2;
}

/** most: the largest V of the kernel, 8 or 16. wide: W = 4. */
static inline dmq_gn_tile dmq_gn_tile_of(const dmq_group_norm_args *a, int most, bool wide)
{
    /* Bytes of a pixel of the tile: two sectors, or one if the tile is large. Bytes of the tile: below
       FEW too little is in flight; from `large` on no second block fits beside it. */
    enum { RUN = 64, SECTOR = 32, FEW = 8192 };
    const int large = most > 8 ? 49152 : 32768;
    const int w = wide ? 4 : 1, per = a->c / a->groups;
    dmq_gn_tile t = {};

    for (int k = 1; k <= a->groups; k++) {
        int packs = k * per / w, rows = (a->hw + most - 1) / most;

        if (a->groups % k != 0 || k * per % w != 0 || packs * rows > DMQ_GN_BLOCK)
            continue;
        t.width = k * per;
        t.whole = 1;
        if (t.width * 4 * a->hw >= FEW &&
            t.width * 4 >= (t.width * 4 * a->hw >= large ? (int)SECTOR : (int)RUN))
            break;
    }
    if (t.whole) {
        t.packs = t.width / w;
        t.v = t.packs * ((a->hw + 1) / 2) <= DMQ_GN_BLOCK / 2 ? 2
              : t.packs * ((a->hw + 7) / 8) <= DMQ_GN_BLOCK   ? 8
                                                              : most;
        t.rows = (a->hw + t.v - 1) / t.v;
        t.pixels = a->hw;
        t.across = a->c / t.width;
        t.down = 1;
    } else {
        t.v = DMQ_GN_PARTS;
        t.packs = a->c / w < DMQ_WARP ? a->c / w : DMQ_WARP;
        t.width = t.packs * w;
        t.rows = DMQ_GN_BLOCK / t.packs;
        t.pixels = t.rows * t.v;
        t.across = (a->c + t.width - 1) / t.width;
        t.down = (a->hw + t.pixels - 1) / t.pixels;
    }
    dmq_gn_threads(&t);
    return t;
}

static inline size_t dmq_gn_part_bytes(const dmq_gn_tile *t)
{
    return (size_t)t->rows * (size_t)(t->width + 4) * sizeof(float);
}

/** Where the thread is. Blocks count tiles across first, then down, then images. */
struct dmq_gn_place {
    int image, channel, first; /* channel: of its pack; first: its first pixel */
    int row, pack;
    int start; /* of the tile: its first channel */
    int down;
    int live; /* has a pack */
    size_t at;
    int left; /* pixels of the tile from `first` on */
};

template <int W>
static __device__ __forceinline__ dmq_gn_place dmq_gn_where(const dmq_group_norm_args &a,
                                                            const dmq_gn_tile &t, unsigned block)
{
    dmq_gn_place p;
    int end;

    p.start = (int)(block % t.across) * t.width;
    p.down = (int)(block / t.across % t.down);
    p.image = (int)(block / t.across / t.down);
    p.row = (int)threadIdx.x / t.packs;
    p.pack = (int)threadIdx.x % t.packs;
    p.channel = p.start + p.pack * W;
    p.first = p.down * t.pixels + p.row;
    end = (p.down + 1) * t.pixels < a.hw ? (p.down + 1) * t.pixels : a.hw;
    p.live = p.row < t.rows && p.channel < a.c;
    p.left = p.live ? end - p.first : 0;
    p.at = ((size_t)p.image * a.hw + p.first) * a.c + p.channel;
    return p;
}

/** W numbers of a channel's parameter; NULL: `other`. */
template <int W>
static __device__ __forceinline__ dmq_pack<W>
dmq_gn_param(const dmq_gn_place &p, const dmq_real *table, size_t offset, float other)
{
    dmq_pack<W> v;

    for (int w = 0; w < W; w++)
        v.at[w] = other;
    return table && p.live ? dmq_load<W>(table + offset + p.channel, 0) : v;
}

/** W numbers of the groups of a pack. */
template <int W>
static __device__ __forceinline__ dmq_pack<W>
dmq_gn_of_groups(const dmq_gn_place &p, const float *table, int first_group, int per)
{
    dmq_pack<W> v;

    for (int w = 0; w < W; w++)
        v.at[w] = p.live ? table[(p.channel + w) / per - first_group] : 0;
    return v;
}

/** total[j] = sum over the rows of threads of their numbers for channel j of the tile. All threads call. */
template <int W>
static __device__ void dmq_gn_sum_rows(double *total, float *part, const float (&mine)[W],
                                       const dmq_gn_place &p, const dmq_gn_tile &t)
{
    const int stride = t.width + 4; /* so that lanes of one channel meet few others in a bank */
    const int lane = (int)threadIdx.x % t.lanes, at_once = (int)blockDim.x / t.lanes;

    if (p.row < t.rows) {
        for (int w = 0; w < W; w++)
            part[p.row * stride + p.pack * W + w] = mine[w];
    }
    __syncthreads();
    for (int first = 0; first < t.width; first += at_once) {
        int j = first + (int)threadIdx.x / t.lanes;
        double sum = 0;

        for (int r = lane; j < t.width && r < t.rows; r += t.lanes)
            sum += (double)part[r * stride + j];
        for (int far = t.lanes / 2; far > 0; far /= 2)
            sum += __shfl_xor_sync(0xffffffffu, sum, far);
        if (lane == 0 && j < t.width)
            total[j] = sum;
    }
    __syncthreads();
}

/** The quantizer of an image. */
static __device__ __forceinline__ dmq_fq_step dmq_gn_step(const dmq_group_norm_args &a, int image)
{
    int row = a.quant && a.row ? a.row[image] : 0;

    return a.quant ? dmq_fq_step_of(a.scale[row], a.zero[row]) : dmq_fq_step_of(1, 0);
}

/** The activation; its quotient may be off by an ulp, which a division would spend 10 instructions on. */
static __device__ __forceinline__ float dmq_gn_silu(float x)
{
    return dmq_quotient_near(x, 1 + dmq_exp(-x));
}

/** dy/daffine: SiLU's, where the quantizer does not clip. */
static __device__ __forceinline__ float dmq_gn_slope(const dmq_group_norm_args &a, float affine,
                                                     dmq_fq_step step)
{
    float slope = 1, act = affine;

    if (a.silu) {
        float s = dmq_quotient_near(1, 1 + dmq_exp(-affine));

        slope = s * fmaf(affine, 1 - s, 1);
        act = dmq_gn_silu(affine);
    }
    if (a.quant && !dmq_fq_inside(dmq_fq_step_code(act, step), a.lo, a.hi))
        slope = 0;
    return slope;
}

/** The images first..first+count-1 of a. */
static inline dmq_group_norm_args dmq_gn_images(const dmq_group_norm_args *a, int first, int count)
{
    dmq_group_norm_args s = *a;
    const size_t images = (size_t)first * a->hw * a->c, rows = (size_t)first * a->c;
    const size_t stats = (size_t)first * a->groups;

    s.n = count;
    s.x += images;
    s.y = a->y ? a->y + images : NULL;
    s.dy = a->dy ? a->dy + images : NULL;
    s.dx = a->dx ? a->dx + images : NULL;
    s.x_tan = a->x_tan ? a->x_tan + images : NULL;
    s.y_tan = a->y_tan ? a->y_tan + images : NULL;
    s.shift = a->shift ? a->shift + rows : NULL;
    s.dshift = a->dshift ? a->dshift + rows : NULL;
    s.shift_tan = a->shift_tan ? a->shift_tan + rows : NULL;
    s.mean += stats;
    s.rstd += stats;
    s.row = a->row ? a->row + first : NULL;
    return s;
}

/** Images whose scratch of `bytes` each fits, at least one. */
static inline int dmq_gn_at_once(const dmq_group_norm_args *a, size_t bytes)
{
    size_t most = bytes ? DMQ_SCRATCH_BYTES / bytes : (size_t)a->n;

    return most < 1 ? 1 : most > (size_t)a->n ? a->n : (int)most;
}

#endif
