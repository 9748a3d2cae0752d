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
    int *position; /* (n_train) 0, 1, ...: what batches are drawn from */
    int *drawn;    /* (batch) positions */
    int *sample;   /* (batch) */
    dmq_real *s, *w, *loss;
    int *eval; /* training samples that are evaluated */
    int n_eval;
    dmq_real *eval_loss;
} run;

static dmq_status open_run(run *r)
{
    const dmq_recon_job *j = r->job;
    int cap = r->config->eval_samples, most;
    dmq_status st = DMQ_OK;

    r->batch = r->config->batch < j->n_train ? r->config->batch : j->n_train;
    r->n_eval = cap > 0 && cap < j->n_train ? cap : j->n_train;
    most = r->n_eval > j->n_held_out ? r->n_eval : j->n_held_out;
    DMQ_TRY(dmq_alloc((void **)&r->position, (size_t)j->n_train, sizeof *r->position));
    DMQ_TRY(dmq_alloc((void **)&r->drawn, (size_t)r->batch, sizeof *r->drawn));
    DMQ_TRY(dmq_alloc((void **)&r->sample, (size_t)r->batch, sizeof *r->sample));
    DMQ_TRY(dmq_alloc((void **)&r->s, (size_t)r->batch, sizeof *r->s));
    DMQ_TRY(dmq_alloc((void **)&r->w, (size_t)r->batch, sizeof *r->w));
    DMQ_TRY(dmq_alloc((void **)&r->loss, (size_t)r->batch, sizeof *r->loss));
    DMQ_TRY(dmq_alloc((void **)&r->eval, (size_t)r->n_eval, sizeof *r->eval));
    DMQ_TRY(dmq_alloc((void **)&r->eval_loss, (size_t)most, sizeof *r->eval_loss));
    for (int i = 0; i < j->n_train; i++)
        r->position[i] = i;
    for (int i = 0; i < r->n_eval; i++)
        r->eval[i] = j->train[(int64_t)i * j->n_train / r->n_eval];
    for (int i = 0; i < r->batch; i++)
        r->w[i] = (dmq_real)(1.0 / r->batch);
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

static dmq_status weigh(run *r)
{
    if (!r->job->s)
        return DMQ_OK;
    for (int i = 0; i < r->batch; i++)
        r->s[i] = r->job->s[r->drawn[i]];
    return dmq_simplex_forward_ref(
        NULL,
        &(dmq_simplex_args){ .s = r->s, .w = r->w, .n = r->batch, .tau = (dmq_real)r->job->tau });
}

/* Iteration c. Allocates nothing. */
static dmq_status iterate(run *r, int c)
{
    const dmq_recon_config *k = r->config;
    double sum = 0;
    int active;
    dmq_block_step step = { .alpha = r->state->alpha,
                            .m = r->state->m,
                            .v = r->state->v,
                            .lr = k->lr,
                            .beta1 = 0.9,
                            .beta2 = 0.999,
                            .eps = 1e-8,
                            .reg_beta = dmq_recon_beta(k, c, &active),
                            .step = c };
    dmq_status st = DMQ_OK;

    step.reg_weight = active ? k->round_weight : 0;
    dmq_batch_draw(r->drawn, r->batch, r->position, r->job->n_train, k->seed, r->job->unit,
                   (uint32_t)c);
    for (int i = 0; i < r->batch; i++)
        r->sample[i] = r->job->train[r->drawn[i]];
    DMQ_TRY(weigh(r));
    DMQ_TRY(dmq_block_iterate(r->block, r->sample, r->w, r->batch, &step, r->loss));
    for (int i = 0; i < r->batch; i++)
        sum += (double)r->w[i] * (double)r->loss[i];
    if (!isfinite(sum)) {
        return dmq_fail(DMQ_EDIVERGE, "block %s: loss of iteration %d is not finite",
                        r->block->q->model->unit[r->block->unit].name, c);
    }
    if (c == 1)
        r->report->first_loss = sum;
    r->report->last_loss = sum;
    r->state->iteration = c;
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
                          r->block->q->model->unit[r->block->unit].name, dmq_stop_signal(),
                          r->state->iteration, r->config->iters);
}

static dmq_status loop(run *r)
{
    const char *name = r->block->q->model->unit[r->block->unit].name;
    char note[DMQ_NAME_MAX + 32];
    dmq_status st = DMQ_OK;

    if (r->state->iteration > 0)
        dmq_progress_add(r->state->iteration, NULL);

    for (int c = r->state->iteration + 1; c <= r->config->iters; c++) {
        if (dmq_stop_requested())
            return stop(r);
        DMQ_TRY(iterate(r, c));
        if (c % TELL_EVERY == 0 || c == r->config->iters) {
            (void)snprintf(note, sizeof note, "%s loss %.3g", name, r->report->last_loss);
            dmq_progress_add(c % TELL_EVERY ? c % TELL_EVERY : TELL_EVERY, note);
        }
        if (r->config->checkpoint_every > 0 && c % r->config->checkpoint_every == 0 &&
            c < r->config->iters)
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
