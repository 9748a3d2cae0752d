/* The tables of coming iterations: a row is some hundreds of numbers, so that one block copies it. */
#include "kernels/device.cuh"

extern "C" {
#include "kernels/schedule.h"
}

enum { BLOCK = 256 };

static __device__ void pay(const dmq_schedule_args &a, size_t k, int owed)
{
    for (int i = (int)threadIdx.x; owed && i < a.n_result; i += BLOCK)
        a.results[(k - 1) * a.n_result + i] = a.result[i];
}

static __global__ void take(dmq_schedule_args a)
{
    const size_t k = (size_t)a.counter[0];

    pay(a, k, a.counter[1]);
    for (int i = (int)threadIdx.x; i < a.n_index; i += BLOCK)
        a.index_now[i] = a.index[k * a.n_index + i];
    for (int i = (int)threadIdx.x; i < a.n_real; i += BLOCK)
        a.real_now[i] = a.real[k * a.n_real + i];
    if (a.scalars && threadIdx.x == 0)
        *a.scalars_now = a.scalars[k];
    __syncthreads(); /* all have read the counter */
    if (threadIdx.x == 0) {
        a.counter[0] = (int)k + 1;
        a.counter[1] = 1;
    }
}

static __global__ void keep(dmq_schedule_args a)
{
    pay(a, (size_t)a.counter[0], a.counter[1]);
    __syncthreads();
    if (threadIdx.x == 0)
        a.counter[1] = 0;
}

DMQ_DEVICE(dmq_schedule_take)(dmq_queue *queue, const dmq_schedule_args *a)
{
    return DMQ_LAUNCH(take, 1, BLOCK, 0, queue, *a);
}

DMQ_DEVICE(dmq_schedule_keep)(dmq_queue *queue, const dmq_schedule_args *a)
{
    return DMQ_LAUNCH(keep, 1, BLOCK, 0, queue, *a);
}
