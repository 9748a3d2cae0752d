/**
 * Foreign status turned into ours, with the name of the call and what the person needs to go on.
 */
#ifndef DMQ_CUDA_CHECK_H
#define DMQ_CUDA_CHECK_H

#include "base/status.h"

#include <cuda_runtime_api.h>

/** EDEVICE, or ENOMEM when that is what it is, with the call and the memory that is free. */
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
