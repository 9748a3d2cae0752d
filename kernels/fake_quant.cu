/* Fake quantization on the device: one thread an element, four where they share their parameters. */
#include "kernels/reduce.cuh"

extern "C" {
#include "kernels/fake_quant.h"
#include "kernels/fake_quant_math.h"
}

enum { BLOCK = 256 };

/* Where the parameters of element `at` are in the table. */
static __device__ size_t place(const dmq_fake_quant_args &a, size_t at)
{
    size_t per = (size_t)a.outer * a.c * a.inner;
    size_t channel = at / a.inner % a.c;
    int row = a.row ? a.row[at / per] : 0;

    return (size_t)row * a.c + channel;
}

static size_t count_of(const dmq_fake_quant_args *a)
{
    return (size_t)a->n * a->outer * a->c * a->inner;
}

static __global__ void forward(dmq_fake_quant_args a, size_t count)
{
    DMQ_EACH_INDEX(i, count)
    {
        size_t p = place(a, i);
        dmq_real q = dmq_fq_clip(dmq_fq_code(a.x[i], a.scale[p], a.zero[p]), a.lo, a.hi);

        if (a.code)
            a.code[i] = dmq_fq_store(q);
        a.y[i] = dmq_fq_value(q, a.scale[p], a.zero[p]);
    }
}

/* y = (clip(rint(x/s) + z) - z) s: dx = inside dy. */
static __global__ void backward_x(dmq_fake_quant_args a, size_t count)
{
    DMQ_EACH_INDEX(i, count)
    {
        size_t p = place(a, i);
        dmq_real code = dmq_fq_code(a.x[i], a.scale[p], a.zero[p]);
        dmq_real d = dmq_fq_inside(code, a.lo, a.hi) ? a.dy[i] : 0;

        a.dx[i] = a.add ? a.dx[i] + d : d;
    }
}

/* A block a channel: for every image one sum in double, added to the table in the order of the images,
   as ref does: a batch split in two gives the same table. */
static __global__ void backward_scale(dmq_fake_quant_args a)
{
    __shared__ double slot[2][DMQ_WARPS_MOST];
    size_t rest = (size_t)a.outer * a.inner, stride = (size_t)a.c * a.inner;
    int c = (int)blockIdx.x;

    for (int i = 0; i < a.n; i++) {
        size_t p = (size_t)(a.row ? a.row[i] : 0) * a.c + c;
        size_t first = (size_t)i * a.outer * stride + (size_t)c * a.inner;
        double sum = 0;

        for (size_t k = threadIdx.x; k < rest; k += blockDim.x) {
            size_t at = first + k / a.inner * stride + k % a.inner;

            sum += (double)a.dy[at] *
                   (double)dmq_fq_dscale(a.x[at], a.scale[p], a.zero[p], a.lo, a.hi);
        }
        sum = dmq_block_sum(sum, slot[i % 2]);
        if (threadIdx.x == 0)
            a.dscale[p] += (dmq_real)(sum * (double)a.lsq_gain);
    }
}

static __global__ void tangent(dmq_fake_quant_args a, size_t count)
{
    DMQ_EACH_INDEX(i, count)
    {
        size_t p = place(a, i);
        dmq_real code = dmq_fq_code(a.x[i], a.scale[p], a.zero[p]), t = 0;

        if (a.x_tan && dmq_fq_inside(code, a.lo, a.hi))
            t = a.x_tan[i];
        if (a.scale_tan)
            t += dmq_fq_dscale(a.x[i], a.scale[p], a.zero[p], a.lo, a.hi) * a.scale_tan[p];
        a.y_tan[i] = t;
    }
}

DMQ_DEVICE(dmq_fake_quant_forward)(dmq_queue *queue, const dmq_fake_quant_args *a)
{
    size_t count = count_of(a);

    return DMQ_LAUNCH(forward, dmq_grid(count, BLOCK), BLOCK, 0, queue, *a, count);
}

DMQ_DEVICE(dmq_fake_quant_backward)(dmq_queue *queue, const dmq_fake_quant_args *a)
{
    size_t count = count_of(a);
    dmq_status st = DMQ_OK;

    if (a->dscale) /* first: dx may be dy */
        st = DMQ_LAUNCH(backward_scale, (unsigned)a->c, BLOCK, 0, queue, *a);
    if (st == DMQ_OK && a->dx)
        st = DMQ_LAUNCH(backward_x, dmq_grid(count, BLOCK), BLOCK, 0, queue, *a, count);
    return st;
}

DMQ_DEVICE(dmq_fake_quant_jvp)(dmq_queue *queue, const dmq_fake_quant_args *a)
{
    size_t count = count_of(a);

    return DMQ_LAUNCH(tangent, dmq_grid(count, BLOCK), BLOCK, 0, queue, *a, count);
}
