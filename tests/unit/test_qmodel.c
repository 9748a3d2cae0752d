/* Ranges, nearest rounding, halves of split layers, and networks recorded through the hooks. */
#include "base/signal.h"
#include "kernels/fake_quant_math.h"
#include "quant/hooks.h"
#include "quant_fixture.h"

/* Score of a range on one row: mean |w - fq(w)|^2.4. */
static double score(const dmq_real *w, int n, dmq_real scale, dmq_real zero, int bits)
{
    double sum = 0;

    for (int i = 0; i < n; i++) {
        sum += pow(fabs((double)(w[i] - dmq_fq(w[i], scale, zero, 0, (dmq_real)((1 << bits) - 1)))),
                   2.4);
    }
    return sum / n;
}

static void ranges_are_searched_for_every_output_channel(void **state)
{
    dmq_model *m = fixture_model();
    dmq_lanes *lanes = fixture_lanes("ref", 2);
    dmq_qmodel *q = fixture_qmodel(m, lanes, "tfmq", 4, 0);
    int l = fixture_layer(m, "down.0.block.0.conv1");
    const dmq_qlayer *ql = &q->layer[l];
    const dmq_real *w = m->params + m->entry[m->layer[l].weight].offset;

    (void)state;
    assert_int_equal(ql->rows, 16);
    assert_int_equal(ql->per, 9 * 16);
    for (int r = 0; r < ql->rows; r++) {
        const dmq_real *row = w + r * ql->per;
        double best = score(row, ql->per, ql->scale[r], ql->zero[r], 4), lo = 0, hi = 0;

        for (int i = 0; i < ql->per; i++) {
            lo = row[i] < lo ? (double)row[i] : lo;
            hi = row[i] > hi ? (double)row[i] : hi;
            assert_int_equal(
                ql->code[r * ql->per + i],
                (int)dmq_fq_clip(dmq_fq_code(row[i], ql->scale[r], ql->zero[r]), 0, 15));
            assert_true(dmq_qmodel_weight(q, l)[r * ql->per + i] ==
                        dmq_fq(row[i], ql->scale[r], ql->zero[r], 0, 15));
        }
        for (int i = 0; i < 80; i++) {
            dmq_real s = (dmq_real)((hi - lo) * (1 - 0.01 * i) / 15);

            assert_true(best <=
                        score(row, ql->per, s, dmq_rint((dmq_real)(-lo * (1 - 0.01 * i)) / s), 4) *
                            (1 + 1e-4));
        }
    }
    /* what stays FP is a copy */
    l = fixture_layer(m, "conv_in");
    assert_null(q->layer[l].code);
    assert_memory_equal(dmq_qmodel_weight(q, l), m->params + m->entry[m->layer[l].weight].offset,
                        sizeof(dmq_real) * 16);
    dmq_qmodel_destroy(q);
    dmq_lanes_destroy(lanes);
    dmq_model_destroy(m);
}

static void max_ranges_hold_zero(void **state)
{
    dmq_model *m = fixture_model();
    dmq_lanes *lanes = fixture_lanes("ref", 1);
    dmq_qmodel *q = fixture_qmodel(m, lanes, "all", 8, 0);
    int l = fixture_layer(m, "conv_out");
    dmq_real *w = m->params + m->entry[m->layer[l].weight].offset;

    (void)state;
    for (int i = 0; i < q->layer[l].per; i++)
        w[i] = (dmq_real)(1 + 0.001 * i); /* row 0 all positive */
    memset(w + q->layer[l].per, 0, sizeof *w * (size_t)q->layer[l].per);
    OK(dmq_ranges_run(q, lanes, &(dmq_ranges_config){ .init = DMQ_RANGE_MAX }));
    assert_true(q->layer[l].zero[0] == 0);
    assert_true(fabs((double)q->layer[l].scale[0] - (1 + 0.001 * (q->layer[l].per - 1)) / 255) <
                1e-8);
    assert_true(q->layer[l].scale[1] == (dmq_real)1e-8); /* a row of zeros */
    assert_true(dmq_qmodel_weight(q, l)[q->layer[l].per] == 0);
    dmq_stop_request(15);
    assert_int_equal(dmq_ranges_run(q, lanes, NULL), DMQ_ESTOP);
    dmq_stop_request(0);
    dmq_qmodel_destroy(q);
    dmq_lanes_destroy(lanes);
    dmq_model_destroy(m);
}

