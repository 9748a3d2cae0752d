/**
 * The small feature network: a classifier whose averaged last channels are the features of the Frechet
 * distance on procedural data, always called FD (shapes) and never FID.
 *
 *   stage i: 3x3 convolution to width[i] (stride 2 but for the first stage), norm, SiLU,
 *            3x3 convolution, norm, SiLU
 *   features = mean over pixels of the last stage (F);  logits = classify(features) (classes)
 *
 * A dmq_model without units and layers: parameters by name ("stage.1.conv_0.weight", "classify.bias") in the
 * same kind of file. Input as of a diffusion model: images in [-1, 1].
 */
#ifndef DMQ_MODEL_FEATURES_H
#define DMQ_MODEL_FEATURES_H

#include "backend/lanes.h"
#include "model/model.h"

enum { DMQ_FEATURES_STAGES = 8 };

typedef struct dmq_features_config {
    int resolution, channels; /**< of the images */
    int classes;
    int width[DMQ_FEATURES_STAGES]; /**< channels of each stage; the last is F */
    int n_stages;
    int norm_groups;
} dmq_features_config;

/** EINVAL when the settings do not fit each other; all parameters zero. */
dmq_status dmq_features_create(dmq_model **out, const dmq_features_config *config);

/** From config_text of a model; EDATA when the text is not one. */
dmq_status dmq_features_create_text(dmq_model **out, const char *config_text);

/** 1 for a model of this kind. */
int dmq_features_is(const dmq_model *model);

/** The settings of a model of this kind. */
const dmq_features_config *dmq_features_config_of(const dmq_model *model);

/** F. */
int dmq_features_width(const dmq_model *model);

/** x (N,H,W,C) -> *features (N,F), *logits (N,classes); NULL after a failure that the plan reports. */
void dmq_features_record(dmq_var **features, dmq_var **logits, const dmq_model *model,
                         dmq_tape *tape, dmq_var *x);

/**
 * Features and logits of images, in groups of the backend's shard over the lanes: the same for any number of
 * them.
 *
 * @param features  (n, F), logits: (n, classes); each may be NULL
 * @param model     on the device of the lanes (dmq_model_place)
 * @param images    (n, H, W, C) in [-1, 1], host memory as all
 * @return          EDATA when an image is not finite, or the model is of another kind
 */
dmq_status dmq_features_run(dmq_real *features, dmq_real *logits, const dmq_model *model,
                            dmq_lanes *lanes, const dmq_real *images, int n);

#endif
