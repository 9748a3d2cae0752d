#include "diffusion/sampler.h"

#include "base/memory.h"
#include "diffusion/dpm_solver.h"

#include <math.h>

/** The part of the diffusion that the quadratic spacing covers; the papers' code fixes it. */
#define QUAD_SHARE 0.8

static int is_ldm(const dmq_sampler_config *c)
{
    return c->repository == DMQ_REPOSITORY_LDM;
}

/* ------------------------------------------------------------------ what cannot be */

static dmq_status check_names(const dmq_sampler_config *c)
{
    if (c->kind < DMQ_DDIM || c->kind > DMQ_DPM_SOLVER) {
        return dmq_fail(DMQ_EINVAL, "sampler: kind %d: must be ddim or ddpm, plms or dpm_solver",
                        (int)c->kind);
    }
    if (c->spacing < DMQ_SPACING_UNIFORM || c->spacing > DMQ_SPACING_LOGSNR) {
        return dmq_fail(DMQ_EINVAL,
                        "sampler: spacing %d: must be uniform or quad, linspace or logsnr",
                        (int)c->spacing);
    }
    return DMQ_OK;
}

static dmq_status check_spacing(const dmq_sampler_config *c)
{
    if (c->kind == DMQ_DPM_SOLVER && c->spacing == DMQ_SPACING_LINSPACE) {
        return dmq_fail(DMQ_EINVAL,
                        "sampler: spacing linspace: dpm_solver takes uniform, quad or logsnr\n"
                        "  hint: its uniform times are evenly spaced to both ends");
    }
    if (c->kind != DMQ_DPM_SOLVER && c->spacing == DMQ_SPACING_LOGSNR) {
        return dmq_fail(DMQ_EINVAL, "sampler: spacing logsnr: its times are fractions\n"
                                    "  hint: only kind dpm_solver takes them");
    }
    if (c->spacing == DMQ_SPACING_LINSPACE && is_ldm(c)) {
        return dmq_fail(DMQ_EINVAL, "sampler: spacing linspace with the steps of ldm: the last t "
                                    "would be T\n  hint: repository ddim, or spacing uniform");
    }
    if (c->kind == DMQ_DDPM && is_ldm(c)) {
        return dmq_fail(DMQ_EINVAL, "sampler: kind ddpm with the steps of ldm: ddpm ends at t = 0, "
                                    "which they leave out\n  hint: repository ddim; for LDM's own "
                                    "ddpm with all T steps too");
    }
    return DMQ_OK;
}

static dmq_status check_noise(const dmq_sampler_config *c)
{
    if (!(c->eta >= 0 && c->eta <= 1))
        return dmq_fail(DMQ_EINVAL, "sampler: eta = %g: must be 0..1", c->eta);
    if (c->kind == DMQ_DDPM && c->eta != 1) {
        return dmq_fail(DMQ_EINVAL,
                        "sampler: eta = %g with kind ddpm: ddpm is eta = 1\n"
                        "  hint: for another eta use kind ddim",
                        c->eta);
    }
    if ((c->kind == DMQ_PLMS || c->kind == DMQ_DPM_SOLVER) && c->eta != 0) {
        return dmq_fail(DMQ_EINVAL,
                        "sampler: eta = %g with kind %s, which draws no noise: must be 0\n"
                        "  hint: for another eta use kind ddim",
                        c->eta, c->kind == DMQ_PLMS ? "plms" : "dpm_solver");
    }
    if (c->kind != DMQ_DDPM && c->variance != DMQ_FIXED_LARGE) {
        return dmq_fail(DMQ_EINVAL, "sampler: the variance can be chosen for kind ddpm only\n"
                                    "  hint: the noise of ddim is set by eta");
    }
    if (c->clip_x0 && (c->kind == DMQ_PLMS || c->kind == DMQ_DPM_SOLVER)) {
        return dmq_fail(DMQ_EINVAL,
                        "sampler: clip_x0 with kind %s: only ddim and ddpm clip\n"
                        "  hint: clip_x0: false",
                        c->kind == DMQ_PLMS ? "plms" : "dpm_solver");
    }
    if (c->clip_x0 && c->variance == DMQ_LEARNED_RANGE) {
        return dmq_fail(DMQ_EINVAL, "sampler: clip_x0 with a learned variance: DiT does not clip\n"
                                    "  hint: a variance of fixed_large or fixed_small");
    }
    return DMQ_OK;
}

static dmq_status check_guidance(const dmq_sampler_config *c)
{
    if (!(c->guidance >= 0 && isfinite(c->guidance))) {
        return dmq_fail(DMQ_EINVAL,
                        "sampler: guidance = %g: must not be negative\n"
                        "  hint: 1 is none, the papers take 1.5 to 7.5",
                        c->guidance);
    }
    if (c->guided_channels < 0) {
        return dmq_fail(DMQ_EINVAL, "sampler: guided_channels = %d: must not be negative",
                        c->guided_channels);
    }
    return DMQ_OK;
}

