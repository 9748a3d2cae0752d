/*
 * The UNet of latent diffusion against PyTorch: outputs at t = 1, 500, 999, gradients, and the same network
 * one unit at a time.
 *
 *   test_ldm_unet BACKEND              the small networks of golden/ldm_unet.h5
 *   test_ldm_unet BACKEND NAME FILE    a published size: golden/make_ldm_unet.py --full beds|cin|church FILE
 */
#include "base/clock.h"
#include "model/ldm_unet.h"
#include "model/model_file.h"
#include "network_test.h"
#include "tensor/layout.h"

#include <math.h>

enum { N = 3, VALUES = 1024 };

static const dmq_ldm_unet_config small_beds = { .in_channels = 3,
                                                .out_channels = 3,
                                                .resolution = 8,
                                                .model_channels = 8,
                                                .channel_mult = { 1, 2 },
                                                .n_levels = 2,
                                                .num_res_blocks = 1,
                                                .attention = { 2 },
                                                .n_attention = 1,
                                                .num_head_channels = 8,
                                                .norm_groups = 4 };

static const dmq_ldm_unet_config small_cin = { .in_channels = 3,
                                               .out_channels = 3,
                                               .resolution = 8,
                                               .model_channels = 8,
                                               .channel_mult = { 1, 2 },
                                               .n_levels = 2,
                                               .num_res_blocks = 1,
                                               .attention = { 2 },
                                               .n_attention = 1,
                                               .num_heads = 2,
                                               .context_dim = 12,
                                               .n_classes = 6,
                                               .norm_groups = 4 };

static const dmq_ldm_unet_config small_church = { .in_channels = 4,
                                                  .out_channels = 4,
                                                  .resolution = 8,
                                                  .model_channels = 8,
                                                  .channel_mult = { 1, 2 },
                                                  .n_levels = 2,
                                                  .num_res_blocks = 1,
                                                  .attention = { 1, 2 },
                                                  .n_attention = 2,
                                                  .num_heads = 4,
                                                  .scale_shift = 1,
                                                  .resblock_updown = 1,
                                                  .norm_groups = 4 };

static const struct {
    const char *name;
    const dmq_ldm_unet_config *small, *full;
} networks[] = {
    { "beds", &small_beds, &dmq_ldm_unet_beds },
    { "cin", &small_cin, &dmq_ldm_unet_cin },
    { "church", &small_church, &dmq_ldm_unet_church },
};

static const char *path = DMQ_GOLDEN_DIR "/ldm_unet.h5", *only;

/* The network under test. */
static const char *name;
static dmq_model *model;
static int size, channels;
static size_t per;

static const char *key(const char *part)
{
    static char text[4][3 * DMQ_NAME_MAX];
    static int next;
    char *out = text[next++ % 4];

    snprintf(out, sizeof text[0], "%s/%s", name, part);
    return out;
}

/** An image batch of the file, in memory order. */
static dmq_real *images(const char *part)
{
    dmq_real *in = reals(N * per), *out = reals(N * per);

    OK(dmq_h5_read_real(in, file, key(part), DMQ_DIMS(N, channels, size, size)));
    dmq_nhwc_from_nchw(out, in, N, channels, size, size);
    dmq_free(in);
    return out;
}

static void same(const char *what, const dmq_real *a, const dmq_real *b, size_t n, double limit)
{
    double difference = 0, norm = 0, error;

    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - (double)b[i];
        difference += d * d;
        norm += (double)b[i] * (double)b[i];
    }
    error = sqrt(difference / norm);
    if (!(error <= limit))
        fail_msg("%s: %s: relative L2 %.2e, at most %.0e", name, what, error, limit);
    if (limit < 2e-5)
        printf("  %-8s %-36s relative L2 %.1e\n", name, what, error);
}

typedef struct inputs {
    dmq_tape *tape;
    dmq_var *x, *t;
    dmq_index *label;
} inputs;

