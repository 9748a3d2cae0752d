/* Schedules and samplers: published values, lists of steps, identities, refusals. */
#include "base/memory.h"
#include "base/status.h"
#include "diffusion/sampler.h"
#include "diffusion/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static dmq_schedule *schedule_of(int T, double first, double last)
{
    dmq_schedule *s = NULL;
    assert_int_equal(dmq_schedule_create(&s, T, first, last), DMQ_OK);
    return s;
}

static dmq_sampler *sampler_of(const dmq_schedule *schedule, dmq_sampler_config config)
{
    dmq_sampler *s = NULL;
    assert_int_equal(dmq_sampler_create(&s, schedule, &config), DMQ_OK);
    return s;
}

static void close_to(double value, double expected, double relative)
{
    if (!(fabs(value - expected) <= relative * fabs(expected)))
        fail_msg("%.17g, expected %.17g", value, expected);
}

static void schedule_has_the_published_values(void **state)
{
    (void)state;
    static const int t[] = { 0, 1, 100, 500, 800, 951, 996, 999 };
    static const double alpha_bar[] = { 9.999000000e-1, 9.997800921e-1, 8.951415909e-1,
                                        7.779665837e-2, 1.507521060e-3, 1.040223841e-4,
                                        4.287736907e-5, 4.035829765e-5 };
    dmq_schedule *s = schedule_of(1000, 1e-4, 0.02);

    close_to(s->beta[0], 1e-4, 0);
    close_to(s->beta[1], 1.199199199e-4, 1e-9);
    close_to(s->beta[500], 1.005995996e-2, 1e-9);
    close_to(s->beta[999], 0.02, 0);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        close_to(dmq_schedule_alpha_bar(s, t[i]), alpha_bar[i], 1e-9);
    assert_true(dmq_schedule_alpha_bar(s, -1) == 1);
    dmq_schedule_destroy(s);
    dmq_schedule_destroy(NULL);
}

/* beta_1, beta_500 and alpha_bar of the latent models. */
static void scaled_schedules_have_the_published_values(void **state)
{
    (void)state;
    static const int t[] = { 0, 1, 100, 500, 800, 951, 996, 999 };
    static const struct {
        double first, last, beta_1, beta_500, alpha_bar[8];
    } row[] = {
        { 0.0015,
          0.0195,
          1.507834682e-3,
          7.963175017e-3,
          { 9.985000000e-1, 9.969944271e-1, 8.231170376e-1, 1.149220009e-1, 4.179909814e-3,
            3.546539214e-4, 1.509512710e-4, 1.423039752e-4 } },
        { 0.0015,
          0.0155,
          1.506657672e-3,
          6.667921540e-3,
          { 9.985000000e-1, 9.969956023e-1, 8.288179240e-1, 1.500700509e-1, 9.958848175e-3,
            1.381453733e-3, 7.007018570e-4, 6.686651737e-4 } },
        { 0.00085,
          0.012,
          8.546986554e-4,
          4.814954142e-3,
          { 9.991500000e-1, 9.982960278e-1, 8.942234776e-1, 2.763326838e-1, 3.686961658e-2,
            8.155004567e-3, 4.831711885e-3, 4.660098513e-3 } },
    };

    for (size_t k = 0; k < sizeof row / sizeof *row; k++) {
        dmq_schedule *s = NULL;

        assert_int_equal(dmq_schedule_create_scaled(&s, 1000, row[k].first, row[k].last), DMQ_OK);
        close_to(s->beta[0], row[k].first, 1e-15);
        close_to(s->beta[1], row[k].beta_1, 1e-9);
        close_to(s->beta[500], row[k].beta_500, 1e-9);
        close_to(s->beta[999], row[k].last, 1e-15);
        for (size_t i = 0; i < sizeof t / sizeof *t; i++)
            close_to(dmq_schedule_alpha_bar(s, t[i]), row[k].alpha_bar[i], 1e-9);
        dmq_schedule_destroy(s);
    }
}

static void steps_are(const dmq_sampler *s, const int *ascending, int n)
{
    assert_int_equal(s->n_steps, n);
    for (int i = 0; i < n; i++) {
        const dmq_sampler_step *step = &s->step[i];
        assert_int_equal(step->index, i);
        assert_int_equal((int)step->t, ascending[n - 1 - i]);
        assert_int_equal((int)step->t_next, i + 1 < n ? ascending[n - 2 - i] : -1);
        assert_true(i == 0 || step->a == s->step[i - 1].a_next);
    }
    assert_true(s->step[n - 1].a_next == 1);
}

