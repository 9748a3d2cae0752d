/* The group: parts arrive where they belong, and who fails, leaves or stays away is named on every rank. */
#include "base/memory.h"
#include "dist/comm_inner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "comm_parts.h"
#include "comm_ranks.h"

static const int sizes[] = { 1, 2, 3, 4, 8 };

enum { SIZES = sizeof sizes / sizeof *sizes };

static rank_thread rank[RANKS];

static void contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" does not say \"%s\"", text, part);
}

/* ------------------------------------------------------------------ parts arrive */

static void parts_arrive(void **state)
{
    static const size_t counts[] = { 0, 1, 37, 4096, DMQ_COMM_STAGE + 5 };

    (void)state;
    for (int s = 0; s < SIZES; s++) {
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            size_t bytes = counts[c];

            if (bytes > DMQ_COMM_STAGE && sizes[s] > 3)
                continue;
            ranks_all_well(rank, sizes[s], dmq_backend_ref(), move_all, &bytes);
            ranks_all_well(rank, sizes[s], dmq_backend_check(), move_all, &bytes);
        }
    }
}

/* ------------------------------------------------------------------ host memory */

static void ranks_talk(void **state)
{
    (void)state;
    for (int s = 0; s < SIZES; s++)
        ranks_all_well(rank, sizes[s], dmq_backend_ref(), talk, NULL);
}

static dmq_status disagree(rank_place *at)
{
    char hash[8] = "same";

    if (at->rank == 1 || at->rank == 3)
        hash[3] = 'f';
    return dmq_comm_agree(at->comm, "the configuration", hash, sizeof hash);
}

static void who_differs_is_named(void **state)
{
    (void)state;
    ranks_run(rank, 4, dmq_backend_ref(), 20, disagree, NULL, 0);
    for (int r = 0; r < 4; r++) {
        assert_int_equal(rank[r].status, DMQ_EINVAL);
        contains(rank[r].message, "the configuration of 2 of 4 ranks is not that of rank 0");
        contains(rank[r].message, "at rank 1, 3");
    }
}

/* ------------------------------------------------------------------ failures */

static dmq_status stay_away(rank_place *at)
{
    dmq_status st = DMQ_OK;

    dmq_comm_label(at->comm, "unit %d", 40 + at->rank);
    DMQ_TRY(dmq_comm_barrier(at->comm));
    if (at->rank == 1)
        rank_sleep(1.6);
    DMQ_TRY(dmq_comm_exchange(at->comm, &(int[RANKS]){ 0 }, sizeof(int)));
done:
    return st;
}

static void who_stays_away_is_named(void **state)
{
    (void)state;
    ranks_run(rank, 3, dmq_backend_ref(), 1, stay_away, NULL, 0);
    for (int r = 0; r < 3; r++) { /* the one that comes too late learns it as well */
        assert_int_equal(rank[r].status, DMQ_EPEER);
        assert_int_equal(dmq_exit_code(rank[r].status), 76);
        contains(rank[r].message, "not all of 3 ranks came to all_gather 3 of 4 bytes within 1.0s");
        contains(rank[r].message, "at rank 1: it last took part in barrier 2 (unit 41)");
        assert_null(strstr(rank[r].message, "at rank 0"));
        assert_null(strstr(rank[r].message, "at rank 2"));
    }
}

static void who_never_joins_is_named(void **state)
{
    (void)state;
    ranks_run(rank, 4, dmq_backend_ref(), 1, talk, NULL, 1U << 2);
    for (int r = 0; r < 4; r++) {
        if (r == 2)
            continue;
        assert_int_equal(rank[r].status, DMQ_EPEER);
        contains(rank[r].message, "at rank 2: it never joined");
    }
}

static dmq_status leave_early(rank_place *at)
{
    return at->rank == 2 ? DMQ_OK : dmq_comm_barrier(at->comm);
}

static dmq_status fail_early(rank_place *at)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_comm_barrier(at->comm));
    if (at->rank == 2) {
        st = dmq_fail(DMQ_ENOMEM, "no room for the cache\n  hint: a smaller one");
        dmq_comm_fail(at->comm);
        return dmq_comm_barrier(at->comm) == DMQ_EPEER ? st : DMQ_OK;
    }
    DMQ_TRY(dmq_comm_barrier(at->comm));
