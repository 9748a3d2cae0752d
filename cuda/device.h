/**
 * The CUDA device as the backend table sees it: memory, queues, and foreign status turned into ours.
 */
#ifndef DMQ_CUDA_DEVICE_H
#define DMQ_CUDA_DEVICE_H

#include "kernels/kernel.h"

#include <cuda_runtime_api.h>

/** A queue is a stream with the scratch of its launchers. */
struct dmq_queue {
    cudaStream_t stream;
    void *scratch;
    int lane;
};

dmq_status dmq_cuda_alloc(void **out, size_t bytes);
void dmq_cuda_free(void *memory);
dmq_status dmq_cuda_upload(dmq_queue *queue, void *device, const void *host, size_t bytes);
dmq_status dmq_cuda_download(dmq_queue *queue, void *host, const void *device, size_t bytes);
dmq_status dmq_cuda_queue_create(dmq_queue **out, int lane);
void dmq_cuda_queue_destroy(dmq_queue *queue);
dmq_status dmq_cuda_sync(dmq_queue *queue);

/** EDEVICE (ENOMEM when that is what it is) with the call's name and the free memory. */
dmq_status dmq_cuda_failed(cudaError_t error, const char *call);

#define DMQ_CUDA(call)                               \
    do {                                             \
        cudaError_t cuda_error = (call);             \
        if (cuda_error != cudaSuccess) {             \
            st = dmq_cuda_failed(cuda_error, #call); \
            goto done;                               \
        }                                            \
    } while (0)

#endif
