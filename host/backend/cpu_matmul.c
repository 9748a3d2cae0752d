#include "backend/cpu_matmul.h"
#include "backend/cpu.h"

#include <dnnl.h>
#include <string.h>

dmq_status dmq_cpu_gemm(int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
                        int lda, const float *b, int ldb, float beta, float *c, int ldc)
{
    dnnl_status_t status = dnnl_sgemm(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', m, n, k, alpha, a,
                                      lda, b, ldb, beta, c, ldc);

    if (status != dnnl_success)
        return dmq_fail(status == dnnl_out_of_memory ? DMQ_ENOMEM : DMQ_EDEVICE,
                        "matmul: oneDNN status %d for m=%d n=%d k=%d", (int)status, m, n, k);
    return DMQ_OK;
}

/*
 * The library takes other ways for a single row, and for less than 16 rows when b is transposed, with
 * other last bits. Filled up to that many rows, a row comes out the same in any batch.
 */
enum { LEAST_ROWS = 16 };

/* One product of the batch, before bias: onto c if add. */
static dmq_status product(const dmq_matmul_args *a, int i, float *c, int add)
{
    return dmq_cpu_gemm(a->trans_a, a->trans_b, a->m, a->n, a->k, a->alpha, a->a + i * a->stride_a,
                        a->lda, a->b + i * a->stride_b, a->ldb, add ? 1.0f : 0.0f, c, a->ldc);
}

static dmq_status few_rows(dmq_queue *queue, const dmq_matmul_args *a, int i, float *c, int add)
{
    dmq_status st = DMQ_OK;
    size_t n = (size_t)a->n, k = (size_t)a->k, m = (size_t)a->m;
    float *rows, *out;
    void *scratch = NULL;

    DMQ_TRY(dmq_cpu_scratch(&scratch, queue, LEAST_ROWS * (n + k) * sizeof(float)));
    rows = scratch;
    out = rows + LEAST_ROWS * k;
    for (size_t r = 0; r < m; r++)
        memcpy(rows + r * k, a->a + i * a->stride_a + (ptrdiff_t)r * a->lda, k * sizeof *rows);
    memset(rows + m * k, 0, (LEAST_ROWS - m) * k * sizeof *rows);
    for (size_t r = 0; r < m; r++)
        memcpy(out + r * n, c + (ptrdiff_t)r * a->ldc, n * sizeof *out);
    memset(out + m * n, 0, (LEAST_ROWS - m) * n * sizeof *out);
    DMQ_TRY(dmq_cpu_gemm(0, a->trans_b, LEAST_ROWS, a->n, a->k, a->alpha, rows, a->k,
                         a->b + i * a->stride_b, a->ldb, add ? 1.0f : 0.0f, out, a->n));
    for (size_t r = 0; r < m; r++)
        memcpy(c + (ptrdiff_t)r * a->ldc, out + r * n, n * sizeof *out);
done:
    return st;
}

/* c += bias, or c = bias, in every row: the product is then added. */
static void bias_rows(const dmq_matmul_args *a, float *c)
{
    for (int i = 0; i < a->m; i++) {
        float *row = c + (ptrdiff_t)i * a->ldc;

        if (a->add)
            for (int j = 0; j < a->n; j++)
                row[j] += a->bias[j];
        else
            for (int j = 0; j < a->n; j++)
                row[j] = a->bias[j];
    }
}

dmq_status dmq_matmul_cpu(dmq_queue *queue, const dmq_matmul_args *a)
{
    dmq_status st = DMQ_OK;
    int threads = dmq_cpu_threads_one();

    for (int i = 0; i < a->batch; i++) {
        float *c = a->c + i * a->stride_c;

        if (a->bias)
            bias_rows(a, c);
        if (!a->trans_a && a->m < LEAST_ROWS)
            DMQ_TRY(few_rows(queue, a, i, c, a->add || a->bias));
        else
            DMQ_TRY(product(a, i, c, a->add || a->bias));
    }
done:
    dmq_cpu_threads_restore(threads);
    return st;
}
