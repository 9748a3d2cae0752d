/**
 * Likeness of the images of two models from the same noise, as the 8-bit levels that an image file would hold.
 *
 *   SSIM   mean over channels and places of
 *          (2 mx my + C1) (2 sxy + C2) / ((mx^2 + my^2 + C1) (sxx + syy + C2)),   C1 = (0.01 255)^2, C2 = (0.03 255)^2
 *          means, variances and covariance under a Gaussian window of 11 x 11 with standard deviation 1.5 that adds up
 *          to 1, each channel alone, at the places where the window lies inside of the image
 *   PSNR   10 log10(255^2 / mean squared difference) in dB
 *
 * SSIM is what Wang et al. wrote, and structural_similarity of scikit-image with gaussian_weights=True, sigma=1.5,
 * use_sample_covariance=False, data_range=255.
 *
 * Any split of a set into calls and shards, merged in any order, gives the same bits.
 *
 * @see Wang et al., Image quality assessment, IEEE Trans. Image Process. 13 (2004)
 */
#ifndef DMQ_EVAL_SIMILARITY_H
#define DMQ_EVAL_SIMILARITY_H

#include "base/status.h"

#include <stdint.h>

/** Side of the window: no image is smaller. */
enum { DMQ_SSIM_WINDOW = 11 };

/** Sums over images; zeros at first. */
typedef struct dmq_similarity_sum {
    int64_t n, equal; /**< images; those without any difference */
    int64_t per;      /**< numbers of an image */
    uint64_t squares; /**< of differences of levels */
    double ssim[3];   /**< parts of sums of images (exact_sum.h) */
    double psnr[3];   /**< of images that differ */
} dmq_similarity_sum;

typedef struct dmq_similarity {
    double ssim;
    double psnr;       /**< of the mean square over all images; infinite when all are equal */
    double psnr_image; /**< mean over the images that differ; infinite when all are equal */
    int64_t n, equal;
} dmq_similarity;

/**
 * Images are taken by threads (pieces.h).
 *
 * @param q, f  (n, h, w, c) levels
 * @return      ESHAPE when an image is smaller than the window, or not as large as those before
 */
dmq_status dmq_similarity_add(dmq_similarity_sum *sum, const uint8_t *q, const uint8_t *f, int n,
                              int h, int w, int c);

/** sum += other; ESHAPE when images differ in size. */
dmq_status dmq_similarity_merge(dmq_similarity_sum *sum, const dmq_similarity_sum *other);

/** Needs n >= 1. */
void dmq_similarity_result(dmq_similarity *out, const dmq_similarity_sum *sum);

#endif