static inputs open_tape(unsigned passes)
{
    inputs in = { 0 };

    OK(dmq_tape_create(&in.tape, backend, passes));
    in.x = dmq_tape_input(in.tape, "x", dmq_shape4(N, size, size, channels));
    in.t = dmq_tape_input(in.tape, "t", dmq_shape1(N));
    if (model->n_labels > 0)
        in.label = dmq_tape_index(in.tape, "label", N);
    return in;
}

static void fill_conditions(dmq_tape *tape, dmq_var *t, dmq_index *label)
{
    dmq_real steps[N];
    int labels[N];

    OK(dmq_h5_read_real(steps, file, key("t"), DMQ_DIMS(N)));
    OK(backend->upload(queue, t->value, steps, sizeof steps));
    if (label) {
        OK(dmq_h5_read_i32(labels, file, key("label"), DMQ_DIMS(N)));
        OK(dmq_tape_index_set(tape, label, queue, labels));
    }
    OK(backend->sync(queue));
}

static void fill(const inputs *in)
{
    dmq_real *x = images("x");

    fill_conditions(in->tape, in->t, in->label);
    OK(backend->upload(queue, in->x->value, x, N * per * sizeof *x));
    OK(backend->sync(queue));
    dmq_free(x);
}

/* The network on x, t and label of the file, through hooks or not: (N, per), the caller's. */
static dmq_real *run_network(const dmq_hooks *hooks)
{
    dmq_real *found = reals(N * per);
    inputs in = open_tape(DMQ_TAPE_FORWARD);
    double start, macs, bytes;
    dmq_var *y = dmq_model_record(model, in.tape, hooks, in.x, in.t, in.label);

    dmq_tape_output(in.tape, y);
    OK(dmq_tape_plan(in.tape));
    fill(&in);
    start = dmq_clock_seconds();
    OK(dmq_tape_forward(in.tape, queue, DMQ_PART_ALL));
    OK(backend->sync(queue));
    dmq_tape_cost(in.tape, &macs, &bytes);
    printf("  %-8s one pass of %d: %.0f ms, %.4f GMAC each, slab %.1f MiB\n", name, N,
           1e3 * (dmq_clock_seconds() - start), macs / N * 1e-9,
           (double)dmq_tape_bytes(in.tape) / 1048576);
    OK(backend->download(queue, found, y->value, N * per * sizeof *found));
    OK(backend->sync(queue));
    dmq_tape_destroy(in.tape);
    return found;
}

static void check_outputs(void)
{
    static const char *const at[N] = { "t = 1", "t = 500", "t = 999" };
    dmq_real *expected = images("output"), *found = run_network(NULL);

    for (size_t i = 0; i < N; i++)
        same(at[i], found + i * per, expected + i * per, per, 1e-5);
    dmq_free(expected);
    dmq_free(found);
}

static int is_operand(void *context, const dmq_layer *layer)
{
    (void)context;
    return layer->kind == DMQ_LAYER_OPERAND;
}

static dmq_var *count_operand(void *context, dmq_tape *tape, const dmq_layer *layer, dmq_var *x)
{
    int *count = context;

    if (layer->kind != DMQ_LAYER_OPERAND)
        return x;
    count[layer->index]++;
    return dmq_record_unary(tape, DMQ_IDENTITY, x);
}

/* Taken apart for a hook that leaves every operand as it is. */
static void check_operands(void)
{
    int count[VALUES] = { 0 };
    const dmq_hooks hooks = { .context = count, .input = count_operand, .wants = is_operand };
    dmq_real *expected = images("output"), *found = run_network(&hooks);

    same("operands apart", found, expected, N * per, 1e-5);
    assert_true(model->n_layers <= VALUES);
    for (int i = 0; i < model->n_layers; i++)
        assert_int_equal(count[i], model->layer[i].kind == DMQ_LAYER_OPERAND);
    dmq_free(expected);
    dmq_free(found);
}

