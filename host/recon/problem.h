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
 * Numbers of samples, weights, losses and dots are in host memory: the functions wait for the device.
 *
 * Draws. The functions that end in _of take samples that a device can read, a dmq_draw, and leave all that
 * they compute in the space: they do not wait, and after the first call of their kind with the same numbers
 * of samples they allocate nothing, so that a device may record them.
 */
#ifndef DMQ_RECON_PROBLEM_H
#define DMQ_RECON_PROBLEM_H

#include "recon/space.h"

/** Samples in backend memory. A draw of n samples has `places` of them (dmq_problem), those behind n copies. */
typedef struct dmq_draw {
    const int *
        index; /**< what `index` of the problem wrote: rows of numbers for the places, `stride` apart */
    size_t stride;
    const int
        *sample; /**< (places) the first of these rows in host memory; not read if recordable */
    const dmq_real *weight; /**< (places), 0 from n on */
    dmq_real *loss;         /**< (places) out: undefined from n on; NULL: not wanted */
    int n;
} dmq_draw;

/** Of draws one behind the other, each with as many places, that of a number. */
static inline dmq_draw dmq_draw_run(const dmq_draw *draws, int number, int places)
{
    ptrdiff_t at = (ptrdiff_t)number * places;
    dmq_draw run = *draws;

    run.index += at;
    run.sample += at;
    run.weight += at;
    if (run.loss)
        run.loss += at;
    return run;
}

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

    int index_rows; /**< of a draw's index */
    /** 1: what the functions below ask of the device depends on no number of the host's but those of samples;
        0: rows of samples have to be brought there first. */
    int (*recordable)(const void *context);
    /** Places of a draw of n samples; a multiple of places(1). */
    int (*places)(const void *context, int n);
    /** index (index_rows, places), rows `stride` apart, host memory; samples behind n are copies of the last. */
    void (*index)(const void *context, int *index, size_t stride, const int *sample, int n,
                  int places);

    /** As grad: the weighted sum over a draw. */
    dmq_status (*grad_of)(void *context, const dmq_real *theta, const dmq_draw *draw,
                          dmq_real *grad);

    /** grads (runs, P): as grad_of for `runs` draws of n samples, each places(n) behind the one before. */
    dmq_status (*grad_runs_of)(void *context, const dmq_real *theta, const dmq_draw *draw, int runs,
                               dmq_real *grads);

    /** Points that one call of grad_points_of should have, with draws of n samples: what keeps the device busy and
        its memory has room for, theta and grads of the caller's included; 1..most. */
    int (*points)(const void *context, int n, int most);

    /** grads (points, P): as grad_of, the g-th of the draws, each places(n) behind the one before, at the point
        theta + g P; no more points than `points` says. */
    dmq_status (*grad_points_of)(void *context, const dmq_real *theta, const dmq_draw *draw,
                                 int points, dmq_real *grads);

    /** As grad_each, times the weights. */
    dmq_status (*grad_each_of)(void *context, const dmq_real *theta, const dmq_draw *draw,
                               dmq_real *jacobian);

    /** As jvp; dot (places). */
    dmq_status (*jvp_of)(void *context, const dmq_real *theta, const dmq_draw *draw,
                         const dmq_real *direction, dmq_real *dot);
} dmq_problem;

#endif
