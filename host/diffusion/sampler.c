#include "diffusion/sampler.h"

#include "base/memory.h"

#include <math.h>

/** The part of the diffusion that the quadratic spacing covers; the papers' code fixes it. */
#define QUAD_SHARE 0.8

static dmq_status check(const dmq_schedule *schedule, const dmq_sampler_config *config)
{
    if (config->kind != DMQ_DDIM && config->kind != DMQ_DDPM)
        return dmq_fail(DMQ_EINVAL, "sampler: kind %d: must be ddim or ddpm", (int)config->kind);
    if (config->spacing != DMQ_SPACING_UNIFORM && config->spacing != DMQ_SPACING_QUAD) {
        return dmq_fail(DMQ_EINVAL, "sampler: spacing %d: must be uniform or quad",
                        (int)config->spacing);
    }
    if (config->steps < 1 || config->steps > schedule->T) {
        return dmq_fail(DMQ_EINVAL, "sampler: steps = %d: must be 1..%d, the schedule's T",
                        config->steps, schedule->T);
    }
    if (config->spacing == DMQ_SPACING_QUAD && config->steps < 2) {
        return dmq_fail(DMQ_EINVAL, "sampler: steps = %d: quad spacing needs at least 2",
                        config->steps);
    }
    if (!(config->eta >= 0 && config->eta <= 1))
        return dmq_fail(DMQ_EINVAL, "sampler: eta = %g: must be 0..1", config->eta);
    if (config->kind == DMQ_DDPM && config->eta != 1) {
        return dmq_fail(DMQ_EINVAL,
                        "sampler: eta = %g with kind ddpm: ddpm is eta = 1\n"
                        "  hint: for another eta use kind ddim",
                        config->eta);
    }
    if (config->kind == DMQ_DDIM && config->fixed_small) {
        return dmq_fail(DMQ_EINVAL,
                        "sampler: the variance (fixed_small) can be chosen for kind ddpm only\n"
                        "  hint: the noise of ddim is set by eta");
    }
    return DMQ_OK;
}

/** Timestep of place k, ascending; the truncation to whole numbers makes duplicates in quad spacing. */
static int place(const dmq_schedule *schedule, const dmq_sampler_config *config, int k)
{
    double end = sqrt(schedule->T * QUAD_SHARE), root;

    if (config->spacing == DMQ_SPACING_UNIFORM)
        return k * (schedule->T / config->steps);
    /* k * (end / n), not k * end / n, and the last one exactly: the papers use linspace. Squares fall
       on whole numbers up to rounding, so another order gives other steps (with 51, for one). */
    root = k == config->steps - 1 ? end : k * (end / (config->steps - 1));
    return (int)(root * root);
}

static void fill(dmq_sampler_step *s, const dmq_sampler_config *config)
{
    double a = s->a, an = s->a_next;
    double eta = config->kind == DMQ_DDPM ? 1 : config->eta;
    double variance = eta * eta * (1 - an) / (1 - a) * (1 - a / an);
    double radicand = 1 - an - variance;

    s->r = sqrt(an / a);
    s->d = radicand > 0 ? sqrt(radicand) : 0; /* rounding may leave -1e-17 */
    s->c = s->d - sqrt(an * (1 - a) / a);
    if (config->kind == DMQ_DDPM && !config->fixed_small)
        variance = s->t_next < 0 ? 0 : 1 - a / an; /* the mean keeps the d of eta = 1 */
    s->sigma = variance > 0 ? sqrt(variance) : 0;
    /* A step between equal times: exactly x, not x up to the rounding of c. */
    if (a == an)
        s->c = 0;
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
    s->form = config->clip_x0 ? DMQ_MOVE_CLIPPED : DMQ_MOVE_LINEAR;
    s->n_steps = config->steps;
    if (config->spacing == DMQ_SPACING_UNIFORM) {
        int stride = schedule->T / config->steps;
        s->n_steps = (schedule->T + stride - 1) / stride;
    }
    DMQ_TRY(dmq_alloc(&memory, (size_t)s->n_steps, sizeof *s->step));
    s->step = memory;
    for (int i = 0; i < s->n_steps; i++) {
        dmq_sampler_step *step = &s->step[i];
        int k = s->n_steps - 1 - i;

        step->index = i;
        step->t = place(schedule, config, k);
        step->t_next = k > 0 ? place(schedule, config, k - 1) : -1;
        step->a = dmq_schedule_alpha_bar(schedule, step->t);
        step->a_next = dmq_schedule_alpha_bar(schedule, step->t_next);
        fill(step, config);
    }
    *out = s;
    s = NULL;
done:
    dmq_sampler_destroy(s);
    return st;
}

void dmq_sampler_destroy(dmq_sampler *sampler)
{
    if (!sampler)
        return;
    dmq_free(sampler->step);
    dmq_free(sampler);
}
