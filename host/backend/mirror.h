/**
 * A block of host memory and its counterpart on the device, for what both sides have to do with:
 * parameters of a model, its quantized weights, tables.
 *
 *   dmq_mirror m;
 *   dmq_mirror_init(&m, backend, block, bytes);             the host's block stays the caller's
 *   ... write block ...
 *   dmq_mirror_push(&m, queue, block, bytes);               all of it, or a part
 *   slot(queue, { .x = dmq_mirror_device(&m, block + i) })
 *
 * Where the backend computes on host memory both are the same block, and nothing is copied. What one side
 * writes the other sees after push or pull alone; the tests run on a backend where that shows.
 */
#ifndef DMQ_BACKEND_MIRROR_H
#define DMQ_BACKEND_MIRROR_H

#include "backend/backend.h"

/** All zero: not on any device yet; dmq_mirror_device then gives the host's address. */
typedef struct dmq_mirror {
    const dmq_backend *backend;
    char *host, *device;
    size_t bytes;
} dmq_mirror;

/** Memory on the device, its contents undefined; ENOMEM. backend must outlive the mirror. */
dmq_status dmq_mirror_init(dmq_mirror *m, const dmq_backend *backend, void *host, size_t bytes);

/** Frees the device's block; then all zero. */
void dmq_mirror_release(dmq_mirror *m);

/** The device's address of one in the host's block. */
void *dmq_mirror_device(const dmq_mirror *m, const void *host);

/** Copy bytes from `host`, an address in the host's block, to where they belong on the device. */
dmq_status dmq_mirror_push(const dmq_mirror *m, dmq_queue *queue, const void *host, size_t bytes);

/** And back; the host may read when the queue has been synchronized. */
dmq_status dmq_mirror_pull(const dmq_mirror *m, dmq_queue *queue, void *host, size_t bytes);

#endif
