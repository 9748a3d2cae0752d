/* Reconstruction in miniature: each unit of another shape once, a few iterations, a few dozen samples. */
#include "base/clock.h"
#include "base/machine.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/signal.h"
#include "bilevel/diagnose.h"
#include "run/forecast_inner.h"
#include "run/reweight.h"

#include <math.h>
#include <string.h>

/* Iterations are timed until so many seconds or so many of them have gone by. */
#define ENOUGH_SECONDS 0.3
#define ENOUGH_ITERS   20

/* A unit of the miniature at work. */
typedef struct measuring {
    dmq_forecasting *g;
    dmq_cache *cache;
    int *train, *slots, *held_out; /* samples of the miniature */
    dmq_real *loss;
    double opened;             /* seconds that the inputs of all units took so far */
    double fixed;              /* most bytes of the process beside what grows */
    double device, host, disk; /* most bytes of what grows, in the run */
} measuring;

/* What one unit took, in the miniature. */
typedef struct taken {
    double create, cosines, weigh, align, iteration, sample_loss;
} taken;

static double ratio(int full, int mini)
{
    return mini > 0 ? (double)full / mini : 0;
}

/* ------------------------------------------------------------------ units of one shape */

static int same_layer(const dmq_forecasting *g, int a, int b)
{
    const dmq_layer *x = &g->e->model->layer[a], *y = &g->e->model->layer[b];
    const dmq_qlayer *p = &g->q->layer[a], *q = &g->q->layer[b];

    return x->kind == y->kind && x->out == y->out && x->in == y->in && x->kernel == y->kernel &&
           x->stride == y->stride && x->split == y->split && p->weight_bits == q->weight_bits &&
           p->split_at == q->split_at;
}

static int same_value(const dmq_model *m, int a, int b)
{
    if (a < 0 || b < 0)
        return a < 0 && b < 0;
    return dmq_shape_equal(m->value[a].shape, m->value[b].shape);
}

static int same_unit(const dmq_forecasting *g, int a, int b)
{
    const dmq_model *m = g->e->model;
    const dmq_unit *u = &m->unit[a], *v = &m->unit[b];

    if (u->kind != v->kind || u->n_layers != v->n_layers || u->kind == DMQ_UNIT_TEMPORAL ||
        !same_value(m, u->in[0], v->in[0]) || !same_value(m, u->in[1], v->in[1]) ||
        !same_value(m, u->emb, v->emb) || !same_value(m, u->out, v->out))
        return 0;
    for (int i = 0; i < u->n_layers; i++) {
        if (!same_layer(g, u->layer[i], v->layer[i]))
            return 0;
    }
    return 1;
}

/* ------------------------------------------------------------------ one unit */

/* Seconds of an iteration, the first one (which makes tapes and plans) aside. */
static dmq_status time_iterations(double *out, measuring *m, dmq_block *b,
                                  const dmq_recon_state *at, const int *train, int n_train)
{
    const dmq_recon_config *r = &m->g->recon.recon;
    int batch = r->batch < n_train ? r->batch : n_train, done_iters = 0;
    dmq_real *w = NULL;
    double start = 0, now = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&w, (size_t)batch, sizeof *w));
    for (int i = 0; i < batch; i++)
        w[i] = (dmq_real)(1.0 / batch);
    DMQ_TRY(dmq_block_soften(b, at->alpha));
    while (done_iters < 2 || (done_iters <= ENOUGH_ITERS && now - start < ENOUGH_SECONDS)) {
        dmq_block_step step = { .alpha = at->alpha,
                                .m = at->m,
                                .v = at->v,
                                .lr = r->lr,
                                .beta1 = 0.9,
                                .beta2 = 0.999,
                                .eps = 1e-8,
                                .reg_weight = r->round_weight,
                                .reg_beta = r->beta_hi,
                                .step = done_iters + 1 };

        if (dmq_stop_requested()) {
            st = dmq_fail(DMQ_ESTOP, "plan: stopped by signal %d", dmq_stop_signal());
            goto done;
        }
        DMQ_TRY(dmq_block_iterate(b, train, w, batch, &step, m->loss));
        now = dmq_clock_seconds();
        if (done_iters++ == 0)
            start = now;
    }
    *out = (now - start) / (done_iters - 1);
