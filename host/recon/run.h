/**
 * Reconstruction of a whole model: the temporal unit, then every unit with quantized layers in order.
 *
 *   for each unit:  open it in the cache, make the block
 *                   learn sample weights     (the caller's: bilevel/ comes later in the layers)
 *                   reconstruct, round hard
 *
 * The temporal unit is learned on its own outputs (TIAR): loss = sum over all embedding values of the
 * squared difference, batches drawn from the timesteps of the training samples; its weights are uniform.
 *
 * A run can be stopped and continued: the caller stores what `save` and `finished` give it and hands it
 * back by `restore`. Files are the caller's affair.
 *
 * @see specs: gac.md 1.3 (algorithm 1), 3.5, 3.8
 */
#ifndef DMQ_RECON_RUN_H
#define DMQ_RECON_RUN_H

#include "recon/order.h"
#include "recon/reconstruct.h"

/** What `restore` found of a unit. */
typedef enum dmq_unit_progress {
    DMQ_UNIT_NEW,
    DMQ_UNIT_STARTED, /**< the state, and s if the unit has weights, were filled in */
    DMQ_UNIT_FINISHED /**< codes and w_quant of its layers were filled in */
} dmq_unit_progress;

/** A unit under way. */
typedef struct dmq_unit_work {
    int unit, number, count; /**< number of count units that are learned */
    const char *name;
    dmq_block *block; /**< NULL while restoring */
    dmq_recon_state *state;
    const int *train; /**< (n_train) in the block's numbers */
    int n_train;
    dmq_real *s; /**< (n_train) logits of the sample weights, zero at the start */
    double tau;
    int weighted; /**< 1: s is used. The temporal unit and uniform runs: 0 */
} dmq_unit_work;

typedef struct dmq_recon_hooks {
    void *context;
    /** Optional. state has its memory; whether anything is there to continue from. */
    dmq_status (*restore)(void *context, dmq_unit_work *work, dmq_unit_progress *progress);
    /** Optional: learn s (and set tau and weighted), theta being state->alpha. Not for the temporal unit. */
    dmq_status (*weigh)(void *context, dmq_unit_work *work);
    /** Optional: a checkpoint. */
    dmq_status (*save)(void *context, const dmq_unit_work *work);
    /** Optional: codes of the unit are final. */
    dmq_status (*finished)(void *context, const dmq_unit_work *work,
                           const dmq_recon_report *report);
} dmq_recon_hooks;

typedef struct dmq_recon_run_config {
    dmq_recon_config recon;
    int temporal_iters; /**< of the temporal unit; 0: as recon.iters, -1: none */
    dmq_unit_order order;
    dmq_cache_config cache; /**< budgets and folder; the rest of it is set by the order and acts */
    int acts; /**< 1: quantize activations in prefix and block; tables must be there */
} dmq_recon_run_config;

/** Reconstruct all of q. ESTOP on a signal, after `save`. */
dmq_status dmq_recon_run(dmq_qmodel *q, const dmq_calib *calib, dmq_lanes *lanes,
                         const dmq_recon_run_config *config, const dmq_recon_hooks *hooks);

/** Iterations of the whole run, for progress. */
double dmq_recon_run_total(const dmq_qmodel *q, const dmq_recon_run_config *config);

/** Slots of the training samples: what the temporal unit's batches are drawn from. (training samples) */
int dmq_temporal_train(const dmq_calib *calib, const dmq_slots *slots, int *out);

#endif
