/**
 * Mean and covariance of features in FP64, in shards that add up to the bit.
 *
 *   n, s = sum x, S = sum x x^T      mean = s / n      cov = (S - s s^T / n) / (n - 1)
 *
 * Rows are taken in blocks of 64. What the blocks give, in FP64, is added exactly (exact_sum.h), so it does not matter
 * in which order: any split of a set at multiples of 64 rows, on any number of machines of one kind, merged in any
 * order, and any number of threads give the same bits.
 *
 * A covariance is off by about 2^-53 of the mean product, and by 2^-75 for what is left: features of 1e-6 keep ten
 * digits.
 *
 * There is no shift, since shards would have to agree on one. The difference S - s s^T / n then loses (mean / sd)^2
 * 2^-53, which is less than what FP32 features lost by being rounded, (mean / sd) 2^-24, while mean / sd < 2^29.
 *
 * @see specs: models.md 6.3
 */
#ifndef DMQ_EVAL_MOMENTS_H
#define DMQ_EVAL_MOMENTS_H

#include "io/h5.h"

#include <stddef.h>

/** Rows of a block: where a set is split without changing a bit. */
enum { DMQ_MOMENTS_BLOCK = 64 };

/** Most rows of one set, so that sums stay exact. */
#define DMQ_MOMENTS_ROWS ((size_t)1 << 24)

typedef struct dmq_moments {
    int d;
    size_t n;
    double *sum;   /**< (3, d): parts of s, exact_sum.h */
    double *outer; /**< (3, d, d): parts of S, of each the upper triangle */
} dmq_moments;

dmq_status dmq_moments_create(dmq_moments **out, int d);

/** Takes NULL. */
void dmq_moments_destroy(dmq_moments *m);

/**
 * Add rows in blocks of 64, the last one shorter. Of rows with one that is refused none is added.
 *
 * @param x  (rows, d)
 * @return   EDATA names the first row that is not bounded (bounded.h), or says that the set is too large
 */
dmq_status dmq_moments_add(dmq_moments *m, const float *x, size_t rows);

/** m += other; ESHAPE with both widths. */
dmq_status dmq_moments_merge(dmq_moments *m, const dmq_moments *other);

/** mean (d), cov (d, d); needs n >= 2. */
dmq_status dmq_moments_result(const dmq_moments *m, double *mean, double *cov);

/**
 * As a group of a file: attributes n and d, sum (3, d), outer (3, d (d + 1) / 2), the rows of the triangle one behind
 * the other. What is loaded has the bits of what was saved.
 */
dmq_status dmq_moments_save(dmq_h5 *file, const char *group, const dmq_moments *m);

/** EDATA when it is not what save writes. */
dmq_status dmq_moments_load(dmq_moments **out, dmq_h5 *file, const char *group);

#endif
