/**
 * Inside the latent diffusion UNet: its settings checked, and its units listed in order of execution before
 * any entry or layer is made. Only ldm_unet.c, ldm_build.c and ldm_plan.c include this.
 */
#ifndef DMQ_MODEL_LDM_PLAN_H
#define DMQ_MODEL_LDM_PLAN_H

#include "model/attention.h"
#include "model/build.h"
#include "model/ldm_unet.h"

enum {
    DMQ_LDM_BLOCKS = 8, /**< residual blocks a level on the way up */
    DMQ_LDM_STEPS = DMQ_LDM_LEVELS * (2 * DMQ_LDM_BLOCKS * 4 + 2) + 8
};

typedef enum dmq_ldm_kind {
    DMQ_LDM_CONV_IN,
    DMQ_LDM_RESBLOCK,
    DMQ_LDM_ATTENTION,
    DMQ_LDM_PROJ_IN,
    DMQ_LDM_TRANSFORMER,
    DMQ_LDM_PROJ_OUT,
    DMQ_LDM_DOWN,
    DMQ_LDM_UP,
    DMQ_LDM_OUT
} dmq_ldm_kind;

/** Layers of a transformer block, in order of execution. */
enum {
    DMQ_LDM_Q1,
    DMQ_LDM_K1,
    DMQ_LDM_V1,
    DMQ_LDM_OUT1,
    DMQ_LDM_Q2,
    DMQ_LDM_K2,
    DMQ_LDM_V2,
    DMQ_LDM_OUT2,
    DMQ_LDM_FF0,
    DMQ_LDM_FF2,
    DMQ_LDM_UNIT_LAYERS
};

/** One unit other than the temporal one; dmq_unit.arch is its number. */
typedef struct dmq_ldm_step {
    dmq_ldm_kind kind;
    char name[DMQ_NAME_MAX];
    char site[DMQ_NAME_MAX]; /**< the module that it is part of: "input_blocks.4.1" */
    int c_in, c_skip, c_out; /**< c_in without the skip */
    int size;                /**< resolution of its result */
    int resample;            /**< of a residual block: -1 down, 1 up, 0 */
    int in, in1, out;        /**< values; in1: the skip, or x of a projection out; -1: none */

    /* Filled in by ldm_build.c. */
    int emb;     /**< embedding value, -1: none */
    int norm[3]; /**< entries */
    int weights
        [DMQ_LDM_UNIT_LAYERS]; /**< of each layer, -1: none. Residual block: the first convolution,
                                           the second, the shortcut; attention: qkv, proj_out */
    int layer[DMQ_LDM_UNIT_LAYERS]; /**< the same as layers */
    int operand[DMQ_OPERANDS];      /**< of attention, or of the transformer's first; layers */
    int operand_v2;                 /**< of its second: the values, all that matters of one token */
    int emb_layer; /**< entry of the weight of emb_layers.1; its layer is in order in the temporal unit */
} dmq_ldm_step;

typedef struct dmq_ldm {
    dmq_ldm_unet_config config; /**< first: dmq_model.config is also one of these */
    int time_embed[2];          /**< entries */
    int table;                  /**< of labels: entry, -1: none */
    int context;                /**< embedding value of its rows */
    int n_steps;
    dmq_ldm_step step[DMQ_LDM_STEPS];
} dmq_ldm;

/** Check net->config and fill in the first part of all steps. EINVAL with the key's name. */
dmq_status dmq_ldm_plan(dmq_ldm *net);

/** Heads of an attention over c channels. */
int dmq_ldm_heads(const dmq_ldm_unet_config *config, int c);

/** Entries, values, units and layers of a planned network. */
void dmq_ldm_build(dmq_build *b, dmq_ldm *net);

#endif
