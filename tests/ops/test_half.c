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

#define FORMS(X)                \
    X(pair, dmq_half_pair_args) \
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

/* What a pair leaves, on the host. */
typedef struct pair {
    float scale[2], factor[2];
    uint16_t *y[2];
} pair;

/* An operand of `count` numbers in a row. */
static dmq_half_args row_of(const float *x, size_t count)
{
    return (dmq_half_args){ .x = x, .batch = 1, .rows = 1, .cols = count, .ld = count };
}

/* Scale and cast what lies on the device; to[i] takes the halves of an operand, NULL: nobody looks. */
static pair cast_pair(const dmq_half_args *a, const dmq_half_args *b, uint16_t *const to[2])
{
    dmq_half_pair_args args = { .of = { *a, *b }, .alpha = 2, .beta = 1 };
    float *scales = put(NULL, 2 * sizeof *scales);
    size_t count[2];
    pair p;

    for (int i = 0; i < 2; i++) {
        count[i] = args.of[i].batch * args.of[i].rows * args.of[i].cols;
        args.of[i].scale = scales + i;
        args.of[i].y = put(NULL, count[i] * sizeof(uint16_t));
    }
    args.factor = put(NULL, sizeof p.factor);
    args.part = put(NULL, 2 * DMQ_HALF_PARTS * sizeof *args.part);
    OK(half_pair(queue, &args));
    get(p.scale, scales, sizeof p.scale);
    get(p.factor, args.factor, sizeof p.factor);
    for (int i = 0; i < 2; i++) {
        p.y[i] = to[i];
        if (to[i])
            get(to[i], args.of[i].y, count[i] * sizeof(uint16_t));
        be->free(args.of[i].y);
    }
    be->free(scales);
    be->free(args.factor);
    be->free(args.part);
    return p;
}

/* Every half, the numbers half way between two, and their neighbours. */
static void casts_are_those_of_the_host(void **state)
{
    enum { HALVES = 0x7c00, EACH = 4, COUNT = 2 * EACH * HALVES };
    static float x[COUNT];
    static uint16_t y[COUNT];
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
    x[5] = NAN; /* whose scale is 1 */
    x[6] = INFINITY;
    x[7] = 1e30F;
    for (int shift = 0; shift < 2; shift++) { /* not aligned, not whole packs */
        float *from = put(x, sizeof x);
        size_t count = (size_t)(COUNT - 3 * shift);
        dmq_half_args a = row_of(from + shift, count), b = row_of(from + 5, 3);

        for (int second = 0; second < 2; second++) {
            (void)(second ? cast_pair(&b, &a, (uint16_t *const[2]){ NULL, y })
                          : cast_pair(&a, &b, (uint16_t *const[2]){ y, NULL }));
            for (size_t i = 0; i < count; i++)
                assert_int_equal(y[i], dmq_half_from_float(x[i + (size_t)shift]));
        }
        be->free(from);
    }
}

/* Of an operand beside one whose largest number is another. */
static float scale_of(const float *x, size_t count)
{
    static const float other[] = { 3, -5e4F };
    float *from = put(x, count * sizeof *x), *beside = put(other, sizeof other);
    dmq_half_args a = row_of(from, count), b = row_of(beside, 2);
    pair first = cast_pair(&a, &b, (uint16_t *const[2]){ NULL, NULL });
    pair second = cast_pair(&b, &a, (uint16_t *const[2]){ NULL, NULL });

    be->free(from);
    be->free(beside);
    assert_true(first.scale[1] == 0.5F && second.scale[0] == 0.5F);
    assert_true(first.scale[0] == second.scale[1]);
    assert_true(first.factor[0] == 2 / first.scale[0] / 0.5F && first.factor[1] == 1);
    return first.scale[0];
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
    float x[BATCH * STRIDE];
    uint16_t y[COUNT], z[COUNT];
    dmq_half_args a = { .batch = BATCH, .rows = ROWS, .cols = COLS, .ld = LD, .stride = STRIDE };
    float *from;
    pair p;
    int n = 0;

    (void)state;
    for (int i = 0; i < BATCH * STRIDE; i++)
        x[i] = 1e6F; /* in the gaps */
    for (int b = 0; b < BATCH; b++) {
        for (int i = 0; i < ROWS * COLS; i++)
            x[b * STRIDE + i / COLS * LD + i % COLS] = sinf((float)(b * 100 + i));
    }
    from = put(x, sizeof x);
    a.x = from;
    p = cast_pair(&a, &a, (uint16_t *const[2]){ y, z });
    /* the largest sine is in [0.5, 1) or 1 less a little */
    assert_true(p.scale[0] == 0x1p14F || p.scale[0] == 0x1p15F);
    assert_true(p.scale[0] == p.scale[1]);
    assert_memory_equal(y, z, sizeof y);
    for (int b = 0; b < BATCH; b++) {
        for (int i = 0; i < ROWS * COLS; i++) {
            assert_int_equal(
                y[n++], dmq_half_from_float(p.scale[0] * x[b * STRIDE + i / COLS * LD + i % COLS]));
        }
    }
    be->free(from);
}

