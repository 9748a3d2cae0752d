/* A pretended NCCL: communicators, groups of calls, and what a communicator that does not block says. */
#include "nccl_work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { GROUP_BATCHES = 32, POLLS = 3 };

ncclResult_t ncclGetVersion(int *version)
{
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    static const char *const text[] = { [ncclSuccess] = "no error",
                                        [ncclUnhandledCudaError] = "unhandled cuda error",
                                        [ncclSystemError] = "unhandled system error",
                                        [ncclInternalError] = "internal error",
                                        [ncclInvalidArgument] = "invalid argument",
                                        [ncclInvalidUsage] = "invalid usage",
                                        [ncclRemoteError] = "remote process exited or there was a "
                                                            "network error",
                                        [ncclInProgress] = "NCCL operation in progress" };

    return (unsigned)result < ncclNumResults ? text[result] : "unknown result code";
}

const char *ncclGetLastError(ncclComm_t comm)
{
    return ((struct ncclComm *)judge_living(comm, KIND_COMM, __func__, "comm"))->last_error;
}

static ncclResult_t refuse(struct ncclComm *c, ncclResult_t result, const char *why)
{
    (void)snprintf(c->last_error, sizeof c->last_error, "%s", why);
    c->failed = (int)result;
    return result;
}

/* ------------------------------------------------------------------ waiting for the others */

static void nap(void)
{
    const struct timespec millisecond = { 0, 1000000 };

    (void)nanosleep(&millisecond, NULL);
}

/* Whether all ranks have come, or why they never will. */
static ncclResult_t look(struct ncclComm *c)
{
    int twice = 0;

    if (c->failed)
        return (ncclResult_t)c->failed;
    if (!c->opening)
        return ncclSuccess;
    if (!board_is_full(&c->ring->board, &twice))
        return ncclInProgress;
    c->opening = 0;
    return twice ? refuse(c, ncclInvalidUsage, "two ranks are on one device") : ncclSuccess;
}

static ncclResult_t await_all(struct ncclComm *c)
{
    long milliseconds = pretend_wish("PATIENCE", 60) * 1000;
    ncclResult_t result;

    while ((result = look(c)) == ncclInProgress) {
        if (milliseconds-- <= 0)
            pretend_die("ncclCommInitRank: rank %d waits for others in vain", c->rank);
        nap();
    }
    return result;
}

/* ------------------------------------------------------------------ groups of calls */

/* Of each thread: what is to be done at the end of the outermost group. */
static _Thread_local struct {
    int depth, batches, comms;
    batch *batch[GROUP_BATCHES];
    struct ncclComm *comm[GROUP_BATCHES]; /* to be awaited */
    ncclResult_t result;
} group;

ncclResult_t ncclGroupStart(void); /* the header's have no prototypes */
ncclResult_t ncclGroupEnd(void);

ncclResult_t ncclGroupStart(void)
{
    group.depth++;
    return ncclSuccess;
}

/* Put it into the stream, or say that it will be: the first call of a kind makes connections. */
static ncclResult_t launch(batch *b)
{
    struct ncclComm *c = b->comm;
    unsigned kinds = 0;

    for (int i = 0; i < b->n; i++)
        kinds |= 1u << b->op[i].kind;
    if (c->blocking || (kinds & ~c->known) == 0)
        return batch_enqueue(b);
    c->known |= kinds;
    c->pending = b;
    c->polls = POLLS;
    return ncclInProgress;
}

ncclResult_t ncclGroupEnd(void)
{
    ncclResult_t result = group.result;

    if (group.depth == 0)
        return ncclInvalidUsage;
    if (--group.depth > 0)
        return ncclSuccess;
    for (int i = 0; i < group.comms; i++) {
        ncclResult_t r = group.comm[i]->blocking ? await_all(group.comm[i]) : ncclInProgress;

        result = result == ncclSuccess ? r : result;
    }
    for (int i = 0; i < group.batches; i++) {
        ncclResult_t r = ncclSuccess;

        if (result == ncclSuccess || result == ncclInProgress)
            r = launch(group.batch[i]);
        else
            free(group.batch[i]);
        result = r == ncclSuccess ? result : r;
    }
    group.batches = group.comms = 0;
    group.result = ncclSuccess;
    return result;
}

