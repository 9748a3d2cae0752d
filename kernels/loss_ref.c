/* Reconstruction loss of each sample, plain loops. */
#include "kernels/loss.h"
#include "kernels/loss_math.h"

dmq_status dmq_loss_forward_ref(dmq_queue *queue, const dmq_loss_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n; i++) {
        const dmq_real *f = a->f + (size_t)i * a->per, *y = a->y + (size_t)i * a->per;
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
        size_t first = (size_t)i * a->per;
        dmq_real seed = a->dloss[i] * a->coef;

        for (size_t k = first; k < first + a->per; k++) {
            dmq_real d = seed * dmq_loss_slope(a->f[k] - a->y[k], a->power);

            a->df[k] = a->add ? a->df[k] + d : d;
        }
    }
    return DMQ_OK;
}

dmq_status dmq_loss_jvp_ref(dmq_queue *queue, const dmq_loss_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n; i++) {
        size_t first = (size_t)i * a->per;
        double sum = 0.0;

        for (size_t k = first; k < first + a->per; k++)
            sum += (double)dmq_loss_slope(a->f[k] - a->y[k], a->power) * (double)a->f_tan[k];
        a->loss_tan[i] = (dmq_real)((double)a->coef * sum);
    }
    return DMQ_OK;
}
