/**
 * A block under reconstruction, seen as a function of its rounding: what the bilevel optimizer needs
 * of it and nothing else.
 *
 *   theta (P)     all alphas of the block's quantized layers, one behind the other
 *   ell_i(theta)  loss of sample i: distance of the block's output on the quantized-prefix input to the
 *                 full-precision output, reduced as gac.md 1.1. No 1/n, no rounding regularizer.
 *
 * Samples are numbered over everything that the block has cached: training, validation and held-out
 * samples live in one numbering. Calls are deterministic: the same arguments give the same bits for any
 * number of threads. theta is not changed by any of them.
 *
 * theta, gradients, rows of the Jacobian and directions live where `space` says: memory of a backend.
 * Numbers of samples, weights, losses and dots are in host memory.
 */
#ifndef DMQ_RECON_PROBLEM_H
#define DMQ_RECON_PROBLEM_H

#include "recon/space.h"

typedef struct dmq_problem {
    void *context;
    size_t n_theta;
    int n_samples;
    dmq_space *space; /**< not owned */

    /**
     * grad = sum_i weight[i] * d ell_{sample[i]} / d theta     (weight NULL: all 1; signs are free)
     * loss[i] = ell_{sample[i]}(theta), optional
     */
    dmq_status (*grad)(void *context, const dmq_real *theta, const int *sample,
                       const dmq_real *weight, int n, dmq_real *grad, dmq_real *loss);

    /** jacobian (n, P): row i is d ell_{sample[i]} / d theta. loss as above. As many samples in a pass as the
        backend likes; a row does not depend on the others, to the rounding of a backend whose algorithms know
        the size of a batch. */
    dmq_status (*grad_each)(void *context, const dmq_real *theta, const int *sample, int n,
                            dmq_real *jacobian, dmq_real *loss);

    /** dot[i] = < d ell_{sample[i]} / d theta, direction >, by one forward-mode pass. */
    dmq_status (*jvp)(void *context, const dmq_real *theta, const int *sample, int n,
                      const dmq_real *direction, dmq_real *dot);

    /** loss[i] = ell_{sample[i]}(theta). */
    dmq_status (*loss)(void *context, const dmq_real *theta, const int *sample, int n,
                       dmq_real *loss);
} dmq_problem;

#endif
