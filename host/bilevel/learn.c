#include "bilevel/learn.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/signal.h"
#include "bilevel/vec.h"
#include "kernels/noise.h"
#include "kernels/simplex.h"

#include <stdlib.h>
#include <string.h>

#define FREEZE_AFTER 8 /* iterations whose median fixes lambda and the scale of d */
#define MAX_JACOBIAN \
    ((size_t)1 << 30) /* bytes of J that one shot keeps; beyond, it goes without J */

typedef struct learner {
    const dmq_problem *problem;
    const dmq_real *theta;
    const int *train;
    int n_train, batch;
    const dmq_groups *groups;
    const dmq_learn_config *config;
    dmq_hyper *hyper;
    dmq_real *s, *s_before;
    dmq_real *m, *v; /* Adam's moments, one of each a sample */
    int *visited;    /* Adam's step count of each sample */
    int *order;      /* permutation of an epoch */
    int *pick;       /* positions of the batch in train */
    int *sample;     /* their sample numbers */
    dmq_real *s_batch, *w, *d, *d_mse, *d_gm, *ds;
    int *val_sample; /* (K, validation_batch) */
    double first_lambda[FREEZE_AFTER], first_scale[FREEZE_AFTER];
    double lambda, scale; /* 0 until frozen */
    dmq_learn_log *log;
} learner;

void dmq_learn_defaults(dmq_learn_config *c)
{
    memset(c, 0, sizeof *c);
    c->form = DMQ_GM_SURROGATE;
    c->mode = DMQ_ONE_SHOT;
    c->gm_weight = DMQ_GM_PROJECTED;
    c->tau = 1;
    c->visits = 7;
    c->lr = 0.05;
    c->batch = 32;
    c->validation_batch = 8;
    c->ess_stop = 0.9;
    c->eta_move = 1e-4;
}

double dmq_ess(const dmq_real *s, int n, double tau, double *w_max)
{
    double top = (double)s[0], sum = 0, squares = 0;

    for (int i = 1; i < n; i++) {
        if ((double)s[i] > top)
            top = (double)s[i];
    }
    for (int i = 0; i < n; i++) {
        double e = exp(((double)s[i] - top) / tau);

        sum += e;
        squares += e * e;
    }
    if (w_max)
        *w_max = n / sum;
    return sum * sum / (squares * n);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(const double *x, int n)
{
    double copy[FREEZE_AFTER];

    memcpy(copy, x, (size_t)n * sizeof *x);
    qsort(copy, (size_t)n, sizeof *copy, by_value);
    return n % 2 ? copy[n / 2] : 0.5 * (copy[n / 2 - 1] + copy[n / 2]);
}

static double rms(const dmq_real *x, int n)
{
    return dmq_vec_norm(x, (size_t)n) / sqrt((double)n);
}

static double rho_0(const dmq_learn_config *c)
{
    if (c->rho_0 > 0)
        return c->rho_0;
    return c->gm_weight == DMQ_GM_CAPPED ? 0.3 : 1.0;
}

static void learner_release(learner *l)
{
    dmq_hyper_destroy(l->hyper);
    dmq_free(l->s_before);
    dmq_free(l->m);
    dmq_free(l->v);
    dmq_free(l->visited);
    dmq_free(l->order);
    dmq_free(l->pick);
    dmq_free(l->sample);
    dmq_free(l->s_batch);
    dmq_free(l->w);
    dmq_free(l->d);
    dmq_free(l->d_mse);
    dmq_free(l->d_gm);
    dmq_free(l->ds);
    dmq_free(l->val_sample);
}

/* Samples of one hypergradient. */
static size_t width(const dmq_learn_config *c, int n_train)
{
    int batch = c->batch < n_train ? c->batch : n_train;

    return (size_t)(c->mode == DMQ_ONE_SHOT ? n_train : batch);
}

size_t dmq_learn_jacobian_bytes(const dmq_learn_config *c, size_t n_theta, int n_train)
{
    size_t bytes = width(c, n_train) * n_theta * sizeof(dmq_real);

    return c->matrix_free || bytes > MAX_JACOBIAN ? 0 : bytes;
}

static dmq_status learner_init(learner *l)
{
    const dmq_learn_config *c = l->config;
    size_t all = (size_t)l->n_train, b = (size_t)l->batch, wide = width(c, l->n_train);
    dmq_hyper_config h = { .form = c->form,
                           .with_gm = c->gm_weight != DMQ_GM_OFF,
                           .cosine = c->cosine,
                           .normalize = c->normalize,
                           .matrix_free =
                               dmq_learn_jacobian_bytes(c, l->problem->n_theta, l->n_train) == 0,
                           .eta = c->eta,
                           .hvp_move = 1e-2,
                           .rate = 1,
                           .order_seed = c->seed ^ (c->unit << 32) };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_hyper_create(&l->hyper, l->problem, (int)wide, l->groups->k, &h));
    DMQ_TRY(dmq_alloc((void **)&l->s_before, all, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&l->m, all, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&l->v, all, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&l->visited, all, sizeof(int)));
    DMQ_TRY(dmq_alloc((void **)&l->order, all, sizeof(int)));
    DMQ_TRY(dmq_alloc((void **)&l->pick, b, sizeof(int)));
    DMQ_TRY(dmq_alloc((void **)&l->sample, b, sizeof(int)));
    DMQ_TRY(dmq_alloc((void **)&l->s_batch, b, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&l->w, wide, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&l->d, wide, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&l->d_mse, wide, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&l->d_gm, wide, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&l->ds, b, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&l->val_sample,
                      (size_t)l->groups->k * (size_t)(l->problem->n_samples), sizeof(int)));
done:
    return st;
}

