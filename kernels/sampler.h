/**
 * The move of a diffusion sampler after a call of the network, for every element. e is what the network
 * said, guided if two answers are given: e = null + guidance (eps - null).
 *
 *   linear   x' = r x + c e + sigma z
 *   clipped  x0 = (x - sqrt(1-a) e)/sqrt(a), clipped to [-1, 1]
 *            x' = sqrt(a') x0 + d (x - sqrt(a) x0)/sqrt(1-a) + sigma z
 *   kept     q = q_x x + q_e e;  x' = r x + c q + sum over slots of weight * slot + sigma z,
 *            then q and the old x are kept in the slots that `keep` names: multistep and singlestep solvers
 *   learned  as linear, sigma z times exp((f log_max + (1-f) log_min)/2), f = (v + 1)/2, v the second half
 *            of eps
 *
 * All numbers of a call are read from the device, so that moves may be recorded and replayed; the table of
 * their rows is the sampler's (diffusion/moves.h), computed in FP64 and rounded once.
 * A slot of weight 0 is not read; no noise is read where sigma = 0.
 *
 * @see specs: corrections.md 0.2, models.md 5
 */
#ifndef DMQ_KERNELS_SAMPLER_H
#define DMQ_KERNELS_SAMPLER_H

#include "kernels/kernel.h"

enum { DMQ_SAMPLER_SLOTS = 4 };

/** Which of the forms above; one for all calls of a sampler. */
typedef enum dmq_sampler_form {
    DMQ_MOVE_LINEAR,
    DMQ_MOVE_CLIPPED,
    DMQ_MOVE_KEPT,
    DMQ_MOVE_LEARNED
} dmq_sampler_form;

/** The numbers of a call. All of one type: a row of a table of numbers (schedule.h). */
typedef struct dmq_sampler_coef {
    dmq_real r, c, sigma;
    dmq_real sqrt_a, sqrt_1ma, sqrt_an, d; /**< clipped */
    dmq_real q_x, q_e;                     /**< kept */
    dmq_real slot[DMQ_SAMPLER_SLOTS];      /**< kept: weights */
    dmq_real log_min, log_max; /**< learned: logarithms of the least and largest variance */
} dmq_sampler_coef;

typedef struct dmq_sampler_args {
    const dmq_real *x;    /**< (pixels, C) */
    const dmq_real *eps;  /**< (pixels, K), the first C are the noise */
    const dmq_real *null; /**< (pixels, K), what the network said without a condition; optional */
    const dmq_real *z;    /**< (pixels, C), optional if sigma = 0 */
    dmq_real *slots;      /**< (DMQ_SAMPLER_SLOTS, pixels, C); kept only */
    dmq_real *out;        /**< (pixels, C), may be x */
    dmq_real *twin;       /**< (pixels, C), a second copy of out; optional */
    const dmq_sampler_coef *coef; /**< (1) */
    const int *keep;              /**< (2) slots of q and of x, -1: not kept; kept only */
    size_t pixels;                /**< of all samples */
    int channels, eps_channels;   /**< C, K: at least C, 2 C if learned */
    dmq_sampler_form form;
    dmq_real guidance; /**< with null */
    int guided; /**< with null: channels that are guided, the others are those of eps; 1..C */
} dmq_sampler_args;

dmq_status dmq_sampler_update_ref(dmq_queue *queue, const dmq_sampler_args *a);

#endif
