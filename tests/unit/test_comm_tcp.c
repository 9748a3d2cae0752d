/* Groups of processes on this machine: they find each other and nobody else, and who dies or hangs is named. */
#include "comm_processes.h"

/* ------------------------------------------------------------------ all well */

static void parts_arrive(void **state)
{
    static const int sizes[] = { 3, 8 };
    size_t counts[] = { 0, 37,
                        150001 }; /* the last in pieces on 8 ranks: 8 x 8 x 128 KiB at once */

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            prepare(sizes[s], 60, move_all, &counts[c]);
            start_all(sizes[s]);
            all_well(sizes[s]);
        }
    }
    prepare(3, 60, move_all, &counts[1]);
    for (int r = 0; r < 3; r++)
        rank[r].backend = "check"; /* through the host */
    start_all(3);
    all_well(3);
}

static void ranks_talk(void **state)
{
    (void)state;
    for (int size = 1; size <= 4; size++) {
        prepare(size, 60, talk, NULL);
        start_all(size);
        all_well(size);
    }
}

/* ------------------------------------------------------------------ failures */

static dmq_status wait_at_barrier(rank_place *at)
{
    const int *victim = at->context;
    dmq_status st = DMQ_OK;

    dmq_comm_label(at->comm, "unit %d", 40 + at->rank);
    DMQ_TRY(dmq_comm_barrier(at->comm));
    if (at->rank == victim[0])
        (void)raise(victim[1]);
    DMQ_TRY(dmq_comm_barrier(at->comm));
done:
    return st;
}

static void who_is_killed_is_named_at_once(void **state)
{
    (void)state;
    for (int dead = 0; dead <= 2; dead += 2) {
        int victim[2] = { dead, SIGKILL };
        char name[64];

        prepare(4, 60, wait_at_barrier, victim);
        start_all(4);
        for (int r = 0; r < 4; r++)
            assert_int_equal(finish(&rank[r]), r == dead ? 128 + SIGKILL : 76);
        (void)snprintf(name, sizeof name, ", process %ld) of 4 has gone", (long)rank[dead].pid);
        for (int r = 0; r < 4; r++) {
            if (r == dead)
                continue;
            contains(outcomes[r].message, dead ? "group: rank 2 (" : "group: rank 0 (");
            contains(outcomes[r].message, name);
            contains(outcomes[r].message, "it last took part in barrier 2");
            assert_true(outcomes[r].seconds < 20);
        }
    }
}

static void who_hangs_is_named(void **state)
{
    (void)state;
    for (int asleep = 0; asleep <= 2; asleep += 2) {
        int victim[2] = { asleep, SIGSTOP };

        prepare(3, 1, wait_at_barrier, victim);
        start_all(3);
        for (int r = 0; r < 3; r++) {
            if (r != asleep)
                assert_int_equal(finish(&rank[r]), 76);
        }
        (void)kill(rank[asleep].pid, SIGKILL);
        assert_int_equal(finish(&rank[asleep]), 128 + SIGKILL);
        for (int r = 0; r < 3; r++) {
            if (r == asleep)
                continue;
            contains(outcomes[r].message, asleep
                                              ? "not all of 3 ranks came to barrier 3 within 1.0s"
                                              : "of 3 does not answer within 1.0s");
            contains(outcomes[r].message, asleep ? "at rank 2 (" : "group: rank 0 (");
            contains(outcomes[r].message, "it last took part in barrier 2");
            assert_true(outcomes[r].seconds < 20);
        }
        contains(outcomes[1].message, asleep ? "(unit 42)" : "(unit 41)");
    }
}

static dmq_status fail_alone(rank_place *at)
{
    dmq_status st = DMQ_OK;

    if (at->rank == *(const int *)at->context) {
        (void)dmq_fail(DMQ_ENOMEM, "no room for the cache");
        dmq_comm_fail(at->comm);
        return DMQ_ENOMEM;
    }
    DMQ_TRY(dmq_comm_barrier(at->comm));
done:
    return st;
}

static void who_fails_is_named(void **state)
{
    (void)state;
    for (int bad = 0; bad < 2; bad++) {
        prepare(3, 60, fail_alone, &bad);
        start_all(3);
        for (int r = 0; r < 3; r++) {
            assert_int_equal(finish(&rank[r]), r == bad ? 71 : 76);
            contains(outcomes[r].message, "no room for the cache");
            if (r != bad)
                contains(outcomes[r].message, bad ? "rank 1 (" : "rank 0 (");
            assert_true(outcomes[r].seconds < 20);
        }
    }
}

static dmq_status ask_other(rank_place *at)
{
    int numbers[RANKS] = { 0 };

    return at->rank == 1 ? dmq_comm_spread(at->comm, numbers, 8, 0)
                         : dmq_comm_exchange(at->comm, numbers, 4);
}

static void different_calls_are_named(void **state)
{
    (void)state;
    prepare(3, 20, ask_other, NULL);
    start_all(3);
    for (int r = 0; r < 3; r++) {
        assert_int_equal(finish(&rank[r]), 76);
        contains(outcomes[r].message, "asks for broadcast 2 of 8 bytes, rank 0 for all_gather 2");
    }
}

