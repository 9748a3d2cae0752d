/**
 * What scores images by the keys of evaluate.*: the feature network and the reference, both open.
 *
 * evaluate.reference is, in this order: a data set's name; a file of statistics (eval/reference.h); a set of images
 * (eval/image_set.h), whose statistics are made here once and kept in the store under a hash of the extractor's id and of
 * the images themselves, so that a sweep makes them once. The images are read to be hashed whenever they are the
 * reference; of a large folder `dmq evaluate --make-reference` makes a file.
 *
 * The name of a reference in ids:
 *
 *   shapes16-heldout-5000                  a procedural set
 *   cifar10-train                          well known, all of it
 *   church-3fa0c1d2e4b5                    other images: the name of file or folder, and of the hash of their levels
 *   VIRTUAL_imagenet256_labeled-8ab1...    statistics of an npz: its stem and the hash of the file; with "-unstated"
 *                                          where neither it nor evaluate.reference_features tells whose features
 */
#ifndef DMQ_RUN_JUDGE_H
#define DMQ_RUN_JUDGE_H

#include "base/config.h"
#include "eval/score.h"
#include "io/json.h"

typedef struct dmq_judge_config {
    const dmq_config *config;
    dmq_lanes *lanes;
    int h, w, c; /**< of the images to be scored; 0: nothing is to be checked against them */
    int64_t n;   /**< how many; 0: not known */
    const dmq_feature_set *ready; /**< features that are there: no network is opened; NULL: none */
    const char *levels;           /**< the end of ids */
    const char *folder;           /**< where pieces of features lie meanwhile; NULL: in memory */
    const char *store;            /**< where statistics of a reference are kept; NULL: nowhere */
    int shard, n_shards, merge;   /**< of the reference's images, as in dmq_feature_job */
} dmq_judge_config;

typedef struct dmq_judge {
    dmq_judge_config at;
    unsigned metrics;          /**< of evaluate.metrics: 1 << dmq_metric */
    dmq_extractor *extractor;  /**< NULL: features are ready, or no metric needs any */
    char id[DMQ_EXTRACTOR_ID]; /**< of the extractor, also of ready features */
    dmq_reference *reference;  /**< NULL: no metric needs one */
    dmq_scorer *scorer;        /**< NULL where pieces of the reference are left to other shards */
    int missing;               /**< those pieces */
    int64_t pieces;            /**< images of the reference whose pieces lie in the folder */
} dmq_judge;

/** Metrics of evaluate.metrics that are made of features. */
unsigned dmq_judge_metrics(const dmq_config *config);

/** Network and reference, each there and fit for the images; what is missing is told at once. Computes nothing. */
dmq_status dmq_judge_check(const dmq_judge_config *config);

/** What evaluate.reference names: either *set is opened, or *path is a file of statistics. */
dmq_status dmq_judge_find_reference(dmq_image_set **set, char **path, const dmq_judge_config *at);

/** Opens the network and opens or makes the reference. */
dmq_status dmq_judge_create(dmq_judge **out, const dmq_judge_config *config);

/** Takes NULL. */
void dmq_judge_destroy(dmq_judge *judge);

/** Take pieces of the reference away, when its statistics are not needed any more. */
dmq_status dmq_judge_clean(const dmq_judge *judge);

/**
 * Statistics of a set of images: mean and covariance of all, features of the first `rows` ones.
 *
 * @param name   the part of ids; NULL: by the set and its hash
 * @param place  where the images are, for the name
 * @param out    NULL where *missing pieces are left to other shards
 */
dmq_status dmq_judge_reference(dmq_reference **out, int *missing, const dmq_feature_job *job,
                               const char *name, const char *place, int64_t rows);

/** The images of evaluate.reference, or of another place, prepared as evaluate.prepare says. */
dmq_status dmq_judge_images(dmq_image_set **out, const dmq_config *config, const char *place,
                            int size);

/** {"fid": {"id": ..., "value": ..., "n": ...}, ...} into an object that may hold others already. */
dmq_status dmq_scores_put(dmq_json *list, const dmq_scores *scores);

#endif
