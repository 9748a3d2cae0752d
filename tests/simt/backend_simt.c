#include "simt/backend_simt.h"

#include <stdlib.h>
#include <string.h>

/* Those that no kernel file holds stay NULL. Where the device asks a library first, the kernels that it
   falls back on stand for it here. */
#define dmq_conv2d_forward_simt          dmq_conv2d_forward_plain_simt
#define dmq_conv2d_backward_data_simt    dmq_conv2d_backward_data_plain_simt
#define dmq_conv2d_backward_weights_simt dmq_conv2d_backward_weights_plain_simt
#define dmq_matmul_simt                  dmq_matmul_plain_simt
#define DECLARE(slot, args) \
    dmq_status dmq_##slot##_simt(dmq_queue *queue, const args *a) __attribute__((weak));
DMQ_BACKEND_OPS(DECLARE)

const dmq_backend *dmq_backend_simt(void)
{
    static dmq_backend table;

    if (table.name)
        return &table;
    table = *dmq_backend_ref();
#define TAKE(slot, args)   \
    if (dmq_##slot##_simt) \
        table.slot = dmq_##slot##_simt;
    DMQ_BACKEND_OPS(TAKE)
    table.name = "simt";
    return &table;
}

int dmq_simt_has(const char *slot)
{
#define FIND(name, args)          \
    if (strcmp(slot, #name) == 0) \
        return dmq_##name##_simt != NULL;
    DMQ_BACKEND_OPS(FIND)
    return 0;
}

/* What kernels/device.cuh asks of a queue. Scratch is just as large as asked for, so that an index
   beyond it is seen; it lives until the next launcher asks. */
dmq_status dmq_simt_scratch(void **out, dmq_queue *queue, size_t bytes);

dmq_status dmq_simt_scratch(void **out, dmq_queue *queue, size_t bytes)
{
    static _Thread_local void *scratch;

    (void)queue;
    free(scratch);
    *out = scratch = malloc(bytes);
    if (!scratch)
        return dmq_fail(DMQ_ENOMEM, "simt: no memory for %zu bytes of scratch", bytes);
    memset(scratch, 0xff, bytes); /* NaN: what is read must have been written */
    return DMQ_OK;
}
