/* Convolutions in tf32 and fp16: operands lose bits, sums do not. Whole numbers that fit a mantissa of ten bits
   are exact in all of them. */
#include "ops/op_conv2d.h"

#include "backend/cuda.h"

static const dmq_precision precisions[] = { DMQ_TF32, DMQ_FP16 };
static const char *const titles[] = { "tf32", "fp16" };

/* Padding of either side and of one; channels that halves are taken in, and others. */
static const conv2d_shape shapes[] = {
    { 2, 8, 8, 16, 32, 3, 3, 1, 1, 1, 1, 1, 1 }, { 3, 9, 7, 8, 24, 3, 3, 2, 0, 0, 1, 1, 1 },
    { 2, 6, 5, 3, 16, 3, 3, 1, 1, 1, 1, 1, 1 },  { 2, 7, 7, 12, 20, 3, 3, 2, 1, 1, 1, 1, 0 },
    { 2, 8, 8, 24, 40, 1, 1, 1, 0, 0, 0, 0, 1 }, { 1, 5, 8, 16, 8, 2, 4, 1, 1, 2, 0, 1, 1 },
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void set_precision(dmq_precision precision)
{
    CHECK_OK(dmq_backend_precision(check_device.backend, precision));
}

static void whole(dmq_real *x, size_t count, uint64_t *stream)
{
    for (size_t i = 0; i < count; i++)
        x[i] = (dmq_real)check_whole(stream, -9, 9);
}

static void whole_numbers_are_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * SHAPES; i++) {
        check_op op = conv2d_op(&shapes[i / 2]);
        uint64_t stream = check_stream(i);
        check_arrays in = check_op_arrays(&op, NULL);
        check_arrays got = check_op_arrays(&op, NULL), want = check_op_arrays(&op, NULL);
        dmq_real *y = check_reals(op.count_out), *dy = check_reals(op.count_out);
        dmq_real *y_ref = check_reals(op.count_out);

        set_precision(precisions[i % 2]);
        for (int k = 0; k < 3; k++)
            whole(in.at[k], op.count_in[k], &stream);
        whole(dy, op.count_out, &stream);
        for (int add = 0; add < 2; add++) { /* then once more on top of it */
            op.forward(&op, &check_ref, in.at, y_ref, add);
            op.backward(&op, &check_ref, in.at, dy, want.at, add);
            op.forward(&op, &check_device, in.at, y, add);
            op.backward(&op, &check_device, in.at, dy, got.at, add);
            check_equal("y", y, y_ref, op.count_out);
            for (int k = 0; k < 3; k++)
                check_equal(k == 0   ? "dx"
                            : k == 1 ? "dw"
                                     : "dbias",
                            got.at[k], want.at[k], op.count_in[k]);
        }
        (void)check_release(NULL);
    }
}

/* The worst difference, in units of the largest wanted number. */
static double off_by(const dmq_real *got, const dmq_real *want, size_t count)
{
    double worst = 0, most = 0;

    for (size_t i = 0; i < count; i++) {
        worst = fmax(worst, fabs((double)got[i] - (double)want[i]));
        most = fmax(most, fabs((double)want[i]));
        assert_true(!isnan(got[i]));
    }
    return worst / most;
}

/* Gradients that no half could hold; operands rounded to 2^-11 of themselves are seen in the results, and the
   results are rounded to no half. */
static void operands_are_rounded_and_sums_are_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * SHAPES; i++) {
        check_op op = conv2d_op(&shapes[i / 2]);
        uint64_t stream = check_stream(40 + i);
        check_arrays in = check_op_arrays(&op, &stream), got = check_op_arrays(&op, NULL);
        check_arrays want = check_op_arrays(&op, NULL);
        dmq_real *y = check_reals(op.count_out), *y_ref = check_reals(op.count_out);
        dmq_real *dy = check_random(op.count_out, &stream);
        double off[3];

        set_precision(precisions[i % 2]);
        for (size_t k = 0; k < op.count_out; k++)
            dy[k] *= (dmq_real)1e-9;
        for (size_t k = 0; k < op.count_in[0]; k++)
            in.at[0][k] *= 3000;
        op.forward(&op, &check_ref, in.at, y_ref, false);
        op.backward(&op, &check_ref, in.at, dy, want.at, false);
        op.forward(&op, &check_device, in.at, y, false);
        op.backward(&op, &check_device, in.at, dy, got.at, false);
        off[0] = off_by(y, y_ref, op.count_out);
        off[1] = off_by(got.at[0], want.at[0], op.count_in[0]);
        off[2] = off_by(got.at[1], want.at[1], op.count_in[1]);
        print_message("%s, %d to %d channels: y %.1e, dx %.1e, dw %.1e\n", titles[i % 2],
                      shapes[i / 2].c, shapes[i / 2].k, off[0], off[1], off[2]);
        for (int k = 0; k < 3; k++) {
            assert_true(off[k] < 2e-3);
            if (precisions[i % 2] == DMQ_FP16 && shapes[i / 2].c % 8 == 0 &&
                shapes[i / 2].k % 8 == 0)
                assert_true(off[k] > 2e-6); /* FP32 would be this near, and TF32 may be FP32 */
        }
        (void)check_release(NULL);
    }
}

