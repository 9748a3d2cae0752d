#include "bilevel/learn.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/signal.h"
#include "bilevel/meta.h"
#include "bilevel/vec.h"
#include "kernels/logits_math.h"
#include "kernels/noise.h"
#include "kernels/simplex.h"

#include <string.h>

/* Exact iterations that a device is given at once; between two such plans a stop is heard. */
enum { PLAN_ROWS = 50 };

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
    int *order; /* permutation of an epoch */
    int at;     /* where the next batch begins in it */
    uint32_t epoch;
    dmq_real *s, *w, *d, *d_mse, *d_gm;
    dmq_learn_log *log;
    /* one shot */
    dmq_real *s_before, *s_batch, *ds;
    dmq_real *m, *v; /* Adam's moments, one of each a sample */
    int *visited;    /* Adam's step count of each sample */
    /* tables of a plan, in rows; one shot has one of them */
    int rows;
    int *pick;       /* (rows, batch): positions of the batch in train */
    int *sample;     /* (rows, batch): their sample numbers */
    int *val_sample; /* (rows, K, val_room) */
    int *val_order;  /* a permutation of a group */
    size_t val_room; /* most validation samples of a group in an iteration */
    dmq_groups *val; /* (rows) */
    uint32_t *iteration;
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
    dmq_free(l->val_order);
    dmq_free(l->val);
    dmq_free(l->iteration);
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

/* Validation samples of a group in an exact iteration. */
static int validation_of(const learner *l, int t)
{
    int count = l->groups->count[t], take = l->config->validation_batch;

    return take <= 0 || take > count ? count : take;
}

