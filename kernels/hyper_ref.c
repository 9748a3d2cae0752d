/* The small arithmetic of a hypergradient, plain loops. */
#include "kernels/hyper_math.h"

dmq_status dmq_hyper_scale_ref(dmq_queue *queue, const dmq_hyper_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n; i++)
        dmq_hyper_scale_at(a, i);
    return DMQ_OK;
}

dmq_status dmq_hyper_mse_ref(dmq_queue *queue, const dmq_hyper_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n; i++)
        dmq_hyper_mse_at(a, i);
    return DMQ_OK;
}

dmq_status dmq_hyper_align_ref(dmq_queue *queue, const dmq_hyper_args *a)
{
    (void)queue;
    for (int l = 0; l < a->k * a->k && a->surrogate; l++) {
        a->gram[l] = 0;
        for (int i = 0; i < a->n; i++)
            a->gram[l] += dmq_hyper_compared(a, l / a->k, i) * dmq_hyper_compared(a, l % a->k, i);
    }
    *a->value = 0;
    for (int t = 0; t < a->k; t++)
        *a->value += dmq_hyper_coefficients(a, t);
    for (int t = 0; t < a->k; t++) {
        for (int i = 0; i < (a->surrogate ? a->n : a->k); i++)
            dmq_hyper_factor_at(a, t, i);
    }
    return DMQ_OK;
}

dmq_status dmq_hyper_steps_ref(dmq_queue *queue, const dmq_hyper_args *a)
{
    (void)queue;
    for (int t = 0; t < a->k; t++)
        dmq_hyper_steps_at(a, t);
    return DMQ_OK;
}

dmq_status dmq_hyper_walk_ref(dmq_queue *queue, const dmq_hyper_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n; i++)
        dmq_hyper_walk_at(a, i);
    return DMQ_OK;
}

dmq_status dmq_hyper_join_ref(dmq_queue *queue, const dmq_hyper_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n; i++)
        dmq_hyper_join_at(a, i);
    return DMQ_OK;
}