static dmq_status check(const dmq_schedule *schedule, const dmq_sampler_config *c)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(check_names(c));
    if (c->steps < 1 || c->steps > schedule->T) {
        return dmq_fail(DMQ_EINVAL, "sampler: steps = %d: must be 1..%d, the schedule's T",
                        c->steps, schedule->T);
    }
    DMQ_TRY(check_spacing(c));
    DMQ_TRY(check_noise(c));
    DMQ_TRY(check_guidance(c));
    if (c->spacing == DMQ_SPACING_QUAD && c->kind != DMQ_DPM_SOLVER && c->steps < 2) {
        return dmq_fail(DMQ_EINVAL, "sampler: steps = %d: quad spacing needs at least 2", c->steps);
    }
    if (is_ldm(c) && c->kind != DMQ_DPM_SOLVER && c->spacing == DMQ_SPACING_UNIFORM &&
        (schedule->T - 1) % (schedule->T / c->steps) == 0) {
        return dmq_fail(
            DMQ_EINVAL,
            "sampler: steps = %d: the steps of ldm are %d apart and begin at 1, so that "
            "t = %d would appear, beyond the schedule's last %d\n"
            "  hint: another number of steps, such as 20, 50, 200, 250 or 500 for T = "
            "1000, or repository ddim",
            c->steps, schedule->T / c->steps, schedule->T, schedule->T - 1);
    }
done:
    return st;
}

/* ------------------------------------------------------------------ whole t */

/* How many t there are. */
static int places(const dmq_schedule *schedule, const dmq_sampler_config *c)
{
    int stride = schedule->T / c->steps;

    return c->spacing == DMQ_SPACING_UNIFORM ? (schedule->T + stride - 1) / stride : c->steps;
}

/** Timestep of place k, ascending; the truncation to whole numbers makes duplicates in quad spacing. */
static int place(const dmq_schedule *schedule, const dmq_sampler_config *c, int k)
{
    double end = sqrt(schedule->T * QUAD_SHARE), root, sum = 0;

    switch (c->spacing) {
    case DMQ_SPACING_QUAD:
        /* k * (end / n), not k * end / n, and the last one exactly: the papers use linspace. Squares fall
           on whole numbers up to rounding, so another order gives other steps (with 51, for one). */
        root = k == c->steps - 1 ? end : k * (end / (c->steps - 1));
        return (int)(root * root) + is_ldm(c);
    case DMQ_SPACING_LINSPACE:
        /* A running sum, half to even, as the respacing of guided-diffusion has it. */
        for (int i = 0; i < k; i++)
            sum += (double)(schedule->T - 1) / (c->steps - 1);
        return (int)rint(sum);
    default:
        return k * (schedule->T / c->steps) + is_ldm(c);
    }
}

/* Step i on the list of t: the numbers of t, no coefficients yet. */
static dmq_sampler_step step_at(const dmq_schedule *schedule, const dmq_sampler_config *c, int i)
{
    int k = places(schedule, c) - 1 - i, t = place(schedule, c, k);
    int t_next = k > 0 ? place(schedule, c, k - 1) : is_ldm(c) ? 0 : -1;

    return (dmq_sampler_step){ .index = i,
                               .t = t,
                               .t_next = t_next,
                               .a = dmq_schedule_alpha_bar(schedule, t),
                               .a_next = dmq_schedule_alpha_bar(schedule, t_next),
                               .keep_q = -1,
                               .keep_x = -1 };
}

/* ------------------------------------------------------------------ ddim, ddpm */

static void fill(dmq_sampler_step *s, const dmq_sampler_config *config, int last)
{
    double a = s->a, an = s->a_next;
    double eta = config->kind == DMQ_DDPM ? 1 : config->eta;
    double variance = eta * eta * (1 - an) / (1 - a) * (1 - a / an);
    double radicand = 1 - an - variance;

    s->r = sqrt(an / a);
    s->d = radicand > 0 ? sqrt(radicand) : 0; /* rounding may leave -1e-17 */
    s->c = s->d - sqrt(an * (1 - a) / a);
    if (config->kind == DMQ_DDPM && config->variance == DMQ_LEARNED_RANGE) {
        s->log_max = log(1 - a / an);
        s->log_min = !last          ? log(variance)
                     : s->index > 0 ? s[-1].log_min
                                    : s->log_max; /* not log 0 */
        variance = last ? 0 : 1;                  /* times what is between the two */
    } else if (config->kind == DMQ_DDPM && config->variance == DMQ_FIXED_LARGE) {
        variance = last ? 0 : 1 - a / an; /* the mean keeps the d of eta = 1 */
    }
    s->sigma = variance > 0 ? sqrt(variance) : 0;
    /* A step between equal times: exactly x, not x up to the rounding of c. */
    if (a == an)
        s->c = 0;
}

