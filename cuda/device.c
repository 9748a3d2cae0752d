#include "cuda/device.h"

#include "base/log.h"
#include "kernels/pointwise.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef DMQ_CUDA_ARCHITECTURES
#define DMQ_CUDA_ARCHITECTURES "other devices"
#endif

dmq_status dmq_fill_cuda(dmq_queue *queue, const dmq_fill_args *a);

/* One device a process. */
static struct {
    int number, open;
    cudaMemPool_t pool;  /* NULL: the device has no pools; cudaMalloc, then */
    cudaStream_t stream; /* of allocations and frees, in their order */
    size_t budget;       /* 0: none */
    size_t total;
    dmq_precision precision;
    dmq_queue *queues;
    pthread_mutex_t lock;
} device = { .lock = PTHREAD_MUTEX_INITIALIZER };

static _Thread_local int device_is_set;

static double mib(size_t bytes)
{
    return (double)bytes / 1048576;
}

/* Bytes given out; without a pool, all that is taken of the device. */
static size_t bytes_used(void)
{
    size_t free_bytes = 0, total = 0;
    uint64_t used = 0;

    if (device.pool) {
        if (cudaMemPoolGetAttribute(device.pool, cudaMemPoolAttrUsedMemCurrent, &used) !=
            cudaSuccess)
            (void)cudaGetLastError(); /* a budget that is not looked at is better than no memory */
        return (size_t)used;
    }
    (void)cudaMemGetInfo(&free_bytes, &total);
    return total - free_bytes;
}

dmq_status dmq_cuda_failed(cudaError_t error, const char *call)
{
    size_t free_bytes = 0, total = 0;

    (void)cudaMemGetInfo(&free_bytes, &total);
    (void)cudaGetLastError(); /* or the next launch would report it again */
    if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorUnsupportedPtxVersion) {
        return dmq_fail(DMQ_ENOTSUP,
                        "cuda: %s: %s\n"
                        "  hint: this build has kernels for " DMQ_CUDA_ARCHITECTURES
                        "; configure with -DDMQ_CUDA_ARCHITECTURES=native where the device is",
                        call, cudaGetErrorString(error));
    }
    return dmq_fail(error == cudaErrorMemoryAllocation ? DMQ_ENOMEM : DMQ_EDEVICE,
                    "cuda: %s: %s (%.0f of %.0f MiB are free)", call, cudaGetErrorString(error),
                    mib(free_bytes), mib(total));
}

static dmq_status out_of_memory(size_t bytes, const char *why)
{
    size_t free_bytes = 0, total = 0;

    (void)cudaMemGetInfo(&free_bytes, &total);
    (void)cudaGetLastError();
    return dmq_fail(DMQ_ENOMEM,
                    "cuda: no %.1f MiB of device memory (%s): %.1f MiB are in use, %.1f of %.1f "
                    "MiB are free, the budget is %.1f MiB\n"
                    "  hint: a smaller recon.cache_budget; DMQ_CUDA_BUDGET sets the budget",
                    mib(bytes), why, mib(bytes_used()), mib(free_bytes), mib(total),
                    mib(device.budget ? device.budget : total));
}

/* "40G", "512M", "64K" or bytes. */
static dmq_status read_budget(size_t *out)
{
    const char *text = getenv("DMQ_CUDA_BUDGET");
    char *end = NULL;
    unsigned long long value;
    int shift = 0;

    *out = 0;
    if (!text || !*text)
        return DMQ_OK;
    value = strtoull(text, &end, 10);
    if (*end == 'K' || *end == 'M' || *end == 'G')
        shift = *end == 'K' ? 10 : *end == 'M' ? 20 : 30;
    if (shift)
        end++;
    if (end == text || *end || text[0] == '-' || value == 0 || value > SIZE_MAX >> shift) {
        return dmq_fail(DMQ_EINVAL,
                        "cuda: DMQ_CUDA_BUDGET = %s: must be a size such as 512M or 40G", text);
    }
    *out = (size_t)value << shift;
    return DMQ_OK;
}

static void close_pool(void)
{
    if (device.pool)
        (void)cudaMemPoolDestroy(device.pool);
    (void)cudaGetLastError();
    device.pool = NULL;
}

/* A pool that gives nothing back to the driver: what one unit frees, the next one takes. */
static dmq_status try_pool(void)
{
    struct cudaMemPoolProps wanted = { .allocType = cudaMemAllocationTypePinned,
                                       .location = { .type = cudaMemLocationTypeDevice,
                                                     .id = device.number } };
    uint64_t keep = UINT64_MAX;
    dmq_status st = DMQ_OK;
    void *memory = NULL;
    int has = 0;

    DMQ_CUDA(cudaDeviceGetAttribute(&has, cudaDevAttrMemoryPoolsSupported, device.number));
    if (!has)
        goto done;
    DMQ_CUDA(cudaMemPoolCreate(&device.pool, &wanted));
    DMQ_CUDA(cudaMemPoolSetAttribute(device.pool, cudaMemPoolAttrReleaseThreshold, &keep));
    DMQ_CUDA(cudaMallocFromPoolAsync(&memory, 1, device.pool, device.stream));
    DMQ_CUDA(cudaFreeAsync(memory, device.stream));
    DMQ_CUDA(cudaStreamSynchronize(device.stream));
done:
    return st;
}