/* ------------------------------------------------------------------ communicators */

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    memset(id, 0, sizeof *id);
    return board_make(id->internal, sizeof id->internal) ? ncclSuccess : ncclSystemError;
}

static ncclResult_t open_comm(ncclComm_t *out, int size, const ncclUniqueId *id, int rank,
                              int device, int blocking)
{
    struct ncclComm *c;

    if (!out || size < 1 || size > COMM_RANKS || rank < 0 || rank >= size)
        return ncclInvalidArgument;
    c = judge_create(sizeof *c, KIND_COMM);
    c->ring = judge_memory(sizeof *c->ring);
    c->ring->holders = 1;
    c->rank = rank;
    c->size = size;
    c->device = device;
    c->blocking = blocking;
    c->opening = 1;
    *out = c;
    if (!board_join(&c->ring->board, id->internal, rank, size, device))
        return refuse(c, ncclInvalidArgument, "the unique id is none");
    if (group.depth > 0) {
        if (group.comms == GROUP_BATCHES)
            pretend_die("ncclCommInitRank: more than %d in one group", GROUP_BATCHES);
        group.comm[group.comms++] = c;
        return ncclSuccess;
    }
    return blocking ? await_all(c) : ncclInProgress;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    const ncclConfig_t good = NCCL_CONFIG_INITIALIZER;
    int device = 0;

    (void)cudaGetDevice(&device);
    if (config && (config->magic != good.magic || config->size != good.size))
        return ncclInvalidArgument;
    return open_comm(comm, size, &id, rank, device, !config || config->blocking != 0);
}

ncclResult_t ncclCommInitAll(ncclComm_t *comm, int size, const int *devices)
{
    ncclResult_t result;
    ncclUniqueId id;

    for (int i = 0; i < size; i++) {
        for (int k = 0; devices && k < i; k++) {
            if (devices[i] == devices[k])
                return ncclInvalidUsage;
        }
    }
    if (size < 1 || !comm)
        return ncclInvalidArgument;
    result = ncclGetUniqueId(&id);
    (void)ncclGroupStart();
    for (int i = 0; i < size && result == ncclSuccess; i++)
        result = open_comm(&comm[i], size, &id, i, devices ? devices[i] : i, 1);
    group.result = result;
    return ncclGroupEnd();
}

/* The communicator, which nobody has given up or closed and which is not under way with something else. */
static struct ncclComm *ready(ncclComm_t comm, const char *call)
{
    struct ncclComm *c = judge_living(comm, KIND_COMM, call, "comm");

    if (c->finalizing)
        pretend_die("%s: the communicator was finalized", call);
    if ((c->opening && group.comms == 0) || c->pending)
        pretend_die("%s: the communicator is still in progress: ask ncclCommGetAsyncError until it "
                    "is not",
                    call);
    return c;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *state)
{
    struct ncclComm *c = judge_living(comm, KIND_COMM, __func__, "comm");

    *state = look(c);
    if (*state == ncclSuccess && c->pending) {
        *state = ncclInProgress;
        if (--c->polls == 0) {
            *state = batch_enqueue(c->pending);
            c->pending = NULL;
        }
    } else if (*state == ncclSuccess && c->finalizing && !c->finalized) {
        c->finalized = --c->polls == 0;
        *state = c->finalized ? ncclSuccess : ncclInProgress;
    }
    return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    struct ncclComm *c = ready(comm, __func__);

    c->finalizing = 1;
    c->finalized = c->blocking;
    c->polls = POLLS;
    return c->blocking ? ncclSuccess : ncclInProgress;
}

static void forget(struct ncclComm *c)
{
    if (c->ring->board.size > 0)
        board_leave(&c->ring->board);
    c->ring->closed = 1;
    ring_let_go(c->ring);
    free(c->pending);
    judge_destroy(c, KIND_COMM, "ncclCommDestroy");
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    struct ncclComm *c = judge_living(comm, KIND_COMM, __func__, "comm");

    if (!c->blocking && !c->finalized)
        pretend_die("%s: of a communicator that does not block, before ncclCommFinalize was done",
                    __func__);
    forget(c);
    return ncclSuccess;
}

/* What it has in streams comes to nothing. */
ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    struct ncclComm *c = judge_living(comm, KIND_COMM, __func__, "comm");

    c->ring->aborted = 1;
    forget(c);
    return ncclSuccess;
}

/* ------------------------------------------------------------------ calls */