static void lists_of_steps_equal_the_published_ones(void **state)
{
    (void)state;
    static const int quad100[] = { 0,   0,   0,   0,   1,   2,   2,   3,   5,   6,   8,   9,   11,
                                   13,  15,  18,  20,  23,  26,  29,  32,  35,  39,  43,  47,  51,
                                   55,  59,  63,  68,  73,  78,  83,  88,  94,  99,  105, 111, 117,
                                   124, 130, 137, 143, 150, 158, 165, 172, 180, 188, 195, 204, 212,
                                   220, 229, 238, 246, 255, 265, 274, 284, 293, 303, 313, 323, 334,
                                   344, 355, 366, 377, 388, 399, 411, 423, 434, 446, 459, 471, 483,
                                   496, 509, 522, 535, 548, 562, 575, 589, 603, 617, 632, 646, 661,
                                   675, 690, 705, 721, 736, 752, 768, 783, 800 };
    static const int quad10[] = { 0, 9, 39, 88, 158, 246, 355, 483, 632, 800 };
    static const int distinct_of[][2] = { { 100, 96 }, { 50, 49 }, { 20, 20 }, { 10, 10 } };
    dmq_schedule *schedule = schedule_of(1000, 1e-4, 0.02);
    int uniform[1000];
    dmq_sampler *s;

    s = sampler_of(schedule, (dmq_sampler_config){ .spacing = DMQ_SPACING_QUAD, .steps = 100 });
    steps_are(s, quad100, 100);
    dmq_sampler_destroy(s);
    s = sampler_of(schedule, (dmq_sampler_config){ .spacing = DMQ_SPACING_QUAD, .steps = 10 });
    steps_are(s, quad10, 10);
    dmq_sampler_destroy(s);
    for (size_t k = 0; k < sizeof distinct_of / sizeof *distinct_of; k++) {
        int distinct = 1;
        s = sampler_of(schedule, (dmq_sampler_config){ .spacing = DMQ_SPACING_QUAD,
                                                       .steps = distinct_of[k][0] });
        for (int i = 1; i < s->n_steps; i++)
            distinct += s->step[i].t != s->step[i - 1].t;
        assert_int_equal(distinct, distinct_of[k][1]);
        dmq_sampler_destroy(s);
    }
    for (int i = 0; i < 1000; i++)
        uniform[i] = 10 * i;
    s = sampler_of(schedule, (dmq_sampler_config){ .steps = 100 });
    steps_are(s, uniform, 100);
    dmq_sampler_destroy(s);
    for (int i = 0; i < 1000; i++)
        uniform[i] = 3 * i;
    s = sampler_of(schedule, (dmq_sampler_config){ .steps = 300 }); /* more than asked for */
    steps_are(s, uniform, 334);
    dmq_sampler_destroy(s);
    dmq_schedule_destroy(schedule);
    dmq_sampler_destroy(NULL);
}

/* linspace(0, sqrt(800), 51)^2 of numpy; the plain formula k sqrt(800)/50 gives others. */
static void quadratic_steps_are_linspace_squared(void **state)
{
    (void)state;
    static const int quad51[] = { 0,   0,   1,   2,   5,   7,   11,  15,  20,  25,  31,  38,  46,
                                  54,  62,  71,  81,  92,  103, 115, 127, 141, 154, 169, 184, 200,
                                  216, 233, 250, 269, 287, 307, 327, 348, 369, 392, 414, 438, 462,
                                  486, 511, 537, 564, 591, 619, 648, 677, 706, 737, 768, 800 };
    dmq_schedule *schedule = schedule_of(1000, 1e-4, 0.02);
    dmq_sampler *s =
        sampler_of(schedule, (dmq_sampler_config){ .spacing = DMQ_SPACING_QUAD, .steps = 51 });

    steps_are(s, quad51, 51);
    dmq_sampler_destroy(s);
    dmq_schedule_destroy(schedule);
}

