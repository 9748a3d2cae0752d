/**
 * One pass over an array: what all kernels that are bound by memory are made of.
 *
 * An operation is a small struct that goes by value into the kernel. It says what it holds of a pack of W
 * neighbouring numbers, how that is loaded, and what is stored:
 *
 *   struct scale {
 *       const dmq_real *x;
 *       dmq_real *y, by;
 *       enum { depth = 4 };                                // packs in flight in a thread
 *       template <int W> struct held { dmq_pack<W> x; };
 *       template <int W> __device__ void load(held<W> &h, size_t pack) const;
 *       template <int W> __device__ void store(held<W> &h, size_t pack) const;
 *   };
 *   return dmq_map(queue, op, count, dmq_aligned(x, y));
 *
 * W is 4, one access of 16 bytes, where pointers and shapes allow it, else 1. A block takes a tile of
 * 256 `depth` packs: all loads of a thread are on their way before the first value is used, which with
 * 2048 threads of a multiprocessor is 32 KiB times the depth times the arrays read. 3.8 MB on the device
 * hide the latency of memory (4.8 TB/s times 0.8 us), 29 KB a multiprocessor: one pack is at the edge,
 * four are beyond it at half the occupancy too. Blocks are as many as tiles, not as fit: the hardware
 * deals them out as others end, and there is no last round of a few.
 *
 * Outputs may be inputs: a thread has loaded its numbers before it stores any.
 */
#ifndef DMQ_KERNELS_MAP_CUH
#define DMQ_KERNELS_MAP_CUH

#include "kernels/device.cuh"

/* On the host small ones, so that tests of small arrays reach every branch. */
#ifdef DMQ_SIMT
enum { DMQ_MAP_BLOCK = 32, DMQ_MAP_BUSY = 1, DMQ_MAP_GRID_MOST = DMQ_GRID_MOST };
#else
enum { DMQ_MAP_BLOCK = 256, DMQ_MAP_BUSY = 132, DMQ_MAP_GRID_MOST = 0x7fffffff };
#endif

/** W numbers that move together. */
template <int W> struct alignas(W * sizeof(dmq_real)) dmq_pack {
    dmq_real at[W];
};

template <int W>
static __device__ __forceinline__ dmq_pack<W> dmq_load(const dmq_real *x, size_t pack)
{
    return reinterpret_cast<const dmq_pack<W> *>(x)[pack];
}

/** What an output that is added to held before; zeros, not read, for one that is not. */
template <int W>
static __device__ __forceinline__ dmq_pack<W> dmq_old(const dmq_real *y, size_t pack, int add)
{
    dmq_pack<W> v = {};

    if (add)
        v = dmq_load<W>(y, pack);
    return v;
}

template <int W>
static __device__ __forceinline__ void dmq_store(dmq_real *y, size_t pack, const dmq_pack<W> &v)
{
    reinterpret_cast<dmq_pack<W> *>(y)[pack] = v;
}

/** v, added to old if add. */
template <int W>
static __device__ __forceinline__ void dmq_add(dmq_pack<W> &v, const dmq_pack<W> &old, int add)
{
    if (add) {
        for (int k = 0; k < W; k++)
            v.at[k] = old.at[k] + v.at[k];
    }
}

/** May all be read and written 16 bytes at a time? NULL may. */
template <typename... T> static inline bool dmq_aligned(const T *...array)
{
    return (... && (reinterpret_cast<uintptr_t>(array) % 16 == 0));
}

/** x mod 4 = 0 for all: lengths and strides that keep rows aligned. */
template <typename... T> static inline bool dmq_by_four(T... length)
{
    return (... && (length % 4 == 0));
}

/**
 * Division of 32-bit numbers by one that the launcher knows: a product and a shift.
 *
 * q = n m / 2^k, k = 31 + ceil(log2 d), m = ceil(2^k / d): right for n < 2^31 and 1 <= d <= 2^31, since
 * m exceeds 2^k / d by less than 1, and the quotient by less than n / 2^k < 1/d.
 */
struct dmq_divider {
    unsigned d, multiplier, shift;
};

