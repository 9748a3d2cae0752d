/*
 * DiT against PyTorch: outputs at t = 1, 500, 999 with and without a class, gradients, the same network one
 * unit at a time, and tangents against gradients.
 *
 *   test_dit BACKEND                the small network of golden/dit.h5
 *   test_dit BACKEND FILE           the released shape: golden/make_dit.py --full FILE
 */
#include "base/clock.h"
#include "model/dit.h"
#include "model/model_file.h"
#include "network_test.h"
#include "tensor/layout.h"

#include <math.h>
#include <sys/resource.h>

enum { N = 3, VALUES = 128 };

static const dmq_dit_config small = {
    .in_channels = 4,
    .out_channels = 8,
    .resolution = 8,
    .patch = 2,
    .hidden = 24,
    .depth = 2,
    .heads = 3,
    .n_classes = 5,
};

static const char *path = DMQ_GOLDEN_DIR "/dit.h5";
static dmq_model *model;
static int size;

/** Numbers of so many channels. */
static size_t pixels_of(int channels)
{
    return (size_t)channels * (size_t)size * (size_t)size;
}

/** An array (N, c, size, size) of the file, in memory order. */
static dmq_real *images(const char *name, int c)
{
    size_t count = pixels_of(N * c);
    dmq_real *in = reals(count), *out = reals(count);

    OK(dmq_h5_read_real(in, file, name, DMQ_DIMS(N, c, size, size)));
    dmq_nhwc_from_nchw(out, in, N, c, size, size);
    dmq_free(in);
    return out;
}

static void same(const char *what, const dmq_real *a, const dmq_real *b, size_t n, double limit)
{
    double difference = 0, norm = 0;

    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - (double)b[i];

        difference += d * d;
        norm += (double)b[i] * (double)b[i];
    }
    printf("  %-44s relative L2 %.1e\n", what, sqrt(difference / norm));
    if (!(sqrt(difference / norm) <= limit))
        fail_msg("%s: relative L2 %.2e, at most %.0e", what, sqrt(difference / norm), limit);
}

/** A tape with inputs x, t and label. */
typedef struct network {
    dmq_tape *tape;
    dmq_var *x, *t, *y;
    dmq_index *label;
} network;

static network network_begin(unsigned passes)
{
    network n = { 0 };

    OK(dmq_tape_create(&n.tape, backend, passes));
    n.x = dmq_tape_input(n.tape, "x", dmq_shape4(N, size, size, 4));
    n.t = dmq_tape_input(n.tape, "t", dmq_shape1(N));
    n.label = dmq_tape_index(n.tape, "label", N);
    return n;
}

static void network_finish(network *n)
{
    n->y = dmq_model_record(model, n->tape, NULL, n->x, n->t, n->label);
    if (n->y)
        dmq_tape_output(n->tape, n->y);
    OK(dmq_tape_plan(n->tape));
}

static void network_fill(const network *n)
{
    dmq_real *values = images("x", 4), steps[N];
    int label[N];

    OK(dmq_h5_read_real(steps, file, "t", DMQ_DIMS(N)));
    OK(dmq_h5_read_i32(label, file, "label", DMQ_DIMS(N)));
    OK(backend->upload(queue, n->x->value, values, dmq_shape_count(n->x->shape) * sizeof *values));
    OK(backend->upload(queue, n->t->value, steps, sizeof steps));
    OK(dmq_tape_index_set(n->tape, n->label, queue, label));
    OK(backend->sync(queue));
    dmq_free(values);
}

