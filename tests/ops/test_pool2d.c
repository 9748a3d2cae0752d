/* Pooling over any window: PyTorch's values, the padding not counted; the same bits everywhere. */
#include "ops/op_pool2d.h"

/* Those of Inception, then odd ones: more channels than a vector, windows larger than the image, gaps. */
static const pool2d_shape shapes[] = {
    { 0, 2, 9, 9, 8, 3, 2, 0 },  { 1, 2, 5, 5, 8, 3, 1, 1 },  { 0, 1, 6, 6, 12, 3, 1, 1 },
    { 1, 2, 4, 4, 16, 4, 4, 0 }, { 0, 2, 5, 8, 7, 3, 2, 1 },  { 1, 1, 7, 4, 5, 5, 2, 2 },
    { 0, 1, 2, 3, 3, 3, 1, 2 },  { 1, 1, 2, 2, 3, 4, 1, 3 },  { 0, 3, 7, 5, 1, 2, 3, 0 },
    { 1, 3, 7, 5, 1, 2, 3, 0 },  { 0, 1, 3, 4, 70, 2, 1, 0 }, { 1, 1, 1, 1, 4, 1, 1, 0 },
};

enum { SHAPES = sizeof shapes / sizeof *shapes };

static void values_and_derivatives_are_pytorchs(void **state)
{
    (void)state;
    CHECK_GOLDENS("pool2d", pool2d, "max_down", "max_same", "max_odd", "mean_same", "mean_odd",
                  "mean_all");
}

static void odd_shapes_keep_the_identities(void **state)
{
    (void)state;
    CHECK_SHAPES(pool2d, shapes);
    check_report("pool2d");
}

/* x of few whole numbers: maxima that are equal; and some that are no number, or the least of all. */
static dmq_real *with_ties(size_t count, uint64_t *stream)
{
    dmq_real *x = check_reals(count);

    for (size_t i = 0; i < count; i++) {
        int draw = check_whole(stream, -2, 40);

        x[i] = (dmq_real)(draw % 4);
        if (draw == 40)
            x[i] = (dmq_real)NAN;
        if (draw > 37 && draw < 40)
            x[i] = (dmq_real)-INFINITY;
    }
    return x;
}

static void are_the_same(const dmq_real *got, const dmq_real *want, size_t count, const char *what)
{
    for (size_t i = 0; i < count; i++) {
        if (got[i] != want[i] && !(isnan(got[i]) && isnan(want[i])))
            fail_msg("%s[%zu]: %.9g for %.9g", what, i, (double)got[i], (double)want[i]);
    }
}

static void every_shape_has_the_bits_of_ref(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        check_op op = pool2d_op(&shapes[i]);
        uint64_t stream = check_stream(i);
        size_t n = op.count_in[0], m = op.count_out;
        dmq_real *x[2] = { check_random(n, &stream), with_ties(n, &stream) };
        dmq_real *v = check_random(n, &stream), *u = check_random(m, &stream);
        dmq_real *got = check_reals(n > m ? n : m), *want = check_reals(n > m ? n : m);

        for (int k = 0; k < 2; k++) {
            op.forward(&op, &check_device, &x[k], got, false);
            op.forward(&op, &check_ref, &x[k], want, false);
            are_the_same(got, want, m, "y");
            op.jvp(&op, &check_device, &x[k], &v, got);
            op.jvp(&op, &check_ref, &x[k], &v, want);
            are_the_same(got, want, m, "y_tan");
            for (int add = 0; add < 2; add++) {
                memcpy(got, v, n * sizeof *got);
                memcpy(want, v, n * sizeof *want);
                op.backward(&op, &check_device, &x[k], u, &got, add);
                op.backward(&op, &check_ref, &x[k], u, &want, add);
                are_the_same(got, want, n, "dx");
            }
        }
        (void)check_release(NULL);
    }
}

/* 1 x 4 with windows of 3 at pad 1: what is outside neither wins against less than 0 nor counts. */
static void the_border_is_left_out(void **state)
{
    pool2d_shape s = { 0, 1, 1, 4, 1, 3, 1, 1 };
    dmq_real x[4] = { -2, -1, -4, -4 }, y[4], *in = x;
    check_op op = pool2d_op(&s);

    (void)state;
    op.forward(&op, &check_device, &in, y, false);
    assert_true(y[0] == -1 && y[1] == -1 && y[2] == -1 && y[3] == -4);
    s.mean = 1;
    op.forward(&op, &check_device, &in, y, false);
    assert_true(y[0] == (dmq_real)-1.5 && y[2] == -3 && y[3] == -4);
    assert_true(y[1] == (dmq_real)-7 / 3);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(values_and_derivatives_are_pytorchs),
        CHECK_TEST(odd_shapes_keep_the_identities),
        CHECK_TEST(every_shape_has_the_bits_of_ref),
        CHECK_TEST(the_border_is_left_out),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
