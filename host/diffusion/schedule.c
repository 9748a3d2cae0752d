#include "diffusion/schedule.h"

#include "base/memory.h"

#include <assert.h>
#include <math.h>

static double identity(double x)
{
    return x;
}

static double square(double x)
{
    return x * x;
}

/* beta = form(linspace(root(beta_start), root(beta_end), T)) */
static dmq_status create(dmq_schedule **out, int T, double beta_start, double beta_end,
                         double (*root)(double), double (*form)(double))
{
    dmq_status st = DMQ_OK;
    void *memory = NULL;
    dmq_schedule *s = NULL;
    double product = 1, from, to;

    if (T < 1 || T > 1000000)
        return dmq_fail(DMQ_EINVAL, "schedule: T = %d: must be 1..1000000", T);
    if (!(beta_start > 0 && beta_start < 1) || !(beta_end > 0 && beta_end < 1)) {
        return dmq_fail(DMQ_EINVAL, "schedule: beta from %g to %g: both must lie between 0 and 1",
                        beta_start, beta_end);
    }
    from = root(beta_start);
    to = root(beta_end);
    DMQ_TRY(dmq_alloc(&memory, 1, sizeof *s));
    s = memory;
    s->T = T;
    DMQ_TRY(dmq_alloc(&memory, (size_t)T, sizeof(double)));
    s->beta = memory;
    DMQ_TRY(dmq_alloc(&memory, (size_t)T, sizeof(double)));
    s->alpha_bar = memory;
    for (int i = 0; i < T; i++) {
        /* As linspace: the last value is the end itself, not the end up to rounding. */
        double step = T > 1 ? (to - from) / (T - 1) : 0;
        s->beta[i] = form(i > 0 && i == T - 1 ? to : from + i * step);
        product *= 1 - s->beta[i];
        s->alpha_bar[i] = product;
    }
    *out = s;
    s = NULL;
done:
    dmq_schedule_destroy(s);
    return st;
}

dmq_status dmq_schedule_create(dmq_schedule **out, int T, double beta_start, double beta_end)
{
    return create(out, T, beta_start, beta_end, identity, identity);
}

dmq_status dmq_schedule_create_scaled(dmq_schedule **out, int T, double beta_start, double beta_end)
{
    return create(out, T, beta_start, beta_end, sqrt, square);
}

void dmq_schedule_destroy(dmq_schedule *schedule)
{
    if (!schedule)
        return;
    dmq_free(schedule->beta);
    dmq_free(schedule->alpha_bar);
    dmq_free(schedule);
}

double dmq_schedule_alpha_bar(const dmq_schedule *schedule, int t)
{
    assert(t >= -1 && t < schedule->T);
    return t < 0 ? 1 : schedule->alpha_bar[t];
}
