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

static dmq_sampler_coef numbers_of(double a, double an, double eta)
{
    coefs k = coefs_of(a, an, eta);

    return (dmq_sampler_coef){ .r = (dmq_real)k.r,
                               .c = (dmq_real)k.c,
                               .sigma = (dmq_real)k.sigma,
                               .sqrt_a = (dmq_real)sqrt(a),
                               .sqrt_1ma = (dmq_real)sqrt(1 - a),
                               .sqrt_an = (dmq_real)sqrt(an),
                               .d = (dmq_real)k.d };
}

/* A single channel. */
static dmq_sampler_args args_of(const check_on *on, const dmq_sampler_coef *k, int clip,
                                size_t count)
{
    return (dmq_sampler_args){ .coef = check_up(on, k, 1, sizeof *k),
                               .form = clip ? DMQ_MOVE_CLIPPED : DMQ_MOVE_LINEAR,
                               .pixels = count,
                               .channels = 1,
                               .eps_channels = 1 };
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
        dmq_sampler_coef k = numbers_of(set[4 * i], set[4 * i + 1], set[4 * i + 2]);
        dmq_sampler_args a = args_of(&check_device, &k, set[4 * i + 3] > 0, COUNT);
        dmq_real *out = check_room(&check_device, NULL, COUNT);

        a.x = check_up_real(&check_device, check_golden_real(file, "all", "x", COUNT), COUNT);
        a.eps = check_up_real(&check_device, check_golden_real(file, "all", "eps", COUNT), COUNT);
        a.z = k.sigma != 0
                  ? check_up_real(&check_device, check_golden_real(file, "all", "z", COUNT), COUNT)
                  : NULL;
        a.out = out;
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
                dmq_sampler_coef k = numbers_of(0.4, 0.7, 0.5);
                dmq_sampler_args a = args_of(on[side], &k, clip, count);
                dmq_real *out = check_up_real(on[side], x, count);

                a.x = a.out = out;
                a.eps = check_up_real(on[side], eps, count);
                a.z = check_up_real(on[side], z, count);
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
        dmq_sampler_coef k = numbers_of(0.5, 0.8, 0);
        dmq_sampler_args a = args_of(&check_device, &k, clip, COUNT);
        dmq_real *out = check_room(&check_device, NULL, COUNT);

        for (int i = 0; i < COUNT; i++) {
            x[i] = (dmq_real)(0.03 * (i - 16));
            eps[i] = (dmq_real)(0.02 * (16 - i));
        }
        a.x = check_up_real(&check_device, x, COUNT);
        a.eps = check_up_real(&check_device, eps, COUNT);
        a.out = out;
        CHECK_RUN(&check_device, sampler_update, &a);
        check_down_real(&check_device, got[clip], out, COUNT);
    }
    check_same("clip", got[1], got[0], COUNT, 1e-6, 1e-6, 1);
}

/* ------------------------------------------------------------------ forms with more than x and eps */

enum { PIXELS = 37, CHANNELS = 3, MOST = PIXELS * 2 * CHANNELS };

/* What a move is given and leaves: the host's side of it. */
typedef struct scene {
    dmq_real x[MOST], eps[MOST], null[MOST], z[MOST];
    dmq_real slots[DMQ_SAMPLER_SLOTS * PIXELS * CHANNELS];
    dmq_real out[MOST], twin[MOST];
} scene;

static void fill(scene *s)
{
    uint64_t stream = check_stream(11);

    memset(s, 0, sizeof *s);
    for (int i = 0; i < MOST; i++) {
        s->x[i] = (dmq_real)(0.01 * check_whole(&stream, -200, 200));
        s->eps[i] = (dmq_real)(0.01 * check_whole(&stream, -200, 200));
        s->null[i] = (dmq_real)(0.01 * check_whole(&stream, -200, 200));
        s->z[i] = (dmq_real)(0.01 * check_whole(&stream, -200, 200));
    }
    for (int i = 0; i < DMQ_SAMPLER_SLOTS * PIXELS * CHANNELS; i++)
        s->slots[i] = (dmq_real)(0.01 * check_whole(&stream, -200, 200));
}

/* a: form, eps_channels, guidance; the arrays are the scene's. In place. */
static void move(scene *s, dmq_sampler_args a, const dmq_sampler_coef *k, const int keep[2])
{
    enum { COUNT = PIXELS * CHANNELS };
    const check_on *on = &check_device;
    size_t said = (size_t)PIXELS * (size_t)a.eps_channels;

    a.pixels = PIXELS;
    a.channels = CHANNELS;
    a.coef = check_up(on, k, 1, sizeof *k);
    a.keep = check_up(on, keep, 2, sizeof *keep);
    a.out = check_up_real(on, s->x, COUNT);
    a.x = a.out;
    a.eps = check_up_real(on, s->eps, said);
    a.null = a.guided > 0 ? check_up_real(on, s->null, said) : NULL;
    a.z = check_up_real(on, s->z, COUNT);
    a.twin = a.guided > 0 ? check_room(on, NULL, COUNT) : NULL;
    a.slots = check_up_real(on, s->slots, DMQ_SAMPLER_SLOTS * COUNT);
    CHECK_RUN(on, sampler_update, &a);
    check_down_real(on, s->out, a.out, COUNT);
    check_down_real(on, s->slots, a.slots, DMQ_SAMPLER_SLOTS * COUNT);
    if (a.twin)
        check_down_real(on, s->twin, a.twin, COUNT);
}

