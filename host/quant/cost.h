/**
 * What a quantized network weighs and computes, by conventions that have names: papers count both in several
 * ways, and a number says nothing without its own.
 *
 *   size   "size/weights+scales"   sum over layers of numbers * b_w / 8, 32 bits where the weight is FP
 *          + 4 bytes a scale and 1 byte a zero point, of weights and of activation tables
 *          + 4 bytes for each parameter that is no layer's weight (biases, norms, class tables)
 *   BOPs   "bops/mac-wa"           sum over layers of MACs * b_w * b_a, FP is 32; a product of attention has
 *                                  the bits of its two operands
 *          "bops/2mac-wa-fp23"     the same, a MAC is two operations and FP is 23 bits (the mantissa):
 *                                  what Q-Diffusion's published numbers decode to
 *
 * BOPs and MACs are of one call of the network for one image. Norms, activations, softmax and sums are not
 * counted, and neither is a layer whose result reaches nothing; what is the same for all tokens counts once. A first stage counts in none of them.
 *
 * @see specs: models.md 0, qdiffusion.md 5
 */
#ifndef DMQ_QUANT_COST_H
#define DMQ_QUANT_COST_H

#include "quant/policy.h"

typedef struct dmq_cost {
    double weight_bytes; /**< weights of layers at their bits */
    double range_bytes;  /**< scales and zero points of weights */
    double table_bytes;  /**< and of activations, for all steps */
    double rest_bytes;   /**< all other parameters */
    double size_bytes;   /**< the four of them */
    double macs;         /**< attention products among them */
    double macs_products;
    double bops, bops_fp23;
} dmq_cost;

/** What a choice does not say of ranges. */
typedef struct dmq_cost_ranges {
    int per_tensor; /**< 1: one range a weight (two if it is split), 0: one for each output channel */
    int table_rows; /**< of activation tables: steps, 1, or 0: none */
} dmq_cost_ranges;

/**
 * @param choice   (model->n_layers); NULL: the full-precision network
 * @param ranges   NULL with choice NULL
 * @param backend  a tape of it is recorded, and not run
 */
dmq_status dmq_cost_of(dmq_cost *out, const dmq_model *model, const dmq_choice *choice,
                       const dmq_cost_ranges *ranges, const dmq_backend *backend);

#endif
