/**
 * Metrics of features, each with an id: what was measured, with which network and resize, against which reference, how
 * many images, and how they became 8-bit. Numbers whose ids differ do not stand in one column.
 *
 *   fid        fid50k/inception-2015-12-05/tf1-resize/cifar10-train/uint8-round        pool, Inception alone
 *   sfid       sfid50k/...                                                             spatial
 *   fd         fd2048/9f2c04b1a6de/shapes16-heldout-5000/uint8-round                   pool of a network of ours
 *   is         is50k/inception-2015-12-05/tf1-resize/10-splits-shuffled/uint8-round    logits
 *              is2048/9f2c04b1a6de/1-split                                             of a network of ours
 *   precision  precision50k/.../k3/cifar10-train-10000/uint8-round                     pool; recall, density, coverage
 *   kid        kid50k/.../100x1000/cifar10-train-10000/uint8-round                     pool
 *
 * 50k is 50000: whole thousands, but not in the ids of fd and is of our own networks, which are older. The numbers at
 * the end of precision and kid are rows of the reference.
 *
 * @see specs: models.md 6.3 to 6.6
 */
#ifndef DMQ_EVAL_SCORE_H
#define DMQ_EVAL_SCORE_H

#include "eval/feature_set.h"
#include "eval/frechet.h"
#include "eval/manifold.h"
#include "eval/reference.h"

typedef enum dmq_metric {
    DMQ_METRIC_FID,
    DMQ_METRIC_SFID,
    DMQ_METRIC_FD,
    DMQ_METRIC_IS,
    DMQ_METRIC_PRECISION,
    DMQ_METRIC_RECALL,
    DMQ_METRIC_DENSITY,
    DMQ_METRIC_COVERAGE,
    DMQ_METRIC_KID,
    DMQ_METRICS
} dmq_metric;

/** "fid", "sfid", ...: as evaluate.metrics and metrics.json name them. */
extern const char *const dmq_metric_names[DMQ_METRICS];

/** Room for an id. */
enum { DMQ_SCORE_ID = 320 };

enum { DMQ_COUNT_TEXT = 24 };

/** "50k", "2048" */
void dmq_count_text(char out[DMQ_COUNT_TEXT], int64_t n);

typedef struct dmq_score_config {
    unsigned metrics; /**< 1 << dmq_metric */
    int splits;       /**< of is; 0: 10 of 1008 classes (Inception), else 1 */
    int shuffled;     /**< of is: torch-fidelity's order, else as they come */
    int k;            /**< neighbours of precision, recall, density, coverage */
    int kid_subsets, kid_size;
    int resamples;      /**< of the images, for intervals of fid, sfid, fd and is; 0: none */
    const char *levels; /**< the end of an id: "uint8-round", "uint8-given" */
} dmq_score_config;

typedef struct dmq_score {
    dmq_metric metric;
    char id[DMQ_SCORE_ID];
    double value;
    double sd;     /**< over parts or subsets; NaN: there are none */
    int64_t n;     /**< images */
    int resamples; /**< 0: there is no interval */
    dmq_interval
        interval; /**< of 0.95: what another draw of as many images would change (interval.h) */
} dmq_score;

typedef struct dmq_scores {
    dmq_score score[DMQ_METRICS]; /**< in the order of dmq_metric */
    int count;
} dmq_scores;

/** A reference that is ready for any number of sets. */
typedef struct dmq_scorer {
    dmq_score_config config;
    const dmq_reference *reference; /**< NULL: none of the metrics needs one */
    dmq_gaussian *law, *law_spatial;
    dmq_balls *balls; /**< about the reference's rows */
} dmq_scorer;

/** Whether any of these metrics needs a reference / its rows / its spatial statistics. */
int dmq_metrics_compare(unsigned metrics);
int dmq_metrics_need_rows(unsigned metrics);
int dmq_metrics_need_spatial(unsigned metrics);

/**
 * Which kinds of features these metrics need are there.
 *
 * @param width         (DMQ_FEATURE_KINDS), as dmq_feature_set.width
 * @param is_inception  as dmq_extractor's
 * @return              EINVAL naming the metric and what would give it
 */
dmq_status dmq_metrics_check(unsigned metrics, const int *width, int is_inception);

/** Statistics and rows that these metrics need are in the reference: EDATA naming what it lacks. */
dmq_status dmq_metrics_check_reference(const dmq_score_config *config,
                                       const dmq_reference *reference);

/** EINVAL naming the key when n images are too few for splits, neighbours or subsets. */
dmq_status dmq_metrics_check_count(const dmq_score_config *config, int64_t n, int classes);

/**
 * @param reference  must outlive it; its name is the part of the ids, its extractor that of the sets
 * @return           EDATA naming what the reference lacks
 */
dmq_status dmq_scorer_create(dmq_scorer **out, const dmq_score_config *config,
                             const dmq_reference *reference);

/** Takes NULL. */
void dmq_scorer_destroy(dmq_scorer *scorer);

/**
 * All metrics of a set. Its rows are loaded kind by kind and dropped.
 *
 * @param extractor  the part of the ids that names it; "features-..." is a network of ours
 * @return           EINVAL where images that come class by class would be split as they come (is is then far too small;
 *                   where only the network's guess says so a warning [class-sorted]); ESHAPE with both widths
 */
dmq_status dmq_scorer_run(dmq_scores *out, const dmq_scorer *scorer, dmq_feature_set *set,
                          const char *extractor);

#endif