/* What is not finite is seen in what it reaches, and nowhere else. */
static void infinity_is_seen(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        check_op op = conv2d_op(&shapes[0]);
        uint64_t stream = check_stream(80 + i);
        check_arrays in = check_op_arrays(&op, &stream);
        dmq_real *y = check_reals(op.count_out), *want = check_reals(op.count_out);

        set_precision(precisions[i]);
        in.at[0][0] = (dmq_real)INFINITY; /* of the first image's first pixel */
        op.forward(&op, &check_ref, in.at, want, false);
        op.forward(&op, &check_device, in.at, y, false);
        for (size_t k = 0; k < op.count_out; k++)
            assert_int_equal(isfinite(y[k]) != 0, isfinite(want[k]) != 0);
        assert_true(!isfinite(y[0]));
    }
}

/* ------------------------------------------------------------------ what is the same in two calls */

/* A convolution on arrays of the device that stay where they are, and its numbers on the host. */
typedef struct fixed {
    check_op op;
    dmq_conv2d_args a;
    check_arrays in, want;
    dmq_real *dy, *y, *dx, *dw, *y_ref;
    uint64_t stream;
} fixed;

static void put(dmq_real *to, const dmq_real *from, size_t count)
{
    const check_on *on = &check_device;

    if (count > 0)
        CHECK_OK(on->backend->upload(on->queue, to, from, count * sizeof *from));
}

/* New whole numbers of another size, and what all passes make of them. */
static void renew(fixed *f)
{
    int size = 1 << check_whole(&f->stream, 0, 6);

    for (int k = 0; k < 3; k++)
        whole(f->in.at[k], f->op.count_in[k], &f->stream);
    whole(f->dy, f->op.count_out, &f->stream);
    for (size_t k = 0; k < f->op.count_in[0]; k++)
        f->in.at[0][k] *= (dmq_real)size;
    put((dmq_real *)(uintptr_t)f->a.x, f->in.at[0], f->op.count_in[0]);
    put((dmq_real *)(uintptr_t)f->a.w, f->in.at[1], f->op.count_in[1]);
    put((dmq_real *)(uintptr_t)f->a.bias, f->in.at[2], f->op.count_in[2]);
    put((dmq_real *)(uintptr_t)f->a.dy, f->dy, f->op.count_out);
    f->op.forward(&f->op, &check_ref, f->in.at, f->y_ref, false);
    f->op.backward(&f->op, &check_ref, f->in.at, f->dy, f->want.at, false);
}

static fixed fix(const conv2d_shape *shape, uint64_t seed)
{
    const check_on *on = &check_device;
    fixed f = { .op = conv2d_op(shape), .a = conv2d_args(shape), .stream = check_stream(seed) };

    f.in = check_op_arrays(&f.op, NULL);
    f.want = check_op_arrays(&f.op, NULL);
    f.dy = check_reals(f.op.count_out);
    f.y = check_reals(f.op.count_out);
    f.y_ref = check_reals(f.op.count_out);
    f.dx = check_reals(f.op.count_in[0]);
    f.dw = check_reals(f.op.count_in[1]);
    f.a.x = check_up_real(on, f.in.at[0], f.op.count_in[0]);
    f.a.w = check_up_real(on, f.in.at[1], f.op.count_in[1]);
    f.a.bias = check_up_real(on, f.in.at[2], f.op.count_in[2]);
    f.a.dy = check_up_real(on, f.dy, f.op.count_out);
    f.a.y = check_room(on, NULL, f.op.count_out);
    f.a.dx = check_room(on, NULL, f.op.count_in[0]);
    f.a.dw = check_room(on, NULL, f.op.count_in[1]);
    f.a.again_x = f.a.again_w = 1;
    renew(&f);
    return f;
}

/* Passes as a tape asks for them, with numbers as it gives them. */
static void forward(fixed *f, uint64_t pass)
{
    f->a.same = pass << 20 | 7;
    CHECK_RUN(&check_device, conv2d_forward, &f->a);
}

