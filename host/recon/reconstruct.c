#include "recon/reconstruct.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/signal.h"
#include "calib/batch.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

/* How often progress is told: a call takes a lock. */
#define TELL_EVERY 10

/* Iterations that the device has numbers for at a time, where checkpoints do not say it. */
#define PLAN_ROWS 100

void dmq_recon_defaults(dmq_recon_config *config)
{
    *config = (dmq_recon_config){ .iters = 20000,
                                  .batch = 32,
                                  .lr = 1e-3,
                                  .round_weight = 0.01,
                                  .beta_hi = 20,
                                  .beta_lo = 2,
                                  .warmup = 0.2,
                                  .eval_samples = 512 };
}

dmq_status dmq_recon_check(const dmq_recon_config *c)
{
    if (c->iters < 0)
        return dmq_fail(DMQ_EINVAL, "recon.iters = %d: must not be negative", c->iters);
    if (c->batch < 1 || c->batch > DMQ_BATCH_MAX) {
        return dmq_fail(DMQ_EINVAL, "recon.batch = %d: must be 1..%d", c->batch, DMQ_BATCH_MAX);
    }
    if (!(c->lr > 0))
        return dmq_fail(DMQ_EINVAL, "recon.lr = %g: must be above 0", c->lr);
    if (!(c->round_weight >= 0)) {
        return dmq_fail(DMQ_EINVAL, "recon.round_weight = %g: must not be negative",
                        c->round_weight);
    }
    if (!(c->beta_lo >= 1 && c->beta_hi >= c->beta_lo)) {
        return dmq_fail(DMQ_EINVAL, "recon.beta = [%g, %g]: must fall, and not below 1", c->beta_hi,
                        c->beta_lo);
    }
    if (!(c->warmup >= 0 && c->warmup < 1))
        return dmq_fail(DMQ_EINVAL, "recon.warmup = %g: must be 0..1, below 1", c->warmup);
    return DMQ_OK;
}

double dmq_recon_beta(const dmq_recon_config *c, int iteration, int *active)
{
    double start = c->warmup * c->iters, left = 1;

    *active = iteration >= start;
    if (*active)
        left = 1 - (iteration - start) / (c->iters - start);
    return c->beta_lo + (c->beta_hi - c->beta_lo) * (left > 0 ? left : 0);
}

dmq_status dmq_recon_state_room(dmq_recon_state **out, dmq_lanes *lanes, size_t n_theta)
{
    dmq_recon_state *s = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&s, 1, sizeof *s));
    dmq_space_init(&s->space, lanes);
    s->n_theta = n_theta;
    DMQ_TRY(dmq_space_alloc(&s->alpha, &s->space, n_theta));
    DMQ_TRY(dmq_space_alloc(&s->m, &s->space, n_theta));
    DMQ_TRY(dmq_space_alloc(&s->v, &s->space, n_theta));
    DMQ_TRY(dmq_space_fill(&s->space, s->m, 0, n_theta));
    DMQ_TRY(dmq_space_fill(&s->space, s->v, 0, n_theta));
    *out = s;
    s = NULL;
done:
    dmq_recon_state_destroy(s);
    return st;
}

dmq_status dmq_recon_state_create(dmq_recon_state **out, dmq_block *block)
{
    dmq_recon_state *s = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_recon_state_room(&s, block->lanes, block->problem.n_theta));
    DMQ_TRY(dmq_block_init(block, s->alpha));
    *out = s;
    s = NULL;
done:
    dmq_recon_state_destroy(s);
    return st;
}

void dmq_recon_state_destroy(dmq_recon_state *s)
{
    if (!s)
        return;
    dmq_space_free(&s->space, s->alpha);
    dmq_space_free(&s->space, s->m);
    dmq_space_free(&s->space, s->v);
    dmq_space_release(&s->space);
    dmq_free(s);
}

