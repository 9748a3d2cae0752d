/* Reconstruction loss of each sample, plain loops. */
#include "kernels/loss.h"
#include "kernels/loss_math.h"

#include <assert.h>

static const dmq_real *target(const dmq_loss_args *a, int i)
{
    assert(!a->index || (a->index[i] >= 0 && a->index[i] < a->rows));
    return dmq_loss_target(a, i);
}

dmq_status dmq_loss_forward_ref(dmq_queue *queue, const dmq_loss_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n; i++) {
        const dmq_real *f = a->f + (size_t)i * a->per, *y = target(a, i);
        double sum = 0.0;

        for (size_t k = 0; k < a->per; k++)
            sum += (double)dmq_loss_term(f[k] - y[k], a->power);
        a->loss[i] = (dmq_real)((double)a->coef * sum);
    }
    return DMQ_OK;
}

dmq_status dmq_loss_backward_ref(dmq_queue *queue, const dmq_loss_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n; i++) {
        const dmq_real *f = a->f + (size_t)i * a->per, *y = target(a, i);
        dmq_real *df = a->df + (size_t)i * a->per, seed = a->dloss[i] * a->coef;

        for (size_t k = 0; k < a->per; k++) {
            dmq_real d = seed * dmq_loss_slope(f[k] - y[k], a->power);

            df[k] = a->add ? df[k] + d : d;
        }
    }
    return DMQ_OK;
}

dmq_status dmq_loss_both_ref(dmq_queue *queue, const dmq_loss_args *a)
{
    (void)dmq_loss_forward_ref(queue, a);
    return dmq_loss_backward_ref(queue, a);
}

dmq_status dmq_loss_jvp_ref(dmq_queue *queue, const dmq_loss_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n; i++) {
        const dmq_real *f = a->f + (size_t)i * a->per, *y = target(a, i);
        const dmq_real *f_tan = a->f_tan + (size_t)i * a->per;
        double sum = 0.0;

        for (size_t k = 0; k < a->per; k++)
            sum += (double)dmq_loss_slope(f[k] - y[k], a->power) * (double)f_tan[k];
        a->loss_tan[i] = (dmq_real)((double)a->coef * sum);
    }
    return DMQ_OK;
}
