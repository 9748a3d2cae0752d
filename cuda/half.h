/**
 * Operands of a product in half precision (kernels/half.h), in memory of the queue's.
 *
 * They are cast anew for every call, weights too: whoever owns an array writes it without telling, and a cast
 * is 6 bytes a number beside the product's work. Memory grows with the shapes that are met and what was given
 * out is kept until the queue ends, since a recording may point at it.
 */
#ifndef DMQ_CUDA_HALF_H
#define DMQ_CUDA_HALF_H

#include "kernels/half.h"

typedef struct dmq_cuda_halves_room dmq_cuda_halves_room;

/** Two operands, and what their product is to be multiplied by: alpha / s_a / s_b, then beta. */
typedef struct dmq_cuda_halves {
    const uint16_t *a, *b;
    const float *factor; /**< (2) on the device */
} dmq_cuda_halves;

/** Scale and cast a and b, of which x, shape and steps are set; good until the next call on the queue. */
dmq_status dmq_cuda_halves_make(dmq_cuda_halves *out, dmq_queue *queue, const dmq_half_args *a,
                                const dmq_half_args *b, float alpha, float beta);

/** Room for a result that cannot go where it belongs at once; good until the next call on the queue. */
dmq_status dmq_cuda_halves_result(float **out, dmq_queue *queue, size_t bytes);

/** At the queue's end. Takes NULL. */
void dmq_cuda_halves_release(dmq_cuda_halves_room *room);

#endif
