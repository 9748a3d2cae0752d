/* Inception score against scipy in float64, in the orders of torch-fidelity and ADM; NumPy's permutations; the
   bootstrap interval. */
#include "eval/inception_score.h"

#include "base/memory.h"
#include "eval/numpy_random.h"
#include "io/h5.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 50, CLASSES = 10 };

static float logits[N * CLASSES];

static void ok(dmq_status st)
{
    if (st != DMQ_OK)
        fail_msg("%s", dmq_message());
}

static void expect(dmq_h5 *f, const char *name, const dmq_score_parts *parts)
{
    double want[2], mean, sd;

    ok(dmq_h5_read_f64(want, f, name, DMQ_DIMS(2)));
    ok(dmq_inception_score(&mean, &sd, logits, N, CLASSES, parts));
    print_message("  %s: %.9f, %.9f\n", name, mean, sd);
    assert_true(fabs(mean / want[0] - 1) < 1e-12);
    assert_true(fabs(sd / want[1] - 1) < 1e-10);
}

static void against_scipy(void **state)
{
    dmq_numpy_random random;
    uint32_t order[N];
    dmq_h5 *f = NULL;

    (void)state;
    ok(dmq_h5_open(&f, DMQ_GOLDEN_DIR "/moments.h5", DMQ_H5_READ));
    ok(dmq_h5_read_f32(logits, f, "logits", DMQ_DIMS(N, CLASSES)));
    expect(f, "score", &(dmq_score_parts){ .splits = 4 });
    dmq_numpy_random_init(&random, 2020);
    dmq_numpy_permutation(order, N, &random);
    expect(f, "score_shuffled", &(dmq_score_parts){ .order = order, .splits = 10 });
    expect(f, "score_parts", &(dmq_score_parts){ .part = 16 }); /* 16, 16, 16, 2 */
    dmq_h5_close(f);
}

/* One generator through permutations of growing length, as a KID's subsets are drawn. */
static void permutations(void **state)
{
    static const int sizes[] = { 1, 2, 50, 1000, 65537, 70000 };
    uint32_t *order = malloc(70000 * sizeof *order);
    int32_t want[64];
    dmq_numpy_random random;
    dmq_h5 *f = NULL;

    (void)state;
    ok(dmq_h5_open(&f, DMQ_GOLDEN_DIR "/moments.h5", DMQ_H5_READ));
    dmq_numpy_random_init(&random, 2020);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        int n = sizes[k], step = n / 50 > 1 ? n / 50 : 1, kept = (n + step - 1) / step;
        int64_t sum, got = 0;
        char name[32];

        (void)snprintf(name, sizeof name, "permutation/%d", n);
        ok(dmq_h5_read_i32(want, f, name, DMQ_DIMS(kept)));
        ok(dmq_h5_attr_i64(&sum, f, name, "sum"));
        dmq_numpy_permutation(order, (size_t)n, &random);
        for (int i = 0; i < n; i++) {
            got += (int64_t)order[i] * (i + 1);
            if (i % step == 0)
                assert_int_equal(order[i], want[i / step]);
        }
        assert_int_equal(got % ((int64_t)1 << 31), sum);
    }
    dmq_h5_close(f);
    free(order);
}

static void limits(void **state)
{
    const dmq_score_parts one = { .splits = 1 };
    float same[20 * 4] = { 0 }, distinct[20 * 4];
    double mean, sd;

    (void)state;
    for (int i = 0; i < 20; i++) {
        for (int j = 0; j < 4; j++)
            distinct[i * 4 + j] = i % 4 == j ? 2000 : -2000; /* p is 0 elsewhere */
    }
    ok(dmq_inception_score(&mean, &sd, same, 20, 4, &one));
    assert_true(fabs(mean - 1) < 1e-12 && sd == 0);
    ok(dmq_inception_score(&mean, NULL, distinct, 20, 4, &one));
    assert_true(fabs(mean - 4) < 1e-9);
    assert_int_equal(
        dmq_inception_score(&mean, &sd, same, 3, 4, &(dmq_score_parts){ .splits = 10 }), DMQ_EDATA);
    assert_int_equal(dmq_inception_score(&mean, &sd, same, 0, 4, &(dmq_score_parts){ .part = 8 }),
                     DMQ_EDATA);
    same[13 * 4 + 2] = INFINITY;
    assert_int_equal(dmq_inception_score(&mean, &sd, same, 20, 4, &one), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "image 13: logit 2 is inf"));
}

/* Every resample by hand: images copied as often as they were drawn. */
static void interval(void **state)
{
    enum { B = 130, SPLITS = 3 }; /* more than are summed together */
    const dmq_bootstrap how = { .resamples = B, .level = 0.8, .seed = 11 };
    const dmq_score_parts parts = { .splits = SPLITS };
    float drawn[N * CLASSES];
    uint32_t index[N];
    double sum = 0, least = INFINITY, most = 0, mean;
    int threads = omp_get_max_threads();
    dmq_interval got, again;

    (void)state;
    omp_set_num_threads(3);
    ok(dmq_inception_score_bootstrap(&got, logits, N, CLASSES, &parts, &how));
    omp_set_num_threads(1);
    ok(dmq_inception_score_bootstrap(&again, logits, N, CLASSES, &parts, &how));
    omp_set_num_threads(threads);
    assert_memory_equal(&got, &again, sizeof got);
    for (int b = 0; b < B; b++) {
        for (int s = 0; s < SPLITS; s++) {
            int from = N * s / SPLITS, n = N * (s + 1) / SPLITS - from;

            dmq_bootstrap_draw(index, (size_t)from, (size_t)n, &how, b);
            for (int i = 0; i < n; i++) {
                memcpy(drawn + (from + i) * CLASSES, logits + (from + (int)index[i]) * CLASSES,
                       CLASSES * sizeof *drawn);
            }
        }
        ok(dmq_inception_score(&mean, NULL, drawn, N, CLASSES, &parts));
        sum += mean;
        least = fmin(least, mean);
        most = fmax(most, mean);
    }
    print_message("  %.4f in [%.4f, %.4f]\n", got.mean, got.low, got.high);
    assert_true(fabs(got.mean / (sum / B) - 1) < 1e-12);
    assert_true(least < got.low && got.low < got.mean && got.mean < got.high && got.high < most);
}

static void out_of_memory(void **state)
{
    const dmq_bootstrap how = { .resamples = 2, .level = 0.5, .seed = 1 };
    const dmq_score_parts parts = { .splits = 2 };
    int failures = 0;

    (void)state;
    for (long n = 1; n < 100; n++) {
        dmq_interval out;
        double mean;
        dmq_status st;

        dmq_alloc_fail_at(n);
        st = dmq_inception_score(&mean, NULL, logits, N, CLASSES, &parts);
        if (st == DMQ_OK)
            st = dmq_inception_score_bootstrap(&out, logits, N, CLASSES, &parts, &how);
        dmq_alloc_fail_at(0);
        if (st == DMQ_OK)
            break;
        assert_int_equal(st, DMQ_ENOMEM);
        failures++;
    }
    assert_true(failures >= 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_scipy), cmocka_unit_test(permutations),  cmocka_unit_test(limits),
        cmocka_unit_test(interval),      cmocka_unit_test(out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
