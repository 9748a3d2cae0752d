/* Gradients of parameters sample by sample, from one backward pass; and of parameters of their own. */
#include "tape_cases.h"

/* A weight and a bias used by two layers, a weight through a reshape, one that nobody reads. */
static void case_uses(net *n)
{
    dmq_var *x = case_image(n), *w = net_param(n, dmq_shape4(8, 3, 3, 8)), *tokens;
    dmq_var *bias = net_param(n, dmq_shape1(8)), *flat = net_param(n, dmq_shape4(6, 1, 1, 8));

    (void)net_param(n, dmq_shape2(4, 6));
    x = dmq_record_conv2d(n->tape, x, w, bias, 1, pad_same);
    x = dmq_record_unary(n->tape, DMQ_SILU, x);
    x = dmq_record_conv2d(n->tape, x, w, bias, 1, pad_same);
    tokens = dmq_record_reshape(n->tape, x, dmq_shape3(n->samples, 24, 8));
    flat = dmq_record_reshape(n->tape, flat, dmq_shape2(6, 8));
    net_output(n, dmq_record_linear(n->tape, tokens, flat, net_param(n, dmq_shape1(6))));
}

static const struct {
    const char *name;
    net_fn *record;
    const char *refused; /* the operation that cannot; NULL: all can */
} cases[] = {
    { "conv", case_conv, NULL },
    { "conv_down", case_conv_down, NULL },
    { "conv_1x1", case_conv_1x1, NULL },
    { "conv_bias", case_conv_bias, NULL },
    { "linear", case_linear, NULL },
    { "linear_tokens", case_linear_tokens, NULL },
    { "linear_bias", case_linear_bias, NULL },
    { "uses", case_uses, NULL },
    { "shared", case_shared, "group_norm has no gradients of single samples" },
    { "weights", case_weights, "has no gradients of single samples" },
};

/* Only the samples from..from+count-1 have seeds. */
static void seed_some(net *n, dmq_real *const *all, int from, int count)
{
    for (int k = 0; k < n->n_outputs; k++) {
        size_t per = dmq_shape_count(n->output[k]->shape) / (size_t)n->samples;

        for (size_t i = 0; i < per * (size_t)n->samples; i++) {
            int sample = (int)(i / per);

            n->seed[k][i] = sample >= from && sample < from + count ? all[k][i] : 0;
        }
    }
}

/* Runs of `per` samples, `count` of the net's three. */
static void check_runs(net *n, const char *name, int count, int per)
{
    size_t apart = n->n_params + 5, room = apart * (size_t)(count / per);
    dmq_real *grads = check_room(n->on, NULL, room), *got = check_reals(room);
    dmq_real *all[NET_OUTPUTS];
    dmq_each each = {
        .grads = grads, .apart = apart, .samples = n->samples, .count = count, .per = per
    };
    size_t owned = 0;

    for (int k = 0; k < n->n_outputs; k++) {
        all[k] = check_bytes(dmq_shape_count(n->output[k]->shape), sizeof(dmq_real));
        memcpy(all[k], n->seed[k], dmq_shape_count(n->output[k]->shape) * sizeof(dmq_real));
    }
    net_forward(n);
    CHECK_OK(dmq_tape_bind_each(n->tape, &each));
    seed_some(n, all, 0, count);
    net_backward(n);
    check_down_real(n->on, got, grads, room);
    for (int i = 0; i < n->n_leaves; i++)
        owned += n->leaf[i].var->is_param ? n->leaf[i].count : 0;
    /* holes between parameters and behind them are nobody's */
    assert_int_equal(check_nans(got, room), room - owned * (size_t)(count / per));
    dmq_tape_bind(n->tape, n->grads, n->tangents);
    for (int g = 0; g < count / per; g++) {
        seed_some(n, all, g * per, per);
        net_forward(n);
        net_backward(n);
        for (int i = 0; i < n->n_leaves; i++) {
            const net_leaf *leaf = &n->leaf[i];
            const dmq_real *mine = got + (size_t)g * apart + leaf->var->offset, *want;

            if (!leaf->var->is_param)
                continue;
            want = net_gradient(n, i);
            if (check_norm(want, leaf->count) > 0)
                check_same(name, mine, want, leaf->count, 1e-5, 1e-5, 1);
            else /* nobody reads it */
                check_equal(name, mine, want, leaf->count);
        }
    }
    for (int k = 0; k < n->n_outputs; k++)
        memcpy(n->seed[k], all[k], dmq_shape_count(n->output[k]->shape) * sizeof(dmq_real));
}

static void a_gradient_for_each_sample(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        net *n = net_open(&check_device, DMQ_TAPE_BACKWARD, CASE_SAMPLES, cases[i].record);

        if (cases[i].refused) {
            dmq_each each = {
                .grads = n->grads, .samples = CASE_SAMPLES, .count = CASE_SAMPLES, .per = 1
            };

            assert_int_equal(dmq_tape_bind_each(n->tape, &each), DMQ_ENOTSUP);
            assert_non_null(strstr(dmq_message(), cases[i].refused));
        } else {
            check_runs(n, cases[i].name, 3, 1);
            check_runs(n, cases[i].name, 2, 1);
            check_runs(n, cases[i].name, 2, 2);
            check_runs(n, cases[i].name, 3, 3);
        }
        net_close(n);
        (void)check_release(NULL);
    }
    check_report("each");
}

