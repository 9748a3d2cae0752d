/* Samplers from end to end on a device, with a network whose answer is known: against trajectories of
   the papers' formulas in double, golden ones and such as are written down here. */
#include "check.h"

#include "diffusion/moves.h"

enum { N = 7 };

static dmq_schedule *schedule_of(int scaled)
{
    dmq_schedule *s = NULL;

    CHECK_OK(scaled ? dmq_schedule_create_scaled(&s, 1000, 0.0015, 0.0195)
                    : dmq_schedule_create(&s, 1000, 1e-4, 2e-2));
    return s;
}

/* The noise that is expected in x = alpha x0 + sigma eps. */
typedef double network(double x, double alpha, double sigma);

/* Data of two humps, at 0.6 and -0.6 (make_sampler.py). */
static double two_humps(double x, double alpha, double sigma)
{
    double variance = 0.04 * alpha * alpha + sigma * sigma;

    return sigma * (x - 0.6 * alpha * tanh(0.6 * alpha * x / variance)) / variance;
}

static double one_hump(double x, double alpha, double sigma)
{
    return sigma * (x - 0.3 * alpha) / (0.25 * alpha * alpha + sigma * sigma);
}

enum { SEED = 77, FIRST = 5 };

/* All calls on a device. x: N numbers of one image, in and out; NULL: from noise, into `out`. */
static void run_on_device(dmq_real *out, const dmq_real *x, const dmq_sampler *sampler,
                          network *said, const double *times, int spread_at)
{
    const check_on *on = &check_device;
    const dmq_backend *be = on->backend;
    int channels = spread_at ? 2 : 1;
    dmq_moves *moves = NULL;
    dmq_mover mover = { 0 };
    dmq_real *state = check_room(on, NULL, N), *eps = check_room(on, NULL, (size_t)N * 2);
    dmq_real here[N], answer[2 * N], t;
    int row[1];

    CHECK_OK(dmq_moves_create(&moves, sampler, be, 1, dmq_shape4(1, 1, N, 1), channels));
    CHECK_OK(dmq_moves_set(moves, on->queue, 1));
    CHECK_OK(be->sync(on->queue));
    CHECK_OK(dmq_mover_init(&mover, moves));
    CHECK_OK(dmq_mover_begin(&mover, on->queue, state,
                             &(dmq_start){ SEED, FIRST, DMQ_FOR_LATENT, DMQ_FOR_SAMPLER }));
    if (x)
        CHECK_OK(be->upload(on->queue, state, x, N * sizeof *x));
    for (int i = 0; i < sampler->n_steps; i++) {
        double a = sampler->step[i].a;

        CHECK_OK(dmq_mover_take(&mover, on->queue));
        check_down(on, row, mover.row, sizeof row);
        assert_int_equal(row[0], i);
        if (times) {
            check_down_real(on, &t, mover.t, 1);
            if (!(fabs((double)t - times[i]) <= 1e-4))
                fail_msg("call %d at t = %g, expected %g", i, (double)t, times[i]);
        }
        check_down_real(on, here, state, N);
        for (int k = 0; k < N; k++) {
            answer[k * channels] = (dmq_real)said((double)here[k], sqrt(a), sqrt(1 - a));
            if (spread_at)
                answer[k * channels + 1] = (dmq_real)(0.25 * (k - N / 2));
        }
        CHECK_OK(be->upload(on->queue, eps, answer, (size_t)(N * channels) * sizeof *answer));
        CHECK_OK(dmq_mover_move(&mover, on->queue, state, eps));
    }
    check_down_real(on, out, state, N);
    dmq_mover_release(&mover);
    dmq_moves_destroy(moves);
}

/* ------------------------------------------------------------------ golden trajectories */

