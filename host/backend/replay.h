/**
 * Work that is the same sequence of passes every time, with no number of the host's in it: done once as it is,
 * recorded at the second time, and replayed from there on, where the backend can (capture_begin of backend.h).
 *
 *   dmq_replay r = { 0 };
 *   for (...)
 *       dmq_replay_run(&r, be, queue, lanes, fn, context);
 *   dmq_replay_drop(&r, be);
 *
 * fn asks for its passes on the queue. Drop when an address or a number that it passes by value has changed.
 */
#ifndef DMQ_BACKEND_REPLAY_H
#define DMQ_BACKEND_REPLAY_H

#include "backend/lanes.h"

typedef dmq_status dmq_replay_fn(void *context, dmq_queue *queue);

typedef struct dmq_replay {
    int warm;    /**< 1: done once since the last drop, so that the plans of its passes are made */
    void *graph; /**< NULL: not recorded */
} dmq_replay;

/**
 * @param lanes  one lane, whose dmq_lanes_run fn calls; NULL: fn calls none
 */
dmq_status dmq_replay_run(dmq_replay *replay, const dmq_backend *be, dmq_queue *queue,
                          dmq_lanes *lanes, dmq_replay_fn *fn, void *context);

/** Forget the recording; takes zeros, leaves zeros. */
void dmq_replay_drop(dmq_replay *replay, const dmq_backend *be);

#endif
