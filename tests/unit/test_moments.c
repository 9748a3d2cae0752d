/* Moments: against plain sums in long double, any split at blocks in any order to the bit, files, and what is refused;
   the split of the paired error. */
#include "eval/moments.h"
#include "eval/paired.h"

#include "base/memory.h"
#include "scratch.h"
#include "wide_features.h"

#include <math.h>
#include <omp.h>

enum { D = 12, WIDE = 300 }; /* WIDE: several tiles, the last one cut */

static void ok(dmq_status st)
{
    if (st != DMQ_OK)
        fail_msg("%s", dmq_message());
}

static dmq_moments *moments(const float *x, size_t rows, int d)
{
    dmq_moments *m = NULL;

    ok(dmq_moments_create(&m, d));
    ok(dmq_moments_add(m, x, rows));
    return m;
}

static void same(const dmq_moments *a, const dmq_moments *b)
{
    size_t d = (size_t)a->d;

    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->sum, b->sum, 3 * d * sizeof(double));
    assert_memory_equal(a->outer, b->outer, 3 * d * d * sizeof(double));
}

/* Mean and covariance by their definition in long double: numbers of every size, means far from 0. */
static void by_definition(void **state)
{
    enum { N = 333 };
    float *x = malloc((size_t)N * D * sizeof *x);
    double mean[D], cov[D * D], worst = 0, left;
    long double want_mean[D] = { 0 };
    dmq_moments *m;

    (void)state;
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < D; j++) {
            x[i * D + j] = (float)((sin(0.37 * i * (j + 1)) + (j % 3) * 5) * pow(10, j - 6));
            want_mean[j] += (long double)x[i * D + j] / N;
        }
    }
    m = moments(x, N, D);
    ok(dmq_moments_result(m, mean, cov));
    for (int j = 0; j < D; j++) {
        assert_true(fabs(mean[j] - (double)want_mean[j]) <= 1e-14 * fabs((double)want_mean[j]));
        for (int k = 0; k < D; k++) {
            long double want = 0, scale = 0;

            for (int i = 0; i < N; i++) {
                want += (x[i * D + j] - want_mean[j]) * (x[i * D + k] - want_mean[k]) / (N - 1);
                scale += fabsl((long double)x[i * D + j] * x[i * D + k]) / (N - 1);
            }
            /* six blocks leave 2^-69 each: it matters to products of 1e-12 alone */
            left = fmax(fabs(cov[j * D + k] - (double)want) - 6 * 0x1p-69 / (N - 1), 0);
            worst = fmax(worst, left / (double)scale);
            assert_true(cov[j * D + k] == cov[k * D + j]);
        }
    }
    print_message("  worst error of a covariance: %.1e of the mean product\n", worst);
    assert_true(worst < 2e-15);
    dmq_moments_destroy(m);
    free(x);
}

/* Shards of a set split at multiples of 64, each added in calls of its own, merged forwards, backwards, in a tree. */
static void any_sharding(void **state)
{
    enum { N = 64 * 11 + 40 };
    static const int ends[][6] = { { 0, N },
                                   { 0, 64, N },
                                   { 0, 128, 192, N },
                                   { 0, 64 * 5, 64 * 10, N },
                                   { 0, 64, 128, 256, 64 * 11, N } };
    float *x = malloc((size_t)N * WIDE * sizeof *x);
    dmq_moments *all, *part[5] = { NULL };

    (void)state;
    wide_features(x, 7, N, WIDE);
    all = moments(x, N, WIDE);
    for (size_t k = 0; k < sizeof ends / sizeof *ends; k++) {
        for (int way = 0; way < 2; way++) {
            int parts = 0, kept;

            for (; ends[k][parts] < N; parts++) {
                size_t from = (size_t)ends[k][parts], n = (size_t)ends[k][parts + 1] - from;
                size_t first = n > 64 * 3 ? 64 * 3 : n;

                part[parts] = moments(x + from * WIDE, first, WIDE);
                ok(dmq_moments_add(part[parts], x + (from + first) * WIDE, n - first));
            }
            kept = way ? parts - 1 : 0;
            for (int i = 0; i < parts; i++) {
                if (i != kept)
                    ok(dmq_moments_merge(part[kept], part[i]));
            }
            same(part[kept], all);
            for (int i = 0; i < parts; i++)
                dmq_moments_destroy(part[i]);
        }
    }
    /* which a split elsewhere does not give: the test would see other bits */
    part[0] = moments(x, 100, WIDE);
    ok(dmq_moments_add(part[0], x + 100 * WIDE, N - 100));
    assert_memory_not_equal(part[0]->outer, all->outer, 3 * WIDE * WIDE * sizeof(double));
    dmq_moments_destroy(part[0]);
    dmq_moments_destroy(all);
    free(x);
}