static void who_does_not_wait_for_its_device_is_named(void **state)
{
    (void)state;
    prepare(4, 30, wait_in_vain, NULL);
    start_all(4);
    for (int r = 0; r < 4; r++) {
        assert_int_equal(finish(&rank[r]), 76);
        contains(outcomes[r].message,
                 "all_gather 9 of 64 bytes did not end on the devices within 30s");
        contains(outcomes[r].message, "at rank 1 (");
        contains(outcomes[r].message, "it does not wait with the others");
        contains(outcomes[r].message, "it asked its device for 8 calls, others for 9");
        assert_null(strstr(outcomes[r].message, "at rank 0"));
        assert_null(strstr(outcomes[r].message, "at rank 3"));
    }
}

/* ------------------------------------------------------------------ meeting */

static void who_does_not_come_is_named(void **state)
{
    (void)state;
    prepare(4, 1, talk,
            NULL); /* ranks 0 and 1 without 2; and a rank 2 without any, of another job */
    for (int r = 0; r < 4; r++)
        rank[r].meet.size = 3;
    rank[3].meet.rank = 2;
    (void)snprintf(rank[3].meet.job, sizeof rank[3].meet.job, "8");
    start(&rank[0]);
    start(&rank[1]);
    start(&rank[3]);
    for (int r = 0; r < 2; r++) {
        assert_int_equal(finish(&rank[r]), 76);
        contains(outcomes[r].message, "not all of 3 ranks came within 1.0s");
        contains(outcomes[r].message, "at rank 2: it never joined");
        assert_null(strstr(outcomes[r].message, "at rank 1"));
    }
    assert_int_equal(finish(&rank[3]), 76);
    contains(outcomes[3].message, "rank 2 of 3 found no rank 0 within 1.0s");
    contains(outcomes[3].message, "comm-address-8: No such file");
}

static void other_numbers_of_ranks_are_refused(void **state)
{
    (void)state;
    prepare(3, 60, talk, NULL);
    rank[1].meet.size = 2;
    start_all(3);
    for (int r = 0; r < 3; r++) {
        assert_int_equal(finish(&rank[r]), 76);
        contains(outcomes[r].message, "is rank 1 of 2, and rank 0 (");
        contains(outcomes[r].message, "has 3 ranks");
        assert_true(outcomes[r].seconds < 20);
    }
    prepare(4, 60, talk, NULL);
    rank[2].meet.rank = 1;
    start(&rank[0]);
    start(&rank[1]);
    start(&rank[2]);
    for (int r = 0; r < 3; r++) {
        assert_int_equal(finish(&rank[r]), 76);
        contains(outcomes[r].message, "two processes are rank 1: ");
    }
}

/* Two jobs at the same time in one folder, and one that finds what a dead one left. */
static void jobs_do_not_meet(void **state)
{
    static const char left[] = "dmq-comm 1\nhost nowhere.invalid\nport 9\nsecret 00\njob 7.0\n";

    (void)state;
    prepare(4, 60, talk, NULL);
    for (int r = 2; r < 4; r++) {
        rank[r].meet.rank = r - 2;
        (void)snprintf(rank[r].meet.job, sizeof rank[r].meet.job, "8.0");
    }
    for (int r = 0; r < 4; r++)
        rank[r].meet.size = 2;
    start_all(4);
    all_well(4);

    prepare(2, 60, talk, NULL);
    put(in_folder("comm-address-7_0"), left, sizeof left - 1);
    start(&rank[1]);
    rank_sleep(0.1);
    start(&rank[0]);
    all_well(2);

    prepare(2, 1, talk, NULL);
    rank[1].word = "another run"; /* same job, same folder */
    start_all(2);
    assert_int_equal(finish(&rank[0]), 76);
    contains(outcomes[0].message, "at rank 1: it never joined");
    assert_int_equal(finish(&rank[1]), 76);
    contains(outcomes[1].message, "is of another job or start");
}

/* By an address; a second job at the same port is refused and disturbs nobody. */
static void an_address_will_do(void **state)
{
    int port = 20000 + (int)(getpid() % 20000);

    (void)state;
    prepare(4, 20, talk, NULL);
    for (int r = 0; r < 3; r++) {
        rank[r].folder = NULL;
        (void)snprintf(rank[r].meet.host, sizeof rank[r].meet.host, "127.0.0.1");
        rank[r].meet.port = port;
        rank[r].meet.size = 3;
    }
    rank[3] = rank[1];
    rank[3].meet.rank = 1;
    rank[3].limit = 1;
    rank[3].out = &outcomes[3];
    (void)snprintf(rank[3].meet.job, sizeof rank[3].meet.job, "8.0");
    start(&rank[0]);
    start(&rank[3]);
    assert_int_equal(finish(&rank[3]), 76);
    contains(outcomes[3].message, "another job or start");
    start(&rank[1]);
    start(&rank[2]);
    all_well(3);

    prepare(2, 20, talk, NULL);
    rank[0].folder = NULL;
    start(&rank[0]);
    assert_int_equal(finish(&rank[0]), 78);
    contains(outcomes[0].message, "knows no place to meet the others");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_arrive),
        cmocka_unit_test(ranks_talk),
        cmocka_unit_test(who_is_killed_is_named_at_once),
        cmocka_unit_test(who_hangs_is_named),
        cmocka_unit_test(who_fails_is_named),
        cmocka_unit_test(different_calls_are_named),
        cmocka_unit_test(who_does_not_wait_for_its_device_is_named),
        cmocka_unit_test(who_does_not_come_is_named),
        cmocka_unit_test(other_numbers_of_ranks_are_refused),
        cmocka_unit_test(jobs_do_not_meet),
        cmocka_unit_test(an_address_will_do),
    };

    return outcomes_open() ? cmocka_run_group_tests(tests, scratch_make, scratch_remove) : 1;
}