static void output_equals_pytorch_at_every_step(void **state)
{
    static const char *const at[N] = { "output at t = 1", "output at t = 500",
                                       "output at t = 999, no class" };
    size_t per = pixels_of(8);
    dmq_real *expected = images("output", 8), *found = reals(N * per);
    network n = network_begin(DMQ_TAPE_FORWARD);
    struct rusage used;
    double start, macs, bytes;

    (void)state;
    network_finish(&n);
    network_fill(&n);
    start = dmq_clock_seconds();
    OK(dmq_tape_forward(n.tape, queue, DMQ_PART_ALL));
    OK(backend->sync(queue));
    dmq_tape_cost(n.tape, &macs, &bytes);
    (void)getrusage(RUSAGE_SELF, &used);
    printf("  one pass of %d images: %.0f ms, %.4f GMAC an image, peak %.0f MiB\n", N,
           1e3 * (dmq_clock_seconds() - start), macs / N * 1e-9, (double)used.ru_maxrss / 1024);
    OK(backend->download(queue, found, n.y->value, N * per * sizeof *found));
    OK(backend->sync(queue));
    for (int i = 0; i < N; i++)
        same(at[i], found + (size_t)i * per, expected + (size_t)i * per, per, 1e-5);
    dmq_free(expected);
    dmq_free(found);
    dmq_tape_destroy(n.tape);
}

