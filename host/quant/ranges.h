/**
 * Ranges of all weights, and nearest rounding to them: what a model is before reconstruction, and what
 * layers stay that are not reconstructed.
 *
 *   mse  candidates that shrink both ends of the channel together, |error|^power (kernels/observe.h)
 *   max  scale = (max(M, 0) - min(m, 0)) / (2^bits - 1), at least 1e-8; zero = rint(-min(m, 0)/scale)
 *
 * One range an output channel (or one for the whole layer, told to every channel), and of a split layer
 * one for each half of it. A channel without any
 * extent gets the step 1e-8 and is told as a warning "zero-range".
 *
 * @see specs: gac.md 3.3, qdiffusion.md 1.3
 */
#ifndef DMQ_QUANT_RANGES_H
#define DMQ_QUANT_RANGES_H

#include "backend/lanes.h"
#include "quant/qmodel.h"

#define DMQ_MIN_SCALE 1e-8

typedef enum dmq_range_init { DMQ_RANGE_MSE, DMQ_RANGE_MAX } dmq_range_init;

/** "mse" or "max"; EINVAL names both. */
dmq_status dmq_range_init_parse(dmq_range_init *out, const char *text);

typedef struct dmq_ranges_config {
    dmq_range_init init;
    int per_tensor; /**< 1: one range a layer (a split one: a half) */
    int candidates; /**< mse: 80 */
    double power;   /**< mse: 2.4 */
} dmq_ranges_config;

/** mse, per channel, 80 candidates, 2.4. */
void dmq_ranges_defaults(dmq_ranges_config *config);

/**
 * Scale, zero, nearest codes and w_quant of every layer with weight bits, w_quant on the device too.
 * Model and q are on the device of the lanes. config NULL: the defaults. ESTOP between two pieces of work.
 */
dmq_status dmq_ranges_run(dmq_qmodel *q, dmq_lanes *lanes, const dmq_ranges_config *config);

#endif
