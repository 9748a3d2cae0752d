#include "dist/comm_inner.h"

#include "base/clock.h"
#include "base/memory.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SPIN_SECONDS  30e-6 /* before a wait sleeps: most calls are short */
#define WATCH_SECONDS 5e-3  /* how often one that waits for its device looks after the others */

/* ------------------------------------------------------------------ one call at a time */

static dmq_status enter(dmq_comm *comm, const char *what)
{
    if (atomic_exchange(&comm->busy, 1)) {
        return dmq_fail(DMQ_EINVAL,
                        "group: rank %d is asked for %s while another call of it is under way",
                        comm->link->rank, what);
    }
    if (comm->failed) {
        atomic_store(&comm->busy, 0);
        return dmq_fail(DMQ_EPEER, "%s", comm->why);
    }
    return DMQ_OK;
}

static void abort_device(dmq_comm *comm)
{
    if (comm->device && !comm->aborted)
        comm->device->abort(comm->device);
    comm->aborted = 1;
}

/* The group does not survive a failed call: who cannot go on tells the others, and what runs is given up. */
dmq_status dmq_comm_leave(dmq_comm *comm, dmq_status st)
{
    if (st != DMQ_OK) {
        comm->failed = 1;
        (void)snprintf(comm->why, sizeof comm->why, "%s", dmq_message());
        if (st != DMQ_EPEER)
            comm->link->tell(comm->link, comm->why);
        abort_device(comm);
    }
    atomic_store(&comm->busy, 0);
    return st;
}

static dmq_status enter_queue(dmq_comm *comm, dmq_queue *queue, const char *what)
{
    dmq_status st = enter(comm, what);

    if (st == DMQ_OK && comm->queue && comm->queue != queue) {
        atomic_store(&comm->busy, 0);
        return dmq_fail(DMQ_EINVAL,
                        "group: rank %d is asked for %s on a queue while it has calls on another\n"
                        "  hint: dmq_comm_sync comes first",
                        comm->link->rank, what);
    }
    if (st == DMQ_OK)
        comm->queue = queue;
    return st;
}

dmq_status dmq_comm_ask(dmq_comm *comm, dmq_call_kind kind, void *data, const void *in,
                        size_t bytes, int root)
{
    dmq_call call = {
        .kind = kind, .root = root, .bytes = bytes, .data = data, .in = in, .number = ++comm->calls
    };

    return comm->link->call(comm->link, &call);
}

static void note_device(dmq_comm *comm, dmq_call_kind kind, size_t bytes)
{
    comm->last.kind = kind;
    comm->last.bytes = bytes;
    comm->last.number++;
    comm->link->device_calls++;
}

/* ------------------------------------------------------------------ calls on a queue */

dmq_status dmq_comm_all_gather(dmq_comm *comm, dmq_queue *queue, void *data, size_t bytes)
{
    dmq_status st = enter_queue(comm, queue, "an all_gather");

    if (st != DMQ_OK)
        return st;
    if (comm->device) {
        note_device(comm, DMQ_CALL_GATHER, bytes);
        st = comm->device->all_gather(comm->device, queue, data, bytes);
    } else if (comm->stage && comm->link->size > 1) {
        st = dmq_comm_staged_gather(comm, queue, data, bytes);
    } else {
        st = dmq_comm_ask(comm, DMQ_CALL_GATHER, data, NULL, bytes, 0);
    }
    return dmq_comm_leave(comm, st);
}

dmq_status dmq_comm_broadcast(dmq_comm *comm, dmq_queue *queue, void *data, size_t bytes, int root)
{
    dmq_status st = enter_queue(comm, queue, "a broadcast");

    assert(root >= 0 && root < comm->link->size);
    if (st != DMQ_OK)
        return st;
    if (comm->device) {
        note_device(comm, DMQ_CALL_BROADCAST, bytes);
        st = comm->device->broadcast(comm->device, queue, data, bytes, root);
    } else if (comm->stage && comm->link->size > 1) {
        st = dmq_comm_staged_broadcast(comm, queue, data, bytes, root);
    } else {
        st = dmq_comm_ask(comm, DMQ_CALL_BROADCAST, data, NULL, bytes, root);
    }
    return dmq_comm_leave(comm, st);
}

/* Alone, without leaving the device: what is recorded may come here. */
static dmq_status copy_numbers(dmq_comm *comm, dmq_queue *queue, void *out, const void *in,
                               size_t count)
{
    dmq_copy2d_args a = {
        .src = in, .dst = out, .rows = 1, .cols = count, .src_ld = count, .dst_ld = count
    };

    return count > 0 ? comm->be->copy2d(queue, &a) : DMQ_OK;
}

dmq_status dmq_comm_all_to_all(dmq_comm *comm, dmq_queue *queue, void *out, const void *in,
                               size_t bytes)
{
    dmq_status st = enter_queue(comm, queue, "an all_to_all");

    assert(out != in || bytes == 0);
    if (st != DMQ_OK)
        return st;
    if (comm->device) {
        note_device(comm, DMQ_CALL_TURN, bytes);
        st = comm->device->all_to_all(comm->device, queue, out, in, bytes);
    } else if (comm->stage && comm->link->size == 1 && bytes % sizeof(dmq_real) == 0) {
        st = copy_numbers(comm, queue, out, in, bytes / sizeof(dmq_real));
    } else if (comm->stage) {
        st = dmq_comm_staged_turn(comm, queue, out, in, bytes);
    } else {
        st = dmq_comm_ask(comm, DMQ_CALL_TURN, out, in, bytes, 0);
    }
    return dmq_comm_leave(comm, st);
}

