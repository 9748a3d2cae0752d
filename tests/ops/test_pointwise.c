/* Activations, GEGLU, broadcast sums and products, y = alpha x + beta y. */
#include "ops/op_pointwise.h"

static void values_and_derivatives_are_pytorchs(void **state)
{
    (void)state;
    pointwise_goldens();
}

static void odd_shapes_keep_the_identities(void **state)
{
    (void)state;
    pointwise_shapes();
}

static void activations_at_the_ends(void **state)
{
    static const double far[2] = { 300, -300 };

    (void)state;
    for (int kind = DMQ_SILU; kind <= DMQ_GELU_TANH; kind++) {
        unary_shape s = { kind, 4 };
        check_op op = unary_op(&s);
        dmq_real x[4] = { (dmq_real)far[0], (dmq_real)far[1], 0, (dmq_real)NAN }, y[4];
        dmq_real one[4] = { 1, 1, 1, 1 }, slope[4];
        dmq_real *const in[CHECK_IN] = { x }, *const tan[CHECK_IN] = { one };

        if (kind == DMQ_IDENTITY)
            continue;
        op.forward(&op, &check_device, in, y, false);
        op.jvp(&op, &check_device, in, tan, slope);
        assert_true(y[0] == x[0] && fabs((double)y[1]) < 1e-30 && y[2] == 0 && isnan(y[3]));
        assert_true(slope[0] == 1 && fabs((double)slope[1]) < 1e-30 && isnan(slope[3]));
        assert_true(slope[2] == (dmq_real)(kind == DMQ_RELU ? 0 : 0.5));
    }
}

enum { COUNT = 105 };

static void outputs_may_be_inputs(void **state)
{
    uint64_t stream = check_stream(1);
    dmq_real *x = check_random(COUNT, &stream), *v = check_random(COUNT, &stream);
    dmq_real *q = check_random(7, &stream), *got = check_reals(COUNT), *want = check_reals(COUNT);
    const check_on *on = &check_device;
    dmq_binary_args b = {
        .kind = DMQ_MUL, .dim = { 3, 5, 7 }, .stride_p = { 35, 7, 1 }, .stride_q = { 0, 0, 1 }
    };

    (void)state;
    for (int kind = DMQ_SILU; kind <= DMQ_GELU_TANH; kind++) {
        dmq_unary_args a = { .kind = (dmq_unary_kind)kind, .count = COUNT };

        a.x = check_up_real(on, x, COUNT);
        a.v = check_up_real(on, v, COUNT);
        a.out = check_room(on, NULL, COUNT);
        CHECK_RUN(on, unary_derive, &a);
        check_down_real(on, want, a.out, COUNT);
        a.out = check_up_real(on, v, COUNT);
        a.v = a.out;
        CHECK_RUN(on, unary_derive, &a);
        check_down_real(on, got, a.out, COUNT);
        check_equal("derive in place", got, want, COUNT);

        a.y = check_room(on, NULL, COUNT);
        CHECK_RUN(on, unary_forward, &a);
        check_down_real(on, want, a.y, COUNT);
        a.y = check_up_real(on, x, COUNT);
        a.x = a.y;
        CHECK_RUN(on, unary_forward, &a);
        check_down_real(on, got, a.y, COUNT);
        check_equal("forward in place", got, want, COUNT);
    }
    b.q = check_up_real(on, q, 7);
    b.y = check_up_real(on, x, COUNT);
    b.p = b.y;
    CHECK_RUN(on, binary_forward, &b);
    check_down_real(on, got, b.y, COUNT);
    for (int i = 0; i < COUNT; i++)
        want[i] = x[i] * q[i % 7];
    check_equal("product in place", got, want, COUNT);
}

