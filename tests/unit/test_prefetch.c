/* Rows brought ahead: every batch is whole when it is taken, none is overwritten before it is left, and what
   fails on the way is told to who takes. */
#include "base/memory.h"
#include "recon/prefetch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define OK(call) assert_int_equal((call), DMQ_OK)

enum { ROWS = 40, PER = 5, BATCH = 6, COUNT = 45 };

typedef struct setting {
    dmq_tiers tiers;
    dmq_store *store[2];
    dmq_prefetch *p;
    dmq_queue *queue;
} setting;

static dmq_real number(int store, int row, int k)
{
    return (dmq_real)(1000 * store + 10 * row + k);
}

static void set_up(setting *s, const dmq_backend *be)
{
    dmq_real rows[ROWS * PER];
    const dmq_store *all[2];

    *s = (setting){ .tiers = { .be = be, .budget = { 0, ROWS * PER * sizeof(dmq_real), 1e6 } } };
    OK(be->queue_create(&s->queue, 0));
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < ROWS * PER; i++)
            rows[i] = number(k, i / PER, i % PER);
        OK(dmq_store_create(&s->store[k], &s->tiers, PER, ROWS, DMQ_HOT));
        assert_int_equal(s->store[k]->tier, k == 0 ? DMQ_ON_HOST : DMQ_ON_DISK);
        OK(dmq_store_put(s->store[k], s->queue, 0, ROWS, rows));
        all[k] = s->store[k];
    }
    OK(dmq_prefetch_create(&s->p, be, all, 2));
}

static void tear_down(setting *s)
{
    dmq_prefetch_destroy(s->p);
    for (int k = 0; k < 2; k++)
        dmq_store_destroy(s->store[k]);
    for (int t = 0; t < DMQ_TIERS; t++)
        assert_true(s->tiers.used[t] == 0);
    s->tiers.be->queue_destroy(s->queue);
}

/* A batch of a trip, as it lies in the tables. */
static void check_batch(const setting *s, const int *row, int batch, int rows)
{
    const dmq_backend *be = s->tiers.be;
    dmq_real got[BATCH * PER];

    for (int k = 0; k < 2; k++) {
        const dmq_real *from =
            dmq_prefetch_table(s->p, k) + (size_t)dmq_prefetch_row(s->p, batch, 0) * PER;

        OK(be->download(s->queue, got, from, (size_t)(rows * PER) * sizeof *got));
        OK(be->sync(s->queue));
        for (int i = 0; i < rows * PER; i++)
            assert_true(got[i] == number(k, row[i / PER], i % PER));
    }
}

static void walk(setting *s, const dmq_trip *trip, const int *row, int from, int to)
{
    for (int b = from; b < to; b++) {
        int rest = trip->count - b * trip->rows;
        int rows = rest < trip->rows ? rest : trip->rows;

        OK(dmq_prefetch_take(s->p, b, s->queue));
        OK(dmq_prefetch_take(s->p, b, s->queue)); /* once more is as good */
        check_batch(s, row + (trip->index ? b * trip->stride : trip->first + b * trip->rows), b,
                    rows);
        OK(dmq_prefetch_leave(s->p, b, s->queue));
    }
}

static void every_batch_is_whole(void **state)
{
    static int index[COUNT], row[ROWS];
    const dmq_backend *on[] = { dmq_backend_ref(), dmq_backend_check() };
    const dmq_trip drawn = { .index = index, .stride = BATCH, .rows = BATCH, .count = COUNT };
    const dmq_trip apart = { .index = index, .stride = 9, .rows = 4, .count = 20 };
    const dmq_trip line = { .first = 3, .rows = 5, .count = ROWS - 3 };

    (void)state;
    for (int i = 0; i < COUNT; i++)
        index[i] = i * 7 % ROWS;
    for (int i = 0; i < ROWS; i++)
        row[i] = i;
    for (int i = 0; i < 2; i++) {
        setting s;
        unsigned first, second;
        int moved;

        set_up(&s, on[i]);
        OK(dmq_prefetch_reserve(s.p, 4, &moved));
        assert_true(moved);
        OK(dmq_prefetch_reserve(s.p, BATCH, &moved));
        assert_true(moved);
        OK(dmq_prefetch_reserve(s.p, 2, &moved));
        assert_false(moved);
        first = dmq_prefetch_begin(s.p, &drawn, 0);
        assert_int_equal(dmq_prefetch_trip(s.p), first);
        walk(&s, &drawn, index, 0, 3);
        dmq_prefetch_end(s.p); /* in the middle; then on from there */
        assert_int_equal(dmq_prefetch_trip(s.p), 0);
        second = dmq_prefetch_begin(s.p, &drawn, 3);
        assert_true(second != first && second != 0);
        walk(&s, &drawn, index, 3, (COUNT + BATCH - 1) / BATCH);
        (void)dmq_prefetch_begin(s.p, &apart, 0);
        walk(&s, &apart, index, 0, 5);
        (void)dmq_prefetch_begin(s.p, &line, 0);
        walk(&s, &line, row, 0, (ROWS - 3 + 4) / 5);
        tear_down(&s);
    }
}

/* The third copy to the device fails. */
static int fetches;

static dmq_status failing_fetch(dmq_queue *queue, void *device, const void *pinned, size_t bytes)
{
    if (++fetches == 3)
        return dmq_fail(DMQ_EDEVICE, "the cable is out");
    return dmq_backend_check()->fetch(queue, device, pinned, bytes);
}

static void failures_come_to_who_takes(void **state)
{
    const dmq_trip line = { .rows = BATCH, .count = ROWS };
    dmq_backend be = *dmq_backend_check();
    setting s;
    int moved;

    (void)state;
    be.fetch = failing_fetch;
    set_up(&s, &be);
    OK(dmq_prefetch_reserve(s.p, BATCH, &moved));
    (void)dmq_prefetch_begin(s.p, &line, 0); /* two copies a batch: the second batch fails */
    OK(dmq_prefetch_take(s.p, 0, s.queue));
    OK(dmq_prefetch_leave(s.p, 0, s.queue));
    assert_int_equal(dmq_prefetch_take(s.p, 1, s.queue), DMQ_EDEVICE);
    assert_string_equal(dmq_message(), "the cable is out");
    (void)dmq_prefetch_begin(s.p, &line, 1); /* and once more it does not */
    OK(dmq_prefetch_take(s.p, 1, s.queue));
    tear_down(&s);
}

static void running_out_of_memory_is_clean(void **state)
{
    const dmq_backend *be = dmq_backend_check();
    const dmq_store *all[1];
    setting s;
    dmq_status st = DMQ_ENOMEM;

    (void)state;
    set_up(&s, be);
    all[0] = s.store[1];
    for (long n = 1; st != DMQ_OK; n++) {
        dmq_prefetch *p = NULL;
        int moved;

        dmq_alloc_fail_at(n);
        st = dmq_prefetch_create(&p, be, all, 1);
        if (st == DMQ_OK)
            st = dmq_prefetch_reserve(p, BATCH, &moved);
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK || st == DMQ_ENOMEM);
        dmq_prefetch_destroy(p);
    }
    tear_down(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_batch_is_whole),
        cmocka_unit_test(failures_come_to_who_takes),
        cmocka_unit_test(running_out_of_memory_is_clean),
    };
    return cmocka_run_group_tests_name("prefetch", tests, NULL, NULL);
}
