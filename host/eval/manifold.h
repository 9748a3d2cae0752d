/**
 * How two sets of features cover each other, each set being the union of balls about its points:
 *
 *   r(x)       distance of x to its k-th nearest neighbour in its own set, itself excluded
 *   precision  share of generated points in the ball of at least one real point
 *   recall     share of real points in the ball of at least one generated point
 *   density    mean over generated points of (number of real balls that hold it) / k
 *   coverage   share of real points whose own ball holds at least one generated point
 *
 * A point at distance r lies in the ball (<=); so does one of several that are equal when r = 0. Values depend on the
 * sizes of both sets: they belong into the id. ADM: real are the 10,000 images of the reference pack, k = 3.
 *
 * All comparisons are of squared distances in FP64, sum (a - b)^2. Products in FP32 of features whose mean is taken
 * away decide only what is certain: |a|^2 + |b|^2 - 2<a,b> is off by no more than d 2^-24 (|a|^2 + |b|^2), also where a
 * and b nearly agree and all digits cancel, and a pair that is nearer to its bound than that is computed anew from the
 * differences. So the result is that of FP64, the same from any library and number of threads. ADM compares products
 * in FP16 and is off by up to 0.003.
 *
 * 2 d operations in FP32 a pair of points; memory: one number a point and 6 (d + 256) KB a thread.
 *
 * @see specs: models.md 6.6; Kynkaanniemi et al., arXiv:1904.06991; Naeem et al., arXiv:2002.09797
 */
#ifndef DMQ_EVAL_MANIFOLD_H
#define DMQ_EVAL_MANIFOLD_H

#include "base/status.h"

#include <stddef.h>

/** A set of features with the balls about its points. */
typedef struct dmq_balls {
    const float *x; /**< (n, d), the caller's */
    size_t n;
    int d, k;
    double *radius2; /**< (n) squares of r */
} dmq_balls;

typedef struct dmq_manifold {
    double precision, recall, density, coverage;
} dmq_manifold;

/**
 * Radii of a set. Those of a reference are made once for all sets that are compared with it.
 *
 * @param x  (n, d), kept until the balls are destroyed
 * @return   EDATA names the first row that is not bounded (bounded.h), or says that n <= k
 */
dmq_status dmq_balls_create(dmq_balls **out, const float *x, size_t n, int d, int k);

/** Takes NULL. */
void dmq_balls_destroy(dmq_balls *balls);

/** ESHAPE when widths or k differ. */
dmq_status dmq_manifold_compare(dmq_manifold *out, const dmq_balls *real,
                                const dmq_balls *generated);

#endif
