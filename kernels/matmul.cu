/* Products by a kernel of our own: what a library does not take, and what runs thread by thread on a
   host. */
#include "kernels/gemm.cuh"

extern "C" {
#include "kernels/matmul.h"
}

enum { BATCHES_MOST = 65535 };

template <int T, bool TRANS_A, bool TRANS_B>
static __global__ void __launch_bounds__(DMQ_GEMM_BLOCK)
    product(dmq_matmul_args a, bool four_a, bool four_b)
{
    int m0 = (int)blockIdx.x * 16 * T, n0 = (int)blockIdx.y * 16 * T;

    for (int i = (int)blockIdx.z; i < a.batch; i += (int)gridDim.z) {
        dmq_gemm_matrix<!TRANS_A> left = {
            a.a + i * a.stride_a, (size_t)a.lda, a.m, a.k, four_a, 0
        };
        dmq_gemm_matrix<TRANS_B> right = {
            a.b + i * a.stride_b, (size_t)a.ldb, a.n, a.k, four_b, 0
        };
        dmq_real *c = a.c + i * a.stride_c;
        float acc[T][T];

        left.at(m0 + dmq_gemm_line<T, !TRANS_A>());
        right.at(n0 + dmq_gemm_line<T, TRANS_B>());
        dmq_gemm_zero(acc);
        dmq_gemm_tile(acc, left, right, a.k);
        dmq_gemm_each(acc, m0, n0, a.m, a.n, [&](int m, int n, float sum) {
            dmq_real *to = c + (size_t)m * a.ldc + n;
            float value = a.alpha * sum + (a.bias ? a.bias[n] : 0);

            *to = a.add ? *to + value : value;
        });
    }
}

template <int T> static dmq_status launch(dmq_queue *queue, const dmq_matmul_args *a)
{
    dim3 grid(dmq_gemm_tiles(a->m, T), dmq_gemm_tiles(a->n, T),
              a->batch < BATCHES_MOST ? (unsigned)a->batch : (unsigned)BATCHES_MOST);
    bool fa = dmq_gemm_four(a->a, a->lda) && a->stride_a % 4 == 0;
    bool fb = dmq_gemm_four(a->b, a->ldb) && a->stride_b % 4 == 0;

    if (a->trans_a && a->trans_b)
        return DMQ_LAUNCH((product<T, true, true>), grid, DMQ_GEMM_BLOCK, 0, queue, *a, fa, fb);
    if (a->trans_a)
        return DMQ_LAUNCH((product<T, true, false>), grid, DMQ_GEMM_BLOCK, 0, queue, *a, fa, fb);
    if (a->trans_b)
        return DMQ_LAUNCH((product<T, false, true>), grid, DMQ_GEMM_BLOCK, 0, queue, *a, fa, fb);
    return DMQ_LAUNCH((product<T, false, false>), grid, DMQ_GEMM_BLOCK, 0, queue, *a, fa, fb);
}

DMQ_DEVICE(dmq_matmul_plain)(dmq_queue *queue, const dmq_matmul_args *a)
{
    return dmq_gemm_large(a->m, a->n, (unsigned)a->batch) ? launch<8>(queue, a)
                                                          : launch<4>(queue, a);
}
