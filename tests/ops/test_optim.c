/* Adam, sums of blocks, dot products. */
#include "check.h"

static void adam_of_pytorch(void **state)
{
    enum { COUNT = 37, STEPS = 12 };
    dmq_h5 *file = check_golden_open("optim");
    dmq_real *g = check_golden_real(file, "adam", "g", COUNT * STEPS), *got = check_reals(COUNT);
    double *path = check_golden(file, "adam", "path", COUNT * STEPS);
    dmq_real *p = check_up_real(&check_device, check_golden_real(file, "adam", "p", COUNT), COUNT);
    dmq_real *m = check_up_real(&check_device, check_reals(COUNT), COUNT);
    dmq_real *v = check_up_real(&check_device, check_reals(COUNT), COUNT);

    (void)state;
    for (int k = 0; k < STEPS; k++) {
        dmq_adam_args a = { .p = p,
                            .m = m,
                            .v = v,
                            .g = check_up_real(&check_device, g + k * COUNT, COUNT),
                            .count = COUNT,
                            .lr = (dmq_real)1e-3,
                            .beta1 = (dmq_real)0.9,
                            .beta2 = (dmq_real)0.999,
                            .eps = (dmq_real)1e-8,
                            .step = k + 1 };

        CHECK_RUN(&check_device, adam, &a);
        check_down_real(&check_device, got, p, COUNT);
        check_close_to("p", got, path + k * COUNT, COUNT, 1e-7, 3e-7, k + 1);
    }
    check_down_real(&check_device, got, m, COUNT);
    check_close_to("m", got, check_golden(file, "adam", "m", COUNT), COUNT, 1e-9, 3e-6, 1);
    check_down_real(&check_device, got, v, COUNT);
    /* 1 - beta2 has lost 1e-4 of itself in float */
    check_close_to("v", got, check_golden(file, "adam", "v", COUNT), COUNT, 1e-12, 1e-4, 1);
    dmq_h5_close(file);
    check_report("golden");
}

static void adam_is_that_of_the_reference(void **state)
{
    static const size_t counts[] = { 1, 15, 16, 33, 1000 };

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        size_t count = counts[i];
        uint64_t stream = check_stream(i);
        dmq_real *host[4], *at[2][3], *got[3];
        const check_on *on[2] = { &check_device, &check_ref };

        for (int k = 0; k < 4; k++)
            host[k] = check_random(count, &stream);
        for (size_t j = 0; j < count; j++)
            host[2][j] *= host[2][j];
        host[3][0] = (dmq_real)NAN;
        for (int side = 0; side < 2; side++) {
            dmq_adam_args a = { .g = check_up_real(on[side], host[3], count),
                                .count = count,
                                .lr = (dmq_real)1e-2,
                                .beta1 = (dmq_real)0.9,
                                .beta2 = (dmq_real)0.999,
                                .eps = (dmq_real)1e-8,
                                .step = 3 };

            for (int k = 0; k < 3; k++)
                at[side][k] = check_up_real(on[side], host[k], count);
            a.p = at[side][0];
            a.m = at[side][1];
            a.v = at[side][2];
            CHECK_RUN(on[side], adam, &a);
        }
        for (int k = 0; k < 3; k++) {
            got[k] = check_reals(count);
            check_down_real(&check_device, got[k], at[0][k], count);
            check_down_real(&check_ref, host[k], at[1][k], count);
            check_same("adam", got[k] + 1, host[k] + 1, count - 1, 1e-7, 1e-6, 1);
            assert_true(isnan(got[k][0]));
        }
    }
}

static void sums_of_blocks_have_an_order(void **state)
{
    (void)state;
    for (int n = 1; n <= 7; n += 2) {
        for (int add = 0; add < 2; add++) {
            size_t count = 2051;
            uint64_t stream = check_stream((uint64_t)n);
            const dmq_real *x[7];
            dmq_real *old = check_random(count, &stream), *want = check_reals(count);
            dmq_real *got = check_reals(count),
                     *y = check_room(&check_device, add ? old : NULL, count);
            dmq_sum_blocks_args a = {
                .x = x, .y = y, .n_blocks = n, .count = count, .alpha = (dmq_real)0.3F, .add = add
            };

            for (int k = 0; k < n; k++) {
                dmq_real *host = check_random(count, &stream);

                for (size_t i = 0; i < count; i++)
                    want[i] += host[i];
                x[k] = check_up_real(&check_device, host, count);
            }
            for (size_t i = 0; i < count; i++)
                want[i] = add ? old[i] + (dmq_real)0.3F * want[i] : (dmq_real)0.3F * want[i];
            CHECK_RUN(&check_device, sum_blocks, &a);
            check_down_real(&check_device, got, y, count);
            check_equal("sum", got, want, count);
        }
    }
}

static void dot_products_are_in_double(void **state)
{
    static const size_t counts[] = { 0, 1, 17, 64, 100003 };

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        size_t count = counts[i];
        uint64_t stream = check_stream(i);
        dmq_real *x = check_random(count + 1, &stream), *y = check_random(count + 1, &stream);
        double got = -1, again = -2;
        dmq_dot_args a = { check_up_real(&check_device, x, count + 1),
                           check_up_real(&check_device, y, count + 1), count,
                           check_up(&check_device, &got, 1, sizeof got) };

        CHECK_RUN(&check_device, dot, &a);
        check_down(&check_device, &got, a.out, sizeof got);
        a.out = check_up(&check_device, &again, 1, sizeof again);
        CHECK_RUN(&check_device, dot, &a);
        check_down(&check_device, &again, a.out, sizeof again);
        assert_true(got == again);
        assert_true(fabs(got - check_dot(x, y, count)) <= 1e-13 * (1 + (double)count));
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(adam_of_pytorch),
        CHECK_TEST(adam_is_that_of_the_reference),
        CHECK_TEST(sums_of_blocks_have_an_order),
        CHECK_TEST(dot_products_are_in_double),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
