/**
 * Sample weights of a block, by the configuration: between the block (recon/), the calibration set
 * (calib/) and the bilevel optimizer (bilevel/), which know nothing of each other.
 */
#ifndef DMQ_RUN_REWEIGHT_H
#define DMQ_RUN_REWEIGHT_H

#include "base/config.h"
#include "recon/block.h"
#include "run/unit_log.h"

/** Settings of the bilevel optimizer; unit numbers its random streams. */
void dmq_reweight_settings(dmq_learn_config *out, const dmq_config *config, int unit);

/**
 * Learn the weights of a block's training samples: s (n_train) logits. Fills log's weights, spearman.
 *
 * @param recon  for the point "warmup": its learning rate and batch
 */
dmq_status dmq_reweight_block(dmq_block *block, const dmq_config *config, const dmq_calib *calib,
                              const int *train, int n_train, const int *held, int n_held,
                              const dmq_recon_config *recon, dmq_real *s, dmq_unit_log *log);

/** Timestep groups: reweight.groups, but no more than the weight set has timesteps. */
int dmq_reweight_groups(const dmq_config *config, const dmq_calib *calib);

/**
 * Samples of a role by timestep group.
 *
 * @param memory  (calib->n) room that out points into
 * @return        EINVAL when a group has none
 */
dmq_status dmq_reweight_groups_of(dmq_groups *out, int *memory, const dmq_calib *calib,
                                  dmq_role role, const dmq_config *config);

/** Cosines between the gradients of the timestep groups on validation samples, at alpha. */
dmq_status dmq_reweight_cosines(dmq_block *block, const dmq_config *config, const dmq_calib *calib,
                                const dmq_real *alpha, double *mean, double *matrix);

/** Mean held-out loss of each timestep group at the weights that the block holds. */
dmq_status dmq_reweight_group_losses(dmq_block *block, const dmq_config *config,
                                     const dmq_calib *calib, double *loss);

#endif
