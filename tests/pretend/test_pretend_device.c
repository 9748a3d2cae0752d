/* The host code of cuda/ on a pretended device: memory, the ring of stages, events, captures; and every call of the
   runtime that they make failing in its turn. */
#include "backend/backend.h"
#include "base/memory.h"
#include "kernels/layout.h"
#include "kernels/pointwise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { COUNT = 1000, LARGE = 5 << 20 }; /* more than the ring of stages holds */

static const dmq_backend *cuda;

#define OK(call)                                      \
    do {                                              \
        dmq_status status_of_call = (call);           \
        if (status_of_call != DMQ_OK)                 \
            fail_msg("%s: %s", #call, dmq_message()); \
    } while (0)

static float number(size_t i, int round)
{
    return (float)(i * 7 % 1013) + (float)round;
}

/* ------------------------------------------------------------------ what a run asks of a device */

typedef struct things {
    dmq_queue *queue, *copies;
    float *x, *y, *large; /* of the device */
    float *pinned, *host;
    void *event, *graph;
} things;

static dmq_status axpby(dmq_queue *queue, const float *x, float *y, float alpha, float beta)
{
    return cuda->axpby(
        queue, &(dmq_axpby_args){ .x = x, .y = y, .alpha = alpha, .beta = beta, .count = COUNT });
}

static dmq_status open_things(things *t)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(cuda->queue_create(&t->queue, 0));
    DMQ_TRY(cuda->queue_create(&t->copies, DMQ_COPIES));
    DMQ_TRY(cuda->alloc((void **)&t->x, COUNT * sizeof(float)));
    DMQ_TRY(cuda->alloc((void **)&t->y, COUNT * sizeof(float)));
    DMQ_TRY(cuda->alloc((void **)&t->large, LARGE * sizeof(float)));
    DMQ_TRY(cuda->pinned_alloc((void **)&t->pinned, COUNT * sizeof(float)));
    DMQ_TRY(cuda->event_create(&t->event));
    DMQ_TRY(dmq_alloc((void **)&t->host, LARGE, sizeof(float)));
done:
    return st;
}

static void close_things(things *t)
{
    cuda->graph_destroy(t->graph);
    cuda->event_destroy(t->event);
    cuda->free(t->x);
    cuda->free(t->y);
    cuda->free(t->large);
    cuda->queue_destroy(t->copies); /* before what its copies read is freed */
    cuda->queue_destroy(t->queue);
    cuda->pinned_free(t->pinned);
    dmq_free(t->host);
    memset(t, 0, sizeof *t);
}

/* x = number(i, round) through the other queue; what came there is waited for on this one. */
static dmq_status fetch(things *t, int round)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(cuda->sync(t->copies)); /* the host writes what the last fetch read */
    for (size_t i = 0; i < COUNT; i++)
        t->pinned[i] = number(i, round);
    DMQ_TRY(cuda->event_record(t->queue, t->event)); /* the device has read what is overwritten */
    DMQ_TRY(cuda->event_wait(t->copies, t->event));
    DMQ_TRY(cuda->fetch(t->copies, t->x, t->pinned, COUNT * sizeof(float)));
    DMQ_TRY(cuda->event_record(t->copies, t->event));
    DMQ_TRY(cuda->event_wait(t->queue, t->event));
done:
    return st;
}

/* y = 2 x once, recorded: y = y + x */
static dmq_status record(things *t)
{
    dmq_status st = DMQ_OK, ended;

    DMQ_TRY(axpby(t->queue, t->x, t->y, 2, 0));
    DMQ_TRY(cuda->capture_begin(t->queue));
    st = axpby(t->queue, t->x, t->y, 1, 1);
    ended = cuda->capture_end(t->queue, &t->graph);
    st = st == DMQ_OK ? ended : st;
done:
    return st;
}

