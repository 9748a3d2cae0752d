/**
 * Operands of a product in half precision (kernels/half.h), in memory of the queue's.
 *
 * They are cast anew for every call, weights too: whoever owns an array writes it without telling. Where the
 * caller says that an array is what it was in an earlier call (conv2d.h: `same`) the halves of that call are
 * taken, if they are still there: number, array and shape must be those of the call that left them, and no
 * recording may have begun, ended or been launched between: a replay casts what was cast in its recording, and
 * nothing else.
 *
 * Memory grows with the shapes that are met and what was given out is kept until the queue ends, since a
 * recording may point at it.
 */
#ifndef DMQ_CUDA_HALF_H
#define DMQ_CUDA_HALF_H

#include "kernels/half.h"

typedef struct dmq_cuda_halves_room dmq_cuda_halves_room;

/** An operand: what is known of it, and how long its halves are to be there. */
typedef struct dmq_cuda_half {
    dmq_half_args array; /**< x, shape and steps are set */
    uint64_t same;       /**< 0: nothing is known */
    enum {
        DMQ_HALF_OPERAND, /**< until the next call; those of an earlier call of this number are taken */
        DMQ_HALF_KEPT, /**< cast anew, and there while calls of the same pass of a tape go on (same >> 20) */
        DMQ_HALF_GRADIENT /**< until the next gradient; those of an earlier call of this number are taken */
    } as;
} dmq_cuda_half;

/** Two operands, and what their product is to be multiplied by: alpha / s_a / s_b, then beta. */
typedef struct dmq_cuda_halves {
    const uint16_t *a, *b;
    const float *factor; /**< (2) on the device */
} dmq_cuda_halves;

/** Scale and cast what is not there yet; good until the next call on the queue. One is a gradient at most. */
dmq_status dmq_cuda_halves_make(dmq_cuda_halves *out, dmq_queue *queue, const dmq_cuda_half *a,
                                const dmq_cuda_half *b, float alpha, float beta);

/** Room for a result that cannot go where it belongs at once; good until the next call on the queue. */
dmq_status dmq_cuda_halves_result(float **out, dmq_queue *queue, size_t bytes);

/** At the queue's end. Takes NULL. */
void dmq_cuda_halves_release(dmq_cuda_halves_room *room);

#endif
