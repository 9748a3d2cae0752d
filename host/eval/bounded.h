/**
 * Features that can be computed with: finite and below 2^24 in size, so that no product or sum of a metric is infinite
 * and sums of moments stay exact. Features of classifiers are below 100.
 */
#ifndef DMQ_EVAL_BOUNDED_H
#define DMQ_EVAL_BOUNDED_H

#include "base/status.h"

#include <stddef.h>

/**
 * @param what   whose features: "real", "generated", "" where there is one set
 * @param x      (rows, d)
 * @param first  number of the first row, for the message
 * @return       EDATA names the first row with a number that is not so, and the number
 */
dmq_status dmq_features_bounded(const char *what, const float *x, size_t rows, size_t d,
                                size_t first);

#endif
