/**
 * Inside the DDPM UNet: its settings checked, and its units listed in order of execution before any
 * entry or layer is made. Only ddpm_unet.c and unet_plan.c include this.
 */
#ifndef DMQ_MODEL_UNET_PLAN_H
#define DMQ_MODEL_UNET_PLAN_H

#include "model/ddpm_unet.h"

enum {
    DMQ_UNET_BLOCKS = 16, /**< residual blocks a level on the way up */
    DMQ_UNET_STEPS = DMQ_UNET_LEVELS * (4 * DMQ_UNET_BLOCKS + 2) + 5
};

typedef enum dmq_unet_kind {
    DMQ_UNET_CONV_IN,
    DMQ_UNET_RESBLOCK,
    DMQ_UNET_ATTENTION,
    DMQ_UNET_DOWNSAMPLE,
    DMQ_UNET_UPSAMPLE,
    DMQ_UNET_CONV_OUT
} dmq_unet_kind;

/** One unit other than the temporal one; dmq_unit.arch is its number. */
typedef struct dmq_unet_step {
    dmq_unet_kind kind;
    char name[DMQ_NAME_MAX];
    int c_in, c_skip, c_out; /**< c_in without the skip */
    int size;                /**< resolution of its result */
    int in, skip, out;       /**< values; skip -1: none */
    int order;               /**< ascending in the module-registration order */

    /* Filled in while building. */
    int emb;       /**< embedding value of a residual block, -1: none */
    int norm[2];   /**< entries */
    int temb_proj; /**< entry of its weight */
    int weights
        [4]; /**< entries: conv1, conv2, nin_shortcut (-1: none); q, k, v, proj_out; or the one */
    int layer[4]; /**< the same as layers */
} dmq_unet_step;

typedef struct dmq_unet {
    dmq_ddpm_unet_config config; /**< first: dmq_model.config is also one of these */
    int dense[2];                /**< entries of temb.dense.0 and 1 */
    int n_steps;
    dmq_unet_step step[DMQ_UNET_STEPS];
} dmq_unet;

/** Check net->config and fill in the first part of all steps. EINVAL with the key's name. */
dmq_status dmq_unet_plan(dmq_unet *net);

#endif
