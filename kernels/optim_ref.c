/* Adam, sums of blocks, dot product: plain loops. */
#include "kernels/optim.h"
#include "kernels/optim_math.h"

#include <assert.h>

dmq_status dmq_adam_ref(dmq_queue *queue, const dmq_adam_args *a)
{
    dmq_adam_step s = dmq_adam_begin(a->lr, a->beta1, a->beta2, a->eps, a->step);

    (void)queue;
    assert(a->step >= 1);
    for (size_t i = 0; i < a->count; i++)
        a->p[i] = dmq_adam_move(a->p[i], a->g[i], &a->m[i], &a->v[i], s);
    return DMQ_OK;
}

dmq_status dmq_sum_blocks_ref(dmq_queue *queue, const dmq_sum_blocks_args *a)
{
    (void)queue;
    for (size_t i = 0; i < a->count; i++) {
        dmq_real sum = 0;

        for (int k = 0; k < a->n_blocks; k++)
            sum += a->x[k][i];
        a->y[i] = a->add ? a->y[i] + a->alpha * sum : a->alpha * sum;
    }
    return DMQ_OK;
}

dmq_status dmq_dot_ref(dmq_queue *queue, const dmq_dot_args *a)
{
    double sum = 0.0;

    (void)queue;
    for (size_t i = 0; i < a->count; i++)
        sum += (double)a->x[i] * (double)a->y[i];
    *a->out = sum;
    return DMQ_OK;
}