static inline dmq_divider dmq_divider_of(size_t d)
{
    dmq_divider v = { (unsigned)d, 0, 31 };

    while ((size_t)1 << (v.shift - 31) < d)
        v.shift++;
    v.multiplier = (unsigned)((((uint64_t)1 << v.shift) + d - 1) / d);
    return v;
}

static __device__ __forceinline__ unsigned dmq_divide(unsigned n, unsigned *rest, dmq_divider v)
{
    unsigned q = (unsigned)(((uint64_t)n * v.multiplier) >> v.shift);

    *rest = n - q * v.d;
    return q;
}

/** ENOTSUP when a kernel that divides indices cannot count that far. */
static inline dmq_status dmq_map_fits(const char *op, size_t packs)
{
    if (packs <= INT32_MAX)
        return DMQ_OK;
    return dmq_fail(DMQ_ENOTSUP, "cuda: %s: %zu steps, an index holds %d\n  hint: a smaller batch",
                    op, packs, INT32_MAX);
}

template <int W, typename Op>
static __global__ void __launch_bounds__(DMQ_MAP_BLOCK)
    dmq_map_packs(Op op, size_t count, unsigned depth)
{
    const size_t packs = count / W, tile = (size_t)DMQ_MAP_BLOCK * depth;

    for (size_t first = blockIdx.x * tile; first < packs; first += gridDim.x * tile) {
        size_t pack = first + threadIdx.x, end = first + tile < packs ? first + tile : packs;

        if (depth == Op::depth && first + tile <= packs) {
            typename Op::template held<W> h[Op::depth];

#pragma unroll
            for (int k = 0; k < Op::depth; k++)
                op.template load<W>(h[k], pack + k * DMQ_MAP_BLOCK);
#pragma unroll
            for (int k = 0; k < Op::depth; k++)
                op.template store<W>(h[k], pack + k * DMQ_MAP_BLOCK);
        } else {
#pragma unroll 1 /* of few packs a thread has one, and the last tile is one of many */
            for (; pack < end; pack += DMQ_MAP_BLOCK) {
                typename Op::template held<W> h;

                op.template load<W>(h, pack);
                op.template store<W>(h, pack);
            }
        }
    }
    if (W > 1 && blockIdx.x == 0 && threadIdx.x < count % W) {
        typename Op::template held<1> h;

        op.template load<1>(h, packs * W + threadIdx.x);
        op.template store<1>(h, packs * W + threadIdx.x);
    }
}

/** Blocks for `tiles` pieces of work, a loop over them in each. At least one. */
static inline unsigned dmq_map_grid(size_t tiles)
{
    return tiles < 1                   ? 1u
           : tiles > DMQ_MAP_GRID_MOST ? (unsigned)DMQ_MAP_GRID_MOST
                                       : (unsigned)tiles;
}

/** Threads for `count` things, whole warps, at least one and at most `most`. */
static inline unsigned dmq_threads(size_t count, unsigned most)
{
    size_t threads = (count + 31) / 32 * 32;

    return threads < 32 ? 32u : threads > most ? most : (unsigned)threads;
}

/** The operation on all of `count` numbers; wide: four at a time. Few of them are dealt out one pack a
    thread, so that every multiprocessor has some. */
template <typename Op>
static dmq_status dmq_map(dmq_queue *queue, const Op &op, size_t count, bool wide)
{
    size_t packs = wide ? count / 4 : count, full = (size_t)DMQ_MAP_BLOCK * Op::depth;
    unsigned depth = packs >= DMQ_MAP_BUSY * full ? (unsigned)Op::depth : 1u;
    size_t tile = (size_t)DMQ_MAP_BLOCK * depth;
    unsigned grid = dmq_map_grid((packs + tile - 1) / tile);

    return wide
               ? DMQ_LAUNCH((dmq_map_packs<4, Op>), grid, DMQ_MAP_BLOCK, 0, queue, op, count, depth)
               : DMQ_LAUNCH((dmq_map_packs<1, Op>), grid, DMQ_MAP_BLOCK, 0, queue, op, count,
                            depth);
}

#endif
