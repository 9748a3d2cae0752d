/* One update of a sampler, and the linear-Gaussian bench, whose answer is known in closed form. */
#include "check.h"

/* specs: corrections.md 0.2 */
typedef struct coefs {
    double r, c, d, sigma;
} coefs;

static coefs coefs_of(double a, double an, double eta)
{
    coefs k;
    double radicand;

    k.sigma = eta * sqrt((1 - an) / (1 - a) * (1 - a / an));
    k.r = sqrt(an / a);
    radicand = 1 - an - k.sigma * k.sigma;
    k.d = radicand > 0 ? sqrt(radicand) : 0;
    k.c = k.d - sqrt(an * (1 - a) / a);
    return k;
}

static dmq_sampler_args args_of(double a, double an, double eta, int clip)
{
    coefs k = coefs_of(a, an, eta);

    return (dmq_sampler_args){ .r = (dmq_real)k.r,
                               .c = (dmq_real)k.c,
                               .sigma = (dmq_real)k.sigma,
                               .clip = clip,
                               .sqrt_a = (dmq_real)sqrt(a),
                               .sqrt_1ma = (dmq_real)sqrt(1 - a),
                               .sqrt_an = (dmq_real)sqrt(an),
                               .d = (dmq_real)k.d };
}

static void values_of_pytorch(void **state)
{
    enum { COUNT = 60 };
    static const char *const name[] = { "ddim_out", "ddim_eta_out", "ddpm_clip_out", "last_out" };
    dmq_h5 *file = check_golden_open("sampler");
    const double *set = check_golden(file, "all", "a_an_eta_clip", 16);
    dmq_real *got = check_reals(COUNT);

    (void)state;
    for (int i = 0; i < 4; i++) {
        dmq_sampler_args a =
            args_of(set[4 * i], set[4 * i + 1], set[4 * i + 2], set[4 * i + 3] > 0);
        dmq_real *out = check_room(&check_device, NULL, COUNT);

        a.x = check_up_real(&check_device, check_golden_real(file, "all", "x", COUNT), COUNT);
        a.eps = check_up_real(&check_device, check_golden_real(file, "all", "eps", COUNT), COUNT);
        a.z = a.sigma != 0
                  ? check_up_real(&check_device, check_golden_real(file, "all", "z", COUNT), COUNT)
                  : NULL;
        a.out = out;
        a.count = COUNT;
        CHECK_RUN(&check_device, sampler_update, &a);
        check_down_real(&check_device, got, out, COUNT);
        check_close_to(name[i], got, check_golden(file, "all", name[i], COUNT), COUNT, 3e-6, 2e-6,
                       1);
    }
    dmq_h5_close(file);
    check_report("golden");
}

/* In place, with odd counts; clipped where x0 is within [-1, 1] is not clipped. */
static void same_as_the_reference(void **state)
{
    (void)state;
    for (size_t count = 1; count < 200; count = count * 3 + 2) {
        for (int clip = 0; clip < 2; clip++) {
            uint64_t stream = check_stream(count);
            const check_on *on[2] = { &check_device, &check_ref };
            dmq_real *x = check_random(count, &stream), *eps = check_random(count, &stream);
            dmq_real *z = check_random(count, &stream), *got[2];

            x[count - 1] = (dmq_real)NAN;
            for (int side = 0; side < 2; side++) {
                dmq_sampler_args a = args_of(0.4, 0.7, 0.5, clip);
                dmq_real *out = check_up_real(on[side], x, count);

                a.x = a.out = out;
                a.eps = check_up_real(on[side], eps, count);
                a.z = check_up_real(on[side], z, count);
                a.count = count;
                CHECK_RUN(on[side], sampler_update, &a);
                got[side] = check_reals(count);
                check_down_real(on[side], got[side], out, count);
            }
            assert_true(isnan(got[0][count - 1]) && isnan(got[1][count - 1]));
            check_same("update", got[0], got[1], count - 1, 2e-6, 2e-6, 1);
        }
    }
}

static void clipping_what_is_inside_changes_nothing(void **state)
{
    enum { COUNT = 33 };
    dmq_real x[COUNT], eps[COUNT], got[2][COUNT];

    (void)state;
    for (int clip = 0; clip < 2; clip++) {
        dmq_sampler_args a = args_of(0.5, 0.8, 0, clip);
        dmq_real *out = check_room(&check_device, NULL, COUNT);

        for (int i = 0; i < COUNT; i++) {
            x[i] = (dmq_real)(0.03 * (i - 16));
            eps[i] = (dmq_real)(0.02 * (16 - i));
        }
        a.x = check_up_real(&check_device, x, COUNT);
        a.eps = check_up_real(&check_device, eps, COUNT);
        a.out = out;
        a.count = COUNT;
        CHECK_RUN(&check_device, sampler_update, &a);
        check_down_real(&check_device, got[clip], out, COUNT);
    }
    check_same("clip", got[1], got[0], COUNT, 1e-6, 1e-6, 1);
}

