/* The gradient of a bias on the device: 4 bytes a number of x, read once (col_sum.cuh). */
#include "kernels/col_sum.cuh"

extern "C" {
#include "kernels/matmul.h"
}

struct columns {
    const dmq_real *x;
    dmq_real *y;
    int add;

    template <int W> struct held {
        dmq_pack<W> v;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.v = dmq_load<W>(x, pack);
    }
    template <int W> __device__ dmq_pack<W> term(const held<W> &h) const
    {
        return h.v;
    }
    template <int W> __device__ void finish(size_t, size_t col, dmq_pack<W> sum) const
    {
        dmq_add<W>(sum, dmq_old<W>(y, col, add), add);
        dmq_store<W>(y, col, sum);
    }
};

DMQ_DEVICE(dmq_col_sum)(dmq_queue *queue, const dmq_col_sum_args *a)
{
    columns op = { a->x, a->y, a->add };

    if (a->cols < 1)
        return DMQ_OK;
    return dmq_col_sum_of(queue, op, 1, (size_t)a->rows, (size_t)a->cols,
                          a->cols % 4 == 0 && dmq_aligned(a->x, a->y));
}
