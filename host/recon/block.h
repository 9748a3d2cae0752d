/**
 * A block under reconstruction: one unit with the weights of its quantized layers as parameters, the
 * inputs that it is really fed and the full-precision results that it should give.
 *
 *   theta  alphas of its layers with weight bits, one behind the other, each in KRSC order
 *   f      the unit on the soft weights of theta and quantized-prefix inputs; y the full-precision result
 *   ell_i  loss of sample i: sum over channels, mean over pixels of (f - y)^2; of the temporal unit the
 *          sum over its embedding values of t, and its samples are the slots of those (calib/slots.h)
 *
 * Prefix caching: what does not depend on theta (norm, SiLU and quantizer in front of the first
 * convolution, a full-precision shortcut) is computed once a sample and kept; a pass gathers rows of it
 * and replays the live part of the tape. A frozen side of the sum at the end (the input, or its shortcut)
 * is taken from the target instead: |a + b - y| = |b - (y - a)|. Passes run over shards of samples
 * (dmq_shard_size) on lanes; their weight gradients are joined in the order of the shards, DMQ_WAVE shards
 * at a time, so neither the number of lanes nor who ran what changes a bit.
 *
 * Everything of the length of theta or of the samples lies in the memory of the lanes' backend, theta
 * itself included. Numbers of samples, weights and losses of a call are host memory.
 *
 * block->problem is the block as problem.h sees it.
 */
#ifndef DMQ_RECON_BLOCK_H
#define DMQ_RECON_BLOCK_H

#include "recon/cache.h"
#include "recon/problem.h"
#include "recon/unit_tape.h"

#define DMQ_WAVE 8

typedef struct dmq_block {
    dmq_problem problem;
    dmq_qmodel *q; /**< not owned, as the next three */
    const dmq_calib *calib;
    dmq_cache *cache;
    dmq_lanes *lanes;
    int unit;
    int temporal;  /**< samples are slots */
    int acts;      /**< inputs of its layers are fake-quantized by their tables */
    int n_layers;  /**< that are learned */
    int *layer;    /**< (n_layers) numbers in the model */
    size_t *place; /**< (model->n_layers) offset in theta, or DMQ_NOT_LEARNED */
    struct dmq_block_inner *inner;
} dmq_block;

/** Layers of a unit that reconstruction can learn: dmq_qmodel_learns. */
int dmq_block_learnable(const dmq_qmodel *q, int unit);

/**
 * The unit must be open in the cache (the temporal unit needs no opening) and stay so while the block
 * lives. Weights start at the codes that q holds.
 *
 * @param acts  1: as above; the tables must be there
 * @return      EINVAL when the unit has no layer to learn
 */
dmq_status dmq_block_create(dmq_block **out, dmq_qmodel *q, const dmq_calib *calib,
                            dmq_cache *cache, dmq_lanes *lanes, int unit, int acts);

/** Takes NULL. */
void dmq_block_destroy(dmq_block *block);

/** Where theta and what is like it live. */
dmq_space *dmq_block_space(const dmq_block *block);

/** alpha whose soft weights are the full-precision ones, clipped to their ranges. (n_theta) */
dmq_status dmq_block_init(dmq_block *block, dmq_real *alpha);

/** Set the weights of the next passes: soft weights of theta, or what w_quant holds. */
dmq_status dmq_block_soften(dmq_block *block, const dmq_real *theta);
dmq_status dmq_block_take_quantized(dmq_block *block);

/** Losses at the weights set; n samples. */
dmq_status dmq_block_losses(dmq_block *block, const int *sample, int n, dmq_real *loss);

typedef struct dmq_block_step {
    dmq_real *alpha, *m, *v; /**< (n_theta) each, backend memory, changed in place */
    double lr, beta1, beta2, eps;
    double reg_weight, reg_beta;
    int step;          /**< 1, 2, ... */
    double *reg_value; /**< out, optional */
} dmq_block_step;

/**
 * One iteration, a plan of one: gradient of sum_i weight[i] ell_{sample[i]} at the weights set (which must be those of
 * alpha), regularizer, Adam, soft weights of the new alpha. Allocates nothing after the first of its n.
 *
 * @param n     1..DMQ_BATCH_MAX
 * @param loss  (n) out: before the step
 */
dmq_status dmq_block_iterate(dmq_block *block, const int *sample, const dmq_real *weight, int n,
                             const dmq_block_step *step, dmq_real *loss);

/** Coming iterations of the same number of samples, for the device to run by itself. */
typedef struct dmq_block_plan {
    int rows, n;                     /**< iterations; samples of each, 1..DMQ_BATCH_MAX */
    const int *sample;               /**< (rows, n) */
    const dmq_real *weight;          /**< (rows, n); NULL: all 1 */
    const dmq_step_scalars *scalars; /**< (rows) */
    dmq_real *alpha, *m, *v;         /**< as of dmq_block_step */
    int regularizer;                 /**< 1: its value is summed too, for dmq_block_iterate */
} dmq_block_plan;

/**
 * Bring a plan to the device; it holds until the next one. All that changes from iteration to iteration is
 * read there, by a counter: an iteration is the same sequence of passes every time, and where a backend
 * can record one (capture_begin of backend.h) it is recorded once and replayed, for as long as n, alpha, m
 * and v are the same. plan and its arrays are copied.
 */
dmq_status dmq_block_plan_set(dmq_block *block, const dmq_block_plan *plan);

/** The next `count` iterations of the plan, each as dmq_block_iterate. Does not wait for them. */
dmq_status dmq_block_run(dmq_block *block, int count);

/** Losses of iterations first..first+count-1 of the plan, (count, n); they must have been run. */
dmq_status dmq_block_plan_losses(dmq_block *block, int first, int count, dmq_real *loss);

/** Round hard by the signs of alpha: codes and w_quant of its layers; they count as learned. */
dmq_status dmq_block_harden(dmq_block *block, const dmq_real *alpha);

/** Share of the rounding variables that are neither 0 nor 1 (by more than 1e-3). */
dmq_status dmq_block_undecided(double *share, const dmq_block *block, const dmq_real *alpha);

/** Bytes of cached inputs that the block holds itself. */
double dmq_block_bytes(const dmq_block *block);

#endif
