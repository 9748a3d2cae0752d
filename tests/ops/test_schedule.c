/* Tables of coming iterations and the counter that walks through them. */
#include "check.h"

#include "kernels/schedule.h"

enum { ROWS = 5, INDEX = 37, REAL = 301, RESULT = 19 };

typedef struct tables {
    int index[ROWS * INDEX];
    dmq_real *real;
    dmq_step_scalars scalars[ROWS];
} tables;

static void fill(tables *t)
{
    uint64_t stream = check_stream(3);

    t->real = check_random((size_t)ROWS * REAL, &stream);
    for (int i = 0; i < ROWS * INDEX; i++)
        t->index[i] = check_whole(&stream, -1000, 1000);
    for (int i = 0; i < ROWS; i++) {
        t->scalars[i].adam =
            dmq_adam_begin((dmq_real)1e-3, (dmq_real)0.9, (dmq_real)0.999, (dmq_real)1e-8, i + 1);
        t->scalars[i].reg_weight = (dmq_real)(i + 1);
        t->scalars[i].reg_beta = (dmq_real)(20 - i);
    }
}

static void rows_are_taken_in_turn_and_results_kept(void **state)
{
    const check_on *on = &check_device;
    static tables t;
    static const int start[DMQ_SCHEDULE_COUNTERS] = { 1, 0 };
    int index[INDEX], counter[DMQ_SCHEDULE_COUNTERS];
    dmq_real *real = check_reals(REAL), *results = check_reals((size_t)ROWS * RESULT);
    dmq_real *nan = check_room(on, NULL, RESULT);
    dmq_step_scalars scalars;
    uint64_t stream = check_stream(4);
    dmq_real *want = check_random((size_t)ROWS * RESULT, &stream);
    dmq_schedule_args a = { .rows = ROWS, .n_index = INDEX, .n_real = REAL, .n_result = RESULT };

    (void)state;
    fill(&t);
    a.results = check_room(on, NULL, (size_t)ROWS * RESULT);
    a.counter = check_up(on, start, DMQ_SCHEDULE_COUNTERS, sizeof *start);
    a.result = check_up_real(on, want, RESULT); /* nobody's: it is not owed */
    a.index = check_up(on, t.index, ROWS * INDEX, sizeof *t.index);
    a.index_now = check_up(on, t.index, INDEX, sizeof *t.index);
    a.real = check_up_real(on, t.real, (size_t)ROWS * REAL);
    a.real_now = check_room(on, NULL, REAL);
    a.scalars = check_up(on, t.scalars, ROWS, sizeof *t.scalars);
    a.scalars_now = check_up(on, t.scalars, 1, sizeof *t.scalars);
    for (int k = start[0]; k < ROWS; k++) {
        CHECK_RUN(on, schedule_take, &a);
        check_down(on, index, a.index_now, sizeof index);
        check_down_real(on, real, a.real_now, REAL);
        check_down(on, &scalars, a.scalars_now, sizeof scalars);
        assert_memory_equal(index, t.index + (size_t)k * INDEX, sizeof index);
        check_equal("real", real, t.real + (size_t)k * REAL, REAL);
        assert_memory_equal(&scalars, &t.scalars[k], sizeof scalars);
        check_down(on, counter, a.counter, sizeof counter);
        assert_int_equal(counter[0], k + 1);
        assert_int_equal(counter[1], 1);
        a.result = check_up_real(on, want + (size_t)k * RESULT, RESULT);
        if (k != 2 && k != ROWS - 1)
            continue; /* the next take keeps them */
        CHECK_RUN(on, schedule_keep, &a);
        check_down(on, counter, a.counter, sizeof counter);
        assert_int_equal(counter[0], k + 1);
        assert_int_equal(counter[1], 0);
        a.result = nan;
        CHECK_RUN(on, schedule_keep, &a); /* nothing is owed any more */
    }
    check_down_real(on, results, a.results, (size_t)ROWS * RESULT);
    check_equal("results", results + RESULT, want + RESULT, (size_t)(ROWS - 1) * RESULT);
    assert_int_equal(check_nans(results, RESULT), RESULT); /* row 0 was not run */
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { CHECK_TEST(rows_are_taken_in_turn_and_results_kept) };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
