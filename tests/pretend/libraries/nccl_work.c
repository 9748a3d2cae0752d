#include "nccl_work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What stands before the bytes of a part: all ranks must ask for the same. */
typedef struct label {
    int64_t kind, type, root, count; /* no gaps, which would differ */
} label;

static void name_of(char name[BOARD_NAME], const op *o, int rank, const char *what)
{
    (void)snprintf(name, BOARD_NAME, "c%llu.%s%d", (unsigned long long)o->turn, what, rank);
}

static void name_between(char name[BOARD_NAME], const op *o, int from, int to, const char *what)
{
    (void)snprintf(name, BOARD_NAME, "p%d-%d.%llu%s", from, to, (unsigned long long)o->turn, what);
}

static label label_of(const op *o)
{
    int between = o->kind == OP_SEND || o->kind == OP_RECV;

    return (label){ between ? OP_SEND : (int)o->kind, (int)o->type,
                    o->kind == OP_BROADCAST ? o->peer : 0, (int64_t)o->count };
}

static int is_over(const batch *b)
{
    if (b->ring->closed && !b->ring->aborted)
        pretend_die("runs after its communicator was destroyed");
    return b->ring->aborted;
}

/* ------------------------------------------------------------------ leaving a part */

static void leave(const board *to, const char *name, const op *o, const void *data, size_t bytes)
{
    label l = label_of(o);
    char *part = judge_memory(sizeof l + bytes);

    memcpy(part, &l, sizeof l);
    if (bytes > 0)
        memcpy(part + sizeof l, data, bytes);
    board_write(to, name, part, sizeof l + bytes);
    free(part);
}

static void post(void *context)
{
    batch *b = context;
    ring *c = b->ring;
    char name[BOARD_NAME];

    for (int i = 0; i < b->n && !is_over(b); i++) {
        op *o = &b->op[i];

        if (o->kind == OP_RECV) {
            o->turn = c->received[o->peer]++;
        } else if (o->kind == OP_SEND) {
            o->turn = c->sent[o->peer]++;
            name_between(name, o, c->board.rank, o->peer, "");
            leave(&c->board, name, o, o->send, o->bytes);
        } else {
            o->turn = c->collectives++;
            name_of(name, o, c->board.rank, "");
            leave(&c->board, name, o, o->send,
                  o->kind == OP_BROADCAST && o->peer != c->board.rank ? 0 : o->bytes);
        }
    }
}

/* ------------------------------------------------------------------ reading those of others */

static int all_are_there(const op *o, const board *b, const char *what)
{
    char name[BOARD_NAME];

    for (int r = 0; r < b->size; r++) {
        name_of(name, o, r, what);
        if (!board_has(b, name))
            return 0;
    }
    return 1;
}

static int parts_are_there(void *context)
{
    batch *b = context;
    const board *on = &b->ring->board;
    char name[BOARD_NAME];

    for (int i = 0; i < b->n && !is_over(b); i++) {
        op *o = &b->op[i];

        if (o->kind == OP_SEND)
            continue;
        name_between(name, o, o->peer, on->rank, "");
        if (o->kind == OP_RECV ? !board_has(on, name) : !all_are_there(o, on, ""))
            return 0;
    }
    return 1;
}

/* The bytes of a part; dies where the other rank asked for something else. */
static char *take(const board *from, const char *name, const op *o, int rank, size_t bytes)
{
    label mine = label_of(o), is;
    char *part = judge_memory(sizeof is + bytes + 1);
    size_t n = board_read(from, name, part, sizeof is + bytes + 1);

    memcpy(&is, part, sizeof is);
    if (memcmp(&is, &mine, sizeof is) != 0)
        pretend_die(
            "rank %d asks for operation %lld of %lld numbers of type %lld with root %lld, rank %d "
            "for operation %lld of %lld of type %lld with root %lld",
            from->rank, (long long)mine.kind, (long long)mine.count, (long long)mine.type,
            (long long)mine.root, rank, (long long)is.kind, (long long)is.count, (long long)is.type,
            (long long)is.root);
    if (n != sizeof is + bytes)
        pretend_die("rank %d left %zu bytes, not %zu", rank, n - sizeof is, bytes);
    memmove(part, part + sizeof is, bytes);
    return part;
}

/* Each quarter of the numbers is summed from another rank on, as rings do; the same on every rank. */
static void add_up(const op *o, char *const part[COMM_RANKS], int size)
{
    for (size_t i = 0; i < o->count; i++) {
        int first = (int)(i * 4 / o->count) % size;
        float sum = ((const float *)(const void *)part[first])[i];

        for (int r = 1; r < size; r++)
            sum += ((const float *)(const void *)part[(first + r) % size])[i];
        ((float *)o->recv)[i] = sum;
    }
}