static void any_threads(void **state)
{
    float *x = malloc((size_t)500 * WIDE * sizeof *x);
    int threads = omp_get_max_threads();
    dmq_moments *one, *five;

    (void)state;
    wide_features(x, 0, 500, WIDE);
    omp_set_num_threads(1);
    one = moments(x, 500, WIDE);
    omp_set_num_threads(5);
    five = moments(x, 500, WIDE);
    omp_set_num_threads(threads);
    same(one, five);
    dmq_moments_destroy(one);
    dmq_moments_destroy(five);
    free(x);
}

static void in_a_file(void **state)
{
    float x[200 * D];
    dmq_moments *m, *back = NULL;
    dmq_h5 *f = NULL;
    double sums[3 * D] = { 0 };

    (void)state;
    wide_features(x, 3, 200, D);
    m = moments(x, 200, D);
    ok(dmq_h5_open(&f, in_folder("m.h5"), DMQ_H5_WRITE));
    ok(dmq_moments_save(f, "pool", m));
    ok(dmq_moments_save(f, "spatial", m));
    sums[2 * D] = 1e-30; /* no multiple of 2^-68 */
    ok(dmq_h5_write_f64(f, "odd/sum", DMQ_DIMS(3, D), sums));
    ok(dmq_h5_create(f, "odd/outer", DMQ_H5_F64, DMQ_DIMS(3, D * (D + 1) / 2)));
    ok(dmq_h5_attr_set_i64(f, "odd", "n", 2));
    ok(dmq_h5_attr_set_i64(f, "odd", "d", D));
    ok(dmq_h5_create(f, "wide/outer", DMQ_H5_F64, DMQ_DIMS(3, D * (D + 1) / 2)));
    ok(dmq_h5_attr_set_i64(f, "wide", "n", 2));
    ok(dmq_h5_attr_set_i64(f, "wide", "d", 60000)); /* room for it would be 86 GB */
    ok(dmq_h5_commit(f));
    dmq_h5_close(f);
    ok(dmq_h5_open(&f, in_folder("m.h5"), DMQ_H5_READ));
    ok(dmq_moments_load(&back, f, "spatial"));
    same(back, m);
    dmq_moments_destroy(back);
    assert_int_equal(dmq_moments_load(&back, f, "odd"), DMQ_EDATA);
    assert_int_equal(dmq_moments_load(&back, f, "wide"), DMQ_ESHAPE);
    dmq_h5_close(f);
    dmq_moments_destroy(m);
}

/* What cannot be added is named, and changes nothing. */
static void refused(void **state)
{
    float x[130 * D];
    double mean[D], cov[D * D];
    dmq_moments *m, *before, *other = NULL;

    (void)state;
    wide_features(x, 0, 130, D);
    m = moments(x, 130, D);
    before = moments(x, 130, D);
    x[129 * D + 3] = NAN;
    assert_int_equal(dmq_moments_add(m, x, 130), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "row 259 is not finite: number 3 is nan"));
    x[129 * D + 3] = 0x1p24f;
    assert_int_equal(dmq_moments_add(m, x, 130), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "row 259 is not below 2^24: number 3 is 1.67772e+07"));
    same(m, before);
    ok(dmq_moments_create(&other, D + 1));
    assert_int_equal(dmq_moments_merge(m, other), DMQ_ESHAPE);
    assert_int_equal(dmq_moments_result(other, mean, cov), DMQ_EDATA);
    m->n = DMQ_MOMENTS_ROWS; /* as if */
    assert_int_equal(dmq_moments_merge(m, before), DMQ_EDATA);
    dmq_moments_destroy(other);
    dmq_moments_destroy(before);
    dmq_moments_destroy(m);
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
    float x[70 * D];
    int failures = 0;

    (void)state;
    wide_features(x, 0, 70, D);
    for (long n = 1; n < 100; n++) {
        dmq_moments *m = NULL;
        dmq_status st;

        dmq_alloc_fail_at(n);
        st = dmq_moments_create(&m, D);
        if (st == DMQ_OK)
            st = dmq_moments_add(m, x, 70);
        dmq_alloc_fail_at(0);
        dmq_moments_destroy(m);
        if (st == DMQ_OK)
            break;
        assert_int_equal(st, DMQ_ENOMEM);
        failures++;
    }
    assert_int_equal(failures, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_definition), cmocka_unit_test(any_sharding),
        cmocka_unit_test(any_threads),   cmocka_unit_test(in_a_file),
        cmocka_unit_test(refused),       cmocka_unit_test(paired),
        cmocka_unit_test(out_of_memory),
    };

    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
