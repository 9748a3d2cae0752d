/**
 * Tables of activation quantizers, by running minimum and maximum.
 *
 * For every sampler step k (one row of the tables), with the weights as they are and every quantizer
 * quantizing:
 *
 *   first pass      one batch of random samples of the step; lo, hi = its minimum and maximum
 *   further passes  batches in shuffled order; lo <- momentum lo + (1 - momentum) min, hi alike
 *   in each pass    scale = (max(hi, 0) - min(lo, 0)) / (2^bits - 1), at least 1e-8
 *                   zero = rint(-min(lo, 0)/scale); the input is quantized with these at once, so later
 *                   layers see what they will see
 *
 * That is ema_minmax. minmax: lo and hi are the extremes of all passes. mse: one pass, and the search of
 * kernels/observe.h on its batch (80 candidates, power 2.4); its range is not forced to contain 0. Inputs
 * that begin there (dmq_layer.from_zero) have their extremes instead, and zero = 0.
 *
 * A split layer has such a range for each half of its channels, a layer with act_channels for each of
 * them. One table for all steps is made the same way from samples of all steps. Steps are pieces of work; nothing depends on the number of lanes.
 *
 * The released code starts from a search instead of the first minimum and maximum; its result is
 * overwritten by the running values, so we leave the search out.
 *
 * @see specs: gac.md 3.6
 */
#ifndef DMQ_QUANT_TABLES_H
#define DMQ_QUANT_TABLES_H

#include "backend/lanes.h"
#include "calib/calib.h"
#include "quant/qmodel.h"

typedef enum dmq_tables_init { DMQ_TABLES_EMA, DMQ_TABLES_MSE, DMQ_TABLES_MINMAX } dmq_tables_init;

typedef struct dmq_tables_config {
    dmq_tables_init init;
    int samples; /**< of each step that are used; 0: all calibration samples */
    int single;  /**< 1: one row for all steps; 0: a row a step */
    int batch;   /**< samples of a pass: 16 */
    int passes;  /**< after the first; 0: as many as it takes to meet every sample, 64 at most for a
                        single row */
    double momentum; /**< 0.95 */
    uint64_t seed;
} dmq_tables_config;

void dmq_tables_defaults(dmq_tables_config *config);

/**
 * Make the tables of every layer with act_bits, on the device of the lanes too, where model and q are. A qmodel has tables of one kind only.
 *
 * @return EINVAL for settings that cannot be; EDIVERGE with layer and step when an input is not finite;
 *         ESTOP on a signal
 */
dmq_status dmq_tables_run(dmq_qmodel *q, const dmq_calib *calib, dmq_lanes *lanes,
                          const dmq_tables_config *config);

#endif
