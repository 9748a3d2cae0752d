/* Frechet distance and inception score against scipy in float64; splits of the moments; the split of the
   paired error. */
#include "eval/moments.h"
#include "eval/paired.h"

#include "base/memory.h"
#include "io/h5.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { D = 12 };

static void ok(dmq_status st)
{
    if (st != DMQ_OK)
        fail_msg("%s", dmq_message());
}

static double distance(const float *a, size_t na, const float *b, size_t nb)
{
    dmq_moments *m = NULL;
    double mean[2][D], cov[2][D * D], out;

    for (int i = 0; i < 2; i++) {
        ok(dmq_moments_create(&m, D));
        ok(dmq_moments_add(m, i ? b : a, i ? nb : na));
        ok(dmq_moments_result(m, mean[i], cov[i]));
        dmq_moments_destroy(m);
    }
    ok(dmq_frechet_distance(&out, D, mean[0], cov[0], mean[1], cov[1]));
    return out;
}

static void against_scipy(void **state)
{
    static const struct {
        const char *name;
        int na, nb;
    } sets[] = { { "full", 90, 75 }, { "deficient", 7, 9 } };
    float a[90 * D], b[75 * D], logits[50 * 10];
    double want[2], mean, sd;
    dmq_h5 *f = NULL;

    (void)state;
    ok(dmq_h5_open(&f, DMQ_GOLDEN_DIR "/moments.h5", DMQ_H5_READ));
    for (int i = 0; i < 2; i++) {
        char name[32];
        double got;

        (void)snprintf(name, sizeof name, "%s/a", sets[i].name);
        ok(dmq_h5_read_f32(a, f, name, DMQ_DIMS(sets[i].na, D)));
        (void)snprintf(name, sizeof name, "%s/b", sets[i].name);
        ok(dmq_h5_read_f32(b, f, name, DMQ_DIMS(sets[i].nb, D)));
        (void)snprintf(name, sizeof name, "%s/distance", sets[i].name);
        ok(dmq_h5_read_f64(want, f, name, DMQ_DIMS(1)));
        got = distance(a, (size_t)sets[i].na, b, (size_t)sets[i].nb);
        print_message("  %s: %.9f, relative error %.1e\n", sets[i].name, got,
                      fabs(got / want[0] - 1));
        assert_true(fabs(got / want[0] - 1) < 1e-6);
        assert_true(fabs(distance(a, (size_t)sets[i].na, a, (size_t)sets[i].na)) < 1e-6);
    }
    ok(dmq_h5_read_f32(logits, f, "logits", DMQ_DIMS(50, 10)));
    ok(dmq_h5_read_f64(want, f, "score", DMQ_DIMS(2)));
    ok(dmq_inception_score(&mean, &sd, logits, 50, 10, 4));
    assert_true(fabs(mean / want[0] - 1) < 1e-10);
    assert_true(fabs(sd / want[1] - 1) < 1e-6);
    dmq_h5_close(f);
}

/* Two diagonal Gaussians: sum (sqrt a - sqrt b)^2. */
static void closed_form(void **state)
{
    double m[D] = { 0 }, a[D * D] = { 0 }, b[D * D] = { 0 }, want = 0, got;

    (void)state;
    for (int i = 0; i < D; i++) {
        a[i * D + i] = i;
        b[i * D + i] = 0.5 + 2.0 * i;
        want += pow(sqrt(i) - sqrt(0.5 + 2.0 * i), 2);
    }
    ok(dmq_frechet_distance(&got, D, m, a, m, b));
    assert_true(fabs(got - want) < 1e-12 * want);
}

static void inception_limits(void **state)
{
    float same[20 * 4] = { 0 }, distinct[20 * 4];
    double mean, sd;

    (void)state;
    for (int i = 0; i < 20; i++) {
        for (int j = 0; j < 4; j++)
            distinct[i * 4 + j] = i % 4 == j ? 200 : -200;
    }
    ok(dmq_inception_score(&mean, &sd, same, 20, 4, 1));
    assert_true(fabs(mean - 1) < 1e-12);
    ok(dmq_inception_score(&mean, &sd, distinct, 20, 4, 1));
    assert_true(fabs(mean - 4) < 1e-9);
    assert_int_equal(dmq_inception_score(&mean, &sd, same, 3, 4, 10), DMQ_EDATA);
}

/* Blocks of 64 rows in order: a split there gives the same bits. */
static void split_at_a_block(void **state)
{
    float x[200 * D];
    dmq_moments *one = NULL, *two = NULL;

    (void)state;
    for (int i = 0; i < 200 * D; i++)
        x[i] = (float)sin(0.37 * i);
    ok(dmq_moments_create(&one, D));
    ok(dmq_moments_create(&two, D));
    ok(dmq_moments_add(one, x, 200));
    ok(dmq_moments_add(two, x, 128));
    ok(dmq_moments_add(two, x + 128 * D, 72));
    assert_memory_equal(one->sum, two->sum, D * sizeof(double));
    assert_memory_equal(one->outer, two->outer, D * D * sizeof(double));
    x[5 * D] = NAN;
    assert_int_equal(dmq_moments_add(two, x, 200), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "row 205"));
    dmq_moments_destroy(one);
    dmq_moments_destroy(two);
}

static void paired(void **state)
{
    const float f[6] = { 0, 0, 0, 0, 0, 0 }, q[6] = { 1, 0, 3, 0, 2, 0 };
    dmq_paired p, cut;
    dmq_paired_sum *sum = NULL;

    (void)state;
    ok(dmq_paired_error(&p, q, f, 3, 2)); /* differences 1, 3, 2 in the first element, mean 2 */
    assert_true(fabs(p.mse - 14.0 / 6) < 1e-12);
    assert_true(fabs(p.bias - 2) < 1e-12);
    assert_true(fabs(p.rest - (14.0 / 6 - 2)) < 1e-12);
    assert_true(fabs(p.psnr - 10 * log10(4 / (14.0 / 6))) < 1e-12);
    /* in two cuts, the same bits */
    ok(dmq_paired_create(&sum, 2));
    ok(dmq_paired_add(sum, q, f, 1));
    ok(dmq_paired_add(sum, q + 2, f + 2, 2));
    dmq_paired_result(&cut, sum);
    ok(dmq_paired_error(&p, q, f, 3, 2));
    assert_memory_equal(&cut, &p, sizeof p);
    dmq_paired_destroy(sum);
}

static void out_of_memory(void **state)
{
    double m[D] = { 0 }, c[D * D] = { 0 }, got;
    int failures = 0;

    (void)state;
    for (long n = 1; n < 100; n++) {
        dmq_moments *x = NULL;
        dmq_status st;

        dmq_alloc_fail_at(n);
        st = dmq_moments_create(&x, D);
        if (st == DMQ_OK)
            st = dmq_frechet_distance(&got, D, m, c, m, c);
        dmq_alloc_fail_at(0);
        dmq_moments_destroy(x);
        if (st == DMQ_OK)
            break;
        assert_int_equal(st, DMQ_ENOMEM);
        failures++;
    }
    assert_true(failures >= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_scipy),    cmocka_unit_test(closed_form),
        cmocka_unit_test(inception_limits), cmocka_unit_test(split_at_a_block),
        cmocka_unit_test(paired),           cmocka_unit_test(out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
