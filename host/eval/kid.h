/**
 * Kernel distance of two sets of features (KID): the squared maximum mean discrepancy under the kernel
 *
 *   k(x, y) = (<x, y> / d + 1)^3
 *
 *   MMD^2 of m points x and m points y, without bias
 *     = sum_{i != j} (k(x_i, x_j) + k(y_i, y_j)) / (m (m - 1))  -  2 sum_{i, j} k(x_i, y_j) / m^2
 *
 * as mean and population standard deviation over subsets, each the beginning of a permutation of the generated and then
 * of the real images by one numpy.random.RandomState(seed): the subsets of torch-fidelity (100 of 1000, seed 2020).
 * All in FP64; the same bits on any number of threads. Values are about 1000 times smaller than those of an FID, and
 * may be below 0, since there is no bias.
 *
 * m^2 (4 d + 12) operations a subset: at d = 2048 and the subsets of torch-fidelity about 20 s of a core.
 *
 * @see Binkowski et al., arXiv:1801.01401
 */
#ifndef DMQ_EVAL_KID_H
#define DMQ_EVAL_KID_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct dmq_kid_config {
    int subsets, size; /**< size m >= 2 */
    uint32_t seed;
} dmq_kid_config;

/** What torch-fidelity takes. */
extern const dmq_kid_config dmq_kid_defaults;

/**
 * @param sd         may be NULL
 * @param generated  (n_generated, d)
 * @param real       (n_real, d)
 * @return           EDATA names the first row that is not bounded (bounded.h), or the set that is smaller than a subset
 */
dmq_status dmq_kid(double *mean, double *sd, const float *generated, size_t n_generated,
                   const float *real, size_t n_real, int d, const dmq_kid_config *config);

#endif
