/**
 * Lanes: the threads of a run, each with its own queue, that take pieces of work in turn.
 *
 * The pieces are fixed by the caller (a shard of a batch, a group of images) and each is computed
 * single-threaded from start to end, so neither the number of lanes nor who takes which piece changes
 * a bit; what pieces produce is joined by the caller in the order of the pieces.
 */
#ifndef DMQ_BACKEND_LANES_H
#define DMQ_BACKEND_LANES_H

#include "backend/backend.h"

typedef struct dmq_lanes dmq_lanes;

/**
 * count threads, each with a queue of the backend. 0: as many as the machine has cores where they compute;
 * one for a device, which is kept busy by one.
 */
dmq_status dmq_lanes_create(dmq_lanes **out, const dmq_backend *backend, int count);
void dmq_lanes_destroy(dmq_lanes *lanes);

int dmq_lanes_count(const dmq_lanes *lanes);
const dmq_backend *dmq_lanes_backend(const dmq_lanes *lanes);

/** The queue of one lane, for work outside of dmq_lanes_run. */
dmq_queue *dmq_lanes_queue(const dmq_lanes *lanes, int lane);

/** One piece of work: lane is 0..count-1, no two pieces run on a lane at once. */
typedef dmq_status dmq_piece_fn(void *context, int piece, int lane, dmq_queue *queue);

/**
 * Run pieces 0..n_pieces-1, handed out in ascending order; all that they asked of their queues has been done
 * when it returns. After a failure no further piece starts; the status and message of the failed piece with
 * the smallest number are returned.
 */
dmq_status dmq_lanes_run(dmq_lanes *lanes, int n_pieces, dmq_piece_fn *fn, void *context);

/**
 * While on, of lanes that are one: dmq_lanes_run does not wait for what it asked of the queue, since that is
 * recorded and not done (capture_begin of backend.h).
 */
void dmq_lanes_record(dmq_lanes *lanes, int on);

#endif
