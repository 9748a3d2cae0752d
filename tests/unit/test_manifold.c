/* Precision, recall, density, coverage and the kernel distance against numpy in float64: equal points, distances that
   are radii, differences that FP32 products cannot see; toys by hand. */
#include "eval/kid.h"
#include "eval/manifold.h"

#include "base/memory.h"
#include "io/h5.h"
#include "wide_features.h"

#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void ok(dmq_status st)
{
    if (st != DMQ_OK)
        fail_msg("%s", dmq_message());
}

static float *plain(size_t first, size_t n, size_t d)
{
    float *x = malloc(n * d * sizeof *x);

    wide_features(x, first, n, d);
    return x;
}

static float *floors(size_t first, size_t n, size_t d, double times)
{
    float *x = plain(first, n, d);

    for (size_t i = 0; i < n * d; i++)
        x[i] = (float)floor((double)x[i] * times);
    return x;
}

/* Two clusters 8192 apart, in which points are a few units of the last place from each other. */
static float *near(size_t first, size_t n)
{
    float *x = floors(first, n, 3, 8);

    for (size_t i = 0; i < 3 * n; i++)
        x[i] = x[i] / 1024 + (i / 3 % 2 ? -4096 : 4096);
    return x;
}

static void manifold(dmq_manifold *out, const float *real, size_t n_real, const float *generated,
                     size_t n_generated, int d, int k)
{
    dmq_balls *r = NULL, *g = NULL;

    ok(dmq_balls_create(&r, real, n_real, d, k));
    ok(dmq_balls_create(&g, generated, n_generated, d, k));
    ok(dmq_manifold_compare(out, r, g));
    dmq_balls_destroy(r);
    dmq_balls_destroy(g);
}

/* On one thread and on three; shares of whole numbers are equal, not close. Takes both sets. */
static void expect(dmq_h5 *f, const char *name, float *real, size_t n_real, float *generated,
                   size_t n_generated, int d, int k)
{
    double want[4];
    dmq_manifold m, again;
    int threads = omp_get_max_threads();

    ok(dmq_h5_read_f64(want, f, name, DMQ_DIMS(4)));
    omp_set_num_threads(1);
    manifold(&m, real, n_real, generated, n_generated, d, k);
    omp_set_num_threads(3);
    manifold(&again, real, n_real, generated, n_generated, d, k);
    omp_set_num_threads(threads);
    print_message("  %s: %.5f %.5f %.5f %.5f\n", name, m.precision, m.recall, m.density,
                  m.coverage);
    assert_memory_equal(&m, &again, sizeof m);
    assert_true(m.precision == want[0] && m.recall == want[1]);
    assert_true(m.density == want[2] && m.coverage == want[3]);
    free(real);
    free(generated);
}

static void against_numpy(void **state)
{
    dmq_h5 *f = NULL;

    (void)state;
    ok(dmq_h5_open(&f, DMQ_GOLDEN_DIR "/manifold.h5", DMQ_H5_READ));
    expect(f, "plain", plain(0, 1100, 20), 1100, plain(20000, 300, 20), 300, 20, 3);
    expect(f, "near", near(1, 700), 700, near(30001, 400), 400, 3, 5);
    expect(f, "few", floors(2, 300, 2, 2), 300, floors(40002, 280, 2, 2), 280, 2, 2);
    dmq_h5_close(f);
}

/*
 * k = 1. Real 0 1 3 7: squared radii 1 1 4 16. Generated 2 5 5 20: radii 3 0 0 15.
 *   2 is in the balls of 1 (at its radius) and 3; 5 in those of 3 (at its radius) and 7; 20 in none.
 *   The ball of 2, 3 wide, holds 0 1 3; those of 5 hold nothing but 5; that of 20, 15 wide, holds 7.
 *   The own balls of 1, 3 and 7 hold a generated point, that of 0 does not.
 */
