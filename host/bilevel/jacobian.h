/**
 * Products with a stored Jacobian, J = [g_1 ... g_n] with g_i (P) as row i of `rows`, for m vectors at
 * once: J is read from memory once for all of them.
 *
 *   times  out (m, P):  out[l] = sum_i v[l][i] g_i         in the order of i
 *   dots   out (m, n):  out[l][i] = <g_i, x[l]>            in double
 *
 * The P columns are cut into pieces of a fixed size, which problem->each may share out; sums over pieces
 * are joined in their order, so that the same bits come out for any number of threads.
 */
#ifndef DMQ_BILEVEL_JACOBIAN_H
#define DMQ_BILEVEL_JACOBIAN_H

#include "recon/problem.h"

/** v (m, n). */
dmq_status dmq_jacobian_times(dmq_real *out, const dmq_problem *problem, const dmq_real *rows,
                              int n, const dmq_real *v, int m);

/** x (m, P); sums: scratch of dmq_jacobian_sums numbers. */
dmq_status dmq_jacobian_dots(dmq_real *out, const dmq_problem *problem, const dmq_real *rows, int n,
                             const dmq_real *x, int m, double *sums);
size_t dmq_jacobian_sums(const dmq_problem *problem, int n, int m);

#endif
