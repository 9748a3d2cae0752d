/**
 * Distance between the images of two models from the same noise: it needs no feature network.
 *
 *   D_i = q_i - f_i       mse = mean D^2 = bias + rest
 *   bias = mean over elements of (mean_i D_i)^2      the mean difference image: most of it is one colour
 *   rest = what differs from image to image          shift that changes 8-fold between seeds
 *   psnr = 10 log10(4 / mse) in dB, images in [-1, 1] (peak to peak 2)
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

/** q, f (n, per); EDATA names the first image that is not finite. */
dmq_status dmq_paired_error(dmq_paired *out, const float *q, const float *f, size_t n, size_t per);

#endif
