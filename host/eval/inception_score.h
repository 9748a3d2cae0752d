/**
 * Inception score: how sure a classifier is of each image, and how different the images are to it.
 *
 *   p = softmax(logits)      score of a part = exp( mean_x sum_y p(y|x) log p(y|x)  -  sum_y pbar(y) log pbar(y) )
 *
 * which is exp(mean_x sum_y p (log p - log pbar)) with pbar = mean_x p; 0 log 0 = 0. All in FP64. The result is mean and
 * population standard deviation over the parts.
 *
 *   torch-fidelity   order = dmq_numpy_permutation(2020), splits 10: part i is [i n/10, (i+1) n/10)
 *   ADM              order NULL, part 5000: consecutive images, the last part shorter. Images that were sampled class by
 *                    class have a small score then, since a part holds few classes (about 60 for ImageNet)
 *
 * @see specs: models.md 6.5, 6.8; Salimans et al., arXiv:1606.03498
 */
#ifndef DMQ_EVAL_INCEPTION_SCORE_H
#define DMQ_EVAL_INCEPTION_SCORE_H

#include "eval/interval.h"

/** Which images make a part. */
typedef struct dmq_score_parts {
    const uint32_t *order; /**< (n) the image at each place; NULL: as given */
    int splits;            /**< so many parts of equal size, but for one image */
    int part;              /**< > 0: parts of so many images instead */
} dmq_score_parts;

/**
 * @param logits  (n, classes)
 * @param sd      may be NULL
 * @return        EDATA names the first image whose logits are not finite, or says that n cannot make the parts
 */
dmq_status dmq_inception_score(double *mean, double *sd, const float *logits, size_t n, int classes,
                               const dmq_score_parts *parts);

/**
 * Bootstrap interval of the mean over the parts (interval.h); a part is resampled within itself: draw i of resample b
 * belongs to place i of the order, and takes an image of that place's part.
 */
dmq_status dmq_inception_score_bootstrap(dmq_interval *out, const float *logits, size_t n,
                                         int classes, const dmq_score_parts *parts,
                                         const dmq_bootstrap *how);

#endif
