#include "kernels/softmax.h"

#include "kernels/ref_util.h"

/* A NaN is never the maximum, but it reaches every sum. */
static dmq_real largest(const dmq_real *x, int count)
{
    dmq_real max = x[0];

    for (int j = 1; j < count; j++)
        max = x[j] > max ? x[j] : max;
    return max;
}

dmq_status dmq_softmax_forward_ref(dmq_queue *queue, const dmq_softmax_args *a)
{
    (void)queue;
    for (int i = 0; i < a->rows; i++) {
        const dmq_real *x = a->x + (ptrdiff_t)i * a->cols;
        dmq_real *y = a->y + (ptrdiff_t)i * a->cols;
        dmq_real max = largest(x, a->cols);
        double sum = 0;

        for (int j = 0; j < a->cols; j++) {
            y[j] = dmq_exp(x[j] - max);
            sum += (double)y[j];
        }
        for (int j = 0; j < a->cols; j++)
            y[j] /= (dmq_real)sum;
    }
    return DMQ_OK;
}

dmq_status dmq_softmax_derive_ref(dmq_queue *queue, const dmq_softmax_args *a)
{
    (void)queue;
    for (int i = 0; i < a->rows; i++) {
        const dmq_real *y = a->y + (ptrdiff_t)i * a->cols, *v = a->v + (ptrdiff_t)i * a->cols;
        dmq_real *out = a->out + (ptrdiff_t)i * a->cols;
        double dot = 0;

        for (int j = 0; j < a->cols; j++)
            dot += (double)y[j] * (double)v[j];
        for (int j = 0; j < a->cols; j++)
            dmq_ref_put(out + j, y[j] * (v[j] - (dmq_real)dot), a->add);
    }
    return DMQ_OK;
}

static double sum_exp(const dmq_real *x, dmq_real max, int count)
{
    double sum = 0;

    for (int j = 0; j < count; j++)
        sum += (double)dmq_exp(x[j] - max);
    return sum;
}

dmq_status dmq_xent_forward_ref(dmq_queue *queue, const dmq_xent_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n; i++) {
        const dmq_real *x = a->x + (ptrdiff_t)i * a->classes;
        dmq_real max = largest(x, a->classes);

        a->loss[i] = (dmq_real)log(sum_exp(x, max, a->classes)) + (max - x[a->label[i]]);
    }
    return DMQ_OK;
}

dmq_status dmq_xent_backward_ref(dmq_queue *queue, const dmq_xent_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n; i++) {
        const dmq_real *x = a->x + (ptrdiff_t)i * a->classes;
        dmq_real *dx = a->dx + (ptrdiff_t)i * a->classes;
        dmq_real max = largest(x, a->classes);
        dmq_real sum = (dmq_real)sum_exp(x, max, a->classes);

        for (int j = 0; j < a->classes; j++) {
            dmq_real p = dmq_exp(x[j] - max) / sum;

            dmq_ref_put(dx + j, a->dloss[i] * (p - (dmq_real)(j == a->label[i])), a->add);
        }
    }
    return DMQ_OK;
}
