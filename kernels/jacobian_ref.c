/* Products with a stored Jacobian, plain loops. */
#include "kernels/jacobian.h"

enum { CHAINS = 32 };

dmq_status dmq_jacobian_times_ref(dmq_queue *queue, const dmq_jacobian_args *a)
{
    (void)queue;
    for (int l = 0; l < a->m; l++) {
        for (size_t k = 0; k < a->count; k++) {
            dmq_real sum = 0;

            for (int i = 0; i < a->n; i++)
                sum += a->v[l * a->n + i] * a->rows[(size_t)i * a->ld + k];
            a->out[(size_t)l * a->ld_out + k] = sum;
        }
    }
    return DMQ_OK;
}

/* <x, y> of one piece. */
static double piece_dot(const dmq_real *x, const dmq_real *y, size_t count)
{
    const size_t whole = count / CHAINS * CHAINS;
    double part[CHAINS] = { 0 }, sum = 0;

    for (size_t k = 0; k < whole; k++)
        part[k % CHAINS] += (double)x[k] * (double)y[k];
    for (size_t k = whole; k < count; k++)
        part[0] += (double)x[k] * (double)y[k];
    for (int j = 0; j < CHAINS; j++)
        sum += part[j];
    return sum;
}

dmq_status dmq_jacobian_dots_ref(dmq_queue *queue, const dmq_jacobian_args *a)
{
    (void)queue;
    for (int l = 0; l < a->m; l++) {
        for (int i = 0; i < a->n; i++) {
            double sum = 0;

            for (size_t k = 0; k < a->count; k += DMQ_JACOBIAN_COLUMNS) {
                size_t left = a->count - k;

                sum += piece_dot(a->rows + (size_t)i * a->ld + k,
                                 a->x + (size_t)(a->pairs ? i : l) * a->ld_x + k,
                                 left < DMQ_JACOBIAN_COLUMNS ? left : DMQ_JACOBIAN_COLUMNS);
            }
            a->dots[l * a->n + i] = sum;
        }
    }
    return DMQ_OK;
}
