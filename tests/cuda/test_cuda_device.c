/* Memory, queues and opening on a CUDA device, the pretended one where there is no other: what a program sees when
   things happen in an unlucky order, or fail. */
#include "backend/backend.h"
#include "base/log.h"
#include "cuda/device.h"
#include "kernels/pointwise.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OK(call) assert_int_equal((call), DMQ_OK)

enum { COUNT = 4096, BYTES = COUNT * sizeof(float) };

static const dmq_backend *be;

static float *numbers(dmq_queue *queue, float value)
{
    void *memory = NULL;

    OK(be->alloc(&memory, BYTES));
    OK(be->fill(queue, &(dmq_fill_args){ .y = memory, .count = COUNT, .value = value }));
    return memory;
}

static void are(dmq_queue *queue, const float *memory, float value)
{
    static float got[COUNT];

    OK(be->download(queue, got, memory, BYTES));
    OK(be->sync(queue));
    for (int i = 0; i < COUNT; i++)
        assert_true(got[i] == value);
}

/* ------------------------------------------------------------------ memory that is freed meanwhile */

static void *free_and_take_again(void *memory)
{
    dmq_queue *queue = NULL;
    float *again;

    be->free(memory);
    OK(be->queue_create(&queue, 1));
    again = numbers(queue, 7); /* of the size of what was freed: its place, as likely as not */
    are(queue, again, 7);
    be->free(again);
    be->queue_destroy(queue);
    return NULL;
}

/* What a queue was asked for before it records is not done when it begins to: memory that another thread frees
   meanwhile still has readers. */
static void what_a_recording_queue_was_asked_for_keeps_its_memory(void **state)
{
    dmq_queue *queue = NULL;
    float *x, *y, *z;
    pthread_t other;
    void *graph = NULL;

    (void)state;
    OK(be->queue_create(&queue, 0));
    x = numbers(queue, 2);
    y = numbers(queue, 0);
    z = numbers(queue, 0);
    OK(be->sync(queue));
    OK(be->axpby(queue, &(dmq_axpby_args){ .x = x, .y = y, .alpha = 3, .count = COUNT }));
    OK(be->capture_begin(queue));
    OK(be->axpby(queue,
                 &(dmq_axpby_args){ .x = y, .y = z, .alpha = 1, .beta = 1, .count = COUNT }));
    assert_int_equal(pthread_create(&other, NULL, free_and_take_again, x), 0);
    assert_int_equal(pthread_join(other, NULL), 0);
    OK(be->capture_end(queue, &graph));
    OK(be->graph_launch(queue, graph));
    OK(be->graph_launch(queue, graph));
    are(queue, y, 6);
    are(queue, z, 12);
    be->graph_destroy(graph);
    be->free(y);
    be->free(z);
    be->queue_destroy(queue);
}

/* ------------------------------------------------------------------ nothing to do */

static void no_rows_are_no_work(void **state)
{
    dmq_queue *queue = NULL;
    float *x;

    (void)state;
    OK(be->queue_create(&queue, 0));
    x = numbers(queue, 5);
    OK(be->softmax_forward(queue, &(dmq_softmax_args){ .x = x, .y = x, .rows = 0, .cols = 8 }));
    OK(be->fill(queue, &(dmq_fill_args){ .y = x, .count = 0, .value = 1 }));
    are(queue, x, 5);
    be->free(x);
    be->queue_destroy(queue);
}

/* ------------------------------------------------------------------ what fails */

/* An error that was told once is not the next launch's. */
static void an_error_is_told_once(void **state)
{
    dmq_queue *queue = NULL;
    void *memory = NULL;
    float *x;

    (void)state;
    OK(be->queue_create(&queue, 0));
    assert_int_equal(be->alloc(&memory, (size_t)1 << 46), DMQ_ENOMEM);
    assert_non_null(strstr(dmq_message(), "hint: "));
    assert_null(memory);
    x = numbers(queue, 1);
    are(queue, x, 1);
    be->free(x);
    be->queue_destroy(queue);
}

static int opens_without(const char *call)
{
    char name[64];
    dmq_status st;

    (void)snprintf(name, sizeof name, "PRETEND_FAIL_%s", call);
    (void)setenv(name, "1", 1);
    st = dmq_backend_open(&be, "cuda");
    (void)unsetenv(name);
    return st == DMQ_OK;
}

/* What opening needs fails, one after the other; then the device is opened as if nothing had been. A pool that does
   not work is done without. */
static int opens_in_the_end(void)
{
    static const char *const calls[] = { "cudaSetDevice", "cudaMemGetInfo",
                                         "cudaStreamCreateWithFlags" };

    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (opens_without(calls[i]) || be || !strstr(dmq_message(), calls[i])) {
            fprintf(stderr, "%s fails, and opening tells: %s\n", calls[i], dmq_message());
            return 0;
        }
    }
    (void)setenv("PRETEND_DRIVER", "12080", 1);
    if (dmq_backend_open(&be, "cuda") != DMQ_ENOTSUP ||
        !strstr(dmq_message(), "the driver is for CUDA 12.8, this build needs")) {
        fprintf(stderr, "of an old driver it tells: %s\n", dmq_message());
        return 0;
    }
    (void)unsetenv("PRETEND_DRIVER");
    if (getenv("NO_POOL") &&
        (!opens_without("cudaMallocFromPoolAsync") || dmq_log_warnings("no-memory-pool") != 1)) {
        fprintf(stderr, "a pool that does not work is not done without: %s\n", dmq_message());
        return 0;
    }
    return 1;
}

/* pretend: on a device that fails when it is asked to */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_recording_queue_was_asked_for_keeps_its_memory),
        cmocka_unit_test(no_rows_are_no_work),
        cmocka_unit_test(an_error_is_told_once),
    };

    if (argc > 1 && strcmp(argv[1], "pretend") == 0 && !opens_in_the_end())
        return 1;
    if (dmq_backend_open(&be, "cuda") != DMQ_OK) {
        fprintf(stderr, "skipped: %s\n", dmq_message());
        return 77;
    }
    return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
