#include "train/trainer.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/signal.h"
#include "io/file.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { RECENT = 200 /**< iterations in the loss that is told */ };

void dmq_train_defaults(dmq_train_config *config)
{
    *config = (dmq_train_config){ .batch = 64, .shard = 16, .checkpoint_every = 1000 };
    dmq_optim_defaults(&config->optim);
}

dmq_status dmq_train_check(const dmq_train_config *c)
{
    if (c->batch < 1 || c->batch > 65536)
        return dmq_fail(DMQ_EINVAL, "train: batch = %d: must be 1..65536", c->batch);
    if (c->shard < 1 || c->shard > c->batch) {
        return dmq_fail(DMQ_EINVAL, "train: shard = %d: must be 1..%d, the batch", c->shard,
                        c->batch);
    }
    if (c->checkpoint_every < 0) {
        return dmq_fail(DMQ_EINVAL, "train: checkpoint_every = %d: must not be negative",
                        c->checkpoint_every);
    }
    return dmq_optim_check(&c->optim);
}

void dmq_train_text(char out[DMQ_TRAIN_TEXT], const dmq_train_task *task,
                    const dmq_train_config *config, const dmq_model *model)
{
    snprintf(out, DMQ_TRAIN_TEXT, "kind: %s\n%s%sseed: %llu\nbatch: %d\nshard: %d\n",
             model->arch->kind, model->config_text, task->settings,
             (unsigned long long)config->seed, config->batch, config->shard);
    dmq_optim_text(out, DMQ_TRAIN_TEXT, &config->optim);
}

/** One run. */
typedef struct run {
    const dmq_train_task *task;
    const dmq_train_config *config;
    dmq_model *model;
    dmq_optim *optim;
    dmq_shards *shards;
    double *loss;    /**< (batch) of each sample */
    dmq_real **host; /**< (lanes) (shard) */
    int n_lanes;
    double recent[RECENT]; /**< ring of losses */
    int done;              /**< iterations by this process */
} run;

/* ------------------------------------------------------------------ callbacks of the shards */

static dmq_status fill(void *context, const dmq_shard *shard)
{
    const run *r = context;
    return r->task->fill(r->task->context, shard, (uint32_t)r->optim->step);
}

static dmq_status seed(void *context, const dmq_shard *shard)
{
    const run *r = context;
    const dmq_train_state *state = shard->state;
    const dmq_backend *be = dmq_tape_backend(shard->tape);
    dmq_real *one = r->host[shard->lane];

    for (int i = 0; i < shard->size; i++)
        one[i] = (dmq_real)r->task->scale;
    return be->upload(shard->queue, state->loss->grad, one, (size_t)shard->size * sizeof *one);
}

static dmq_status take(void *context, const dmq_shard *shard)
{
    dmq_status st = DMQ_OK;
    const run *r = context;
    const dmq_train_state *state = shard->state;
    const dmq_backend *be = dmq_tape_backend(shard->tape);
    dmq_real *loss = r->host[shard->lane];

    DMQ_TRY(
        be->download(shard->queue, loss, state->loss->value, (size_t)shard->size * sizeof *loss));
    DMQ_TRY(be->sync(shard->queue));
    for (int i = 0; i < shard->count; i++)
        r->loss[shard->first + i] = (double)loss[i];
done:
    return st;
}

/* ------------------------------------------------------------------ the loop */

static dmq_status prepare(run *r, dmq_lanes *lanes)
{
    dmq_status st = DMQ_OK;
    const dmq_shards_config shards = { .size = r->config->shard,
                                       .passes = DMQ_TAPE_BACKWARD,
                                       .n_params = r->model->n_params,
                                       .max_summed = r->config->batch,
                                       .state_bytes = r->task->state_bytes,
                                       .context = r->task->context,
                                       .record = r->task->record };

    assert(r->task->state_bytes >= sizeof(dmq_train_state));
    DMQ_TRY(dmq_optim_create(&r->optim, r->model, &r->config->optim, lanes));
    r->model->as_params = 1;
    st = dmq_shards_create(&r->shards, lanes, &shards);
    r->model->as_params = 0;
    if (st != DMQ_OK)
        goto done;
    DMQ_TRY(dmq_alloc((void **)&r->loss, (size_t)r->config->batch, sizeof *r->loss));
    DMQ_TRY(dmq_alloc((void **)&r->host, (size_t)dmq_lanes_count(lanes), sizeof *r->host));
    r->n_lanes = dmq_lanes_count(lanes);
    for (int i = 0; i < r->n_lanes; i++)
        DMQ_TRY(dmq_alloc((void **)&r->host[i], (size_t)r->config->shard, sizeof **r->host));
done:
    return st;
}

