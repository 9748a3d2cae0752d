/* Lanes: results that do not know the threads, failures that do not either. */
#include "backend/lanes.h"
#include "base/clock.h"
#include "base/memory.h"

#include <math.h>
#include <omp.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { PIECES = 57, LANES = 5 };

static dmq_lanes *lanes_of(int count)
{
    dmq_lanes *lanes = NULL;

    assert_int_equal(dmq_lanes_create(&lanes, dmq_backend_ref(), count), DMQ_OK);
    return lanes;
}

/* What the pieces leave behind. */
typedef struct record {
    dmq_lanes *lanes;
    double value[PIECES];
    atomic_int runs[PIECES];
    atomic_int busy[LANES]; /* pieces on a lane at this moment */
    atomic_int wrong;       /* broken promises */
    atomic_int started;
    int fail[PIECES];
} record;

/* Uneven work: the lanes overtake each other. */
static double long_sum(int piece)
{
    double sum = 0;

    for (int i = 1; i < 50 + 1000 * (piece * 7 % 5); i++)
        sum += sin(i * 0.1 * (piece + 1)) / i;
    return sum;
}

static dmq_status work(void *context, int piece, int lane, dmq_queue *queue)
{
    record *r = context;
    int wrong = 0;

    atomic_fetch_add(&r->started, 1);
    wrong += atomic_fetch_add(&r->busy[lane], 1) != 0;
    wrong += queue != dmq_lanes_queue(r->lanes, lane);
    wrong += omp_get_max_threads() != 1; /* what a library asks before it opens threads */
    r->value[piece] = long_sum(piece);
    atomic_fetch_add(&r->runs[piece], 1);
    atomic_fetch_sub(&r->busy[lane], 1);
    atomic_fetch_add(&r->wrong, wrong);
    if (r->fail[piece])
        return dmq_fail(DMQ_EDATA, "piece %d is bad", piece);
    return DMQ_OK;
}

static void any_number_of_lanes_gives_the_same(void **state)
{
    int threads = omp_get_max_threads();

    (void)state;
    for (int count = 1; count <= LANES; count++) {
        static record r;

        memset(&r, 0, sizeof r);
        r.lanes = lanes_of(count);
        assert_int_equal(dmq_lanes_count(r.lanes), count);
        assert_ptr_equal(dmq_lanes_backend(r.lanes), dmq_backend_ref());
        assert_int_equal(dmq_lanes_run(r.lanes, PIECES, work, &r), DMQ_OK);
        assert_int_equal(r.wrong, 0);
        for (int i = 0; i < PIECES; i++) {
            assert_int_equal(r.runs[i], 1);
            assert_true(r.value[i] == long_sum(i));
        }
        assert_int_equal(dmq_lanes_run(r.lanes, 0, work, &r), DMQ_OK);
        assert_int_equal(r.started, PIECES);
        dmq_lanes_destroy(r.lanes);
    }
    assert_int_equal(omp_get_max_threads(), threads); /* the setting ended with the run */
}

static void the_smallest_failure_is_told(void **state)
{
    (void)state;
    for (int count = 1; count <= LANES; count++) {
        for (int round = 0; round < 20; round++) {
            static record r;

            memset(&r, 0, sizeof r);
            r.lanes = lanes_of(count);
            r.fail[31] = r.fail[12] = r.fail[13] = r.fail[50] = 1;
            dmq_message_set("an old message");
            assert_int_equal(dmq_lanes_run(r.lanes, PIECES, work, &r), DMQ_EDATA);
            assert_string_equal(dmq_message(), "piece 12 is bad");
            for (int i = 0; i <= 12; i++)
                assert_int_equal(r.runs[i], 1);
            for (int i = 13; count == 1 && i < PIECES; i++)
                assert_int_equal(r.runs[i], 0);
            memset(r.fail, 0, sizeof r.fail);
            assert_int_equal(dmq_lanes_run(r.lanes, PIECES, work, &r), DMQ_OK); /* and goes on */
            dmq_lanes_destroy(r.lanes);
        }
    }
}

static dmq_status meet(void *context, int piece, int lane, dmq_queue *queue)
{
    atomic_int *arrived = context;
    double start = dmq_clock_seconds();

    (void)piece;
    (void)lane;
    (void)queue;
    atomic_fetch_add(arrived, 1);
    while (atomic_load(arrived) < LANES) {
        if (dmq_clock_seconds() - start > 20) {
            return dmq_fail(DMQ_EDATA, "alone for 20 s");
        } else {
            (void)sched_yield();
        }
    }
    return DMQ_OK;
}

static void pieces_run_side_by_side(void **state)
{
    dmq_lanes *lanes = lanes_of(LANES);
    atomic_int arrived = 0;

    (void)state;
    assert_int_equal(dmq_lanes_run(lanes, LANES, meet, &arrived), DMQ_OK);
    dmq_lanes_destroy(lanes);
}

/* All pieces fail, all run at once; the one in `context` ends last. */
static atomic_int all_here;

static dmq_status fail_in_order(void *context, int piece, int lane, dmq_queue *queue)
{
    dmq_status st = meet(&all_here, piece, lane, queue);
    struct timespec pause = { 0, 3000000 };

    if (st == DMQ_OK && piece == *(int *)context)
        (void)nanosleep(&pause, NULL);
    return st == DMQ_OK ? dmq_fail(DMQ_EDATA, "piece %d is bad", piece) : st;
}

static void the_order_of_failures_does_not_matter(void **state)
{
    dmq_lanes *lanes = lanes_of(LANES);

    (void)state;
    for (int last = 0; last < LANES; last++) {
        atomic_store(&all_here, 0);
        assert_int_equal(dmq_lanes_run(lanes, LANES, fail_in_order, &last), DMQ_EDATA);
        assert_string_equal(dmq_message(), "piece 0 is bad");
    }
    dmq_lanes_destroy(lanes);
}

static void no_count_means_all_cores(void **state)
{
    dmq_lanes *lanes = lanes_of(0);

    (void)state;
    assert_int_equal(dmq_lanes_count(lanes), omp_get_max_threads());
    dmq_lanes_destroy(lanes);
    omp_set_num_threads(3); /* as OMP_NUM_THREADS=3 */
    lanes = lanes_of(0);
    assert_int_equal(dmq_lanes_count(lanes), 3);
    dmq_lanes_destroy(lanes);
    dmq_lanes_destroy(NULL);
}

static void every_allocation_may_fail(void **state)
{
    dmq_lanes *lanes = NULL;
    dmq_status st = DMQ_ENOMEM;
    int n = 0;

    (void)state;
    while (st != DMQ_OK) {
        dmq_alloc_fail_at(++n);
        st = dmq_lanes_create(&lanes, dmq_backend_ref(), 4);
        dmq_alloc_fail_at(0);
        if (st != DMQ_OK) {
            assert_int_equal(st, DMQ_ENOMEM);
            assert_null(lanes);
        }
    }
    assert_int_equal(n, 7); /* the lanes, their list, four queues */
    dmq_lanes_destroy(lanes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_lanes_gives_the_same),
        cmocka_unit_test(the_smallest_failure_is_told),
        cmocka_unit_test(the_order_of_failures_does_not_matter),
        cmocka_unit_test(pieces_run_side_by_side),
        cmocka_unit_test(no_count_means_all_cores),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
