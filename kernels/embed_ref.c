#include "kernels/embed.h"

#include "kernels/ref_util.h"

#include <assert.h>

dmq_status dmq_embed_forward_ref(dmq_queue *queue, const dmq_embed_args *a)
{
    (void)queue;
    for (int i = 0; i < a->n; i++) {
        assert(a->index[i] >= 0 && a->index[i] < a->rows);
        for (int j = 0; j < a->d; j++) {
            dmq_ref_put(a->y + (ptrdiff_t)i * a->d + j, a->table[(ptrdiff_t)a->index[i] * a->d + j],
                        a->add);
        }
    }
    return DMQ_OK;
}

dmq_status dmq_embed_backward_ref(dmq_queue *queue, const dmq_embed_args *a)
{
    (void)queue;
    dmq_ref_start(a->dtable, (ptrdiff_t)a->rows * a->d, a->add);
    for (int i = 0; i < a->n; i++) {
        assert(a->index[i] >= 0 && a->index[i] < a->rows);
        dmq_ref_axpy(a->dtable + (ptrdiff_t)a->index[i] * a->d, 1, a->dy + (ptrdiff_t)i * a->d,
                     a->d);
    }
    return DMQ_OK;
}

dmq_status dmq_gather_ref(dmq_queue *queue, const dmq_gather_args *a)
{
    assert(a->n_parts <= DMQ_GATHER_PARTS);
    for (int p = 0; p < a->n_parts; p++) {
        const dmq_gather_part *from = &a->part[p];

        (void)dmq_embed_forward_ref(queue, &(dmq_embed_args){ .table = from->table,
                                                              .index = from->index,
                                                              .y = from->y,
                                                              .n = a->n,
                                                              .d = from->d,
                                                              .rows = from->rows });
    }
    return DMQ_OK;
}

/* In double: the product of t = 999 and a rounded frequency would be wrong by 3e-5 already. */
dmq_status dmq_time_embed_ref(dmq_queue *queue, const dmq_time_embed_args *a)
{
    int half = a->d / 2;

    (void)queue;
    assert(a->d % 2 == 0);
    for (int j = 0; j < half; j++) {
        double frequency = exp(-log(10000.0) * j / (double)a->divisor);

        for (int i = 0; i < a->n; i++) {
            dmq_real *y = a->y + (ptrdiff_t)i * a->d;
            double phase = (double)a->t[i] * frequency;

            y[a->cos_first ? half + j : j] = (dmq_real)sin(phase);
            y[a->cos_first ? j : half + j] = (dmq_real)cos(phase);
        }
    }
    return DMQ_OK;
}