/* Halves of very different size: each must be searched as if it were alone. */
static void halves_of_a_split_layer_have_their_own_ranges(void **state)
{
    dmq_model *m = fixture_model();
    dmq_lanes *lanes = fixture_lanes("ref", 2);
    int l = fixture_layer(m, "up.0.block.0.nin_shortcut"), cut = m->layer[l].split,
        in = m->layer[l].in;
    dmq_real *w = m->params + m->entry[m->layer[l].weight].offset, scale[2], zero[2];
    dmq_real *half[2] = { calloc((size_t)in, sizeof *w), calloc((size_t)in, sizeof *w) };
    dmq_qmodel *q;

    (void)state;
    assert_true(cut > 0 && cut < in && cut != in - cut);
    for (int k = 0; k < m->layer[l].out; k++) {
        for (int c = cut; c < in; c++)
            w[k * in + c] *= 50;
    }
    q = fixture_qmodel(m, lanes, "qdiffusion", 4, 8);
    assert_int_equal(q->layer[l].split_at, cut);
    assert_int_equal(q->layer[l].table_cols, in);
    for (int k = 0; k < m->layer[l].out; k++) {
        memcpy(half[0], w + k * in, sizeof *w * (size_t)cut);
        memcpy(half[1], w + k * in + cut, sizeof *w * (size_t)(in - cut));
        for (int h = 0; h < 2; h++) {
            OK(dmq_range_search_ref(NULL, &(dmq_range_search_args){ .x = half[h],
                                                                    .scale = &scale[h],
                                                                    .zero = &zero[h],
                                                                    .outer = 1,
                                                                    .c = 1,
                                                                    .inner = h ? in - cut : cut,
                                                                    .bits = 4,
                                                                    .candidates = 80,
                                                                    .power = (dmq_real)2.4 }));
        }
        for (int c = 0; c < in; c++) {
            int h = c >= cut, row = (k * in + c) / q->layer[l].per;

            assert_true(q->layer[l].scale[row] == scale[h]);
            assert_true(dmq_qmodel_weight(q, l)[k * in + c] ==
                        dmq_fq(w[k * in + c], scale[h], zero[h], 0, 15));
        }
    }
    free(half[0]);
    free(half[1]);
    dmq_qmodel_destroy(q);
    dmq_lanes_destroy(lanes);
    dmq_model_destroy(m);
}

static void codes_give_the_weights_back(void **state)
{
    dmq_model *m = fixture_model();
    dmq_lanes *lanes = fixture_lanes("ref", 1);
    dmq_qmodel *q = fixture_qmodel(m, lanes, "qdiffusion", 3, 0);
    dmq_real *before = calloc(m->n_params, sizeof *before);

    (void)state;
    memcpy(before, q->w_quant, m->n_params * sizeof *before);
    for (int l = 0; l < m->n_layers; l++)
        dmq_qmodel_dequantize(q, l);
    assert_memory_equal(before, q->w_quant, m->n_params * sizeof *before);
    free(before);
    dmq_qmodel_destroy(q);
    dmq_lanes_destroy(lanes);
    dmq_model_destroy(m);
}

/* eps of the network on a fixed input, recorded through an attach (NULL: plain). */
static void forward(dmq_real *out, const dmq_model *m, dmq_lanes *lanes, dmq_attach *attach,
                    int step)
{
    dmq_shape s = m->input;
    dmq_tape *tape = NULL;
    dmq_hooks hooks;
    dmq_index *row;
    dmq_var *x, *t, *eps;

    s.dim[0] = 2;
    OK(dmq_tape_create(&tape, dmq_lanes_backend(lanes), DMQ_TAPE_FORWARD));
    row = dmq_tape_index(tape, "step", 2);
    if (attach) {
        attach->row = row;
        hooks = dmq_attach_hooks(attach);
    }
    x = dmq_tape_input(tape, "x", s);
    t = dmq_tape_input(tape, "t", dmq_shape1(2));
    eps = dmq_model_record(m, tape, attach ? &hooks : NULL, x, t, NULL);
    dmq_tape_output(tape, eps);
    OK(dmq_tape_plan(tape));
    for (size_t i = 0; i < dmq_shape_count(s); i++)
        x->value[i] = (dmq_real)fixture_normal(77, (uint32_t)i);
    t->value[0] = 10;
    t->value[1] = 500;
    row->value[0] = row->value[1] = step;
    OK(dmq_tape_forward(tape, dmq_lanes_queue(lanes, 0), DMQ_PART_ALL));
    memcpy(out, eps->value, dmq_shape_count(s) * sizeof *out);
    dmq_tape_destroy(tape);
}