static dmq_status learner_init(learner *l)
{
    const dmq_learn_config *c = l->config;
    size_t all = (size_t)l->n_train, b = (size_t)l->batch, wide = width(c, l->n_train), rows;
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

    l->rows = c->mode == DMQ_EXACT && !l->problem->space->be->host_memory ? PLAN_ROWS : 1;
    rows = (size_t)l->rows;
    for (int t = 0; t < l->groups->k; t++) {
        size_t take = (size_t)validation_of(l, t);

        l->val_room = take > l->val_room ? take : l->val_room;
    }
    DMQ_TRY(dmq_hyper_create(&l->hyper, l->problem, (int)wide, l->groups->k, &h));
    DMQ_TRY(dmq_alloc((void **)&l->s_before, all, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&l->m, all, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&l->v, all, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&l->visited, all, sizeof(int)));
    DMQ_TRY(dmq_alloc((void **)&l->order, all, sizeof(int)));
    DMQ_TRY(dmq_alloc((void **)&l->pick, rows * b, sizeof(int)));
    DMQ_TRY(dmq_alloc((void **)&l->sample, rows * b, sizeof(int)));
    DMQ_TRY(dmq_alloc((void **)&l->val, rows, sizeof *l->val));
    DMQ_TRY(dmq_alloc((void **)&l->iteration, rows, sizeof *l->iteration));
    DMQ_TRY(dmq_alloc((void **)&l->s_batch, b, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&l->w, wide, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&l->d, wide, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&l->d_mse, wide, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&l->d_gm, wide, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&l->ds, b, sizeof(dmq_real)));
    DMQ_TRY(
        dmq_alloc((void **)&l->val_sample, rows * (size_t)l->groups->k * l->val_room, sizeof(int)));
    DMQ_TRY(dmq_alloc((void **)&l->val_order, (size_t)l->problem->n_samples, sizeof(int)));
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

/* Validation samples of an iteration: validation_batch of each group, another draw each time. */
static void draw_validation(learner *l, int row, uint32_t iteration)
{
    const dmq_learn_config *c = l->config;
    int *next = l->val_sample + (size_t)row * (size_t)l->groups->k * l->val_room;
    dmq_groups *out = &l->val[row];

    out->k = l->groups->k;
    for (int t = 0; t < out->k; t++) {
        out->sample[t] = next;
        out->count[t] = validation_of(l, t);
        dmq_permutation(l->val_order, l->groups->count[t], c->seed, DMQ_FOR_META,
                        2 + (c->unit << 16) + (uint64_t)t, iteration);
        for (int i = 0; i < out->count[t]; i++)
            next[i] = l->groups->sample[t][l->val_order[i]];
        next += l->val_room;
    }
}

/* The next batch of an epoch, to a row of the tables. */
static void draw_batch(learner *l, int row)
{
    int *pick = l->pick + row * l->batch, *sample = l->sample + row * l->batch;

    if (l->at + l->batch > l->n_train) {
        dmq_permutation(l->order, l->n_train, l->config->seed, DMQ_FOR_META, l->config->unit << 16,
                        l->epoch++);
        l->at = 0;
    }
    for (int i = 0; i < l->batch; i++) {
        pick[i] = l->order[l->at + i];
        sample[i] = l->train[pick[i]];
    }
    l->at += l->batch;
}

static dmq_status hear_stop(void)
{
    return dmq_stop_requested() ? dmq_fail(DMQ_ESTOP, "stopped while learning sample weights")
                                : DMQ_OK;
}

/* ------------------------------------------------------------------ one shot */

static dmq_status iterate(learner *l)
{
    dmq_real *w = l->d_mse, *d = l->d_gm; /* free after score_once */
    dmq_simplex_args simplex = {
        .s = l->s_batch, .w = w, .d = d, .ds = l->ds, .n = l->batch, .tau = (dmq_real)l->config->tau
    };
    const dmq_logits_args adam = {
        .s = l->s, .m = l->m, .v = l->v, .visited = l->visited, .lr = l->config->lr
    };
    dmq_status st = DMQ_OK;

    draw_batch(l, 0);
    for (int i = 0; i < l->batch; i++) {
        l->s_batch[i] = l->s[l->pick[i]];
        d[i] = l->d[l->pick[i]];
    }
    DMQ_TRY(dmq_simplex_forward_ref(NULL, &simplex));
    DMQ_TRY(dmq_simplex_backward_ref(NULL, &simplex));
    for (int i = 0; i < l->batch; i++) /* at the scale of d, whatever the batch */
        dmq_logits_move(&adam, l->pick[i], (double)l->ds[i] * l->batch);
done:
    return st;
}

/* The device is asked once, for the scores. The iterations are some tables of the host's: 1064 of them, of 4864
   samples, take 0.03 s, nearly all of it the share that is effective; there is nothing to record. */
static dmq_status learn_once(learner *l, uint32_t iterations)
{
    const dmq_learn_config *c = l->config;
    dmq_status st = DMQ_OK;

    DMQ_TRY(score_once(l));
    for (uint32_t i = 0; i < iterations; i++) {
        DMQ_TRY(hear_stop());
        memcpy(l->s_before, l->s, (size_t)l->n_train * sizeof *l->s);
        DMQ_TRY(iterate(l));
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

/* ------------------------------------------------------------------ exact */

static dmq_status plan_rows(learner *l, dmq_meta *meta, uint32_t first, int rows)
{
    dmq_status st = DMQ_OK;

    for (int r = 0; r < rows; r++) {
        l->iteration[r] = first + (uint32_t)r;
        draw_batch(l, r);
        draw_validation(l, r, l->iteration[r]);
    }
    if (first == 0) {
        for (int i = 0; i < l->batch; i++)
            l->w[i] = (dmq_real)(1.0 / l->batch);
        DMQ_TRY(choose_eta(l, l->sample, l->batch, &l->val[0]));
    }
    DMQ_TRY(dmq_meta_plan_set(meta, &(dmq_meta_plan){ .theta = l->theta,
                                                      .rows = rows,
                                                      .n = l->batch,
                                                      .pick = l->pick,
                                                      .sample = l->sample,
                                                      .groups = l->val,
                                                      .iteration = l->iteration }));
done:
    return st;
}

static dmq_status learn_exact(learner *l, uint32_t iterations)
{
    const dmq_learn_config *c = l->config;
    dmq_meta_look look = { 0 };
    dmq_meta *meta = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_meta_create(&meta, l->hyper,
                            &(dmq_meta_config){ .n_train = l->n_train,
                                                .tau = c->tau,
                                                .lr = c->lr,
                                                .ess_stop = c->ess_stop,
                                                .gm_weight = c->gm_weight,
                                                .rho_0 = rho_0(c) }));
    DMQ_TRY(dmq_meta_logits_set(meta, l->s));
    for (uint32_t i = 0; i < iterations && !look.stopped; i += (uint32_t)l->rows) {
        uint32_t left = iterations - i;
        int rows = left < (uint32_t)l->rows ? (int)left : l->rows;

        DMQ_TRY(hear_stop());
        DMQ_TRY(plan_rows(l, meta, i, rows));
        DMQ_TRY(dmq_meta_run(meta, rows));
        DMQ_TRY(dmq_meta_look_at(meta, &look));
        take_stats(l, &look.hyper, &look.gm);
    }
    DMQ_TRY(dmq_meta_logits(meta, l->s));
    l->log->iterations = look.steps;
    l->log->stopped_by_ess = look.stopped;
done:
    dmq_meta_destroy(meta);
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
                  .at = n_train, /* an epoch is over */
                  .groups = groups,
                  .config = config,
                  .s = s,
                  .log = log };
    dmq_status st = DMQ_OK;
    double start = dmq_clock_seconds();
    uint32_t iterations = (uint32_t)(config->visits * n_train / l.batch + 0.5);

    memset(log, 0, sizeof *log);
    for (int i = 0; i < n_train; i++)
        s[i] = (dmq_real)(1.0 / 32);
    DMQ_TRY(learner_init(&l));
    DMQ_TRY(config->mode == DMQ_ONE_SHOT ? learn_once(&l, iterations)
                                         : learn_exact(&l, iterations));
    if (config->permute)
        permute(&l);
    log->ess = dmq_ess(s, n_train, config->tau, &log->w_max);
    log->seconds = dmq_clock_seconds() - start;
done:
    learner_release(&l);
    return st;
}