/* A machine between us and the device may have pools and not let them work. */
static void open_pool(void)
{
    if (try_pool() == DMQ_OK)
        return;
    close_pool();
    dmq_log_warn("no-memory-pool",
                 "%s; memory is asked of the device itself, and every free waits for all of it",
                 dmq_message());
}

/* A launch of nothing: whether the kernels of this build run on this device is known before there is work. */
static dmq_status try_launch(void)
{
    dmq_queue nothing = { .stream = device.stream };
    dmq_fill_args none = { .count = 0 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_fill_cuda(&nothing, &none));
    DMQ_CUDA(cudaStreamSynchronize(device.stream));
done:
    return st;
}

/* Back to a process that has opened none: it may open another one. */
static void forget(void)
{
    close_pool();
    if (device.stream)
        (void)cudaStreamDestroy(device.stream);
    (void)cudaGetLastError();
    device.stream = NULL;
    device_is_set = 0;
}

static dmq_status open_locked(int number)
{
    dmq_status st = DMQ_OK;
    size_t free_bytes = 0;

    if (device.open && device.number != number) {
        return dmq_fail(DMQ_ENOTSUP,
                        "backend: cuda:%d: this process already computes on cuda:%d; one device a "
                        "process",
                        number, device.number);
    }
    if (device.open)
        return DMQ_OK;
    device.number = number;
    DMQ_TRY(read_budget(&device.budget));
    DMQ_CUDA(cudaSetDevice(number));
    DMQ_CUDA(cudaMemGetInfo(&free_bytes, &device.total));
    DMQ_CUDA(cudaStreamCreateWithFlags(&device.stream, cudaStreamNonBlocking));
    open_pool();
    DMQ_TRY(try_launch());
    device.open = 1;
done:
    if (st != DMQ_OK)
        forget();
    return st;
}

dmq_status dmq_cuda_open(int number)
{
    dmq_status st;

    (void)pthread_mutex_lock(&device.lock);
    st = open_locked(number);
    (void)pthread_mutex_unlock(&device.lock);
    return st;
}

int dmq_cuda_count(const char **why)
{
    static _Thread_local char old[96];
    int count = 0, driver = 0;
    cudaError_t error = cudaGetDeviceCount(&count);

    (void)cudaGetLastError();
    (void)cudaDriverGetVersion(&driver); /* the error without a driver speaks of an old one */
    (void)snprintf(old, sizeof old, "the driver is for CUDA %d.%d, this build needs one for %d.0",
                   driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000);
    *why = driver == 0                            ? "this machine has no driver"
           : error == cudaErrorInsufficientDriver ? old
           : error == cudaSuccess                 ? "the driver shows none"
                                                  : cudaGetErrorString(error);
    return error == cudaSuccess ? count : 0;
}

int dmq_cuda_number(void)
{
    return device.number;
}

dmq_status dmq_cuda_use(void)
{
    dmq_status st = DMQ_OK;

    if (!device_is_set) {
        DMQ_CUDA(cudaSetDevice(device.number));
        device_is_set = 1;
    }
done:
    return st;
}

static cudaError_t take(void **out, size_t bytes)
{
    cudaError_t error;

    if (!device.pool)
        return cudaMalloc(out, bytes);
    error = cudaMallocFromPoolAsync(out, bytes, device.pool, device.stream);
    if (error == cudaErrorMemoryAllocation) { /* what the pool keeps may lie in the wrong pieces */
        (void)cudaGetLastError();
        (void)cudaStreamSynchronize(device.stream);
        (void)cudaMemPoolTrimTo(device.pool, 0);
        error = cudaMallocFromPoolAsync(out, bytes, device.pool, device.stream);
    }
    /* The stream has nothing but frees, which wait for the queues: then the memory is free for all. */
    if (error == cudaSuccess) {
        error = cudaStreamSynchronize(device.stream);
        if (error != cudaSuccess)
            (void)cudaFreeAsync(*out, device.stream);
    }
    return error;
}

static dmq_status alloc_locked(void **out, size_t bytes)
{
    size_t used = bytes_used();
    cudaError_t error;

    if (device.budget && (bytes > device.budget || used > device.budget - bytes))
        return out_of_memory(bytes, "beyond the budget");
    error = take(out, bytes);
    if (error == cudaErrorMemoryAllocation)
        return out_of_memory(bytes, device.pool ? "cudaMallocFromPoolAsync" : "cudaMalloc");
    return error == cudaSuccess ? DMQ_OK : dmq_cuda_failed(error, "cudaMallocFromPoolAsync");
}

