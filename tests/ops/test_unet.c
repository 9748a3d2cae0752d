/*
 * The whole DDPM UNet against PyTorch: outputs at t = 1, 500, 999, gradients, and the same network one
 * unit at a time.
 *
 *   test_unet BACKEND                the small network of golden/unet.h5
 *   test_unet BACKEND FILE           the CIFAR-10 shape: golden/make_unet.py --cifar FILE
 */
#include "base/clock.h"
#include "model/ddpm_unet.h"
#include "model/model_file.h"
#include "network_test.h"
#include "tensor/layout.h"

#include <math.h>

enum { N = 3 };

static const dmq_ddpm_unet_config small = {
    .in_channels = 3,
    .out_channels = 3,
    .resolution = 16,
    .ch = 16,
    .ch_mult = { 1, 2 },
    .n_levels = 2,
    .num_res_blocks = 1,
    .attention = { 8 },
    .n_attention = 1,
    .norm_groups = 8,
    .norm_eps = 1e-6,
};

static const char *path = DMQ_GOLDEN_DIR "/unet.h5";
static dmq_model *model;
static int size;

/** An image batch of the file, in memory order. */
static dmq_real *images(const char *name, int n)
{
    size_t count = (size_t)(n * 3 * size * size);
    dmq_real *in = reals(count), *out = reals(count);

    OK(dmq_h5_read_real(in, file, name, DMQ_DIMS(n, 3, size, size)));
    dmq_nhwc_from_nchw(out, in, n, 3, size, size);
    dmq_free(in);
    return out;
}

static double relative_l2(const dmq_real *a, const dmq_real *b, size_t n)
{
    double difference = 0, norm = 0;

    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - (double)b[i];
        difference += d * d;
        norm += (double)b[i] * (double)b[i];
    }
    return sqrt(difference / norm);
}

static void same(const char *what, const dmq_real *a, const dmq_real *b, size_t n, double limit)
{
    double error = relative_l2(a, b, n);

    if (!(error <= limit))
        fail_msg("%s: relative L2 %.2e, at most %.0e", what, error, limit);
    printf("  %-44s relative L2 %.1e\n", what, error);
}

static dmq_tape *tape_with_inputs(dmq_var **x, dmq_var **t, unsigned passes)
{
    dmq_tape *tape = NULL;

    OK(dmq_tape_create(&tape, backend, passes));
    *x = dmq_tape_input(tape, "x", dmq_shape4(N, size, size, 3));
    *t = dmq_tape_input(tape, "t", dmq_shape1(N));
    return tape;
}

static void fill(dmq_var *x, dmq_var *t)
{
    dmq_real *values = images("x", N), steps[N];
    size_t bytes = dmq_shape_count(x->shape) * sizeof *values;

    OK(dmq_h5_read_real(steps, file, "t", DMQ_DIMS(N)));
    OK(backend->upload(queue, x->value, values, bytes));
    OK(backend->upload(queue, t->value, steps, sizeof steps));
    OK(backend->sync(queue));
    dmq_free(values);
}

static void output_equals_pytorch_at_every_step(void **state)
{
    (void)state;
    static const char *const at[N] = { "output at t = 1", "output at t = 500",
                                       "output at t = 999" };
    size_t per = (size_t)(3 * size * size);
    dmq_real *expected = images("output", N), *found = reals(N * per);
    dmq_var *x, *t, *y;
    double start, macs, bytes;
    dmq_tape *tape = tape_with_inputs(&x, &t, DMQ_TAPE_FORWARD);

    y = dmq_model_record(model, tape, NULL, x, t, NULL);
    assert_non_null(y);
    dmq_tape_output(tape, y);
    OK(dmq_tape_plan(tape));
    fill(x, t);
    start = dmq_clock_seconds();
    OK(dmq_tape_forward(tape, queue, DMQ_PART_ALL));
    OK(backend->sync(queue));
    dmq_tape_cost(tape, &macs, &bytes);
    printf("  one pass of %d images: %.0f ms, %.4f GMAC an image\n", N,
           1e3 * (dmq_clock_seconds() - start), macs / N * 1e-9);
    OK(backend->download(queue, found, y->value, N * per * sizeof *found));
    OK(backend->sync(queue));
    for (int i = 0; i < N; i++)
        same(at[i], found + (size_t)i * per, expected + (size_t)i * per, per, 1e-5);
    dmq_free(expected);
    dmq_free(found);
    dmq_tape_destroy(tape);
}

