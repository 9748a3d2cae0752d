/**
 * Random numbers by Philox4x32-10: a function of (seed, purpose, sample, step, element) and nothing
 * else, so that neither batch nor shard nor restart changes them.
 *
 *   key = (low word of seed, high word of seed ^ purpose)
 *   counter = (element / 4, step, low word of sample, high word of sample)
 *   normal: Box-Muller on pairs of the four words, u = (word + 0.5) 2^-32 in double, rounded once;
 *           logarithm and angle by series of exactly rounded operations (noise_math.h), so that every
 *           backend and machine makes the same bits
 *
 * @see Salmon et al., SC'11; library Random123
 */
#ifndef DMQ_KERNELS_NOISE_H
#define DMQ_KERNELS_NOISE_H

#include "kernels/kernel.h"

/** What a stream of numbers is for. The values are part of every file made with them: append only. */
typedef enum dmq_purpose {
    DMQ_FOR_LATENT = 1,     /**< x_T of image `sample` */
    DMQ_FOR_SAMPLER = 2,    /**< the sampler's noise at a step */
    DMQ_FOR_CALIB = 3,      /**< x_T of calibration trajectories */
    DMQ_FOR_CALIB_STEP = 4, /**< their sampler noise */
    DMQ_FOR_BATCH = 5,      /**< which samples a batch holds */
    DMQ_FOR_TRAIN_NOISE = 6,
    DMQ_FOR_TRAIN_TIME = 7,
    DMQ_FOR_INIT = 8,  /**< initial weights */
    DMQ_FOR_SPLIT = 9, /**< validation split */
    DMQ_FOR_META = 10,
    DMQ_FOR_DATA = 11,    /**< the shapes data set */
    DMQ_FOR_PERMUTE = 12, /**< the permuted-weights control */
    DMQ_FOR_OBSERVE = 13,
    DMQ_FOR_LABEL = 14,       /**< the class of image `sample` */
    DMQ_FOR_CALIB_LABEL = 15, /**< of calibration trajectories */
    DMQ_FOR_BOOTSTRAP = 16,   /**< which images resample `sample` of a metric holds */
    DMQ_FOR_TEST = 99
} dmq_purpose;

typedef struct dmq_noise_args {
    dmq_real *out; /**< (n, per) */
    int n;
    size_t per;
    uint64_t seed;
    dmq_purpose purpose;
    const uint64_t *sample; /**< (n) global sample numbers; NULL: first, first + 1, ... */
    uint64_t first;
    uint32_t step;
    const int *step_now; /**< (1), read instead of step where passes are recorded; optional */
    int channels;        /**< > 0: out is (H, W, C) while elements are numbered as in (C, H, W) */
} dmq_noise_args;

dmq_status dmq_noise_normal_ref(dmq_queue *queue, const dmq_noise_args *a);

/** Four words of the generator, for host code. */
void dmq_philox(uint32_t out[4], uint64_t seed, dmq_purpose purpose, uint64_t sample, uint32_t step,
                uint32_t block);

/** Uniform in [0, 1) with 53 bits, number i of a stream. */
double dmq_uniform(uint64_t seed, dmq_purpose purpose, uint64_t sample, uint32_t step, uint32_t i);

/** A permutation of 0..n-1 (Fisher-Yates), the same for the same arguments. */
void dmq_permutation(int *out, int n, uint64_t seed, dmq_purpose purpose, uint64_t sample,
                     uint32_t step);

#endif
