/* Products with a stored Jacobian: a piece of every row stays in the first caches while it is used. */
#include "backend/cpu_math.h"
#include "backend/cpu_quant.h"

#include <string.h>

enum { CHAINS = 32 }; /* enough to fill the widest registers several times */

DMQ_CLONES
static void add_scaled(float *y, const float *x, float alpha, size_t count)
{
    DMQ_EACH(size_t k = 0; k < count; k++)
    {
        y[k] += alpha * x[k];
    }
}

DMQ_CLONES
static double piece_dot(const float *x, const float *y, size_t count)
{
    const size_t whole = count / CHAINS * CHAINS;
    double part[CHAINS] = { 0 }, sum = 0;

    for (size_t k = 0; k < whole; k += CHAINS) {
        for (size_t j = 0; j < CHAINS; j++)
            part[j] += (double)x[k + j] * (double)y[k + j];
    }
    for (size_t k = whole; k < count; k++)
        part[0] += (double)x[k] * (double)y[k];
    for (int j = 0; j < CHAINS; j++)
        sum += part[j];
    return sum;
}

static size_t width(const dmq_jacobian_args *a, size_t at)
{
    return a->count - at < DMQ_JACOBIAN_COLUMNS ? a->count - at : DMQ_JACOBIAN_COLUMNS;
}

dmq_status dmq_jacobian_times_cpu(dmq_queue *queue, const dmq_jacobian_args *a)
{
    (void)queue;
    for (size_t at = 0; at < a->count; at += DMQ_JACOBIAN_COLUMNS) {
        size_t count = width(a, at);

        for (int l = 0; l < a->m; l++)
            memset(a->out + (size_t)l * a->ld_out + at, 0, count * sizeof *a->out);
        for (int i = 0; i < a->n; i++) {
            for (int l = 0; l < a->m; l++) {
                add_scaled(a->out + (size_t)l * a->ld_out + at, a->rows + (size_t)i * a->ld + at,
                           a->v[l * a->n + i], count);
            }
        }
    }
    return DMQ_OK;
}

dmq_status dmq_jacobian_dots_cpu(dmq_queue *queue, const dmq_jacobian_args *a)
{
    (void)queue;
    for (int k = 0; k < a->n * a->m; k++)
        a->dots[k] = 0;
    for (size_t at = 0; at < a->count; at += DMQ_JACOBIAN_COLUMNS) {
        size_t count = width(a, at);

        for (int i = 0; i < a->n; i++) {
            for (int l = 0; l < a->m; l++) {
                a->dots[l * a->n + i] +=
                    piece_dot(a->rows + (size_t)i * a->ld + at,
                              a->x + (size_t)(a->pairs ? i : l) * a->ld_x + at, count);
            }
        }
    }
    return DMQ_OK;
}
