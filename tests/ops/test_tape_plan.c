/* What planning decides: parts and the cut, fusion, memory. */
#include "tape_cases.h"

enum { ALL_PASSES = DMQ_TAPE_BACKWARD | DMQ_TAPE_JVP };

/* ------------------------------------------------------------------ parts */

static dmq_var *frozen_conv(net *n, dmq_var *x)
{
    dmq_var *w = net_constant(n, dmq_shape4(8, 3, 3, 8), 0, 0.12);

    return dmq_record_conv2d(n->tape, x, w, NULL, 1, pad_same);
}

/* Frozen: two layers, a side branch recorded behind live nodes. Live: from the first parameter on. */
static void record_parts(net *n)
{
    dmq_var *x = net_data(n, dmq_shape4(n->samples, 4, 6, 8), 0, 1), *h, *side;

    x = case_silu(n, frozen_conv(n, case_silu(n, frozen_conv(n, x))));
    h = case_conv_of(n, x, 8, 8, 3, 1, pad_same);
    side = frozen_conv(n, case_silu(n, frozen_conv(n, x)));
    side = dmq_record_reshape(n->tape, side, dmq_shape3(n->samples, 24, 8));
    h = dmq_record_reshape(n->tape, case_silu(n, h), dmq_shape3(n->samples, 24, 8));
    h = case_norm_of(n, dmq_record_binary(n->tape, DMQ_MUL, side, h), 8);
    net_output(n, h);
}

static void run(net *n, dmq_part part)
{
    CHECK_OK(dmq_tape_forward(n->tape, n->on->queue, part));
}

static void compare_parts(unsigned passes)
{
    net *n = net_open(&check_device, passes, CASE_SAMPLES, record_parts);
    size_t count = dmq_shape_count(n->output[0]->shape);
    dmq_var *const *cut;
    dmq_real *kept[8], *all, *grad = NULL;
    int n_cut;

    run(n, DMQ_PART_ALL);
    all = net_value(n, 0);
    if (passes & DMQ_TAPE_BACKWARD) {
        net_backward(n);
        grad = net_gradient(n, 3);
    }
    cut = dmq_tape_cut(n->tape, &n_cut);
    assert_int_equal(n_cut, 2); /* x and the side branch */
    run(n, DMQ_PART_FROZEN);
    for (int i = 0; i < n_cut; i++) {
        assert_false(cut[i]->live);
        kept[i] = net_down(n, cut[i]->value, dmq_shape_count(cut[i]->shape));
    }
    run(n, DMQ_PART_LIVE);
    check_equal("frozen, then live", net_value(n, 0), all, count);

    /* another batch, then the first one from what was kept: its inputs are not there any more */
    for (size_t k = 0; k < n->leaf[0].count; k++)
        n->leaf[0].value[k] = (dmq_real)-1 - n->leaf[0].value[k];
    net_write(n, 0);
    run(n, DMQ_PART_FROZEN);
    run(n, DMQ_PART_LIVE);
    assert_memory_not_equal(net_value(n, 0), all, count * sizeof *all);
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < n_cut; i++) {
            CHECK_OK(n->on->backend->upload(n->on->queue, cut[i]->value, kept[i],
                                            dmq_shape_count(cut[i]->shape) * sizeof *all));
        }
        for (int again = 0; again <= turn; again++)
            run(n, DMQ_PART_LIVE);
        check_equal("kept, then live", net_value(n, 0), all, count);
        if (grad) {
            net_backward(n);
            check_equal("gradient", net_gradient(n, 3), grad, n->leaf[3].count);
        }
    }
    net_close(n);
}

static void parts_equal_the_whole(void **state)
{
    (void)state;
    compare_parts(DMQ_TAPE_FORWARD);
    compare_parts(DMQ_TAPE_BACKWARD);
    compare_parts(ALL_PASSES);
}

/* ------------------------------------------------------------------ gradients and tangents */