/* The inner step, chosen once for the block: a given eta, or the one that moves theta by eta_move. */
static dmq_status choose_eta(learner *l, const int *sample, int n, const dmq_groups *groups)
{
    const dmq_learn_config *c = l->config;
    dmq_status st = DMQ_OK;
    double eta = c->eta;

    if (!(eta > 0))
        DMQ_TRY(dmq_hyper_eta_for_move(l->hyper, l->theta, sample, n, l->w, c->eta_move, &eta));
    dmq_hyper_set_eta(l->hyper, eta);
    l->log->eta = eta;
    if (c->form == DMQ_GM_SEQUENTIAL)
        DMQ_TRY(dmq_hyper_rate_for_share(l->hyper, l->theta, sample, n, l->w, groups, 0.1));
done:
    return st;
}

static void take_stats(learner *l, const dmq_hyper_result *r, const dmq_gm_stats *g)
{
    l->log->loss_mse = r->loss_mse;
    l->log->loss_gm = r->loss_gm;
    l->log->move = r->move;
    l->log->group_cosine = r->cosine;
    l->log->rho = g->rho;
    l->log->cosine_mse_gm = g->cosine;
    l->log->lambda = g->lambda;
}

/* d over all training samples at uniform weights, at unit rms. */
static dmq_status score_once(learner *l)
{
    const dmq_learn_config *c = l->config;
    dmq_hyper_result result;
    dmq_gm_stats stats;
    dmq_status st = DMQ_OK;
    double scale;

    for (int i = 0; i < l->n_train; i++)
        l->w[i] = (dmq_real)(1.0 / l->n_train);
    DMQ_TRY(choose_eta(l, l->train, l->n_train, l->groups));
    DMQ_TRY(dmq_hyper_eval(l->hyper, l->theta, l->train, l->n_train, l->w, l->groups, l->d_mse,
                           l->d_gm, &result));
    dmq_gm_combine(l->d, l->d_mse, l->d_gm, l->w, l->n_train, c->gm_weight, rho_0(c), 0, &stats);
    take_stats(l, &result, &stats);
    scale = rms(l->d, l->n_train);
    if (scale > 0)
        dmq_vec_axpby(l->d, 0, l->d, 1 / scale, (size_t)l->n_train);
done:
    return st;
}

/* Validation samples of this iteration: validation_batch of each group, another draw each time. */
static void draw_validation(learner *l, dmq_groups *out, uint32_t iteration)
{
    const dmq_learn_config *c = l->config;
    int *next = l->val_sample;

    out->k = l->groups->k;
    for (int t = 0; t < out->k; t++) {
        int count = l->groups->count[t], take = c->validation_batch;

        if (take <= 0 || take > count)
            take = count;
        dmq_permutation(next, count, c->seed, DMQ_FOR_META, 2 + (c->unit << 16) + (uint64_t)t,
                        iteration);
        for (int i = 0; i < take; i++)
            next[i] = l->groups->sample[t][next[i]];
        out->sample[t] = next;
        out->count[t] = take;
        next += l->problem->n_samples;
    }
}

/* d of a batch at its present weights. lambda and the scale are frozen after the first iterations. */
static dmq_status score_batch(learner *l, int n, uint32_t iteration)
{
    const dmq_learn_config *c = l->config;
    dmq_hyper_result result;
    dmq_gm_stats stats;
    dmq_groups groups;
    dmq_status st = DMQ_OK;
    double scale;

    draw_validation(l, &groups, iteration);
    if (iteration == 0)
        DMQ_TRY(choose_eta(l, l->sample, n, &groups));
    dmq_hyper_set_order(l->hyper, iteration);
    DMQ_TRY(dmq_hyper_eval(l->hyper, l->theta, l->sample, n, l->w, &groups, l->d_mse, l->d_gm,
                           &result));
    dmq_gm_combine(l->d, l->d_mse, l->d_gm, l->w, n, c->gm_weight, rho_0(c), l->lambda, &stats);
    take_stats(l, &result, &stats);
    scale = rms(l->d, n);
    if (iteration < FREEZE_AFTER) {
        l->first_lambda[iteration] = stats.lambda;
        l->first_scale[iteration] = scale;
        if (iteration == FREEZE_AFTER - 1) {
            l->lambda = median(l->first_lambda, FREEZE_AFTER);
            l->scale = median(l->first_scale, FREEZE_AFTER);
        }
    }
    if (l->scale > 0)
        scale = l->scale;
    if (scale > 0)
        dmq_vec_axpby(l->d, 0, l->d, 1 / scale, (size_t)n);
done:
    return st;
}