static void backward(fixed *f, uint64_t gradient)
{
    f->a.same_dy = gradient;
    CHECK_RUN(&check_device, conv2d_backward_data, &f->a);
    CHECK_RUN(&check_device, conv2d_backward_weights, &f->a);
}

static void check_forward(fixed *f)
{
    check_down_real(&check_device, f->y, f->a.y, f->op.count_out);
    check_equal("y", f->y, f->y_ref, f->op.count_out);
}

static void check_backward(fixed *f)
{
    check_down_real(&check_device, f->dx, f->a.dx, f->op.count_in[0]);
    check_down_real(&check_device, f->dw, f->a.dw, f->op.count_in[1]);
    check_equal("dx", f->dx, f->want.at[0], f->op.count_in[0]);
    check_equal("dw", f->dw, f->want.at[1], f->op.count_in[1]);
}

/* Whatever an implementation keeps of a pass: the next one, and calls without a number, see new numbers. */
static void new_numbers_are_seen(void **state)
{
    uint64_t number = 100;

    (void)state;
    for (size_t i = 0; i < 2 * SHAPES; i++) {
        fixed f = fix(&shapes[i / 2], 200 + i), g = fix(&shapes[i / 2], 300 + i);

        set_precision(precisions[i % 2]);
        for (int round = 0; round < 2; round++) {
            forward(&f, ++number); /* a pass */
            backward(&f, ++number);
            check_forward(&f);
            check_backward(&f);
            renew(&f); /* the next one */
            forward(&f, ++number);
            backward(&f, ++number);
            check_forward(&f);
            check_backward(&f);
            put((dmq_real *)(uintptr_t)f.a.dy, g.dy, f.op.count_out); /* another gradient of it */
            f.op.backward(&f.op, &check_ref, f.in.at, g.dy, f.want.at, false);
            backward(&f, ++number);
            check_backward(&f);
            renew(&f); /* by nobody's number */
            f.a.same = 0;
            backward(&f, 0);
            check_backward(&f);
            forward(&f, ++number); /* another pass in the midst of it, which may take the memory */
            renew(&g);
            forward(&g, ++number);
            backward(&f, ++number);
            backward(&g, ++number);
            check_forward(&f);
            check_forward(&g);
            check_backward(&f);
            check_backward(&g);
            renew(&f);
        }
        (void)check_release(NULL);
    }
}

/* Halves are cast once in a pass. What is written in between, against the caller's word, shows it. */
static void halves_are_cast_once(void **state)
{
    fixed f = fix(&shapes[0], 400);
    dmq_real *zeros = check_reals(f.op.count_in[0] + f.op.count_in[1] + f.op.count_out);

    (void)state;
    set_precision(DMQ_FP16);
    forward(&f, 900);
    f.a.same_dy = 901;
    put((dmq_real *)(uintptr_t)f.a.w, zeros, f.op.count_in[1]);
    CHECK_RUN(&check_device, conv2d_backward_data, &f.a);
    put((dmq_real *)(uintptr_t)f.a.x, zeros, f.op.count_in[0]);
    put((dmq_real *)(uintptr_t)f.a.dy, zeros, f.op.count_out);
    CHECK_RUN(&check_device, conv2d_backward_weights, &f.a);
    check_backward(&f);
}

static void a_recording_sees_new_numbers(void **state)
{
    const check_on *on = &check_device;
    uint64_t number = 1000;

    (void)state;
    if (!on->backend->capture_begin)
        skip();
    for (size_t i = 0; i < 2; i++) {
        fixed f = fix(&shapes[0], 500 + i), g = fix(&shapes[0], 600 + i);
        void *graph = NULL;

        set_precision(precisions[i]);
        forward(&f, ++number); /* makes its plans */
        backward(&f, ++number);
        CHECK_OK(on->backend->capture_begin(on->queue));
        forward(&f, ++number);
        backward(&f, ++number);
        CHECK_OK(on->backend->capture_end(on->queue, &graph));
        renew(&f); /* what was recorded has not been done */
        backward(&f, ++number);
        check_backward(&f);
        for (int round = 0; round < 3; round++) {
            renew(&f);
            renew(&g);
            forward(&g, ++number); /* a replay may take the memory of its halves */
            CHECK_OK(on->backend->graph_launch(on->queue, graph));
            backward(&g, ++number);
            check_forward(&f);
            check_backward(&f);
            check_forward(&g);
            check_backward(&g);
        }
        on->backend->graph_destroy(graph);
        (void)check_release(NULL);
    }
}

enum { RUNS = 6, EACH = 4 };