/* specs: models.md 5.4: where t = 1000 would appear, and nowhere else. */
static void the_steps_of_ldm_are_refused_where_they_leave_the_schedule(void **state)
{
    (void)state;
    dmq_schedule *schedule = schedule_of(1000, 1e-4, 0.02);
    int n_refused = 0;

    for (int steps = 1; steps <= 1000; steps++) {
        static const int apart[] = { 3, 9, 27, 36, 37 };
        int refused_here =
            (steps >= 101 && steps <= 111) || (steps >= 251 && steps <= 333) || steps >= 501;
        dmq_sampler *s = NULL;
        dmq_status st;

        for (size_t k = 0; k < sizeof apart / sizeof *apart; k++)
            refused_here |= steps == apart[k];
        st = dmq_sampler_create(
            &s, schedule,
            &(dmq_sampler_config){ .steps = steps, .repository = DMQ_REPOSITORY_LDM });
        if ((st != DMQ_OK) != refused_here)
            fail_msg("%d steps of ldm: status %d", steps, (int)st);
        if (refused_here) {
            assert_int_equal(st, DMQ_EINVAL);
            assert_non_null(strstr(dmq_message(), "t = 1000 would appear"));
            n_refused++;
        } else {
            int last = s->n_steps - 1;

            assert_true(s->step[last].t == 1 && s->step[last].t_next == 0);
            assert_true(s->step[last].a_next == schedule->alpha_bar[0]);
        }
        dmq_sampler_destroy(s);
    }
    assert_int_equal(n_refused, 5 + 11 + 83 + 500);
    dmq_schedule_destroy(schedule);
}

/* sigma of the last step at t = 1, and what of the network's noise stays: models.md 5.4. */
static void the_last_step_of_ldm_leaves_noise(void **state)
{
    (void)state;
    dmq_schedule *schedule = NULL;
    dmq_sampler *s;

    assert_int_equal(dmq_schedule_create_scaled(&schedule, 1000, 0.0015, 0.0195), DMQ_OK);
    s = sampler_of(
        schedule, (dmq_sampler_config){ .steps = 200, .eta = 1, .repository = DMQ_REPOSITORY_LDM });
    close_to(s->step[199].sigma, 0.02743, 2e-4);
    close_to(s->step[199].d, 0.02734, 2e-4);
    dmq_sampler_destroy(s);
    dmq_schedule_destroy(schedule);
}

static void text_is(const dmq_schedule *schedule, dmq_sampler_config config, const char *expected,
                    const char *note)
{
    dmq_sampler *s = sampler_of(schedule, config);
    char *text = NULL, *told = NULL;

    assert_int_equal(dmq_sampler_text(&text, s), DMQ_OK);
    assert_string_equal(text, expected);
    assert_int_equal(dmq_sampler_note(&told, s), DMQ_OK);
    if (note) {
        assert_non_null(told);
        assert_non_null(strstr(told, note));
    } else {
        assert_null(told);
    }
    dmq_free(text);
    dmq_free(told);
    dmq_sampler_destroy(s);
}

/* The first three are in files that exist. */
static void samplers_are_told_apart(void **state)
{
    (void)state;
    dmq_schedule *schedule = schedule_of(1000, 1e-4, 0.02);

    text_is(schedule,
            (dmq_sampler_config){ DMQ_DDIM, DMQ_SPACING_QUAD, .steps = 100, .clip_x0 = 1 },
            "ddim, 100 steps, quad, eta 0, clip", NULL);
    text_is(schedule, (dmq_sampler_config){ DMQ_DDIM, .steps = 300, .eta = 0.5 },
            "ddim, 334 steps, uniform, eta 0.5", "300 steps are asked for, 334 are made");
    text_is(schedule,
            (dmq_sampler_config){ DMQ_DDPM, .steps = 100, .eta = 1, .variance = DMQ_FIXED_SMALL },
            "ddpm, 100 steps, uniform, eta 1, fixed small", NULL);
    text_is(schedule,
            (dmq_sampler_config){ DMQ_DDIM, .steps = 400, .repository = DMQ_REPOSITORY_LDM },
            "ddim, 500 steps, uniform, eta 0, ldm", "400 steps are asked for, 500 are made");
    text_is(schedule,
            (dmq_sampler_config){ DMQ_PLMS, .steps = 50, .repository = DMQ_REPOSITORY_LDM },
            "plms, 51 steps, uniform, eta 0, ldm", NULL);
    text_is(schedule,
            (dmq_sampler_config){ DMQ_DPM_SOLVER, DMQ_SPACING_LOGSNR, .steps = 10,
                                  .solver = DMQ_SOLVER_3S },
            "dpm_solver, 10 steps, logsnr, eta 0, 3s", NULL);
    text_is(schedule, (dmq_sampler_config){ DMQ_DPM_SOLVER, .steps = 10, .lower_order_below = 15 },
            "dpm_solver, 10 steps, uniform, eta 0, 2m, last of order 1", NULL);
    dmq_schedule_destroy(schedule);
}

