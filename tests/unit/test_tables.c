/* Activation tables: the running ranges, their order, halves, one table for all; and their files. */
#include "base/log.h"
#include "diffusion/forward.h"
#include "kernels/noise.h"
#include "model/ldm_unet.h"
#include "quant/hooks.h"
#include "quant/quant_file.h"
#include "quant/tables.h"
#include "quant_fixture.h"

#include <unistd.h>

typedef struct setting {
    dmq_model *m;
    dmq_lanes *lanes;
    dmq_calib *calib;
    dmq_qmodel *q;
} setting;

static void set_up(setting *s, const char *backend, int lanes, const char *policy, int acts)
{
    s->m = fixture_model();
    s->lanes = fixture_lanes(backend, lanes);
    s->calib = fixture_calib(s->m, s->lanes);
    s->q = fixture_qmodel(s->m, s->lanes, policy, 8, acts);
}

static void tear_down(setting *s)
{
    dmq_qmodel_destroy(s->q);
    dmq_calib_destroy(s->calib);
    dmq_lanes_destroy(s->lanes);
    dmq_model_destroy(s->m);
}

/* conv_in reads x itself: its table can be computed here from the set alone. */
static void ranges_run_as_the_recipe_says(void **state)
{
    setting s;
    dmq_tables_config config;
    int order[7], l;

    (void)state;
    set_up(&s, "ref", 2, "all", 8);
    dmq_tables_defaults(&config);
    assert_int_equal(config.batch, 16);
    config.batch = 3;
    config.seed = 9;
    OK(dmq_tables_run(s.q, s.calib, s.lanes, &config));
    assert_int_equal(s.q->table_rows, 10);
    l = fixture_layer(s.m, "conv_in");
    for (int k = 0; k < 10; k++) {
        double lo = 0, hi = 0, scale;

        for (int pass = 0; pass <= 3;
             pass++) { /* 7 samples are 3 batches of 3, the last one wraps */
            double a = 1e9, b = -1e9;

            dmq_permutation(order, 7, 9, DMQ_FOR_OBSERVE, (uint64_t)k, pass > 0);
            for (int i = 0; i < 3; i++) {
                const dmq_real *x =
                    dmq_calib_state(s.calib, k, order[((pass > 0 ? pass - 1 : 0) * 3 + i) % 7]);

                for (size_t e = 0; e < dmq_shape_count(s.m->input); e++) {
                    a = (double)x[e] < a ? (double)x[e] : a;
                    b = (double)x[e] > b ? (double)x[e] : b;
                }
            }
            lo = pass == 0 ? a : 0.95 * lo + 0.05 * a;
            hi = pass == 0 ? b : 0.95 * hi + 0.05 * b;
        }
        scale = ((hi > 0 ? hi : 0) - (lo < 0 ? lo : 0)) / 255;
        assert_true(fabs((double)s.q->layer[l].act_scale[k] - scale) < 1e-6 * scale);
        assert_true(s.q->layer[l].act_zero[k] == (dmq_real)rint(-(lo < 0 ? lo : 0) / scale));
    }
    /* all tables hold zero */
    for (l = 0; l < s.m->n_layers; l++) {
        for (int k = 0; k < 10; k++)
            assert_true(s.q->layer[l].act_zero[k] >= 0 && s.q->layer[l].act_zero[k] <= 255);
    }
    tear_down(&s);
}

static void tables_differ_by_step_and_lanes_do_not_matter(void **state)
{
    setting a, b;
    dmq_tables_config config;
    int differ = 0;

    (void)state;
    dmq_tables_defaults(&config);
    config.batch = 4;
    set_up(&a, "cpu", 1, "tfmq", 8);
    set_up(&b, "cpu", 3, "tfmq", 8);
    OK(dmq_tables_run(a.q, a.calib, a.lanes, &config));
    OK(dmq_tables_run(b.q, b.calib, b.lanes, &config));
    for (int l = 0; l < a.m->n_layers; l++) {
        const dmq_qlayer *x = &a.q->layer[l], *y = &b.q->layer[l];

        assert_int_equal(x->act_scale != NULL, x->act_bits > 0);
        if (!x->act_scale)
            continue;
        assert_memory_equal(x->act_scale, y->act_scale, 10 * sizeof(dmq_real));
        assert_memory_equal(x->act_zero, y->act_zero, 10 * sizeof(dmq_real));
        for (int k = 1; k < 10; k++)
            differ += x->act_scale[k] != x->act_scale[0];
    }
    assert_true(differ > 50);
    tear_down(&a);
    tear_down(&b);
}

