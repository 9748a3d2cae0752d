/**
 * Batched matrix product.
 *
 *   c[b] = alpha * op(a[b]) op(b[b]) + bias   (added to c[b] when add = 1)
 *
 * op(a) is (m, k), op(b) is (k, n); trans_a says that a is stored (k, m). Rows are contiguous with
 * leading dimension ld*; matrices of a batch are stride_* numbers apart (0: shared by the batch).
 * A linear layer y = x W^T + bias is one product with trans_b = 1, batch 1.
 */
#ifndef DMQ_KERNELS_MATMUL_H
#define DMQ_KERNELS_MATMUL_H

#include "kernels/kernel.h"

typedef struct dmq_matmul_args {
    const dmq_real *a, *b;
    dmq_real *c;          /**< not a, not b */
    const dmq_real *bias; /**< (n), optional */
    int batch, m, n, k;
    int trans_a, trans_b;
    int lda, ldb, ldc;
    ptrdiff_t stride_a, stride_b, stride_c;
    dmq_real alpha;
    int add;
} dmq_matmul_args;

dmq_status dmq_matmul_ref(dmq_queue *queue, const dmq_matmul_args *a);

/** y[j] = sum_i x[i, j] in an order that the shape decides: the gradient of a bias. */
typedef struct dmq_col_sum_args {
    const dmq_real *x; /**< (rows, cols) */
    dmq_real *y;       /**< (cols) */
    int rows, cols;
    int add;
} dmq_col_sum_args;

dmq_status dmq_col_sum_ref(dmq_queue *queue, const dmq_col_sum_args *a);

#endif
