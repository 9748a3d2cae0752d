/**
 * Sums and extremes over a warp and a block, always in the same order: a tree over lanes, then over
 * warps. The same bits in every run. All threads of the block call; blockDim.x is a multiple of 32.
 *
 * The result is returned to every thread. `slot` is shared memory of DMQ_WARPS_MOST numbers, which the
 * call may use again as soon as all threads have returned from it and met at a barrier: give two calls in
 * a row two arrays, or a __syncthreads() between them.
 */
#ifndef DMQ_KERNELS_REDUCE_CUH
#define DMQ_KERNELS_REDUCE_CUH

#include "kernels/device.cuh"

enum { DMQ_WARP = 32, DMQ_WARPS_MOST = 32 };

struct dmq_sum_of {
    template <typename T> __device__ T operator()(T a, T b) const
    {
        return a + b;
    }
};

/** NaN wins, so that it is seen. */
struct dmq_min_of {
    template <typename T> __device__ T operator()(T a, T b) const
    {
        return a != a ? a : b != b ? b : b < a ? b : a;
    }
};

struct dmq_max_of {
    template <typename T> __device__ T operator()(T a, T b) const
    {
        return a != a ? a : b != b ? b : b > a ? b : a;
    }
};

template <typename T, typename Join> __device__ T dmq_warp_join(T value, Join join)
{
    for (int far = DMQ_WARP / 2; far > 0; far /= 2)
        value = join(value, __shfl_xor_sync(0xffffffffu, value, far));
    return value;
}

template <typename T, typename Join> __device__ T dmq_block_join(T value, T *slot, Join join)
{
    unsigned lane = threadIdx.x % DMQ_WARP, warp = threadIdx.x / DMQ_WARP;
    unsigned warps = blockDim.x / DMQ_WARP;
    T all;

    value = dmq_warp_join(value, join);
    if (lane == 0)
        slot[warp] = value;
    __syncthreads();
    all = slot[0];
    for (unsigned i = 1; i < warps; i++)
        all = join(all, slot[i]);
    return all;
}

template <typename T> __device__ T dmq_block_sum(T value, T *slot)
{
    return dmq_block_join(value, slot, dmq_sum_of());
}

#endif
