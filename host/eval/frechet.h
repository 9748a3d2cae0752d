/**
 * Frechet distance of two normal laws with the means and covariances of two sets of features (FID, sFID, FD).
 *
 *   |mu1 - mu2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2)
 *
 *   C = Q L Q^T,   R = L^(1/2) Q^T without the rows whose L is rounding (below d 2^-52 of the largest)
 *   tr (C1 C2)^(1/2) = sum of the singular values of R1 R2^T
 *
 * Valid for singular covariances (fewer samples than dimensions): no root of a number that is zero but for rounding is
 * taken, which with the eigenvalues of R1 C2 R1^T would cost 1e-8 of the largest each. No complex numbers and no added
 * epsilon. All on one thread: the same bits whatever the number of threads. At d = 2048 a law takes about 2 s of a
 * core and a distance as much again; the law of a reference is made once for all sets that are compared with it.
 *
 * Warns [negative-covariance] where the smallest eigenvalue is below -1e-8 of the largest: C is no covariance.
 *
 * @see specs: models.md 6.3, 6.8; Dowson and Landau 1982; Heusel et al., arXiv:1706.08500
 */
#ifndef DMQ_EVAL_FRECHET_H
#define DMQ_EVAL_FRECHET_H

#include "eval/interval.h"

/** A normal law, ready for distances. */
typedef struct dmq_gaussian {
    int d, rank;
    double trace;
    double *mean; /**< (d) */
    double *root; /**< (rank, d): R with R^T R = C */
} dmq_gaussian;

/**
 * @param mean  (d)
 * @param cov   (d, d), symmetric
 * @return      EDATA names the first number that is not finite, EDIVERGE when the eigenvalues do not converge
 */
dmq_status dmq_gaussian_create(dmq_gaussian **out, int d, const double *mean, const double *cov);

/** Takes NULL. */
void dmq_gaussian_destroy(dmq_gaussian *law);

/** ESHAPE with both dimensions. */
dmq_status dmq_frechet_between(double *out, const dmq_gaussian *a, const dmq_gaussian *b);

/** The same from means (d) and covariances (d, d). */
dmq_status dmq_frechet_distance(double *out, int d, const double *mean1, const double *cov1,
                                const double *mean2, const double *cov2);

/**
 * Bootstrap interval of the distance between a reference, taken as it is, and features x (n, d) (interval.h). Cheap for
 * narrow features: n d^2 + 10 d^3 operations a resample; at d = 2048 and n = 50,000 that is about 10 s of a core.
 *
 * A resample holds some images several times, so its covariance is that of fewer images and its distance is larger: the
 * interval lies above the distance where n is not far above d. `mean` of the interval shows by how much.
 */
dmq_status dmq_frechet_bootstrap(dmq_interval *out, const dmq_gaussian *reference, const float *x,
                                 size_t n, const dmq_bootstrap *how);

#endif
