/**
 * Winograd's convolution F(4x4, 3x3): 3x3, stride 1, any padding up to two pixels, whole blocks of 16
 * channels, NHWC and KRSC as they lie. 36 products instead of 144 for every 4x4 pixels and pair of channels.
 *
 *   forward   y  = A^T [ (G w G^T) . (B^T x B) ] A          by tiles of 4x4 results, 6x6 inputs
 *   data      dx = the same of dy, with channels exchanged and taps in the reverse order
 *   weights   dw = G^T [ sum over tiles of (A dy A^T) . (B^T x B) ] G
 *
 * at the points 0, +-5/8, +-3/2 and infinity (errors of about 1e-6 of the result). A run of tiles is
 * transformed, multiplied (36 small matrix products) and transformed back while it is in the second-level
 * cache. A number of y or dx is one chain of fused multiply-adds for each point, over the channels in
 * ascending order: an image's result does not depend on its batch. dw is summed over the tiles in ascending
 * order. AVX-512, or AVX2 with FMA.
 *
 * And along a line, F(3, 7) and F(4, 3), forward alone: kernels of 1x7, 7x1, 1x3 and 3x1, 9 products for 21 and
 * 6 for 12, at the points 0 (not for seven taps), infinity and some pairs (errors of 2e-6 and 1e-6). And
 * F(4x4, 5x5), forward alone as well: 64 products for 400 (3e-6). These errors are of sums over numbers of both signs;
 * behind a ReLU they are half as large.
 *
 * @see  Lavin and Gray, arXiv:1509.09308; the points: Barabasz et al., arXiv:1803.10986
 */
#ifndef DMQ_BACKEND_CPU_WINOGRAD_H
#define DMQ_BACKEND_CPU_WINOGRAD_H

#include "backend/cpu_conv2d.h"

/** 1 when the pass of the shape is one of those, and the machine has the instructions. */
int dmq_cpu_winograd_fits(dmq_conv_pass pass, const dmq_conv2d_args *a);

/** "winograd:avx512", "winograd:avx2"; "none". */
const char *dmq_cpu_winograd_name(void);

/** y, dx or dw of a shape that fits; bias, add and relu as in kernels/conv2d.h, dbias is not made here. */
dmq_status dmq_cpu_winograd(dmq_queue *queue, dmq_conv_pass pass, const dmq_conv2d_args *a);

/**
 * Weights at the points, G w G^T: 36 k c numbers, in the order that the products read them.
 *
 * @param k, c    channels out and in of the convolution that is run
 * @param w       (k, 3, 3, c); turned: (c, 3, 3, k), the weights whose gradient of x is taken
 * @param turned  1: exchange channels and reverse the taps
 */
void dmq_cpu_winograd_weights(float *u, int k, int c, const float *w, int turned);

/**
 * Transformed weights kept from call to call, for all queues: while weights stay the same (sampling, the
 * shards of one iteration) they are transformed once. A copy of the weights lies beside them and is
 * compared at each call, so that nobody has to tell when weights change: comparing costs a tenth of
 * transforming.
 *
 * get returns NULL when the caller should transform for itself: another queue is just doing it or still
 * reads the old ones, or DMQ_PREPARED_BYTES are in use, or there is no memory. Put back what was got.
 */
typedef struct dmq_prepared dmq_prepared;

/** The weights and what is made of them: points k c numbers from taps k c. */
typedef struct dmq_prepare {
    const float *w;
    int k, c, taps, points, turned;
    void (*make)(float *u, const struct dmq_prepare *what);
} dmq_prepare;

dmq_prepared *dmq_cpu_prepared_get(const dmq_prepare *what);
const float *dmq_cpu_prepared_weights(const dmq_prepared *prepared);
void dmq_cpu_prepared_put(dmq_prepared *prepared); /**< takes NULL */

/** Free all; nobody may hold any. */
void dmq_cpu_prepared_clear(void);

#define DMQ_PREPARED_BYTES ((size_t)1 << 30)

#endif