/* eps of a sample of step k with tables on, against full precision: relative error. */
static double error_at(const setting *s, int k)
{
    dmq_real *eps[2] = { NULL, NULL };
    size_t n = dmq_shape_count(s->m->input);
    double d = 0, e = 0;

    for (int quant = 0; quant < 2; quant++) {
        dmq_attach attach;
        dmq_hooks hooks;
        dmq_index *row;
        dmq_tape *tape = NULL;
        dmq_var *x, *t, *out;

        OK(dmq_tape_create(&tape, dmq_lanes_backend(s->lanes), DMQ_TAPE_FORWARD));
        dmq_attach_init(&attach, s->q);
        attach.acts = 1;
        row = dmq_tape_index(tape, "step", 1);
        attach.row = row;
        hooks = dmq_attach_hooks(&attach);
        x = dmq_tape_input(tape, "x", s->m->input);
        t = dmq_tape_input(tape, "t", dmq_shape1(1));
        out = dmq_model_record(s->m, tape, quant ? &hooks : NULL, x, t, NULL);
        dmq_tape_output(tape, out);
        OK(dmq_tape_plan(tape));
        OK(dmq_tape_index_set(tape, row, dmq_lanes_queue(s->lanes, 0), &k));
        memcpy(x->value, dmq_calib_state(s->calib, k, 8), n * sizeof(dmq_real)); /* held out */
        t->value[0] = (dmq_real)s->calib->t[k];
        OK(dmq_tape_forward(tape, dmq_lanes_queue(s->lanes, 0), DMQ_PART_ALL));
        eps[quant] = calloc(n, sizeof(dmq_real));
        memcpy(eps[quant], out->value, n * sizeof(dmq_real));
        dmq_tape_destroy(tape);
    }
    for (size_t i = 0; i < n; i++) {
        d += pow((double)(eps[1][i] - eps[0][i]), 2);
        e += pow((double)eps[0][i], 2);
    }
    free(eps[0]);
    free(eps[1]);
    return sqrt(d / e);
}

static void eight_bits_are_harmless_and_two_are_not(void **state)
{
    static const char *const policy[] = { "tfmq", "qdiffusion" };
    dmq_tables_config config;

    (void)state;
    dmq_tables_defaults(&config);
    for (int p = 0; p < 2; p++) {
        for (int single = 0; single < 2; single++) {
            setting s;

            config.single = single;
            set_up(&s, "cpu", 2, policy[p], 8);
            OK(dmq_tables_run(s.q, s.calib, s.lanes, &config));
            assert_int_equal(s.q->table_rows, single ? 1 : 10);
            assert_true(error_at(&s, 0) < 0.1);
            assert_true(error_at(&s, 9) < 0.1);
            tear_down(&s);
        }
    }
    for (int bits = 2; bits < 8; bits += 5) {
        setting s;

        config.single = 0;
        set_up(&s, "cpu", 2, "tfmq", bits);
        OK(dmq_tables_run(s.q, s.calib, s.lanes, &config));
        assert_true((error_at(&s, 5) > 0.2) == (bits == 2));
        tear_down(&s);
    }
}

/* What a layer sees is quantized upstream: coarse codes of conv_in's input change the next range. */
static void later_layers_see_quantized_inputs(void **state)
{
    setting a, b;
    dmq_tables_config config;
    int in, next;

    (void)state;
    dmq_tables_defaults(&config);
    set_up(&a, "ref", 2, "all", 8);
    set_up(&b, "ref", 2, "all", 8);
    in = fixture_layer(a.m, "conv_in");
    next = fixture_layer(a.m, "down.0.block.0.conv1");
    b.q->layer[in].act_bits = 2;
    OK(dmq_tables_run(a.q, a.calib, a.lanes, &config));
    OK(dmq_tables_run(b.q, b.calib, b.lanes, &config));
    assert_true(fabs((double)(b.q->layer[in].act_scale[0] / a.q->layer[in].act_scale[0]) - 85) <
                0.01);
    assert_true(a.q->layer[next].act_scale[0] != b.q->layer[next].act_scale[0]);
    tear_down(&a);
    tear_down(&b);
}

