/* What cannot be recorded or planned: messages that name both sides; out of memory at any allocation. */
#include "check.h"
#include "tape/ops.h"
#include "tape/tape.h"

enum { ALL_PASSES = DMQ_TAPE_BACKWARD | DMQ_TAPE_JVP };

static const dmq_pad pad_same = { 1, 1, 1, 1 }, pad_none = { 0, 0, 0, 0 };

static dmq_real numbers[64];

static dmq_var *input(dmq_tape *t, const char *name, int rank, int a, int b, int c, int d)
{
    return dmq_tape_input(t, name, (dmq_shape){ rank, { a, b, c, d } });
}

static dmq_var *image(dmq_tape *t)
{
    return input(t, "x", 4, 2, 8, 8, 3);
}

static void bad_channels(dmq_tape *t)
{
    (void)dmq_record_conv2d(t, image(t), input(t, "conv_in.weight", 4, 5, 3, 3, 4), NULL, 1,
                            pad_same);
}

static void bad_kernel(dmq_tape *t)
{
    (void)dmq_record_conv2d(t, image(t), input(t, "w", 4, 5, 9, 9, 3), NULL, 1, pad_none);
}

static void bad_bias(dmq_tape *t)
{
    (void)dmq_record_linear(t, input(t, "h", 2, 4, 6, 1, 1), input(t, "w", 2, 5, 6, 1, 1),
                            input(t, "b", 1, 6, 1, 1, 1));
}

static void bad_linear(dmq_tape *t)
{
    (void)dmq_record_linear(t, input(t, "h", 2, 4, 6, 1, 1), input(t, "w", 2, 5, 7, 1, 1), NULL);
}

static void bad_matmul(dmq_tape *t)
{
    (void)dmq_record_matmul(t, input(t, "q", 3, 2, 5, 6, 1), 0, input(t, "k", 3, 2, 5, 6, 1), 0, 1);
}

static void bad_groups(dmq_tape *t)
{
    (void)dmq_record_group_norm(t, image(t), input(t, "gamma", 1, 3, 1, 1, 1),
                                input(t, "beta", 1, 3, 1, 1, 1), 2, 1e-6);
}

static void bad_gamma(dmq_tape *t)
{
    (void)dmq_record_group_norm(t, image(t), input(t, "gamma", 1, 4, 1, 1, 1),
                                input(t, "beta", 1, 3, 1, 1, 1), 3, 1e-6);
}

static void bad_broadcast(dmq_tape *t)
{
    (void)dmq_record_binary(t, DMQ_ADD, image(t), input(t, "temb", 2, 2, 4, 1, 1));
}

static void bad_concat(dmq_tape *t)
{
    (void)dmq_record_concat(t, image(t), input(t, "skip", 4, 2, 4, 4, 3));
}

static void bad_slice(dmq_tape *t)
{
    (void)dmq_record_slice(t, image(t), 3, 2, 2);
}

static void bad_reshape(dmq_tape *t)
{
    (void)dmq_record_reshape(t, image(t), dmq_shape2(2, 191));
}

static void bad_permute(dmq_tape *t)
{
    (void)dmq_record_permute(t, image(t), (const int[]){ 0, 1, 1, 2 });
}

static void bad_pool(dmq_tape *t)
{
    (void)dmq_record_avg_pool(t, image(t), 3);
}

static void bad_window(dmq_tape *t)
{
    (void)dmq_record_pool2d(t, DMQ_POOL_MAX, image(t), 9, 1, 0);
}

static void bad_padding(dmq_tape *t)
{
    (void)dmq_record_pool2d(t, DMQ_POOL_MEAN, image(t), 3, 1, 3);
}

static void bad_list(dmq_tape *t)
{
    dmq_var *x = image(t);

    (void)dmq_record_concat_all(t, (dmq_var *[]){ x, x, input(t, "skip", 4, 2, 8, 4, 3) }, 3);
}

static void bad_geglu(dmq_tape *t)
{
    (void)dmq_record_geglu(t, image(t));
}

