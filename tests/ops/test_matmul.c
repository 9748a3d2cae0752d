/* Batched matrix product and column sums. */
#include "ops/op_matmul.h"

static void values_and_derivatives_are_pytorchs(void **state)
{
    (void)state;
    matmul_goldens();
}

static void odd_shapes_keep_the_identities(void **state)
{
    (void)state;
    matmul_shapes();
}

/* A linear layer gives a row the same bits alone as among others: batches may be cut anywhere. */
static void a_row_does_not_know_the_others(void **state)
{
    static const matmul_shape shapes[] = {
        { .batch = 1, .m = 9, .n = 32, .k = 64, .trans_b = 1, .bias = 1 },
        { .batch = 1, .m = 16, .n = 128, .k = 512, .trans_b = 1, .bias = 1 },
        { .batch = 1, .m = 33, .n = 10, .k = 7, .trans_b = 1, .bias = 1 },
        { .batch = 1, .m = 8, .n = 64, .k = 64 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        uint64_t stream = check_stream(i);

        for (int rows = 1; rows < shapes[i].m; rows += 3) {
            matmul_shape all = shapes[i], some = shapes[i];
            check_op op = matmul_op(&all), part = matmul_op(&some);
            check_arrays in = check_op_arrays(&op, &stream);
            dmq_real *c = check_reals(op.count_out), *c_part = check_reals(op.count_out);
            size_t k = (size_t)all.k, n = (size_t)all.n, first = (size_t)(all.m - rows);
            dmq_real *const in_part[CHECK_IN] = { in.at[0] + first * k, in.at[1], in.at[2] };

            all.alpha_num = all.alpha_den = some.alpha_num = some.alpha_den = 1;
            some.m = rows;
            part = matmul_op(&some);
            op.forward(&op, &check_device, in.at, c, false);
            part.forward(&part, &check_device, in_part, c_part, false);
            check_equal_in_batch("the last rows alone", c_part, c + first * n, (size_t)rows * n,
                                 (double)k);
        }
    }
}

static void column_sums(void **state)
{
    static const int shapes[][2] = { { 1, 5 }, { 7, 1 }, { 1000, 3 }, { 33, 130 } };

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        size_t rows = (size_t)shapes[i][0], cols = (size_t)shapes[i][1];
        uint64_t stream = check_stream(60 + i);
        dmq_real *x = check_random(rows * cols, &stream), *y = check_random(cols, &stream);
        double *want = check_doubles(y, cols);
        dmq_col_sum_args a = { .rows = shapes[i][0], .cols = shapes[i][1] };

        a.x = check_up_real(&check_device, x, rows * cols);
        for (a.add = 1; a.add >= 0; a.add--) {
            a.y = check_room(&check_device, a.add ? y : NULL, cols);
            for (size_t j = 0; j < rows * cols; j++)
                want[j % cols] += (double)x[j];
            CHECK_RUN(&check_device, col_sum, &a);
            check_down_real(&check_device, y, a.y, cols);
            check_close_to("col_sum", y, want, cols, check_unit, check_unit, (double)rows);
            memset(want, 0, cols * sizeof *want);
        }
    }
    check_report("col_sum");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(values_and_derivatives_are_pytorchs),
        CHECK_TEST(odd_shapes_keep_the_identities),
        CHECK_TEST(a_row_does_not_know_the_others),
        CHECK_TEST(column_sums),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
