/* The table of the CUDA device. */
#include "cuda/choices.h"
#include "cuda/device.h"

/* Strong: a weak reference would not fetch a kernel's object from the library, and a slot without one is to
   be seen when the program is linked. */
#define DECLARE(slot, args) dmq_status dmq_##slot##_cuda(dmq_queue *queue, const args *a);
DMQ_BACKEND_OPS(DECLARE)

/* Samples in a piece of work: the batch of a reconstruction, which fills the device at 32 x 32 pixels. */
enum { SHARD = 32 };

dmq_status dmq_backend_cuda_open(const dmq_backend **out, int device)
{
    static dmq_backend table;
    dmq_status st = DMQ_OK;
    const char *why = NULL;
    int count = dmq_cuda_count(&why);

    *out = NULL;
    if (count == 0) {
        return dmq_fail(DMQ_ENOTSUP, "backend: cuda: no device: %s\n  hint: use cpu, or auto", why);
    }
    if (device < 0 || device >= count) {
        return dmq_fail(DMQ_ENOTSUP, "backend: cuda:%d is not there: the machine has %d device%s",
                        device, count, count == 1 ? "" : "s");
    }
    DMQ_TRY(dmq_cuda_open(device));
    DMQ_TRY(dmq_cuda_choices_open());
    if (!table.name) {
        table = (dmq_backend){ .shard = SHARD,
                               .alloc = dmq_cuda_alloc,
                               .free = dmq_cuda_free,
                               .upload = dmq_cuda_upload,
                               .download = dmq_cuda_download,
                               .queue_create = dmq_cuda_queue_create,
                               .queue_destroy = dmq_cuda_queue_destroy,
                               .sync = dmq_cuda_sync,
                               .pinned_alloc = dmq_cuda_pinned_alloc,
                               .pinned_free = dmq_cuda_pinned_free,
                               .fetch = dmq_cuda_fetch,
                               .event_create = dmq_cuda_event_create,
                               .event_destroy = dmq_cuda_event_destroy,
                               .event_record = dmq_cuda_event_record,
                               .event_wait = dmq_cuda_event_wait,
                               .memory_free = dmq_cuda_memory_free,
                               .capture_begin = dmq_cuda_capture_begin,
                               .capture_end = dmq_cuda_capture_end,
                               .graph_launch = dmq_cuda_graph_launch,
                               .graph_destroy = dmq_cuda_graph_destroy };
#define TAKE(slot, args) table.slot = dmq_##slot##_cuda;
        DMQ_BACKEND_OPS(TAKE)
        table.name = "cuda";
    }
    *out = &table;
done:
    return st;
}
