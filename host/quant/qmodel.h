/**
 * The quantized state of a model: codes, scales, zero points, and the weights that they stand for.
 *
 *   weight of row r = (code - zero[r]) * scale[r]                 a row is an output channel; of a split
 *   layer, a run of input channels of one half (so every pass sees plain rows)
 *
 * The dequantized weights lie in one block, w_quant, at the offsets of model->params; FP layers, biases
 * and norms are copies there. Hooks (hooks.h) make tapes read them, so what is written here and pushed is
 * seen by every recorded tape from its next pass on.
 *
 * Tables of activations: one row for all sampler steps, or one a step, keyed by the step's index.
 */
#ifndef DMQ_QUANT_QMODEL_H
#define DMQ_QUANT_QMODEL_H

#include "quant/policy.h"

typedef struct dmq_qlayer {
    int weight_bits, act_bits; /**< 0: full precision */
    int rows, per;             /**< rows * per = numbers of the weight, KRSC */
    int split_at;              /**< > 0: halves of the input channels with their own ranges */
    dmq_real *scale, *zero;    /**< (rows); NULL for an FP weight, as code */
    int16_t *code;             /**< (rows, per), 0..2^weight_bits - 1 */
    int learned;               /**< 1: rounding was reconstructed, 0: nearest */
    int act_channels;          /**< 1: a range for every channel of the input */
    int table_cols; /**< 1; the input channels of a layer that is split or has act_channels */
    dmq_real *
        act_scale; /**< (qmodel.table_rows, table_cols) in qmodel.tables; NULL before they are made */
    dmq_real *act_zero;
} dmq_qlayer;

typedef struct dmq_qmodel {
    const dmq_model *model;           /**< not owned */
    dmq_qlayer *layer;                /**< (model->n_layers) */
    dmq_real *w_quant;                /**< (model->n_params) */
    dmq_real *tables;                 /**< one block with act_scale and act_zero of all layers */
    size_t n_tables;                  /**< numbers in it */
    const dmq_backend *backend;       /**< of the device it was placed on; NULL: none */
    dmq_mirror w_place, tables_place; /**< of w_quant and tables there */
    int table_rows;                   /**< 0: no tables; 1: one for all steps; else sampler steps */
} dmq_qmodel;

/**
 * Everything nearest-rounded needs ranges first (ranges.h); until then w_quant is a copy of the model.
 *
 * @param choice  (model->n_layers), see policy.h; copied
 */
dmq_status dmq_qmodel_create(dmq_qmodel **out, const dmq_model *model, const dmq_choice *choice);

/** Takes NULL. */
void dmq_qmodel_destroy(dmq_qmodel *q);

/**
 * Bring w_quant and tables to the device of the lanes (all else is the host's alone): once, before tapes
 * are recorded for it. Tables that are made later follow by themselves.
 */
dmq_status dmq_qmodel_place(dmq_qmodel *q, dmq_lanes *lanes);

/** Copy w_quant of a layer to the device, and from it. */
dmq_status dmq_qmodel_push_weight(const dmq_qmodel *q, dmq_queue *queue, int layer);
dmq_status dmq_qmodel_pull_weight(const dmq_qmodel *q, dmq_queue *queue, int layer);

/** Copy a row of a layer's tables to the device, and from it. */
dmq_status dmq_qmodel_push_row(const dmq_qmodel *q, dmq_queue *queue, int layer, int row);
dmq_status dmq_qmodel_pull_row(const dmq_qmodel *q, dmq_queue *queue, int layer, int row);

/** Allocate tables of that many rows for every layer with act_bits, scale 1 and zero 0. Once. */
dmq_status dmq_qmodel_tables(dmq_qmodel *q, int rows);

/** Whether rounding of its weight can be learned: it is quantized, and its result reaches something. */
int dmq_qmodel_learns(const dmq_qmodel *q, int layer);

/** The weight of a layer in w_quant. */
dmq_real *dmq_qmodel_weight(const dmq_qmodel *q, int layer);

/** w_quant of a layer from its codes. */
void dmq_qmodel_dequantize(dmq_qmodel *q, int layer);

/** The choice that the state was made with. (model->n_layers) */
void dmq_qmodel_choice(dmq_choice *out, const dmq_qmodel *q);

#endif
