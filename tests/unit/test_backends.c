/* The table of backends: names, messages, no empty slot (also in double). */
#include "backend/backend.h"
#include "base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const names[] = { "ref", "check", "cpu", "auto" };

static void every_slot_is_filled(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        const dmq_backend *b = NULL;

        if (dmq_backend_open(&b, names[i]) == DMQ_ENOTSUP)
            continue;
        assert_non_null(b);
        assert_true(b->alloc && b->free && b->upload && b->download);
        assert_true(b->queue_create && b->queue_destroy && b->sync);
        assert_true(b->pinned_alloc && b->pinned_free && b->fetch);
        assert_true(b->event_create && b->event_destroy && b->event_record && b->event_wait);
#define FILLED(slot, args) \
    if (!b->slot)          \
        fail_msg("%s has no " #slot, b->name);
        DMQ_BACKEND_OPS(FILLED)
#undef FILLED
    }
}

static void names_open_what_they_say(void **state)
{
    const dmq_backend *b = NULL;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(dmq_backend_open(&b, names[i]), DMQ_OK);
        assert_string_equal(b->name, names[i]);
    }
    assert_int_equal(dmq_backend_open(&b, "auto"), DMQ_OK);
    assert_ptr_equal(strstr(dmq_backend_auto_reason(), b->name), dmq_backend_auto_reason());
    assert_non_null(strstr(dmq_backend_auto_reason(), ", since "));
    assert_null(strchr(dmq_backend_auto_reason(), '\n'));
    if (sizeof(dmq_real) == 4) {
        const dmq_backend *cuda = NULL;

        if (dmq_backend_open(&cuda, "cuda") == DMQ_ENOTSUP)
            assert_string_equal(b->name, "cpu");
        assert_int_equal(dmq_backend_open(&b, "cpu"), DMQ_OK);
        assert_string_equal(b->name, "cpu");
    } else {
        assert_string_equal(b->name, "ref");
        assert_int_equal(dmq_backend_open(&b, "cpu"), DMQ_ENOTSUP);
        assert_null(b);
        assert_non_null(strstr(dmq_message(), "double"));
    }
}

static void what_is_absent_is_named(void **state)
{
    const dmq_backend *b = NULL;

    (void)state;
    assert_int_equal(dmq_backend_open(&b, "gpu"), DMQ_EINVAL);
    assert_null(b);
    assert_non_null(strstr(dmq_message(), "\"gpu\""));
    assert_non_null(strstr(dmq_message(), "auto, cpu, cuda, ref or check"));
    if (dmq_backend_open(&b, "cuda") == DMQ_ENOTSUP) {
        int built = strstr(dmq_message(), "no device") != NULL;

        assert_true(built || strstr(dmq_message(), "without CUDA"));
        assert_int_equal(dmq_backend_open(&b, "cuda:1"), DMQ_ENOTSUP);
        assert_non_null(strstr(dmq_message(), built ? "no device" : "cuda:1"));
    }
}

static void memory_goes_there_and_back(void **state)
{
    static const float numbers[5] = { 1, 2, 3, 4, 5 };

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        const dmq_backend *b = NULL;
        dmq_queue *queue = NULL;
        void *memory = NULL;
        float back[5] = { 0 };

        if (dmq_backend_open(&b, names[i]) != DMQ_OK)
            continue;
        assert_int_equal(b->queue_create(&queue, 0), DMQ_OK);
        assert_int_equal(b->alloc(&memory, sizeof numbers), DMQ_OK);
        assert_int_equal((uintptr_t)memory % 64, 0);
        if (strcmp(b->name, "check") == 0) {
            dmq_real poison[2] = { 0 };

            assert_int_equal(b->download(queue, poison, memory, sizeof poison), DMQ_OK);
            assert_true(isnan(poison[1]));
        }
        assert_int_equal(b->upload(queue, memory, numbers, sizeof numbers), DMQ_OK);
        assert_int_equal(b->download(queue, back, memory, sizeof numbers), DMQ_OK);
        assert_int_equal(b->sync(queue), DMQ_OK);
        assert_memory_equal(back, numbers, sizeof numbers);
        b->free(memory);
        b->free(NULL);
        b->queue_destroy(queue);
        b->queue_destroy(NULL);
    }
}

/* What one queue brings, another one reads behind the event. */
static void queues_wait_for_each_other(void **state)
{
    static const float numbers[3] = { 6, 7, 8 };

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        const dmq_backend *b = NULL;
        dmq_queue *copies = NULL, *queue = NULL;
        void *memory = NULL, *pinned = NULL, *event = NULL;
        float back[3] = { 0 };

        if (dmq_backend_open(&b, names[i]) != DMQ_OK)
            continue;
        assert_int_equal(b->queue_create(&copies, DMQ_COPIES), DMQ_OK);
        assert_int_equal(b->queue_create(&queue, 0), DMQ_OK);
        assert_int_equal(b->event_create(&event), DMQ_OK);
        assert_int_equal(b->alloc(&memory, sizeof numbers), DMQ_OK);
        assert_int_equal(b->pinned_alloc(&pinned, sizeof numbers), DMQ_OK);
        memcpy(pinned, numbers, sizeof numbers);
        assert_int_equal(b->event_wait(queue, event), DMQ_OK); /* never recorded: no wait */
        assert_int_equal(b->fetch(copies, memory, pinned, sizeof numbers), DMQ_OK);
        assert_int_equal(b->event_record(copies, event), DMQ_OK);
        assert_int_equal(b->event_wait(queue, event), DMQ_OK);
        assert_int_equal(b->download(queue, back, memory, sizeof numbers), DMQ_OK);
        assert_int_equal(b->sync(queue), DMQ_OK);
        assert_memory_equal(back, numbers, sizeof numbers);
        b->event_destroy(event);
        b->event_destroy(NULL);
        b->pinned_free(pinned);
        b->pinned_free(NULL);
        b->free(memory);
        b->queue_destroy(copies);
        b->queue_destroy(queue);
    }
}

static void memory_may_run_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const dmq_backend *b = NULL;
        dmq_queue *queue = NULL;
        void *memory = NULL;

        assert_int_equal(dmq_backend_open(&b, names[i]), DMQ_OK);
        dmq_alloc_fail_at(1);
        assert_int_equal(b->alloc(&memory, 100), DMQ_ENOMEM);
        assert_null(memory);
        dmq_alloc_fail_at(1);
        assert_int_equal(b->queue_create(&queue, 0), DMQ_ENOMEM);
        assert_null(queue);
        dmq_alloc_fail_at(0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_slot_is_filled),       cmocka_unit_test(names_open_what_they_say),
        cmocka_unit_test(what_is_absent_is_named),    cmocka_unit_test(memory_goes_there_and_back),
        cmocka_unit_test(queues_wait_for_each_other), cmocka_unit_test(memory_may_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
