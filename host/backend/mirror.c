#include "backend/mirror.h"

#include <assert.h>

dmq_status dmq_mirror_init(dmq_mirror *m, const dmq_backend *backend, void *host, size_t bytes)
{
    dmq_status st = DMQ_OK;
    void *device = host;

    *m = (dmq_mirror){ 0 };
    if (!backend->host_memory)
        DMQ_TRY(backend->alloc(&device, bytes));
    *m = (dmq_mirror){ .backend = backend, .host = host, .device = device, .bytes = bytes };
done:
    return st;
}

void dmq_mirror_release(dmq_mirror *m)
{
    if (m->device != m->host)
        m->backend->free(m->device);
    *m = (dmq_mirror){ 0 };
}

static size_t offset_of(const dmq_mirror *m, const void *host, size_t bytes)
{
    size_t offset = (size_t)((const char *)host - m->host);

    assert((const char *)host >= m->host && offset <= m->bytes && bytes <= m->bytes - offset);
    (void)bytes;
    return offset;
}

void *dmq_mirror_device(const dmq_mirror *m, const void *host)
{
    return m->device == m->host ? (void *)host : m->device + offset_of(m, host, 0);
}

dmq_status dmq_mirror_push(const dmq_mirror *m, dmq_queue *queue, const void *host, size_t bytes)
{
    if (m->device == m->host)
        return DMQ_OK;
    return m->backend->upload(queue, m->device + offset_of(m, host, bytes), host, bytes);
}

dmq_status dmq_mirror_pull(const dmq_mirror *m, dmq_queue *queue, void *host, size_t bytes)
{
    if (m->device == m->host)
        return DMQ_OK;
    return m->backend->download(queue, host, m->device + offset_of(m, host, bytes), bytes);
}
