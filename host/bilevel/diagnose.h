/**
 * What the log of a block says about alignment: do the timestep groups pull the same way, and do heavy
 * samples point where samples that the weights have not seen want to go?
 */
#ifndef DMQ_BILEVEL_DIAGNOSE_H
#define DMQ_BILEVEL_DIAGNOSE_H

#include "bilevel/hypergradient.h"

/**
 * Cosines between the gradients of the groups' mean losses at theta.
 *
 * @param matrix  (k, k) out, 1 on the diagonal, 0 where a gradient vanishes
 * @param mean    over pairs t < k, out
 */
dmq_status dmq_group_cosines(const dmq_problem *problem, const dmq_real *theta,
                             const dmq_groups *groups, double *matrix, double *mean);

/**
 * Alignment of each training sample with the mean gradient of held-out samples:
 * out[i] = <g_i, gbar>, by one forward-mode pass.
 */
dmq_status dmq_alignment_with(const dmq_problem *problem, const dmq_real *theta, const int *train,
                              int n, const int *held_out, int n_held_out, dmq_real *out);

/** Spearman's rank correlation, ties by mean rank; 0 for fewer than 3 pairs or a constant side. */
dmq_status dmq_spearman(const dmq_real *x, const dmq_real *y, int n, double *rho);

#endif