static void trajectories_are_those_of_the_papers(void **state)
{
#define DPM(solver_, spacing_, steps_)                                                           \
    {                                                                                            \
        DMQ_DPM_SOLVER, DMQ_SPACING_##spacing_, .steps = steps_, .solver = DMQ_SOLVER_##solver_, \
                                                .lower_order_below = 15                          \
    }
#define PLMS(steps_)                                                \
    {                                                               \
        DMQ_PLMS, .steps = steps_, .repository = DMQ_REPOSITORY_LDM \
    }
    static const struct {
        const char *name;
        int scaled;
        dmq_sampler_config config;
    } cases[] = {
        { "plms_1", 1, PLMS(1) },
        { "plms_2", 1, PLMS(2) },
        { "plms_20", 1, PLMS(20) },
        { "plms_50", 1, PLMS(50) },
        { "dpm_2m_uniform_20", 0, DPM(2M, UNIFORM, 20) },
        { "dpm_2m_quad_10", 0, DPM(2M, QUAD, 10) },
        { "dpm_2m_logsnr_18", 0, DPM(2M, LOGSNR, 18) },
        { "dpm_2m_uniform_7", 0, DPM(2M, UNIFORM, 7) },
        { "dpm_2s_uniform_20", 0, DPM(2S, UNIFORM, 20) },
        { "dpm_2s_quad_10", 0, DPM(2S, QUAD, 10) },
        { "dpm_2s_logsnr_18", 0, DPM(2S, LOGSNR, 18) },
        { "dpm_2s_uniform_7", 0, DPM(2S, UNIFORM, 7) },
        { "dpm_3s_uniform_20", 0, DPM(3S, UNIFORM, 20) },
        { "dpm_3s_quad_10", 0, DPM(3S, QUAD, 10) },
        { "dpm_3s_logsnr_18", 0, DPM(3S, LOGSNR, 18) },
        { "dpm_3s_uniform_7", 0, DPM(3S, UNIFORM, 7) },
        { "dpm_2m_ldm",
          1,
          { DMQ_DPM_SOLVER, .steps = 12, .solver = DMQ_SOLVER_2M, .lower_order_below = 10 } },
    };
#undef DPM
#undef PLMS
    dmq_h5 *file = check_golden_open("sampler");

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dmq_schedule *schedule = schedule_of(cases[i].scaled);
        dmq_sampler *sampler = NULL;
        dmq_real got[N];

        CHECK_OK(dmq_sampler_create(&sampler, schedule, &cases[i].config));
        run_on_device(got, check_golden_real(file, cases[i].name, "x", N), sampler, two_humps,
                      check_golden(file, cases[i].name, "t", (size_t)sampler->n_steps), 0);
        check_close_to(cases[i].name, got, check_golden(file, cases[i].name, "out", N), N, 1e-5,
                       1e-5, 1);
        dmq_sampler_destroy(sampler);
        dmq_schedule_destroy(schedule);
    }
    dmq_h5_close(file);
    check_report("golden");
}

static void lists_of_t_are_those_of_the_repositories(void **state)
{
    static const struct {
        const char *name;
        int n;
        dmq_sampler_config config;
    } cases[] = {
        { "ldm_20", 20, { .steps = 20, .repository = DMQ_REPOSITORY_LDM } },
        { "ldm_50", 50, { .steps = 50, .repository = DMQ_REPOSITORY_LDM } },
        { "ldm_200", 200, { .steps = 200, .repository = DMQ_REPOSITORY_LDM } },
        { "ldm_250", 250, { .steps = 250, .repository = DMQ_REPOSITORY_LDM } },
        { "ldm_400", 500, { .steps = 400, .repository = DMQ_REPOSITORY_LDM } },
        { "ldm_500", 500, { .steps = 500, .repository = DMQ_REPOSITORY_LDM } },
        { "ldm_quad_50",
          50,
          { DMQ_DDIM, DMQ_SPACING_QUAD, .steps = 50, .repository = DMQ_REPOSITORY_LDM } },
        { "respaced_50", 50, { DMQ_DDIM, DMQ_SPACING_LINSPACE, .steps = 50 } },
        { "respaced_100", 100, { DMQ_DDIM, DMQ_SPACING_LINSPACE, .steps = 100 } },
        { "respaced_250", 250, { DMQ_DDIM, DMQ_SPACING_LINSPACE, .steps = 250 } },
        { "respaced_999", 999, { DMQ_DDIM, DMQ_SPACING_LINSPACE, .steps = 999 } },
        { "respaced_1000", 1000, { DMQ_DDIM, DMQ_SPACING_LINSPACE, .steps = 1000 } },
    };
    dmq_h5 *file = check_golden_open("sampler");
    dmq_schedule *schedule = schedule_of(0);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int32_t *t = check_golden_whole(file, "lists", cases[i].name, (size_t)cases[i].n);
        dmq_sampler *s = NULL;

        CHECK_OK(dmq_sampler_create(&s, schedule, &cases[i].config));
        assert_int_equal(s->n_steps, cases[i].n);
        for (int k = 0; k < s->n_steps; k++)
            assert_true(s->step[k].t == t[s->n_steps - 1 - k]);
        dmq_sampler_destroy(s);
    }
    dmq_schedule_destroy(schedule);
    dmq_h5_close(file);
}

/* ------------------------------------------------------------------ the recursion, in the papers' words */

/* t and the levels by hand; x0 and the posterior mean as DDPM and DDIM write them. */
typedef struct chain {
    int t[1000], n; /* ascending */
    double a[1000], last;
} chain;

static chain chain_of(int scaled, int ldm, int stride)
{
    chain c = { .n = 0 };
    double a[1000], product = 1;

    for (int t = 0; t < 1000; t++) {
        double share = t / 999.0, root = sqrt(0.0015) + share * (sqrt(0.0195) - sqrt(0.0015));

        product *= 1 - (scaled ? root * root : 1e-4 + share * (2e-2 - 1e-4));
        a[t] = product;
    }
    for (int t = 0; t < 1000; t += stride) {
        c.t[c.n] = t + ldm;
        c.a[c.n++] = a[t + ldm];
    }
    c.last = ldm ? a[0] : 1;
    return c;
}