static void adjacent_steps_with_eta_one_are_ddpm(void **state)
{
    (void)state;
    dmq_schedule *schedule = schedule_of(1000, 1e-4, 0.02);
    dmq_sampler *ddim = sampler_of(schedule, (dmq_sampler_config){ .steps = 1000, .eta = 1 });
    dmq_sampler *small =
        sampler_of(schedule, (dmq_sampler_config){ DMQ_DDPM, .steps = 1000, .eta = 1,
                                                   .variance = DMQ_FIXED_SMALL });
    dmq_sampler *large =
        sampler_of(schedule, (dmq_sampler_config){ DMQ_DDPM, .steps = 1000, .eta = 1 });

    close_to(ddim->step[499].c, -0.010528789940, 1e-9); /* t = 500 */
    for (int i = 0; i < 1000; i++) {
        const dmq_sampler_step *s = &ddim->step[i], *l = &large->step[i];
        double beta = schedule->beta[(int)s->t], a = s->a, an = s->a_next;

        assert_int_equal((int)s->t, 999 - i);
        close_to(s->r, 1 / sqrt(1 - beta), 1e-12);
        close_to(s->c, -beta / (sqrt(1 - beta) * sqrt(1 - a)), 1e-9);
        assert_true(s->c <= 0);
        assert_true(fabs(s->sigma * s->sigma - beta * (1 - an) / (1 - a)) <= 1e-12);
        assert_memory_equal(s, &small->step[i], sizeof *s);
        assert_true(l->c == s->c && l->r == s->r && l->d == s->d);
        close_to(l->sigma, i < 999 ? sqrt(beta) : 0, 1e-9);
        /* The same step through x0: sqrt(a') x0 + d eps, x0 = (x - sqrt(1-a) eps)/sqrt(a). */
        assert_true(fabs(s->d - sqrt(an * (1 - a) / a) - s->c) <= 1e-15);
        close_to(s->d + 1, (1 - an) * sqrt(1 - beta) / sqrt(1 - a) + 1, 1e-9);
    }
    dmq_sampler_destroy(ddim);
    dmq_sampler_destroy(small);
    dmq_sampler_destroy(large);
    dmq_schedule_destroy(schedule);
}

/* Linear-Gaussian chain: with eps = G x + O + nu n, mean and variance follow scalar recursions. */
static void gaussian_chain(double out[2], double eta, double k, double mu, double noise)
{
    const double m0 = 0.3, s0 = 0.5;
    dmq_schedule *schedule = schedule_of(1000, 1e-4, 2e-2);
    dmq_sampler *s = sampler_of(schedule, (dmq_sampler_config){ .steps = 20, .eta = eta });
    double mean = 0, variance = 1;

    assert_int_equal(s->n_steps, 20);
    assert_int_equal(s->step[0].t, 950);
    for (int i = 0; i < s->n_steps; i++) {
        const dmq_sampler_step *step = &s->step[i];
        double g = sqrt(1 - step->a) / (step->a * s0 * s0 + 1 - step->a);
        double slope = (1 + k) * g, offset = -(1 + k) * g * sqrt(step->a) * m0 + mu;
        double gain = step->r + step->c * slope;

        mean = gain * mean + step->c * offset;
        variance =
            gain * gain * variance + step->c * step->c * noise * noise + step->sigma * step->sigma;
    }
    out[0] = mean;
    out[1] = variance;
    dmq_sampler_destroy(s);
    dmq_schedule_destroy(schedule);
}

static void gaussian_chain_ends_at_the_published_moments(void **state)
{
    (void)state;
    static const struct {
        double eta, k, mu, noise, mean, variance;
    } row[] = {
        { 1, 0, 0, 0, 0.299992046, 0.153244418 },
        { 0, 0, 0, 0, 0.298660065, 0.188125549 },
        { 1, 0.1, 0.05, 0.2, 0.238170206, 0.125027229 },
        { 0, 0.1, 0.05, 0.2, 0.180962139, 0.063164378 },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        double moments[2];
        gaussian_chain(moments, row[i].eta, row[i].k, row[i].mu, row[i].noise);
        assert_true(fabs(moments[0] - row[i].mean) <= 1e-8);
        assert_true(fabs(moments[1] - row[i].variance) <= 1e-8);
    }
}

