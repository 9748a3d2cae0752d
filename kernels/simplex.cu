/* Sample weights of a batch on the device: some tens to thousands of numbers, one block, all sums in
   double. What counts is that they stay there: the weights go into the loss without a way to the host. */
#include "kernels/reduce.cuh"

extern "C" {
#include "kernels/simplex.h"
}

enum { BLOCK = 256 };

static __global__ void weights(dmq_simplex_args a)
{
    __shared__ dmq_real tops[DMQ_WARPS_MOST];
    __shared__ double sums[DMQ_WARPS_MOST];
    dmq_real top = a.s[0];
    double sum = 0;

    for (int i = (int)threadIdx.x; i < a.n; i += BLOCK)
        top = dmq_max_of()(top, a.s[i]);
    top = dmq_block_join(top, tops, dmq_max_of());
    for (int i = (int)threadIdx.x; i < a.n; i += BLOCK)
        sum += exp(((double)a.s[i] - (double)top) / (double)a.tau);
    sum = dmq_block_sum(sum, sums);
    for (int i = (int)threadIdx.x; i < a.n; i += BLOCK)
        a.w[i] = (dmq_real)(exp(((double)a.s[i] - (double)top) / (double)a.tau) / sum);
}

/* w = softmax(s / tau): ds_i = (w_i / tau)(d_i - sum_j w_j d_j). */
static __global__ void gradient(dmq_simplex_args a)
{
    __shared__ double sums[DMQ_WARPS_MOST];
    double mean = 0;

    for (int i = (int)threadIdx.x; i < a.n; i += BLOCK)
        mean += (double)a.w[i] * (double)a.d[i];
    mean = dmq_block_sum(mean, sums);
    for (int i = (int)threadIdx.x; i < a.n; i += BLOCK)
        a.ds[i] = (dmq_real)((double)a.w[i] / (double)a.tau * ((double)a.d[i] - mean));
}

DMQ_DEVICE(dmq_simplex_forward)(dmq_queue *queue, const dmq_simplex_args *a)
{
    return DMQ_LAUNCH(weights, 1, BLOCK, 0, queue, *a);
}

DMQ_DEVICE(dmq_simplex_backward)(dmq_queue *queue, const dmq_simplex_args *a)
{
    return DMQ_LAUNCH(gradient, 1, BLOCK, 0, queue, *a);
}
