#include "kernels/resize_math.h"

dmq_status dmq_resize_levels_ref(dmq_queue *queue, const dmq_resize_args *a)
{
    ptrdiff_t row = (ptrdiff_t)a->wd * a->c;
    dmq_real *y = a->y;

    (void)queue;
    for (int n = 0; n < a->n; n++) {
        const uint8_t *x = a->x + (ptrdiff_t)n * a->h * row;

        for (int i = 0; i < a->ho; i++) {
            dmq_resize_place v = dmq_resize_at(a->rule, i, a->h, a->ho);
            const uint8_t *top = x + v.low * row, *bottom = x + v.high * row;

            for (int j = 0; j < a->wo; j++) {
                dmq_resize_place u = dmq_resize_at(a->rule, j, a->wd, a->wo);

                for (int c = 0; c < a->c; c++) {
                    ptrdiff_t left = (ptrdiff_t)u.low * a->c + c;
                    ptrdiff_t right = (ptrdiff_t)u.high * a->c + c;

                    *y++ = dmq_resize_value(a, top[left], top[right], bottom[left], bottom[right],
                                            u.weight, v.weight);
                }
            }
        }
    }
    return DMQ_OK;
}
