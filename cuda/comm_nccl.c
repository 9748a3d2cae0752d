/* NCCL behind a group of devices: one rank a process, calls in the order of a queue's stream.

   The communicator does not block, since a blocking one waits for a dead rank for ever: a call that answers "in
   progress" is asked after until it is under way, within the group's time, while the group is watched. Once the
   first call of a kind has made its connections, later ones are launched at once; so they may be captured. */
#include "cuda/device.h"

#include "backend/device_group.h"
#include "base/clock.h"
#include "base/memory.h"

#include <string.h>
#include <time.h>

_Static_assert(sizeof(ncclUniqueId) == DMQ_DEVICE_KEY, "a key is NCCL's unique id");

typedef struct nccl_group {
    dmq_device_group group;
    const dmq_nccl *nccl;
    ncclComm_t comm; /* NULL: not open, or given up */
    dmq_device_group_config config;
} nccl_group;

/* A failure that another rank is the cause of is its, and this device is well. */
static dmq_status failed(const nccl_group *g, ncclResult_t result, const char *call)
{
    const char *more = g->comm ? g->nccl->GetLastError(g->comm) : "";

    return dmq_fail(result == ncclRemoteError ? DMQ_EPEER : DMQ_EDEVICE,
                    "group: %s of rank %d: %s%s%s", call, g->config.rank,
                    g->nccl->GetErrorString(result), more && *more ? ": " : "", more ? more : "");
}

static void nap(double seconds)
{
    struct timespec t = { 0, (long)(seconds * 1e9) };

    (void)nanosleep(&t, NULL);
}

/* Until the communicator is done with what it was asked for; of the stream it says nothing. */
static dmq_status settle(nccl_group *g, ncclResult_t result, const char *call)
{
    double start = dmq_clock_seconds(), pause = 20e-6;
    dmq_status st = DMQ_OK;

    while (result == ncclInProgress) {
        ncclResult_t asked = g->nccl->CommGetAsyncError(g->comm, &result);

        if (asked != ncclSuccess)
            result = asked;
        if (result != ncclInProgress)
            break;
        DMQ_TRY(g->config.watch(g->config.context));
        if (dmq_clock_seconds() - start > g->config.seconds) {
            char limit[DMQ_CLOCK_TEXT];

            dmq_clock_duration(limit, g->config.seconds);
            return dmq_fail(DMQ_EPEER, "group: %s of rank %d of %d found not all ranks within %s",
                            call, g->config.rank, g->config.size, limit);
        }
        nap(pause);
        pause = pause < 1e-3 ? 2 * pause : pause;
    }
    if (result != ncclSuccess)
        st = failed(g, result, call);
done:
    return st;
}

/* ------------------------------------------------------------------ calls */

static dmq_status all_gather(dmq_device_group *group, dmq_queue *queue, void *data, size_t bytes)
{
    nccl_group *g = (nccl_group *)group;
    const char *own = (const char *)data + (size_t)g->config.rank * bytes;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_use());
    DMQ_TRY(settle(g, g->nccl->AllGather(own, data, bytes, ncclUint8, g->comm, queue->stream),
                   "ncclAllGather"));
done:
    return st;
}

static dmq_status broadcast(dmq_device_group *group, dmq_queue *queue, void *data, size_t bytes,
                            int root)
{
    nccl_group *g = (nccl_group *)group;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_use());
    DMQ_TRY(settle(g,
                   g->nccl->Broadcast(data, data, bytes, ncclUint8, root, g->comm, queue->stream),
                   "ncclBroadcast"));
done:
    return st;
}

/* Inside a group a call only notes what it is asked for; the first refusal is the one to tell. */
static dmq_status all_to_all(dmq_device_group *group, dmq_queue *queue, void *out, const void *in,
                             size_t bytes)
{
    nccl_group *g = (nccl_group *)group;
    ncclResult_t result = ncclSuccess, ended;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_use());
    DMQ_TRY(settle(g, g->nccl->GroupStart(), "ncclGroupStart"));
    for (int r = 0; r < g->config.size && (result == ncclSuccess || result == ncclInProgress);
         r++) {
        size_t at = (size_t)r * bytes;

        result = g->nccl->Send((const char *)in + at, bytes, ncclUint8, r, g->comm, queue->stream);
        if (result == ncclSuccess || result == ncclInProgress)
            result = g->nccl->Recv((char *)out + at, bytes, ncclUint8, r, g->comm, queue->stream);
    }
    ended = g->nccl->GroupEnd();
    if (result != ncclSuccess && result != ncclInProgress)
        return failed(g, result, "ncclSend or ncclRecv");
    DMQ_TRY(settle(g, ended, "ncclGroupEnd"));