/* Every unit on a tape of its own, values handed from one to the next: as reconstruction does. */
static void one_unit_at_a_time_gives_the_same(void **state)
{
    (void)state;
    size_t per = (size_t)(3 * size * size);
    dmq_real *expected = images("output", N), *value[512] = { 0 };
    dmq_real steps[N];

    assert_true(model->n_values <= 512);
    OK(dmq_h5_read_real(steps, file, "t", DMQ_DIMS(N)));
    value[0] = images("x", N);
    for (int i = 0; i < model->n_units; i++) {
        const dmq_unit *u = &model->unit[i];
        const int reads[3] = { u->in[0], u->in[1], u->emb };
        dmq_var *in[3] = { 0 }, *out[512] = { 0 };
        dmq_tape *tape = NULL;

        OK(dmq_tape_create(&tape, backend, DMQ_TAPE_FORWARD));
        if (u->kind == DMQ_UNIT_TEMPORAL) {
            in[0] = dmq_tape_input(tape, "t", dmq_shape1(N));
            OK(dmq_model_record_temporal(model, tape, NULL, in[0], NULL, out));
        } else {
            for (int k = 0; k < 3; k++) {
                dmq_shape shape;
                if (reads[k] < 0)
                    continue;
                shape = model->value[reads[k]].shape;
                shape.dim[0] = N;
                in[k] = dmq_tape_input(tape, "in", shape);
            }
            out[u->out] = dmq_model_record_unit(model, i, tape, NULL, in[0], in[1], in[2]);
        }
        for (int v = 0; v < model->n_values; v++) {
            if (out[v])
                dmq_tape_output(tape, out[v]);
        }
        OK(dmq_tape_plan(tape));
        for (int k = 0; k < 3; k++) {
            if (in[k]) {
                OK(backend->upload(queue, in[k]->value,
                                   u->kind == DMQ_UNIT_TEMPORAL ? steps : value[reads[k]],
                                   dmq_shape_count(in[k]->shape) * sizeof(dmq_real)));
            }
        }
        OK(dmq_tape_forward(tape, queue, DMQ_PART_ALL));
        for (int v = 0; v < model->n_values; v++) {
            size_t n;
            if (!out[v])
                continue;
            n = dmq_shape_count(out[v]->shape);
            assert_int_equal(n, N * dmq_shape_count(model->value[v].shape));
            value[v] = reals(n);
            OK(backend->download(queue, value[v], out[v]->value, n * sizeof(dmq_real)));
            OK(backend->sync(queue));
        }
        dmq_tape_destroy(tape);
    }
    same("output by units", value[model->output], expected, N * per, 1e-5);
    if (dmq_h5_has(file, "mid")) { /* output of mid.block_2 for the first image, NCHW */
        int v = -1;
        dmq_real *mid, *told;
        for (int i = 0; i < model->n_units; i++) {
            if (strcmp(model->unit[i].name, "mid.block_2") == 0)
                v = model->unit[i].out;
        }
        mid = reals(dmq_shape_count(model->value[v].shape));
        told = reals(dmq_shape_count(model->value[v].shape));
        OK(dmq_h5_read_real(told, file, "mid", DMQ_DIMS(1, 32, 8, 8)));
        dmq_nhwc_from_nchw(mid, told, 1, 32, 8, 8);
        same("mid.block_2", value[v], mid, 32 * 64, 1e-5);
        dmq_free(mid);
        dmq_free(told);
    }
    for (int v = 0; v < 512; v++)
        dmq_free(value[v]);
    dmq_free(expected);
}