static double toy(double x, double t, int quantized)
{
    double y = tanh(1.3 * x + 0.001 * t) + 0.2 * sin(3 * x);
    return quantized ? 0.93 * y + 0.05 * cos(5 * x) + 0.02 : y;
}

/* (x^_S - x_S)/sqrt(a'_last) = sum_i [s(a'_i) - s(a_i)] E_i for any two networks and eta = 0. */
static void deviation_of_two_networks_is_the_exact_sum(void **state)
{
    (void)state;
    dmq_schedule *schedule = schedule_of(1000, 1e-4, 2e-2);
    dmq_sampler *s = sampler_of(schedule, (dmq_sampler_config){ .steps = 20 });
    double x = 0.7, xq = 0.7, sum = 0;

    for (int i = 0; i < s->n_steps; i++) {
        const dmq_sampler_step *step = &s->step[i];
        double eps = toy(x, step->t, 0), epsq = toy(xq, step->t, 1);
        double before = sqrt((1 - step->a) / step->a);
        double after = sqrt((1 - step->a_next) / step->a_next);

        sum += (after - before) * (epsq - eps);
        x = step->r * x + step->c * eps;
        xq = step->r * xq + step->c * epsq;
        assert_true(step->sigma == 0);
    }
    assert_true(fabs(xq - x) > 0.01);
    assert_true(fabs((xq - x) / sqrt(s->step[19].a_next) - sum) <= 1e-12);
    dmq_sampler_destroy(s);
    dmq_schedule_destroy(schedule);
}

static void a_step_between_equal_times_returns_x(void **state)
{
    (void)state;
    dmq_schedule *schedule = schedule_of(1000, 1e-4, 0.02);
    for (int eta = 0; eta < 2; eta++) {
        int found = 0;
        dmq_sampler *s = sampler_of(
            schedule,
            (dmq_sampler_config){ .spacing = DMQ_SPACING_QUAD, .steps = 100, .eta = eta });
        for (int i = 0; i < s->n_steps; i++) {
            const dmq_sampler_step *step = &s->step[i];
            if (step->t != step->t_next)
                continue;
            found++;
            assert_true(step->r == 1 && step->c == 0 && step->sigma == 0);
            assert_true(fabs(step->d - sqrt(1 - step->a)) <= 1e-15);
        }
        assert_int_equal(found, 4);
        dmq_sampler_destroy(s);
    }
    dmq_schedule_destroy(schedule);
}

/* The exact noise of one known image: DDIM from any step must lead back to it. */
static void the_last_step_gives_x0(void **state)
{
    (void)state;
    dmq_schedule *schedule = schedule_of(1000, 1e-4, 0.02);
    dmq_sampler *s = sampler_of(schedule, (dmq_sampler_config){ .steps = 50 });
    double x0 = -0.37, x = 1.21;

    for (int i = 0; i < s->n_steps; i++) {
        const dmq_sampler_step *step = &s->step[i];
        x = step->r * x + step->c * (x - sqrt(step->a) * x0) / sqrt(1 - step->a);
    }
    assert_true(fabs(x - x0) <= 1e-9);
    assert_true(s->step[49].d == 0);
    dmq_sampler_destroy(s);
    dmq_schedule_destroy(schedule);
}

static void refused(const dmq_schedule *schedule, dmq_sampler_config config, const char *says)
{
    dmq_sampler *s = NULL;
    assert_int_equal(dmq_sampler_create(&s, schedule, &config), DMQ_EINVAL);
    assert_null(s);
    if (!strstr(dmq_message(), says))
        fail_msg("\"%s\" does not say \"%s\"", dmq_message(), says);
}

