/* Pooling and resizing, a row of channels at a time; each number takes the steps of the reference in its order. */
#include "backend/cpu.h"
#include "backend/cpu_math.h"
#include "kernels/pool2d_math.h"
#include "kernels/resize_math.h"

#include <string.h>

DMQ_INLINE void take_greater(float *restrict y, const float *restrict x, size_t count)
{
    for (size_t c = 0; c < count; c++)
        y[c] = (x[c] > y[c]) | (x[c] != x[c]) ? x[c] : y[c];
}

DMQ_INLINE void add_row(float *restrict y, const float *restrict x, size_t count)
{
    for (size_t c = 0; c < count; c++)
        y[c] += x[c];
}

DMQ_CLONES
static void pool_row(const dmq_pool2d_args *a, float *y, const float *x, int i)
{
    size_t c = (size_t)a->c, row = (size_t)a->wd * c;
    int p_from = dmq_pool_from(a, i), p_to = dmq_pool_to(a, i, a->h);

    for (int j = 0; j < a->wo; j++, y += c) {
        int q_from = dmq_pool_from(a, j), q_to = dmq_pool_to(a, j, a->wd);
        float count = (float)((p_to - p_from) * (q_to - q_from));

        if (a->kind == DMQ_POOL_MAX)
            memcpy(y, x + (size_t)p_from * row + (size_t)q_from * c, c * sizeof *y);
        else
            memset(y, 0, c * sizeof *y);
        for (int p = p_from; p < p_to; p++) {
            for (int q = q_from; q < q_to; q++) {
                const float *from = x + (size_t)p * row + (size_t)q * c;

                if (a->kind == DMQ_POOL_MAX)
                    take_greater(y, from, c);
                else
                    add_row(y, from, c);
            }
        }
        for (size_t k = 0; a->kind == DMQ_POOL_MEAN && k < c; k++)
            y[k] /= count;
    }
}

dmq_status dmq_pool2d_forward_cpu(dmq_queue *queue, const dmq_pool2d_args *a)
{
    size_t image = (size_t)a->h * (size_t)a->wd * (size_t)a->c, row = (size_t)a->wo * (size_t)a->c;
    float *y = a->y;

    (void)queue;
    for (int n = 0; n < a->n; n++) {
        for (int i = 0; i < a->ho; i++, y += row)
            pool_row(a, y, a->x + (size_t)n * image, i);
    }
    return DMQ_OK;
}

/* Columns once a call, not once a row. */
dmq_status dmq_resize_levels_cpu(dmq_queue *queue, const dmq_resize_args *a)
{
    size_t c = (size_t)a->c, row = (size_t)a->wd * c;
    dmq_resize_place *column;
    dmq_status st = DMQ_OK;
    void *memory = NULL;
    float *y = a->y;

    DMQ_TRY(dmq_cpu_scratch(&memory, queue, (size_t)a->wo * sizeof *column));
    column = memory;
    for (int j = 0; j < a->wo; j++)
        column[j] = dmq_resize_at(a->rule, j, a->wd, a->wo);
    for (int i = 0; i < a->n * a->ho; i++) {
        dmq_resize_place v = dmq_resize_at(a->rule, i % a->ho, a->h, a->ho);
        const uint8_t *image = a->x + (size_t)(i / a->ho) * (size_t)a->h * row;
        const uint8_t *top = image + (size_t)v.low * row, *bottom = image + (size_t)v.high * row;

        for (int j = 0; j < a->wo; j++, y += c) {
            size_t left = (size_t)column[j].low * c, right = (size_t)column[j].high * c;

            for (size_t k = 0; k < c; k++)
                y[k] = dmq_resize_value(a, top[left + k], top[right + k], bottom[left + k],
                                        bottom[right + k], column[j].weight, v.weight);
        }
    }
done:
    return st;
}