done:
    dmq_free(w);
    return st;
}

static dmq_status time_cosines(taken *t, const measuring *m, dmq_block *b,
                               const dmq_recon_state *at)
{
    double matrix[DMQ_MAX_GROUPS * DMQ_MAX_GROUPS], mean, start = dmq_clock_seconds();
    dmq_status st = DMQ_OK;

    if (m->g->mini.validation == 0)
        return DMQ_OK;
    DMQ_TRY(dmq_reweight_cosines(b, m->g->e->config, m->g->calib, at->alpha, &mean, matrix));
    t->cosines = dmq_clock_seconds() - start;
done:
    return st;
}

/* Bytes of J in the run; 0: it goes without. */
static double jacobian_of(const dmq_forecasting *g, const dmq_block *b)
{
    dmq_learn_config config;

    if (b->temporal || dmq_config_enum(g->e->config, "reweight.form") == 0)
        return 0;
    dmq_reweight_settings(&config, g->e->config, b->unit);
    return (double)dmq_learn_jacobian_bytes(&config, b->problem.n_theta, g->full.train);
}

/* Learning of sample weights, in the mode (with or without J) of the full set. */
static dmq_status time_weights(taken *t, const measuring *m, dmq_block *b,
                               const dmq_recon_state *at)
{
    const dmq_forecasting *g = m->g;
    const dmq_config *c = g->e->config;
    dmq_learn_config config;
    dmq_learn_log log;
    dmq_groups groups;
    int *memory = NULL;
    dmq_real *s = NULL;
    double start;
    dmq_status st = DMQ_OK;

    if (dmq_config_enum(c, "reweight.form") == 0)
        return DMQ_OK;
    dmq_reweight_settings(&config, c, b->unit);
    config.matrix_free = jacobian_of(g, b) == 0;
    config.ess_stop = 0; /* noise may stop earlier or later than states: count the whole loop */
    DMQ_TRY(dmq_alloc((void **)&memory, (size_t)g->mini.n, sizeof *memory));
    DMQ_TRY(dmq_alloc((void **)&s, (size_t)g->mini.train, sizeof *s));
    DMQ_TRY(dmq_reweight_groups_of(&groups, memory, g->calib, DMQ_VALIDATION, c));
    start = dmq_clock_seconds();
    DMQ_TRY(dmq_learn_weights(&b->problem, at->alpha, m->train, g->mini.train, &groups, &config, s,
                              &log));
    t->weigh = dmq_clock_seconds() - start;
    if (g->mini.held_out > 0) {
        start = dmq_clock_seconds();
        DMQ_TRY(dmq_alignment_with(&b->problem, at->alpha, m->train, g->mini.train, m->held_out,
                                   g->mini.held_out, s));
        t->align = dmq_clock_seconds() - start;
    }
done:
    dmq_free(memory);
    dmq_free(s);
    return st;
}

/* Seconds of the unit in the run. */
static double unit_seconds(const measuring *m, const dmq_forecast_unit *u, const taken *t,
                           int temporal)
{
    const dmq_forecasting *g = m->g;
    const dmq_scale *full = &g->full, *mini = &g->mini;
    dmq_forecast_quantize *q = &g->f->quantize;
    double val = ratio(full->validation, mini->validation), train = ratio(full->train, mini->train);
    int eval = full->train < 512 || temporal ? full->train : 512,
        held = temporal ? 0 : full->held_out;
    double create, weigh, learn, measure, point = 0;

    if (dmq_config_enum(g->e->config, "reweight.form") != 0 && !temporal &&
        dmq_config_enum(g->e->config, "reweight.point") != 0) {
        int iters = dmq_config_int(g->e->config, "reweight.point_iters");

        point = iters > 0 ? iters : floor(g->recon.recon.warmup * g->recon.recon.iters);
    }
    create = t->create *
             (temporal ? ratio(full->weight_steps, mini->weight_steps) : ratio(full->n, mini->n));
    weigh = 2 * t->cosines * val + fmax(t->weigh - t->cosines, 0) * train +
            (t->weigh > 0 ? t->cosines * val : 0) + t->align * train + point * t->iteration;
    learn = u->iterations * t->iteration;
    measure = t->sample_loss * (3.0 * eval + 3.0 * held);
    q->prefix += create;
    q->weigh += weigh;
    q->learn += learn;
    q->measure += measure;
    return create + weigh + learn + measure;
}

