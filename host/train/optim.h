/**
 * What is learned and what the optimizer remembers: parameters, Adam's moments, and their average.
 *
 *   g    <- g * min(1, clip / |g|)                          clip 0: never
 *   p    <- Adam (kernels/optim.h) with the rate of step k = 1, 2, ...:
 *           lr * min(1, k / warmup) * (lr_end + (1 - lr_end) (1 + cos(pi k / iterations)) / 2)
 *   ema  <- d ema + (1 - d) p,  d = min(ema, (1 + k) / (10 + k)), so that it forgets the beginning
 *
 * Blocks are laid out as dmq_model.params and lie in the backend's memory. Everything is element by element,
 * or a sum in fixed order: the same bits for any number of lanes.
 *
 * The checkpoint holds all of it, one group a block and one array an entry, and the text of the settings: a
 * run continued from it ends with the same bits, and one with other settings is refused.
 */
#ifndef DMQ_TRAIN_OPTIM_H
#define DMQ_TRAIN_OPTIM_H

#include "backend/lanes.h"
#include "model/model.h"

typedef struct dmq_optim_config {
    int iterations;    /**< length of the cosine */
    double lr, lr_end; /**< lr_end: share of lr at the end; 1: no decay */
    int warmup;        /**< steps; 0: none */
    double beta1, beta2, eps;
    double ema;  /**< 0.999 .. 0.9999; 0: the average is the parameters themselves */
    double clip; /**< largest norm of the gradient */
} dmq_optim_config;

typedef struct dmq_optim {
    dmq_optim_config config;
    const dmq_model *model;
    dmq_lanes *lanes;
    dmq_real *p, *m, *v, *ema, *g; /**< (n_params) device memory; g is written by the caller */
    dmq_real *host;                /**< (n_params) for moving them */
    double *norm;                  /**< (n_entries) squares of the gradient, for reading them */
    dmq_mirror norm_place;         /**< where they are written */
    int step;                      /**< done so far */
} dmq_optim;

/** Adam's usual moments (0.9, 0.999, 1e-8), lr 1e-3 to the tenth of it, EMA 0.999, clip 1. */
void dmq_optim_defaults(dmq_optim_config *config);

/** EINVAL with the key's name. */
dmq_status dmq_optim_check(const dmq_optim_config *config);

/** The settings as "key: value" lines at the end of a text in size bytes. */
void dmq_optim_text(char *text, size_t size, const dmq_optim_config *config);

/** From the parameters of the model. model and lanes must outlive the result. */
dmq_status dmq_optim_create(dmq_optim **out, const dmq_model *model, const dmq_optim_config *config,
                            dmq_lanes *lanes);

/** Takes NULL. */
void dmq_optim_destroy(dmq_optim *optim);

/** The rate of step k. */
double dmq_optim_rate(const dmq_optim_config *config, int k);

/** One step by the gradient in g. Allocates nothing. */
dmq_status dmq_optim_step(dmq_optim *optim);

/** Parameters (or, if averaged, their average) into the model's block. */
dmq_status dmq_optim_take(dmq_real *params, dmq_optim *optim, int averaged);

/** settings: whatever else decides the run. */
dmq_status dmq_optim_save(dmq_optim *optim, const char *path, const char *settings);

/** EDATA when the checkpoint was made with other settings; the first line that differs is told. */
dmq_status dmq_optim_load(dmq_optim *optim, const char *path, const char *settings);

#endif
