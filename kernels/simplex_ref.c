/* Softmax over a batch and its gradient, plain loops. */
#include "kernels/simplex.h"

dmq_status dmq_simplex_forward_ref(dmq_queue *queue, const dmq_simplex_args *a)
{
    dmq_real top = a->s[0];
    double sum = 0.0;

    (void)queue;
    for (int i = 1; i < a->n; i++)
        top = a->s[i] > top ? a->s[i] : top;
    for (int i = 0; i < a->n; i++)
        sum += exp(((double)a->s[i] - (double)top) / (double)a->tau);
    for (int i = 0; i < a->n; i++)
        a->w[i] = (dmq_real)(exp(((double)a->s[i] - (double)top) / (double)a->tau) / sum);
    return DMQ_OK;
}

dmq_status dmq_simplex_backward_ref(dmq_queue *queue, const dmq_simplex_args *a)
{
    double mean = 0.0;

    (void)queue;
    for (int i = 0; i < a->n; i++)
        mean += (double)a->w[i] * (double)a->d[i];
    for (int i = 0; i < a->n; i++)
        a->ds[i] = (dmq_real)((double)a->w[i] / (double)a->tau * ((double)a->d[i] - mean));
    return DMQ_OK;
}