/* host = the large array, sent in two halves from memory that is reused at once, and y behind it */
static dmq_status through_the_ring(things *t)
{
    dmq_status st = DMQ_OK;
    const size_t half = LARGE / 2;

    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < half; i++)
            t->host[i] = number(k * half + i, 5);
        DMQ_TRY(cuda->upload(t->queue, t->large + k * half, t->host, half * sizeof(float)));
    }
    memset(t->host, 0, LARGE * sizeof(float));
    DMQ_TRY(cuda->download(t->queue, t->host, t->large, LARGE * sizeof(float)));
    for (size_t i = 0; i < LARGE; i++) {
        if (t->host[i] != number(i, 5))
            return dmq_fail(DMQ_EDIVERGE, "number %zu of the large array is another one", i);
    }
done:
    return st;
}

/* All of it; y is then 2 x(0) + x(0) + x(1) + x(2). */
static dmq_status all(things *t, int ring)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(open_things(t));
    DMQ_TRY(fetch(t, 0));
    DMQ_TRY(record(t));
    for (int round = 0; round < 3; round++) {
        if (round > 0)
            DMQ_TRY(fetch(t, round));
        DMQ_TRY(cuda->graph_launch(t->queue, t->graph));
    }
    if (ring)
        DMQ_TRY(through_the_ring(t));
    DMQ_TRY(cuda->download(t->queue, t->host, t->y, COUNT * sizeof(float)));
    for (size_t i = 0; i < COUNT; i++) {
        float want = 3 * number(i, 0) + number(i, 1) + number(i, 2);

        if (t->host[i] != want) {
            return dmq_fail(DMQ_EDIVERGE, "number %zu is %g, must be %g", i, (double)t->host[i],
                            (double)want);
        }
    }
done:
    return st;
}

static void what_is_asked_is_done_in_its_order(void **state)
{
    things t = { 0 };

    (void)state;
    OK(all(&t, 1));
    close_things(&t);
}

/* ------------------------------------------------------------------ failures */

static const char *const functions[] = {
    "cudaMemPoolGetAttribute", "cudaMemcpyAsync",          "cudaEventRecord",
    "cudaEventSynchronize",    "cudaStreamSynchronize",    "cudaStreamWaitEvent",
    "cudaLaunchKernel",        "cudaMallocFromPoolAsync",  "cudaHostAlloc",
    "cudaStreamBeginCapture",  "cudaStreamEndCapture",     "cudaGraphInstantiate",
    "cudaGraphUpload",         "cudaGraphLaunch",          "cudaEventCreateWithFlags",
    "cudaMemGetInfo",          "cudaStreamCreateWithFlags"
};

/* 1 when a call has failed, 0 when there are fewer than n of them. */
static int fails_at(const char *function, int n)
{
    char variable[64], text[16];
    things t = { 0 };
    dmq_status st;

    (void)snprintf(variable, sizeof variable, "PRETEND_FAIL_%s", function);
    (void)snprintf(text, sizeof text, "%d", n);
    assert_int_equal(setenv(variable, text, 1), 0);
    st = all(&t, 0);
    assert_int_equal(unsetenv(variable), 0);
    close_things(&t);
    if (st == DMQ_EDIVERGE)
        fail_msg("call %d of %s fails, and nobody says so: %s", n, function, dmq_message());
    if (st != DMQ_OK && st != DMQ_ENOMEM && st != DMQ_EDEVICE)
        fail_msg("call %d of %s fails: %s", n, function, dmq_message());
    return st != DMQ_OK;
}

/* Then the next run of the same process works: nothing is left of the error, and (as the runtime says at the end)
   nothing of the memory, streams and events. */
static void whatever_fails_is_told_and_leaves_nothing(void **state)
{
    things t = { 0 };

    (void)state;
    for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
        int failed = 0, quiet = 0; /* calls that are tried again, or whose failure does no harm */

        for (int n = 1; quiet < 6; n++) {
            if (fails_at(functions[f], n)) {
                failed++;
                quiet = 0;
            } else {
                quiet++;
            }
        }
        print_message("%s: %d failures told\n", functions[f], failed);
        OK(all(&t, 0));
        close_things(&t);
    }
}

/* ------------------------------------------------------------------ what cuda/device.h promises */