static void compare_gradient(const dmq_real *grads, const char *name)
{
    const dmq_entry *e = dmq_model_entry(model, name);
    char label[2 * DMQ_NAME_MAX];
    dmq_h5_info info;
    dmq_real *told, *g;

    snprintf(label, sizeof label, "grad/%s", name);
    assert_non_null(e);
    OK(dmq_h5_shape(&info, file, label));
    told = reals((size_t)info.count);
    g = reals((size_t)info.count);
    OK(dmq_h5_read_real(told, file, label, info.rank, info.dims));
    if (e->rank4) {
        dmq_nhwc_from_nchw(g, told, (int)info.dims[0], (int)info.dims[1], (int)info.dims[2],
                           (int)info.dims[3]);
    } else
        memcpy(g, told, (size_t)info.count * sizeof *g);
    same(label, grads + e->offset, g, (size_t)info.count, 2e-5);
    dmq_free(told);
    dmq_free(g);
}

static void gradients_equal_pytorch(void **state)
{
    (void)state;
    dmq_h5_names names;
    dmq_var *x, *t, *y;
    dmq_tape *tape;
    size_t count = (size_t)(N * 3 * size * size);
    dmq_real *u, *expected, *grads, *host, *dx;
    void *device = NULL;

    if (!dmq_h5_has(file, "u")) {
        printf("  %s holds no gradients\n", path);
        skip();
    }
    u = images("u", N);
    expected = images("grad/x", N);
    host = reals(model->n_params);
    dx = reals(count);
    OK(backend->alloc(&device, model->n_params * sizeof *grads));
    grads = device;
    tape = tape_with_inputs(&x, &t, DMQ_TAPE_BACKWARD);
    dmq_tape_want_grad(tape, x);
    model->as_params = 1;
    y = dmq_model_record(model, tape, NULL, x, t, NULL);
    model->as_params = 0;
    dmq_tape_output(tape, y);
    OK(dmq_tape_plan(tape));
    dmq_tape_bind(tape, grads, NULL);
    fill(x, t);
    OK(dmq_tape_forward(tape, queue, DMQ_PART_ALL));
    OK(backend->upload(queue, y->grad, u, count * sizeof *u));
    OK(dmq_tape_backward(tape, queue));
    OK(backend->download(queue, host, grads, model->n_params * sizeof *host));
    OK(backend->download(queue, dx, x->grad, count * sizeof *dx));
    OK(backend->sync(queue));
    same("grad/x", dx, expected, count, 2e-5);
    OK(dmq_h5_list(&names, file, "grad"));
    for (int i = 0; i < names.count; i++) {
        if (strcmp(names.name[i], "x") != 0)
            compare_gradient(host, names.name[i]);
    }
    dmq_h5_names_release(&names);
    dmq_tape_destroy(tape);
    backend->free(device);
    dmq_free(host);
    dmq_free(dx);
    dmq_free(u);
    dmq_free(expected);
}

static int set_up(void **state)
{
    const dmq_ddpm_unet_config *config =
        strstr(path, "golden/unet.h5") ? &small : &dmq_ddpm_unet_cifar10;
    (void)state;
    size = config->resolution;
    network_open(path);
    OK(dmq_ddpm_unet_create(&model, config));
    OK(dmq_model_block_read(model->params, file, "model", model));
    OK(dmq_model_place(model, lanes));
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
        cmocka_unit_test(output_equals_pytorch_at_every_step),
        cmocka_unit_test(one_unit_at_a_time_gives_the_same),
        cmocka_unit_test(gradients_equal_pytorch),
    };
    const char *name = argc > 1 ? argv[1] : "ref";
    int failed;

    if (argc > 2)
        path = argv[2];
    failed = network_backend(name);
    if (failed)
        return failed;
    failed = cmocka_run_group_tests(tests, set_up, tear_down);
    backend->queue_destroy(queue);
    return failed;
}