static void halves_of_a_split_layer_have_their_own_tables(void **state)
{
    setting s;
    dmq_tables_config config;
    const dmq_qlayer *l;

    (void)state;
    dmq_tables_defaults(&config);
    set_up(&s, "ref", 2, "qdiffusion", 8);
    OK(dmq_tables_run(s.q, s.calib, s.lanes, &config));
    l = &s.q->layer[fixture_layer(s.m, "up.0.block.0.nin_shortcut")];
    for (int k = 0; k < 10; k++) {
        const dmq_real *row = l->act_scale + k * l->table_cols;

        for (int c = 0; c < l->table_cols; c++)
            assert_true(row[c] == row[c < l->split_at ? 0 : l->table_cols - 1]);
        assert_true(row[0] != row[l->table_cols - 1]);
    }
    tear_down(&s);
}

/* Another state of the same model, with a range for every channel of each input. */
static void by_channel(setting *s)
{
    dmq_policy policy = {
        .kind = "qdiffusion", .weight_bits = 8, .act_bits = 8, .act_channels = 1
    };
    dmq_choice *choice = calloc((size_t)s->m->n_layers, sizeof *choice);
    dmq_ranges_config ranges;

    dmq_ranges_defaults(&ranges);
    dmq_qmodel_destroy(s->q);
    OK(dmq_policy_apply(choice, s->m, &policy));
    OK(dmq_qmodel_create(&s->q, s->m, choice));
    OK(dmq_ranges_run(s->q, s->lanes, &ranges));
    free(choice);
}

static void other_ways_to_a_range(void **state)
{
    setting s, e;
    dmq_tables_config config;
    int l, x;
    dmq_real scale[2][16];

    (void)state;
    dmq_tables_defaults(&config);
    config.batch = 3;
    set_up(&e, "ref", 2, "qdiffusion", 8);
    OK(dmq_tables_run(e.q, e.calib, e.lanes, &config));

    /* the extremes of all passes hold what running values forget */
    config.init = DMQ_TABLES_MINMAX;
    set_up(&s, "ref", 2, "qdiffusion", 8);
    OK(dmq_tables_run(s.q, s.calib, s.lanes, &config));
    x = fixture_layer(s.m, "conv_in");
    for (int k = 0; k < 10; k++)
        assert_true(s.q->layer[x].act_scale[k] >= e.q->layer[x].act_scale[k] * (dmq_real)0.9999);
    tear_down(&s);

    /* the search is that of the kernel, on the first batch */
    config.init = DMQ_TABLES_MSE;
    config.batch = 16;
    set_up(&s, "ref", 2, "qdiffusion", 4);
    OK(dmq_tables_run(s.q, s.calib, s.lanes, &config));
    for (int k = 0; k < 10; k += 3) {
        dmq_real zero;

        OK(dmq_range_search_ref(
            NULL,
            &(dmq_range_search_args){ .x = dmq_calib_state(s.calib, k, 0),
                                      .scale = scale[0],
                                      .zero = &zero,
                                      .outer = 1,
                                      .c = 1,
                                      .inner = (int)(7 * dmq_shape_count(s.m->input)),
                                      .bits = 4,
                                      .candidates = 80,
                                      .power = (dmq_real)2.4 })); /* all 7 samples are one batch */
        assert_true(fabs((double)(s.q->layer[x].act_scale[k] / scale[0][0]) - 1) < 0.02);
    }
    l = fixture_layer(s.m, "up.0.block.0.nin_shortcut");
    assert_true(s.q->layer[l].act_scale[0] !=
                s.q->layer[l].act_scale[s.q->layer[l].table_cols - 1]);
    tear_down(&s);

    /* a range for every channel: the widest is the tensor's */
    config.init = DMQ_TABLES_EMA;
    config.batch = 3;
    set_up(&s, "ref", 2, "qdiffusion", 8);
    by_channel(&s);
    OK(dmq_tables_run(s.q, s.calib, s.lanes, &config));
    assert_int_equal(s.q->layer[x].table_cols, 3);
    for (int c = 0; c < 3; c++)
        assert_true(s.q->layer[x].act_scale[c] <= e.q->layer[x].act_scale[0] * (dmq_real)1.0001);
    assert_true(s.q->layer[x].act_scale[0] != s.q->layer[x].act_scale[1]);
    assert_true(error_at(&s, 5) < 0.3); /* channels of 7 samples clip a held-out one */
    tear_down(&s);
    tear_down(&e);
}

