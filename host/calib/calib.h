/**
 * The calibration set: what the full-precision network is fed while it samples, at every sampler step.
 *
 *   x[k][j]  input of step k (k = 0 is pure noise, at the largest t) of sample j, j < per_step
 *
 *   shared   one full-precision trajectory a noise j; its states at all steps are kept. n_steps passes
 *            over per_step samples
 *   fresh    a new noise for every (k, j), run k steps (the released TFMQ-DM recipe): no trajectory is
 *            shared between timesteps, at n_steps/2 times the cost
 *
 * Activation set: all steps, samples 0..per_timestep-1. Weight set: steps 0, c, 2c, ... (c = interval),
 * all per_step samples; its samples are numbered i = slot * per_step + j, slot = place of the step in
 * weight_step. Roles of the weight set, for each of its steps alike in number:
 *
 *   held out     j >= per_timestep: noises that nothing else sees; for measures only
 *   validation   share `validation` of the first per_timestep, at least 1 (0: none), drawn for each step
 *   training     the rest
 *
 * Noise is keyed by (seed, purpose, sample): shared j; fresh k * per_step + j. Nothing depends on lanes.
 * So is the class of a sample, where the network knows classes: uniform over them, one a trajectory.
 *
 * With guidance the network sees every state twice, without and with its label, and both are samples: 2 p
 * and 2 p + 1 of trajectory p, equal in x, step and role, in the order of the joined batch
 * (diffusion/sampler.h). What is counted in samples then counts both, and noise is keyed by the trajectory.
 *
 * @see specs: gac.md 1.7, 2 and 3.2, qdiffusion.md 4.1, models.md 4.6 and 5.7
 */
#ifndef DMQ_CALIB_CALIB_H
#define DMQ_CALIB_CALIB_H

#include "backend/lanes.h"
#include "diffusion/sampler.h"
#include "model/model.h"

#include <stdint.h>

/** Room for a SHA-256 in hexadecimal digits and the NUL. */
#define DMQ_CALIB_HASH 65

typedef struct dmq_calib_config {
    int per_timestep;  /**< calibration samples of each step: 256 */
    int held_out;      /**< further samples of each step that stay unseen: 0 */
    int interval;      /**< every c-th step is in the weight set: 5 */
    double validation; /**< share of per_timestep: 0.05 */
    int fresh;         /**< 0: shared trajectories */
    uint64_t seed;
    int branches; /**< samples of a trajectory at a step; dmq_calib_run sets it: 2 with guidance, else 1 */
} dmq_calib_config;

typedef enum dmq_role { DMQ_TRAIN, DMQ_VALIDATION, DMQ_HELD_OUT } dmq_role;

typedef struct dmq_calib {
    dmq_calib_config config;
    dmq_shape image; /**< (1, H, W, C) */
    int n_steps;     /**< of the sampler */
    int per_step;    /**< per_timestep + held_out */
    dmq_real *t;     /**< (n_steps) given to the network */
    dmq_real *x;     /**< (n_steps, per_step, H, W, C) */
    int *label;      /**< (n_steps, per_step); NULL: the network knows no classes */
    int n_weight_steps;
    int *weight_step; /**< (n_weight_steps) */
    int n;            /**< samples of the weight set: n_weight_steps * per_step */
    uint8_t *role;    /**< (n) */
    char *sampler;    /**< dmq_sampler_text of the sampler */
    char model_hash[DMQ_CALIB_HASH];
    char config_hash[DMQ_CALIB_HASH]; /**< "" unless the caller sets it */
} dmq_calib;

/** per_timestep 256, interval 5, validation 0.05, shared. */
void dmq_calib_defaults(dmq_calib_config *config);

/** EINVAL when the numbers cannot be, against the sampler too. */
dmq_status dmq_calib_check(const dmq_calib_config *config, const dmq_sampler *sampler);

/** Run the full-precision model. EDIVERGE when a state is not finite; ESTOP on a signal. */
dmq_status dmq_calib_run(dmq_calib **out, const dmq_model *model, const dmq_sampler *sampler,
                         const dmq_calib_config *config, dmq_lanes *lanes);

/**
 * A set of that form with normal noise for states, over the first n_steps steps of the sampler: nothing is
 * learned from it, but work on it takes the time and memory of work on a real one.
 */
dmq_status dmq_calib_noise(dmq_calib **out, const dmq_model *model, const dmq_sampler *sampler,
                           int n_steps, const dmq_calib_config *config);

/** Takes NULL. */
void dmq_calib_destroy(dmq_calib *calib);

/** State j of step k. */
const dmq_real *dmq_calib_state(const dmq_calib *calib, int k, int j);

/** Its label; 0 where there are none. */
int dmq_calib_label(const dmq_calib *calib, int k, int j);

/** Sample i of the weight set: its state, its sampler step, its place among the steps of the set. */
const dmq_real *dmq_calib_x(const dmq_calib *calib, int i);
int dmq_calib_step(const dmq_calib *calib, int i);
int dmq_calib_slot(const dmq_calib *calib, int i);

/** Numbers of the samples of a role, ascending; returns how many. out NULL: only count. */
int dmq_calib_list(const dmq_calib *calib, dmq_role role, int *out);

/**
 * Validation samples of timestep group g of k: contiguous steps in denoising order, as equal in number as
 * can be. Returns how many; out NULL: only count.
 */
int dmq_calib_group(const dmq_calib *calib, dmq_role role, int g, int k, int *out);

#endif
