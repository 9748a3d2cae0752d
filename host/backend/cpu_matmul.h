/**
 * One matrix product in row-major order, c = alpha op(a) op(b) + beta c, single-threaded; beta is 0 or 1
 * and with 0 c is not read; k >= 1. The caller has made the thread single-threaded (dmq_cpu_threads_one).
 *
 *   dmq_cpu_gemm        oneDNN's with AVX-512, else plain
 *   dmq_cpu_gemm_plain  ours; a row of c is the same among any others
 */
#ifndef DMQ_BACKEND_CPU_MATMUL_H
#define DMQ_BACKEND_CPU_MATMUL_H

#include "backend/backend.h"

dmq_status dmq_cpu_gemm(int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
                        int lda, const float *b, int ldb, float beta, float *c, int ldc);

void dmq_cpu_gemm_plain(int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
                        int lda, const float *b, int ldb, float beta, float *c, int ldc);

#endif