/* What is kept is not looked at; the factor is of both all the same. */
static void what_is_kept_stays(void **state)
{
    enum { COUNT = 300 };
    static const float scales[2] = { 0x1p3F, 0x1p-2F };
    static float x[COUNT];
    uint16_t before[COUNT], got[COUNT];
    float *from, *s, *factor, *part, f[2], after[2];

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        x[i] = (float)(i - 30);
        before[i] = (uint16_t)i;
    }
    from = put(x, sizeof x);
    factor = put(NULL, sizeof f);
    part = put(NULL, 2 * DMQ_HALF_PARTS * sizeof *part);
    s = put(NULL, sizeof scales);
    for (int kept = 1; kept < 4; kept++) { /* the first, the second, both */
        dmq_half_pair_args a = { .of = { row_of(from, COUNT), row_of(from, COUNT) },
                                 .factor = factor,
                                 .alpha = 3,
                                 .beta = 0,
                                 .part = part };
        OK(be->upload(queue, s, scales, sizeof scales));
        for (int i = 0; i < 2; i++) {
            a.of[i].kept = kept >> i & 1;
            if (a.of[i].kept)
                a.of[i].x = NULL;
            a.of[i].scale = s + i;
            a.of[i].y = put(before, sizeof before);
        }
        OK(half_pair(queue, &a));
        get(after, s, sizeof after);
        get(f, factor, sizeof f);
        for (int i = 0; i < 2; i++) {
            float want = a.of[i].kept ? scales[i] : 0x1p6F; /* of 269 */

            assert_true(after[i] == want);
            get(got, a.of[i].y, sizeof got);
            for (int k = 0; k < COUNT; k++)
                assert_int_equal(got[k],
                                 a.of[i].kept ? before[k] : dmq_half_from_float(want * x[k]));
            be->free(a.of[i].y);
        }
        assert_true(f[0] == 3 / after[0] / after[1] && f[1] == 0);
    }
    be->free(from);
    be->free(factor);
    be->free(part);
    be->free(s);
}

/* Gradients far below the range of halves, activations far above: the product comes back in its own size. */
static void results_have_their_own_size(void **state)
{
    enum { ROWS = 6, COLS = 8, DEPTH = 10 };
    const float sizes[][2] = { { 1, 1 }, { 1e-9F, 3 }, { 1e-30F, 1e20F }, { 3e5F, 1e-12F } };

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        float a[ROWS * DEPTH], b[COLS * DEPTH], p[ROWS * COLS], y[ROWS * COLS], bias[COLS];
        float *at_p, *at_y, *at_bias, *at_a, *at_b, *factor, worst = 0;
        uint16_t half_a[ROWS * DEPTH], half_b[COLS * DEPTH];
        dmq_half_args of_a, of_b;
        pair cast;

        for (int k = 0; k < ROWS * DEPTH; k++)
            a[k] = sizes[i][0] * cosf((float)k);
        for (int k = 0; k < COLS * DEPTH; k++)
            b[k] = sizes[i][1] * sinf((float)(3 * k));
        at_a = put(a, sizeof a);
        at_b = put(b, sizeof b);
        of_a = row_of(at_a, ROWS * DEPTH);
        of_b = row_of(at_b, COLS * DEPTH);
        cast = cast_pair(&of_a, &of_b, (uint16_t *const[2]){ half_a, half_b });
        assert_true(cast.factor[1] == 1);
        for (int k = 0; k < ROWS * COLS; k++) { /* what a library would do with the halves */
            p[k] = 0;
            for (int d = 0; d < DEPTH; d++)
                p[k] += dmq_half_to_float(half_a[k / COLS * DEPTH + d]) *
                        dmq_half_to_float(half_b[k % COLS * DEPTH + d]);
        }
        for (int k = 0; k < COLS; k++)
            bias[k] = (float)k * sizes[i][0] * sizes[i][1];
        factor = put(cast.factor, sizeof cast.factor);
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
        be->free(at_a);
        be->free(at_b);
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
        cmocka_unit_test(casts_are_those_of_the_host),
        cmocka_unit_test(scales_fill_the_range),
        cmocka_unit_test(scratch_is_left_alone),
        cmocka_unit_test(gaps_are_left_out),
        cmocka_unit_test(what_is_kept_stays),
        cmocka_unit_test(results_have_their_own_size),
    };
    int st = choose(argc > 1 ? argv[1] : "ref");

    if (st)
        return st;
    st = cmocka_run_group_tests_name("half", tests, NULL, NULL);
    be->queue_destroy(queue);
    return st;
}
