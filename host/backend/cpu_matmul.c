#include "backend/cpu_matmul.h"
#include "backend/cpu.h"

#include <dnnl.h>

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

    (void)queue;
    for (int i = 0; i < a->batch; i++) {
        float *c = a->c + i * a->stride_c;

        if (a->bias)
            bias_rows(a, c);
        DMQ_TRY(dmq_cpu_gemm(a->trans_a, a->trans_b, a->m, a->n, a->k, a->alpha,
                             a->a + i * a->stride_a, a->lda, a->b + i * a->stride_b, a->ldb,
                             a->add || a->bias ? 1.0f : 0.0f, c, a->ldc));
    }
done:
    dmq_cpu_threads_restore(threads);
    return st;
}