static void fill_all(dmq_sampler *s, const dmq_schedule *schedule)
{
    for (int i = 0; i < s->n_steps; i++) {
        s->step[i] = step_at(schedule, &s->config, i);
        fill(&s->step[i], &s->config, i == s->n_steps - 1);
    }
}

/* ------------------------------------------------------------------ plms */

/* Slots: the answers of the last three steps in turn, and the x that the first step begins with. */
enum { ANSWERS = 3, SLOT_X = 3 };

/* x' = r x + c (sum of the weights, newest first, of the answers of step i and before). */
static void weigh(dmq_sampler_step *s, int i, const double *weight, int n)
{
    double c = s->c;

    s->c = c * weight[0];
    for (int k = 1; k < n; k++)
        s->slot[(i - k) % ANSWERS] = c * weight[k];
    s->keep_q = i % ANSWERS; /* where the oldest was, which has been read */
}

static void fill_plms(dmq_sampler *s, const dmq_schedule *schedule)
{
    static const double weights[][4] = { { 3.0 / 2, -1.0 / 2 },
                                         { 23.0 / 12, -16.0 / 12, 5.0 / 12 },
                                         { 55.0 / 24, -59.0 / 24, 37.0 / 24, -9.0 / 24 } };
    dmq_sampler_step plain;

    for (int i = 0; i + 1 < s->n_steps; i++) {
        /* Call 1 is the second one of step 0; step i > 0 is that of call i + 1. */
        dmq_sampler_step *step = &s->step[i == 0 ? 0 : i + 1];

        *step = step_at(schedule, &s->config, i);
        step->index = i == 0 ? 0 : i + 1;
        step->q_e = 1;
        fill(step, &s->config, i + 2 == s->n_steps);
        if (i > 0)
            weigh(step, i, weights[i < ANSWERS ? i - 1 : ANSWERS - 1], i < ANSWERS ? i + 1 : 4);
    }
    plain = s->step[0];
    s->step[0].keep_q = 0;
    s->step[0].keep_x = SLOT_X;
    /* At the next t, from where a plain step leads; the move begins at the kept x again. One step alone has
       no next t. */
    s->step[1] = (dmq_sampler_step){ .index = 1,
                                     .t = s->n_steps > 2 ? s->step[2].t : plain.t,
                                     .t_next = plain.t_next,
                                     .a = s->n_steps > 2 ? plain.a_next : plain.a,
                                     .a_next = plain.a_next,
                                     .c = plain.c / 2,
                                     .q_e = 1,
                                     .keep_q = -1,
                                     .keep_x = -1 };
    s->step[1].slot[0] = plain.c / 2;
    s->step[1].slot[SLOT_X] = plain.r;
}

/* ------------------------------------------------------------------ */

static int calls(const dmq_schedule *schedule, const dmq_sampler_config *c)
{
    if (c->kind == DMQ_DPM_SOLVER)
        return c->steps;
    return places(schedule, c) + (c->kind == DMQ_PLMS);
}

dmq_status dmq_sampler_create(dmq_sampler **out, const dmq_schedule *schedule,
                              const dmq_sampler_config *config)
{
    dmq_status st = DMQ_OK;
    void *memory = NULL;
    dmq_sampler *s = NULL;

    DMQ_TRY(check(schedule, config));
    DMQ_TRY(dmq_alloc(&memory, 1, sizeof *s));
    s = memory;
    s->config = *config;
    s->n_steps = calls(schedule, config);
    DMQ_TRY(dmq_alloc(&memory, (size_t)s->n_steps, sizeof *s->step));
    s->step = memory;
    switch (config->kind) {
    case DMQ_DPM_SOLVER:
        s->form = DMQ_MOVE_KEPT;
        DMQ_TRY(dmq_dpm_solver_fill(s, schedule));
        break;
    case DMQ_PLMS:
        s->form = DMQ_MOVE_KEPT;
        fill_plms(s, schedule);
        break;
    default:
        s->form = config->clip_x0                         ? DMQ_MOVE_CLIPPED
                  : config->variance == DMQ_LEARNED_RANGE ? DMQ_MOVE_LEARNED
                                                          : DMQ_MOVE_LINEAR;
        fill_all(s, schedule);
    }
    *out = s;
    s = NULL;
done:
    dmq_sampler_destroy(s);
    return st;
}

int dmq_sampler_branches(const dmq_sampler *sampler)
{
    return sampler->config.guidance == 0 || sampler->config.guidance == 1 ? 1 : 2;
}

int dmq_sampler_is_null(const dmq_sampler *sampler, int branch)
{
    return dmq_sampler_branches(sampler) == 2 && branch == sampler->config.cond_first;
}

void dmq_sampler_destroy(dmq_sampler *sampler)
{
    if (!sampler)
        return;
    dmq_free(sampler->step);
    dmq_free(sampler);
}
