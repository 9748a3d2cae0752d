/**
 * What a configuration says to each part, in that part's own words.
 *
 * Stages, forecasts and checks read it here, so that none of them can understand a key differently.
 */
#ifndef DMQ_RUN_SETTINGS_H
#define DMQ_RUN_SETTINGS_H

#include "base/config.h"
#include "calib/calib.h"
#include "quant/policy.h"
#include "quant/ranges.h"
#include "quant/tables.h"
#include "recon/run.h"

void dmq_calib_settings(dmq_calib_config *out, const dmq_config *config);

void dmq_ranges_settings(dmq_ranges_config *out, const dmq_config *config);

void dmq_recon_settings(dmq_recon_config *out, const dmq_config *config);

/** recon included. Rows on disk lie in the folder DMQ_SCRATCH, if it is set. */
void dmq_recon_run_settings(dmq_recon_run_config *out, const dmq_config *config);

void dmq_tables_settings(dmq_tables_config *out, const dmq_config *config);

/** The policy of quant.* over the layers of a model; EINVAL with the key's place. (model->n_layers) */
dmq_status dmq_policy_settings(dmq_choice *choice, const dmq_config *config,
                               const dmq_model *model);

#endif