static void noise_of(double *out, dmq_purpose purpose, int step)
{
    dmq_real z[N];

    CHECK_OK(dmq_noise_normal_ref(NULL, &(dmq_noise_args){ .out = z,
                                                           .n = 1,
                                                           .per = N,
                                                           .seed = SEED,
                                                           .purpose = purpose,
                                                           .first = FIRST,
                                                           .step = (uint32_t)step }));
    for (int k = 0; k < N; k++)
        out[k] = (double)z[k];
}

static double clamp(double x)
{
    return x < -1 ? -1 : x > 1 ? 1 : x;
}

/* kind 0: ddim with eta; 1, 2, 3: ddpm of fixed large, fixed small, learned variance. */
static void recursion(double x[N], const chain *c, int kind, double eta, int clip)
{
    noise_of(x, DMQ_FOR_LATENT, 0);
    for (int i = 0; i < c->n; i++) {
        int k = c->n - 1 - i;
        double a = c->a[k], an = k > 0 ? c->a[k - 1] : c->last, z[N];
        double beta = 1 - a / an, small = beta * (1 - an) / (1 - a);
        double next_small = (1 - c->a[1] / c->a[0]) * (1 - c->a[0]) / (1 - c->a[1]);

        noise_of(z, DMQ_FOR_SAMPLER, i);
        for (int n = 0; n < N; n++) {
            double e = one_hump(x[n], sqrt(a), sqrt(1 - a));
            double x0 = (x[n] - sqrt(1 - a) * e) / sqrt(a), variance, mean, f;

            if (clip)
                x0 = clamp(x0);
            if (kind == 0) {
                double sigma = eta * sqrt((1 - an) / (1 - a)) * sqrt(1 - a / an);

                x[n] = sqrt(an) * x0 + sqrt(1 - an - sigma * sigma) * e + sigma * z[n];
                continue;
            }
            mean = (sqrt(an) * beta * x0 + sqrt(1 - beta) * (1 - an) * x[n]) / (1 - a);
            variance = kind == 1 ? beta : small;
            if (kind == 3) {
                f = (0.25 * (n - N / 2) + 1) / 2;
                variance = exp(f * log(beta) + (1 - f) * log(k > 0 ? small : next_small));
            }
            x[n] = mean + (k > 0 ? sqrt(variance) * z[n] : 0);
        }
    }
}

static void gaussian_data_follow_the_recursion(void **state)
{
    static const struct {
        const char *name;
        int scaled, stride, kind;
        dmq_sampler_config config;
    } cases[] = {
        { "ddim", 0, 50, 0, { DMQ_DDIM, .steps = 20 } },
        { "ddim, eta 0.6", 0, 20, 0, { DMQ_DDIM, .steps = 50, .eta = 0.6 } },
        { "ldm", 1, 50, 0, { DMQ_DDIM, .steps = 20, .repository = DMQ_REPOSITORY_LDM } },
        { "ldm, eta 1", 1, 5, 0, { DMQ_DDIM, .steps = 200, .eta = 1, .repository = 1 } },
        { "ldm, 400", 1, 2, 0, { DMQ_DDIM, .steps = 400, .repository = DMQ_REPOSITORY_LDM } },
        { "ddpm_noisy", 0, 10, 1, { DMQ_DDPM, .steps = 100, .eta = 1, .clip_x0 = 1 } },
        { "ldm's ddpm",
          1,
          1,
          2,
          { DMQ_DDPM, .steps = 1000, .eta = 1, .clip_x0 = 1, .variance = DMQ_FIXED_SMALL } },
        { "pytorch_diffusion", 0, 1, 1, { DMQ_DDPM, .steps = 1000, .eta = 1, .clip_x0 = 1 } },
        { "learned", 0, 20, 3, { DMQ_DDPM, .steps = 50, .eta = 1, .variance = DMQ_LEARNED_RANGE } },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const dmq_sampler_config *config = &cases[i].config;
        chain c =
            chain_of(cases[i].scaled, config->repository == DMQ_REPOSITORY_LDM, cases[i].stride);
        dmq_schedule *schedule = schedule_of(cases[i].scaled);
        dmq_sampler *sampler = NULL;
        double want[N], times[1000];
        dmq_real got[N];

        CHECK_OK(dmq_sampler_create(&sampler, schedule, config));
        assert_int_equal(sampler->n_steps, c.n);
        for (int k = 0; k < c.n; k++)
            times[k] = c.t[c.n - 1 - k];
        recursion(want, &c, cases[i].kind, config->eta, config->clip_x0);
        run_on_device(got, NULL, sampler, one_hump, times, cases[i].kind == 3);
        check_close_to(cases[i].name, got, want, N, 1e-5, 1e-5, 1);
        dmq_sampler_destroy(sampler);
        dmq_schedule_destroy(schedule);
    }
    check_report("recursion");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(trajectories_are_those_of_the_papers),
        CHECK_TEST(lists_of_t_are_those_of_the_repositories),
        CHECK_TEST(gaussian_data_follow_the_recursion),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
