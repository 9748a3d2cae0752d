/*
 * Convolution of the cpu backend, by every algorithm that has code for a shape: against the reference,
 * the same for an image wherever it stands, in a batch of any size, and whoever computes it, and
 * without allocations once every shape has been seen.
 */
#include "backend/cpu_conv2d.h"
#include "backend/cpu_winograd_code.h"
#include "backend/lanes.h"
#include "base/memory.h"
#include "check.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char *const passes[] = { "forward", "data", "weights" };
static const char *const algorithms[] = { "auto", "direct", "winograd", "im2col" };

/* c h wd k r s stride top left bottom right */
static const int shapes[][11] = {
    { 16, 8, 8, 16, 3, 3, 1, 1, 1, 1, 1 },     { 32, 16, 16, 32, 3, 3, 1, 1, 1, 1, 1 },
    { 32, 4, 4, 64, 3, 3, 1, 1, 1, 1, 1 },     { 48, 9, 7, 32, 3, 3, 1, 1, 1, 1, 1 },
    { 3, 16, 16, 32, 3, 3, 1, 1, 1, 1, 1 },    { 32, 16, 16, 3, 3, 3, 1, 1, 1, 1, 1 },
    { 32, 8, 8, 32, 3, 3, 2, 0, 0, 1, 1 },     { 32, 8, 8, 48, 3, 3, 2, 1, 1, 1, 1 },
    { 32, 8, 8, 48, 1, 1, 1, 0, 0, 0, 0 },     { 5, 7, 6, 3, 3, 3, 1, 1, 1, 1, 1 },
    { 2, 5, 9, 7, 3, 2, 2, 1, 0, 0, 1 },       { 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0 },
    { 17, 6, 6, 19, 5, 5, 1, 2, 2, 2, 2 },     { 24, 8, 8, 40, 1, 1, 2, 0, 0, 0, 0 },
    { 64, 2, 2, 64, 3, 3, 1, 1, 1, 1, 1 },     { 256, 4, 4, 256, 3, 3, 1, 1, 1, 1, 1 },
    { 64, 32, 32, 32, 3, 3, 1, 1, 1, 1, 1 },   { 256, 8, 8, 128, 1, 1, 1, 0, 0, 0, 0 },
    { 128, 16, 16, 128, 3, 3, 1, 1, 1, 1, 1 }, { 512, 8, 8, 256, 3, 3, 1, 1, 1, 1, 1 },
    { 256, 16, 16, 256, 3, 3, 2, 0, 0, 1, 1 }, { 96, 8, 8, 32, 3, 3, 1, 1, 1, 1, 1 },
    { 32, 9, 12, 48, 3, 3, 1, 0, 0, 0, 0 },    { 16, 7, 6, 32, 3, 3, 1, 2, 0, 1, 2 },
    { 16, 7, 17, 32, 1, 7, 1, 0, 3, 0, 3 },    { 32, 17, 9, 48, 7, 1, 1, 3, 0, 3, 0 },
    { 48, 8, 9, 32, 1, 3, 1, 0, 1, 0, 1 },     { 32, 9, 8, 64, 3, 1, 1, 1, 0, 1, 0 },
    { 48, 11, 9, 64, 5, 5, 1, 2, 2, 2, 2 },    { 1280, 3, 3, 48, 1, 1, 1, 0, 0, 0, 0 },
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

typedef struct arrays {
    dmq_conv2d_args a;
    float *x, *w, *bias, *y, *dy, *dx, *dw, *dbias;
    size_t in, out, weights;
} arrays;

static void fill(float *x, size_t count, unsigned *state)
{
    for (size_t i = 0; i < count; i++) {
        *state = *state * 1664525u + 1013904223u;
        x[i] = (float)(*state >> 8) * 0x1p-23f - 1.0f;
    }
}

static float *made(size_t count, unsigned *state)
{
    void *p = NULL;

    assert_int_equal(dmq_alloc(&p, count, sizeof(float)), DMQ_OK);
    fill(p, count, state);
    return p;
}

static void setup(arrays *s, const int *shape, int n, int add)
{
    unsigned state = 12345;

    memset(s, 0, sizeof *s);
    s->a = (dmq_conv2d_args){ .n = n,
                              .c = shape[0],
                              .h = shape[1],
                              .wd = shape[2],
                              .k = shape[3],
                              .r = shape[4],
                              .s = shape[5],
                              .stride = shape[6],
                              .pad_top = shape[7],
                              .pad_left = shape[8],
                              .add = add };
    s->a.ho = (s->a.h + shape[7] + shape[9] - s->a.r) / s->a.stride + 1;
    s->a.wo = (s->a.wd + shape[8] + shape[10] - s->a.s) / s->a.stride + 1;
    s->in = (size_t)(s->a.h * s->a.wd * s->a.c);
    s->out = (size_t)(s->a.ho * s->a.wo * s->a.k);
    s->weights = (size_t)(s->a.k * s->a.r * s->a.s * s->a.c);
    s->w = made(s->weights, &state);
    s->bias = made((size_t)s->a.k, &state);
    s->x = made(s->in * (size_t)n, &state);
    s->dy = made(s->out * (size_t)n, &state);
    s->y = made(s->out * (size_t)n, &state);
    s->dx = made(s->in * (size_t)n, &state);
    s->dw = made(s->weights, &state);
    s->dbias = made((size_t)s->a.k, &state);
    s->a.x = s->x;
    s->a.w = s->w;
    s->a.bias = s->bias;
    s->a.dy = s->dy;
    s->a.y = s->y;
    s->a.dx = s->dx;
    s->a.dw = s->dw;
    s->a.dbias = s->dbias;
}

static void teardown(arrays *s)
{
    float *all[] = { s->x, s->w, s->bias, s->y, s->dy, s->dx, s->dw, s->dbias };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        dmq_free(all[i]);
}

static const float *result(const arrays *s, dmq_conv_pass pass, size_t *count)
{
    *count = pass == DMQ_CONV_FORWARD         ? s->out * (size_t)s->a.n
             : pass == DMQ_CONV_BACKWARD_DATA ? s->in * (size_t)s->a.n
                                              : s->weights;
    return pass == DMQ_CONV_FORWARD ? s->y : pass == DMQ_CONV_BACKWARD_DATA ? s->dx : s->dw;
}

static double distance(const float *a, const float *b, size_t count)
{
    double diff = 0, norm = 0;

    for (size_t i = 0; i < count; i++) {
        diff += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        norm += (double)b[i] * (double)b[i];
    }
    return norm > 0 ? sqrt(diff / norm) : sqrt(diff);
}

static dmq_status reference(dmq_conv_pass pass, const dmq_conv2d_args *a)
{
    return pass == DMQ_CONV_FORWARD         ? dmq_conv2d_forward_ref(NULL, a)
           : pass == DMQ_CONV_BACKWARD_DATA ? dmq_conv2d_backward_data_ref(NULL, a)
                                            : dmq_conv2d_backward_weights_ref(NULL, a);
}

/* Every algorithm against the reference, which is computed once. */
static void check_against_ref(dmq_queue *queue, const int *shape, int n, int add, int p)
{
    arrays s, r;
    size_t count;

    setup(&r, shape, n, add);
    assert_int_equal(reference((dmq_conv_pass)p, &r.a), DMQ_OK);
    for (int g = 0; g < 4; g++) {
        dmq_status st;
        double error;

        setup(&s, shape, n, add);
        st = dmq_cpu_conv_run(queue, (dmq_conv_pass)p, (dmq_conv_algorithm)g, &s.a);
        if (g == DMQ_CONV_AUTO || g == DMQ_CONV_IM2COL || st != DMQ_ENOTSUP)
            assert_int_equal(st, DMQ_OK);
        if (st == DMQ_OK) {
            const float *got = result(&s, (dmq_conv_pass)p, &count);

            error = distance(got, result(&r, (dmq_conv_pass)p, &count), count);
            if (!(error < 4e-6)) {
                fail_msg("%s by %s, c %d, %dx%d, k %d, add %d: error %g", passes[p], algorithms[g],
                         s.a.c, s.a.h, s.a.wd, s.a.k, add, error);
            }
            if (p == DMQ_CONV_BACKWARD_WEIGHTS)
                assert_true(distance(s.dbias, r.dbias, (size_t)s.a.k) < 4e-6);
        }
        teardown(&s);
    }
    teardown(&r);
}

static void test_against_ref(void **state)
{
    dmq_queue *queue = NULL;

    (void)state;
    assert_int_equal(dmq_backend_cpu()->queue_create(&queue, 0), DMQ_OK);
    for (int i = 0; i < SHAPES; i++) {
        for (int p = 0; p < 3; p++) {
            for (int add = 0; add < 2; add++)
                check_against_ref(queue, shapes[i], 3, add, p);
        }
    }
    dmq_backend_cpu()->queue_destroy(queue);
}

static void check_batch(dmq_queue *queue, const int *shape, int n, int p, int g);

/* The code of the narrower registers, which this machine would not choose. */
static void test_avx2(void **state)
{
    dmq_queue *queue = NULL;

    (void)state;
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        check_skip("Winograd with AVX2: this processor has no AVX2 and FMA");
    dmq_cpu_winograd_use(&dmq_winograd_avx2);
#else
    check_skip("Winograd with AVX2: this is no x86-64");
#endif
    assert_int_equal(dmq_backend_cpu()->queue_create(&queue, 0), DMQ_OK);
    for (int i = 0; i < SHAPES; i++) {
        for (int p = 0; p < 3; p++) {
            check_against_ref(queue, shapes[i], 3, p == 1, p);
            if (p < 2)
                check_batch(queue, shapes[i], 3, p, DMQ_CONV_WINOGRAD);
        }
    }
    dmq_backend_cpu()->queue_destroy(queue);
    dmq_cpu_winograd_use(NULL);
}

static void test_no_bias(void **state)
{
    dmq_queue *queue = NULL;
    arrays s, r;

    (void)state;
    assert_int_equal(dmq_backend_cpu()->queue_create(&queue, 0), DMQ_OK);
    for (int i = 0; i < SHAPES; i++) {
        for (int g = 0; g < 4; g++) {
            setup(&s, shapes[i], 2, 0);
            setup(&r, shapes[i], 2, 0);
            s.a.bias = r.a.bias = NULL;
            if (dmq_cpu_conv_run(queue, DMQ_CONV_FORWARD, (dmq_conv_algorithm)g, &s.a) == DMQ_OK) {
                assert_int_equal(dmq_conv2d_forward_ref(NULL, &r.a), DMQ_OK);
                assert_true(distance(s.y, r.y, 2 * s.out) < 4e-6);
            }
            teardown(&s);
            teardown(&r);
        }
    }
    dmq_backend_cpu()->queue_destroy(queue);
}

/* Images in the reverse order give the same images, bit for bit. */
static void check_order(dmq_queue *queue, const int *shape, int n, int p, int g)
{
    arrays s, r;
    size_t count, per;
    const float *got, *turned;

    setup(&s, shape, n, 0);
    setup(&r, shape, n, 0);
    for (int i = 0; i < n; i++) {
        size_t j = (size_t)(n - 1 - i);

        memcpy(r.x + j * r.in, s.x + (size_t)i * s.in, s.in * sizeof(float));
        memcpy(r.dy + j * r.out, s.dy + (size_t)i * s.out, s.out * sizeof(float));
    }
    if (dmq_cpu_conv_run(queue, (dmq_conv_pass)p, (dmq_conv_algorithm)g, &s.a) == DMQ_OK) {
        assert_int_equal(dmq_cpu_conv_run(queue, (dmq_conv_pass)p, (dmq_conv_algorithm)g, &r.a),
                         DMQ_OK);
        got = result(&s, (dmq_conv_pass)p, &count);
        turned = result(&r, (dmq_conv_pass)p, &count);
        per = count / (size_t)n;
        for (int i = 0; i < n; i++) {
            if (memcmp(got + (size_t)i * per, turned + (size_t)(n - 1 - i) * per,
                       per * sizeof(float)) != 0) {
                fail_msg("%s by %s, c %d, %dx%d, k %d: image %d depends on its place", passes[p],
                         algorithms[g], s.a.c, s.a.h, s.a.wd, s.a.k, i);
            }
        }
    }
    teardown(&s);
    teardown(&r);
}

static void test_place_in_batch(void **state)
{
    dmq_queue *queue = NULL;

    (void)state;
    assert_int_equal(dmq_backend_cpu()->queue_create(&queue, 0), DMQ_OK);
    for (int i = 0; i < SHAPES; i++) {
        for (int p = 0; p < 2; p++) {
            for (int g = 0; g < 4; g++) {
                for (int n = 4; n <= 16; n *= 2)
                    check_order(queue, shapes[i], n, p, g);
            }
        }
    }
    dmq_backend_cpu()->queue_destroy(queue);
}

/* A batch of n gives what its images give alone. */
static void check_batch(dmq_queue *queue, const int *shape, int n, int p, int g)
{
    arrays s, one;
    size_t count, per;
    const float *got, *alone;

    setup(&s, shape, n, 0);
    if (dmq_cpu_conv_run(queue, (dmq_conv_pass)p, (dmq_conv_algorithm)g, &s.a) == DMQ_OK) {
        got = result(&s, (dmq_conv_pass)p, &count);
        per = count / (size_t)n;
        setup(&one, shape, 1, 0);
        for (int i = 0; i < n; i++) {
            one.a.x = s.x + (size_t)i * s.in;
            one.a.dy = s.dy + (size_t)i * s.out;
            assert_int_equal(
                dmq_cpu_conv_run(queue, (dmq_conv_pass)p, (dmq_conv_algorithm)g, &one.a), DMQ_OK);
            alone = result(&one, (dmq_conv_pass)p, &count);
            if (memcmp(got + (size_t)i * per, alone, per * sizeof(float)) != 0) {
                fail_msg("%s by %s, c %d, %dx%d, k %d, n %d: image %d differs from alone",
                         passes[p], algorithms[g], s.a.c, s.a.h, s.a.wd, s.a.k, n, i);
            }
        }
        teardown(&one);
    }
    teardown(&s);
}

static void test_size_of_batch(void **state)
{
    dmq_queue *queue = NULL;

    (void)state;
    assert_int_equal(dmq_backend_cpu()->queue_create(&queue, 0), DMQ_OK);
    for (int i = 0; i < SHAPES; i++) {
        for (int p = 0; p < 2; p++) {
            for (int g = 1; g < 4; g++) {
                for (int n = 2; n <= 16; n = n * 2 + (n == 4))
                    check_batch(queue, shapes[i], n, p, g);
            }
        }
    }
    dmq_backend_cpu()->queue_destroy(queue);
}

/* ------------------------------------------------------------------ lanes */

enum { PIECES = 6 };

typedef struct shards {
    arrays piece[PIECES];
} shards;

static dmq_status all_passes(void *context, int piece, int lane, dmq_queue *queue)
{
    shards *s = context;
    const dmq_conv2d_args *a = &s->piece[piece].a;
    dmq_status st = DMQ_OK;

    (void)lane;
    DMQ_TRY(dmq_backend_cpu()->conv2d_forward(queue, a));
    DMQ_TRY(dmq_backend_cpu()->conv2d_backward_data(queue, a));
    DMQ_TRY(dmq_backend_cpu()->conv2d_backward_weights(queue, a));
done:
    return st;
}

static void run_shards(shards *s, const int *shape, int lanes_count)
{
    dmq_lanes *lanes = NULL;

    for (int i = 0; i < PIECES; i++) {
        unsigned seed = (unsigned)i + 1;

        setup(&s->piece[i], shape, 4, 0);
        fill(s->piece[i].x, 4 * s->piece[i].in, &seed);
    }
    assert_int_equal(dmq_lanes_create(&lanes, dmq_backend_cpu(), lanes_count), DMQ_OK);
    assert_int_equal(dmq_lanes_run(lanes, PIECES, all_passes, s), DMQ_OK);
    dmq_lanes_destroy(lanes);
}

static void test_number_of_lanes(void **state)
{
    static shards one, many;

    (void)state;
    for (int i = 0; i < SHAPES; i++) {
        run_shards(&one, shapes[i], 1);
        for (int lanes = 2; lanes <= 5; lanes += 3) {
            run_shards(&many, shapes[i], lanes);
            for (int p = 0; p < PIECES; p++) {
                const arrays *a = &one.piece[p], *b = &many.piece[p];

                assert_memory_equal(a->y, b->y, 4 * a->out * sizeof(float));
                assert_memory_equal(a->dx, b->dx, 4 * a->in * sizeof(float));
                assert_memory_equal(a->dw, b->dw, a->weights * sizeof(float));
                teardown(&many.piece[p]);
            }
        }
        for (int p = 0; p < PIECES; p++)
            teardown(&one.piece[p]);
    }
}

/* Weights are kept in a prepared form; those that change where they lie are noticed, by all lanes. */
static void test_changing_weights(void **state)
{
    dmq_lanes *lanes = NULL;
    shards s;
    arrays fresh;
    unsigned seed = 99;

    (void)state;
    assert_int_equal(dmq_lanes_create(&lanes, dmq_backend_cpu(), 3), DMQ_OK);
    for (int i = 0; i < PIECES; i++)
        setup(&s.piece[i], shapes[1], 4, 0);
    for (int i = 1; i < PIECES; i++)
        s.piece[i].a.w = s.piece[0].w;
    for (int round = 0; round < 8; round++) {
        if (round != 5) /* once the same again */
            fill(s.piece[0].w + round * 7, s.piece[0].weights - 50, &seed);
        assert_int_equal(dmq_lanes_run(lanes, PIECES, all_passes, &s), DMQ_OK);
        setup(&fresh, shapes[1], 4, 0);
        memcpy(fresh.w, s.piece[0].w, fresh.weights * sizeof(float));
        assert_int_equal(
            all_passes(&(shards){ .piece = { fresh } }, 0, 0, dmq_lanes_queue(lanes, 0)), DMQ_OK);
        for (int i = 0; i < PIECES; i++) {
            assert_memory_equal(s.piece[i].y, fresh.y, 4 * fresh.out * sizeof(float));
            assert_memory_equal(s.piece[i].dx, fresh.dx, 4 * fresh.in * sizeof(float));
        }
        teardown(&fresh);
    }
    for (int i = 0; i < PIECES; i++)
        teardown(&s.piece[i]);
    dmq_lanes_destroy(lanes);
}

/* Shapes seen once by any lane cost no allocation later, whichever lane meets them. */
static void test_no_allocation(void **state)
{
    dmq_lanes *lanes = NULL;
    shards s;
    long before;

    (void)state;
    assert_int_equal(dmq_lanes_create(&lanes, dmq_backend_cpu(), 3), DMQ_OK);
    for (int i = 0; i < PIECES; i++)
        setup(&s.piece[i], shapes[i], 4, 0);
    for (int i = 0; i < PIECES; i++)
        assert_int_equal(all_passes(&s, i, 0, dmq_lanes_queue(lanes, 0)), DMQ_OK);
    before = dmq_alloc_count();
    for (int i = 0; i < 10; i++)
        assert_int_equal(dmq_lanes_run(lanes, PIECES, all_passes, &s), DMQ_OK);
    assert_int_equal(dmq_alloc_count(), before);
    for (int i = 0; i < PIECES; i++)
        teardown(&s.piece[i]);
    dmq_lanes_destroy(lanes);
}

/* The n-th allocation fails: a clean ENOMEM, and the next try works. */
static void test_out_of_memory(void **state)
{
    dmq_status st = DMQ_ENOMEM;
    arrays s;

    (void)state;
    setup(&s, shapes[1], 2, 0);
    for (long n = 1; st != DMQ_OK; n++) {
        dmq_queue *queue = NULL;

        assert_true(n < 100);
        dmq_alloc_fail_at(n);
        st = dmq_backend_cpu()->queue_create(&queue, 0);
        if (st == DMQ_OK)
            st = dmq_backend_cpu()->conv2d_forward(queue, &s.a);
        if (st == DMQ_OK)
            st = dmq_backend_cpu()->conv2d_backward_weights(queue, &s.a);
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK || st == DMQ_ENOMEM);
        dmq_backend_cpu()->queue_destroy(queue);
    }
    teardown(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_ref),
        cmocka_unit_test(test_no_bias),
        cmocka_unit_test(test_place_in_batch),
        cmocka_unit_test(test_size_of_batch),
        cmocka_unit_test(test_number_of_lanes),
        cmocka_unit_test(test_no_allocation),
        cmocka_unit_test(test_changing_weights),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_avx2),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