static void a_gradient_may_be_left_out(void **state)
{
    binary_shape s = { DMQ_MUL, { 3, 5, 7 }, { 1, 1, 1 }, { 1, 0, 1 } };
    uint64_t stream = check_stream(2);
    check_op op = binary_op(&s);
    check_arrays in = check_op_arrays(&op, &stream), all = check_op_arrays(&op, NULL);
    dmq_real *dy = check_random(op.count_out, &stream);

    (void)state;
    op.backward(&op, &check_device, in.at, dy, all.at, false);
    for (int k = 0; k < 2; k++) {
        dmq_binary_args a = binary_args(&op, &check_device, in.at[0], in.at[1]);
        dmq_real *out = check_room(&check_device, NULL, op.count_in[k]);
        dmq_real *got = check_reals(op.count_in[k]);

        a.dy = check_up_real(&check_device, dy, op.count_out);
        *(k == 0 ? &a.dp : &a.dq) = out;
        CHECK_RUN(&check_device, binary_backward, &a);
        check_down_real(&check_device, got, out, op.count_in[k]);
        check_equal("alone", got, all.at[k], op.count_in[k]);
    }
}

static void axpby_scales_and_adds(void **state)
{
    static const double factor[][2] = { { 1, 0 }, { -0.5, 1 }, { 2, 0.25 }, { 0, 3 } };
    uint64_t stream = check_stream(3);
    dmq_real *x = check_random(COUNT, &stream), *y = check_random(COUNT, &stream);
    dmq_real *got = check_reals(COUNT);
    double *want = check_bytes(COUNT, sizeof *want);
    const check_on *on = &check_device;

    (void)state;
    for (size_t i = 0; i < sizeof factor / sizeof factor[0]; i++) {
        dmq_axpby_args a = { .alpha = (dmq_real)factor[i][0],
                             .beta = (dmq_real)factor[i][1],
                             .count = COUNT };

        for (int j = 0; j < COUNT; j++)
            want[j] = factor[i][0] * (double)x[j] + factor[i][1] * (double)y[j];
        a.x = check_up_real(on, x, COUNT);
        a.y = check_room(on, a.beta == 0 ? NULL : y, COUNT); /* beta = 0: NaN is not read */
        CHECK_RUN(on, axpby, &a);
        check_down_real(on, got, a.y, COUNT);
        check_close_to("axpby", got, want, COUNT, check_unit, check_unit, 1);

        for (int j = 0; j < COUNT; j++)
            want[j] = (factor[i][0] + factor[i][1]) * (double)x[j];
        a.y = check_up_real(on, x, COUNT);
        a.x = a.y;
        CHECK_RUN(on, axpby, &a);
        check_down_real(on, got, a.y, COUNT);
        check_close_to("axpby in place", got, want, COUNT, check_unit, check_unit, 1);

        for (int j = 0; j < COUNT; j++)
            want[j] = factor[i][0] * (double)x[j] + factor[i][1] * (double)y[j];
        a.x = check_up_real(on, x, COUNT);
        a.z = check_up_real(on, y, COUNT);
        a.y = check_room(on, NULL, COUNT); /* it is not read */
        CHECK_RUN(on, axpby, &a);
        check_down_real(on, got, a.y, COUNT);
        check_close_to("axpby to a third", got, want, COUNT, check_unit, check_unit, 1);
    }
    check_report("axpby");
}

static void fill_writes_a_number_and_no_more(void **state)
{
    enum { FILLED = 1003, MORE = 5 };
    dmq_real *y = check_room(&check_device, NULL, FILLED + MORE), *got = check_reals(FILLED + MORE);
    dmq_fill_args a = { .y = y, .count = FILLED, .value = (dmq_real)-0.3F };

    (void)state;
    CHECK_RUN(&check_device, fill, &a);
    check_down_real(&check_device, got, y, FILLED + MORE);
    for (int i = 0; i < FILLED; i++)
        assert_true(got[i] == a.value);
    assert_int_equal(check_nans(got + FILLED, MORE), MORE);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(values_and_derivatives_are_pytorchs),
        CHECK_TEST(odd_shapes_keep_the_identities),
        CHECK_TEST(activations_at_the_ends),
        CHECK_TEST(outputs_may_be_inputs),
        CHECK_TEST(a_gradient_may_be_left_out),
        CHECK_TEST(axpby_scales_and_adds),
        CHECK_TEST(fill_writes_a_number_and_no_more),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