dmq_status dmq_recon_state_get(dmq_real *host, const dmq_recon_state *s)
{
    size_t n = s->n_theta, bytes = n * sizeof *host;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_space_get(&s->space, host, s->alpha, bytes));
    DMQ_TRY(dmq_space_get(&s->space, host + n, s->m, bytes));
    DMQ_TRY(dmq_space_get(&s->space, host + 2 * n, s->v, bytes));
done:
    return st;
}

dmq_status dmq_recon_state_put(dmq_recon_state *s, const dmq_real *host)
{
    size_t n = s->n_theta, bytes = n * sizeof *host;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_space_put(&s->space, s->alpha, host, bytes));
    DMQ_TRY(dmq_space_put(&s->space, s->m, host + n, bytes));
    DMQ_TRY(dmq_space_put(&s->space, s->v, host + 2 * n, bytes));
done:
    return st;
}

/* What one call works with. */
typedef struct run {
    dmq_block *block;
    const dmq_recon_config *config;
    const dmq_recon_job *job;
    dmq_recon_state *state;
    dmq_recon_report *report;
    int batch;
    int rows;      /* of a plan, at most */
    int *position; /* (n_train) 0, 1, ...: what batches are drawn from */
    int *drawn;    /* (batch) positions */
    int *sample;   /* (rows, batch), as w and loss */
    dmq_real *s;   /* (batch) */
    dmq_real *w, *loss;
    dmq_step_scalars *scalars; /* (rows) */
    int untold;                /* iterations since progress was told */
    int *eval;                 /* training samples that are evaluated */
    int n_eval;
    dmq_real *eval_loss;
} run;

static dmq_status open_run(run *r)
{
    const dmq_recon_job *j = r->job;
    int cap = r->config->eval_samples, most;
    size_t rows, batch;
    dmq_status st = DMQ_OK;

    r->batch = r->config->batch < j->n_train ? r->config->batch : j->n_train;
    r->rows = r->config->checkpoint_every > 0 ? r->config->checkpoint_every : PLAN_ROWS;
    r->rows = r->rows < r->config->iters ? r->rows : r->config->iters;
    rows = (size_t)(r->rows > 0 ? r->rows : 1);
    r->n_eval = cap > 0 && cap < j->n_train ? cap : j->n_train;
    most = r->n_eval > j->n_held_out ? r->n_eval : j->n_held_out;
    batch = (size_t)r->batch;
    DMQ_TRY(dmq_alloc((void **)&r->position, (size_t)j->n_train, sizeof *r->position));
    DMQ_TRY(dmq_alloc((void **)&r->drawn, batch, sizeof *r->drawn));
    DMQ_TRY(dmq_alloc((void **)&r->sample, rows * batch, sizeof *r->sample));
    DMQ_TRY(dmq_alloc((void **)&r->s, batch, sizeof *r->s));
    DMQ_TRY(dmq_alloc((void **)&r->w, rows * batch, sizeof *r->w));
    DMQ_TRY(dmq_alloc((void **)&r->loss, rows * batch, sizeof *r->loss));
    DMQ_TRY(dmq_alloc((void **)&r->scalars, rows, sizeof *r->scalars));
    DMQ_TRY(dmq_alloc((void **)&r->eval, (size_t)r->n_eval, sizeof *r->eval));
    DMQ_TRY(dmq_alloc((void **)&r->eval_loss, (size_t)most, sizeof *r->eval_loss));
    for (int i = 0; i < j->n_train; i++)
        r->position[i] = i;
    for (int i = 0; i < r->n_eval; i++)
        r->eval[i] = j->train[(int64_t)i * j->n_train / r->n_eval];
done:
    return st;
}

static void close_run(run *r)
{
    dmq_free(r->position);
    dmq_free(r->drawn);
    dmq_free(r->sample);
    dmq_free(r->s);
    dmq_free(r->w);
    dmq_free(r->loss);
    dmq_free(r->scalars);
    dmq_free(r->eval);
    dmq_free(r->eval_loss);
}