/** What one unit makes of values, on a tape of its own. */
static void run_unit(const dmq_unit *u, dmq_real **value, const dmq_real *steps, const int *label)
{
    const int reads[2] = { u->in[0], u->emb };
    dmq_var *in[2] = { 0 }, *out[VALUES] = { 0 };
    dmq_index *index;
    dmq_tape *tape = NULL;

    OK(dmq_tape_create(&tape, backend, DMQ_TAPE_FORWARD));
    index = dmq_tape_index(tape, "label", N);
    if (u->kind == DMQ_UNIT_TEMPORAL) {
        in[0] = dmq_tape_input(tape, "t", dmq_shape1(N));
        OK(dmq_model_record_temporal(model, tape, NULL, in[0], index, out));
    } else {
        for (int k = 0; k < 2; k++) {
            dmq_shape shape;

            if (reads[k] < 0)
                continue;
            shape = model->value[reads[k]].shape;
            shape.dim[0] = N;
            in[k] = dmq_tape_input(tape, "in", shape);
        }
        out[u->out] = dmq_model_record_unit(model, u->index, tape, NULL, in[0], NULL, in[1]);
    }
    for (int v = 0; v < model->n_values; v++) {
        if (out[v])
            dmq_tape_output(tape, out[v]);
    }
    OK(dmq_tape_plan(tape));
    OK(dmq_tape_index_set(tape, index, queue, label));
    for (int k = 0; k < 2; k++) {
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

static void one_unit_at_a_time_gives_the_same(void **state)
{
    dmq_real *expected = images("output", 8), *value[VALUES] = { 0 }, steps[N];
    int label[N];

    (void)state;
    assert_true(model->n_values <= VALUES);
    OK(dmq_h5_read_real(steps, file, "t", DMQ_DIMS(N)));
    OK(dmq_h5_read_i32(label, file, "label", DMQ_DIMS(N)));
    value[0] = images("x", 4);
    for (int i = 0; i < model->n_units; i++)
        run_unit(&model->unit[i], value, steps, label);
    same("output by units", value[model->output], expected, pixels_of(N * 8), 1e-5);
    for (int v = 0; v < VALUES; v++)
        dmq_free(value[v]);
    dmq_free(expected);
}

static void compare_gradient(const dmq_real *grads, const char *name)
{
    const dmq_entry *e = dmq_model_entry(model, name);
    char label[2 * DMQ_NAME_MAX];
    dmq_h5_info info;
    dmq_real *told, *g;

    (void)snprintf(label, sizeof label, "grad/%s", name);
    assert_non_null(e);
    OK(dmq_h5_shape(&info, file, label));
    told = reals((size_t)info.count);
    g = reals((size_t)info.count);
    OK(dmq_h5_read_real(told, file, label, info.rank, info.dims));
    if (e->rank4) {
        dmq_nhwc_from_nchw(g, told, (int)info.dims[0], (int)info.dims[1], (int)info.dims[2],
                           (int)info.dims[3]);
    } else {
        memcpy(g, told, (size_t)info.count * sizeof *g);
    }
    same(label, grads + e->offset, g, (size_t)info.count, 2e-5);
    dmq_free(told);
    dmq_free(g);
}

static double dot(const dmq_real *a, const dmq_real *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* Gradients are PyTorch's, and <u, J v> = <J^T u, v> with v a tangent of x and of all parameters. */
static void derivatives_are_pytorchs(void **state)
{
    size_t count = pixels_of(N * 4), all = model->n_params;
    dmq_real *u, *dx, *host, *v, *v_x, *jv;
    void *grads = NULL, *tangents = NULL;
    dmq_h5_names names;
    double left, right;
    network n;

    (void)state;
    if (!dmq_h5_has(file, "u")) {
        printf("  %s holds no gradients\n", path);
        skip();
    }
    u = images("u", 8);
    dx = images("grad/x", 4);
    host = reals(all);
    v = reals(all);
    v_x = reals(count);
    jv = reals(2 * count);
    for (size_t i = 0; i < all; i++)
        v[i] = (dmq_real)(dmq_uniform(3, DMQ_FOR_TEST, 0, 0, (uint32_t)i) - 0.5);
    for (size_t i = 0; i < count; i++)
        v_x[i] = (dmq_real)(dmq_uniform(3, DMQ_FOR_TEST, 1, 0, (uint32_t)i) - 0.5);
    OK(backend->alloc(&grads, all * sizeof *host));
    OK(backend->alloc(&tangents, all * sizeof *host));
    OK(backend->upload(queue, tangents, v, all * sizeof *v));
    n = network_begin(DMQ_TAPE_BACKWARD | DMQ_TAPE_JVP);
    dmq_tape_want_grad(n.tape, n.x);
    dmq_tape_want_tan(n.tape, n.x);
    model->as_params = 1;
    network_finish(&n);
    model->as_params = 0;
    dmq_tape_bind(n.tape, grads, tangents);
    network_fill(&n);
    OK(dmq_tape_forward(n.tape, queue, DMQ_PART_ALL));
    OK(backend->upload(queue, n.y->grad, u, 2 * count * sizeof *u));
    OK(dmq_tape_backward(n.tape, queue));
    OK(backend->upload(queue, n.x->tan, v_x, count * sizeof *v_x));
    OK(dmq_tape_jvp(n.tape, queue));
    OK(backend->download(queue, host, grads, all * sizeof *host));
    OK(backend->download(queue, jv, n.y->tan, 2 * count * sizeof *jv));
    OK(backend->sync(queue));
    right = 0;
    for (int i = 0; i < model->n_entries; i++) {
        const dmq_entry *e = &model->entry[i];

        right += dot(host + e->offset, v + e->offset, dmq_shape_count(e->shape));
    }
    OK(dmq_h5_list(&names, file, "grad"));
    for (int i = 0; i < names.count; i++) {
        if (strcmp(names.name[i], "x") != 0)
            compare_gradient(host, names.name[i]);
    }
    dmq_h5_names_release(&names);
    OK(backend->download(queue, host, n.x->grad, count * sizeof *host));
    OK(backend->sync(queue));
    same("grad/x", host, dx, count, 2e-5);
    right += dot(host, v_x, count);
    left = dot(u, jv, 2 * count);
    printf("  <u, J v> = %.7g, <J^T u, v> = %.7g\n", left, right);
    assert_true(fabs(left - right) <=
                2e-6 * sqrt(dot(u, u, 2 * count)) * sqrt(dot(jv, jv, 2 * count)));
    dmq_tape_destroy(n.tape);
    backend->free(grads);
    backend->free(tangents);
    dmq_free(u);
    dmq_free(dx);
    dmq_free(host);
    dmq_free(v);
    dmq_free(v_x);
    dmq_free(jv);
}

static int set_up(void **state)
{
    const dmq_dit_config *config = strstr(path, "golden/dit.h5") ? &small : &dmq_dit_xl2_256;

    (void)state;
    size = config->resolution;
    network_open(path);
    OK(dmq_dit_create(&model, config));
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
        cmocka_unit_test(derivatives_are_pytorchs),
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
