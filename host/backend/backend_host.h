/**
 * Memory and queues of the backends that compute on the host. A queue there only knows its lane: the
 * pass has happened when the call returns.
 */
#ifndef DMQ_BACKEND_BACKEND_HOST_H
#define DMQ_BACKEND_BACKEND_HOST_H

#include "kernels/kernel.h"

/** 64-byte aligned, zeroed; ENOMEM. */
dmq_status dmq_host_alloc(void **out, size_t bytes);

/** Takes NULL. */
void dmq_host_free(void *memory);

/** upload and download alike; nothing where both are one. */
dmq_status dmq_host_copy(dmq_queue *queue, void *dst, const void *src, size_t bytes);

dmq_status dmq_host_queue_create(dmq_queue **out, int lane);
void dmq_host_queue_destroy(dmq_queue *queue); /**< takes NULL */
dmq_status dmq_host_sync(dmq_queue *queue);

/** Everything is done when a call returns, so that an event says nothing: *out is NULL. */
dmq_status dmq_host_event_create(void **out);
void dmq_host_event_destroy(void *event);
dmq_status dmq_host_event(dmq_queue *queue, void *event); /**< record and wait alike */

#endif