static void read_collective(const op *o, const board *b)
{
    char *part[COMM_RANKS], name[BOARD_NAME];

    for (int r = 0; r < b->size; r++) {
        name_of(name, o, r, "");
        part[r] = take(b, name, o, r, o->kind == OP_BROADCAST && r != o->peer ? 0 : o->bytes);
    }
    if (o->kind == OP_ALL_REDUCE)
        add_up(o, part, b->size);
    if (o->kind == OP_BROADCAST)
        memcpy(o->recv, part[o->peer], o->bytes);
    for (int r = 0; r < b->size; r++) {
        if (o->kind == OP_ALL_GATHER)
            memcpy((char *)o->recv + (size_t)r * o->bytes, part[r], o->bytes);
        free(part[r]);
    }
    name_of(name, o, b->rank, "read");
    board_write(b, name, "", 0);
    if (o->turn > 0) { /* that all are here says that all have seen it */
        const op before = { .turn = o->turn - 1 };

        name_of(name, &before, b->rank, "read");
        board_remove(b, name);
    }
}

static void join(void *context)
{
    batch *b = context;
    const board *on = &b->ring->board;
    char name[BOARD_NAME];

    for (int i = 0; i < b->n && !is_over(b); i++) {
        op *o = &b->op[i];
        char *part;

        if (o->kind == OP_SEND)
            continue;
        if (o->kind != OP_RECV) {
            read_collective(o, on);
            continue;
        }
        name_between(name, o, o->peer, on->rank, "");
        part = take(on, name, o, o->peer, o->bytes);
        memcpy(o->recv, part, o->bytes);
        free(part);
        name_between(name, o, o->peer, on->rank, ".read");
        board_write(on, name, "", 0);
    }
}

/* ------------------------------------------------------------------ until all have read */

static int all_have_read(void *context)
{
    batch *b = context;
    const board *on = &b->ring->board;
    char name[BOARD_NAME];

    for (int i = 0; i < b->n && !is_over(b); i++) {
        op *o = &b->op[i];

        if (o->kind == OP_RECV)
            continue;
        name_between(name, o, on->rank, o->peer, ".read");
        if (o->kind == OP_SEND ? !board_has(on, name) : !all_are_there(o, on, "read"))
            return 0;
    }
    return 1;
}

static void settle(void *context)
{
    batch *b = context;
    const board *on = &b->ring->board;
    char name[BOARD_NAME];

    for (int i = 0; i < b->n && !is_over(b); i++) {
        op *o = &b->op[i];

        if (o->kind == OP_RECV)
            continue;
        if (o->kind == OP_SEND) {
            name_between(name, o, on->rank, o->peer, ".read");
            board_remove(on, name);
            name_between(name, o, on->rank, o->peer, "");
        } else {
            name_of(name, o, on->rank, "");
        }
        board_remove(on, name);
    }
}

/* ------------------------------------------------------------------ as work of a stream */

static void drop(void *context)
{
    batch *b = context;

    if (--b->holders == 0) { /* the runtime's lock is held, so one at a time */
        ring_let_go(b->ring);
        free(b);
    }
}

void ring_let_go(ring *r)
{
    if (atomic_fetch_sub(&r->holders, 1) == 1)
        free(r);
}

ncclResult_t batch_enqueue(batch *b)
{
    const pretend_work work[] = {
        { .name = b->op[0].call, .run = post, .drop = drop, .context = b },
        { .name = b->op[0].call,
          .run = join,
          .drop = drop,
          .context = b,
          .ready = parts_are_there },
        { .name = b->op[0].call,
          .run = settle,
          .drop = drop,
          .context = b,
          .ready = all_have_read },
    };
    cudaStream_t stream = b->stream;
    int device = b->comm->device, before = 0;
    cudaError_t error;

    b->holders = 3;
    b->ring = b->comm->ring;
    (void)atomic_fetch_add(&b->ring->holders, 1);
    (void)cudaGetDevice(&before);
    (void)cudaSetDevice(device);
    error = pretend_enqueue(stream, &work[0]);
    for (int i = 1; i < 3; i++) {
        if (error == cudaSuccess)
            error = pretend_enqueue(stream, &work[i]);
        else
            drop(b);
    }
    (void)cudaSetDevice(before);
    return error == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}
