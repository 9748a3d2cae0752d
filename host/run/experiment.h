/**
 * An experiment that is open: its configuration, the network, the sampler, and who computes.
 *
 * Opening is where cheap checks are made: the configuration as a whole, the device, the checkpoint and
 * its hash, the sampler. Nothing is computed and nothing is written.
 */
#ifndef DMQ_RUN_EXPERIMENT_H
#define DMQ_RUN_EXPERIMENT_H

#include "backend/lanes.h"
#include "base/config.h"
#include "diffusion/sampler.h"
#include "io/hash.h"
#include "model/model_file.h"
#include "run/first_stage.h"
#include "run/stand_in.h"

typedef struct dmq_experiment {
    const dmq_config *config; /**< the caller's */
    const dmq_backend *backend;
    dmq_lanes *lanes;
    dmq_model *model;
    dmq_model_info info;
    char *model_path;
    char model_hash[DMQ_HASH_TEXT];
    dmq_first_stage first; /**< the decoder behind it, if it makes latents */
    dmq_shape image;       /**< (1, H, W, C) of the images in the end */
    dmq_schedule *schedule;
    dmq_sampler *sampler;
} dmq_experiment;

/** Set what device.precision says; ENOTSUP with the place where the backend cannot. */
dmq_status dmq_experiment_precision(const dmq_backend *backend, const dmq_config *config);

/**
 * @param config   settings that only the checkpoint knows (model.*, schedule.*) are filled in where nobody
 *                 wrote them, so that the configuration that is kept stands alone
 * @param device   "auto", "cpu", ...
 * @param threads  0: as many as there are cores
 * @return         EINVAL naming the key and its place; ENOINPUT with the way to get the checkpoint;
 *                 EDATA when the checkpoint is another than model.sha256 says or does not fit model.*
 */
dmq_status dmq_experiment_open(dmq_experiment **out, dmq_config *config, const char *device,
                               int threads);

/**
 * As dmq_experiment_open, but published networks stand in for checkpoints that are missing (run/stand_in.h).
 *
 * @param missing  gets what is missing; NULL: it is refused
 */
dmq_status dmq_experiment_open_anyway(dmq_experiment **out, dmq_config *config, const char *device,
                                      int threads, dmq_missing *missing);

/** Takes NULL. */
void dmq_experiment_close(dmq_experiment *experiment);

/** The noise schedule of a configuration. */
dmq_status dmq_schedule_from_config(dmq_schedule **out, const dmq_config *config);

/**
 * The sampler of a configuration and its schedule, which the caller frees both. How many steps are made if
 * it is not those asked for is told.
 *
 * @return  EINVAL with the key's place
 */
dmq_status dmq_sampler_from_config(dmq_schedule **schedule, dmq_sampler **sampler,
                                   const dmq_config *config);

/** Sampler settings of a configuration. */
void dmq_sampler_settings(dmq_sampler_config *out, const dmq_config *config);

#endif
