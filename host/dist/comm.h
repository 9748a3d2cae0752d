/**
 * A group: `size` ranks, each with a backend of its own, that compute one result together.
 *
 *   self     one rank: copies, nothing to wait for
 *   threads  ranks are threads of one process (threads.h): many cores, tests
 *   meet     ranks are processes, on one machine or several, that find each other by TCP (meet.h)
 *
 * All ranks make the same calls in the same order. Calls on a queue move memory of the backend, in the order of the
 * queue: between devices by themselves (NCCL: the call returns before it is done, and may be captured once its kind
 * has run before); where the backend is a host, or the devices have no way, through host memory, and then the call
 * returns when it is done. Such a call is waited for with dmq_comm_sync, not with the backend's sync, which
 * would wait for a dead rank for ever.
 *
 * Numbers move as bytes and are added nowhere on the way; sums are those of sum.h, in the order of the shards.
 *
 * Bytes of one rank, of `bytes` each, n = size:
 *
 *                     threads      TCP, rank 0             TCP, others        NCCL (ring), each
 *   all_gather  sends    0         (n-1) n bytes           bytes              (n-1) bytes
 *               gets  (n-1) bytes  (n-1) bytes             n bytes            (n-1) bytes
 *   broadcast   gets   bytes       through rank 0          bytes              bytes
 *   all_to_all  sends    0         (n-1) n bytes           n bytes            (n-1) bytes
 *               gets  (n-1) bytes  (n-1) n bytes           n bytes            (n-1) bytes
 *
 * Failure. A call that waits longer than the group's limit for a rank, or whose rank has gone, fails with EPEER
 * (exit 76) on every rank, and the message names the rank and what it last took part in. From then on every
 * call of the group fails so; destroy it and leave. A rank that fails by itself says so with dmq_comm_fail. One thread
 * makes the calls of a rank, on one queue at a time: another queue, or a call while one is under way, is refused
 * (EINVAL).
 */
#ifndef DMQ_DIST_COMM_H
#define DMQ_DIST_COMM_H

#include "backend/backend.h"

typedef struct dmq_comm dmq_comm;

/** How memory of a device goes from rank to rank. */
typedef enum dmq_comm_way {
    DMQ_COMM_AUTO, /**< by itself where every rank can and has a device of its own, else over the hosts */
    DMQ_COMM_HOST,  /**< over the hosts */
    DMQ_COMM_DEVICE /**< by itself, or ENOTSUP */
} dmq_comm_way;

typedef struct dmq_comm_config {
    const dmq_backend *backend;
    dmq_comm_way way;
    double seconds; /**< limit of a call; 0: DMQ_COMM_SECONDS of the environment, or 600 */
} dmq_comm_config;

/** The group of one: nothing moves, unless the way is DEVICE, where the library is called all the same. */
dmq_status dmq_comm_self(dmq_comm **out, const dmq_comm_config *config);

/** Leaves the group. Takes NULL. No call of this rank is under way. */
void dmq_comm_destroy(dmq_comm *comm);

int dmq_comm_rank(const dmq_comm *comm);
int dmq_comm_size(const dmq_comm *comm);
const dmq_backend *dmq_comm_backend(const dmq_comm *comm);

/** How its memory moves: "NCCL 2.28.9", "host". */
const char *dmq_comm_way_name(const dmq_comm *comm);

/* ------------------------------------------------------------------ memory of the backend, on a queue */

/** data (size, bytes): part r becomes what rank r had there; a rank's own part is where it will be. */
dmq_status dmq_comm_all_gather(dmq_comm *comm, dmq_queue *queue, void *data, size_t bytes);

/** data (bytes) becomes the root's. */
dmq_status dmq_comm_broadcast(dmq_comm *comm, dmq_queue *queue, void *data, size_t bytes, int root);

/** Part q of out (size, bytes) becomes part `rank` of rank q's in (size, bytes). out is not in. */
dmq_status dmq_comm_all_to_all(dmq_comm *comm, dmq_queue *queue, void *out, const void *in,
                               size_t bytes);

/** Wait until all that was asked of the queue is done; then another queue may be used. */
dmq_status dmq_comm_sync(dmq_comm *comm, dmq_queue *queue);

/* ------------------------------------------------------------------ memory of the host */

/** As all_gather and broadcast, of host memory; done when they return. */
dmq_status dmq_comm_exchange(dmq_comm *comm, void *data, size_t bytes);
dmq_status dmq_comm_spread(dmq_comm *comm, void *data, size_t bytes, int root);

/** Returns when all ranks have come. Says nothing of their queues. */
dmq_status dmq_comm_barrier(dmq_comm *comm);

/** *flag becomes 1 where any rank has it set: one wants to stop, all stop. */
dmq_status dmq_comm_any(dmq_comm *comm, int *flag);

/**
 * That all ranks hold the same bytes (a hash of the configuration).
 *
 * @param what  what a person would call it: "the configuration"
 * @return      EINVAL on every rank, with the ranks that differ from rank 0
 */
dmq_status dmq_comm_agree(dmq_comm *comm, const char *what, const void *bytes, size_t count);

/** What this rank is at, for the message of others that wait for it: "quantize down.1.0". Cheap. */
void dmq_comm_label(dmq_comm *comm, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** This rank fails, of what dmq_message() says: no other waits for it any longer. */
void dmq_comm_fail(dmq_comm *comm);

#endif