done:
    return st;
}

/* ------------------------------------------------------------------ waiting and the end */

static dmq_status poll(dmq_device_group *group, dmq_queue *queue, int *done)
{
    nccl_group *g = (nccl_group *)group;
    ncclResult_t state = ncclSuccess, asked;
    dmq_status st = DMQ_OK;
    cudaError_t error;

    DMQ_TRY(dmq_cuda_use());
    *done = 1;
    if (queue->captures) /* nothing has begun yet, and asking would spoil the capture */
        return DMQ_OK;
    error = cudaStreamQuery(queue->stream);
    *done = error == cudaSuccess;
    if (error == cudaErrorNotReady) {
        (void)cudaGetLastError(); /* kept like a failure: the next launch would report it */
    } else if (error != cudaSuccess) {
        return dmq_cuda_failed(error, "cudaStreamQuery");
    }
    asked = g->nccl->CommGetAsyncError(g->comm, &state);
    if (asked != ncclSuccess || (state != ncclSuccess && state != ncclInProgress))
        st = failed(g, asked != ncclSuccess ? asked : state, "a call");
done:
    return st;
}

static void give_up(dmq_device_group *group)
{
    nccl_group *g = (nccl_group *)group;

    if (g->comm && dmq_cuda_use() == DMQ_OK)
        (void)g->nccl->CommAbort(g->comm);
    g->comm = NULL;
}

static void close_group(dmq_device_group *group)
{
    nccl_group *g = (nccl_group *)group;

    if (g->comm && dmq_cuda_use() == DMQ_OK) {
        if (settle(g, g->nccl->CommFinalize(g->comm), "ncclCommFinalize") == DMQ_OK) {
            (void)g->nccl->CommDestroy(g->comm);
        } else {
            (void)g->nccl->CommAbort(g->comm);
        }
    }
    dmq_free(g);
}

/* ------------------------------------------------------------------ the group */

dmq_status dmq_device_group_cuda_ready(char device[DMQ_DEVICE_NAME])
{
    const dmq_nccl *nccl = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_nccl_load(&nccl));
    DMQ_TRY(dmq_cuda_use());
    DMQ_CUDA(cudaDeviceGetPCIBusId(device, DMQ_DEVICE_NAME, dmq_cuda_number()));
done:
    return st;
}

dmq_status dmq_device_group_cuda_key(unsigned char key[DMQ_DEVICE_KEY])
{
    nccl_group none = { .comm = NULL };
    ncclUniqueId id;
    ncclResult_t result;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_nccl_load(&none.nccl));
    DMQ_TRY(dmq_cuda_use());
    result = none.nccl->GetUniqueId(&id);
    if (result != ncclSuccess)
        return failed(&none, result, "ncclGetUniqueId");
    memcpy(key, &id, sizeof id);
done:
    return st;
}

dmq_status dmq_device_group_cuda_open(dmq_device_group **out, const dmq_device_group_config *config)
{
    ncclConfig_t wanted = NCCL_CONFIG_INITIALIZER;
    nccl_group *g = NULL;
    ncclUniqueId id;
    dmq_status st = DMQ_OK;
    int version = 0;

    *out = NULL;
    DMQ_TRY(dmq_cuda_use());
    DMQ_TRY(dmq_alloc((void **)&g, 1, sizeof *g));
    DMQ_TRY(dmq_nccl_load(&g->nccl));
    g->config = *config;
    g->group.all_gather = all_gather;
    g->group.broadcast = broadcast;
    g->group.all_to_all = all_to_all;
    g->group.poll = poll;
    g->group.abort = give_up;
    g->group.close = close_group;
    (void)g->nccl->GetVersion(&version); /* 22809: 2.28.9 */
    (void)snprintf(g->group.name, sizeof g->group.name, "NCCL %d.%d.%d", version / 10000,
                   version / 100 % 100, version % 100);
    memcpy(&id, config->key, sizeof id);
    wanted.blocking = 0;
    DMQ_TRY(settle(g,
                   g->nccl->CommInitRankConfig(&g->comm, config->size, id, config->rank, &wanted),
                   "ncclCommInitRankConfig"));
    *out = &g->group;
    g = NULL;
done:
    if (g) {
        give_up(&g->group);
        dmq_free(g);
    }
    return st;
}
