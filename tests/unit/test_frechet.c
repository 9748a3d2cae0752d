/* Frechet distance: against scipy in float64, at the widths of FID and sFID, singular covariances, closed forms; its
   bootstrap interval. */
#include "eval/frechet.h"

#include "base/log.h"
#include "base/memory.h"
#include "eval/moments.h"
#include "wide_features.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { D = 12 };

static void ok(dmq_status st)
{
    if (st != DMQ_OK)
        fail_msg("%s", dmq_message());
}

static dmq_gaussian *law_of(const float *x, size_t n, int d)
{
    size_t width = (size_t)d;
    double *mean = malloc(width * sizeof *mean), *cov = malloc(width * width * sizeof *cov);
    dmq_moments *m = NULL;
    dmq_gaussian *law = NULL;

    ok(dmq_moments_create(&m, d));
    ok(dmq_moments_add(m, x, n));
    ok(dmq_moments_result(m, mean, cov));
    ok(dmq_gaussian_create(&law, d, mean, cov));
    dmq_moments_destroy(m);
    free(mean);
    free(cov);
    return law;
}

static double between(const dmq_gaussian *a, const dmq_gaussian *b)
{
    double out;

    ok(dmq_frechet_between(&out, a, b));
    return out;
}

/* Distance of two sets, and of each to itself; relative error against the expected one. */
static void compare(const char *name, const float *a, size_t na, const float *b, size_t nb, int d,
                    double want, double tolerance)
{
    dmq_gaussian *x = law_of(a, na, d), *y = law_of(b, nb, d);
    double got = between(x, y), self = between(x, x);

    print_message("  %s: %.12g, relative error %.1e, ranks %d and %d, to itself %.1e\n", name, got,
                  fabs(got / want - 1), x->rank, y->rank, self);
    assert_true(fabs(got / want - 1) < tolerance);
    if (d == D)
        assert_true(fabs(between(y, x) / got - 1) < 1e-12);
    assert_true(fabs(self) < 1e-6);
    dmq_gaussian_destroy(x);
    dmq_gaussian_destroy(y);
}

static double golden(dmq_h5 *f, const char *name)
{
    double out;

    ok(dmq_h5_read_f64(&out, f, name, DMQ_DIMS(1)));
    return out;
}

static void against_scipy(void **state)
{
    static const struct {
        const char *name;
        int na, nb;
    } sets[] = { { "full", 90, 75 }, { "deficient", 7, 9 } };
    float a[90 * D], b[75 * D];
    dmq_h5 *f = NULL;

    (void)state;
    ok(dmq_h5_open(&f, DMQ_GOLDEN_DIR "/moments.h5", DMQ_H5_READ));
    for (int i = 0; i < 2; i++) {
        char name[32];

        (void)snprintf(name, sizeof name, "%s/a", sets[i].name);
        ok(dmq_h5_read_f32(a, f, name, DMQ_DIMS(sets[i].na, D)));
        (void)snprintf(name, sizeof name, "%s/b", sets[i].name);
        ok(dmq_h5_read_f32(b, f, name, DMQ_DIMS(sets[i].nb, D)));
        (void)snprintf(name, sizeof name, "%s/distance", sets[i].name);
        compare(sets[i].name, a, (size_t)sets[i].na, b, (size_t)sets[i].nb, D, golden(f, name),
                1e-11);
        if (i == 0) /* pytorch-fid's form, which is off by 3e-9 itself */
            compare("sqrtm", a, 90, b, 75, D, golden(f, "full/sqrtm"), 1e-8);
    }
    dmq_h5_close(f);
}

/* The widths of FID and sFID; the second with fewer images than numbers. */
static void wide(void **state)
{
    float *a = malloc((size_t)2304 * 2048 * sizeof *a),
          *b = malloc((size_t)2240 * 2048 * sizeof *b);
    dmq_h5 *f = NULL;

    (void)state;
    ok(dmq_h5_open(&f, DMQ_GOLDEN_DIR "/moments.h5", DMQ_H5_READ));
    wide_features(a, 0, 320, 2023);
    wide_features(b, 10000, 250, 2023);
    compare("2023", a, 320, b, 250, 2023, golden(f, "wide/deficient"), 1e-10);
    wide_features(a, 0, 2304, 2048);
    wide_features(b, 10000, 2240, 2048);
    compare("2048", a, 2304, b, 2240, 2048, golden(f, "wide/full"), 1e-10);
    dmq_h5_close(f);
    free(a);
    free(b);
}

/* Two diagonal Gaussians: sum (sqrt a - sqrt b)^2; and one that is a point. */
static void closed_form(void **state)
{
    double m[D] = { 0 }, a[D * D] = { 0 }, b[D * D] = { 0 }, zero[D * D] = { 0 }, want = 0, got;

    (void)state;
    for (int i = 0; i < D; i++) {
        a[i * D + i] = i;
        b[i * D + i] = 0.5 + 2.0 * i;
        want += pow(sqrt(i) - sqrt(0.5 + 2.0 * i), 2);
    }
    ok(dmq_frechet_distance(&got, D, m, a, m, b));
    assert_true(fabs(got - want) < 1e-12 * want);
    ok(dmq_frechet_distance(&got, D, m, a, m, zero));
    assert_true(fabs(got - D * (D - 1) / 2) < 1e-12 * got); /* the trace of a */
    m[3] = 2;
    ok(dmq_frechet_distance(&got, D, m, zero, (double[D]){ 0 }, zero));
    assert_true(got == 4);
}

