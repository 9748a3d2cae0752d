/* Operands in half precision: the bits of base/half.h, scales that nothing overflows, and products that come
   back in their own size. For the device's own paths to its libraries; not a slot of the table. */
#include "backend/backend.h"
#include "base/half.h"
#include "base/memory.h"
#include "kernels/half.h"
#include "kernels/half_math.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OK(call) assert_int_equal((call), DMQ_OK)

const dmq_backend *dmq_backend_simt(void) __attribute__((weak));

#define FORMS(X)                    \
    X(scale, dmq_half_args)         \
    X(cast, dmq_half_args)          \
    X(factor, dmq_half_factor_args) \
    X(finish, dmq_half_finish_args)
#define DECLARE(pass, args)                                                                   \
    dmq_status dmq_half_##pass##_simt(dmq_queue *queue, const args *a) __attribute__((weak)); \
    dmq_status dmq_half_##pass##_cuda(dmq_queue *queue, const args *a) __attribute__((weak)); \
    static dmq_status (*half_##pass)(dmq_queue * queue, const args *a);
FORMS(DECLARE)

typedef dmq_status scratch_fn(void **out, dmq_queue *queue, size_t bytes);
scratch_fn dmq_simt_scratch __attribute__((weak));
scratch_fn dmq_cuda_scratch __attribute__((weak));

static const dmq_backend *be;
static dmq_queue *queue;
static scratch_fn *scratch_of; /* NULL: a backend without */

/* Device memory with these bytes in it; bytes NULL: none. */
static void *put(const void *bytes, size_t count)
{
    void *memory = NULL;

    OK(be->alloc(&memory, count));
    if (bytes)
        OK(be->upload(queue, memory, bytes, count));
    return memory;
}

static void get(void *to, const void *memory, size_t count)
{
    OK(be->download(queue, to, memory, count));
    OK(be->sync(queue));
}

/* Every half, the numbers half way between two, and their neighbours. */
static void casts_are_those_of_the_host(void **state)
{
    enum { HALVES = 0x7c00, EACH = 4, COUNT = 2 * EACH * HALVES };
    static float x[COUNT];
    static uint16_t y[COUNT];
    float one = 1;
    int n = 0;

    (void)state;
    for (int sign = -1; sign <= 1; sign += 2) {
        for (uint16_t h = 0; h < HALVES; h++) {
            float a = dmq_half_to_float(h), b = h + 1 < HALVES ? dmq_half_to_float(h + 1) : 65536;
            float middle = a / 2 + b / 2;

            x[n++] = (float)sign * a;
            x[n++] = (float)sign * middle;
            x[n++] = (float)sign * nextafterf(middle, 0);
            x[n++] = (float)sign * nextafterf(middle, INFINITY);
        }
    }
    x[5] = NAN;
    x[6] = INFINITY;
    x[7] = 1e30F;
    for (int shift = 0; shift < 2; shift++) { /* not aligned, not whole packs */
        float *from = put(x, sizeof x), *scale = put(&one, sizeof one);
        uint16_t *to = put(NULL, sizeof y);
        size_t count = (size_t)(COUNT - 3 * shift);

        OK(half_cast(queue, &(dmq_half_args){ .x = from + shift,
                                              .batch = 1,
                                              .rows = 1,
                                              .cols = count,
                                              .ld = count,
                                              .scale = scale,
                                              .y = to }));
        get(y, to, count * sizeof *y);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(y[i], dmq_half_from_float(x[i + (size_t)shift]));
        be->free(from);
        be->free(scale);
        be->free(to);
    }
}

static float scale_of(const float *x, size_t count)
{
    float *from = put(x, count * sizeof *x), *scale = put(NULL, sizeof *scale), s;
    float *part = put(NULL, DMQ_HALF_PARTS * sizeof *part);

    OK(half_scale(queue, &(dmq_half_args){ .x = from,
                                           .batch = 1,
                                           .rows = 1,
                                           .cols = count,
                                           .ld = count,
                                           .scale = scale,
                                           .part = part }));
    get(&s, scale, sizeof s);
    be->free(from);
    be->free(part);
    be->free(scale);
    return s;
}

static void scales_fill_the_range(void **state)
{
    enum { COUNT = 1003 };
    static float x[COUNT];

    (void)state;
    assert_true(scale_of(x, COUNT) == 1); /* zeros */
    for (int e = -140; e <= 127; e += 3) {
        for (int at = 0; at < COUNT;
             at += 334) { /* wherever the largest one lies, of either sign */
            float most = ldexpf(at % 4 ? -1.9F : 1.9F, e), s;

            for (int i = 0; i < COUNT; i++)
                x[i] = most * ((float)(i % 7 - 3) / 8);
            x[at] = most;
            s = scale_of(x, COUNT);
            assert_true(frexpf(s, &(int){ 0 }) == 0.5F); /* a power of two */
            if (e >= -112) {
                assert_true(s * fabsf(most) >= 0x1p14F && s * fabsf(most) < 0x1p15F);
            } else {
                assert_true(s == 0x1p126F);
            }
        }
    }
    x[500] = INFINITY;
    assert_true(scale_of(x, COUNT) == 1);
    x[500] = NAN;
    assert_true(scale_of(x, COUNT) == 1);
    assert_true(scale_of(x, 4) != 1); /* a multiple of a pack, without it */
}

/* Whoever asks for a product has its operands in the scratch (kernels/conv2d_each.cu): a scale that takes its
   partial results there would write over them. */
static void scratch_is_left_alone(void **state)
{
    enum { COUNT = 3000 };
    static float x[COUNT], got[COUNT];
    void *held = NULL;

    (void)state;
    if (!scratch_of)
        return;
    for (int i = 0; i < COUNT; i++)
        x[i] = (float)(i - 7);
    OK(scratch_of(&held, queue, sizeof x));
    OK(be->upload(queue, held, x, sizeof x));
    assert_true(scale_of(x, COUNT) == 0x1p3F);
    get(got, held, sizeof got);
    assert_memory_equal(got, x, sizeof x);
}

/* Matrices that lie apart: the same scale and halves as those of a copy without gaps. */
static void gaps_are_left_out(void **state)
{
    enum { BATCH = 3, ROWS = 5, COLS = 7, LD = 9, STRIDE = 50, COUNT = BATCH * ROWS * COLS };
    float x[BATCH * STRIDE], want_scale, scale;
    uint16_t y[COUNT];
    dmq_half_args a = { .batch = BATCH, .rows = ROWS, .cols = COLS, .ld = LD, .stride = STRIDE };
    float *from, *s;
    int n = 0;

    (void)state;
    for (int i = 0; i < BATCH * STRIDE; i++)
        x[i] = 1e6F; /* in the gaps */
    for (int b = 0; b < BATCH; b++) {
        for (int i = 0; i < ROWS * COLS; i++)
            x[b * STRIDE + i / COLS * LD + i % COLS] = sinf((float)(b * 100 + i));
    }
    from = put(x, sizeof x);
    s = put(NULL, sizeof *s);
    a.x = from;
    a.scale = s;
    a.part = put(NULL, DMQ_HALF_PARTS * sizeof *a.part);
    a.y = put(NULL, sizeof y);
    OK(half_scale(queue, &a));
    OK(half_cast(queue, &a));
    get(&scale, s, sizeof scale);
    get(y, a.y, sizeof y);
    want_scale = 0x1p14F; /* the largest sine is in [0.5, 1) or 1 less a little */
    assert_true(scale == want_scale || scale == 2 * want_scale);
    for (int b = 0; b < BATCH; b++) {
        for (int i = 0; i < ROWS * COLS; i++)
            assert_int_equal(y[n++],
                             dmq_half_from_float(scale * x[b * STRIDE + i / COLS * LD + i % COLS]));
    }
    be->free(from);
    be->free(s);
    be->free(a.part);
    be->free(a.y);
}

/* Gradients far below the range of halves, activations far above: the product comes back in its own size. */
static void results_have_their_own_size(void **state)
{
    enum { ROWS = 6, COLS = 8, DEPTH = 10 };
    const float sizes[][2] = { { 1, 1 }, { 1e-9F, 3 }, { 1e-30F, 1e20F }, { 3e5F, 1e-12F } };

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        float a[ROWS * DEPTH], b[COLS * DEPTH], p[ROWS * COLS], y[ROWS * COLS], bias[COLS];
        float *scales = put(NULL, 2 * sizeof *scales), *factor = put(NULL, 2 * sizeof *factor);
        float *at_p, *at_y, *at_bias, s[2], f[2], worst = 0;

        for (int k = 0; k < ROWS * DEPTH; k++)
            a[k] = sizes[i][0] * cosf((float)k);
        for (int k = 0; k < COLS * DEPTH; k++)
            b[k] = sizes[i][1] * sinf((float)(3 * k));
        s[0] = scale_of(a, ROWS * DEPTH);
        s[1] = scale_of(b, COLS * DEPTH);
        for (int k = 0; k < ROWS * COLS; k++) { /* what a library would do with the halves */
            p[k] = 0;
            for (int d = 0; d < DEPTH; d++)
                p[k] += dmq_half_to_float(dmq_half_from_float(s[0] * a[k / COLS * DEPTH + d])) *
                        dmq_half_to_float(dmq_half_from_float(s[1] * b[k % COLS * DEPTH + d]));
        }
        for (int k = 0; k < COLS; k++)
            bias[k] = (float)k * sizes[i][0] * sizes[i][1];
        OK(be->upload(queue, scales, s, sizeof s));
        OK(half_factor(
            queue, &(dmq_half_factor_args){
                       .a = scales, .b = scales + 1, .factor = factor, .alpha = 2, .beta = 1 }));
        get(f, factor, sizeof f);
        assert_true(f[1] == 1);
        at_p = put(p, sizeof p);
        at_bias = put(bias, sizeof bias);
        at_y = put(p, sizeof p);
        for (int add = 0; add < 2; add++) { /* then once more on top of it */
            OK(half_finish(queue, &(dmq_half_finish_args){ .p = at_p,
                                                           .factor = factor,
                                                           .bias = add ? NULL : at_bias,
                                                           .y = at_y,
                                                           .rows = ROWS,
                                                           .cols = COLS,
                                                           .add = add }));
        }
        get(y, at_y, sizeof y);
        for (int k = 0; k < ROWS * COLS; k++) {
            double want = 0, error;

            for (int d = 0; d < DEPTH; d++)
                want += 4 * (double)a[k / COLS * DEPTH + d] * (double)b[k % COLS * DEPTH + d];
            want += (double)bias[k % COLS];
            error = fabs((double)y[k] - want) / ((double)sizes[i][0] * (double)sizes[i][1]);
            worst = fmaxf(worst, (float)error);
        }
        assert_true(worst < 4 * DEPTH * 1e-3F); /* two roundings of 2^-11 a product */
        assert_true(worst > 0);
        be->free(scales);
        be->free(factor);
        be->free(at_p);
        be->free(at_y);
        be->free(at_bias);
    }
}

