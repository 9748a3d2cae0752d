/**
 * The CUDA device as the backend table sees it: memory, queues, copies.
 *
 * One device a process: the first that is opened. Memory comes from a pool that keeps what is freed, within
 * a byte budget (DMQ_CUDA_BUDGET=40G; without it, what the device has). It may be used on every queue as
 * soon as it is given out, and is taken back when all that was asked of the queues before is done.
 *
 * Nothing that a launcher calls allocates, waits or logs, so a queue may be captured at any time after each
 * shape has been met once. A queue may go from thread to thread: what needs the device's number set calls
 * dmq_cuda_use first.
 */
#ifndef DMQ_CUDA_DEVICE_H
#define DMQ_CUDA_DEVICE_H

#include "backend/cuda.h"
#include "cuda/check.h"
#include "cuda/libraries.h"
#include "cuda/plans.h"
#include "kernels/kernel.h"

#include <stdint.h>

enum {
    DMQ_CUDA_SCRATCH = 32 << 20, /* as kernels/device.cuh has it */
    DMQ_CUDA_STAGES = 16,
    DMQ_CUDA_STAGE = 512 << 10,
    DMQ_CUDA_SIDES = 3, /* streams beside a queue's own (sides.h) */
    DMQ_CUDA_SIDE = -2  /* for dmq_cuda_queue_create: one of them, without ways to the host */
};

/** A stream with all that its launchers need, made once. */
struct dmq_queue {
    cudaStream_t stream;
    cudaEvent_t fence; /* what was asked so far, for those who free memory */
    void *scratch;     /* partial sums of our own kernels */
    void *workspace;   /* of cuDNN and cuBLASLt: one call after the other */
    size_t workspace_bytes;
    cudnnHandle_t cudnn;       /* NULL: the library is not here */
    cublasLtHandle_t cublaslt; /* likewise */
    dmq_cuda_plans conv, product;
    struct dmq_cuda_halves_room *halves; /* operands in half precision; NULL: none yet */
    unsigned char *stage;                /* pinned; DMQ_CUDA_STAGES pieces used in turn */
    cudaEvent_t stage_done[DMQ_CUDA_STAGES];
    int stage_next;
    int lane;
    int captures; /* 1: between capture_begin and capture_end */
    unsigned long
        turns; /* recordings begun, ended and launched: what memory held before one is not what it holds */
    dmq_queue *side[DMQ_CUDA_SIDES];
    int sides;        /* 0: not made yet; -1: no memory for them */
    cudaEvent_t mark; /* where the sides begin; of a side, where it ends */
    dmq_queue *next;
};

/** Open the device of a number; ENOTSUP when there is none of it, or another one is open already. */
dmq_status dmq_cuda_open(int number);

/** How many devices there are; 0 with the reason why there is none. */
int dmq_cuda_count(const char **why);

/** The number of the open device. */
int dmq_cuda_number(void);

/** Set this thread's device; every entry from the host calls it. Cheap when it is set. */
dmq_status dmq_cuda_use(void);

dmq_status dmq_cuda_alloc(void **out, size_t bytes);
void dmq_cuda_free(void *memory);

/** Through pinned pieces: the caller may reuse its memory at once, and the stream goes on meanwhile. */
dmq_status dmq_cuda_upload(dmq_queue *queue, void *device, const void *host, size_t bytes);

/** Returns when the bytes are here. */
dmq_status dmq_cuda_download(dmq_queue *queue, void *host, const void *device, size_t bytes);

/** Page-locked memory; fetch copies from it without a stage, and returns before that is done. */
dmq_status dmq_cuda_pinned_alloc(void **out, size_t bytes);
void dmq_cuda_pinned_free(void *memory);
dmq_status dmq_cuda_fetch(dmq_queue *queue, void *device, const void *pinned, size_t bytes);

/** As backend.h has them. */
dmq_status dmq_cuda_event_create(void **out);
void dmq_cuda_event_destroy(void *event);
dmq_status dmq_cuda_event_record(dmq_queue *queue, void *event);
dmq_status dmq_cuda_event_wait(dmq_queue *queue, void *event);

/** Bytes that dmq_cuda_alloc can still give: of the device, or of the budget. */
double dmq_cuda_memory_free(void);

/** lane DMQ_COPIES: without scratch, workspace and libraries; DMQ_CUDA_SIDE: without stages. */
dmq_status dmq_cuda_queue_create(dmq_queue **out, int lane);
void dmq_cuda_queue_destroy(dmq_queue *queue);
dmq_status dmq_cuda_sync(dmq_queue *queue);

/** Put a queue into the list that frees wait for, or take it out. */
void dmq_cuda_queue_list(dmq_queue *queue, int in);

/** Begin or end a capture with the list held, so that no free waits for a queue that is captured, or its sides. */
dmq_status dmq_cuda_queue_capture(dmq_queue *queue, cudaGraph_t *ended);

/** Count a turn of a queue and of those at its side. */
void dmq_cuda_queue_turn(dmq_queue *queue);

/** As backend.h has them: one recording, launched as often as wanted. */
dmq_status dmq_cuda_capture_begin(dmq_queue *queue);
dmq_status dmq_cuda_capture_end(dmq_queue *queue, void **out);
dmq_status dmq_cuda_graph_launch(dmq_queue *queue, void *recorded);
void dmq_cuda_graph_destroy(void *recorded);

/** What kernels/device.cuh asks of a queue. */
void *dmq_cuda_stream(dmq_queue *queue);
dmq_status dmq_cuda_launched(const char *kernel);
dmq_status dmq_cuda_scratch(void **out, dmq_queue *queue, size_t bytes);

/** Bytes that workspaces may have: 256 MiB, less on a small device. */
size_t dmq_cuda_workspace_bytes(void);

/** How products are taken, on the whole device: DMQ_FP32 until it is set. */
dmq_precision dmq_cuda_precision(void);

/** What a plan of conv2d_cudnn.c or matmul_cublas.c holds. */
void dmq_cuda_conv_plan_destroy(void *plan);
void dmq_cuda_product_plan_destroy(void *plan);

/** A status of cuDNN as ours, with the name of the call. */
dmq_status dmq_cudnn_status(cudnnStatus_t status, const char *call);

/** An attribute of one of its descriptors. */
dmq_status dmq_cudnn_set(const dmq_cudnn *nn, cudnnBackendDescriptor_t descriptor,
                         cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                         int64_t count, const void *value);

#endif
