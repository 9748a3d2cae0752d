#include "kernels/pool2d_math.h"
#include "kernels/ref_util.h"

#include <assert.h>

/* First number of pixel (n, i, j) of an array of this height and width. */
static ptrdiff_t pixel(const dmq_pool2d_args *a, int h, int wd, int n, int i, int j)
{
    return (((ptrdiff_t)n * h + i) * wd + j) * a->c;
}

#define FOR_WINDOWS(a)                    \
    for (int n = 0; n < (a)->n; n++)      \
        for (int i = 0; i < (a)->ho; i++) \
            for (int j = 0; j < (a)->wo; j++)

#define FOR_PIXELS(a)                                                                    \
    for (int p = dmq_pool_from(a, i), p_end = dmq_pool_to(a, i, (a)->h); p < p_end; p++) \
        for (int q = dmq_pool_from(a, j), q_end = dmq_pool_to(a, j, (a)->wd); q < q_end; q++)

/* Where the maximum of a channel is. */
static ptrdiff_t greatest(const dmq_pool2d_args *a, int n, int i, int j, int c)
{
    ptrdiff_t best = pixel(a, a->h, a->wd, n, dmq_pool_from(a, i), dmq_pool_from(a, j)) + c;

    FOR_PIXELS(a)
    {
        ptrdiff_t at = pixel(a, a->h, a->wd, n, p, q) + c;

        if (dmq_pool_takes(a->x[at], a->x[best]))
            best = at;
    }
    return best;
}

static dmq_real mean(const dmq_pool2d_args *a, int n, int i, int j, int c)
{
    dmq_real sum = 0;
    int count = 0;

    FOR_PIXELS(a)
    {
        sum += a->x[pixel(a, a->h, a->wd, n, p, q) + c];
        count++;
    }
    return sum / (dmq_real)count;
}

static int pixels(const dmq_pool2d_args *a, int i, int j)
{
    return (dmq_pool_to(a, i, a->h) - dmq_pool_from(a, i)) *
           (dmq_pool_to(a, j, a->wd) - dmq_pool_from(a, j));
}

dmq_status dmq_pool2d_forward_ref(dmq_queue *queue, const dmq_pool2d_args *a)
{
    (void)queue;
    assert(a->pad >= 0 && a->pad < a->k && a->stride > 0);
    FOR_WINDOWS(a)
    {
        dmq_real *y = a->y + pixel(a, a->ho, a->wo, n, i, j);

        for (int c = 0; c < a->c; c++)
            y[c] = a->kind == DMQ_POOL_MAX ? a->x[greatest(a, n, i, j, c)] : mean(a, n, i, j, c);
    }
    return DMQ_OK;
}

dmq_status dmq_pool2d_backward_ref(dmq_queue *queue, const dmq_pool2d_args *a)
{
    (void)queue;
    dmq_ref_start(a->dx, (ptrdiff_t)a->n * a->h * a->wd * a->c, a->add);
    FOR_WINDOWS(a)
    {
        const dmq_real *dy = a->dy + pixel(a, a->ho, a->wo, n, i, j);
        dmq_real count = (dmq_real)pixels(a, i, j);

        for (int c = 0; c < a->c; c++) {
            if (a->kind == DMQ_POOL_MAX) {
                a->dx[greatest(a, n, i, j, c)] += dy[c];
                continue;
            }
            FOR_PIXELS(a)
            a->dx[pixel(a, a->h, a->wd, n, p, q) + c] += dy[c] / count;
        }
    }
    return DMQ_OK;
}

dmq_status dmq_pool2d_jvp_ref(dmq_queue *queue, const dmq_pool2d_args *a)
{
    (void)queue;
    assert(a->kind == DMQ_POOL_MAX);
    FOR_WINDOWS(a)
    {
        dmq_real *y_tan = a->y_tan + pixel(a, a->ho, a->wo, n, i, j);

        for (int c = 0; c < a->c; c++)
            y_tan[c] = a->x_tan[greatest(a, n, i, j, c)];
    }
    return DMQ_OK;
}