/* One unit on a tape of its own, with its inputs as they were made before. */
static void run_unit(int number, dmq_real **value)
{
    const dmq_unit *u = &model->unit[number];
    const int reads[3] = { u->in[0], u->in[1], u->emb };
    dmq_var *in[3] = { 0 }, *out[VALUES] = { 0 };
    dmq_tape *tape = NULL;

    OK(dmq_tape_create(&tape, backend, DMQ_TAPE_FORWARD));
    if (u->kind == DMQ_UNIT_TEMPORAL) {
        dmq_var *t = dmq_tape_input(tape, "t", dmq_shape1(N));
        dmq_index *label = model->n_labels > 0 ? dmq_tape_index(tape, "label", N) : NULL;

        OK(dmq_model_record_temporal(model, tape, NULL, t, label, out));
        for (int v = 0; v < model->n_values; v++) {
            if (out[v])
                dmq_tape_output(tape, out[v]);
        }
        OK(dmq_tape_plan(tape));
        fill_conditions(tape, t, label);
    } else {
        for (int k = 0; k < 3; k++) {
            dmq_shape shape;
            if (reads[k] < 0)
                continue;
            shape = model->value[reads[k]].shape;
            shape.dim[0] = N;
            in[k] = dmq_tape_input(tape, "in", shape);
        }
        out[u->out] = dmq_model_record_unit(model, number, tape, NULL, in[0], in[1], in[2]);
        dmq_tape_output(tape, out[u->out]);
        OK(dmq_tape_plan(tape));
        for (int k = 0; k < 3; k++) {
            if (in[k])
                OK(backend->upload(queue, in[k]->value, value[reads[k]],
                                   dmq_shape_count(in[k]->shape) * sizeof(dmq_real)));
        }
    }
    OK(dmq_tape_forward(tape, queue, DMQ_PART_ALL));
    for (int v = 0; v < model->n_values; v++) {
        dmq_shape shape = model->value[v].shape;

        if (!out[v])
            continue;
        shape.dim[0] = N;
        assert_true(dmq_shape_equal(out[v]->shape, shape));
        assert_null(value[v]);
        value[v] = reals(dmq_shape_count(shape));
        OK(backend->download(queue, value[v], out[v]->value,
                             dmq_shape_count(shape) * sizeof(dmq_real)));
        OK(backend->sync(queue));
    }
    dmq_tape_destroy(tape);
}

static void check_units(void)
{
    dmq_real *expected = images("output"), *value[VALUES] = { 0 };

    assert_true(model->n_values <= VALUES);
    value[0] = images("x");
    for (int i = 0; i < model->n_units; i++)
        run_unit(i, value);
    same("by units", value[model->output], expected, N * per, 1e-5);
    for (int v = 0; v < VALUES; v++)
        dmq_free(value[v]);
    dmq_free(expected);
}

/*
 * Gradients of norms and biases of every layer. Those of the projections that nothing reads are zero in
 * PyTorch and none here.
 */
static void check_gradients(void)
{
    dmq_real *u = images("u"), *expected = images("grad/x"), *dx = reals(N * per);
    dmq_real *host = reals(model->n_params), *grads = NULL;
    inputs in = open_tape(DMQ_TAPE_BACKWARD);
    dmq_h5_names names;
    dmq_var *y;

    OK(backend->alloc((void **)&grads, model->n_params * sizeof *grads));
    dmq_tape_want_grad(in.tape, in.x);
    model->as_params = 1;
    y = dmq_model_record(model, in.tape, NULL, in.x, in.t, in.label);
    model->as_params = 0;
    dmq_tape_output(in.tape, y);
    OK(dmq_tape_plan(in.tape));
    dmq_tape_bind(in.tape, grads, NULL);
    fill(&in);
    OK(dmq_tape_forward(in.tape, queue, DMQ_PART_ALL));
    OK(backend->upload(queue, y->grad, u, N * per * sizeof *u));
    OK(dmq_tape_backward(in.tape, queue));
    OK(backend->download(queue, host, grads, model->n_params * sizeof *host));
    OK(backend->download(queue, dx, in.x->grad, N * per * sizeof *dx));
    OK(backend->sync(queue));
    same("gradient of x", dx, expected, N * per, 2e-5);
    OK(dmq_h5_list(&names, file, key("grad")));
    assert_true(names.count > 40);
    for (int i = 0; i < names.count; i++) {
        const dmq_entry *e = dmq_model_entry(model, names.name[i]);
        char part[2 * DMQ_NAME_MAX];
        dmq_real *told;
        size_t count;

        if (strcmp(names.name[i], "x") == 0 || strstr(names.name[i], "0.norm2."))
            continue;
        snprintf(part, sizeof part, "grad/%s", names.name[i]);
        assert_non_null(e);
        count = dmq_shape_count(e->shape);
        told = reals(count);
        OK(dmq_h5_read_real(told, file, key(part), DMQ_DIMS((int64_t)count)));
        same(names.name[i], host + e->offset, told, count, 3e-5);
        dmq_free(told);
    }
    dmq_h5_names_release(&names);
    dmq_tape_destroy(in.tape);
    backend->free(grads);
    dmq_free(host);
    dmq_free(dx);
    dmq_free(u);
    dmq_free(expected);
}

