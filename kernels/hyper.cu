/* The small arithmetic of a hypergradient on the device: hundreds of numbers, one block; what counts is that
   they stay there. */
#include "kernels/reduce.cuh"

extern "C" {
#include "kernels/hyper_math.h"
}

enum { BLOCK = 256 };

static __global__ void scale(dmq_hyper_args a)
{
    DMQ_EACH_INDEX(i, (size_t)a.n)
    {
        dmq_hyper_scale_at(&a, (int)i);
    }
}

static __global__ void mse(dmq_hyper_args a)
{
    DMQ_EACH_INDEX(i, (size_t)a.n)
    {
        dmq_hyper_mse_at(&a, (int)i);
    }
}

/* A warp for each pair of groups, then a thread for each row of C, then one for each factor. */
static __global__ void align(dmq_hyper_args a)
{
    __shared__ double slot[DMQ_WARPS_MOST];
    const int lane = (int)threadIdx.x % DMQ_WARP, warp = (int)threadIdx.x / DMQ_WARP;
    const int wide = a.surrogate ? a.n : a.k, pairs = a.surrogate ? a.k * a.k : 0;
    double value = 0;

    for (int l = warp; l < pairs; l += BLOCK / DMQ_WARP) {
        double sum = 0;

        for (int i = lane; i < a.n; i += DMQ_WARP)
            sum += dmq_hyper_compared(&a, l / a.k, i) * dmq_hyper_compared(&a, l % a.k, i);
        sum = dmq_warp_join(sum, dmq_sum_of());
        if (lane == 0)
            a.gram[l] = sum;
    }
    __syncthreads();
    for (int t = (int)threadIdx.x; t < a.k; t += BLOCK)
        value += dmq_hyper_coefficients(&a, t);
    value = dmq_block_sum(value, slot);
    if (threadIdx.x == 0)
        *a.value = value;
    __syncthreads();
    for (int l = (int)threadIdx.x; l < a.k * wide; l += BLOCK)
        dmq_hyper_factor_at(&a, l / wide, l % wide);
}

static __global__ void steps(dmq_hyper_args a)
{
    DMQ_EACH_INDEX(t, (size_t)a.k)
    {
        dmq_hyper_steps_at(&a, (int)t);
    }
}

static __global__ void walk(dmq_hyper_args a)
{
    DMQ_EACH_INDEX(i, (size_t)a.n)
    {
        dmq_hyper_walk_at(&a, (int)i);
    }
}

static __global__ void join(dmq_hyper_args a)
{
    DMQ_EACH_INDEX(i, (size_t)a.n)
    {
        dmq_hyper_join_at(&a, (int)i);
    }
}

DMQ_DEVICE(dmq_hyper_scale)(dmq_queue *queue, const dmq_hyper_args *a)
{
    return DMQ_LAUNCH(scale, dmq_grid((size_t)a->n, BLOCK), BLOCK, 0, queue, *a);
}

DMQ_DEVICE(dmq_hyper_mse)(dmq_queue *queue, const dmq_hyper_args *a)
{
    return DMQ_LAUNCH(mse, dmq_grid((size_t)a->n, BLOCK), BLOCK, 0, queue, *a);
}

DMQ_DEVICE(dmq_hyper_align)(dmq_queue *queue, const dmq_hyper_args *a)
{
    return DMQ_LAUNCH(align, 1, BLOCK, 0, queue, *a);
}

DMQ_DEVICE(dmq_hyper_steps)(dmq_queue *queue, const dmq_hyper_args *a)
{
    return DMQ_LAUNCH(steps, dmq_grid((size_t)a->k, BLOCK), BLOCK, 0, queue, *a);
}

DMQ_DEVICE(dmq_hyper_walk)(dmq_queue *queue, const dmq_hyper_args *a)
{
    return DMQ_LAUNCH(walk, dmq_grid((size_t)a->n, BLOCK), BLOCK, 0, queue, *a);
}

DMQ_DEVICE(dmq_hyper_join)(dmq_queue *queue, const dmq_hyper_args *a)
{
    return DMQ_LAUNCH(join, dmq_grid((size_t)a->n, BLOCK), BLOCK, 0, queue, *a);
}