static void bad_loss(dmq_tape *t)
{
    (void)dmq_record_loss(t, image(t), input(t, "target", 4, 2, 8, 8, 4), 2.0);
}

static void bad_labels(dmq_tape *t)
{
    (void)dmq_record_xent(t, input(t, "logits", 2, 4, 10, 1, 1), dmq_tape_index(t, "label", 3));
}

static void bad_table(dmq_tape *t)
{
    dmq_var *scale = dmq_tape_constant(t, "act3.scale", dmq_shape1(5), numbers);
    dmq_quant_spec spec = { .scale = scale, .zero = scale, .hi = 255, .per_channel = 1 };

    (void)dmq_record_fake_quant(t, image(t), &spec);
}

static void bad_rows(dmq_tape *t)
{
    dmq_var *scale = dmq_tape_constant(t, "act3.scale", dmq_shape2(5, 1), numbers);
    dmq_quant_spec spec = { .scale = scale, .zero = scale, .hi = 255 };

    (void)dmq_record_fake_quant(t, image(t), &spec);
}

static void bad_alpha(dmq_tape *t)
{
    dmq_var *k = dmq_tape_constant(t, "scale", dmq_shape1(5), numbers);

    (void)dmq_record_adaround(t, input(t, "alpha", 2, 5, 6, 1, 1), input(t, "w", 2, 6, 5, 1, 1), k,
                              k, 0, 15);
}

static void bad_empty(dmq_tape *t)
{
    (void)dmq_record_softmax(t, input(t, "nothing", 2, 0, 3, 1, 1));
}

static void live_target(dmq_tape *t)
{
    dmq_var *p = dmq_tape_param(t, "bias", dmq_shape1(3), numbers, 0);

    (void)dmq_record_loss(t, image(t), dmq_record_binary(t, DMQ_ADD, image(t), p), 2.0);
}

static void twice_the_same(dmq_tape *t)
{
    (void)dmq_tape_param(t, "a.weight", dmq_shape1(4), numbers, 0);
    (void)dmq_tape_param(t, "b.weight", dmq_shape1(4), numbers, 3);
}

static void two_seeds(dmq_tape *t)
{
    dmq_var *x = image(t), *y;

    dmq_tape_want_grad(t, x);
    x = dmq_record_softmax(t, x);
    y = dmq_record_reshape(t, x, dmq_shape2(2, 192));
    dmq_tape_output(t, x);
    dmq_tape_output(t, y);
}

