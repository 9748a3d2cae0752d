/* Sample weights: softmax over a batch and its gradient. */
#include "check.h"

static void run(const check_on *on, dmq_real *w, dmq_real *ds, const dmq_real *s, const dmq_real *d,
                int n, double tau)
{
    size_t count = (size_t)n;
    dmq_real *weight = check_room(on, NULL, count), *gradient = check_room(on, NULL, count);
    dmq_simplex_args a = { .s = check_up_real(on, s, count),
                           .w = weight,
                           .d = check_up_real(on, d, count),
                           .ds = gradient,
                           .n = n,
                           .tau = (dmq_real)tau };

    CHECK_RUN(on, simplex_forward, &a);
    check_down_real(on, w, weight, count);
    if (!ds)
        return;
    CHECK_RUN(on, simplex_backward, &a);
    check_down_real(on, ds, gradient, count);
}

static void values_of_pytorch(void **state)
{
    enum { N = 24 };
    dmq_h5 *file = check_golden_open("simplex");
    dmq_real *s = check_golden_real(file, "all", "s", N),
             *d = check_golden_real(file, "all", "d", N);
    dmq_real *w = check_reals(N), *ds = check_reals(N);

    (void)state;
    for (int k = 0; k < 2; k++) {
        run(&check_device, w, ds, s, d, N, k ? 0.1 : 1.0);
        check_close_to("w", w, check_golden(file, "all", k ? "w_0_1" : "w_1_0", N), N, 1e-9, 1e-6,
                       1);
        check_close_to("ds", ds, check_golden(file, "all", k ? "ds_0_1" : "ds_1_0", N), N, 1e-7,
                       1e-6, 1);
    }
    dmq_h5_close(file);
    check_report("golden");
}

static void same_as_the_reference(void **state)
{
    (void)state;
    for (int n = 1; n < 600; n = 3 * n + 1) {
        uint64_t stream = check_stream((uint64_t)n);
        size_t count = (size_t)n;
        dmq_real *s = check_random(count, &stream), *d = check_random(count, &stream);
        dmq_real *w[2] = { check_reals(count), check_reals(count) };
        dmq_real *ds[2] = { check_reals(count), check_reals(count) };
        double sum = 0;

        s[0] = 300; /* no overflow */
        run(&check_device, w[0], ds[0], s, d, n, 2.0);
        run(&check_ref, w[1], ds[1], s, d, n, 2.0);
        check_same("w", w[0], w[1], n > 1 ? 1 : count, 1e-7, 1e-6, 1);
        s[0] = 0;
        run(&check_device, w[0], ds[0], s, d, n, 0.5);
        run(&check_ref, w[1], ds[1], s, d, n, 0.5);
        check_same("w", w[0], w[1], count, 1e-9, 1e-6, 1);
        check_same("ds", ds[0], ds[1], count, 1e-7, 1e-6, 1);
        for (size_t i = 0; i < count; i++)
            sum += (double)w[0][i];
        assert_true(fabs(sum - 1) < 1e-6);
    }
}

/* specs: gac.md 1.6: the softmax of a batch is the softmax of all, renormalized to the batch */
static void batch_softmax_is_the_renormalized_one(void **state)
{
    enum { ALL = 40, BATCH = 8 };
    uint64_t stream = check_stream(3);
    dmq_real *s = check_random(ALL, &stream), all[ALL], part[BATCH], batch[BATCH];
    double sum = 0;

    (void)state;
    run(&check_device, all, NULL, s, s, ALL, 0.7);
    for (int i = 0; i < BATCH; i++) {
        part[i] = s[5 * i + 1];
        sum += (double)all[5 * i + 1];
    }
    run(&check_device, batch, NULL, part, part, BATCH, 0.7);
    for (int i = 0; i < BATCH; i++)
        assert_true(fabs((double)batch[i] - (double)all[5 * i + 1] / sum) < 1e-7);
}

static void nan_is_seen(void **state)
{
    dmq_real s[3] = { 0, (dmq_real)NAN, 1 }, w[3];

    (void)state;
    run(&check_device, w, NULL, s, s, 3, 1.0);
    assert_int_equal(check_nans(w, 3), 3);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(values_of_pytorch),
        CHECK_TEST(same_as_the_reference),
        CHECK_TEST(batch_softmax_is_the_renormalized_one),
        CHECK_TEST(nan_is_seen),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