static double distance(const dmq_real *a, const dmq_real *b, size_t n)
{
    double d = 0, s = 0;

    for (size_t i = 0; i < n; i++) {
        d += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        s += (double)a[i] * (double)a[i];
    }
    return sqrt(d / s);
}

static void hooks_switch_weights_and_activations(void **state)
{
    dmq_model *m = fixture_model();
    dmq_lanes *lanes = fixture_lanes("ref", 1);
    dmq_qmodel *q = fixture_qmodel(m, lanes, "all", 8, 8);
    size_t n = 2 * dmq_shape_count(m->input);
    dmq_real *plain = calloc(n, sizeof *plain), *other = calloc(n, sizeof *plain);
    dmq_attach attach;
    dmq_tape *tape = NULL;
    dmq_hooks hooks;

    (void)state;
    forward(plain, m, lanes, NULL, 0);
    dmq_attach_init(&attach, q);
    attach.weights = 0;
    forward(other, m, lanes, &attach, 0);
    assert_memory_equal(plain, other, n * sizeof *plain);
    attach.weights = 1;
    forward(other, m, lanes, &attach, 0);
    assert_true(distance(plain, other, n) > 1e-5 && distance(plain, other, n) < 0.05);

    /* tables of two steps: wide in step 0, so coarse that little is left in step 1 */
    OK(dmq_qmodel_tables(q, 2));
    for (int l = 0; l < m->n_layers; l++) {
        q->layer[l].act_scale[0] = (dmq_real)0.1;
        q->layer[l].act_scale[1] = 10;
        q->layer[l].act_zero[0] = q->layer[l].act_zero[1] = 128;
    }
    attach.acts = 1;
    forward(other, m, lanes, &attach, 0);
    assert_true(distance(plain, other, n) < 0.3);
    forward(other, m, lanes, &attach, 1);
    assert_true(distance(plain, other, n) > 0.5);

    /* no tables: told by name */
    dmq_qmodel_destroy(q);
    q = fixture_qmodel(m, lanes, "all", 8, 8);
    dmq_attach_init(&attach, q);
    attach.acts = 1;
    hooks = dmq_attach_hooks(&attach);
    OK(dmq_tape_create(&tape, dmq_lanes_backend(lanes), DMQ_TAPE_FORWARD));
    (void)dmq_model_record(m, tape, &hooks, dmq_tape_input(tape, "x", m->input),
                           dmq_tape_input(tape, "t", dmq_shape1(1)), NULL);
    assert_int_equal(dmq_tape_plan(tape), DMQ_EINVAL);
    assert_non_null(strstr(dmq_message(), "temb.dense.0"));
    dmq_tape_destroy(tape);
    free(plain);
    free(other);
    dmq_qmodel_destroy(q);
    dmq_lanes_destroy(lanes);
    dmq_model_destroy(m);
}

/* The n-th allocation fails, for every n. */
static void running_out_of_memory_is_clean(void **state)
{
    dmq_model *m = fixture_model();
    dmq_lanes *lanes = fixture_lanes("ref", 1);
    dmq_choice *choice = calloc((size_t)m->n_layers, sizeof *choice);
    dmq_status st = DMQ_ENOMEM;

    (void)state;
    OK(dmq_policy_apply(choice, m, &(dmq_policy){ "qdiffusion", 4, 8, NULL, 0, 0 }));
    for (long n = 1; st != DMQ_OK; n++) {
        dmq_qmodel *q = NULL;

        dmq_alloc_fail_at(n);
        st = dmq_qmodel_create(&q, m, choice);
        if (st == DMQ_OK)
            st = dmq_qmodel_tables(q, 3);
        if (st == DMQ_OK)
            st = dmq_ranges_run(q, lanes, &(dmq_ranges_config){ .init = DMQ_RANGE_MAX });
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK || st == DMQ_ENOMEM);
        dmq_qmodel_destroy(q);
    }
    free(choice);
    dmq_lanes_destroy(lanes);
    dmq_model_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_searched_for_every_output_channel),
        cmocka_unit_test(max_ranges_hold_zero),
        cmocka_unit_test(halves_of_a_split_layer_have_their_own_ranges),
        cmocka_unit_test(codes_give_the_weights_back),
        cmocka_unit_test(hooks_switch_weights_and_activations),
        cmocka_unit_test(running_out_of_memory_is_clean),
    };
    return cmocka_run_group_tests_name("qmodel", tests, NULL, NULL);
}
