#include "kernels/half.h"

#include "kernels/half_math.h"

static const dmq_real *row_of(const dmq_half_args *a, size_t batch, size_t row)
{
    return a->x + batch * a->stride + row * a->ld;
}

static float scale_of(const dmq_half_args *a)
{
    float most = 0;

    for (size_t b = 0; b < a->batch; b++) {
        for (size_t r = 0; r < a->rows; r++) {
            for (size_t c = 0; c < a->cols; c++) {
                float x = fabsf((float)row_of(a, b, r)[c]);

                most = most != most ? most : x != x || x > most ? x : most; /* NaN is seen */
            }
        }
    }
    return dmq_half_scale(most);
}

static void cast(const dmq_half_args *a)
{
    uint16_t *y = a->y;

    for (size_t b = 0; b < a->batch; b++) {
        for (size_t r = 0; r < a->rows; r++) {
            for (size_t c = 0; c < a->cols; c++)
                *y++ = dmq_half_bits(*a->scale * (float)row_of(a, b, r)[c]);
        }
    }
}

dmq_status dmq_half_pair_ref(dmq_queue *queue, const dmq_half_pair_args *a)
{
    (void)queue;
    for (int i = 0; i < 2; i++) {
        if (a->of[i].kept)
            continue;
        *a->of[i].scale = scale_of(&a->of[i]);
        cast(&a->of[i]);
    }
    a->factor[0] = dmq_half_factor(a->alpha, *a->of[0].scale, *a->of[1].scale);
    a->factor[1] = a->beta;
    return DMQ_OK;
}

dmq_status dmq_half_finish_ref(dmq_queue *queue, const dmq_half_finish_args *a)
{
    (void)queue;
    for (size_t i = 0; i < a->rows * a->cols; i++) {
        dmq_real v = (dmq_real)a->factor[0] * a->p[i];

        if (a->bias)
            v += a->bias[i % a->cols];
        a->y[i] = a->add ? a->y[i] + v : v;
    }
    return DMQ_OK;
}
