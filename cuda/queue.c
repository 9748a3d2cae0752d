/* Queues: a stream, what its launchers need, and the ways to and from the host. */
#include "cuda/device.h"

#include "base/log.h"
#include "base/memory.h"
#include "cuda/half.h"
#include "cuda/sides.h"

#include <string.h>

/* A library that is not here is told once; our own kernels do its work. */
static dmq_status open_libraries(dmq_queue *q)
{
    const dmq_cublaslt *lt = NULL;
    const dmq_cudnn *nn = NULL;
    dmq_status st = DMQ_OK;

    if (dmq_cublaslt_load(&lt) != DMQ_OK) {
        if (dmq_log_warnings("no-cublaslt") == 0)
            dmq_log_warn("no-cublaslt", "%s", dmq_message());
    } else if (lt->Create(&q->cublaslt) != CUBLAS_STATUS_SUCCESS) {
        DMQ_TRY(dmq_fail(DMQ_EDEVICE, "cuda: cublasLtCreate failed (%s)", dmq_cublaslt_place()));
    }
    if (dmq_cudnn_load(&nn) != DMQ_OK) { /* after cuBLASLt, which it uses */
        if (dmq_log_warnings("no-cudnn") == 0)
            dmq_log_warn("no-cudnn", "%s", dmq_message());
        goto done;
    }
    DMQ_TRY(dmq_cudnn_status(nn->Create(&q->cudnn), "cudnnCreate"));
    DMQ_TRY(dmq_cudnn_status(nn->SetStream(q->cudnn, q->stream), "cudnnSetStream"));
done:
    return st;
}

dmq_status dmq_cuda_queue_create(dmq_queue **out, int lane)
{
    dmq_queue *q = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_cuda_use());
    DMQ_TRY(dmq_alloc((void **)&q, 1, sizeof *q));
    q->lane = lane;
    DMQ_CUDA(cudaStreamCreateWithFlags(&q->stream, cudaStreamNonBlocking));
    DMQ_CUDA(cudaEventCreateWithFlags(&q->fence, cudaEventDisableTiming));
    if (lane != DMQ_CUDA_SIDE) {
        for (int i = 0; i < DMQ_CUDA_STAGES; i++)
            DMQ_CUDA(cudaEventCreateWithFlags(&q->stage_done[i], cudaEventDisableTiming));
        DMQ_CUDA(cudaHostAlloc((void **)&q->stage, (size_t)DMQ_CUDA_STAGES * DMQ_CUDA_STAGE,
                               cudaHostAllocDefault));
    }
    if (lane != DMQ_COPIES) {
        q->workspace_bytes = dmq_cuda_workspace_bytes();
        DMQ_TRY(dmq_cuda_alloc(&q->scratch, DMQ_CUDA_SCRATCH));
        DMQ_TRY(dmq_cuda_alloc(&q->workspace, q->workspace_bytes));
        DMQ_TRY(open_libraries(q));
    }
    dmq_cuda_queue_list(q, 1);
    *out = q;
    q = NULL;
done:
    dmq_cuda_queue_destroy(q);
    return st;
}

void dmq_cuda_queue_destroy(dmq_queue *queue)
{
    const dmq_cublaslt *lt = NULL;
    const dmq_cudnn *nn = NULL;

    if (!queue)
        return;
    (void)dmq_cuda_use();
    dmq_cuda_sides_destroy(queue);
    if (queue->stream)
        (void)cudaStreamSynchronize(queue->stream);
    dmq_cuda_queue_list(queue, 0);
    dmq_cuda_plans_release(&queue->conv, dmq_cuda_conv_plan_destroy);
    dmq_cuda_plans_release(&queue->product, dmq_cuda_product_plan_destroy);
    if (queue->cudnn && dmq_cudnn_load(&nn) == DMQ_OK)
        (void)nn->Destroy(queue->cudnn);
    if (queue->cublaslt && dmq_cublaslt_load(&lt) == DMQ_OK)
        (void)lt->Destroy(queue->cublaslt);
    dmq_cuda_halves_release(queue->halves);
    dmq_cuda_free(queue->scratch);
    dmq_cuda_free(queue->workspace);
    for (int i = 0; i < DMQ_CUDA_STAGES; i++) {
        if (queue->stage_done[i])
            (void)cudaEventDestroy(queue->stage_done[i]);
    }
    if (queue->stage)
        (void)cudaFreeHost(queue->stage);
    if (queue->fence)
        (void)cudaEventDestroy(queue->fence);
    if (queue->stream)
        (void)cudaStreamDestroy(queue->stream);
    (void)cudaGetLastError(); /* one of a device that is gone is no launch's */
    dmq_free(queue);
}