static void near(const char *what, dmq_real got, double want)
{
    if (!(fabs((double)got - want) <= 2e-6 * (1 + fabs(want))))
        fail_msg("%s: %.9g, expected %.9g", what, (double)got, want);
}

static void what_is_kept_goes_where_it_is_told(void **state)
{
    enum { COUNT = PIXELS * CHANNELS };
    static const int keep[][2] = { { 1, 3 }, { 0, -1 }, { -1, -1 } };
    dmq_sampler_coef k = { .r = (dmq_real)0.75,
                           .c = (dmq_real)-1.5,
                           .sigma = (dmq_real)0.25,
                           .q_x = (dmq_real)1.25,
                           .q_e = (dmq_real)-0.5,
                           .slot = { (dmq_real)0.5, 0, (dmq_real)-2, (dmq_real)0.125 } };

    (void)state;
    for (size_t n = 0; n < sizeof keep / sizeof *keep; n++) {
        scene s, before;

        fill(&s);
        s.slots[COUNT] = (dmq_real)NAN; /* of weight 0: not read */
        before = s;
        move(&s, (dmq_sampler_args){ .form = DMQ_MOVE_KEPT, .eps_channels = CHANNELS }, &k,
             keep[n]);
        for (int i = 0; i < COUNT; i++) {
            const dmq_real *slot = before.slots + i;
            double q = 1.25 * (double)s.x[i] - 0.5 * (double)s.eps[i];

            near("x", s.out[i],
                 0.75 * (double)s.x[i] - 1.5 * q + 0.5 * (double)slot[0] -
                     2 * (double)slot[2 * COUNT] + 0.125 * (double)slot[3 * COUNT] +
                     0.25 * (double)s.z[i]);
            for (int at = 0; at < DMQ_SAMPLER_SLOTS; at++) {
                dmq_real now = s.slots[at * COUNT + i], old = slot[at * COUNT];

                if (at == keep[n][0]) {
                    near("q", now, q);
                } else if (at == keep[n][1]) {
                    assert_true(now == s.x[i]);
                } else {
                    assert_true(now == old || (isnan(now) && isnan(old)));
                }
            }
        }
    }
}

/* The first two channels are guided, the third is that of the condition; K = 6 with a learned variance. */
static void guidance_and_variance_are_by_channel(void **state)
{
    static const int none[2] = { -1, -1 };
    dmq_sampler_coef k = { .r = (dmq_real)0.75,
                           .c = (dmq_real)-1.5,
                           .sigma = 1,
                           .log_min = (dmq_real)-3,
                           .log_max = (dmq_real)-1 };

    (void)state;
    for (int learned = 0; learned < 2; learned++) {
        for (int silent = 0; silent < 2; silent++) {
            scene s;

            fill(&s);
            k.sigma = (dmq_real)(silent ? 0 : 1);
            move(&s,
                 (dmq_sampler_args){ .form = learned ? DMQ_MOVE_LEARNED : DMQ_MOVE_LINEAR,
                                     .eps_channels = 2 * CHANNELS,
                                     .guidance = (dmq_real)3,
                                     .guided = 2 },
                 &k, none);
            for (int i = 0; i < PIXELS * CHANNELS; i++) {
                int at = i / CHANNELS * 2 * CHANNELS + i % CHANNELS;
                double e = (double)s.eps[at], null = (double)s.null[at], spread = 1;
                double f = ((double)s.eps[at + CHANNELS] + 1) / 2;

                if (i % CHANNELS < 2)
                    e = null + 3 * (e - null);
                if (learned)
                    spread = exp((f * -1 + (1 - f) * -3) / 2);
                near("x", s.out[i],
                     0.75 * (double)s.x[i] - 1.5 * e + (silent ? 0 : spread * (double)s.z[i]));
                assert_true(s.twin[i] == s.out[i]);
            }
        }
    }
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
            dmq_sampler_coef now = numbers_of(s.a, s.an, bench[k].eta);
            dmq_sampler_args a = args_of(&check_device, &now, 0, COUNT);
            dmq_real *out = check_up_real(&check_device, x, COUNT);

            for (int p = 0; p < COUNT; p++) {
                eps[p] = (dmq_real)s.g * x[p] + (dmq_real)s.o;
                z[p] = p == i + 2 ? 1 : 0;
            }
            a.x = a.out = out;
            a.eps = check_up_real(&check_device, eps, COUNT);
            a.z = check_up_real(&check_device, z, COUNT);
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
        CHECK_TEST(what_is_kept_goes_where_it_is_told),
        CHECK_TEST(guidance_and_variance_are_by_channel),
        CHECK_TEST(linear_gaussian_recursion),
        CHECK_TEST(linear_gaussian_through_the_kernel),
        CHECK_TEST(eta_one_is_ddpm),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