static void nap(double seconds)
{
    struct timespec t = { 0, (long)(seconds * 1e9) };

    (void)nanosleep(&t, NULL);
}

/* Until the device is done; who fails meanwhile, or does not come, ends it. */
static dmq_status wait_device(dmq_comm *comm, dmq_queue *queue)
{
    double start = dmq_clock_seconds(), watched = start, now, pause = SPIN_SECONDS;
    dmq_status st = DMQ_OK;
    int done = 0;

    for (;;) {
        DMQ_TRY(comm->device->poll(comm->device, queue, &done));
        if (done)
            break;
        now = dmq_clock_seconds();
        if (now - start > comm->link->seconds)
            return comm->link->late(comm->link, &comm->last);
        if (now - watched > WATCH_SECONDS) {
            DMQ_TRY(comm->link->watch(comm->link));
            watched = now;
        }
        if (now - start > SPIN_SECONDS) {
            nap(pause);
            pause = pause < 1e-3 ? 2 * pause : pause;
        }
    }
done:
    return st;
}

dmq_status dmq_comm_sync(dmq_comm *comm, dmq_queue *queue)
{
    dmq_status st = enter_queue(comm, queue, "a sync");

    if (st != DMQ_OK)
        return st;
    st = comm->device ? wait_device(comm, queue) : comm->be->sync(queue);
    comm->queue = NULL;
    return dmq_comm_leave(comm, st);
}

/* ------------------------------------------------------------------ calls of the host */

static dmq_status call_host(dmq_comm *comm, dmq_call_kind kind, const char *what, void *data,
                            size_t bytes, int root)
{
    dmq_status st = enter(comm, what);

    return st == DMQ_OK ? dmq_comm_leave(comm, dmq_comm_ask(comm, kind, data, NULL, bytes, root))
                        : st;
}

dmq_status dmq_comm_exchange(dmq_comm *comm, void *data, size_t bytes)
{
    return call_host(comm, DMQ_CALL_GATHER, "an exchange", data, bytes, 0);
}

dmq_status dmq_comm_spread(dmq_comm *comm, void *data, size_t bytes, int root)
{
    assert(root >= 0 && root < comm->link->size);
    return call_host(comm, DMQ_CALL_BROADCAST, "a spread", data, bytes, root);
}

dmq_status dmq_comm_barrier(dmq_comm *comm)
{
    return call_host(comm, DMQ_CALL_BARRIER, "a barrier", NULL, 0, 0);
}

dmq_status dmq_comm_any(dmq_comm *comm, int *flag)
{
    dmq_status st = DMQ_OK;

    comm->flags[comm->link->rank] = *flag != 0;
    DMQ_TRY(dmq_comm_exchange(comm, comm->flags, sizeof *comm->flags));
    *flag = 0;
    for (int r = 0; r < comm->link->size; r++)
        *flag |= comm->flags[r];
done:
    return st;
}

dmq_status dmq_comm_agree(dmq_comm *comm, const char *what, const void *bytes, size_t count)
{
    int size = comm->link->size, differ = 0;
    unsigned char *all = NULL;
    char ranks[256] = "";
    dmq_status st = DMQ_OK;
    size_t n = 0;

    DMQ_TRY(dmq_alloc((void **)&all, (size_t)size * count + 1, 1));
    if (count > 0)
        memcpy(all + (size_t)comm->link->rank * count, bytes, count);
    DMQ_TRY(dmq_comm_exchange(comm, all, count));
    for (int r = 1; r < size; r++) {
        if (memcmp(all, all + (size_t)r * count, count) == 0)
            continue;
        if (n + 16 < sizeof ranks)
            n += (size_t)snprintf(ranks + n, sizeof ranks - n, "%s%d", differ ? ", " : "", r);
        differ++;
    }
    if (differ) {
        DMQ_TRY(dmq_fail(DMQ_EINVAL,
                         "group: %s of %d of %d ranks is not that of rank 0\n  at rank %s\n"
                         "  hint: all ranks are started with the same arguments and files",
                         what, differ, size, ranks));
    }
done:
    dmq_free(all);
    return st;
}

void dmq_comm_label(dmq_comm *comm, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(comm->link->label, sizeof comm->link->label, format, args);
    va_end(args);
}

void dmq_comm_fail(dmq_comm *comm)
{
    char why[DMQ_PEER_TEXT];

    if (comm->failed)
        return;
    (void)snprintf(why, sizeof why, "%.1900s", dmq_message());
    comm->link->tell(comm->link, why);
    comm->failed = 1;
    (void)snprintf(comm->why, sizeof comm->why, "%s", why);
    abort_device(comm);
}

int dmq_comm_rank(const dmq_comm *comm)
{
    return comm->link->rank;
}

int dmq_comm_size(const dmq_comm *comm)
{
    return comm->link->size;
}

const dmq_backend *dmq_comm_backend(const dmq_comm *comm)
{
    return comm->be;
}

const char *dmq_comm_way_name(const dmq_comm *comm)
{
    return comm->device ? comm->device->name : "host";
}
