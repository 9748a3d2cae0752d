/**
 * One matrix product in row-major order, c = alpha op(a) op(b) + beta c, single-threaded; beta is 0 or 1
 * and with 0 c is not read. The caller has made the thread single-threaded (dmq_cpu_threads_one).
 */
#ifndef DMQ_BACKEND_CPU_MATMUL_H
#define DMQ_BACKEND_CPU_MATMUL_H

#include "backend/backend.h"

dmq_status dmq_cpu_gemm(int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
                        int lda, const float *b, int ldb, float beta, float *c, int ldc);

#endif
