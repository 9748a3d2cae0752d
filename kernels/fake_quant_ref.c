/* Fake quantization, plain loops. */
#include "kernels/fake_quant.h"
#include "kernels/fake_quant_math.h"

#include <assert.h>

/* Where the parameters of image i begin in the table. */
static size_t row_start(const dmq_fake_quant_args *a, int i)
{
    int row = a->row ? a->row[i] : 0;

    assert(row >= 0 && row < a->rows);
    return (size_t)row * (size_t)a->c;
}

dmq_status dmq_fake_quant_forward_ref(dmq_queue *queue, const dmq_fake_quant_args *a)
{
    size_t at = 0;

    (void)queue;
    assert(!a->code || (a->lo >= INT16_MIN && a->hi <= INT16_MAX));
    for (int i = 0; i < a->n; i++) {
        size_t p = row_start(a, i);

        for (int o = 0; o < a->outer; o++) {
            for (int c = 0; c < a->c; c++) {
                dmq_real scale = a->scale[p + (size_t)c], zero = a->zero[p + (size_t)c];

                for (int k = 0; k < a->inner; k++, at++) {
                    dmq_real q = dmq_fq_clip(dmq_fq_code(a->x[at], scale, zero), a->lo, a->hi);

                    if (a->code)
                        a->code[at] = dmq_fq_store(q);
                    a->y[at] = dmq_fq_value(q, scale, zero);
                }
            }
        }
    }
    return DMQ_OK;
}

/* y = (clip(rint(x/s) + z) - z) s: dx = inside dy. */
static void backward_x(const dmq_fake_quant_args *a)
{
    size_t at = 0;

    for (int i = 0; i < a->n; i++) {
        size_t p = row_start(a, i);

        for (int o = 0; o < a->outer; o++) {
            for (int c = 0; c < a->c; c++) {
                dmq_real scale = a->scale[p + (size_t)c], zero = a->zero[p + (size_t)c];

                for (int k = 0; k < a->inner; k++, at++) {
                    dmq_real code = dmq_fq_code(a->x[at], scale, zero);
                    dmq_real d = dmq_fq_inside(code, a->lo, a->hi) ? a->dy[at] : 0;

                    a->dx[at] = a->add ? a->dx[at] + d : d;
                }
            }
        }
    }
}

/* One sum in double an image and channel, added to the table in the order of the images: a batch
   split in two gives the same bits. */
static void backward_scale(const dmq_fake_quant_args *a)
{
    size_t inner = (size_t)a->inner, stride = (size_t)a->c * inner;

    for (int i = 0; i < a->n; i++) {
        size_t p = row_start(a, i);

        for (int c = 0; c < a->c; c++) {
            dmq_real scale = a->scale[p + (size_t)c], zero = a->zero[p + (size_t)c];
            size_t first = (size_t)i * (size_t)a->outer * stride + (size_t)c * inner;
            double sum = 0.0;

            for (int o = 0; o < a->outer; o++) {
                for (int k = 0; k < a->inner; k++) {
                    size_t at = first + (size_t)o * stride + (size_t)k;
                    dmq_real slope = dmq_fq_dscale(a->x[at], scale, zero, a->lo, a->hi);

                    sum += (double)a->dy[at] * (double)slope;
                }
            }
            a->dscale[p + (size_t)c] += (dmq_real)(sum * (double)a->lsq_gain);
        }
    }
}

dmq_status dmq_fake_quant_backward_ref(dmq_queue *queue, const dmq_fake_quant_args *a)
{
    (void)queue;
    if (a->dscale) /* first: dx may be dy */
        backward_scale(a);
    if (a->dx)
        backward_x(a);
    return DMQ_OK;
}

dmq_status dmq_fake_quant_jvp_ref(dmq_queue *queue, const dmq_fake_quant_args *a)
{
    size_t at = 0;

    (void)queue;
    for (int i = 0; i < a->n; i++) {
        size_t p = row_start(a, i);

        for (int o = 0; o < a->outer; o++) {
            for (int c = 0; c < a->c; c++) {
                dmq_real scale = a->scale[p + (size_t)c], zero = a->zero[p + (size_t)c];
                dmq_real scale_tan = a->scale_tan ? a->scale_tan[p + (size_t)c] : 0;

                for (int k = 0; k < a->inner; k++, at++) {
                    dmq_real x = a->x[at], code = dmq_fq_code(x, scale, zero);
                    dmq_real t = 0;

                    if (a->x_tan && dmq_fq_inside(code, a->lo, a->hi))
                        t = a->x_tan[at];
                    if (a->scale_tan)
                        t += dmq_fq_dscale(x, scale, zero, a->lo, a->hi) * scale_tan;
                    a->y_tan[at] = t;
                }
            }
        }
    }
    return DMQ_OK;
}
