/**
 * AdaRound reconstruction of a block under sample weights (the inner problem in full).
 *
 *   iteration c = 1..I:  B = batch of the training samples (calib/batch.h: by seed, unit, c)
 *                        loss = sum_{i in B} w_i ell_i + round_weight * sum (1 - |2h - 1|^beta(c))
 *                        w = softmax(s_B / tau), or 1/|B| without s; Adam on alpha
 *   schedule             c < warmup I: no regularizer;  else
 *                        beta(c) = beta_lo + (beta_hi - beta_lo) max(0, 1 - (c - warmup I)/(I - warmup I))
 *   end                  round hard by the signs of alpha
 *
 * Losses are reported at nearest rounding (what the codes were before) and at the final hard rounding, on
 * training samples (at most eval_samples of them, evenly spaced) and on held-out ones. A final training
 * loss above nearest's is told as the warning "not-better".
 *
 * @see specs: gac.md 1.3 step 4d, 2 and 3.4, qdiffusion.md 2.3, 2.4 and 9
 */
#ifndef DMQ_RECON_RECONSTRUCT_H
#define DMQ_RECON_RECONSTRUCT_H

#include "recon/block.h"

typedef struct dmq_recon_config {
    int iters;               /**< 20000; 0: nearest rounding stays */
    int batch;               /**< 32; at most DMQ_BATCH_MAX */
    double lr;               /**< 1e-3 */
    double round_weight;     /**< 0.01 */
    double beta_hi, beta_lo; /**< 20, 2 */
    double warmup;           /**< share of the iterations: 0.2 */
    int eval_samples;        /**< 512; 0: all */
    int checkpoint_every;    /**< iterations; 0: only when stopped */
    uint64_t seed;
} dmq_recon_config;

void dmq_recon_defaults(dmq_recon_config *config);

/** EINVAL with the key ("recon.batch = 0: ..."). */
dmq_status dmq_recon_check(const dmq_recon_config *config);

/** beta of iteration c (1..iters) and whether the regularizer acts: 0 before the end of the warm-up. */
double dmq_recon_beta(const dmq_recon_config *config, int c, int *active);

/** Everything that changes: what a checkpoint holds. Blocks of n_theta numbers in backend memory. */
typedef struct dmq_recon_state {
    dmq_space space;
    dmq_real *alpha, *m, *v;
    size_t n_theta;
    int iteration; /**< done so far */
} dmq_recon_state;

/** Room on the lanes' backend: alpha undefined, moments zero, iteration 0. */
dmq_status dmq_recon_state_room(dmq_recon_state **out, dmq_lanes *lanes, size_t n_theta);

/** alpha by init, moments zero, iteration 0. */
dmq_status dmq_recon_state_create(dmq_recon_state **out, dmq_block *block);
void dmq_recon_state_destroy(dmq_recon_state *state); /**< takes NULL */

/** Its blocks to and from host memory: alpha, m and v one behind the other, (3, n_theta). */
dmq_status dmq_recon_state_get(dmq_real *host, const dmq_recon_state *state);
dmq_status dmq_recon_state_put(dmq_recon_state *state, const dmq_real *host);

/** What is reported of a block. */
typedef struct dmq_recon_report {
    double nearest_train, nearest_held; /**< mean loss before; held: 0 without held-out samples */
    double final_train, final_held;     /**< at the hard rounding */
    double soft_train;                  /**< at the end, before rounding hard */
    double undecided;             /**< share of rounding variables neither 0 nor 1 at the end */
    double first_loss, last_loss; /**< of the first and last batch, without regularizer */
    int iterations;
    int not_better; /**< final_train > nearest_train */
    double seconds;
} dmq_recon_report;

typedef struct dmq_recon_job {
    const int *train; /**< samples to learn from, in the block's numbers */
    int n_train;
    const int *held_out; /**< optional */
    int n_held_out;
    const dmq_real *s; /**< (n_train) logits of the sample weights; NULL: uniform */
    double tau;        /**< temperature of s */
    uint64_t unit;     /**< number of the unit: its own stream of batches */
    /** Called every checkpoint_every iterations and before stopping; optional. */
    dmq_status (*checkpoint)(void *context, const dmq_recon_state *state);
    void *context;
} dmq_recon_job;

/**
 * @param state  where to start: made by dmq_recon_state_create or filled from a checkpoint. A run that was
 *               stopped and continued ends with the bits of one that was not
 * @return       ESTOP after the checkpoint on a signal; EDIVERGE when a loss is not finite
 */
dmq_status dmq_reconstruct(dmq_block *block, const dmq_recon_config *config,
                           const dmq_recon_job *job, dmq_recon_state *state,
                           dmq_recon_report *report);

#endif
