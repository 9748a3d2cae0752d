/**
 * What a range is made from: minimum and maximum, and the search for the step of least error.
 *
 *   minmax    lo[c], hi[c] over x seen as (outer, c, inner), not empty; a NaN makes both NaN
 *   search    per channel, 80 candidates i = 0..79 that shrink both ends together:
 *             hi_i = hi (1 - 0.01 i), lo_i = lo (1 - 0.01 i), scale_i = (hi_i - lo_i)/(2^bits - 1),
 *             zero_i = rint(-lo_i/scale_i); score_i = mean |x - fq_i(x)|^p, p = 2.4; first smallest wins
 *             always_zero: scale_i = hi_i/(2^bits - 1), zero_i = 0 (softmax output)
 *             The range is not forced to contain 0. Nothing to search: a constant v has scale |v| and
 *             zero [v < 0], met exactly; zeros (always_zero: no positive value) have scale 1e-8, zero 0.
 *             (1 - 0.01 i) is formed in double; product and error in real, the mean in double.
 *             A channel with a NaN has a NaN for scale and score.
 *
 * @see specs: qdiffusion.md 1.3, gac.md 3.3
 */
#ifndef DMQ_KERNELS_OBSERVE_H
#define DMQ_KERNELS_OBSERVE_H

#include "kernels/kernel.h"

typedef struct dmq_minmax_args {
    const dmq_real *x; /**< (outer, c, inner) */
    dmq_real *lo, *hi; /**< (c) */
    int outer, c, inner;
} dmq_minmax_args;

dmq_status dmq_minmax_ref(dmq_queue *queue, const dmq_minmax_args *a);

typedef struct dmq_range_search_args {
    const dmq_real *x;      /**< (outer, c, inner); a weight KRSC: outer 1, c = K, inner = RSC */
    dmq_real *scale, *zero; /**< (c) */
    dmq_real *score;        /**< (c), of the winner; optional */
    int *winner;            /**< (c), candidate number; optional */
    int outer, c, inner;
    int bits;
    int candidates; /**< 80; at most 100 */
    dmq_real power; /**< 2.4 */
    int always_zero;
} dmq_range_search_args;

dmq_status dmq_range_search_ref(dmq_queue *queue, const dmq_range_search_args *a);

#endif