done:
    return st;
}

static void who_leaves_or_fails_is_named_at_once(void **state)
{
    (void)state;
    ranks_run(rank, 3, dmq_backend_ref(), 60, leave_early, NULL, 0);
    for (int r = 0; r < 2; r++) {
        assert_int_equal(rank[r].status, DMQ_EPEER);
        contains(rank[r].message, "rank 2 of 3 has gone");
        assert_true(rank[r].seconds < 20);
    }
    ranks_run(rank, 3, dmq_backend_ref(), 60, fail_early, NULL, 0);
    assert_int_equal(rank[2].status, DMQ_ENOMEM);
    for (int r = 0; r < 2; r++) {
        assert_int_equal(rank[r].status, DMQ_EPEER);
        contains(rank[r].message, "rank 2 of 3 failed: no room for the cache");
        assert_true(rank[r].seconds < 20);
    }
}

static dmq_status ask_other(rank_place *at)
{
    int numbers[RANKS] = { 0 };

    return at->rank == 1 ? dmq_comm_spread(at->comm, numbers, 8, 0)
                         : dmq_comm_exchange(at->comm, numbers, 4);
}

static dmq_status ask_more(rank_place *at)
{
    char bytes[RANKS * 8] = { 0 };

    return dmq_comm_exchange(at->comm, bytes, at->rank == 2 ? 8 : 4);
}

static void different_calls_are_named(void **state)
{
    (void)state;
    ranks_run(rank, 3, dmq_backend_ref(), 20, ask_other, NULL, 0);
    for (int r = 0; r < 3; r++) {
        assert_int_equal(rank[r].status, DMQ_EPEER);
        contains(rank[r].message,
                 "rank 1 asks for broadcast 2 of 8 bytes, rank 0 for all_gather 2 of 4 bytes");
    }
    ranks_run(rank, 3, dmq_backend_ref(), 20, ask_more, NULL, 0);
    for (int r = 0; r < 3; r++)
        contains(rank[r].message, "rank 2 asks for all_gather 2 of 8 bytes");
}

static void who_does_not_wait_for_its_device_is_named(void **state)
{
    (void)state;
    ranks_run(rank, 4, dmq_backend_ref(), 30, wait_in_vain, NULL, 0);
    for (int r = 0; r < 4; r++) {
        assert_int_equal(rank[r].status, DMQ_EPEER);
        contains(rank[r].message, "all_gather 9 of 64 bytes did not end on the devices within 30s");
        contains(rank[r].message, "at rank 1: it does not wait with the others");
        contains(rank[r].message, "at rank 2: it asked its device for 8 calls, others for 9");
        assert_null(strstr(rank[r].message, "at rank 0"));
        assert_null(strstr(rank[r].message, "at rank 3"));
    }
}

static void other_backends_are_refused(void **state)
{
    dmq_threads *threads = NULL;
    rank_thread two[2];

    (void)state;
    assert_int_equal(dmq_threads_create(&threads, 2, 20), DMQ_OK);
    for (int r = 0; r < 2; r++) {
        const dmq_backend *be = r ? dmq_backend_check() : dmq_backend_ref();

        two[r] = (rank_thread){ .at = { .be = be, .rank = r, .size = 2 },
                                .threads = threads,
                                .config = { .backend = be },
                                .fn = talk };
        assert_int_equal(pthread_create(&two[r].thread, NULL, rank_main, &two[r]), 0);
    }
    for (int r = 0; r < 2; r++) {
        (void)pthread_join(two[r].thread, NULL);
        assert_int_equal(two[r].status, DMQ_EINVAL);
        contains(two[r].message, "rank 1 computes on check, rank 0 on ref");
    }
    dmq_threads_destroy(threads);
}

/* ------------------------------------------------------------------ one call at a time */