/* Mean loss at the weights that are set. */
static dmq_status evaluate(run *r, const int *sample, int n, double *mean)
{
    double sum = 0;
    dmq_status st = DMQ_OK;

    *mean = 0;
    if (n == 0)
        return DMQ_OK;
    DMQ_TRY(dmq_block_losses(r->block, sample, n, r->eval_loss));
    for (int i = 0; i < n; i++)
        sum += (double)r->eval_loss[i];
    *mean = sum / n;
    if (!isfinite(sum)) {
        st = dmq_fail(DMQ_EDIVERGE, "block %s: its loss is not finite",
                      r->block->q->model->unit[r->block->unit].name);
    }
done:
    return st;
}

static dmq_status evaluate_both(run *r, double *train, double *held)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(evaluate(r, r->eval, r->n_eval, train));
    DMQ_TRY(evaluate(r, r->job->held_out, r->job->n_held_out, held));
done:
    return st;
}

/* Weights of the batch drawn. */
static dmq_status weigh(const run *r, dmq_real *w)
{
    for (int i = 0; i < r->batch && !r->job->s; i++)
        w[i] = (dmq_real)(1.0 / r->batch);
    if (!r->job->s)
        return DMQ_OK;
    for (int i = 0; i < r->batch; i++)
        r->s[i] = r->job->s[r->drawn[i]];
    return dmq_simplex_forward_ref(
        NULL,
        &(dmq_simplex_args){ .s = r->s, .w = w, .n = r->batch, .tau = (dmq_real)r->job->tau });
}

/* Batch, weights and numbers of the optimizer of iteration c, to a row of the plan. */
static dmq_status plan_row(run *r, int row, int c)
{
    const dmq_recon_config *k = r->config;
    dmq_step_scalars *scalars = &r->scalars[row];
    int active;

    scalars->reg_beta = (dmq_real)dmq_recon_beta(k, c, &active);
    scalars->reg_weight = (dmq_real)(active ? k->round_weight : 0);
    scalars->adam =
        dmq_adam_begin((dmq_real)k->lr, (dmq_real)0.9, (dmq_real)0.999, (dmq_real)1e-8, c);
    dmq_batch_draw(r->drawn, r->batch, r->position, r->job->n_train, k->seed, r->job->unit,
                   (uint32_t)c);
    for (int i = 0; i < r->batch; i++)
        r->sample[row * r->batch + i] = r->job->train[r->drawn[i]];
    return weigh(r, r->w + (size_t)row * (size_t)r->batch);
}

/* A plan of the iterations from c on, up to the next checkpoint; how many. */
static dmq_status make_plan(run *r, int c, int *rows)
{
    int end = (c - 1) / r->rows * r->rows + r->rows;
    dmq_status st = DMQ_OK;

    end = end < r->config->iters ? end : r->config->iters;
    *rows = end - c + 1;
    for (int i = 0; i < *rows; i++)
        DMQ_TRY(plan_row(r, i, c + i));
    DMQ_TRY(dmq_block_plan_set(r->block, &(dmq_block_plan){ .rows = *rows,
                                                            .n = r->batch,
                                                            .sample = r->sample,
                                                            .weight = r->w,
                                                            .scalars = r->scalars,
                                                            .alpha = r->state->alpha,
                                                            .m = r->state->m,
                                                            .v = r->state->v }));
done:
    return st;
}

static const char *unit_name(const run *r)
{
    return r->block->q->model->unit[r->block->unit].name;
}

/* Losses of `count` iterations of the plan from row `first` on, which is iteration c. */
static dmq_status look_at(run *r, int first, int count, int c)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_block_plan_losses(r->block, first, count, r->loss));
    for (int k = 0; k < count; k++) {
        const dmq_real *w = r->w + (size_t)(first + k) * (size_t)r->batch;
        double sum = 0;

        for (int i = 0; i < r->batch; i++)
            sum += (double)w[i] * (double)r->loss[k * r->batch + i];
        if (!isfinite(sum)) {
            return dmq_fail(DMQ_EDIVERGE, "block %s: loss of iteration %d is not finite",
                            unit_name(r), c + k);
        }
        if (c + k == 1)
            r->report->first_loss = sum;
        r->report->last_loss = sum;
    }