/* Adam on the logits of the batch alone: moments and step counts belong to the samples. */
static void step_logits(learner *l, int n)
{
    const double b1 = 0.9, b2 = 0.999, eps = 1e-8;

    for (int i = 0; i < n; i++) {
        int j = l->pick[i], k = ++l->visited[j];
        double g = (double)l->ds[i] * n; /* at the scale of d, whatever the batch */
        double m = b1 * (double)l->m[j] + (1 - b1) * g;
        double v = b2 * (double)l->v[j] + (1 - b2) * g * g;

        l->m[j] = (dmq_real)m;
        l->v[j] = (dmq_real)v;
        l->s[j] -=
            (dmq_real)(l->config->lr * (m / (1 - pow(b1, k))) / (sqrt(v / (1 - pow(b2, k))) + eps));
    }
}

static dmq_status iterate(learner *l, uint32_t iteration, int from, int n)
{
    const dmq_learn_config *c = l->config;
    dmq_simplex_args simplex = { .s = l->s_batch, .w = l->w, .n = n, .tau = (dmq_real)c->tau };
    dmq_status st = DMQ_OK;

    for (int i = 0; i < n; i++) {
        l->pick[i] = l->order[from + i];
        l->sample[i] = l->train[l->pick[i]];
        l->s_batch[i] = l->s[l->pick[i]];
    }
    if (c->mode == DMQ_EXACT) {
        DMQ_TRY(dmq_simplex_forward_ref(NULL, &simplex));
        DMQ_TRY(score_batch(l, n, iteration));
        simplex.d = l->d;
        simplex.ds = l->ds;
        DMQ_TRY(dmq_simplex_backward_ref(NULL, &simplex));
    } else {
        dmq_real *w = l->d_mse, *d = l->d_gm; /* free after score_once */

        for (int i = 0; i < n; i++)
            d[i] = l->d[l->pick[i]];
        simplex.w = w;
        DMQ_TRY(dmq_simplex_forward_ref(NULL, &simplex));
        simplex.d = d;
        simplex.ds = l->ds;
        DMQ_TRY(dmq_simplex_backward_ref(NULL, &simplex));
    }
    step_logits(l, n);
done:
    return st;
}

static dmq_status learn(learner *l)
{
    const dmq_learn_config *c = l->config;
    dmq_status st = DMQ_OK;
    uint32_t iterations = (uint32_t)(c->visits * l->n_train / l->batch + 0.5), epoch = 0;
    int at = l->n_train; /* an epoch is over: draw the next permutation */

    for (uint32_t i = 0; i < iterations; i++) {
        if (dmq_stop_requested())
            return dmq_fail(DMQ_ESTOP, "stopped while learning sample weights");
        if (at + l->batch > l->n_train) {
            dmq_permutation(l->order, l->n_train, c->seed, DMQ_FOR_META, c->unit << 16, epoch++);
            at = 0;
        }
        memcpy(l->s_before, l->s, (size_t)l->n_train * sizeof *l->s);
        DMQ_TRY(iterate(l, i, at, l->batch));
        at += l->batch;
        l->log->iterations = (int)i + 1;
        if (dmq_ess(l->s, l->n_train, c->tau, NULL) < c->ess_stop) {
            memcpy(l->s, l->s_before, (size_t)l->n_train * sizeof *l->s);
            l->log->stopped_by_ess = 1;
            break;
        }
    }
done:
    return st;
}

static void permute(learner *l)
{
    memcpy(l->s_before, l->s, (size_t)l->n_train * sizeof *l->s);
    dmq_permutation(l->order, l->n_train, l->config->seed, DMQ_FOR_PERMUTE, l->config->unit, 0);
    for (int i = 0; i < l->n_train; i++)
        l->s[i] = l->s_before[l->order[i]];
}

dmq_status dmq_learn_weights(const dmq_problem *problem, const dmq_real *theta, const int *train,
                             int n_train, const dmq_groups *groups, const dmq_learn_config *config,
                             dmq_real *s, dmq_learn_log *log)
{
    learner l = { .problem = problem,
                  .theta = theta,
                  .train = train,
                  .n_train = n_train,
                  .batch = config->batch < n_train ? config->batch : n_train,
                  .groups = groups,
                  .config = config,
                  .s = s,
                  .log = log };
    dmq_status st = DMQ_OK;
    double start = dmq_clock_seconds();

    memset(log, 0, sizeof *log);
    for (int i = 0; i < n_train; i++)
        s[i] = (dmq_real)(1.0 / 32);
    DMQ_TRY(learner_init(&l));
    if (config->mode == DMQ_ONE_SHOT)
        DMQ_TRY(score_once(&l));
    DMQ_TRY(learn(&l));
    if (config->permute)
        permute(&l);
    log->ess = dmq_ess(s, n_train, config->tau, &log->w_max);
    log->seconds = dmq_clock_seconds() - start;
done:
    learner_release(&l);
    return st;
}