/* Bytes of what a unit lets grow, from the miniature to the run; what of the process does not grow. */
static void account(measuring *m, const dmq_block *b, dmq_forecast_unit *u)
{
    const dmq_forecasting *g = m->g;
    const double *used = dmq_cache_tiers(m->cache)->used;
    double jacobian = jacobian_of(g, b), mini_j = 0, grown = ratio(g->full.n, g->mini.n);
    int one = g->e->backend->host_memory; /* device memory is memory of the process */

    if (jacobian > 0 && u->like == b->unit)
        mini_j = (double)g->mini.train * (double)u->n_theta * sizeof(dmq_real);
    u->bytes = used[DMQ_ON_DEVICE] * grown + jacobian;
    m->device = fmax(m->device, u->bytes);
    m->host = fmax(m->host, used[DMQ_ON_HOST] * grown + (one ? u->bytes : 0));
    m->disk = fmax(m->disk, used[DMQ_ON_DISK] * grown);
    m->fixed = fmax(m->fixed, dmq_process_peak() - used[DMQ_ON_HOST] -
                                  (one ? used[DMQ_ON_DEVICE] + mini_j : 0));
}

/* What an iteration and its like take; only of the first unit of a shape. */
static dmq_status measure_block(measuring *m, taken *t, dmq_block *b)
{
    const dmq_forecasting *g = m->g;
    const int *train = b->temporal ? m->slots : m->train;
    dmq_recon_state *at = NULL;
    double start;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_recon_state_create(&at, b));
    if (!b->temporal) {
        DMQ_TRY(time_cosines(t, m, b, at));
        DMQ_TRY(time_weights(t, m, b, at));
    }
    DMQ_TRY(time_iterations(&t->iteration, m, b, at, train, g->mini.train));
    DMQ_TRY(dmq_block_losses(b, train, g->mini.train, m->loss)); /* makes its tapes */
    start = dmq_clock_seconds();
    DMQ_TRY(dmq_block_losses(b, train, g->mini.train, m->loss));
    t->sample_loss = (dmq_clock_seconds() - start) / g->mini.train;
done:
    dmq_recon_state_destroy(at);
    return st;
}

static dmq_status measure_unit(measuring *m, dmq_forecast_unit *u, int unit, taken *t)
{
    const dmq_forecasting *g = m->g;
    dmq_block *b = NULL;
    double start = dmq_clock_seconds();
    dmq_status st = DMQ_OK;

    dmq_process_peak_begin();
    if (g->e->model->unit[unit].kind != DMQ_UNIT_TEMPORAL) {
        DMQ_TRY(dmq_cache_open(m->cache, unit));
        m->opened += dmq_clock_seconds() - start;
    }
    start = dmq_clock_seconds();
    DMQ_TRY(dmq_block_create(&b, g->q, g->calib, m->cache, g->e->lanes, unit, 0));
    t->create = dmq_clock_seconds() - start;
    u->n_theta = b->problem.n_theta;
    if (u->like == unit)
        DMQ_TRY(measure_block(m, t, b));
    account(m, b, u);
done:
    dmq_block_destroy(b);
    dmq_cache_close(m->cache);
    return st;
}

/* ------------------------------------------------------------------ all units */