done:
    return st;
}

static dmq_status checkpoint(run *r)
{
    return r->job->checkpoint ? r->job->checkpoint(r->job->context, r->state) : DMQ_OK;
}

static dmq_status stop(run *r)
{
    dmq_status st = checkpoint(r);

    return st != DMQ_OK
               ? st
               : dmq_fail(DMQ_ESTOP, "block %s: stopped by signal %d at iteration %d of %d",
                          unit_name(r), dmq_stop_signal(), r->state->iteration, r->config->iters);
}

static void tell(run *r, int count)
{
    char note[DMQ_NAME_MAX + 32];

    r->untold += count;
    if (r->untold < TELL_EVERY && r->state->iteration < r->config->iters)
        return;
    (void)snprintf(note, sizeof note, "%s loss %.3g", unit_name(r), r->report->last_loss);
    dmq_progress_add(r->untold, note);
    r->untold = 0;
}

/* Iterations up to the next checkpoint. On the host one by one: a signal is answered at once; a device
   runs all of them by itself. Allocates nothing after the first plan. */
static dmq_status iterate(run *r)
{
    int c = r->state->iteration + 1, rows, step;
    dmq_status st = DMQ_OK;

    DMQ_TRY(make_plan(r, c, &rows));
    step = dmq_block_space(r->block)->be->host_memory ? 1 : rows;
    for (int done_rows = 0; done_rows < rows; done_rows += step) {
        if (dmq_stop_requested())
            return stop(r);
        DMQ_TRY(dmq_block_run(r->block, step));
        DMQ_TRY(look_at(r, done_rows, step, c + done_rows));
        r->state->iteration += step;
        tell(r, step);
    }
done:
    return st;
}

static dmq_status loop(run *r)
{
    const dmq_recon_config *k = r->config;
    dmq_status st = DMQ_OK;

    if (r->state->iteration > 0)
        dmq_progress_add(r->state->iteration, NULL);
    while (r->state->iteration < k->iters) {
        DMQ_TRY(iterate(r));
        if (k->checkpoint_every > 0 && r->state->iteration < k->iters)
            DMQ_TRY(checkpoint(r));
    }
done:
    return st;
}

dmq_status dmq_reconstruct(dmq_block *block, const dmq_recon_config *config,
                           const dmq_recon_job *job, dmq_recon_state *state,
                           dmq_recon_report *report)
{
    run r = { .block = block, .config = config, .job = job, .state = state, .report = report };
    const char *name = block->q->model->unit[block->unit].name;
    double start = dmq_clock_seconds();
    dmq_status st = DMQ_OK;

    assert(state->n_theta == block->problem.n_theta && job->n_train > 0);
    *report = (dmq_recon_report){ 0 };
    DMQ_TRY(dmq_recon_check(config));
    DMQ_TRY(open_run(&r));
    DMQ_TRY(dmq_block_take_quantized(block));
    DMQ_TRY(evaluate_both(&r, &report->nearest_train, &report->nearest_held));
    report->final_train = report->soft_train = report->nearest_train;
    report->final_held = report->nearest_held;
    if (config->iters == 0)
        goto done;
    DMQ_TRY(dmq_block_soften(block, state->alpha));
    DMQ_TRY(loop(&r));
    DMQ_TRY(dmq_block_undecided(&report->undecided, block, state->alpha));
    DMQ_TRY(evaluate(&r, r.eval, r.n_eval, &report->soft_train));
    DMQ_TRY(dmq_block_harden(block, state->alpha));
    DMQ_TRY(evaluate_both(&r, &report->final_train, &report->final_held));
    report->iterations = state->iteration;
    report->not_better = report->final_train > report->nearest_train;
    if (report->not_better) {
        dmq_log_warn("not-better",
                     "block %s: hard-rounded loss %.4g after %d iterations is above nearest's %.4g",
                     name, report->final_train, state->iteration, report->nearest_train);
    }
done:
    report->seconds = dmq_clock_seconds() - start;
    close_run(&r);
    return st;
}
