#include "backend/backend_host.h"

#include "base/memory.h"

#include <string.h>

typedef struct host_queue {
    int lane;
} host_queue;

dmq_status dmq_host_alloc(void **out, size_t bytes)
{
    return dmq_alloc(out, bytes, 1);
}

void dmq_host_free(void *memory)
{
    dmq_free(memory);
}

dmq_status dmq_host_copy(dmq_queue *queue, void *dst, const void *src, size_t bytes)
{
    (void)queue;
    if (bytes > 0 && dst != src)
        memcpy(dst, src, bytes);
    return DMQ_OK;
}

dmq_status dmq_host_queue_create(dmq_queue **out, int lane)
{
    void *memory = NULL;
    dmq_status st = dmq_alloc(&memory, 1, sizeof(host_queue));

    *out = memory;
    if (st == DMQ_OK)
        ((host_queue *)memory)->lane = lane;
    return st;
}

void dmq_host_queue_destroy(dmq_queue *queue)
{
    dmq_free(queue);
}

dmq_status dmq_host_sync(dmq_queue *queue)
{
    (void)queue;
    return DMQ_OK;
}

dmq_status dmq_host_event_create(void **out)
{
    *out = NULL;
    return DMQ_OK;
}

void dmq_host_event_destroy(void *event)
{
    (void)event;
}

dmq_status dmq_host_event(dmq_queue *queue, void *event)
{
    (void)queue;
    (void)event;
    return DMQ_OK;
}