/* The three passes of runs with weights of their own, in one pass of a tape. */
static void ask_of_runs(dmq_conv2d_args *a, uint64_t number)
{
    a->same = number;
    a->same_dy = number + 1;
    CHECK_RUN(&check_device, conv2d_forward, a);
    CHECK_RUN(&check_device, conv2d_backward_data, a);
    CHECK_RUN(&check_device, conv2d_backward_weights, a);
}

/* And of each alone, to other arrays: the same bits. */
static void check_runs(const dmq_conv2d_args *a, const check_op *op, size_t n_w)
{
    const check_on *on = &check_device;
    dmq_conv2d_args b = *a;
    size_t most = n_w + op->count_in[0] + op->count_out;
    dmq_real *got = check_reals(most), *want = check_reals(most);

    b.y = check_room(on, NULL, op->count_out);
    b.dx = check_room(on, NULL, op->count_in[0]);
    b.dw = check_room(on, NULL, n_w);
    b.same = b.same_dy = 0;
    for (int g = 0; g < RUNS; g++) {
        dmq_conv2d_args one = dmq_conv2d_set(&b, g);

        one.per = 0;
        one.dw += (size_t)g * b.apart;
        CHECK_RUN(on, conv2d_forward, &one);
        CHECK_RUN(on, conv2d_backward_data, &one);
        CHECK_RUN(on, conv2d_backward_weights, &one);
    }
    check_down_real(on, got, a->y, op->count_out);
    check_down_real(on, want, b.y, op->count_out);
    check_equal("y", got, want, op->count_out);
    check_down_real(on, got, a->dx, op->count_in[0]);
    check_down_real(on, want, b.dx, op->count_in[0]);
    check_equal("dx", got, want, op->count_in[0]);
    check_down_real(on, got, a->dw, n_w);
    check_down_real(on, want, b.dw, n_w);
    for (int g = 0; g < RUNS; g++)
        check_equal("dw", got + (size_t)g * a->apart, want + (size_t)g * a->apart, op->count_in[1]);
}

static void runs_are_what_they_are_alone(void **state)
{
    const conv2d_shape shape = { RUNS * EACH, 8, 8, 16, 24, 3, 3, 1, 1, 1, 1, 1, 0 };
    const check_op op = conv2d_op(&shape);
    const check_on *on = &check_device;
    size_t apart = op.count_in[1] + 16, n_w = RUNS * apart;
    uint64_t stream = check_stream(77), number = 5000;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        dmq_conv2d_args a = conv2d_args(&shape);
        void *graph = NULL;

        set_precision(precisions[i]);
        a.sets = RUNS;
        a.per = EACH;
        a.sets_apart = a.apart = apart;
        a.again_x = a.again_w = 1;
        a.x = check_up_real(on, check_random(op.count_in[0], &stream), op.count_in[0]);
        a.w = check_up_real(on, check_random(n_w, &stream), n_w);
        a.dy = check_up_real(on, check_random(op.count_out, &stream), op.count_out);
        a.y = check_room(on, NULL, op.count_out);
        a.dx = check_room(on, NULL, op.count_in[0]);
        a.dw = check_room(on, NULL, n_w);
        for (int round = 0; round < 2; round++, number += 2) {
            ask_of_runs(&a, number);
            check_runs(&a, &op, n_w);
        }
        if (on->backend->capture_begin) {
            CHECK_OK(on->backend->capture_begin(on->queue));
            ask_of_runs(&a, number);
            CHECK_OK(on->backend->capture_end(on->queue, &graph));
            number += 2;
        }
        for (int round = 0; round < 2 && graph; round++) {
            put((dmq_real *)(uintptr_t)a.x, check_random(op.count_in[0], &stream), op.count_in[0]);
            put((dmq_real *)(uintptr_t)a.w, check_random(n_w, &stream), n_w);
            CHECK_OK(on->backend->graph_launch(on->queue, graph));
            check_runs(&a, &op, n_w);
        }
        if (graph)
            on->backend->graph_destroy(graph);
        (void)check_release(NULL);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(whole_numbers_are_exact),
        CHECK_TEST(operands_are_rounded_and_sums_are_not),
        CHECK_TEST(infinity_is_seen),
        CHECK_TEST(new_numbers_are_seen),
        CHECK_TEST(halves_are_cast_once),
        CHECK_TEST(a_recording_sees_new_numbers),
        CHECK_TEST(runs_are_what_they_are_alone),
    };

    check_open(argc, argv);
    if (dmq_backend_precision(check_device.backend, DMQ_TF32) != DMQ_OK) {
        print_message("skipped: %s\n", dmq_message());
        return check_close(77);
    }
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