/* Error of the noise at one state of every step, by the operands of attention alone. */
static double operand_error(const dmq_model *m, const dmq_calib *c, dmq_lanes *lanes,
                            const char *rule, dmq_tables_init init)
{
    const dmq_policy policy = { .kind = "rules", .rule = &rule, .n_rules = 1 };
    size_t per = dmq_shape_count(m->input), n = (size_t)c->n_steps;
    dmq_real *x = calloc(n * per, sizeof *x), *t = calloc(n, sizeof *t);
    dmq_real *out[2] = { calloc(n * per, sizeof *x), calloc(n * per, sizeof *x) };
    int *step = calloc(n, sizeof *step);
    dmq_forward_args a = { .x = x, .t = t, .step = step, .n = c->n_steps, .nhwc = 1 };
    dmq_choice *choice = NULL;
    dmq_qmodel *q = NULL;
    dmq_tables_config config;
    dmq_attach attach;
    dmq_hook_source source;
    double error = 0, norm = 0;

    OK(dmq_alloc((void **)&choice, (size_t)m->n_layers, sizeof *choice));
    OK(dmq_policy_apply(choice, m, &policy));
    OK(dmq_qmodel_create(&q, m, choice));
    dmq_tables_defaults(&config);
    config.init = init;
    OK(dmq_tables_run(q, c, lanes, &config));
    for (int i = 0; i < m->n_layers; i++) {
        const dmq_qlayer *l = &q->layer[i];

        for (int k = 0; k < c->n_steps && l->act_bits > 0; k++) {
            assert_int_equal(m->layer[i].kind, DMQ_LAYER_OPERAND);
            assert_int_equal(m->layer[i].from_zero, strstr(m->layer[i].name, "softmax") != NULL);
            assert_true(!m->layer[i].from_zero || l->act_zero[k] == 0);
            assert_true(!m->layer[i].from_zero || l->act_scale[k] <= (dmq_real)(1.0001 / 3));
        }
    }
    dmq_attach_init(&attach, q);
    attach.acts = 1;
    source = dmq_attach_source(&attach);
    for (int k = 0; k < c->n_steps; k++) {
        memcpy(x + (size_t)k * per, dmq_calib_state(c, k, 0), per * sizeof *x);
        t[k] = (dmq_real)c->t[k];
        step[k] = k;
    }
    for (int i = 0; i < 2; i++) {
        a.out = out[i];
        OK(dmq_forward_run(m, i ? &source : NULL, lanes, &a));
    }
    for (size_t i = 0; i < n * per; i++) {
        double d = (double)out[1][i] - (double)out[0][i];

        error += d * d;
        norm += (double)out[0][i] * (double)out[0][i];
    }
    free(x);
    free(t);
    free(step);
    free(out[0]);
    free(out[1]);
    dmq_free(choice);
    dmq_qmodel_destroy(q);
    return sqrt(error / norm);
}

static void operands_of_attention_have_tables(void **state)
{
    static const dmq_ldm_unet_config config = { .in_channels = 3,
                                                .out_channels = 3,
                                                .resolution = 8,
                                                .model_channels = 8,
                                                .channel_mult = { 1, 2 },
                                                .n_levels = 2,
                                                .num_res_blocks = 1,
                                                .attention = { 1, 2 },
                                                .n_attention = 2,
                                                .num_head_channels = 4,
                                                .norm_groups = 4 };
    static const char *const part[] = { "q", "k", "v", "softmax" };
    dmq_lanes *lanes = fixture_lanes("cpu", 2);
    dmq_model *m = NULL;
    dmq_calib *c;

    (void)state;
    OK(dmq_ldm_unet_create(&m, &config));
    fixture_fill(m);
    c = fixture_calib(m, lanes);
    for (int i = 0; i < 4; i++) {
        char fine[32], coarse[32];
        double at_8, at_2;

        snprintf(fine, sizeof fine, "*.%s: a8", part[i]);
        snprintf(coarse, sizeof coarse, "*.%s: a2", part[i]);
        at_8 = operand_error(m, c, lanes, fine, DMQ_TABLES_MINMAX);
        at_2 = operand_error(m, c, lanes, coarse, DMQ_TABLES_MINMAX);
        printf("  %-8s 8 bits %.1e, 2 bits %.1e\n", part[i], at_8, at_2);
        assert_true(at_8 > 0 && at_8 < 0.01);
        assert_true(at_2 > 8 * at_8);
    }
    assert_true(operand_error(m, c, lanes, "*.softmax: a8", DMQ_TABLES_MSE) < 0.01);
    dmq_calib_destroy(c);
    dmq_model_destroy(m);
    dmq_lanes_destroy(lanes);
}

