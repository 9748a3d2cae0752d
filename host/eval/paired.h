/**
 * Distance between the images of two models from the same noise: it needs no feature network.
 *
 *   D_i = q_i - f_i       mse = mean D^2 = bias + rest
 *   bias = mean over elements of (mean_i D_i)^2      the mean difference image: most of it is one colour
 *   rest = what differs from image to image          shift that changes 8-fold between seeds
 *   psnr = 10 log10(4 / mse) in dB, images in [-1, 1] (peak to peak 2)
 *
 * Images are added in their order, any number at a time: the cut changes no bit.
 *
 * @see specs: gac_study.md 2.1
 */
#ifndef DMQ_EVAL_PAIRED_H
#define DMQ_EVAL_PAIRED_H

#include "base/status.h"

#include <stddef.h>

typedef struct dmq_paired {
    double mse, bias, rest, psnr;
} dmq_paired;

typedef struct dmq_paired_sum {
    size_t per, n;
    double *difference; /**< (per) sum of D */
    double squares;     /**< sum of D^2 */
} dmq_paired_sum;

dmq_status dmq_paired_create(dmq_paired_sum **out, size_t per);
void dmq_paired_destroy(dmq_paired_sum *sum);

/** q, f (n, per); EDATA names the first image that is not finite. */
dmq_status dmq_paired_add(dmq_paired_sum *sum, const float *q, const float *f, size_t n);

/** Needs n >= 1. */
void dmq_paired_result(dmq_paired *out, const dmq_paired_sum *sum);

/** All at once. */
dmq_status dmq_paired_error(dmq_paired *out, const float *q, const float *f, size_t n, size_t per);

#endif
