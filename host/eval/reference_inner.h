/**
 * What reference.c and reference_npz.c share.
 */
#ifndef DMQ_EVAL_REFERENCE_INNER_H
#define DMQ_EVAL_REFERENCE_INNER_H

#include "eval/reference.h"

#define DMQ_REFERENCE_FORMAT "dmq-reference"

/** The widest features that are read: 2 GB of covariance. */
enum { DMQ_REFERENCE_WIDTH = 1 << 14 };

/** EDATA unless features may have d numbers. */
dmq_status dmq_reference_check_width(const char *path, const char *name, int64_t d);

/** EDATA unless a Gaussian may have that mean (d) and that covariance (d, d). */
dmq_status dmq_reference_check_law(const char *path, const char *mean_name, const char *cov_name,
                                   int d, const double *mean, const double *cov);

/** Whether an archive holds mu. */
dmq_status dmq_reference_npz_is(int *out, const char *path);

/** All but the hash, into a struct of zeros. */
dmq_status dmq_reference_load_npz(dmq_reference *r, const char *path);

#endif
