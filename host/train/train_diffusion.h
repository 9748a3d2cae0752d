/**
 * Training a diffusion model: predict the noise.
 *
 *   x_t = sqrt(alpha-bar_t) x_0 + sqrt(1 - alpha-bar_t) eps
 *   loss = mean over the batch of the mean over C, H, W of (eps - network(x_t, t))^2
 *
 * Sample b of iteration i has image number i * batch + b of the data set (modulo its count, or
 * config.images), noise (seed, DMQ_FOR_TRAIN_NOISE, b, i), and the time
 *   t = floor(T * (b + u) / batch),  u uniform by (seed, DMQ_FOR_TRAIN_TIME, b, i)
 * so that each batch covers all times evenly; with `even` 0, t = floor(T u).
 *
 * @see specs: models.md 1; Ho et al., arXiv:2006.11239, algorithm 1
 */
#ifndef DMQ_TRAIN_TRAIN_DIFFUSION_H
#define DMQ_TRAIN_TRAIN_DIFFUSION_H

#include "diffusion/schedule.h"
#include "train/dataset.h"
#include "train/trainer.h"

typedef struct dmq_train_diffusion_config {
    dmq_train_config train;
    uint64_t images; /**< the first so many of the data set; 0: all */
    int even;        /**< 1 */
} dmq_train_diffusion_config;

void dmq_train_diffusion_defaults(dmq_train_diffusion_config *config);

/**
 * Train from the model's parameters as they are (model/init.h for a fresh start); at the end they are the
 * average. The others as in dmq_train_run.
 *
 * @param settings  room for the settings of the run, for the model's file; NULL if not wanted
 * @return          also EINVAL when data set and network do not fit
 */
dmq_status dmq_train_diffusion(dmq_model *model, char settings[DMQ_TRAIN_TEXT],
                               const dmq_schedule *schedule, const dmq_dataset *set,
                               const dmq_train_diffusion_config *config, dmq_lanes *lanes,
                               const dmq_train_place *place, const dmq_train_watch *watch,
                               dmq_train_result *result);

#endif