static void *call_again(void *context)
{
    rank_thread *t = context;

    t->status = dmq_comm_barrier(t->at.comm);
    (void)snprintf(t->message, sizeof t->message, "%s", dmq_message());
    return NULL;
}

static dmq_status call_twice(rank_place *at)
{
    rank_thread second = { .at = *at };
    dmq_queue *other = NULL;
    char bytes[RANKS] = { 0 };
    dmq_status st = DMQ_OK;

    if (at->rank == 1) { /* while rank 0 waits for this one */
        rank_sleep(0.3);
    } else if (pthread_create(&second.thread, NULL, call_again, &second) != 0) {
        return dmq_fail(DMQ_ENOMEM, "no thread");
    }
    st = dmq_comm_barrier(at->comm);
    if (at->rank == 0) {
        (void)pthread_join(second.thread, NULL);
        /* whoever was first; the other one was told */
        if ((st == DMQ_EINVAL) == (second.status == DMQ_EINVAL))
            DMQ_TRY(dmq_fail(DMQ_EDATA, "%d and %d", (int)st, (int)second.status));
        if (!strstr(dmq_message(), "under way") && !strstr(second.message, "under way"))
            DMQ_TRY(dmq_fail(DMQ_EDATA, "told: %s", second.message));
        st = DMQ_OK;
    }
    DMQ_TRY(st);
    DMQ_TRY(at->be->queue_create(&other, 1));
    DMQ_TRY(dmq_comm_all_gather(at->comm, at->queue, bytes, 1));
    if (dmq_comm_all_gather(at->comm, other, bytes, 1) != DMQ_EINVAL ||
        !strstr(dmq_message(), "dmq_comm_sync comes first"))
        DMQ_TRY(dmq_fail(DMQ_EDATA, "a second queue: %s", dmq_message()));
    DMQ_TRY(dmq_comm_sync(at->comm, at->queue));
    DMQ_TRY(dmq_comm_all_gather(at->comm, other, bytes, 1));
done:
    at->be->queue_destroy(other);
    return st;
}

static void two_calls_at_once_are_refused(void **state)
{
    (void)state;
    ranks_all_well(rank, 2, dmq_backend_ref(), call_twice, NULL);
}

/* ------------------------------------------------------------------ alone */

static void alone_and_out_of_memory(void **state)
{
    dmq_comm_config config = { .backend = dmq_backend_check() };
    dmq_comm *comm = NULL;
    int flag = 1, n = 0;

    (void)state;
    for (dmq_status st = DMQ_ENOMEM; st != DMQ_OK; n++) {
        dmq_alloc_fail_at(n + 1);
        st = dmq_comm_self(&comm, &config);
        dmq_alloc_fail_at(0);
        if (st != DMQ_OK) {
            assert_int_equal(st, DMQ_ENOMEM);
            assert_null(comm);
        }
    }
    assert_true(n > 3);
    assert_int_equal(dmq_comm_rank(comm), 0);
    assert_int_equal(dmq_comm_size(comm), 1);
    assert_string_equal(dmq_comm_way_name(comm), "host");
    assert_int_equal(dmq_comm_barrier(comm), DMQ_OK);
    assert_int_equal(dmq_comm_any(comm, &flag), DMQ_OK);
    assert_int_equal(flag, 1);
    dmq_comm_destroy(comm);
    dmq_comm_destroy(NULL);
    config.way = DMQ_COMM_DEVICE; /* a host has none */
    assert_int_equal(dmq_comm_self(&comm, &config), DMQ_ENOTSUP);
    contains(dmq_message(), "no way from device to device");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_arrive),
        cmocka_unit_test(ranks_talk),
        cmocka_unit_test(who_differs_is_named),
        cmocka_unit_test(who_stays_away_is_named),
        cmocka_unit_test(who_never_joins_is_named),
        cmocka_unit_test(who_leaves_or_fails_is_named_at_once),
        cmocka_unit_test(different_calls_are_named),
        cmocka_unit_test(who_does_not_wait_for_its_device_is_named),
        cmocka_unit_test(other_backends_are_refused),
        cmocka_unit_test(two_calls_at_once_are_refused),
        cmocka_unit_test(alone_and_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
