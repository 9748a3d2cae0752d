/**
 * Shared by the files of the evaluate stage only.
 */
#ifndef DMQ_RUN_EVALUATE_INNER_H
#define DMQ_RUN_EVALUATE_INNER_H

#include "eval/images.h"
#include "run/judge.h"
#include "run/stage.h"

typedef struct dmq_evaluating {
    dmq_job *job;
    const dmq_config *config;
    const dmq_experiment *e;
    dmq_levels levels;
    dmq_images_file fp, q;
    dmq_json *out;      /**< metrics.json */
    dmq_judge *judge;   /**< NULL: no metric is made of features */
    char *ckpt;         /**< folder of pieces of features */
    char id_levels[32]; /**< "uint8-round": the end of ids */
} dmq_evaluating;

/** Images in memory at once: whole blocks of eval/moments.h, so that the cut changes no bit. */
enum { DMQ_EVALUATE_BATCH = 256 };

/** How many of n images are in the batch that begins at `from`. */
int dmq_evaluate_batch(int n, int from);

/** Whether evaluate.metrics names it. */
int dmq_evaluate_wants(const dmq_config *config, const char *metric);

/** One metric, {"id": ..., "value": ..., "n": ...} under a name. */
dmq_status dmq_evaluate_put(dmq_json *list, const char *name, const char *id, double value, int n);

/** What the metrics of features need: network and reference, each there and fit for the images. */
dmq_status dmq_evaluate_features_check(const dmq_experiment *experiment);

/**
 * With a feature network, against a reference: of the full-precision images and of the quantized ones. A shard that
 * leaves pieces to others sets job->incomplete.
 */
dmq_status dmq_evaluate_features(dmq_evaluating *v, dmq_json *fp, dmq_json *q);

/** Take the features away, when metrics.json is there. */
dmq_status dmq_evaluate_features_clean(const dmq_evaluating *v);

/** What distances of two images need: pixels enough, a network. */
dmq_status dmq_evaluate_pairs_check(const dmq_experiment *experiment);

/**
 * Images of one noise beside each other: as numbers, and where ssim, lpips or psnr is asked for as 8-bit levels. Without
 * `psnr` among the metrics it is told of the numbers.
 */
dmq_status dmq_evaluate_pairs(dmq_evaluating *v, dmq_json *q);

/** The network's output at held-out states of full-precision trajectories. */
dmq_status dmq_evaluate_steps(dmq_evaluating *v, dmq_json *q);

/** What reconstruction left in blocks.json. */
dmq_status dmq_evaluate_blocks(dmq_evaluating *v, dmq_json *q);

/**
 * What the networks weigh and compute: size_mb and its parts, size_first_mb with the decoder at 32 bits (none
 * without a first stage), bops, bops_fp23, macs; each under the id of its convention.
 */
dmq_status dmq_evaluate_costs(dmq_evaluating *v, dmq_json *fp, dmq_json *quantized);

/** Samples to look at, of the full-precision model and of the quantized one from the same noise. */
dmq_status dmq_evaluate_grid(dmq_evaluating *v);

#endif