static void record_unreached(net *n)
{
    dmq_var *x = net_input(n, dmq_shape2(n->samples, 7)), *lost = net_param(n, dmq_shape2(3, 7));
    dmq_var *unread = net_input(n, dmq_shape2(n->samples, 7));

    (void)dmq_record_linear(n->tape, x, lost, NULL); /* no output depends on it */
    (void)dmq_record_unary(n->tape, DMQ_SILU, unread);
    (void)net_param(n, dmq_shape1(2000)); /* and nobody reads this one */
    net_output(n, dmq_record_linear(n->tape, x, net_param(n, dmq_shape2(3, 7)), NULL));
}

static void what_no_gradient_reaches_is_zero(void **state)
{
    net *n = net_open(&check_device, ALL_PASSES, CASE_SAMPLES, record_unreached);
    static const int zero[] = { 1, 2, 3 };
    const dmq_real *block;

    (void)state;
    net_forward(n);
    net_backward(n);
    for (int i = 0; i < 3; i++)
        assert_true(check_norm(net_gradient(n, zero[i]), n->leaf[zero[i]].count) == 0.0);
    assert_true(check_norm(net_gradient(n, 4), n->leaf[4].count) > 0.1);
    /* numbers of the block that belong to no parameter are not touched */
    block = net_down(n, n->grads, n->n_params);
    assert_int_equal(check_nans(block, n->n_params), 9);
    net_close(n);
}

/* Without blocks: no gradient of parameters, no tangent of theirs, but those of the inputs. */
static void inputs_alone(void **state)
{
    net *n = net_open(&check_device, ALL_PASSES, CASE_SAMPLES, case_block);
    const dmq_real *grad, *tan, *mixed;

    (void)state;
    net_forward(n);
    net_backward(n);
    grad = net_gradient(n, 0);
    net_jvp(n);
    mixed = net_tangent(n, 0);
    dmq_tape_bind(n->tape, NULL, NULL);
    net_backward(n);
    check_equal("dx", net_gradient(n, 0), grad, n->leaf[0].count);
    assert_null(n->leaf[3].var->grad);
    net_jvp(n);
    tan = net_tangent(n, 0);
    assert_memory_not_equal(tan, mixed, dmq_shape_count(n->output[0]->shape) * sizeof *tan);
    net_close(n);
}

static void without_any_tangent_the_output_has_none(void **state)
{
    net *n = net_open(&check_device, ALL_PASSES, CASE_SAMPLES, case_conv_bias);

    (void)state;
    net_forward(n);
    net_jvp(n);
    assert_non_null(n->output[0]->tan);
    dmq_tape_bind(n->tape, NULL, NULL);
    net_jvp(n);
    assert_null(n->output[0]->tan);
    net_close(n);
}

/* ------------------------------------------------------------------ fusion */

static void assert_text(const char *text, const char *part, int times)
{
    int found = 0;

    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
        found++;
    if (found != times)
        fail_msg("\"%s\" is %d times in the tape, not %d:\n%s", part, found, times, text);
}

static void fusion_finds_its_patterns(void **state)
{
    char *text = NULL;
    net *n = net_open(&check_device, ALL_PASSES, CASE_SAMPLES, case_fusible);

    (void)state;
    CHECK_OK(dmq_tape_text(n->tape, &text));
    assert_text(text, "group_norm+shift+silu+quant", 1);
    assert_text(text, "group_norm+quant", 1);
    assert_text(text, "group_norm+silu", 2); /* one where x + shift has another reader */
    assert_text(text, "+shift", 1);
    assert_text(text, "fake_quant", 0);
    net_close(n);
    dmq_free(text);
    n = net_open(&check_device, ALL_PASSES | DMQ_TAPE_NO_FUSION, CASE_SAMPLES, case_fusible);
    CHECK_OK(dmq_tape_text(n->tape, &text));
    assert_text(text, "+", 0);
    assert_text(text, "fake_quant", 2);
    net_close(n);
    dmq_free(text);
}