static void wrong_choices_are_refused_with_both_sides(void **state)
{
    (void)state;
    dmq_schedule *schedule = schedule_of(1000, 1e-4, 0.02), *none = NULL;

    refused(schedule, (dmq_sampler_config){ .steps = 0 }, "steps = 0: must be 1..1000");
    refused(schedule, (dmq_sampler_config){ .steps = 1001 }, "steps = 1001: must be 1..1000");
    refused(schedule, (dmq_sampler_config){ .spacing = DMQ_SPACING_QUAD, .steps = 1 },
            "quad spacing needs at least 2");
    refused(schedule, (dmq_sampler_config){ .steps = 10, .eta = 1.5 }, "eta = 1.5: must be 0..1");
    refused(schedule, (dmq_sampler_config){ .steps = 10, .eta = NAN }, "must be 0..1");
    refused(schedule, (dmq_sampler_config){ DMQ_DDPM, .steps = 10 }, "ddpm is eta = 1");
    refused(schedule, (dmq_sampler_config){ .steps = 10, .variance = DMQ_FIXED_SMALL },
            "kind ddpm only");
    refused(schedule, (dmq_sampler_config){ .kind = (dmq_sampler_kind)7, .steps = 10 },
            "must be ddim or ddpm");
    refused(schedule, (dmq_sampler_config){ .spacing = (dmq_spacing)7, .steps = 10 },
            "must be uniform or quad");
    refused(schedule, (dmq_sampler_config){ DMQ_PLMS, .steps = 10, .eta = 0.5 }, "must be 0");
    refused(schedule, (dmq_sampler_config){ DMQ_DPM_SOLVER, .steps = 10, .eta = 1 }, "must be 0");
    refused(schedule, (dmq_sampler_config){ DMQ_PLMS, .steps = 10, .clip_x0 = 1 }, "clip_x0");
    refused(schedule, (dmq_sampler_config){ DMQ_DDIM, DMQ_SPACING_LOGSNR, .steps = 10 }, "logsnr");
    refused(schedule, (dmq_sampler_config){ DMQ_DPM_SOLVER, DMQ_SPACING_LINSPACE, .steps = 10 },
            "takes uniform, quad or logsnr");
    refused(schedule,
            (dmq_sampler_config){ DMQ_DDIM, DMQ_SPACING_LINSPACE, .steps = 10,
                                  .repository = DMQ_REPOSITORY_LDM },
            "last t would be T");
    refused(
        schedule,
        (dmq_sampler_config){ DMQ_DDPM, .steps = 10, .eta = 1, .repository = DMQ_REPOSITORY_LDM },
        "ddpm ends at t = 0");
    refused(schedule,
            (dmq_sampler_config){ DMQ_DDPM, .steps = 10, .eta = 1, .clip_x0 = 1,
                                  .variance = DMQ_LEARNED_RANGE },
            "learned variance");
    assert_int_equal(dmq_schedule_create(&none, 0, 1e-4, 0.02), DMQ_EINVAL);
    assert_non_null(strstr(dmq_message(), "T = 0"));
    assert_int_equal(dmq_schedule_create(&none, 10, 0, 0.02), DMQ_EINVAL);
    assert_int_equal(dmq_schedule_create(&none, 10, 1e-4, 1), DMQ_EINVAL);
    assert_int_equal(dmq_schedule_create(&none, 10, NAN, 0.02), DMQ_EINVAL);
    assert_null(none);
    dmq_schedule_destroy(schedule);
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    dmq_schedule *schedule = NULL;
    dmq_sampler *sampler = NULL;
    dmq_sampler_config config = { .steps = 10 };
    long n = 0;
    dmq_status st;

    do {
        dmq_alloc_fail_at(++n);
        st = dmq_schedule_create(&schedule, 100, 1e-4, 0.02);
        if (st == DMQ_OK)
            st = dmq_sampler_create(&sampler, schedule, &config);
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK || st == DMQ_ENOMEM);
        dmq_sampler_destroy(sampler);
        dmq_schedule_destroy(schedule);
        sampler = NULL;
        schedule = NULL;
    } while (st != DMQ_OK);
    assert_int_equal(n, 6); /* three for the schedule, two for the sampler, then none fails */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schedule_has_the_published_values),
        cmocka_unit_test(scaled_schedules_have_the_published_values),
        cmocka_unit_test(lists_of_steps_equal_the_published_ones),
        cmocka_unit_test(quadratic_steps_are_linspace_squared),
        cmocka_unit_test(the_steps_of_ldm_are_refused_where_they_leave_the_schedule),
        cmocka_unit_test(the_last_step_of_ldm_leaves_noise),
        cmocka_unit_test(samplers_are_told_apart),
        cmocka_unit_test(adjacent_steps_with_eta_one_are_ddpm),
        cmocka_unit_test(gaussian_chain_ends_at_the_published_moments),
        cmocka_unit_test(deviation_of_two_networks_is_the_exact_sum),
        cmocka_unit_test(a_step_between_equal_times_returns_x),
        cmocka_unit_test(the_last_step_gives_x0),
        cmocka_unit_test(wrong_choices_are_refused_with_both_sides),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
