/**
 * Work of a metric in pieces: features are host memory on every backend, so OpenMP's threads take the pieces, not
 * the lanes of a device.
 *
 * A piece is computed single-threaded from start to end, libraries included, and writes what is its own; so neither
 * the number of threads nor who takes which piece changes a bit.
 */
#ifndef DMQ_EVAL_PIECES_H
#define DMQ_EVAL_PIECES_H

#include "base/status.h"

/** One piece of work: thread is 0 .. dmq_pieces_threads() - 1, no two pieces run on a thread at once. */
typedef dmq_status dmq_eval_piece(void *context, int piece, int thread);

/** How many threads a run from here can have at most: for room that each of them needs. */
int dmq_pieces_threads(void);

/** So many in runs of this thread from now on, and in other loops of OpenMP; n >= 1. At first as many as cores. */
void dmq_pieces_threads_set(int n);

/**
 * Run pieces 0 .. n - 1. After a failure no further piece starts; of those that failed the status and message of the
 * smallest number are returned.
 */
dmq_status dmq_pieces_run(int n, dmq_eval_piece *fn, void *context);

#endif
