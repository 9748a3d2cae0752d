/**
 * Devices that speak to each other without the host: what the group of dist/comm.h has beside its own link, where
 * the backend is a device with a library for it (NCCL).
 *
 * Calls are in the order of the queue and return before they are done; they may be captured, once each kind has run
 * on the queue before. All ranks ask for the same calls in the same order. Bytes are those of one rank's part.
 */
#ifndef DMQ_BACKEND_DEVICE_GROUP_H
#define DMQ_BACKEND_DEVICE_GROUP_H

#include "backend/backend.h"

enum { DMQ_DEVICE_KEY = 128, DMQ_DEVICE_NAME = 64 };

typedef struct dmq_device_group dmq_device_group;

struct dmq_device_group {
    char name[DMQ_DEVICE_NAME]; /**< "NCCL 2.28.9" */
    /** data (size, bytes); part `rank` is in place. */
    dmq_status (*all_gather)(dmq_device_group *group, dmq_queue *queue, void *data, size_t bytes);
    dmq_status (*broadcast)(dmq_device_group *group, dmq_queue *queue, void *data, size_t bytes,
                            int root);
    /** Part q of in (size, bytes) goes to rank q; part q of out (size, bytes) is from it. */
    dmq_status (*all_to_all)(dmq_device_group *group, dmq_queue *queue, void *out, const void *in,
                             size_t bytes);
    /** *done: whether all that was asked of the queue is done. Does not wait; EDEVICE, EPEER. */
    dmq_status (*poll)(dmq_device_group *group, dmq_queue *queue, int *done);
    /** Give up what is under way; only close may follow. */
    void (*abort)(dmq_device_group *group);
    /** When nothing is under way, or after abort. Takes no NULL. */
    void (*close)(dmq_device_group *group);
};

/** How a group opens: rank 0 makes the key, all are given it. */
typedef struct dmq_device_group_config {
    int rank, size;
    unsigned char key[DMQ_DEVICE_KEY];
    double seconds; /**< how long to wait for the others, here and in a call that must */
    /** Asked while waiting: what is not DMQ_OK ends it. Not NULL. */
    dmq_status (*watch)(void *context);
    void *context;
} dmq_device_group_config;

/**
 * Whether this backend's device could be in a group. device: its name among those of this machine; two ranks of one
 * group must have two.
 *
 * @return ENOTSUP with the reason
 */
dmq_status dmq_device_group_ready(char device[DMQ_DEVICE_NAME], const dmq_backend *backend);

dmq_status dmq_device_group_key(unsigned char key[DMQ_DEVICE_KEY], const dmq_backend *backend);

/** All ranks at once. EPEER when another one does not come. */
dmq_status dmq_device_group_open(dmq_device_group **out, const dmq_backend *backend,
                                 const dmq_device_group_config *config);

/* Those of cuda; only in a build with CUDA. */
dmq_status dmq_device_group_cuda_ready(char device[DMQ_DEVICE_NAME]);
dmq_status dmq_device_group_cuda_key(unsigned char key[DMQ_DEVICE_KEY]);
dmq_status dmq_device_group_cuda_open(dmq_device_group **out,
                                      const dmq_device_group_config *config);

#endif
