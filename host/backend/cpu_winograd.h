/**
 * What surrounds oneDNN's Winograd convolution F(4x4, 3x3): its 16-channel blocks, and its weights.
 *
 * The primitive takes weights that are already transformed, U = G g G^T for each pair of channels, at
 * the points 0, +-5/8, +-3/2 and infinity. They are made here, once a call, from KRSC as it lies, also
 * turned around for the gradient of x, which is the same convolution with channels exchanged and taps
 * in the reverse order. oneDNN's own reorder to this format takes 40 times as long, and the form that
 * transforms inside of the primitive does so anew for every group of images.
 */
#ifndef DMQ_BACKEND_CPU_WINOGRAD_H
#define DMQ_BACKEND_CPU_WINOGRAD_H

#include <stddef.h>

enum { DMQ_BLOCK = 16 };

/** Transformed weights lie as (k/16/big_k, 6, 6, c/16/big_c, big_k, big_c, 16 c, 16 k). */
typedef struct dmq_winograd_layout {
    int k, c;         /**< channels out and in of the convolution that is run */
    int big_k, big_c; /**< blocks of 16 that lie together */
} dmq_winograd_layout;

/**
 * @param out     36 k c numbers
 * @param w       (k, 3, 3, c); turned: (c, 3, 3, k), the weights whose gradient of x is taken
 * @param turned  1: exchange channels and reverse the taps
 */
void dmq_cpu_winograd_weights(float *out, const dmq_winograd_layout *layout, const float *w,
                              int turned);

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

dmq_prepared *dmq_cpu_prepared_get(const dmq_winograd_layout *layout, const float *w, int turned);
const float *dmq_cpu_prepared_weights(const dmq_prepared *prepared);
void dmq_cpu_prepared_put(dmq_prepared *prepared); /**< takes NULL */

/** Free all; nobody may hold any. */
void dmq_cpu_prepared_clear(void);

#define DMQ_PREPARED_BYTES ((size_t)1 << 30)

/** (n, hw, c) -> (n, c/16, hw, 16) and back; c a multiple of 16. */
void dmq_cpu_to_blocks(float *dst, const float *src, int n, size_t hw, int c);
void dmq_cpu_from_blocks(float *dst, const float *src, int n, size_t hw, int c, int add);

#endif
