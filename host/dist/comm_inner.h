/**
 * How a group is made of a link and, where there is one, of a way between devices. For the files of this folder alone.
 */
#ifndef DMQ_DIST_COMM_INNER_H
#define DMQ_DIST_COMM_INNER_H

#include "backend/device_group.h"
#include "dist/comm.h"
#include "dist/link.h"

#include <stdatomic.h>

/** Bytes of one part that go through the host at once, where a device has no way of its own. */
enum { DMQ_COMM_STAGE = 1 << 20 };

struct dmq_comm {
    dmq_link *link;
    const dmq_backend *be;
    dmq_device_group *device; /**< NULL: over the hosts */
    unsigned char *stage;     /**< (2, size, DMQ_COMM_STAGE); NULL: not needed */
    int *flags;               /**< (size) */
    dmq_queue *queue;         /**< of the calls since the last dmq_comm_sync */
    dmq_call last;            /**< asked of the device */
    long calls;               /**< of the link */
    atomic_int busy;
    int failed, aborted;
    char why[DMQ_PEER_TEXT];
};

/**
 * All ranks at once: agrees on the backend and the way. Takes the link over, also where it fails.
 *
 * @return EINVAL when backends differ, ENOTSUP when the way that was asked for is not there
 */
dmq_status dmq_comm_create(dmq_comm **out, dmq_link *link, const dmq_comm_config *config);

/** The limit that a configuration means. EINVAL for a DMQ_COMM_SECONDS that is no number. */
dmq_status dmq_comm_seconds(double *out, const dmq_comm_config *config);

/** The next call of the link. */
dmq_status dmq_comm_ask(dmq_comm *comm, dmq_call_kind kind, void *data, const void *in,
                        size_t bytes, int root);

/** The end of a call: of a failure the others are told, and what runs on the device is given up. */
dmq_status dmq_comm_leave(dmq_comm *comm, dmq_status st);

/* comm_stage.c: calls on memory that only the device reaches, piece by piece through the host. */
dmq_status dmq_comm_staged_gather(dmq_comm *comm, dmq_queue *queue, void *data, size_t bytes);
dmq_status dmq_comm_staged_broadcast(dmq_comm *comm, dmq_queue *queue, void *data, size_t bytes,
                                     int root);
dmq_status dmq_comm_staged_turn(dmq_comm *comm, dmq_queue *queue, void *out, const void *in,
                                size_t bytes);

#endif
