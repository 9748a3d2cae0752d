/* Layer norm. */
#include "ops/op_norm.h"

static void values_and_derivatives_are_pytorchs(void **state)
{
    (void)state;
    layer_norm_goldens();
}

static void odd_shapes_keep_the_identities(void **state)
{
    (void)state;
    layer_norm_shapes();
}

static void outputs_may_be_left_out(void **state)
{
    uint64_t stream = check_stream(1);
    layer_norm_shape s = { 5, 13 };
    check_op op = layer_norm_op(&s);
    check_arrays in = check_op_arrays(&op, &stream), all = check_op_arrays(&op, NULL);
    dmq_real *dy = check_random(op.count_out, &stream);

    (void)state;
    op.backward(&op, &check_device, in.at, dy, all.at, false);
    for (int k = 0; k < 3; k++) {
        dmq_layer_norm_args a = layer_norm_run(&op, &check_device, in.at);
        dmq_real *out = check_room(&check_device, NULL, op.count_in[k]);
        dmq_real *got = check_reals(op.count_in[k]);

        a.dy = check_up_real(&check_device, dy, op.count_out);
        *(k == 0 ? &a.dx : k == 1 ? &a.dgamma : &a.dbeta) = out;
        CHECK_RUN(&check_device, layer_norm_backward, &a);
        check_down_real(&check_device, got, out, op.count_in[k]);
        check_equal("alone", got, all.at[k], op.count_in[k]);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(values_and_derivatives_are_pytorchs),
        CHECK_TEST(odd_shapes_keep_the_identities),
        CHECK_TEST(outputs_may_be_left_out),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