static const struct refusal {
    void (*record)(dmq_tape *t);
    dmq_status status;
    const char *one, *other; /* both sides must be named */
} refusals[] = {
    { bad_channels, DMQ_ESHAPE, "x (2, 3, 8, 8) has 3", "conv_in.weight (5, 4, 3, 3) takes 4" },
    { bad_kernel, DMQ_ESHAPE, "w (5, 3, 9, 9)", "x (2, 3, 8, 8)" },
    { bad_bias, DMQ_ESHAPE, "b (6)", "w (5, 6)" },
    { bad_linear, DMQ_ESHAPE, "h (4, 6)", "w (5, 7)" },
    { bad_matmul, DMQ_ESHAPE, "q (2, 5, 6) has 6 columns", "k (2, 5, 6) has 5 rows" },
    { bad_groups, DMQ_ESHAPE, "x (2, 3, 8, 8)", "2 groups" },
    { bad_gamma, DMQ_ESHAPE, "gamma (4)", "3 channels of x" },
    { bad_broadcast, DMQ_ESHAPE, "temb (2, 4)", "x (2, 3, 8, 8)" },
    { bad_concat, DMQ_ESHAPE, "x (2, 3, 8, 8)", "skip (2, 3, 4, 4)" },
    { bad_slice, DMQ_ESHAPE, "2 positions from 2", "x (2, 3, 8, 8)" },
    { bad_reshape, DMQ_ESHAPE, "384 numbers", "(2, 191) has 382" },
    { bad_permute, DMQ_ESHAPE, "0 1 1 2", "x (2, 3, 8, 8)" },
    { bad_pool, DMQ_ESHAPE, "x (2, 3, 8, 8)", "3 x 3" },
    { bad_window, DMQ_ESHAPE, "x (2, 3, 8, 8)", "a window of 9 x 9" },
    { bad_padding, DMQ_ESHAPE, "x (2, 3, 8, 8)", "windows of 3, stride 1, padding 3" },
    { bad_list, DMQ_ESHAPE, "x (2, 3, 8, 8)", "skip (2, 3, 8, 4)" },
    { bad_geglu, DMQ_ESHAPE, "x (2, 3, 8, 8)", "even" },
    { bad_loss, DMQ_ESHAPE, "x (2, 3, 8, 8)", "target (2, 4, 8, 8)" },
    { bad_labels, DMQ_ESHAPE, "3 labels", "logits (4, 10)" },
    { bad_table, DMQ_ESHAPE, "act3.scale (5)", "3 channels of x" },
    { bad_rows, DMQ_ESHAPE, "act3.scale (5, 1)", "5 rows" },
    { bad_alpha, DMQ_ESHAPE, "alpha (5, 6)", "weight w (6, 5)" },
    { bad_empty, DMQ_ESHAPE, "nothing has the shape (0, 3)", "at least 1" },
    { live_target, DMQ_EINVAL, "loss: input 1", "depends on a parameter" },
    { twice_the_same, DMQ_EINVAL, "a.weight (4) at 0", "b.weight (4) at 3" },
    { two_seeds, DMQ_EINVAL, "softmax (2, 3, 8, 8)", "outputs" },
};

static void mistakes_are_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *r = &refusals[i];
        dmq_tape *tape = NULL;

        CHECK_OK(dmq_tape_create(&tape, check_device.backend, ALL_PASSES));
        r->record(tape);
        (void)dmq_record_softmax(tape, NULL); /* recording goes on; the first mistake stays */
        assert_int_equal(dmq_tape_plan(tape), r->status);
        if (!strstr(dmq_message(), r->one) || !strstr(dmq_message(), r->other))
            fail_msg("%s: must name \"%s\" and \"%s\"", dmq_message(), r->one, r->other);
        dmq_tape_destroy(tape);
    }
}

static dmq_status record_and_plan(dmq_tape **out)
{
    dmq_tape *t;
    dmq_var *x, *w, *h;
    const dmq_index *row;
    dmq_quant_spec spec = { .hi = 15, .lsq_gain = 1 };
    dmq_status st = dmq_tape_create(out, check_device.backend, ALL_PASSES);

    if (st != DMQ_OK)
        return st;
    t = *out;
    x = image(t);
    w = dmq_tape_param(t, "w", dmq_shape4(2, 1, 1, 3), numbers, 0);
    row = dmq_tape_index(t, "row", 2);
    spec.row = row;
    spec.scale = spec.zero = dmq_tape_constant(t, "scale", dmq_shape2(4, 1), numbers);
    h = dmq_record_fake_quant(t, x, &spec);
    for (int i = 0; i < 40; i++) /* arrays must grow */
        h = dmq_record_unary(t, DMQ_SILU, h);
    h = dmq_record_conv2d(t, h, w, NULL, 1, pad_none);
    dmq_tape_output(t, h);
    return dmq_tape_plan(t);
}

static void out_of_memory(void **state)
{
    dmq_status st = DMQ_ENOMEM;
    int n;

    (void)state;
    for (n = 1; st != DMQ_OK; n++) {
        dmq_tape *tape = NULL;

        dmq_alloc_fail_at(n);
        st = record_and_plan(&tape);
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK || st == DMQ_ENOMEM);
        dmq_tape_destroy(tape);
    }
    assert_in_range(n, 12, 100);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { CHECK_TEST(mistakes_are_told), CHECK_TEST(out_of_memory) };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
