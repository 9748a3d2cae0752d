/**
 * Rows of stores that are not on the device, brought to it while it computes on those before.
 *
 *   batch b   `rows` rows of every store, by a list of their numbers or in order, known ahead
 *   table k   (2, room, per) of store k, on the device: batch b lies in half b % 2
 *
 *   begin(trip, 0)   take(0) ... compute on 0 ... leave(0)   take(1) ... leave(1)   ...
 *
 * A thread reads rows from the disk and asks a queue of its own for the copies; batch b + 1 is brought while
 * b is computed on, and b + 2 as soon as b is left. Both sides wait for each other by events, so that neither
 * take nor leave waits for the device. A row of a batch is always at the same place of the tables for its
 * batch's parity: an iteration that was recorded reads it by an index, as it does what is on the device.
 */
#ifndef DMQ_RECON_PREFETCH_H
#define DMQ_RECON_PREFETCH_H

#include "recon/store.h"

/** Most stores that are brought together. */
#define DMQ_PREFETCH_MOST 16

typedef struct dmq_prefetch dmq_prefetch;

/** What will be wanted, in order. */
typedef struct dmq_trip {
    const int
        *index; /**< (batches, stride), host memory that stays; NULL: rows first, first + 1, ... */
    int stride; /**< numbers from one batch's first to the next one's */
    int first;
    int rows;  /**< of a batch, at most the room */
    int count; /**< of all batches; the last one may have fewer */
} dmq_trip;

/** Stores must outlive it; those on the device need not be brought. Starts the thread. */
dmq_status dmq_prefetch_create(dmq_prefetch **out, const dmq_backend *be,
                               const dmq_store *const *store, int n);

/** Takes NULL. */
void dmq_prefetch_destroy(dmq_prefetch *p);

/** Room for batches of as many rows; ends a trip when the tables have to be made anew, which *moved tells. */
dmq_status dmq_prefetch_reserve(dmq_prefetch *p, int rows, int *moved);
int dmq_prefetch_room(const dmq_prefetch *p);

/** Table of a store, and the number of a batch's row in it. */
const dmq_real *dmq_prefetch_table(const dmq_prefetch *p, int k);
int dmq_prefetch_row(const dmq_prefetch *p, int batch, int row);

/** Set out, from a batch on; a trip under way ends. The number of the trip, never 0. */
unsigned dmq_prefetch_begin(dmq_prefetch *p, const dmq_trip *trip, int batch);

/** The trip under way; 0: none. */
unsigned dmq_prefetch_trip(const dmq_prefetch *p);

/** Nothing more is brought; the trip's list may change. */
void dmq_prefetch_end(dmq_prefetch *p);

/** What is asked of the queue from now on finds the batch; what failed on the way is told here. */
dmq_status dmq_prefetch_take(dmq_prefetch *p, int batch, dmq_queue *queue);

/** What was asked of the queue so far is all that reads the batch. Batches are left in their order. */
dmq_status dmq_prefetch_leave(dmq_prefetch *p, int batch, dmq_queue *queue);

#endif
