/**
 * Sums of short vectors in host memory, over samples and groups, in double and in a fixed order. Long
 * vectors, of the length of theta, are recon/space.h's.
 */
#ifndef DMQ_BILEVEL_VEC_H
#define DMQ_BILEVEL_VEC_H

#include "kernels/kernel.h"

double dmq_vec_dot(const dmq_real *x, const dmq_real *y, size_t n);
double dmq_vec_norm(const dmq_real *x, size_t n);

/** y = alpha x + beta y, y may be x; beta = 0 does not read y. */
void dmq_vec_axpby(dmq_real *y, double beta, const dmq_real *x, double alpha, size_t n);

#endif
