/**
 * Which samples a mini-batch holds: a function of (seed, unit, iteration) and the list drawn from.
 */
#ifndef DMQ_CALIB_BATCH_H
#define DMQ_CALIB_BATCH_H

#include <stdint.h>

/**
 * n of the n_from numbers in from, uniformly at random, none twice (Floyd's algorithm on Philox numbers
 * of purpose DMQ_FOR_BATCH). Allocates nothing.
 *
 * @param n  1..n_from
 */
void dmq_batch_draw(int *out, int n, const int *from, int n_from, uint64_t seed, uint64_t unit,
                    uint32_t iteration);

#endif