static dmq_status open_measuring(measuring *m)
{
    dmq_forecasting *g = m->g;
    dmq_cache_config cache = g->recon.cache;
    const dmq_cache_config unlimited = { 0 };
    double part = ratio(g->mini.n, g->full.n), budget;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&m->train, (size_t)g->mini.n, sizeof(int)));
    DMQ_TRY(dmq_alloc((void **)&m->slots, (size_t)g->mini.n, sizeof(int)));
    DMQ_TRY(dmq_alloc((void **)&m->held_out, (size_t)g->mini.n, sizeof(int)));
    DMQ_TRY(dmq_alloc((void **)&m->loss, (size_t)g->mini.n, sizeof(dmq_real)));
    (void)dmq_calib_list(g->calib, DMQ_TRAIN, m->train);
    (void)dmq_calib_list(g->calib, DMQ_HELD_OUT, m->held_out);
    cache.any_order = dmq_unit_order_differs(g->e->model, g->recon.order);
    DMQ_TRY(dmq_cache_create(&m->cache, g->q, g->calib, g->e->lanes, &unlimited));
    g->f->cache_bytes = dmq_cache_bytes_push(m->cache) / part;
    dmq_cache_budgets(&cache, g->e->backend);
    budget = cache.budget_bytes + cache.host_bytes + cache.disk_bytes;
    if (cache.budget_bytes > 0 && g->f->cache_bytes > budget)
        cache.any_order = 1;
    g->f->recomputes = cache.any_order;
    /* the miniature lies where the run will */
    cache.budget_bytes *= part;
    cache.host_bytes *= part;
    cache.disk_bytes *= part;
    dmq_cache_destroy(m->cache);
    m->cache = NULL;
    st = dmq_cache_create(&m->cache, g->q, g->calib, g->e->lanes, &cache);
    if (st ==
        DMQ_EINVAL) { /* a shard of the miniature does not fit: times of a prefix run at once */
        cache.budget_bytes = 0;
        st = dmq_cache_create(&m->cache, g->q, g->calib, g->e->lanes, &cache);
    }
    DMQ_TRY(st);
    (void)dmq_temporal_train(
        g->calib, dmq_cache_slots(m->cache, dmq_model_temporal_of(g->e->model)), m->slots);
done:
    return st;
}

static void close_measuring(measuring *m)
{
    dmq_cache_destroy(m->cache);
    dmq_free(m->train);
    dmq_free(m->slots);
    dmq_free(m->held_out);
    dmq_free(m->loss);
}

static int iterations_of(const dmq_forecasting *g, int unit)
{
    if (g->e->model->unit[unit].kind != DMQ_UNIT_TEMPORAL || g->recon.temporal_iters == 0)
        return g->recon.recon.iters;
    return g->recon.temporal_iters > 0 ? g->recon.temporal_iters : 0;
}

dmq_status dmq_forecast_units(dmq_forecasting *g)
{
    const dmq_model *model = g->e->model;
    measuring m = { .g = g };
    taken *times = NULL;
    int *order = NULL;
    dmq_status st = DMQ_OK;

    if (!g->f->counts_only)
        DMQ_TRY(open_measuring(&m));
    DMQ_TRY(dmq_alloc((void **)&times, (size_t)model->n_units, sizeof *times));
    DMQ_TRY(dmq_alloc((void **)&order, (size_t)model->n_units, sizeof *order));
    DMQ_TRY(dmq_alloc((void **)&g->f->unit, (size_t)model->n_units, sizeof *g->f->unit));
    dmq_unit_order_list(order, model, g->recon.order);
    for (int i = 0; i < model->n_units; i++) {
        dmq_forecast_unit *u = &g->f->unit[g->f->n_units];
        int unit = order[i], temporal = model->unit[unit].kind == DMQ_UNIT_TEMPORAL;

        u->iterations = iterations_of(g, unit);
        if (dmq_block_learnable(g->q, unit) == 0 || u->iterations == 0)
            continue;
        u->name = model->unit[unit].name;
        u->like = unit;
        g->f->n_units++;
        if (g->f->counts_only)
            continue;
        for (int j = i - 1; j >= 0; j--) {
            if (times[order[j]].iteration > 0 && same_unit(g, order[j], unit))
                u->like = order[j];
        }
        if (u->like != unit)
            times[unit] = times[u->like];
        DMQ_TRY(measure_unit(&m, u, unit, &times[unit]));
        u->iteration = times[unit].iteration;
        u->seconds = unit_seconds(&m, u, &times[unit], temporal);
        dmq_progress_add(1, u->name);
    }
    if (g->f->counts_only)
        goto done;
    g->f->quantize.prefix += m.opened * ratio(g->full.n, g->mini.n);
    g->f->stage[DMQ_RUN_QUANTIZE].host_bytes = m.fixed + m.host;
    g->f->stage[DMQ_RUN_QUANTIZE].device_bytes = m.device;
    g->f->stage[DMQ_RUN_QUANTIZE].disk_bytes = m.disk;
done:
    dmq_free(times);
    dmq_free(order);
    close_measuring(&m);
    return st;
}
