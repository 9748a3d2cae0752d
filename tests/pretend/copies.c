/* Copies and fills, in the order of a stream. */
#include "pretend/runtime.h"

#include "base/memory.h"

#include <string.h>

typedef struct copy {
    void *to;
    const void *from;
    size_t bytes;
    void *stage;        /* of pageable memory, read when the copy is asked for */
    const void *pinned; /* page-locked memory that must still be there */
    int value;          /* of a fill */
} copy;

static void run_copy(void *context)
{
    const copy *c = context;

    if (c->pinned && !pretend_is_pinned(c->pinned, c->bytes))
        pretend_die("page-locked memory at %p is gone before its copy", c->pinned);
    memcpy(c->to, c->from, c->bytes);
}

static void run_fill(void *context)
{
    const copy *c = context;

    memset(c->to, c->value, c->bytes);
}

static void drop_copy(void *context)
{
    copy *c = context;

    dmq_free(c->stage);
    dmq_free(c);
}

static cudaError_t put(cudaStream_t stream, const char *name, void (*run)(void *context),
                       const copy *what)
{
    copy *c = pretend_room(sizeof *c);

    *c = *what;
    return pretend_put(
        stream, &(pretend_work){ .name = name, .run = run, .drop = drop_copy, .context = c });
}

static cudaError_t to_device(const copy *what, cudaStream_t stream)
{
    copy c = *what;

    if (!pretend_is_device(c.to, c.bytes) || pretend_is_device(c.from, 1))
        return cudaErrorInvalidValue;
    if (pretend_is_pinned(c.from, c.bytes)) {
        c.pinned = c.from;
    } else if (!stream->capture) {
        c.stage = pretend_room(c.bytes);
        memcpy(c.stage, c.from, c.bytes);
        c.from = c.stage;
    }
    return put(stream, "a copy to the device", run_copy, &c);
}

/* To pageable memory it returns when the bytes are there, which a capture cannot. */
static cudaError_t to_host(const copy *what, cudaStream_t stream)
{
    copy c = *what;
    int pinned = pretend_is_pinned(c.to, c.bytes);
    cudaError_t error;

    if (!pretend_is_device(c.from, c.bytes) || pretend_is_device(c.to, 1))
        return cudaErrorInvalidValue;
    if (!pinned && stream->capture)
        return pretend_break(stream->capture, cudaErrorStreamCaptureUnsupported);
    c.pinned = pinned ? c.to : NULL;
    error = put(stream, "a copy to the host", run_copy, &c);
    if (error == cudaSuccess && !pinned)
        pretend_drain(stream);
    return error;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    copy c = { .to = to, .from = from, .bytes = bytes };
    cudaError_t error = pretend_enter("cudaMemcpyAsync");

    if (error != cudaSuccess || bytes == 0)
        return pretend_leave(error);
    error = pretend_refuse_broken(stream);
    if (error == cudaSuccess && kind == cudaMemcpyHostToDevice) {
        error = to_device(&c, stream);
    } else if (error == cudaSuccess && kind == cudaMemcpyDeviceToHost) {
        error = to_host(&c, stream);
    } else if (error == cudaSuccess) {
        error = cudaErrorInvalidMemcpyDirection;
    }
    return pretend_leave(error);
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    cudaError_t error = pretend_enter("cudaMemsetAsync");

    if (error == cudaSuccess && bytes > 0 && !pretend_is_device(to, bytes))
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess && bytes > 0)
        error =
            put(stream, "a fill", run_fill, &(copy){ .to = to, .bytes = bytes, .value = value });
    return pretend_leave(error);
}
