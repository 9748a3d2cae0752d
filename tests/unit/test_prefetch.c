/* Rows brought ahead: every batch is whole when it is taken, none is overwritten before it is left, and what
   fails on the way is told to who takes. */
#include "base/memory.h"
#include "recon/prefetch.h"

#include <math.h>
#include <pthread.h>
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

/* ------------------------------------------------------------------ a device that is not in step */

/*
 * Two queues that run when it hurts: one of them at once, the other one only when somebody waits for it. What
 * is read before it was brought, or overwritten before it was read, comes out wrong.
 */
typedef struct step {
    enum { COPY, RECORD, WAIT } kind;
    void *to;
    const void *from;
    size_t bytes;
    int *event, count; /* recorded so often; wait until it has happened `count` times */
} step;

enum { STEPS = 4000 };

struct dmq_queue {
    step step[STEPS];
    int n, next; /* asked for, done */
};

typedef struct event {
    int asked, happened;
} event;

static struct {
    pthread_mutex_t lock;
    dmq_queue *copies, *work;
    dmq_queue *early; /* the one that runs at once */
} late = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* One step of a queue, if it may be done. */
static int advance(dmq_queue *q)
{
    step *s = &q->step[q->next];

    if (q->next == q->n || (s->kind == WAIT && *s->event < s->count))
        return 0;
    if (s->kind == COPY)
        memcpy(s->to, s->from, s->bytes);
    else if (s->kind == RECORD)
        ++*s->event;
    q->next++;
    return 1;
}

static dmq_status ask(dmq_queue *q, step s)
{
    (void)pthread_mutex_lock(&late.lock);
    if (s.kind == RECORD)
        ((event *)(void *)((char *)s.event - offsetof(event, happened)))->asked++;
    assert_true(q->n < STEPS);
    q->step[q->n++] = s;
    while (advance(late.early))
        continue;
    (void)pthread_mutex_unlock(&late.lock);
    return DMQ_OK;
}

static dmq_status late_fetch(dmq_queue *q, void *to, const void *from, size_t bytes)
{
    return ask(q, (step){ .kind = COPY, .to = to, .from = from, .bytes = bytes });
}

static dmq_status late_record(dmq_queue *q, void *memory)
{
    return ask(q, (step){ .kind = RECORD, .event = &((event *)memory)->happened });
}

static dmq_status late_wait(dmq_queue *q, void *memory)
{
    event *e = memory;

    return ask(q, (step){ .kind = WAIT, .event = &e->happened, .count = e->asked });
}

static dmq_status late_event(void **out)
{
    return dmq_alloc(out, 1, sizeof(event));
}

static dmq_status late_queue(dmq_queue **out, int lane)
{
    dmq_status st = dmq_alloc((void **)out, 1, sizeof **out);

    if (lane == DMQ_COPIES)
        late.copies = *out;
    else
        late.work = *out;
    return st;
}

static void end_queue(dmq_queue *q)
{
    assert_int_equal(q->next, q->n);
    dmq_free(q);
}

/* Both run as far as they can until all of this one is done. */
static dmq_status late_sync(dmq_queue *q)
{
    (void)pthread_mutex_lock(&late.lock);
    while (q->next < q->n)
        assert_true(advance(q) || advance(late.copies) || advance(late.work));
    (void)pthread_mutex_unlock(&late.lock);
    return DMQ_OK;
}

