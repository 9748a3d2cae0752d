/**
 * Which layers are quantized, to how many bits: a policy, as data.
 *
 *   tfmq        the released TFMQ-DM code: full precision (FP) weights and inputs for the first linear of
 *               the time embedding, the input and output convolution, shortcuts, downsampling and what is
 *               published as a 1-d convolution (the attention blocks of latent diffusion); FP input
 *               only for the second time linear and the first convolution of the first residual block
 *   qdiffusion  every layer; a shortcut that reads a concatenation is split where it was joined, each half
 *               with its own ranges; of latent diffusion also the operands of attention products, softmax included
 *   all         every layer, none split
 *   rules       nothing but what the rules say
 *
 * Operands of attention products stay FP in all others. They have no weights: what is said of those passes
 * over them, and each has one range for the tensor. Rules may follow any policy; they are read in
 * order and the last one that names a layer and a side wins:
 *
 *   "PATTERN: ACTION"      PATTERN: a layer's name with * ? [..] of the shell: "down.*.conv1"
 *                          ACTION:  w4 a8 w4a8 wfp afp fp (w32, a32: the same as FP), split, nosplit
 *
 * A rule that matches no layer is an error that names the nearest layers; so is a policy that leaves
 * nothing quantized.
 *
 * @see specs: gac.md 3.7, qdiffusion.md 1.6 and 3.6
 */
#ifndef DMQ_QUANT_POLICY_H
#define DMQ_QUANT_POLICY_H

#include "model/model.h"

/** Bits that can be asked for; codes are stored in a byte. */
#define DMQ_MIN_BITS 2
#define DMQ_MAX_BITS 8

typedef struct dmq_policy {
    const char *kind;        /**< "tfmq", "qdiffusion", "all", "rules" */
    int weight_bits;         /**< of the layers that the policy quantizes; 0: none */
    int act_bits;            /**< of their inputs; 0: none */
    const char *const *rule; /**< optional */
    int n_rules;
    int act_channels; /**< 1: a range for every channel of an input, 0: one for the tensor */
} dmq_policy;

/** What is decided for one layer. */
typedef struct dmq_choice {
    int weight_bits;  /**< 0: full precision */
    int act_bits;     /**< of its input; 0: full precision */
    int split;        /**< 1: cut at dmq_layer.split, ranges for each half */
    int act_channels; /**< 1: the input has a range for every channel */
} dmq_choice;

/**
 * @param out  (model->n_layers)
 * @return     EINVAL for an unknown kind, bits out of range, a rule that cannot be read or matches nothing,
 *             or no layer quantized
 */
dmq_status dmq_policy_apply(dmq_choice *out, const dmq_model *model, const dmq_policy *policy);

/** What a policy covers, for logs and reports. */
typedef struct dmq_coverage {
    int layers, weight_layers, act_layers; /**< all; with quantized weight; with quantized input */
    int operands; /**< of attention products, quantized; not among the layers */
    double weights, weights_quantized; /**< numbers in weights of layers */
    double size_bytes;                 /**< weights at their bits, all other parameters at 32 */
    double size_fp_bytes;              /**< all parameters at 32 bits */
} dmq_coverage;

void dmq_coverage_of(dmq_coverage *out, const dmq_model *model, const dmq_choice *choice);

/** Names of the layers whose weight (or input) stays FP, joined by ", "; the caller frees. */
dmq_status dmq_coverage_fp_names(char **out, const dmq_model *model, const dmq_choice *choice,
                                 int inputs);

#endif
