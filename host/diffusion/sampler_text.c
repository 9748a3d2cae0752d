/* A sampler in words. */
#include "base/memory.h"
#include "base/text.h"
#include "diffusion/sampler.h"

#include <stdio.h>

static const char *const kinds[] = { "ddim", "ddpm", "plms", "dpm_solver" };
static const char *const spacings[] = { "uniform", "quad", "linspace", "logsnr" };
static const char *const solvers[] = { "2m", "2s", "3s" };

dmq_status dmq_sampler_text(char **out, const dmq_sampler *s)
{
    static const char *const variances[] = { "", ", fixed small", ", learned" };
    const dmq_sampler_config *c = &s->config;
    dmq_text text = { 0 };

    dmq_text_add(&text, "%s, %d steps, %s, eta %g%s%s", kinds[c->kind], s->n_steps,
                 spacings[c->spacing], c->eta, variances[c->variance], c->clip_x0 ? ", clip" : "");
    if (c->kind == DMQ_DPM_SOLVER) {
        dmq_text_add(&text, ", %s", solvers[c->solver]);
        if (c->solver == DMQ_SOLVER_2M && c->steps < c->lower_order_below)
            dmq_text_add(&text, ", last of order 1");
    } else if (c->repository == DMQ_REPOSITORY_LDM) {
        dmq_text_add(&text, ", ldm");
    }
    if (dmq_sampler_branches(s) == 2) {
        dmq_text_add(&text, ", guidance %g%s", c->guidance, c->cond_first ? ", cond first" : "");
        if (c->guided_channels > 0)
            dmq_text_add(&text, ", on %d channels", c->guided_channels);
    }
    return dmq_text_take(out, &text);
}

dmq_status dmq_sampler_note(char **out, const dmq_sampler *s)
{
    const dmq_sampler_config *c = &s->config;
    dmq_text text = { 0 };
    int places = s->n_steps - (c->kind == DMQ_PLMS);

    *out = NULL;
    if (places == c->steps)
        return DMQ_OK;
    dmq_text_add(&text, "sampler: %d steps are asked for, %d are made: whole t are %d apart",
                 c->steps, places, (int)(s->step[s->n_steps - 2].t - s->step[s->n_steps - 1].t));
    return dmq_text_take(out, &text);
}