static void neither_side_runs_ahead(void **state)
{
    static int index[COUNT];
    static dmq_real read[COUNT][PER];
    dmq_backend be = *dmq_backend_ref();
    const dmq_trip trip = { .index = index, .stride = BATCH, .rows = BATCH, .count = COUNT };

    (void)state;
    be.host_memory = 0;
    be.fetch = late_fetch;
    be.event_create = late_event;
    be.event_destroy = dmq_free;
    be.event_record = late_record;
    be.event_wait = late_wait;
    be.queue_create = late_queue;
    be.queue_destroy = end_queue;
    be.sync = late_sync;
    for (int i = 0; i < COUNT; i++)
        index[i] = i * 11 % ROWS;
    for (int early = 0; early < 2; early++) {
        for (int tier = DMQ_ON_HOST; tier <= DMQ_ON_DISK; tier++) {
            dmq_tiers tiers = { .be = &be, .budget = { 0, 0, 0 } };
            const dmq_store *all[1];
            dmq_real rows[ROWS * PER];
            dmq_store *store = NULL;
            dmq_prefetch *p = NULL;
            dmq_queue *queue = NULL;
            int moved;

            tiers.budget[tier] = 1e6;
            OK(be.queue_create(&queue, 0));
            OK(dmq_store_create(&store, &tiers, PER, ROWS, DMQ_HOT));
            assert_int_equal(store->tier, tier);
            for (int i = 0; i < ROWS * PER; i++)
                rows[i] = number(0, i / PER, i % PER);
            OK(dmq_store_put(store, queue, 0, ROWS, rows));
            all[0] = store;
            OK(dmq_prefetch_create(&p, &be, all, 1));
            late.early = early ? late.copies : late.work;
            OK(dmq_prefetch_reserve(p, BATCH, &moved));
            memset(read, 0, sizeof read);
            (void)dmq_prefetch_begin(p, &trip, 0);
            for (int b = 0; b * BATCH < COUNT; b++) {
                int n = COUNT - b * BATCH < BATCH ? COUNT - b * BATCH : BATCH;
                const dmq_real *from =
                    dmq_prefetch_table(p, 0) + (size_t)dmq_prefetch_row(p, b, 0) * PER;

                OK(dmq_prefetch_take(p, b, queue));
                OK(late_fetch(queue, read[b * BATCH], from, (size_t)n * PER * sizeof **read));
                OK(dmq_prefetch_leave(p, b, queue)); /* and nobody waits */
            }
            OK(be.sync(queue));
            for (int i = 0; i < COUNT * PER; i++)
                assert_true(read[i / PER][i % PER] == number(0, index[i / PER], i % PER));
            dmq_prefetch_destroy(p);
            dmq_store_destroy(store);
            be.queue_destroy(queue);
        }
    }
}

/* ------------------------------------------------------------------ failures */

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

static dmq_status full(void **out, size_t bytes)
{
    *out = NULL;
    return dmq_fail(DMQ_ENOMEM, "no %zu bytes", bytes);
}

/* A device that is full before its budget is: rows go where they may go beside it. */
static void a_full_device_is_no_end(void **state)
{
    dmq_backend be = *dmq_backend_check();
    dmq_tiers tiers = { .be = &be, .budget = { 1e6, 0, 1e6 } };
    dmq_store *a = NULL, *b = NULL;

    (void)state;
    OK(dmq_store_create(&a, &tiers, PER, ROWS, DMQ_HOT));
    assert_int_equal(a->tier, DMQ_ON_DEVICE);
    be.alloc = full;
    OK(dmq_store_create(&b, &tiers, PER, ROWS, DMQ_HOT));
    assert_int_equal(b->tier, DMQ_ON_DISK);
    dmq_store_destroy(b);
    assert_int_equal(dmq_store_create(&b, &tiers, PER, ROWS, DMQ_NOW), DMQ_ENOMEM);
    tiers.budget[DMQ_ON_DISK] = 0;
    assert_int_equal(dmq_store_create(&b, &tiers, PER, ROWS, DMQ_HOT), DMQ_ENOMEM);
    assert_null(b);
    dmq_store_destroy(a);
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
        cmocka_unit_test(every_batch_is_whole),           cmocka_unit_test(neither_side_runs_ahead),
        cmocka_unit_test(failures_come_to_who_takes),     cmocka_unit_test(a_full_device_is_no_end),
        cmocka_unit_test(running_out_of_memory_is_clean),
    };
    return cmocka_run_group_tests_name("prefetch", tests, NULL, NULL);
}
