/**
 * A backend that records and replays, on the reference or another one: it keeps the arguments of what it is asked, as a
 * device's graph does, so that a number of the host that changed between two replays would show.
 *
 *   dmq_backend be = recorder();       one recording at a time, of all backends made here
 *   recorded.launches, recorded.n      replays so far; calls in the recording that lives
 *   recorded.calls                     calls in the last recording that ended
 */
#ifndef DMQ_TESTS_RECORDER_H
#define DMQ_TESTS_RECORDER_H

#include "backend/backend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RECORDED_MOST = 4096 };

/** Who computes; NULL: the reference. Set before the first recorder(). */
static const dmq_backend *recorder_under;

static inline const dmq_backend *recorder_base(void)
{
    return recorder_under ? recorder_under : dmq_backend_ref();
}

typedef struct recorder_call {
    dmq_status (*run)(dmq_queue *queue, const void *args);
    void *args;
} recorder_call;

static struct {
    int on, n, launches, calls;
    const dmq_queue *queue; /* that is recorded */
    recorder_call list[RECORDED_MOST];
    void *owned[3 * RECORDED_MOST];
    int n_owned;
} recorded;

static inline void *recorder_keep(const void *memory, size_t bytes)
{
    void *copy = malloc(bytes);

    assert_non_null(copy);
    memcpy(copy, memory, bytes);
    assert_true(recorded.n_owned < 3 * RECORDED_MOST);
    recorded.owned[recorded.n_owned++] = copy;
    return copy;
}

/* Small arrays of structs and pointers are read during the call, so they are part of it. */
static inline void recorder_keep_adaround(dmq_adaround_args *a)
{
    a->layer = recorder_keep(a->layer, (size_t)a->n_layers * sizeof *a->layer);
}

static inline void recorder_keep_inner(const char *slot, void *args)
{
    if (strcmp(slot, "sum_blocks") == 0) {
        dmq_sum_blocks_args *a = args;

        a->x = recorder_keep((const void *)a->x, (size_t)a->n_blocks * sizeof *a->x);
    } else if (strcmp(slot, "adaround_step") == 0) {
        recorder_keep_adaround(&((dmq_adaround_step_args *)args)->round);
    } else if (strncmp(slot, "adaround_", 9) == 0) {
        recorder_keep_adaround(args);
    }
}

static inline dmq_status recorder_record(const char *slot, const void *args, size_t bytes,
                                         dmq_status (*run)(dmq_queue *queue, const void *args))
{
    assert_true(recorded.n < RECORDED_MOST);
    recorded.list[recorded.n] = (recorder_call){ run, recorder_keep(args, bytes) };
    recorder_keep_inner(slot, recorded.list[recorded.n++].args);
    return DMQ_OK;
}

#define RECORDED(slot_, args_)                                                  \
    static dmq_status slot_##_run(dmq_queue *queue, const void *args)           \
    {                                                                           \
        return recorder_base()->slot_(queue, args);                             \
    }                                                                           \
    static dmq_status slot_##_or_record(dmq_queue *queue, const args_ *a)       \
    {                                                                           \
        return recorded.on ? recorder_record(#slot_, a, sizeof *a, slot_##_run) \
                           : recorder_base()->slot_(queue, a);                  \
    }
DMQ_BACKEND_OPS(RECORDED)
#undef RECORDED

static inline dmq_status recorder_begin(dmq_queue *queue)
{
    assert_false(recorded.on);
    recorded.queue = queue;
    recorded.on = 1;
    return DMQ_OK;
}

static inline dmq_status recorder_end(dmq_queue *queue, void **graph)
{
    (void)queue;
    recorded.on = 0;
    recorded.calls = recorded.n;
    *graph = &recorded;
    return DMQ_OK;
}

static inline dmq_status recorder_launch(dmq_queue *queue, void *graph)
{
    dmq_status st = DMQ_OK;

    assert_ptr_equal(graph, &recorded);
    recorded.launches++;
    for (int i = 0; i < recorded.n; i++)
        DMQ_TRY(recorded.list[i].run(queue, recorded.list[i].args));
done:
    return st;
}

static inline void recorder_forget(void *graph)
{
    if (!graph)
        return;
    while (recorded.n_owned > 0)
        free(recorded.owned[--recorded.n_owned]);
    recorded.n = 0;
}

/* Other queues, such as one of copies, go on meanwhile. */
static inline int recorder_has(const dmq_queue *queue)
{
    return recorded.queue == queue && recorded.on;
}

static inline dmq_status recorder_copy_of_the_host(dmq_queue *queue, void *to, const void *from,
                                                   size_t bytes)
{
    assert_false(recorder_has(queue)); /* no copy to or from the host may be part of an iteration */
    memcpy(to, from, bytes);
    return DMQ_OK;
}

static inline dmq_status recorder_wait(dmq_queue *queue)
{
    assert_false(recorder_has(queue)); /* what is recorded only cannot be waited for */
    return DMQ_OK;
}

static inline dmq_backend recorder(void)
{
    dmq_backend be = *recorder_base();

#define TAKE(slot_, args_) be.slot_ = slot_##_or_record;
    DMQ_BACKEND_OPS(TAKE)
#undef TAKE
    be.name = "recorder";
    be.host_memory = 0; /* as on a device: what is planned is uploaded */
    be.upload = recorder_copy_of_the_host;
    be.download = recorder_copy_of_the_host;
    be.sync = recorder_wait;
    be.capture_begin = recorder_begin;
    be.capture_end = recorder_end;
    be.graph_launch = recorder_launch;
    be.graph_destroy = recorder_forget;
    return be;
}

#endif