static void by_hand(void **state)
{
    const float real[4] = { 0, 1, 3, 7 }, generated[4] = { 2, 5, 5, 20 };
    const double radius2[2][4] = { { 1, 1, 4, 16 }, { 9, 0, 0, 225 } };
    dmq_balls *r = NULL, *g = NULL;
    dmq_manifold m;

    (void)state;
    ok(dmq_balls_create(&r, real, 4, 1, 1));
    ok(dmq_balls_create(&g, generated, 4, 1, 1));
    assert_memory_equal(r->radius2, radius2[0], sizeof radius2[0]);
    assert_memory_equal(g->radius2, radius2[1], sizeof radius2[1]);
    ok(dmq_manifold_compare(&m, r, g));
    assert_true(m.precision == 0.75);
    assert_true(m.recall == 1);
    assert_true(m.density == 6.0 / 4);
    assert_true(m.coverage == 0.75);
    ok(dmq_manifold_compare(&m, r, r));
    assert_true(m.precision == 1 && m.recall == 1 && m.coverage == 1);
    dmq_balls_destroy(r);
    dmq_balls_destroy(g);
}

static void refused(void **state)
{
    float x[12] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 };
    dmq_balls *a = NULL, *b = NULL;
    dmq_manifold m;
    double mean;

    (void)state;
    assert_int_equal(dmq_balls_create(&a, x, 3, 2, 3), DMQ_EDATA);
    ok(dmq_balls_create(&a, x, 6, 2, 2));
    ok(dmq_balls_create(&b, x, 4, 3, 2));
    assert_int_equal(dmq_manifold_compare(&m, a, b), DMQ_ESHAPE);
    dmq_balls_destroy(a);
    dmq_balls_destroy(b);
    x[7] = NAN;
    assert_int_equal(dmq_balls_create(&a, x, 6, 2, 2), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "row 3 is not finite"));
    assert_int_equal(
        dmq_kid(&mean, NULL, x, 3, x, 6, 2, &(dmq_kid_config){ .subsets = 1, .size = 3 }),
        DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "real features: row 3 is not finite"));
    assert_int_equal(
        dmq_kid(&mean, NULL, x, 3, x, 6, 2, &(dmq_kid_config){ .subsets = 1, .size = 4 }),
        DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "3 generated images cannot make subsets of 4"));
    x[7] = 1e30f;
    assert_int_equal(dmq_balls_create(&a, x, 6, 2, 2), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "row 3 is not below 2^24"));
}

static void kid(void **state)
{
    const dmq_kid_config config = { .subsets = 7, .size = 150, .seed = 2020 };
    float *generated = plain(20000, 260, 20), *real = plain(0, 300, 20);
    double want[2], mean, sd, again;
    int threads = omp_get_max_threads();
    dmq_h5 *f = NULL;

    (void)state;
    ok(dmq_h5_open(&f, DMQ_GOLDEN_DIR "/manifold.h5", DMQ_H5_READ));
    ok(dmq_h5_read_f64(want, f, "kid", DMQ_DIMS(2)));
    omp_set_num_threads(1);
    ok(dmq_kid(&mean, &sd, generated, 260, real, 300, 20, &config));
    omp_set_num_threads(3);
    ok(dmq_kid(&again, NULL, generated, 260, real, 300, 20, &config));
    omp_set_num_threads(threads);
    print_message("  %.9f, %.9f\n", mean, sd);
    assert_true(mean == again);
    assert_true(fabs(mean / want[0] - 1) < 1e-10);
    assert_true(fabs(sd / want[1] - 1) < 1e-10);
    dmq_h5_close(f);
    free(generated);
    free(real);
}

static void out_of_memory(void **state)
{
    const dmq_kid_config config = { .subsets = 2, .size = 5, .seed = 1 };
    float x[20 * 4];
    int failures = 0;

    (void)state;
    wide_features(x, 0, 20, 4);
    for (long n = 1; n < 300; n++) {
        dmq_balls *b = NULL;
        dmq_manifold m;
        double mean;
        dmq_status st;

        dmq_alloc_fail_at(n);
        st = dmq_balls_create(&b, x, 20, 4, 3);
        if (st == DMQ_OK)
            st = dmq_manifold_compare(&m, b, b);
        if (st == DMQ_OK)
            st = dmq_kid(&mean, NULL, x, 20, x, 20, 4, &config);
        dmq_alloc_fail_at(0);
        dmq_balls_destroy(b);
        if (st == DMQ_OK)
            break;
        assert_int_equal(st, DMQ_ENOMEM);
        failures++;
    }
    assert_true(failures >= 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_numpy), cmocka_unit_test(by_hand),       cmocka_unit_test(refused),
        cmocka_unit_test(kid),           cmocka_unit_test(out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