static void release(run *r)
{
    for (int i = 0; r->host && i < r->n_lanes; i++)
        dmq_free(r->host[i]);
    dmq_free(r->host);
    dmq_free(r->loss);
    dmq_shards_destroy(r->shards);
    dmq_optim_destroy(r->optim);
}

static dmq_status iterate(run *r, double *loss)
{
    dmq_status st = DMQ_OK;
    const dmq_shards_job job = { .n = r->config->batch,
                                 .part = DMQ_PART_ALL,
                                 .context = r,
                                 .fill = fill,
                                 .seed = seed,
                                 .take = take,
                                 .values = r->optim->p,
                                 .grad = r->optim->g };

    DMQ_TRY(dmq_shards_run(r->shards, &job));
    *loss = 0;
    for (int i = 0; i < r->config->batch; i++)
        *loss += r->loss[i];
    *loss *= r->task->scale;
    if (!isfinite(*loss)) {
        st = dmq_fail(DMQ_EDIVERGE,
                      "%s: the loss of iteration %d is not finite\n"
                      "  hint: a smaller lr, or a longer warmup",
                      r->task->stage, r->optim->step);
        goto done;
    }
    r->recent[r->done++ % RECENT] = *loss;
    DMQ_TRY(dmq_optim_step(r->optim));
done:
    return st;
}

static double recent_loss(const run *r)
{
    int n = r->done / 10 < 1 ? 1 : r->done / 10 > RECENT ? RECENT : r->done / 10;
    double sum = 0;

    for (int i = 0; i < n && r->done; i++)
        sum += r->recent[(r->done - 1 - i) % RECENT];
    return sum / n;
}

static void tell(const run *r)
{
    char note[64];
    snprintf(note, sizeof note, "loss %.4g", recent_loss(r));
    dmq_progress_add(1, note);
}

static dmq_status loop(run *r, const char *text, const dmq_train_place *place,
                       const dmq_train_watch *watch)
{
    dmq_status st = DMQ_OK;
    int total = r->config->optim.iterations, every = r->config->checkpoint_every;
    double loss;

    dmq_progress_begin(r->task->stage, total, r->optim->step, "it");
    while (r->optim->step < total) {
        if (dmq_stop_requested()) {
            if (place->checkpoint)
                DMQ_TRY(dmq_optim_save(r->optim, place->checkpoint, text));
            st = dmq_fail(DMQ_ESTOP, "%s: stopped by signal %d after %d of %d iterations%s",
                          r->task->stage, dmq_stop_signal(), r->optim->step, total,
                          place->checkpoint ? "" : "; there is no checkpoint");
            goto done;
        }
        DMQ_TRY(iterate(r, &loss));
        if (watch && watch->step) {
            watch->step(watch->context, r->optim->step - 1, loss,
                        dmq_optim_rate(&r->config->optim, r->optim->step));
        }
        tell(r);
        if (place->checkpoint && every > 0 && r->optim->step % every == 0)
            DMQ_TRY(dmq_optim_save(r->optim, place->checkpoint, text));
    }
    dmq_progress_end();
done:
    return st;
}

dmq_status dmq_train_run(dmq_model *model, const dmq_train_task *task,
                         const dmq_train_config *config, dmq_lanes *lanes,
                         const dmq_train_place *place, const dmq_train_watch *watch,
                         dmq_train_result *result)
{
    dmq_status st = DMQ_OK;
    run r = { .task = task, .config = config, .model = model };
    double start = dmq_clock_seconds();
    char text[DMQ_TRAIN_TEXT];

    DMQ_TRY(dmq_train_check(config));
    dmq_train_text(text, task, config, model);
    DMQ_TRY(prepare(&r, lanes));
    if (place->checkpoint && place->resume && dmq_file_exists(place->checkpoint)) {
        DMQ_TRY(dmq_optim_load(r.optim, place->checkpoint, text));
        dmq_log_info("%s: continued after iteration %d", task->stage, r.optim->step);
    }
    DMQ_TRY(loop(&r, text, place, watch));
    DMQ_TRY(dmq_optim_take(model->params, r.optim, 1));
    if (result)
        *result = (dmq_train_result){ recent_loss(&r), r.done, dmq_clock_seconds() - start };
done:
    release(&r);
    return st;
}
