/* Gradients of parameters sample by sample, from one backward pass. */
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { CHECK_TEST(a_gradient_for_each_sample) };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