/* The ReLU of a convolution, where no pass needs what was before it. */
static void fusion_takes_the_relu(void **state)
{
    static const unsigned passes[] = { DMQ_TAPE_FORWARD, DMQ_TAPE_BACKWARD, DMQ_TAPE_JVP,
                                       DMQ_TAPE_NO_FUSION };

    (void)state;
    for (int i = 0; i < 4; i++) {
        net *n = net_open(&check_device, passes[i], CASE_SAMPLES, case_conv_relu);
        char *text = NULL;

        CHECK_OK(dmq_tape_text(n->tape, &text));
        assert_text(text, "conv2d+relu", i == 0 ? 3 : 0);
        assert_text(text, "unary", i == 0 ? 1 : 4);
        net_close(n);
        dmq_free(text);
    }
}

/* An output in the chain, a learned step, a quantizer by channel, SiLU behind the quantizer. */
static void record_unfusible(net *n)
{
    dmq_quant_spec spec = case_spec(n, net_constant(n, dmq_shape1(1), 0.05, 0), 63);
    dmq_var *x = case_image(n), *h = case_norm_of(n, x, 8);

    net_output(n, h);
    net_output(n, case_silu(n, dmq_record_fake_quant(n->tape, h, &spec)));
    spec = case_spec(n, net_param_near(n, dmq_shape1(1), 0.05, 0), 63);
    h = dmq_record_fake_quant(n->tape, case_norm_of(n, x, 8), &spec);
    spec = case_spec(n, net_constant(n, dmq_shape1(8), 0.05, 0.002), 63);
    spec.per_channel = 1;
    h = dmq_record_fake_quant(n->tape, case_norm_of(n, h, 8), &spec);
    net_output(n, h);
}

static void fusion_leaves_the_rest_alone(void **state)
{
    char *text = NULL;
    net *n = net_open(&check_device, ALL_PASSES, CASE_SAMPLES, record_unfusible);

    (void)state;
    CHECK_OK(dmq_tape_text(n->tape, &text));
    assert_text(text, "+", 0);
    assert_text(text, "fake_quant", 3);
    dmq_free(text);
    net_check_inner(n, "unfusible", 2e-6);
    net_close(n);
}

/* Fused and composed give the same codes, not nearly the same. */
static void record_codes(net *n)
{
    dmq_quant_spec spec = case_spec(n, net_constant(n, dmq_shape2(4, 1), 0.05, 0.002), 127);
    dmq_var *x = net_input(n, dmq_shape4(n->samples, 8, 8, 32)), *gamma;
    dmq_var *shift = net_input(n, dmq_shape2(n->samples, 32));

    spec.row = net_index(n, 4);
    gamma = net_param_near(n, dmq_shape1(32), 1, 0.2);
    x = dmq_record_binary(n->tape, DMQ_ADD, x, shift);
    x = dmq_record_group_norm(n->tape, x, gamma, net_param(n, dmq_shape1(32)), 8, 1e-6);
    net_output(n, dmq_record_fake_quant(n->tape, case_silu(n, x), &spec));
}

static void fused_codes_are_equal(void **state)
{
    net *a = net_open(&check_device, ALL_PASSES, CASE_SAMPLES, record_codes);
    net *b = net_open(&check_device, ALL_PASSES | DMQ_TAPE_NO_FUSION, CASE_SAMPLES, record_codes);
    size_t count = dmq_shape_count(a->output[0]->shape);

    (void)state;
    net_forward(a);
    net_forward(b);
    check_equal("codes", net_value(a, 0), net_value(b, 0), count);
    net_close(a);
    net_close(b);
}

/* ------------------------------------------------------------------ memory */

static void record_chain(net *n)
{
    dmq_var *x = net_data(n, dmq_shape4(n->samples, 16, 16, 8), 0, 1);

    for (int i = 0; i < 20; i++)
        x = case_silu(n, frozen_conv(n, x));
    net_output(n, x);
}

static void record_live_chain(net *n)
{
    dmq_var *x = net_data(n, dmq_shape4(n->samples, 16, 16, 8), 0, 1);

    for (int i = 0; i < 20; i++)
        x = case_silu(n, case_conv_of(n, x, 8, 8, 3, 1, pad_same));
    net_output(n, x);
}

