#include "backend/backend.h"
#include "backend/backend_host.h"

const dmq_backend *dmq_backend_ref(void)
{
    static const dmq_backend backend = { .name = "ref",
                                         .host_memory = 1,
                                         .shard = 8,
                                         .alloc = dmq_host_alloc,
                                         .free = dmq_host_free,
                                         .upload = dmq_host_copy,
                                         .download = dmq_host_copy,
                                         .queue_create = dmq_host_queue_create,
                                         .queue_destroy = dmq_host_queue_destroy,
                                         .sync = dmq_host_sync,
                                         .pinned_alloc = dmq_host_alloc,
                                         .pinned_free = dmq_host_free,
                                         .fetch = dmq_host_copy,
                                         .event_create = dmq_host_event_create,
                                         .event_destroy = dmq_host_event_destroy,
                                         .event_record = dmq_host_event,
                                         .event_wait = dmq_host_event,
#define REF_SLOT(slot, args) .slot = dmq_##slot##_ref,
                                         DMQ_BACKEND_OPS(REF_SLOT)
#undef REF_SLOT
    };

    return &backend;
}