static void what_cannot_be_is_named(void **state)
{
    setting s;
    dmq_tables_config config;

    (void)state;
    set_up(&s, "ref", 1, "all", 8);
    dmq_tables_defaults(&config);
    config.momentum = 1;
    assert_int_equal(dmq_tables_run(s.q, s.calib, s.lanes, &config), DMQ_EINVAL);
    assert_non_null(strstr(dmq_message(), "momentum = 1"));
    config.momentum = 0.95;
    s.calib->x[5] = (dmq_real)NAN;
    assert_int_equal(dmq_tables_run(s.q, s.calib, s.lanes, &config), DMQ_EDIVERGE);
    assert_non_null(strstr(dmq_message(), "conv_in at step 0 is not finite"));
    tear_down(&s);
}

/* ------------------------------------------------------------------ files */

#define HASH "0123456789abcdef0123456789abcdef"

static char path[128];

static const char *scratch(void)
{
    snprintf(path, sizeof path, "/tmp/dmq-test-quant-%d.h5", (int)getpid());
    return path;
}

static void save(const setting *s, const dmq_sampler *sampler)
{
    OK(dmq_quant_save(s->q, scratch(), HASH, sampler, "key"));
}

static void a_file_gives_the_same_state(void **state)
{
    setting s;
    dmq_tables_config config;
    dmq_qmodel *back = NULL;
    dmq_sampler *sampler = fixture_sampler(10);

    (void)state;
    dmq_tables_defaults(&config);
    for (int channels = 0; channels < 2; channels++) {
        set_up(&s, "ref", 2, "qdiffusion", 8);
        if (channels)
            by_channel(&s);
        OK(dmq_tables_run(s.q, s.calib, s.lanes, &config));
        s.q->layer[3].learned = 1;
        save(&s, sampler);
        OK(dmq_quant_load(&back, path, s.m, HASH, sampler));
        assert_memory_equal(back->w_quant, s.q->w_quant, s.m->n_params * sizeof(dmq_real));
        assert_int_equal(back->table_rows, 10);
        for (int l = 0; l < s.m->n_layers; l++) {
            const dmq_qlayer *a = &s.q->layer[l], *b = &back->layer[l];
            size_t n = 10 * (size_t)a->table_cols * sizeof(dmq_real);

            assert_int_equal(a->weight_bits, b->weight_bits);
            assert_int_equal(a->act_bits, b->act_bits);
            assert_int_equal(a->split_at, b->split_at);
            assert_int_equal(b->act_channels, channels);
            assert_int_equal(b->learned, l == 3);
            assert_memory_equal(a->code, b->code,
                                (size_t)a->rows * (size_t)a->per * sizeof *a->code);
            assert_memory_equal(a->scale, b->scale, (size_t)a->rows * sizeof(dmq_real));
            assert_memory_equal(a->zero, b->zero, (size_t)a->rows * sizeof(dmq_real));
            assert_memory_equal(a->act_scale, b->act_scale, n);
            assert_memory_equal(a->act_zero, b->act_zero, n);
        }
        dmq_qmodel_destroy(back);
        tear_down(&s);
    }
    remove(path);
    dmq_sampler_destroy(sampler);
}

static void expect_refused(const setting *s, const char *hash, const dmq_sampler *sampler,
                           const char *says)
{
    dmq_qmodel *back = NULL;

    assert_int_equal(dmq_quant_load(&back, path, s->m, hash, sampler), DMQ_EDATA);
    assert_null(back);
    if (!strstr(dmq_message(), says))
        fail_msg("\"%s\" does not say \"%s\"", dmq_message(), says);
}

