/**
 * Mean and covariance of features in FP64, in shards that add up.
 *
 *   n, s = sum (x - a), S = sum (x - a)(x - a)^T     a: the shift, the first row ever added
 *   mean = a + s/n      cov = (S - s s^T / n) / (n - 1)
 *
 * Rows are added in blocks of 64 in the order of their numbers, so that a split at multiples of 64 and
 * a merge in order give the same bits as one pass.
 *
 * @see specs: models.md 6.3
 */
#ifndef DMQ_EVAL_MOMENTS_H
#define DMQ_EVAL_MOMENTS_H

#include "base/status.h"

#include <stddef.h>

typedef struct dmq_moments {
    int d;
    size_t n;
    double *shift; /**< (d) */
    double *sum;   /**< (d) */
    double *outer; /**< (d, d), symmetric */
} dmq_moments;

dmq_status dmq_moments_create(dmq_moments **out, int d);
void dmq_moments_destroy(dmq_moments *m);

/** x (rows, d); EDATA names the first row that is not finite. */
dmq_status dmq_moments_add(dmq_moments *m, const float *x, size_t rows);

/** mean (d), cov (d, d); needs n >= 2. */
dmq_status dmq_moments_result(const dmq_moments *m, double *mean, double *cov);

/**
 * Frechet distance |mu1 - mu2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2), by symmetric eigenvalues:
 * C1 = Q L Q^T, F = Q max(L, 0)^(1/2), trace = sum sqrt(eigenvalues of F^T C2 F). Valid for singular
 * covariances (fewer samples than dimensions); no added epsilon.
 */
dmq_status dmq_frechet_distance(double *out, int d, const double *mean1, const double *cov1,
                                const double *mean2, const double *cov2);

/**
 * Inception score of logits (n, classes): exp(mean_x sum_y p (log p - log p_bar)) over `splits` parts
 * of equal size in the order given; mean and population standard deviation over the parts.
 */
dmq_status dmq_inception_score(double *mean, double *sd, const float *logits, size_t n, int classes,
                               int splits);

#endif
