/* Bilinear resizing of levels: TensorFlow 1's rule to the bit, PyTorch's half pixels, the same bits everywhere. */
#include "check.h"

typedef struct resize_shape {
    int n, h, wd, c, ho, wo;
} resize_shape;

static void resize(const resize_shape *s, const check_on *on, dmq_resize rule, dmq_real unit,
                   dmq_real alpha, dmq_real beta, const uint8_t *x, dmq_real *y)
{
    size_t count = CHECK_COUNT(s->n, s->ho, s->wo, s->c);
    dmq_resize_args a = { .rule = rule,
                          .n = s->n,
                          .h = s->h,
                          .wd = s->wd,
                          .c = s->c,
                          .ho = s->ho,
                          .wo = s->wo,
                          .unit = unit,
                          .alpha = alpha,
                          .beta = beta };

    a.x = check_up(on, x, CHECK_COUNT(s->n, s->h, s->wd, s->c), sizeof *x);
    a.y = check_room(on, NULL, count);
    CHECK_RUN(on, resize_levels, &a);
    check_down_real(on, y, a.y, count);
}

static uint8_t *levels(size_t count, uint64_t *stream)
{
    uint8_t *x = check_bytes(count, sizeof *x);

    for (size_t i = 0; i < count; i++)
        x[i] = (uint8_t)check_whole(stream, 0, 255);
    return x;
}

static void values_are_those_of_the_tools(void **state)
{
    static const char *const groups[] = { "up", "wide", "one", "down" };

    (void)state;
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        dmq_h5 *file = check_golden_open("resize");
        const int32_t *w = check_golden_whole(file, groups[g], "shape", 6);
        const resize_shape s = { w[0], w[1], w[2], w[3], w[4], w[5] };
        size_t in = CHECK_COUNT(s.n, s.h, s.wd, s.c), out = CHECK_COUNT(s.n, s.ho, s.wo, s.c);
        const int32_t *whole = check_golden_whole(file, groups[g], "x", in);
        dmq_real *y = check_reals(out), *want = check_golden_real(file, groups[g], "tf1", out);
        double *half = check_golden(file, groups[g], "half_pixel", out);
        uint8_t *x = check_bytes(in, sizeof *x);

        for (size_t i = 0; i < in; i++)
            x[i] = (uint8_t)whole[i];
        resize(&s, &check_device, DMQ_RESIZE_TF1, 1, 1, 0, x, y);
        assert_memory_equal(y, want, out * sizeof *y);
        resize(&s, &check_device, DMQ_RESIZE_HALF_PIXEL, 1, 1, 0, x, y);
        for (size_t i = 0; i < out; i++) { /* of 255 */
            if (!(fabs((double)y[i] - half[i]) <= 1e-4))
                fail_msg("%s: half_pixel[%zu]: %.9g for %.9g", groups[g], i, (double)y[i], half[i]);
        }
        dmq_h5_close(file);
        (void)check_release(NULL);
    }
}

static void every_shape_has_the_bits_of_ref(void **state)
{
    static const resize_shape shapes[] = { { 2, 5, 7, 3, 13, 11 },
                                           { 1, 1, 1, 1, 3, 4 },
                                           { 3, 8, 8, 2, 8, 8 },
                                           { 1, 9, 6, 5, 4, 6 },
                                           { 1, 32, 32, 3, 47, 47 } };

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const resize_shape *s = &shapes[i];
        size_t count = CHECK_COUNT(s->n, s->ho, s->wo, s->c);
        uint64_t stream = check_stream(i);
        uint8_t *x = levels(CHECK_COUNT(s->n, s->h, s->wd, s->c), &stream);
        dmq_real *got = check_reals(count), *want = check_reals(count);

        for (int rule = 0; rule < 2; rule++) {
            resize(s, &check_device, (dmq_resize)rule, 255, 2, -1, x, got);
            resize(s, &check_ref, (dmq_resize)rule, 255, 2, -1, x, want);
            assert_memory_equal(got, want, count * sizeof *got);
        }
        (void)check_release(NULL);
    }
}

/* What a size keeps, it keeps as it is; the normalisations are those of the tools, to the bit. */
static void equal_sizes_leave_the_levels(void **state)
{
    const resize_shape s = { 1, 16, 16, 1, 16, 16 };
    uint8_t x[256];
    dmq_real y[256];

    (void)state;
    for (int i = 0; i < 256; i++)
        x[i] = (uint8_t)i;
    for (int rule = 0; rule < 2; rule++) {
        resize(&s, &check_device, (dmq_resize)rule, 1, (dmq_real)1 / 128, -1, x, y);
        for (int i = 0; i < 256; i++)
            assert_true(y[i] == ((dmq_real)i - 128) / 128);
        resize(&s, &check_device, (dmq_resize)rule, 255, 2, -1, x, y);
        for (int i = 0; i < 256; i++)
            assert_true(y[i] == 2 * ((dmq_real)i / 255) - 1);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(values_are_those_of_the_tools),
        CHECK_TEST(every_shape_has_the_bits_of_ref),
        CHECK_TEST(equal_sizes_leave_the_levels),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
