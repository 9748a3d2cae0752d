/**
 * Streams beside a queue's own: pieces of work that do not wait for each other, none of which fills the device.
 *
 *   DMQ_TRY(dmq_cuda_fork(&n, queue));           what comes waits for all that was asked of the queue before
 *   for (...)
 *       ... ask dmq_cuda_branch(queue, i % n) ...    branch 0 is the queue itself
 *   st = dmq_cuda_join(queue, n);                 what is asked of the queue from here on waits for all of it
 *
 * A side is a queue with stream, scratch, workspace, libraries and plans of its own; it has nothing to do but between
 * a fork and its join, which are events alone: a capture of the queue has them as branches of its graph. Sides are
 * made at the first fork that is not recorded. Nobody else asks them for anything.
 */
#ifndef DMQ_CUDA_SIDES_H
#define DMQ_CUDA_SIDES_H

#include "cuda/device.h"

/**
 * *n: branches from here to the join, 1 where there is no memory for sides, with the warning no-side-streams, or
 * where they are first wanted inside a capture.
 */
dmq_status dmq_cuda_fork(int *n, dmq_queue *queue);

/** The i-th of n branches; the queue's. */
dmq_queue *dmq_cuda_branch(dmq_queue *queue, int i);

/** After a failure between them, too: a capture ends with all of its branches. */
dmq_status dmq_cuda_join(dmq_queue *queue, int n);

/** For the destruction of a queue. */
void dmq_cuda_sides_destroy(dmq_queue *queue);

#endif