/* Sizes in numbers of one activation; the zeros and ones of the tape are the rest. */
static void scratch_is_shared(void **state)
{
    size_t one = (size_t)CASE_SAMPLES * 16 * 16 * 8 * sizeof(dmq_real), rest = 16 * 1024;
    net *n = net_open(&check_device, DMQ_TAPE_FORWARD, CASE_SAMPLES, record_chain);

    (void)state;
    print_message("forward: %.2f activations\n", (double)dmq_tape_bytes(n->tape) / (double)one);
    assert_true(dmq_tape_bytes(n->tape) <= 4 * one + rest); /* input, output, one convolution */
    net_close(n);
    n = net_open(&check_device, DMQ_TAPE_FORWARD, CASE_SAMPLES, record_live_chain);
    assert_true(dmq_tape_bytes(n->tape) <= 4 * one + rest);
    net_close(n);
    n = net_open(&check_device, DMQ_TAPE_BACKWARD, CASE_SAMPLES, record_live_chain);
    print_message("backward: %.2f activations\n", (double)dmq_tape_bytes(n->tape) / (double)one);
    assert_true(dmq_tape_bytes(n->tape) <= (1 + 40 + 3) * one + rest); /* values, gradients */
    net_close(n);
    n = net_open(&check_device, ALL_PASSES, CASE_SAMPLES, record_live_chain);
    assert_true(dmq_tape_bytes(n->tape) <= (1 + 40 + 4) * one + rest);
    net_close(n);
}

static long counted;

static dmq_status counting_alloc(void **out, size_t bytes)
{
    counted++;
    return check_device.backend->alloc(out, bytes);
}

static void one_slab(void **state)
{
    static dmq_backend counting;
    check_on on = { &counting, check_device.queue };
    long by_the_test, before;
    net *n;

    (void)state;
    counting = *check_device.backend;
    counting.alloc = counting_alloc;
    counted = 0;
    n = net_open(&on, ALL_PASSES, CASE_SAMPLES, case_block);
    by_the_test = 2; /* gradients, tangents */
    for (int i = 0; i < n->n_leaves; i++)
        by_the_test += n->leaf[i].on_device != NULL;
    assert_int_equal(counted, by_the_test + 1);
    net_forward(n);
    net_backward(n);
    net_jvp(n);
    before = dmq_alloc_count();
    counted = 0;
    net_forward(n);
    CHECK_OK(dmq_tape_backward(n->tape, on.queue));
    net_jvp(n);
    assert_int_equal(counted, 0);
    assert_int_equal(dmq_alloc_count(), before);
    net_close(n);
}

static void cost_is_told(void **state)
{
    net *n = net_open(&check_device, DMQ_TAPE_FORWARD, 2, case_conv);
    double macs, bytes;

    (void)state;
    dmq_tape_cost(n->tape, &macs, &bytes);
    assert_true(macs == 2.0 * 4 * 6 * 5 * 3 * 3 * 8);
    assert_true(bytes == (2.0 * 4 * 6 * (8 + 5) + 5 * 3 * 3 * 8 + 5) * sizeof(dmq_real));
    net_close(n);
}

/* ------------------------------------------------------------------ forward and backward in one call */

/* The rows of the last data leaf in the order of an index, with rows between them that nobody asks for. */
static void let_targets_be_rows(net *n, dmq_var *loss)
{
    const net_leaf *y = NULL;
    size_t per;
    int *index = check_bytes((size_t)n->samples, sizeof *index), rows = 2 * n->samples;
    dmq_real *table;

    for (int i = 0; i < n->n_leaves; i++) {
        if (strcmp(n->leaf[i].var->name, "data") == 0)
            y = &n->leaf[i];
    }
    assert_non_null(y);
    per = y->count / (size_t)n->samples;
    table = check_reals(2 * y->count);
    for (size_t i = 0; i < 2 * y->count; i++)
        table[i] = (dmq_real)NAN;
    for (int i = 0; i < n->samples; i++) {
        index[i] = rows - 1 - 2 * i;
        memcpy(table + (size_t)index[i] * per, y->value + (size_t)i * per, per * sizeof *table);
    }
    dmq_loss_rows(loss, check_up_real(n->on, table, 2 * y->count), rows,
                  check_up(n->on, index, (size_t)n->samples, sizeof *index));
}

