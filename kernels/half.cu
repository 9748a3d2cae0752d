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

/* One row as far as memory goes? Then an index is a place. */
static bool is_whole(const dmq_half_args *a)
{
    return (a->rows <= 1 || a->ld == a->cols) && (a->batch <= 1 || a->stride == a->rows * a->cols);
}

static size_t count_of(const dmq_half_args *a)
{
    return a->batch * a->rows * a->cols;
}

static __device__ __forceinline__ dmq_real number_at(const dmq_half_args &a, size_t i)
{
    size_t row = i / a.cols;

    return a.x[row / a.rows * a.stride + row % a.rows * a.ld + i % a.cols];
}

/* ------------------------------------------------------------------ scale */

template <int W> __device__ float most_of(float most, const dmq_pack<W> &v)
{
    for (int k = 0; k < W; k++)
        most = dmq_max_of()(most, fabsf((float)v.at[k]));
    return most;
}

/* The largest number of a block's share. W = 0: rows that lie apart. */
template <int W>
static __global__ void __launch_bounds__(BLOCK) largest(dmq_half_args a, size_t count, float *part)
{
    __shared__ float slot[DMQ_WARPS_MOST];
    float most = 0;

    if (W == 0) {
        DMQ_EACH_INDEX(i, count)
        most = dmq_max_of()(most, fabsf((float)number_at(a, i)));
    } else {
        DMQ_EACH_INDEX(i, count / (W ? W : 1))
        most = most_of(most, dmq_load<(W ? W : 1)>(a.x, i));
    }
    most = dmq_block_join(most, slot, dmq_max_of());
    if (threadIdx.x == 0)
        part[blockIdx.x] = most;
}

static __global__ void __launch_bounds__(BLOCK)
    set_scale(const float *part, unsigned n, float *scale)
{
    __shared__ float slot[DMQ_WARPS_MOST];
    float most = 0;

    for (unsigned i = threadIdx.x; i < n; i += blockDim.x)
        most = dmq_max_of()(most, part[i]);
    most = dmq_block_join(most, slot, dmq_max_of());
    if (threadIdx.x == 0)
        *scale = dmq_half_scale(most);
}

static unsigned blocks_for(size_t steps)
{
    size_t blocks = (steps + BLOCK - 1) / BLOCK;

    return blocks < 1 ? 1u : blocks > BLOCKS_MOST ? (unsigned)BLOCKS_MOST : (unsigned)blocks;
}

DMQ_DEVICE(dmq_half_scale)(dmq_queue *queue, const dmq_half_args *a)
{
    size_t count = count_of(a);
    int by_four = is_whole(a) && count % 4 == 0 && dmq_aligned(a->x);
    unsigned blocks = blocks_for(by_four ? count / 4 : count);
    dmq_status st = by_four ? DMQ_LAUNCH((largest<4>), blocks, BLOCK, 0, queue, *a, count, a->part)
                            : DMQ_LAUNCH((largest<0>), blocks, BLOCK, 0, queue, *a, count, a->part);

    if (st != DMQ_OK)
        return st;
    return DMQ_LAUNCH(set_scale, 1, BLOCK, 0, queue, static_cast<const float *>(a->part), blocks,
                      a->scale);
}

/* ------------------------------------------------------------------ cast */

/** W halves that move together. */
template <int W> struct alignas(W * sizeof(uint16_t)) halves {
    uint16_t at[W];
};

struct cast_whole {
    const dmq_real *x;
    const float *scale;
    uint16_t *y;

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> x;
        float scale;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.x = dmq_load<W>(x, pack);
        h.scale = *scale;
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        halves<W> out;

        for (int k = 0; k < W; k++)
            out.at[k] = dmq_half_bits(h.scale * (float)h.x.at[k]);
        reinterpret_cast<halves<W> *>(y)[pack] = out;
    }
};

static __global__ void cast_apart(dmq_half_args a, size_t count)
{
    float scale = *a.scale;

    DMQ_EACH_INDEX(i, count)
    a.y[i] = dmq_half_bits(scale * (float)number_at(a, i));
}

DMQ_DEVICE(dmq_half_cast)(dmq_queue *queue, const dmq_half_args *a)
{
    size_t count = count_of(a);

    if (count == 0)
        return DMQ_OK;
    if (is_whole(a)) {
        cast_whole op = { a->x, a->scale, a->y };

        return dmq_map(queue, op, count, count % 4 == 0 && dmq_aligned(a->x, a->y));
    }
    return DMQ_LAUNCH(cast_apart, dmq_grid(count, 256), 256, 0, queue, *a, count);
}

/* ------------------------------------------------------------------ factor, finish */

static __global__ void set_factor(dmq_half_factor_args a)
{
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        a.factor[0] = dmq_half_factor(a.alpha, *a.a, *a.b);
        a.factor[1] = a.beta;
    }
}

DMQ_DEVICE(dmq_half_factor)(dmq_queue *queue, const dmq_half_factor_args *a)
{
    return DMQ_LAUNCH(set_factor, 1, 32, 0, queue, *a);
}

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
