/**
 * Products with a stored Jacobian, J = [g_1 ... g_n], g_i (count) a row: skinny in n and in the number m
 * of vectors, long in count. J is read from memory once for all m.
 *
 *   times   out (m, count):  out[l] = sum_i v[l][i] g_i             in the order of i
 *   dots    out (m, n):      out[l][i] = <g_i, x[l]>                in double, in a fixed order
 *
 * dots with n = m = 1 is a dot product, with x = rows it is the Gram matrix of the rows. With pairs, of as many
 * rows of both: dots[i] = <g_i, x[i]>, the bits of n such products of their own.
 *
 * The columns are cut into pieces of DMQ_JACOBIAN_COLUMNS, whose sums are joined in their order. So a
 * caller may have runs of whole pieces computed elsewhere, and add their results in order: the same bits.
 *
 * Within a piece the reference has 32 partial sums, columns dealt to them in turn, what is left over
 * (count mod 32 columns) to the first; they are joined in their order.
 *
 * @see specs: performance.md 3.3 (7, 8) and 3.4
 */
#ifndef DMQ_KERNELS_JACOBIAN_H
#define DMQ_KERNELS_JACOBIAN_H

#include "kernels/kernel.h"

#define DMQ_JACOBIAN_COLUMNS 2048

typedef struct dmq_jacobian_args {
    const dmq_real *rows; /**< (n, count), rows ld apart; may be x for dots */
    const dmq_real *v;    /**< (m, n); times */
    dmq_real *out;        /**< (m, count), rows ld_out apart, none of the others; times */
    const dmq_real *x;    /**< (m, count), rows ld_x apart, with pairs (n, count); dots */
    double *dots;         /**< (m, n); dots */
    int n, m;
    int pairs; /**< dots: 1: a row with its own vector alone; m is 1 */
    size_t count, ld, ld_out, ld_x;
} dmq_jacobian_args;

dmq_status dmq_jacobian_times_ref(dmq_queue *queue, const dmq_jacobian_args *a);
dmq_status dmq_jacobian_dots_ref(dmq_queue *queue, const dmq_jacobian_args *a);

#endif