static size_t bytes_of(ncclDataType_t type)
{
    switch (type) {
    case ncclInt8:
    case ncclUint8:
        return 1;
    case ncclFloat16:
    case ncclBfloat16:
        return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
        return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
        return 8;
    default:
        return 0;
    }
}

static ncclResult_t ask(struct ncclComm *c, const op *o, cudaStream_t stream)
{
    batch *b = NULL;

    for (int i = 0; i < group.batches; i++) {
        if (group.batch[i]->comm == c)
            b = group.batch[i];
    }
    if (b && b->stream != stream)
        pretend_die("%s: one group, one communicator, two streams: not pretended", o->call);
    if (b && b->n == BATCH_OPS)
        pretend_die("%s: more than %d calls in one group", o->call, BATCH_OPS);
    if (!b) {
        b = judge_memory(sizeof *b);
        b->comm = c;
        b->stream = stream;
        if (group.depth > 0)
            group.batch[group.batches++] = b;
    }
    b->op[b->n++] = *o;
    return group.depth > 0 ? ncclSuccess : launch(b);
}

/* What all calls have in common: a type that there is, memory of the device, ranks. */
static int is_good(op *o, const struct ncclComm *c, size_t sent, size_t received)
{
    size_t number = bytes_of(o->type);

    o->bytes = o->count * number;
    if (number == 0 || o->peer < 0 || o->peer >= c->size)
        return 0;
    if (sent > 0)
        judge_device(o->send, sent * o->bytes, number, o->call, "sendbuff");
    if (received > 0)
        judge_device(o->recv, received * o->bytes, number, o->call, "recvbuff");
    return 1;
}

ncclResult_t ncclAllReduce(const void *send, void *recv, size_t count, ncclDataType_t type,
                           ncclRedOp_t how, ncclComm_t comm, cudaStream_t stream)
{
    struct ncclComm *c = ready(comm, __func__);
    op o = { .kind = OP_ALL_REDUCE, .call = __func__, .send = send, .recv = recv, .count = count };

    o.type = type;
    if (type != ncclFloat || how != ncclSum)
        pretend_die("%s: other than sums of floats are not pretended", __func__);
    if (!is_good(&o, c, 1, 1))
        return ncclInvalidArgument;
    if (send != recv)
        judge_apart(recv, o.bytes, send, o.bytes, __func__, "sendbuff");
    return ask(c, &o, stream);
}

ncclResult_t ncclAllGather(const void *send, void *recv, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream)
{
    struct ncclComm *c = ready(comm, __func__);
    op o = { .kind = OP_ALL_GATHER, .call = __func__, .send = send, .recv = recv, .count = count };

    o.type = type;
    if (!is_good(&o, c, 1, (size_t)c->size))
        return ncclInvalidArgument;
    if (send != (char *)recv + (size_t)c->rank * o.bytes) /* in place */
        judge_apart(recv, (size_t)c->size * o.bytes, send, o.bytes, __func__, "sendbuff");
    return ask(c, &o, stream);
}

ncclResult_t ncclBroadcast(const void *send, void *recv, size_t count, ncclDataType_t type,
                           int root, ncclComm_t comm, cudaStream_t stream)
{
    struct ncclComm *c = ready(comm, __func__);
    op o = { .kind = OP_BROADCAST, .call = __func__, .send = send, .recv = recv, .count = count };

    o.type = type;
    o.peer = root;
    if (!is_good(&o, c, root == c->rank, 1))
        return ncclInvalidArgument;
    if (send != recv && root == c->rank)
        judge_apart(recv, o.bytes, send, o.bytes, __func__, "sendbuff");
    return ask(c, &o, stream);
}

ncclResult_t ncclSend(const void *send, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream)
{
    struct ncclComm *c = ready(comm, __func__);
    op o = { .kind = OP_SEND, .call = __func__, .send = send, .count = count, .type = type };

    o.peer = peer;
    return is_good(&o, c, 1, 0) ? ask(c, &o, stream) : ncclInvalidArgument;
}

ncclResult_t ncclRecv(void *recv, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream)
{
    struct ncclComm *c = ready(comm, __func__);
    op o = { .kind = OP_RECV, .call = __func__, .recv = recv, .count = count, .type = type };

    o.peer = peer;
    return is_good(&o, c, 0, 1) ? ask(c, &o, stream) : ncclInvalidArgument;
}
