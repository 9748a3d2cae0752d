/* Softmax and cross entropy. */
#include "ops/op_softmax.h"

static void values_and_derivatives_are_pytorchs(void **state)
{
    (void)state;
    softmax_goldens();
    xent_goldens();
}

static void odd_shapes_keep_the_identities(void **state)
{
    (void)state;
    softmax_shapes();
}

static void large_logits_do_not_overflow(void **state)
{
    dmq_real x[6] = { 10000, 9999, -10000, -10000, -10000, (dmq_real)-INFINITY }, y[6];
    dmq_real *const in[CHECK_IN] = { x };
    softmax_shape s = { 2, 3 };
    check_op op = softmax_op(&s), xent = xent_op(&s);

    (void)state;
    op.forward(&op, &check_device, in, y, false);
    assert_true(fabs((double)(y[0] + y[1] + y[2]) - 1) < 1e-6);
    assert_true(fabs((double)(y[3] + y[4] + y[5]) - 1) < 1e-6);
    assert_true(fabs((double)y[0] - 1 / (1 + exp(-1))) < 1e-6);
    assert_true(y[2] == 0 && y[3] == (dmq_real)0.5 && y[5] == 0);
    xent.forward(&xent, &check_device, in, y, false); /* labels 2 and 1 */
    assert_true(fabs((double)y[0] - 20000 - log1p(exp(-1))) < 2e-3);
    assert_true(fabs((double)y[1] - log(2)) < 1e-6);
}

static void y_may_be_x(void **state)
{
    uint64_t stream = check_stream(1);
    softmax_shape s = { 7, 19 };
    check_op op = softmax_op(&s);
    dmq_real *x = check_random(op.count_out, &stream), *y = check_reals(op.count_out);
    dmq_real *const in[CHECK_IN] = { x };
    dmq_softmax_args a = { .rows = s.rows, .cols = s.cols };

    (void)state;
    op.forward(&op, &check_device, in, y, false);
    a.y = check_up_real(&check_device, x, op.count_out);
    a.x = a.y;
    CHECK_RUN(&check_device, softmax_forward, &a);
    check_down_real(&check_device, x, a.y, op.count_out);
    check_equal("in place", x, y, op.count_out);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(values_and_derivatives_are_pytorchs),
        CHECK_TEST(odd_shapes_keep_the_identities),
        CHECK_TEST(large_logits_do_not_overflow),
        CHECK_TEST(y_may_be_x),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
