/**
 * Laying out a model: the lists of model.h grow entry by entry, then the parameter block is made.
 *
 *   dmq_build b;
 *   DMQ_TRY(dmq_build_begin(&b, &arch));
 *   int unit = dmq_build_unit(&b, DMQ_UNIT_LAYER, in, -1, -1, out, "conv_in");
 *   dmq_build_layer(&b, unit, "conv_in", &(dmq_layer){ .kind = DMQ_LAYER_CONV, ... });
 *   DMQ_TRY(dmq_build_finish(&model, &b));
 *
 * The first failure (ENOMEM, a name that is too long) stays in the builder; the calls after it do
 * nothing and give 0, and dmq_build_finish reports it. For architectures only.
 */
#ifndef DMQ_MODEL_BUILD_H
#define DMQ_MODEL_BUILD_H

#include "model/model.h"

typedef struct dmq_build {
    dmq_model *model; /**< under construction, the builder's */
    dmq_status status;
} dmq_build;

/** An empty model. After this the caller ends with dmq_build_finish or dmq_build_abandon. */
dmq_status dmq_build_begin(dmq_build *b, const dmq_arch *arch);

/** Takes the model apart again. */
void dmq_build_abandon(dmq_build *b);

/** Count last readers, place the entries in one zeroed block and hand the model out; NULL after a failure. */
dmq_status dmq_build_finish(dmq_model **out, dmq_build *b);

/**
 * Hand out a model that was made from a configuration text: takes *model when its own text is the same one.
 *
 * @return  EDATA with both texts when the one read holds more than was understood; *model stays the caller's
 */
dmq_status dmq_build_understood(dmq_model **out, dmq_model **model, const char *config_text);

/** Next entry; its number. rank4 as in dmq_entry. */
int dmq_build_entry(dmq_build *b, dmq_shape shape, int rank4, const char *name);

/** name.weight and name.bias, both (channels); the number of the first, the second follows. */
int dmq_build_norm(dmq_build *b, int channels, const char *name);

/**
 * Entries name.weight and name.bias of a layer alone: convolutions (out, kernel, kernel, in), linear
 * (out, in). The number of the first, the second follows.
 */
int dmq_build_weights(dmq_build *b, dmq_layer_kind kind, int out, int in, int kernel,
                      const char *name);

/** The same of a linear layer that is published as a 1-d convolution, with weight (out, in, 1). */
int dmq_build_conv1d(dmq_build *b, int out, int in, const char *name);

/**
 * Next layer, appended to the unit's list; its number. like: everything but name, index, unit, weight
 * and bias, which are set here; bias -1 says that there is none.
 *
 * @param weights  what dmq_build_weights gave, or the entry of a weight without bias
 */
int dmq_build_layer(dmq_build *b, int unit, int weights, const dmq_layer *like, const char *name);

/** An operand of an attention product, a layer without weight; its number. */
int dmq_build_operand(dmq_build *b, int unit, int channels, const char *name);

/** Next value; its number. shape with N = 1; emb_of as in dmq_value. */
int dmq_build_value(dmq_build *b, dmq_shape shape, int emb_of);

/** Next unit, without layers; its number. Values as in dmq_unit. */
int dmq_build_unit(dmq_build *b, dmq_unit_kind kind, int in0, int in1, int emb, int out,
                   const char *name);

#endif