/* A captured copy would read a stage that others have used again by the time the graph runs. */
static dmq_status refuse_capture(const dmq_queue *queue, const char *what)
{
    return queue->captures ? dmq_fail(DMQ_EDEVICE, "cuda: %s inside a capture", what) : DMQ_OK;
}

dmq_status dmq_cuda_upload(dmq_queue *queue, void *device, const void *host, size_t bytes)
{
    const char *from = host;
    char *to = device;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_use());
    DMQ_TRY(refuse_capture(queue, "an upload"));
    while (bytes > 0) {
        size_t piece = bytes < DMQ_CUDA_STAGE ? bytes : DMQ_CUDA_STAGE;
        cudaEvent_t done_with = queue->stage_done[queue->stage_next];
        void *stage = queue->stage + (size_t)queue->stage_next * DMQ_CUDA_STAGE;

        DMQ_CUDA(cudaEventSynchronize(done_with)); /* at once unless the ring has gone round */
        memcpy(stage, from, piece);
        DMQ_CUDA(cudaMemcpyAsync(to, stage, piece, cudaMemcpyHostToDevice, queue->stream));
        DMQ_CUDA(cudaEventRecord(done_with, queue->stream));
        queue->stage_next = (queue->stage_next + 1) % DMQ_CUDA_STAGES;
        from += piece;
        to += piece;
        bytes -= piece;
    }
done:
    return st;
}

dmq_status dmq_cuda_download(dmq_queue *queue, void *host, const void *device, size_t bytes)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_use());
    DMQ_TRY(refuse_capture(queue, "a download"));
    DMQ_CUDA(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, queue->stream));
    DMQ_CUDA(cudaStreamSynchronize(queue->stream));
done:
    return st;
}

/* Lanes wait at the end of their work; of a capture, nothing has begun yet. */
dmq_status dmq_cuda_sync(dmq_queue *queue)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_use());
    if (!queue->captures)
        DMQ_CUDA(cudaStreamSynchronize(queue->stream));
done:
    return st;
}

dmq_status dmq_cuda_pinned_alloc(void **out, size_t bytes)
{
    dmq_status st = DMQ_OK;
    cudaError_t error;

    *out = NULL;
    DMQ_TRY(dmq_cuda_use());
    error = cudaHostAlloc(out, bytes ? bytes : 1, cudaHostAllocDefault);
    if (error == cudaSuccess)
        return DMQ_OK;
    *out = NULL;
    (void)cudaGetLastError();
    st = dmq_fail(error == cudaErrorMemoryAllocation ? DMQ_ENOMEM : DMQ_EDEVICE,
                  "cuda: no %.1f MiB of page-locked host memory: %s\n"
                  "  hint: a smaller recon.cache_host; \"ulimit -l\" may bound it",
                  (double)bytes / 1048576, cudaGetErrorString(error));
done:
    return st;
}

void dmq_cuda_pinned_free(void *memory)
{
    if (memory && dmq_cuda_use() == DMQ_OK)
        (void)cudaFreeHost(memory);
}

dmq_status dmq_cuda_fetch(dmq_queue *queue, void *device, const void *pinned, size_t bytes)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_use());
    DMQ_TRY(refuse_capture(queue, "a copy from the host"));
    DMQ_CUDA(cudaMemcpyAsync(device, pinned, bytes, cudaMemcpyHostToDevice, queue->stream));
done:
    return st;
}

dmq_status dmq_cuda_event_create(void **out)
{
    cudaEvent_t event = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_cuda_use());
    DMQ_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    *out = event;
done:
    return st;
}

void dmq_cuda_event_destroy(void *event)
{
    if (event && dmq_cuda_use() == DMQ_OK)
        (void)cudaEventDestroy(event);
}

dmq_status dmq_cuda_event_record(dmq_queue *queue, void *event)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_use());
    DMQ_TRY(refuse_capture(queue, "an event"));
    DMQ_CUDA(cudaEventRecord(event, queue->stream));
done:
    return st;
}

dmq_status dmq_cuda_event_wait(dmq_queue *queue, void *event)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_use());
    DMQ_TRY(refuse_capture(queue, "an event"));
    DMQ_CUDA(cudaStreamWaitEvent(queue->stream, event, 0));
done:
    return st;
}

void *dmq_cuda_stream(dmq_queue *queue)
{
    (void)dmq_cuda_use(); /* a failure shows in the launch */
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
    if (bytes > DMQ_CUDA_SCRATCH) {
        return dmq_fail(DMQ_ENOMEM, "cuda: a launcher asks for %zu bytes of scratch, there are %d",
                        bytes, DMQ_CUDA_SCRATCH);
    }
    *out = queue->scratch;
    return DMQ_OK;
}