static void a_file_of_something_else_is_refused(void **state)
{
    setting s;
    dmq_tables_config config;
    dmq_qmodel *back = NULL;
    dmq_sampler *other = fixture_sampler(9), *same = fixture_sampler(10);
    FILE *file;
    long size, warned;

    (void)state;
    dmq_tables_defaults(&config);
    set_up(&s, "ref", 2, "tfmq", 8);
    OK(dmq_tables_run(s.q, s.calib, s.lanes, &config));
    save(&s, same);
    expect_refused(&s, HASH, other, "each step of another sampler\n  it was: ddim, 10 steps");
    expect_refused(&s, "ffff", same, "belongs to the model with sha256 0123456789abcdef");
    OK(dmq_quant_load(&back, path, s.m, HASH, NULL));
    dmq_qmodel_destroy(back);

    /* codes that its bits do not have */
    s.q->layer[fixture_layer(s.m, "mid.attn_1.q")].code[0] = 17;
    s.q->layer[fixture_layer(s.m, "mid.attn_1.q")].weight_bits = 4;
    save(&s, same);
    expect_refused(&s, HASH, same, "its 4 bits end at 15");

    /* every cut of the file */
    file = fopen(path, "r+b");
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    for (int part = 9; part > 0; part -= 2) {
        assert_int_equal(ftruncate(fileno(file), size * part / 10), 0);
        assert_int_equal(dmq_quant_load(&back, path, s.m, HASH, same), DMQ_EDATA);
    }
    fclose(file);
    remove(path);
    assert_int_equal(dmq_quant_load(&back, path, s.m, HASH, same), DMQ_ENOINPUT);
    tear_down(&s);

    /* weights alone serve any sampler, and say so */
    set_up(&s, "ref", 2, "tfmq", 0);
    save(&s, same);
    warned = dmq_log_warnings("other-sampler");
    OK(dmq_quant_load(&back, path, s.m, HASH, other));
    assert_int_equal(dmq_log_warnings("other-sampler"), warned + 1);
    dmq_qmodel_destroy(back);
    remove(path);
    dmq_sampler_destroy(other);
    dmq_sampler_destroy(same);
    tear_down(&s);
}

static void running_out_of_memory_is_clean(void **state)
{
    setting s;
    dmq_sampler *sampler = fixture_sampler(10);
    dmq_tables_config config;
    dmq_choice *choice;
    dmq_status st = DMQ_ENOMEM;

    (void)state;
    dmq_tables_defaults(&config);
    config.single = 1;
    config.passes = 1;
    set_up(&s, "cpu", 1, "qdiffusion", 8);
    choice = calloc((size_t)s.m->n_layers, sizeof *choice);
    dmq_qmodel_choice(choice, s.q);
    for (long n = 1; st != DMQ_OK; n += 1 + n / 40) {
        dmq_qmodel *q = NULL, *back = NULL;

        dmq_alloc_fail_at(n);
        st = dmq_qmodel_create(&q, s.m, choice);
        if (st == DMQ_OK)
            st = dmq_ranges_run(q, s.lanes, &(dmq_ranges_config){ .init = DMQ_RANGE_MAX });
        if (st == DMQ_OK)
            st = dmq_tables_run(q, s.calib, s.lanes, &config);
        if (st == DMQ_OK)
            st = dmq_quant_save(q, scratch(), HASH, sampler, "key");
        if (st == DMQ_OK)
            st = dmq_quant_load(&back, path, s.m, HASH, sampler);
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK || st == DMQ_ENOMEM);
        dmq_qmodel_destroy(q);
        dmq_qmodel_destroy(back);
    }
    remove(path);
    free(choice);
    dmq_sampler_destroy(sampler);
    tear_down(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_run_as_the_recipe_says),
        cmocka_unit_test(tables_differ_by_step_and_lanes_do_not_matter),
        cmocka_unit_test(eight_bits_are_harmless_and_two_are_not),
        cmocka_unit_test(later_layers_see_quantized_inputs),
        cmocka_unit_test(halves_of_a_split_layer_have_their_own_tables),
        cmocka_unit_test(other_ways_to_a_range),
        cmocka_unit_test(operands_of_attention_have_tables),
        cmocka_unit_test(what_cannot_be_is_named),
        cmocka_unit_test(a_file_gives_the_same_state),
        cmocka_unit_test(a_file_of_something_else_is_refused),
        cmocka_unit_test(running_out_of_memory_is_clean),
    };
    return cmocka_run_group_tests_name("tables", tests, NULL, NULL);
}