static void memory_may_be_freed_at_once(void **state)
{
    things t = { 0 };
    float *next = NULL;

    (void)state;
    OK(open_things(&t));
    OK(fetch(&t, 3));
    OK(axpby(t.queue, t.x, t.y, 1, 0)); /* reads x, which is freed before it runs */
    cuda->free(t.x);
    OK(cuda->alloc((void **)&t.x, COUNT * sizeof(float)));
    OK(cuda->fill(t.queue, &(dmq_fill_args){ .y = t.x, .count = COUNT, .value = -1 }));
    /* asked before a recording, freed within it */
    OK(cuda->alloc((void **)&next, COUNT * sizeof(float)));
    OK(axpby(t.queue, t.y, next, 1, 0));
    OK(axpby(t.queue, next, t.y, 1, 1));
    OK(cuda->capture_begin(t.queue));
    cuda->free(next);
    OK(axpby(t.queue, t.x, t.y, 1, 1));
    OK(cuda->capture_end(t.queue, &t.graph));
    OK(cuda->graph_launch(t.queue, t.graph));
    OK(cuda->download(t.queue, t.host, t.y, COUNT * sizeof(float)));
    for (size_t i = 0; i < COUNT; i++)
        assert_true(t.host[i] == 2 * number(i, 3) - 1);
    close_things(&t);
}

static void a_device_gives_what_it_has_and_says_what_it_lacks(void **state)
{
    enum { MOST = 64 };
    const size_t bytes = 32 << 20;
    void *piece[MOST] = { NULL }, *whole = NULL;
    double before = cuda->memory_free();
    int n = 0;

    (void)state;
    while (n < MOST && cuda->alloc(&piece[n], bytes) == DMQ_OK)
        n++;
    assert_in_range(n, (int)(before / (double)bytes) - 1, MOST - 1);
    assert_non_null(strstr(dmq_message(), "of device memory"));
    for (int i = 0; i < n; i++)
        cuda->free(piece[i]);
    /* what was kept in pieces is given back for one that is larger than all */
    OK(cuda->alloc(&whole, bytes * (size_t)n));
    cuda->free(whole);
    assert_true(cuda->memory_free() == before);
}

/* A copy that was captured would read another stage by the time it runs. */
static void a_recording_takes_no_copies_and_no_waits(void **state)
{
    things t = { 0 };

    (void)state;
    OK(open_things(&t));
    OK(fetch(&t, 0));
    OK(cuda->capture_begin(t.queue));
    assert_int_equal(cuda->upload(t.queue, t.y, t.host, 4), DMQ_EDEVICE);
    assert_int_equal(cuda->download(t.queue, t.host, t.y, 4), DMQ_EDEVICE);
    assert_int_equal(cuda->fetch(t.queue, t.y, t.pinned, 4), DMQ_EDEVICE);
    assert_int_equal(cuda->event_record(t.queue, t.event), DMQ_EDEVICE);
    assert_int_equal(cuda->event_wait(t.queue, t.event), DMQ_EDEVICE);
    OK(cuda->sync(t.queue)); /* nothing has begun */
    OK(axpby(t.queue, t.x, t.y, 1, 0));
    OK(cuda->capture_end(t.queue, &t.graph));
    OK(cuda->graph_launch(t.queue, t.graph));
    OK(cuda->download(t.queue, t.host, t.y, COUNT * sizeof(float)));
    assert_true(t.host[COUNT - 1] == number(COUNT - 1, 0));
    close_things(&t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_asked_is_done_in_its_order),
        cmocka_unit_test(memory_may_be_freed_at_once),
        cmocka_unit_test(a_recording_takes_no_copies_and_no_waits),
        cmocka_unit_test(a_device_gives_what_it_has_and_says_what_it_lacks),
        cmocka_unit_test(whatever_fails_is_told_and_leaves_nothing),
    };

    if (dmq_backend_open(&cuda, argc > 1 ? argv[1] : "cuda") != DMQ_OK) {
        (void)fprintf(stderr, "%s\n", dmq_message());
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