/* What to_q, to_k and norm2 of the attention over one token hold changes nothing. */
static void check_idle(void)
{
    int changed = 0;

    for (int i = 0; i < model->n_entries; i++) {
        const dmq_entry *e = &model->entry[i];

        if (!strstr(e->name, "attn2.to_q") && !strstr(e->name, "attn2.to_k") &&
            !strstr(e->name, "0.norm2."))
            continue;
        changed++;
        for (size_t k = 0; k < dmq_shape_count(e->shape); k++)
            model->params[e->offset + k] = (dmq_real)(k % 7) - 3;
    }
    assert_true(changed > 0 && changed % 4 == 0);
    OK(dmq_model_place(model, lanes));
    check_outputs();
}

static void with_network(size_t i, void (*check)(void))
{
    const dmq_ldm_unet_config *config = only ? networks[i].full : networks[i].small;

    if (only && strcmp(only, networks[i].name) != 0)
        return;
    name = networks[i].name;
    size = config->resolution;
    channels = config->in_channels;
    OK(dmq_ldm_unet_create(&model, config));
    per = dmq_shape_count(model->input);
    OK(dmq_model_block_read(model->params, file, key("model"), model));
    OK(dmq_model_place(model, lanes));
    check();
    dmq_model_destroy(model);
    model = NULL;
}

static void outputs_are_pytorchs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof networks / sizeof *networks; i++)
        with_network(i, check_outputs);
}

static void one_unit_at_a_time_gives_the_same(void **state)
{
    (void)state;
    if (strcmp(backend->name, "simt") == 0)
        skip(); /* the same kernels, a unit a tape */
    for (size_t i = 0; i < sizeof networks / sizeof *networks && !only; i++)
        with_network(i, check_units);
}

static void gradients_are_pytorchs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof networks / sizeof *networks && !only; i++)
        with_network(i, check_gradients);
}

static void operands_can_be_taken_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof networks / sizeof *networks && !only; i++)
        with_network(i, check_operands);
}

static void one_token_makes_its_queries_idle(void **state)
{
    (void)state;
    if (!only)
        with_network(1, check_idle);
}

static int set_up(void **state)
{
    (void)state;
    network_open(path);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dmq_model_destroy(model);
    network_close();
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_are_pytorchs),
        cmocka_unit_test(one_unit_at_a_time_gives_the_same),
        cmocka_unit_test(gradients_are_pytorchs),
        cmocka_unit_test(operands_can_be_taken_apart),
        cmocka_unit_test(one_token_makes_its_queries_idle),
    };
    const char *on = argc > 1 ? argv[1] : "ref";
    int failed;

    if (argc > 3) {
        only = argv[2];
        path = argv[3];
    }
    failed = network_backend(on);
    if (failed)
        return failed;
    failed = cmocka_run_group_tests(tests, set_up, tear_down);
    backend->queue_destroy(queue);
    return failed;
}
