/**
 * The Inception-v3 of the FID: weights of 2015-12-05, as the ports to PyTorch hold them.
 *
 *   x (299x299x3) -> 94 times  relu(conv(x) + bias), in the blocks of the paper -> mean over 8x8 -> fc
 *
 * It differs from the Inception-v3 of torchvision: average pooling does not count what is outside of the image,
 * Mixed_7c pools with the maximum, there are 1008 logits, other weights, and neither an auxiliary head nor an
 * input transform.
 *
 * A model has one of two forms. As published, batch norm lies beside each convolution ("Mixed_5b.branch1x1.conv.weight",
 * "....bn.weight", "bias", "running_mean", "running_var"); that one is filled from a checkpoint, but not recorded.
 * Folded, which is what model files hold, it is part of them:
 *
 *   w' = w gamma / sqrt(var + 1e-3)  ("....conv.weight"),   b' = beta - mean gamma / sqrt(var + 1e-3)  ("....conv.bias")
 *
 * A dmq_model without units and layers, as the small feature network.
 *
 * @see specs: models.md 6.1, 6.4 and 6.5; arXiv:1512.00567
 */
#ifndef DMQ_MODEL_INCEPTION_H
#define DMQ_MODEL_INCEPTION_H

#include "model/model.h"

enum {
    DMQ_INCEPTION_SIZE = 299, /**< of the image, both sides */
    DMQ_INCEPTION_POOL = 2048,
    DMQ_INCEPTION_SPATIAL = 17 * 17 * 7,
    DMQ_INCEPTION_CLASSES = 1008
};

/** All parameters zero. folded: which of the two forms. */
dmq_status dmq_inception_create(dmq_model **out, int folded);

/** From config_text of a model; EDATA when the text is not one. */
dmq_status dmq_inception_create_text(dmq_model **out, const char *config_text);

/** 1 for a model of this kind, of either form. */
int dmq_inception_is(const dmq_model *model);

/** 1 for one that can be recorded. */
int dmq_inception_is_folded(const dmq_model *model);

/**
 * The folded form of one as published, computed in double; schedule and the like have nothing to do with it.
 *
 * @return EDATA when a running variance is below 0
 */
dmq_status dmq_inception_fold(dmq_model **out, const dmq_model *published);

/** What a network as published holds, for whoever wants to compare totals. */
typedef struct dmq_inception_totals {
    int convolutions;     /**< 94 */
    size_t conv_weights;  /**< 21,751,136 */
    size_t norm_channels; /**< 17,216 */
    size_t learnable;     /**< 23,850,960: all but running means and variances */
} dmq_inception_totals;

dmq_inception_totals dmq_inception_totals_of(const dmq_model *model);

/**
 * 1 when a model file's text (dmq_model_info.training) says that it was made from the published file, whose SHA-256
 * begins with 6726825d.
 */
int dmq_inception_is_published(const char *training);

/** What is made of N images; NULL after a failure that the plan reports. */
typedef struct dmq_inception_vars {
    dmq_var *pool; /**< (N, 2048) */
    dmq_var *
        spatial; /**< (N, 2023): Mixed_6d.branch1x1, 17x17, its first 7 channels, in the order (y, x, c) */
    dmq_var *logits; /**< (N, 1008): pool W^T, without the bias of fc */
} dmq_inception_vars;

/**
 * x (N,299,299,3), in [-1, 1]. Each convolution is followed by its activation alone, each branch read by the
 * concatenation alone, but for Mixed_6d.branch1x1.
 */
dmq_inception_vars dmq_inception_record(const dmq_model *model, dmq_tape *tape, dmq_var *x);

#endif
