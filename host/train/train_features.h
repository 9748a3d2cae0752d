/**
 * Training the feature network (model/features.h) as a classifier.
 *
 *   loss = mean over the batch of the cross entropy of the logits against the image's class
 *
 * Sample b of iteration i is image i * batch + b of the data set, modulo its count or config.images. Like the
 * images it will see, it gets a little normal noise, config.noise wide, drawn by
 * (seed, DMQ_FOR_TRAIN_NOISE, b, i): features that jump at what nobody sees would make a bad distance.
 */
#ifndef DMQ_TRAIN_TRAIN_FEATURES_H
#define DMQ_TRAIN_TRAIN_FEATURES_H

#include "train/dataset.h"
#include "train/trainer.h"

typedef struct dmq_train_features_config {
    dmq_train_config train;
    uint64_t images; /**< the first so many of the data set; 0: all */
    double noise;    /**< 0.05 */
} dmq_train_features_config;

void dmq_train_features_defaults(dmq_train_features_config *config);

/** As dmq_train_diffusion. */
dmq_status dmq_train_features(dmq_model *model, char settings[DMQ_TRAIN_TEXT],
                              const dmq_dataset *set, const dmq_train_features_config *config,
                              dmq_lanes *lanes, const dmq_train_place *place,
                              const dmq_train_watch *watch, dmq_train_result *result);

/** Share of the n images from `first` on whose largest logit is their class. */
dmq_status dmq_features_accuracy(double *out, const dmq_model *model, const dmq_dataset *set,
                                 uint64_t first, int n, dmq_lanes *lanes);

#endif
