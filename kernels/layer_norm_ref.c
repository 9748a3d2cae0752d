#include "kernels/layer_norm.h"

#include "kernels/ref_util.h"

dmq_status dmq_layer_norm_forward_ref(dmq_queue *queue, const dmq_layer_norm_args *a)
{
    (void)queue;
    for (int i = 0; i < a->rows; i++) {
        const dmq_real *x = a->x + (ptrdiff_t)i * a->d;
        dmq_real *y = a->y + (ptrdiff_t)i * a->d;
        double sum = 0, squares = 0;

        for (int j = 0; j < a->d; j++)
            sum += (double)x[j];
        a->mean[i] = (dmq_real)(sum / a->d);
        for (int j = 0; j < a->d; j++) {
            dmq_real centred = x[j] - a->mean[i];

            squares += (double)centred * (double)centred;
        }
        a->rstd[i] = (dmq_real)(1.0 / sqrt(squares / a->d + (double)a->eps));
        for (int j = 0; j < a->d; j++)
            y[j] = (x[j] - a->mean[i]) * a->rstd[i] * a->gamma[j] + a->beta[j];
    }
    return DMQ_OK;
}

dmq_status dmq_layer_norm_backward_ref(dmq_queue *queue, const dmq_layer_norm_args *a)
{
    (void)queue;
    if (a->dgamma)
        dmq_ref_start(a->dgamma, a->d, a->add_param);
    if (a->dbeta)
        dmq_ref_start(a->dbeta, a->d, a->add_param);
    for (int i = 0; i < a->rows; i++) {
        const dmq_real *x = a->x + (ptrdiff_t)i * a->d, *dy = a->dy + (ptrdiff_t)i * a->d;
        double sum = 0, dot = 0;

        for (int j = 0; j < a->d; j++) {
            dmq_real norm = (x[j] - a->mean[i]) * a->rstd[i];
            dmq_real dnorm = dy[j] * a->gamma[j];

            sum += (double)dnorm;
            dot += (double)dnorm * (double)norm;
            if (a->dgamma)
                a->dgamma[j] += dy[j] * norm;
            if (a->dbeta)
                a->dbeta[j] += dy[j];
        }
        for (int j = 0; a->dx && j < a->d; j++) {
            dmq_real norm = (x[j] - a->mean[i]) * a->rstd[i];
            dmq_real rest = dy[j] * a->gamma[j] - (dmq_real)(sum / a->d);

            dmq_ref_put(a->dx + (ptrdiff_t)i * a->d + j,
                        a->rstd[i] * (rest - norm * (dmq_real)(dot / a->d)), a->add);
        }
    }
    return DMQ_OK;
}

dmq_status dmq_layer_norm_jvp_ref(dmq_queue *queue, const dmq_layer_norm_args *a)
{
    (void)queue;
    for (int i = 0; i < a->rows; i++) {
        const dmq_real *x = a->x + (ptrdiff_t)i * a->d;
        const dmq_real *x_tan = a->x_tan ? a->x_tan + (ptrdiff_t)i * a->d : NULL;
        double sum = 0, dot = 0;

        for (int j = 0; x_tan && j < a->d; j++) {
            sum += (double)x_tan[j];
            dot += (double)x_tan[j] * (double)((x[j] - a->mean[i]) * a->rstd[i]);
        }
        for (int j = 0; j < a->d; j++) {
            dmq_real norm = (x[j] - a->mean[i]) * a->rstd[i], tan = 0;

            if (x_tan) {
                tan += a->gamma[j] * a->rstd[i] *
                       (x_tan[j] - (dmq_real)(sum / a->d) - norm * (dmq_real)(dot / a->d));
            }
            if (a->gamma_tan)
                tan += a->gamma_tan[j] * norm;
            if (a->beta_tan)
                tan += a->beta_tan[j];
            a->y_tan[(ptrdiff_t)i * a->d + j] = tan;
        }
    }
    return DMQ_OK;
}