/* ------------------------------------------------------------------ specs: corrections.md 0.7 */

enum { STEPS = 20 };

static double a_bar[1000];

static void schedule(void)
{
    double product = 1;

    for (int t = 0; t < 1000; t++) {
        product *= 1 - (1e-4 + (2e-2 - 1e-4) * t / 999);
        a_bar[t] = product;
    }
}

typedef struct bench_step {
    double a, an, g, o;
} bench_step;

/* Step i of t = 950, 900, ..., 0, and the network that is exact for N(0.3, 0.25): eps = g x + o. */
static bench_step step_at(int i)
{
    const double mean = 0.3, variance = 0.25;
    bench_step s;

    s.a = a_bar[950 - 50 * i];
    s.an = i + 1 < STEPS ? a_bar[900 - 50 * i] : 1;
    s.g = sqrt(1 - s.a) / (s.a * variance + 1 - s.a);
    s.o = -s.g * sqrt(s.a) * mean;
    return s;
}

static const struct {
    double eta, mean, variance;
} bench[] = { { 1, 0.299992046, 0.153244418 }, { 0, 0.298660065, 0.188125549 } };

static void linear_gaussian_recursion(void **state)
{
    (void)state;
    schedule();
    for (int k = 0; k < 2; k++) {
        double m = 0, v = 1;

        for (int i = 0; i < STEPS; i++) {
            bench_step s = step_at(i);
            coefs q = coefs_of(s.a, s.an, bench[k].eta);
            double gain = q.r + q.c * s.g;

            m = gain * m + q.c * s.o;
            v = gain * gain * v + q.sigma * q.sigma;
        }
        assert_true(fabs(m - bench[k].mean) < 1e-8);
        assert_true(fabs(v - bench[k].variance) < 1e-8);
    }
}

/* The chain is affine in x_T and in the noise of each step: one pixel that has none of them gives the
   mean, and one for each of them alone its share of the variance. */
static void linear_gaussian_through_the_kernel(void **state)
{
    enum { COUNT = STEPS + 2 };

    (void)state;
    schedule();
    for (int k = 0; k < 2; k++) {
        dmq_real x[COUNT] = { 0 }, eps[COUNT], z[COUNT];
        double variance = 0;

        x[1] = 1;
        for (int i = 0; i < STEPS; i++) {
            bench_step s = step_at(i);
            dmq_sampler_args a = args_of(s.a, s.an, bench[k].eta, 0);
            dmq_real *out = check_up_real(&check_device, x, COUNT);

            for (int p = 0; p < COUNT; p++) {
                eps[p] = (dmq_real)s.g * x[p] + (dmq_real)s.o;
                z[p] = p == i + 2 ? 1 : 0;
            }
            a.x = a.out = out;
            a.eps = check_up_real(&check_device, eps, COUNT);
            a.z = check_up_real(&check_device, z, COUNT);
            a.count = COUNT;
            CHECK_RUN(&check_device, sampler_update, &a);
            check_down_real(&check_device, x, out, COUNT);
        }
        for (int p = 1; p < COUNT; p++)
            variance += ((double)x[p] - (double)x[0]) * ((double)x[p] - (double)x[0]);
        assert_true(fabs((double)x[0] / bench[k].mean - 1) < 1e-4);
        assert_true(fabs(variance / bench[k].variance - 1) < 1e-4);
    }
}

/* specs: corrections.md 0.2: adjacent steps with eta = 1 are DDPM */
static void eta_one_is_ddpm(void **state)
{
    coefs k;

    (void)state;
    schedule();
    k = coefs_of(a_bar[500], a_bar[499], 1);
    assert_true(fabs(k.c + 0.010528789940) < 1e-12);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(values_of_pytorch),
        CHECK_TEST(same_as_the_reference),
        CHECK_TEST(clipping_what_is_inside_changes_nothing),
        CHECK_TEST(linear_gaussian_recursion),
        CHECK_TEST(linear_gaussian_through_the_kernel),
        CHECK_TEST(eta_one_is_ddpm),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
