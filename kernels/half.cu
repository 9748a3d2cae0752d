/* Operands in half precision on the device: 4 bytes a number read for the scale, 4 read and 2 written for
   the cast, 8 or 12 for the finish. */
#include "kernels/map.cuh"
#include "kernels/reduce.cuh"

extern "C" {
#include "kernels/half.h"
#include "kernels/half_math.h"
}

/* On the host small ones, as in map.cuh. */
#ifdef DMQ_SIMT
enum { BLOCK = 64, BLOCKS_MOST = 3 };
#else
enum { BLOCK = 512, BLOCKS_MOST = DMQ_HALF_PARTS };
#endif

/* ------------------------------------------------------------------ scale, cast, factor */

/* An operand and the blocks that take it: those of the first come first. */
struct share {
    dmq_half_args a;
    size_t count;
    unsigned blocks; /* 0: it is kept */
    int by_four;     /* packs of four numbers; an index is a place */
};

struct pair {
    share of[2];
    float *part, *factor;
    float alpha, beta;
};

/* One row as far as memory goes? Then an index is a place. */
static bool is_whole(const dmq_half_args *a)
{
    return (a->rows <= 1 || a->ld == a->cols) && (a->batch <= 1 || a->stride == a->rows * a->cols);
}

static __device__ __forceinline__ dmq_real number_at(const dmq_half_args &a, size_t i)
{
    size_t row = i / a.cols;

    return a.x[row / a.rows * a.stride + row % a.rows * a.ld + i % a.cols];
}

/* Which operand a block takes, and its number among those. */
static __device__ __forceinline__ unsigned share_of(const pair &p, unsigned *block)
{
    unsigned which = blockIdx.x >= p.of[0].blocks;

    *block = blockIdx.x - (which ? p.of[0].blocks : 0);
    return which;
}

static __global__ void __launch_bounds__(BLOCK) largest(pair p)
{
    __shared__ float slot[DMQ_WARPS_MOST];
    unsigned block, which = share_of(p, &block);
    const share &s = p.of[which];
    size_t first = (size_t)block * BLOCK + threadIdx.x, step = (size_t)s.blocks * BLOCK;
    float most = 0;

    if (s.by_four) {
        for (size_t i = first; i < s.count / 4; i += step) {
            dmq_pack<4> v = dmq_load<4>(s.a.x, i);

            for (int k = 0; k < 4; k++)
                most = dmq_max_of()(most, fabsf((float)v.at[k]));
        }
    } else {
        for (size_t i = first; i < s.count; i += step)
            most = dmq_max_of()(most, fabsf((float)number_at(s.a, i)));
    }
    most = dmq_block_join(most, slot, dmq_max_of());
    if (threadIdx.x == 0)
        p.part[which * DMQ_HALF_PARTS + block] = most;
}

/* Every block finds it anew from the parts: they are few, and there is no launch between. */
static __device__ float scale_of(const pair &p, unsigned which, float *slot)
{
    const share &s = p.of[which];
    float most = 0;

    if (s.a.kept)
        return *s.a.scale;
    for (unsigned i = threadIdx.x; i < s.blocks; i += BLOCK)
        most = dmq_max_of()(most, p.part[which * DMQ_HALF_PARTS + i]);
    return dmq_half_scale(dmq_block_join(most, slot, dmq_max_of()));
}

/** Halves that move together. */
struct alignas(4 * sizeof(uint16_t)) four_halves {
    uint16_t at[4];
};

/* Packs of a thread that are on their way together. */
enum { DEPTH = 4 };

