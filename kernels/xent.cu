/* Cross entropy on the device: a warp a row, which stays in the cache between its passes; 4 bytes a logit
   read, and 4 written by the backward pass (+ 4 where it adds). */
#include "kernels/reduce.cuh"

extern "C" {
#include "kernels/softmax.h"
}

enum { BLOCK = 128, ROWS = BLOCK / DMQ_WARP };

/* The greatest logit of a row and the sum of exp(x - top), in all lanes. */
static __device__ double sum_exp(const dmq_real *x, int classes, dmq_real *top)
{
    double sum = 0;

    *top = x[0];
    for (int j = (int)(threadIdx.x % DMQ_WARP); j < classes; j += DMQ_WARP)
        *top = dmq_max_of()(*top, x[j]);
    *top = dmq_warp_join(*top, dmq_max_of());
    for (int j = (int)(threadIdx.x % DMQ_WARP); j < classes; j += DMQ_WARP)
        sum += (double)dmq_exp(x[j] - *top);
    return dmq_warp_join(sum, dmq_sum_of());
}

/* The rows of this warp. */
#define EACH_ROW(i, n)                                                       \
    for (int i = (int)(blockIdx.x * ROWS + threadIdx.x / DMQ_WARP); i < (n); \
         i += (int)(gridDim.x * ROWS))

static __global__ void value(dmq_xent_args a)
{
    EACH_ROW(i, a.n)
    {
        const dmq_real *x = a.x + (size_t)i * a.classes;
        dmq_real top;
        double sum = sum_exp(x, a.classes, &top);

        if (threadIdx.x % DMQ_WARP == 0)
            a.loss[i] = (dmq_real)log(sum) + (top - x[a.label[i]]);
    }
}

/* loss = log sum exp(x) - x[label]: dx_j = dloss (softmax(x)_j - [j = label]). */
static __global__ void gradient(dmq_xent_args a)
{
    EACH_ROW(i, a.n)
    {
        const dmq_real *x = a.x + (size_t)i * a.classes;
        dmq_real *dx = a.dx + (size_t)i * a.classes, top;
        dmq_real sum = (dmq_real)sum_exp(x, a.classes, &top);

        for (int j = (int)(threadIdx.x % DMQ_WARP); j < a.classes; j += DMQ_WARP) {
            dmq_real p = dmq_exp(x[j] - top) / sum;
            dmq_real d = a.dloss[i] * (p - (dmq_real)(j == a.label[i]));

            dx[j] = a.add ? dx[j] + d : d;
        }
    }
}

DMQ_DEVICE(dmq_xent_forward)(dmq_queue *queue, const dmq_xent_args *a)
{
    return DMQ_LAUNCH(value, dmq_grid((size_t)a->n, ROWS), BLOCK, 0, queue, *a);
}

DMQ_DEVICE(dmq_xent_backward)(dmq_queue *queue, const dmq_xent_args *a)
{
    return DMQ_LAUNCH(gradient, dmq_grid((size_t)a->n, ROWS), BLOCK, 0, queue, *a);
}
