#include "cuda/device.h"

#include "base/memory.h"

#include <assert.h>

enum { SCRATCH_BYTES = 32 << 20 }; /* as kernels/device.cuh has it */

void *dmq_cuda_stream(dmq_queue *queue);
dmq_status dmq_cuda_launched(const char *kernel);
dmq_status dmq_cuda_scratch(void **out, dmq_queue *queue, size_t bytes);

dmq_status dmq_cuda_failed(cudaError_t error, const char *call)
{
    size_t free_bytes = 0, total = 0;

    (void)cudaMemGetInfo(&free_bytes, &total);
    return dmq_fail(error == cudaErrorMemoryAllocation ? DMQ_ENOMEM : DMQ_EDEVICE,
                    "cuda: %s: %s (%.0f of %.0f MiB are free)", call, cudaGetErrorString(error),
                    (double)free_bytes / 1048576, (double)total / 1048576);
}

dmq_status dmq_cuda_alloc(void **out, size_t bytes)
{
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_CUDA(cudaMalloc(out, bytes ? bytes : 1));
done:
    return st;
}

void dmq_cuda_free(void *memory)
{
    (void)cudaFree(memory);
}

dmq_status dmq_cuda_upload(dmq_queue *queue, void *device, const void *host, size_t bytes)
{
    dmq_status st = DMQ_OK;

    DMQ_CUDA(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, queue->stream));
    /* The caller may reuse its memory at once. */
    DMQ_CUDA(cudaStreamSynchronize(queue->stream));
done:
    return st;
}

dmq_status dmq_cuda_download(dmq_queue *queue, void *host, const void *device, size_t bytes)
{
    dmq_status st = DMQ_OK;

    DMQ_CUDA(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, queue->stream));
    DMQ_CUDA(cudaStreamSynchronize(queue->stream));
done:
    return st;
}

dmq_status dmq_cuda_queue_create(dmq_queue **out, int lane)
{
    dmq_queue *q = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&q, 1, sizeof *q));
    q->lane = lane;
    DMQ_CUDA(cudaStreamCreateWithFlags(&q->stream, cudaStreamNonBlocking));
    DMQ_CUDA(cudaMalloc(&q->scratch, SCRATCH_BYTES));
    *out = q;
    q = NULL;
done:
    dmq_cuda_queue_destroy(q);
    return st;
}

void dmq_cuda_queue_destroy(dmq_queue *queue)
{
    if (!queue)
        return;
    if (queue->stream)
        (void)cudaStreamDestroy(queue->stream);
    (void)cudaFree(queue->scratch);
    dmq_free(queue);
}

dmq_status dmq_cuda_sync(dmq_queue *queue)
{
    dmq_status st = DMQ_OK;

    DMQ_CUDA(cudaStreamSynchronize(queue->stream));
done:
    return st;
}

void *dmq_cuda_stream(dmq_queue *queue)
{
    return queue->stream;
}

dmq_status dmq_cuda_launched(const char *kernel)
{
    cudaError_t error = cudaGetLastError();

    return error == cudaSuccess ? DMQ_OK : dmq_cuda_failed(error, kernel);
}

dmq_status dmq_cuda_scratch(void **out, dmq_queue *queue, size_t bytes)
{
    *out = NULL;
    if (bytes > SCRATCH_BYTES) {
        return dmq_fail(DMQ_ENOMEM, "cuda: a launcher asks for %zu bytes of scratch, there are %d",
                        bytes, SCRATCH_BYTES);
    }
    *out = queue->scratch;
    return DMQ_OK;
}
