/**
 * Learn one weight for every training sample of a block, before the block is reconstructed.
 *
 *   w = softmax(s / tau) over a batch; s starts at 1/32 for every sample; Adam on the s of the batch
 *
 *   one_shot  d = dL/dw once over all training samples at uniform weights, then the loop over s uses
 *             that d: at inner steps that move theta by less than 4e-4 rms, d does not depend on w
 *   exact     Algorithm 2: every iteration draws a batch and validation samples of each group and
 *             evaluates the hypergradient at the present weights: on the device, by plans (meta.h)
 *
 * The Jacobian is kept where it takes at most 1 GiB, unless matrix_free is asked for: the surrogate form
 * reads it 2 K + 3 times.
 *
 * Iterations = visits * n_train / batch. d is divided by its own rms (median over the first eight
 * iterations in exact mode): Adam's epsilon would otherwise decide, since d is about 1e-9. Stops when
 * the effective sample size (sum w)^2 / (n sum w^2) over all training samples falls below ess_stop,
 * with the weights before that step.
 *
 * permute: the learned weights, randomly permuted over the samples: the control without which a table
 * proves nothing.
 *
 * @see specs: gac.md 1.3, 1.6, 1.7, 7; gac_study.md
 */
#ifndef DMQ_BILEVEL_LEARN_H
#define DMQ_BILEVEL_LEARN_H

#include "bilevel/gm_weight.h"
#include "bilevel/hypergradient.h"

typedef enum dmq_weight_mode { DMQ_ONE_SHOT, DMQ_EXACT } dmq_weight_mode;

typedef struct dmq_learn_config {
    dmq_gm_form form;
    dmq_weight_mode mode;
    dmq_gm_weight gm_weight;
    double rho_0; /**< <= 0: the policy's own (1, capped 0.3) */
    int cosine, normalize, matrix_free, permute;
    double tau;
    double visits;        /**< times that the loop meets each sample: 7 */
    double lr;            /**< 0.05 */
    int batch;            /**< 32 */
    int validation_batch; /**< samples of each group in an exact iteration: 8; 0: all */
    double ess_stop;      /**< 0.9; 0: never */
    double eta_move;      /**< inner step as rms move of theta: 1e-4 */
    double eta;           /**< > 0: the inner step itself, overrules eta_move */
    uint64_t seed;
    uint64_t unit; /**< number of the block: its own random streams */
} dmq_learn_config;

void dmq_learn_defaults(dmq_learn_config *config);

/** Bytes of the Jacobian that learning on n_train samples keeps; 0: it goes without. */
size_t dmq_learn_jacobian_bytes(const dmq_learn_config *config, size_t n_theta, int n_train);

/** What the log of a block says. */
typedef struct dmq_learn_log {
    double loss_mse,
        loss_gm; /**< outer loss at uniform weights (one_shot) or at the last iteration */
    double rho, cosine_mse_gm, lambda, eta, move;
    double ess;          /**< of the weights returned, 1: uniform */
    double w_max;        /**< largest weight times n: 1 is uniform */
    double group_cosine; /**< mean pairwise cosine of the groups' gradients */
    int iterations, stopped_by_ess;
    double seconds;
} dmq_learn_log;

/**
 * @param problem  the block at theta (its point of J); theta is not changed
 * @param train    n_train sample numbers
 * @param groups   validation samples by timestep group
 * @param s        (n_train) out: logits; the weights of a batch are softmax(s/tau) over the batch
 */
dmq_status dmq_learn_weights(const dmq_problem *problem, const dmq_real *theta, const int *train,
                             int n_train, const dmq_groups *groups, const dmq_learn_config *config,
                             dmq_real *s, dmq_learn_log *log);

/** Effective sample size of softmax(s / tau), as a share of n, and the largest weight times n. */
double dmq_ess(const dmq_real *s, int n, double tau, double *w_max);

#endif
