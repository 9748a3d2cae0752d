#include "kernels/resample.h"

#include "kernels/ref_util.h"

#include <assert.h>

/* First number of pixel (n, i, j) of an array of this height and width. */
static ptrdiff_t pixel(const dmq_resample_args *a, int h, int wd, int n, int i, int j)
{
    return (((ptrdiff_t)n * h + i) * wd + j) * a->c;
}

#define FOR_PIXELS(a, h, wd)          \
    for (int n = 0; n < (a)->n; n++)  \
        for (int i = 0; i < (h); i++) \
            for (int j = 0; j < (wd); j++)

dmq_status dmq_upsample_forward_ref(dmq_queue *queue, const dmq_resample_args *a)
{
    int f = a->factor, ho = a->h * f, wo = a->wd * f;

    (void)queue;
    FOR_PIXELS(a, ho, wo)
    {
        const dmq_real *x = a->x + pixel(a, a->h, a->wd, n, i / f, j / f);
        dmq_real *y = a->y + pixel(a, ho, wo, n, i, j);

        for (int c = 0; c < a->c; c++)
            dmq_ref_put(y + c, x[c], a->add);
    }
    return DMQ_OK;
}

dmq_status dmq_upsample_backward_ref(dmq_queue *queue, const dmq_resample_args *a)
{
    int f = a->factor, ho = a->h * f, wo = a->wd * f;

    (void)queue;
    dmq_ref_start(a->dx, (ptrdiff_t)a->n * a->h * a->wd * a->c, a->add);
    FOR_PIXELS(a, ho, wo)
    dmq_ref_axpy(a->dx + pixel(a, a->h, a->wd, n, i / f, j / f), 1,
                 a->dy + pixel(a, ho, wo, n, i, j), a->c);
    return DMQ_OK;
}

dmq_status dmq_avg_pool_forward_ref(dmq_queue *queue, const dmq_resample_args *a)
{
    int f = a->factor, ho = a->h / f, wo = a->wd / f;

    (void)queue;
    assert(a->h % f == 0 && a->wd % f == 0);
    FOR_PIXELS(a, ho, wo)
    {
        dmq_real *y = a->y + pixel(a, ho, wo, n, i, j);

        for (int c = 0; c < a->c; c++) {
            dmq_real sum = 0;

            for (int k = 0; k < f * f; k++)
                sum += a->x[pixel(a, a->h, a->wd, n, i * f + k / f, j * f + k % f) + c];
            dmq_ref_put(y + c, sum / (dmq_real)(f * f), a->add);
        }
    }
    return DMQ_OK;
}

dmq_status dmq_avg_pool_backward_ref(dmq_queue *queue, const dmq_resample_args *a)
{
    int f = a->factor, ho = a->h / f, wo = a->wd / f;

    (void)queue;
    assert(a->h % f == 0 && a->wd % f == 0);
    FOR_PIXELS(a, a->h, a->wd)
    {
        const dmq_real *dy = a->dy + pixel(a, ho, wo, n, i / f, j / f);
        dmq_real *dx = a->dx + pixel(a, a->h, a->wd, n, i, j);

        for (int c = 0; c < a->c; c++)
            dmq_ref_put(dx + c, dy[c] / (dmq_real)(f * f), a->add);
    }
    return DMQ_OK;
}
