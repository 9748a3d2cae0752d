/**
 * Percentile interval of a metric by bootstrap: the metric of B sets of n images, drawn from the n with replacement.
 *
 *   image i of resample b = floor(w n / 2^32),  w: word i of Philox(seed, DMQ_FOR_BOOTSTRAP, b, step 0)
 *   low, high = quantiles (1 - level) / 2 and (1 + level) / 2 of the B values, linear between neighbours: value number
 *               q (B - 1) of the sorted ones, counted from 0 (NumPy's default)
 *
 * It tells what another draw of as many images would change, not what another reference or network would.
 *
 * @see Efron and Tibshirani, An introduction to the bootstrap, 1993, ch. 13
 */
#ifndef DMQ_EVAL_INTERVAL_H
#define DMQ_EVAL_INTERVAL_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct dmq_bootstrap {
    int resamples; /**< B >= 1 */
    double level;  /**< in (0, 1): 0.95 */
    uint64_t seed;
} dmq_bootstrap;

typedef struct dmq_interval {
    double low, high;
    double mean; /**< of the resamples: beside the metric itself it shows the bias of resampling */
} dmq_interval;

/** Which of n images resample b holds, n < 2^32: by words first .. first + n - 1 of its numbers. */
void dmq_bootstrap_draw(uint32_t *index, size_t first, size_t n, const dmq_bootstrap *how, int b);

/** The interval of B values, which are sorted on the way. */
void dmq_interval_of(dmq_interval *out, double *values, const dmq_bootstrap *how);

#endif