dmq_status dmq_cuda_alloc(void **out, size_t bytes)
{
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_cuda_use());
    (void)pthread_mutex_lock(&device.lock);
    st = alloc_locked(out, bytes ? bytes : 1);
    (void)pthread_mutex_unlock(&device.lock);
    if (st != DMQ_OK)
        *out = NULL;
done:
    return st;
}

void dmq_cuda_free(void *memory)
{
    if (!memory || dmq_cuda_use() != DMQ_OK)
        return;
    (void)pthread_mutex_lock(&device.lock);
    if (!device.pool) {
        (void)cudaFree(memory); /* waits for the whole device */
    } else {
        /* Behind all that was asked of every queue; of one that is being captured, before that began. */
        for (dmq_queue *q = device.queues; q; q = q->next) {
            cudaError_t error = cudaSuccess;

            if (!q->captures)
                error = cudaEventRecord(q->fence, q->stream);
            if (error == cudaSuccess)
                error = cudaStreamWaitEvent(device.stream, q->fence, 0);
            if (error != cudaSuccess && !q->captures)
                (void)cudaStreamSynchronize(q->stream);
        }
        (void)cudaFreeAsync(memory, device.stream);
    }
    (void)cudaGetLastError(); /* nobody can be told here, least of all the next launch */
    (void)pthread_mutex_unlock(&device.lock);
}

double dmq_cuda_memory_free(void)
{
    size_t free_bytes = 0, total = 0, used, kept;
    double left = 0;

    if (dmq_cuda_use() != DMQ_OK)
        return 0;
    (void)pthread_mutex_lock(&device.lock);
    used = bytes_used();
    if (cudaMemGetInfo(&free_bytes, &total) == cudaSuccess) {
        uint64_t reserved = 0;

        /* what the pool keeps and has not given out is as good as free */
        if (device.pool)
            (void)cudaMemPoolGetAttribute(device.pool, cudaMemPoolAttrReservedMemCurrent,
                                          &reserved);
        kept = reserved > used ? (size_t)reserved - used : 0;
        left = (double)free_bytes + (double)kept;
    }
    if (device.budget) {
        double rest = device.budget > used ? (double)(device.budget - used) : 0;

        left = rest < left ? rest : left;
    }
    (void)pthread_mutex_unlock(&device.lock);
    return left;
}

void dmq_cuda_queue_list(dmq_queue *queue, int in)
{
    (void)pthread_mutex_lock(&device.lock);
    if (in) {
        queue->next = device.queues;
        device.queues = queue;
    } else {
        for (dmq_queue **at = &device.queues; *at; at = &(*at)->next) {
            if (*at == queue) {
                *at = queue->next;
                break;
            }
        }
    }
    (void)pthread_mutex_unlock(&device.lock);
}

void dmq_cuda_queue_turn(dmq_queue *queue)
{
    queue->turns++;
    for (int i = 0; i < queue->sides; i++)
        queue->side[i]->turns++;
}

dmq_status dmq_cuda_queue_capture(dmq_queue *queue, cudaGraph_t *ended)
{
    cudaError_t error = cudaSuccess;

    (void)pthread_mutex_lock(&device.lock);
    if (!ended) /* frees wait for this while the stream records */
        error = cudaEventRecord(queue->fence, queue->stream);
    for (int i = 0; i < queue->sides && error == cudaSuccess && !ended; i++)
        error = cudaEventRecord(queue->side[i]->fence, queue->side[i]->stream);
    if (error == cudaSuccess) {
        error = ended ? cudaStreamEndCapture(queue->stream, ended)
                      : cudaStreamBeginCapture(queue->stream, cudaStreamCaptureModeThreadLocal);
    }
    queue->captures = !ended && error == cudaSuccess;
    for (int i = 0; i < queue->sides; i++)
        queue->side[i]->captures = queue->captures;
    dmq_cuda_queue_turn(queue);
    (void)pthread_mutex_unlock(&device.lock);
    return error == cudaSuccess
               ? DMQ_OK
               : dmq_cuda_failed(error, ended ? "cudaStreamEndCapture" : "cudaStreamBeginCapture");
}

size_t dmq_cuda_workspace_bytes(void)
{
    const size_t most = (size_t)256 << 20;
    size_t share = device.total / 64;

    return share < most ? share / 256 * 256 : most;
}

dmq_precision dmq_cuda_precision(void)
{
    return device.precision;
}

/* NVIDIA's libraries take these before what a program asks of them. */
static void warn_of_environment(void)
{
    static const char *const names[] = { "NVIDIA_TF32_OVERRIDE",
                                         "CUBLAS_EMULATE_SINGLE_PRECISION" };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);

        if (value && *value) {
            dmq_log_warn("precision-override",
                         "%s=%s is in the environment: cuBLASLt and cuDNN take products by it, "
                         "whatever device.precision says",
                         names[i], value);
        }
    }
}

dmq_status dmq_backend_cuda_precision(dmq_precision precision)
{
    warn_of_environment();
    device.precision = precision;
    return DMQ_OK;
}