static void same_gradients(const net *a, const net *b)
{
    for (int i = 0; i < a->n_leaves; i++) {
        if (a->leaf[i].tan)
            check_equal("gradient", net_gradient(b, i), net_gradient(a, i), a->leaf[i].count);
    }
}

/* Of the outputs before the last. */
static void write_seeds(const net *n, int last)
{
    for (int i = 0; i < last; i++) {
        size_t bytes = dmq_shape_count(n->output[i]->shape) * sizeof(dmq_real);

        if (n->output[i]->grad) {
            CHECK_OK(n->on->backend->upload(n->on->queue, n->output[i]->grad, n->seed[i], bytes));
        }
    }
}

/* With the loss joined or not, its numbers and seeds elsewhere, its targets rows of a table. */
static void learning_is_forward_and_backward(void **state)
{
    static net_fn *const cases[] = { case_loss, case_block, case_conv };

    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        net *a = net_open(&check_device, ALL_PASSES, CASE_SAMPLES, cases[c]);
        net *b = net_open(&check_device, ALL_PASSES, CASE_SAMPLES, cases[c]);
        int last = a->n_outputs - 1, is_loss = cases[c] != case_conv;
        size_t count = dmq_shape_count(b->output[last]->shape);
        dmq_real *value = check_room(b->on, NULL, count), *tan = check_room(b->on, NULL, count);
        dmq_output places;

        net_forward(a);
        net_backward(a);
        net_jvp(a);
        if (is_loss)
            let_targets_be_rows(b, b->output[last]);
        places = (dmq_output){ .value = value,
                               .seed = check_up_real(b->on, b->seed[last], count),
                               .tan = tan };
        dmq_tape_bind_output(b->tape, b->output[last], &places);
        write_seeds(b, last);
        run(b, DMQ_PART_FROZEN);
        CHECK_OK(dmq_tape_learn(b->tape, b->on->queue));
        net_jvp(b);
        for (int i = 0; i < a->n_outputs; i++) {
            check_equal("value", net_value(b, i), net_value(a, i),
                        dmq_shape_count(a->output[i]->shape));
            check_equal("tangent", net_tangent(b, i), net_tangent(a, i),
                        dmq_shape_count(a->output[i]->shape));
        }
        check_equal("bound value", net_down(b, value, count), net_value(a, last), count);
        check_equal("bound tangent", net_down(b, tan, count), net_tangent(a, last), count);
        same_gradients(a, b);
        places = (dmq_output){ .seed = places.seed, .unread = 1 };
        dmq_tape_bind_output(b->tape, b->output[last], &places);
        write_seeds(b, last); /* of one that the loss reads it has become the gradient */
        CHECK_OK(dmq_tape_learn(b->tape, b->on->queue));
        same_gradients(a, b);
        dmq_tape_bind_output(b->tape, b->output[last], &(dmq_output){ 0 }); /* as it was */
        net_forward(b);
        check_equal("own value", net_value(b, last), net_value(a, last), count);
        check_equal("bound value", net_down(b, value, count), net_value(a, last), count);
        net_close(a);
        net_close(b);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(parts_equal_the_whole),
        CHECK_TEST(what_no_gradient_reaches_is_zero),
        CHECK_TEST(inputs_alone),
        CHECK_TEST(without_any_tangent_the_output_has_none),
        CHECK_TEST(fusion_finds_its_patterns),
        CHECK_TEST(fusion_takes_the_relu),
        CHECK_TEST(fusion_leaves_the_rest_alone),
        CHECK_TEST(fused_codes_are_equal),
        CHECK_TEST(scratch_is_shared),
        CHECK_TEST(one_slab),
        CHECK_TEST(cost_is_told),
        CHECK_TEST(learning_is_forward_and_backward),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
