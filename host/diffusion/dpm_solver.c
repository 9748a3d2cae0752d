#include "diffusion/dpm_solver.h"

#include "base/memory.h"

#include <assert.h>
#include <math.h>

/* Slots of what a step keeps: m of the step or block, and the x that a block begins with. */
enum { SLOT_M = 0, SLOT_X = 1 };

/* ------------------------------------------------------------------ continuous time */

/* All of a time. */
typedef struct moment {
    double tau, alpha, sigma, lambda;
} moment;

/* log alpha at knot n, tau = n/T. */
static double knot(const dmq_schedule *s, int n)
{
    return log(s->alpha_bar[n - 1]) / 2;
}

static moment moment_of(const dmq_schedule *s, double tau)
{
    moment m = { .tau = tau };
    int n = (int)(tau * s->T); /* the knot before */
    double at, log_alpha;

    n = n < 1 ? 1 : n > s->T - 1 ? s->T - 1 : n;
    at = tau * s->T - n;
    log_alpha = knot(s, n) + at * (knot(s, n + 1) - knot(s, n));
    m.alpha = exp(log_alpha);
    m.sigma = sqrt(-expm1(2 * log_alpha));
    m.lambda = log_alpha - log(m.sigma);
    return m;
}

static moment moment_at_lambda(const dmq_schedule *s, double lambda)
{
    double log_alpha = -log1p(exp(-2 * lambda)) / 2;
    int n = 1;

    while (n < s->T - 1 && knot(s, n + 1) > log_alpha)
        n++;
    return moment_of(s, (n + (log_alpha - knot(s, n)) / (knot(s, n + 1) - knot(s, n))) / s->T);
}

/* Number i of n + 1 times from one to another. */
static moment grid(const dmq_sampler *s, const dmq_schedule *schedule, moment from, moment to,
                   int i, int n)
{
    double share = (double)i / n, root;

    if (i == 0 || i == n)
        return i == 0 ? from : to;
    switch (s->config.spacing) {
    case DMQ_SPACING_LOGSNR:
        return moment_at_lambda(schedule, from.lambda + share * (to.lambda - from.lambda));
    case DMQ_SPACING_QUAD:
        root = sqrt(from.tau) + share * (sqrt(to.tau) - sqrt(from.tau));
        return moment_of(schedule, root * root);
    default:
        return moment_of(schedule, from.tau + share * (to.tau - from.tau));
    }
}

/* ------------------------------------------------------------------ steps */

/* A call at `now`, after which x belongs to `next`; x' = r x + c m until the caller says more. */
static dmq_sampler_step *begin(dmq_sampler *s, const dmq_schedule *schedule, int i, moment now,
                               moment next)
{
    dmq_sampler_step *step = &s->step[i];

    *step = (dmq_sampler_step){ .index = i,
                                .t = fmax(schedule->T * now.tau - 1, 0),
                                .t_next = fmax(schedule->T * next.tau - 1, 0),
                                .a = now.alpha * now.alpha,
                                .a_next = next.alpha * next.alpha,
                                .q_x = 1 / now.alpha,
                                .q_e = -now.sigma / now.alpha,
                                .keep_q = -1,
                                .keep_x = -1 };
    return step;
}

static void multistep(dmq_sampler *s, const dmq_schedule *schedule, moment from, moment to)
{
    int n = s->config.steps;
    double before = 0;

    for (int i = 0; i < n; i++) {
        moment now = grid(s, schedule, from, to, i, n),
               next = grid(s, schedule, from, to, i + 1, n);
        dmq_sampler_step *step = begin(s, schedule, i, now, next);
        double h = next.lambda - now.lambda, c = -next.alpha * expm1(-h);
        int first_order = i == 0 || (i == n - 1 && n < s->config.lower_order_below);

        step->r = next.sigma / now.sigma;
        step->c = c;
        if (!first_order) {
            double share = h / (2 * before); /* 1/(2 r0) */

            step->c = c * (1 + share);
            step->slot[SLOT_M] = -c * share;
        }
        step->keep_q = SLOT_M;
        before = h;
    }
}

/* The calls of a block, from the one of number i on. */
static void block(dmq_sampler *s, const dmq_schedule *schedule, int i, int order, moment from,
                  moment to)
{
    moment m1 = order > 1 ? grid(s, schedule, from, to, 1, order) : to;
    moment m2 = order > 2 ? grid(s, schedule, from, to, 2, order) : to;
    double h = to.lambda - from.lambda, phi = expm1(-h);
    double r1 = (m1.lambda - from.lambda) / h, r2 = (m2.lambda - from.lambda) / h;
    dmq_sampler_step *step = begin(s, schedule, i, from, m1);

    /* To the first cut, or to the end: order 1. */
    step->r = m1.sigma / from.sigma;
    step->c = -m1.alpha * expm1(-r1 * h);
    if (order == 1)
        return;
    step->keep_q = SLOT_M;
    step->keep_x = SLOT_X;

    step = begin(s, schedule, i + 1, m1, m2);
    step->slot[SLOT_X] = m2.sigma / from.sigma;
    if (order == 2) {
        step->c = -to.alpha * phi / (2 * r1);
        step->slot[SLOT_M] = -to.alpha * phi - step->c;
        return;
    }
    step->c = r2 / r1 * m2.alpha * (expm1(-r2 * h) / (r2 * h) + 1);
    step->slot[SLOT_M] = -m2.alpha * expm1(-r2 * h) - step->c;

    step = begin(s, schedule, i + 2, m2, to);
    step->slot[SLOT_X] = to.sigma / from.sigma;
    step->c = to.alpha * (phi / h + 1) / r2;
    step->slot[SLOT_M] = -to.alpha * phi - step->c;
}

/* Order of the block that begins at call i. */
static int order_at(int i, int steps, int order)
{
    int left = steps - i;

    if (order == 3 && left == 3)
        return 2; /* and 1, as the published schedule ends */
    return left < order ? left : order;
}

static void singlestep(dmq_sampler *s, const dmq_schedule *schedule, moment from, moment to)
{
    int n = s->config.steps, most = s->config.solver == DMQ_SOLVER_3S ? 3 : 2, blocks = 0, b = 0;
    int by_lambda = s->config.spacing == DMQ_SPACING_LOGSNR;

    for (int i = 0; i < n; i += order_at(i, n, most))
        blocks++;
    for (int i = 0, order; i < n; i += order, b++) {
        order = order_at(i, n, most);
        /* In lambda the blocks are alike, whatever their order; in time they are as long as their orders. */
        block(s, schedule, i, order,
              by_lambda ? grid(s, schedule, from, to, b, blocks)
                        : grid(s, schedule, from, to, i, n),
              by_lambda ? grid(s, schedule, from, to, b + 1, blocks)
                        : grid(s, schedule, from, to, i + order, n));
    }
}

dmq_status dmq_dpm_solver_fill(dmq_sampler *s, const dmq_schedule *schedule)
{
    moment from, to;

    if (schedule->T < 3) {
        return dmq_fail(DMQ_EINVAL, "sampler: dpm_solver needs a schedule of at least 3, not of %d",
                        schedule->T);
    }
    from = moment_of(schedule, 1);
    to = moment_of(schedule, 1.0 / schedule->T);
    if (s->config.solver == DMQ_SOLVER_2M) {
        multistep(s, schedule, from, to);
    } else {
        singlestep(s, schedule, from, to);
    }
    return DMQ_OK;
}