static __device__ void cast_packs(const share &s, unsigned block, float scale)
{
    const size_t packs = s.count / 4, tile = (size_t)BLOCK * DEPTH;
    four_halves *y = reinterpret_cast<four_halves *>(s.a.y);

    for (size_t first = block * tile; first < packs; first += s.blocks * tile) {
        size_t pack = first + threadIdx.x;
        dmq_pack<4> v[DEPTH] = {};

#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            if (pack + k * BLOCK < packs)
                v[k] = dmq_load<4>(s.a.x, pack + k * BLOCK);
        }
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            four_halves out;

            for (int i = 0; i < 4; i++)
                out.at[i] = dmq_half_bits(scale * (float)v[k].at[i]);
            if (pack + k * BLOCK < packs)
                y[pack + k * BLOCK] = out;
        }
    }
}

static __global__ void __launch_bounds__(BLOCK) cast(pair p)
{
    __shared__ float slot[2][DMQ_WARPS_MOST];
    unsigned block, which = share_of(p, &block);
    const share &s = p.of[which];
    float scale = scale_of(p, which, slot[which]);

    if (blockIdx.x == 0) { /* which knows both */
        float other = scale_of(p, !which, slot[!which]);
        float scales[2] = { which ? other : scale, which ? scale : other };

        if (threadIdx.x == 0) {
            for (int i = 0; i < 2; i++) {
                if (!p.of[i].a.kept)
                    *p.of[i].a.scale = scales[i];
            }
            p.factor[0] = dmq_half_factor(p.alpha, scales[0], scales[1]);
            p.factor[1] = p.beta;
        }
    }
    if (s.a.kept)
        return;
    if (s.by_four) {
        cast_packs(s, block, scale);
    } else {
        size_t step = (size_t)s.blocks * BLOCK;

        for (size_t i = (size_t)block * BLOCK + threadIdx.x; i < s.count; i += step)
            s.a.y[i] = dmq_half_bits(scale * (float)number_at(s.a, i));
    }
}

static share share_from(const dmq_half_args *a)
{
    share s = { *a, a->batch * a->rows * a->cols, 0, 0 };
    size_t blocks;

    if (a->kept)
        return s;
    s.by_four = is_whole(a) && s.count % 4 == 0 && dmq_aligned(a->x, a->y);
    blocks = ((s.by_four ? s.count / 4 : s.count) + BLOCK - 1) / BLOCK;
    s.blocks = blocks < 1 ? 1u : blocks > BLOCKS_MOST ? (unsigned)BLOCKS_MOST : (unsigned)blocks;
    return s;
}

DMQ_DEVICE(dmq_half_pair)(dmq_queue *queue, const dmq_half_pair_args *a)
{
    pair p = {
        { share_from(&a->of[0]), share_from(&a->of[1]) }, a->part, a->factor, a->alpha, a->beta
    };
    unsigned blocks = p.of[0].blocks + p.of[1].blocks;
    dmq_status st = DMQ_LAUNCH(largest, blocks, BLOCK, 0, queue, p);

    if (st != DMQ_OK)
        return st;
    return DMQ_LAUNCH(cast, blocks ? blocks : 1, BLOCK, 0, queue, p); /* a factor there is always */
}

/* ------------------------------------------------------------------ finish */

struct finishing {
    dmq_half_finish_args a;

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> p, old;
        float factor;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.p = dmq_load<W>(a.p, pack);
        h.old = dmq_old<W>(a.y, pack, a.add);
        h.factor = a.factor[0];
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        size_t col = a.bias ? pack * W % a.cols : 0; /* a pack lies in one row */

        for (int k = 0; k < W; k++) {
            h.p.at[k] = (dmq_real)h.factor * h.p.at[k];
            if (a.bias)
                h.p.at[k] += a.bias[col + (size_t)k];
        }
        dmq_add<W>(h.p, h.old, a.add);
        dmq_store<W>(a.y, pack, h.p);
    }
};

DMQ_DEVICE(dmq_half_finish)(dmq_queue *queue, const dmq_half_finish_args *a)
{
    finishing op = { *a };

    if (a->rows * a->cols == 0)
        return DMQ_OK;
    return dmq_map(queue, op, a->rows * a->cols, a->cols % 4 == 0 && dmq_aligned(a->p, a->y));
}
