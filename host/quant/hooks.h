/**
 * The hooks through which a network is recorded quantized (model/model.h knows nothing of it).
 *
 *   weight hook  weights off, or an FP layer: nothing. A layer that is being learned: a parameter whose
 *                value lies in w_soft and whose offset is its place there. Else a constant in w_quant
 *   input hook   activations off, an FP input: nothing. Else fake quantization by the layer's table
 *
 * Tables with one row a sampler step need the step of each sample: an index of the tape, which the
 * caller fills before a pass.
 *
 *   dmq_attach attach;
 *   dmq_attach_init(&attach, q);
 *   attach.row = dmq_tape_index(tape, "step", n);
 *   dmq_hooks hooks = dmq_attach_hooks(&attach);
 *   eps = dmq_model_record(model, tape, &hooks, x, t, NULL);
 *
 * The attach and the hooks are needed while recording only; the qmodel as long as the tape.
 */
#ifndef DMQ_QUANT_HOOKS_H
#define DMQ_QUANT_HOOKS_H

#include "model/hook_source.h"
#include "quant/qmodel.h"

#include <stdint.h>

/** Place of a layer that is not learned. */
#define DMQ_NOT_LEARNED SIZE_MAX

typedef struct dmq_attach {
    const dmq_qmodel *q;
    int weights;          /**< 1: quantized weights (default), 0: those of the model */
    int acts;             /**< 1: inputs are fake-quantized by the tables, 0: not (default) */
    const dmq_index *row; /**< step of each sample; NULL if the tables have one row */
    dmq_real *w_soft;     /**< the weights under reconstruction; NULL: none */
    const size_t *place;  /**< (model->n_layers) offset in w_soft, or DMQ_NOT_LEARNED */
} dmq_attach;

/** Quantized weights, activations as they are. */
void dmq_attach_init(dmq_attach *attach, const dmq_qmodel *q);

/** Points to attach. */
dmq_hooks dmq_attach_hooks(dmq_attach *attach);

/** The same for several tapes, each with its own index of steps (sampling). Points to attach. */
dmq_hook_source dmq_attach_source(dmq_attach *attach);

/** The weight hook alone, for those who bring their own input hook; context is a dmq_attach. */
dmq_var *dmq_attach_weight(void *context, dmq_tape *tape, const dmq_layer *layer);

#endif
