/**
 * Images of a data set for the shards of a training batch: sample b of iteration i is image
 * i * batch + b, modulo the number of images in use.
 */
#ifndef DMQ_TRAIN_FEED_H
#define DMQ_TRAIN_FEED_H

#include "tape/shards.h"
#include "train/dataset.h"

#include <stdint.h>

/** Room of one lane; each for the samples of a shard. */
typedef struct dmq_feed_lane {
    float *image;     /**< (shard, H, W, C) */
    dmq_real *x;      /**< the same numbers, for the caller to change */
    dmq_real *row;    /**< (2, shard) for the caller */
    uint64_t *index;  /**< (shard) numbers in the data set */
    uint64_t *sample; /**< (shard) numbers in the batch */
    int *label;       /**< (shard) for the caller */
} dmq_feed_lane;

typedef struct dmq_feed {
    const dmq_dataset *set;
    uint64_t images; /**< in use */
    int batch;
    size_t per; /**< numbers an image */
    dmq_feed_lane *lane;
    int n_lanes;
} dmq_feed;

/** @param images  the first so many of the set; 0: all. EINVAL when it has fewer. */
dmq_status dmq_feed_init(dmq_feed *feed, const dmq_dataset *set, uint64_t images, int batch,
                         int shard, dmq_lanes *lanes);

void dmq_feed_release(dmq_feed *feed);

/** Fill the lane's arrays for all rows of a shard; labels (shard) or NULL. Allocates nothing. */
dmq_status dmq_feed_fill(dmq_feed *feed, const dmq_shard *shard, uint32_t iteration, int *labels);

#endif
