#include "kernels/matmul.h"

#include "kernels/ref_util.h"

/* One row of c. Where b's rows run along n, they are added up; where they run along k, they are dotted. */
static void multiply_row(dmq_real *c, const dmq_matmul_args *a, const dmq_real *left,
                         ptrdiff_t left_step, const dmq_real *b)
{
    for (int j = 0; j < a->n; j++)
        dmq_ref_put(c + j, a->bias ? a->bias[j] : 0, a->add);
    if (!a->trans_b) {
        for (int k = 0; k < a->k; k++)
            dmq_ref_axpy(c, a->alpha * left[k * left_step], b + (ptrdiff_t)k * a->ldb, a->n);
        return;
    }
    for (int j = 0; j < a->n; j++) {
        const dmq_real *right = b + (ptrdiff_t)j * a->ldb;
        dmq_real sum = 0;

        if (left_step == 1) {
            sum = dmq_ref_dot(left, right, a->k);
        } else {
            for (int k = 0; k < a->k; k++)
                sum += left[k * left_step] * right[k];
        }
        c[j] += a->alpha * sum;
    }
}

dmq_status dmq_matmul_ref(dmq_queue *queue, const dmq_matmul_args *a)
{
    ptrdiff_t row_step = a->trans_a ? 1 : a->lda;
    ptrdiff_t left_step = a->trans_a ? a->lda : 1;

    (void)queue;
    for (int m = 0; m < a->batch; m++) {
        for (int i = 0; i < a->m; i++) {
            multiply_row(a->c + m * a->stride_c + (ptrdiff_t)i * a->ldc, a,
                         a->a + m * a->stride_a + i * row_step, left_step, a->b + m * a->stride_b);
        }
    }
    return DMQ_OK;
}

dmq_status dmq_col_sum_ref(dmq_queue *queue, const dmq_col_sum_args *a)
{
    (void)queue;
    dmq_ref_start(a->y, a->cols, a->add);
    for (int i = 0; i < a->rows; i++)
        dmq_ref_axpy(a->y, 1, a->x + (ptrdiff_t)i * a->cols, a->cols);
    return DMQ_OK;
}