static void refused(void **state)
{
    double m[D] = { 0 }, c[D * D] = { 0 };
    dmq_gaussian *a = NULL, *b = NULL;
    long warned = dmq_log_warnings("negative-covariance");
    double got;

    (void)state;
    for (int i = 0; i < D; i++)
        c[i * D + i] = 1;
    ok(dmq_gaussian_create(&a, D, m, c));
    ok(dmq_gaussian_create(&b, D - 1, m, c));
    assert_int_equal(dmq_frechet_between(&got, a, b), DMQ_ESHAPE);
    assert_int_equal(dmq_log_warnings("negative-covariance"),
                     warned + 1); /* c as (11, 11) is not one */
    dmq_gaussian_destroy(b);
    dmq_gaussian_destroy(a);
    c[5] = INFINITY;
    assert_int_equal(dmq_gaussian_create(&a, D, m, c), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "number 5 of the covariance is inf"));
}

/* Resamples by hand; the same bits on any number of threads. */
static void interval(void **state)
{
    enum { N = 200, B = 21 };
    const dmq_bootstrap how = { .resamples = B, .level = 0.9, .seed = 7 };
    float x[N * D], y[N * D], drawn[N * D];
    double value[B], sum = 0;
    uint32_t index[N];
    int threads = omp_get_max_threads();
    dmq_interval got, again;
    dmq_gaussian *reference;

    (void)state;
    wide_features(x, 0, N, D);
    wide_features(y, 5000, N, D);
    reference = law_of(x, N, D);
    omp_set_num_threads(3);
    ok(dmq_frechet_bootstrap(&got, reference, y, N, &how));
    omp_set_num_threads(1);
    ok(dmq_frechet_bootstrap(&again, reference, y, N, &how));
    omp_set_num_threads(threads);
    assert_memory_equal(&got, &again, sizeof got);
    for (int b = 0; b < B; b++) {
        dmq_gaussian *law;

        dmq_bootstrap_draw(index, 0, N, &how, b);
        for (int i = 0; i < N; i++)
            memcpy(drawn + i * D, y + index[i] * D, D * sizeof *y);
        law = law_of(drawn, N, D);
        value[b] = between(reference, law);
        sum += value[b];
        dmq_gaussian_destroy(law);
    }
    assert_true(fabs(got.mean / (sum / B) - 1) < 1e-12);
    for (int b = 0; b < B;
         b++) { /* sorted: 1 of 20 lies below the second, 1 above the last but one */
        int below = 0;

        for (int k = 0; k < B; k++)
            below += value[k] < value[b];
        if (below == 1)
            assert_true(fabs(got.low / value[b] - 1) < 1e-12);
        if (below == B - 2)
            assert_true(fabs(got.high / value[b] - 1) < 1e-12);
    }
    dmq_gaussian_destroy(reference);
}

/* Draws are uniform, and each resample has its own. */
static void draws(void **state)
{
    enum { N = 1000, B = 64 };
    const dmq_bootstrap how = { .seed = 3 };
    static uint32_t index[N], other[N];
    int count[N] = { 0 }, equal = 0, most = 0, absent = 0;

    (void)state;
    for (int b = 0; b < B; b++) {
        dmq_bootstrap_draw(index, 0, N, &how, b);
        for (int i = 0; i < N; i++)
            count[index[i]]++;
    }
    dmq_bootstrap_draw(other, 0, N, &how, 0);
    for (int i = 0; i < N; i++) {
        equal += index[i] == other[i];
        most = count[i] > most ? count[i] : most;
        absent += count[i] < B / 4;
    }
    assert_true(equal < 10);
    assert_true(most < 2 * B && absent == 0);
    dmq_bootstrap_draw(index, 6, 10, &how, 0); /* words 6 to 15, and 8 to 17 */
    dmq_bootstrap_draw(other, 8, 10, &how, 0);
    assert_memory_equal(other, index + 2, 8 * sizeof *other);
}

static void out_of_memory(void **state)
{
    const dmq_bootstrap how = { .resamples = 2, .level = 0.5, .seed = 1 };
    double m[D] = { 0 }, c[D * D] = { 0 }, got;
    float x[70 * D];
    int failures = 0;

    (void)state;
    wide_features(x, 0, 70, D);
    c[0] = 1;
    for (long n = 1; n < 200; n++) {
        dmq_gaussian *g = NULL;
        dmq_interval interval_out;
        dmq_status st;

        dmq_alloc_fail_at(n);
        st = dmq_frechet_distance(&got, D, m, c, m, c);
        if (st == DMQ_OK)
            st = dmq_gaussian_create(&g, D, m, c);
        if (st == DMQ_OK)
            st = dmq_frechet_bootstrap(&interval_out, g, x, 70, &how);
        dmq_alloc_fail_at(0);
        dmq_gaussian_destroy(g);
        if (st == DMQ_OK)
            break;
        assert_int_equal(st, DMQ_ENOMEM);
        failures++;
    }
    assert_true(failures > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_scipy), cmocka_unit_test(wide),     cmocka_unit_test(closed_form),
        cmocka_unit_test(refused),       cmocka_unit_test(interval), cmocka_unit_test(draws),
        cmocka_unit_test(out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