static int choose(const char *name)
{
#define TAKE(pass, args)                          \
    half_##pass = simt   ? dmq_half_##pass##_simt \
                  : cuda ? dmq_half_##pass##_cuda \
                         : dmq_half_##pass##_ref;
    int simt = strcmp(name, "simt") == 0 && dmq_backend_simt, cuda = strcmp(name, "cuda") == 0;

    FORMS(TAKE)
    scratch_of = simt ? dmq_simt_scratch : cuda ? dmq_cuda_scratch : NULL;
    if (strcmp(name, "cpu") == 0 || strcmp(name, "check") == 0) {
        fprintf(stderr, "skipped: halves are for the device\n");
        return 77;
    }
    if (simt)
        be = dmq_backend_simt();
    else if (dmq_backend_open(&be, name) != DMQ_OK) {
        fprintf(stderr, "skipped: %s\n", dmq_message());
        return 77;
    }
    return be->queue_create(&queue, 0) == DMQ_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(casts_are_those_of_the_host), cmocka_unit_test(scales_fill_the_range),
        cmocka_unit_test(scratch_is_left_alone),       cmocka_unit_test(gaps_are_left_out),
        cmocka_unit_test(results_have_their_own_size),
    };
    int st = choose(argc > 1 ? argv[1] : "ref");

    if (st)
        return st;
    st = cmocka_run_group_tests_name("half", tests, NULL, NULL);
    be->queue_destroy(queue);
    return st;
}