/* Every way that a weight can take into a product: several pixels a tap and one, strides, tokens, a weight used
   twice, one through a reshape, one that does not change. Biases are the same for all. */
static void case_sets(net *n)
{
    dmq_var *x = case_image(n), *w = net_param(n, dmq_shape4(8, 3, 3, 8)), *tokens;
    dmq_var *bias = net_constant(n, dmq_shape1(8), 0, 0.3);
    dmq_var *flat = net_param(n, dmq_shape4(6, 1, 1, 8));

    x = dmq_record_conv2d(n->tape, x, w, bias, 1, pad_same);
    x = dmq_record_unary(n->tape, DMQ_SILU, x);
    x = dmq_record_conv2d(n->tape, x, w, NULL, 1, pad_same);
    x = dmq_record_conv2d(n->tape, x, net_constant(n, dmq_shape4(8, 3, 3, 8), 0, 0.1), bias, 1,
                          pad_same);
    x = dmq_record_conv2d(n->tape, x, net_param(n, dmq_shape4(8, 1, 1, 8)), bias, 1, pad_none);
    net_output(
        n, dmq_record_conv2d(n->tape, x, net_param(n, dmq_shape4(5, 3, 3, 8)), NULL, 2, pad_same));
    tokens = dmq_record_reshape(n->tape, x, dmq_shape3(n->samples, 24, 8));
    flat = dmq_record_reshape(n->tape, flat, dmq_shape2(6, 8));
    tokens = dmq_record_linear(n->tape, tokens, flat, net_constant(n, dmq_shape1(6), 0, 0.3));
    net_output(n, dmq_record_linear(n->tape, tokens, net_param(n, dmq_shape2(7, 6)), NULL));
}

/* What the runs of one sample or of two have of the passes over all of them, and with each run's values. */
static void check_sets(net *n, int per)
{
    size_t apart = n->n_params + 5, runs = (size_t)(n->samples / per), room = apart * runs;
    dmq_real *random = check_random(room, &n->stream), *values;
    dmq_real *grads = check_room(n->on, NULL, room), *got = check_reals(room);
    dmq_real *all[NET_OUTPUTS], *out[NET_OUTPUTS], *dx;

    for (size_t i = 0; i < room;
         i++) /* 72 taps keep the size of what they read: so tolerances mean something */
        random[i] *= (dmq_real)0.12;
    values = check_up_real(n->on, random, room);
    for (int k = 0; k < n->n_outputs; k++)
        all[k] = n->seed[k];
    dmq_tape_bind_values(n->tape, values);
    CHECK_OK(dmq_tape_bind_each(n->tape, &(dmq_each){ .grads = grads,
                                                      .apart = apart,
                                                      .samples = n->samples,
                                                      .count = n->samples,
                                                      .per = per,
                                                      .values_apart = apart }));
    net_forward(n);
    for (int k = 0; k < n->n_outputs; k++)
        out[k] = net_value(n, k);
    net_backward(n);
    check_down_real(n->on, got, grads, room);
    dx = net_gradient(n, 0);
    dmq_tape_bind(n->tape, n->grads, n->tangents);
    for (int k = 0; k < n->n_outputs; k++)
        n->seed[k] = check_reals(dmq_shape_count(n->output[k]->shape));
    for (size_t g = 0; g < runs; g++) {
        size_t in = n->leaf[0].count / runs;

        dmq_tape_bind_values(n->tape, values + g * apart);
        seed_some(n, all, (int)g * per, per);
        net_forward(n);
        net_backward(n);
        for (int k = 0; k < n->n_outputs; k++) {
            size_t count = dmq_shape_count(n->output[k]->shape) / runs;

            check_same("outputs", out[k] + g * count, net_value(n, k) + g * count, count, 1e-4,
                       1e-5, 1);
        }
        check_same("input", dx + g * in, net_gradient(n, 0) + g * in, in, 1e-4, 1e-5, 1);
        for (int i = 1; i < n->n_leaves; i++) {
            const net_leaf *leaf = &n->leaf[i];

            if (leaf->var->is_param)
                check_same("weights", got + g * apart + leaf->var->offset, net_gradient(n, i),
                           leaf->count, 1e-3, 1e-5, 1);
        }
    }
    for (int k = 0; k < n->n_outputs; k++)
        n->seed[k] = all[k];
}

static void a_set_of_weights_for_each_run(void **state)
{
    static const struct {
        net_fn *record;
        const char *refused;
    } refusals[] = { { case_linear, "linear has one w (5) for all samples" },
                     { case_weights, "has no gradients of single samples" } };

    (void)state;
    for (int per = 1; per <= 3; per++) {
        net *n = net_open(&check_device, DMQ_TAPE_BACKWARD, 6, case_sets);

        check_sets(n, per);
        net_close(n);
        (void)check_release(NULL);
    }
    check_report("sets");
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        net *n = net_open(&check_device, DMQ_TAPE_BACKWARD, 2, refusals[i].record);
        dmq_each each = {
            .grads = n->grads, .samples = 2, .count = 2, .per = 1, .values_apart = n->n_params
        };

        assert_int_equal(dmq_tape_bind_each(n->tape, &each), DMQ_ENOTSUP);
        if (!strstr(dmq_message(), refusals[i].refused))
            fail_msg("%s", dmq_message());
        net_close(n);
        (void)check_release(NULL);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { CHECK_TEST(a_gradient_for_each_sample),
                                        CHECK_TEST(a_set_of_weights_for_each_run) };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
