/* The nearest code of each row: PyTorch's choice, the first on ties, the same bits everywhere. */
#include "ops/op_nearest.h"

static void choices_are_pytorchs(void **state)
{
    static const char *const groups[] = { "vq_f4", "wide", "one", "grid" };

    (void)state;
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        dmq_h5 *file = check_golden_open("nearest");
        const int32_t *whole = check_golden_whole(file, groups[g], "shape", 3);
        nearest_shape s = { whole[0], whole[1], whole[2] };
        size_t count = CHECK_COUNT(s.rows, s.d);
        dmq_real *x = check_golden_real(file, groups[g], "x", count);
        dmq_real *code = check_golden_real(file, groups[g], "code", CHECK_COUNT(s.n, s.d));
        const int32_t *want = check_golden_whole(file, groups[g], "index", (size_t)s.rows);
        dmq_real *y = check_reals(count);
        int *index = check_bytes((size_t)s.rows, sizeof *index);

        nearest_run(&s, &check_device, x, code, y, index);
        for (int i = 0; i < s.rows; i++) {
            if (index[i] != want[i])
                fail_msg("%s: row %d: code %d for %d", groups[g], i, index[i], want[i]);
            assert_memory_equal(y + (size_t)i * (size_t)s.d, code + (size_t)index[i] * (size_t)s.d,
                                (size_t)s.d * sizeof *y);
        }
        dmq_h5_close(file);
        (void)check_release(NULL);
    }
}

/* Every backend takes the steps of the reference: also where two codes are nearly as far. */
static void every_shape_has_the_bits_of_ref(void **state)
{
    static const nearest_shape shapes[] = {
        { 100, 3, 700 }, { 65, 4, 64 }, { 7, 1, 129 }, { 33, 17, 63 }, { 5, 256, 40 }
    };

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const nearest_shape *s = &shapes[i];
        uint64_t stream = check_stream(i);
        size_t count = CHECK_COUNT(s->rows, s->d), rows = (size_t)s->rows;
        dmq_real *x = check_random(count, &stream), *got = check_reals(count);
        dmq_real *code = check_random(CHECK_COUNT(s->n, s->d), &stream), *want = check_reals(count);
        int *index = check_bytes(rows, sizeof *index), *ref = check_bytes(rows, sizeof *ref);
        check_op op = nearest_op(s);

        nearest_run(s, &check_device, x, code, got, index);
        nearest_run(s, &check_ref, x, code, want, ref);
        assert_memory_equal(index, ref, rows * sizeof *index);
        assert_memory_equal(got, want, count * sizeof *got);
        memset(index, 0, rows * sizeof *index);
        nearest_run(s, &check_device, x, code, NULL, index); /* each output alone */
        assert_memory_equal(index, ref, rows * sizeof *index);
        check_op_nan(&op, &stream);
        (void)check_release(NULL);
    }
}

/* Codes 3, 40 and 90 are equal, 41 is as far on the other side; all others are further. */
static void of_equal_distances_the_first_is_taken(void **state)
{
    nearest_shape s = { 2, 2, 100 };
    dmq_real code[100][2], x[4] = { 1, 2, 1, 2 }, y[4];
    int index[2];

    (void)state;
    for (int j = 0; j < s.n; j++) {
        code[j][0] = (dmq_real)(50 + j);
        code[j][1] = -20;
    }
    code[3][0] = code[40][0] = code[90][0] = 2;
    code[3][1] = code[40][1] = code[90][1] = 2;
    code[41][0] = 0;
    code[41][1] = 2;
    nearest_run(&s, &check_device, x, code[0], y, index);
    assert_int_equal(index[0], 3);
    assert_int_equal(index[1], 3);
    code[3][0] = 60;
    nearest_run(&s, &check_device, x, code[0], y, index);
    assert_int_equal(index[0], 40);
    code[40][0] = 60;
    nearest_run(&s, &check_device, x, code[0], y, index);
    assert_int_equal(index[0], 41);
    assert_true(y[0] == 0 && y[1] == 2);
}

/* NaN and infinity are not silently the first code. */
static void what_is_no_number_is_seen(void **state)
{
    nearest_shape s = { 3, 2, 5 };
    dmq_real code[10] = { 0, 0, 1, 0, 0, 1, 1, 1, 2, 2 }, y[6];
    dmq_real x[6] = { 1, 1, (dmq_real)NAN, 0, (dmq_real)INFINITY, 0 };
    int index[3];

    (void)state;
    nearest_run(&s, &check_device, x, code, y, index);
    assert_true(index[0] == 3 && y[0] == 1 && y[1] == 1);
    assert_true(index[1] == 0 && isnan(y[2]) && isnan(y[3]));
    assert_true(isnan(y[4]) && isnan(y[5]));
    code[4] = (dmq_real)NAN;
    nearest_run(&s, &check_device, x, code, y, index);
    assert_int_equal(index[0], 2);
    assert_true(isnan(y[0]) && isnan(y[1]));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(choices_are_pytorchs),
        CHECK_TEST(every_shape_has_the_bits_of_ref),
        CHECK_TEST(of_equal_distances_the_first_is_taken),
        CHECK_TEST(what_is_no_number_is_seen),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
