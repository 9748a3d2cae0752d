#include "recon/run.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/progress.h"

#include <string.h>

int dmq_temporal_train(const dmq_calib *calib, const dmq_slots *slots, int *out)
{
    int n = dmq_calib_list(calib, DMQ_TRAIN, out);

    for (int i = 0; out && i < n; i++)
        out[i] = slots->of[out[i]];
    return n;
}

/* One run's affairs. */
typedef struct job {
    dmq_qmodel *q;
    const dmq_calib *calib;
    dmq_lanes *lanes;
    const dmq_recon_run_config *config;
    const dmq_recon_hooks *hooks;
    dmq_cache *cache;
    int *train, *slots, *held_out;
    int n_train, n_held_out;
} job;

/* Iterations of a unit; 0: it stays as it is. */
static int iters_of(const dmq_qmodel *q, const dmq_recon_run_config *config, int unit)
{
    if (dmq_block_learnable(q, unit) == 0)
        return 0;
    if (q->model->unit[unit].kind != DMQ_UNIT_TEMPORAL || config->temporal_iters == 0)
        return config->recon.iters;
    return config->temporal_iters > 0 ? config->temporal_iters : 0;
}

double dmq_recon_run_total(const dmq_qmodel *q, const dmq_recon_run_config *config)
{
    double n = 0;

    for (int u = 0; u < q->model->n_units; u++)
        n += iters_of(q, config, u);
    return n;
}

static dmq_status open_job(job *j)
{
    dmq_cache_config cache = j->config->cache;
    size_t n_train, n_held;
    dmq_status st = DMQ_OK;

    j->n_train = dmq_calib_list(j->calib, DMQ_TRAIN, NULL);
    j->n_held_out = dmq_calib_list(j->calib, DMQ_HELD_OUT, NULL);
    n_train = (size_t)j->n_train;
    n_held = j->n_held_out > 0 ? (size_t)j->n_held_out : 1;
    DMQ_TRY(dmq_alloc((void **)&j->train, n_train, sizeof *j->train));
    DMQ_TRY(dmq_alloc((void **)&j->slots, n_train, sizeof *j->slots));
    DMQ_TRY(dmq_alloc((void **)&j->held_out, n_held, sizeof *j->held_out));
    (void)dmq_calib_list(j->calib, DMQ_TRAIN, j->train);
    (void)dmq_calib_list(j->calib, DMQ_HELD_OUT, j->held_out);
    cache.any_order = dmq_unit_order_differs(j->q->model, j->config->order);
    cache.acts = j->config->acts;
    DMQ_TRY(dmq_cache_create(&j->cache, j->q, j->calib, j->lanes, &cache));
    dmq_cache_tell(j->cache);
    (void)dmq_temporal_train(
        j->calib, dmq_cache_slots(j->cache, dmq_model_temporal_of(j->q->model)), j->slots);
done:
    return st;
}

static void close_job(job *j)
{
    dmq_cache_destroy(j->cache);
    dmq_free(j->train);
    dmq_free(j->slots);
    dmq_free(j->held_out);
}

/* What reconstruct calls back with; save wants the whole work. */
typedef struct saver {
    const dmq_recon_hooks *hooks;
    const dmq_unit_work *work;
} saver;

static dmq_status save_state(void *context, const dmq_recon_state *state)
{
    const saver *s = context;

    (void)state; /* it is the work's */
    return s->hooks->save ? s->hooks->save(s->hooks->context, s->work) : DMQ_OK;
}

static dmq_status learn(job *j, dmq_unit_work *w, int temporal, dmq_recon_report *report)
{
    saver s = { j->hooks, w };
    dmq_recon_config config = j->config->recon;
    dmq_recon_job recon = { .train = w->train,
                            .n_train = w->n_train,
                            .held_out = temporal ? NULL : j->held_out,
                            .n_held_out = temporal ? 0 : j->n_held_out,
                            .s = w->weighted ? w->s : NULL,
                            .tau = w->tau,
                            .unit = (uint64_t)w->unit,
                            .checkpoint = save_state,
                            .context = &s };

    config.iters = iters_of(j->q, j->config, w->unit);
    return dmq_reconstruct(w->block, &config, &recon, w->state, report);
}

static size_t count_theta(const dmq_qmodel *q, int unit)
{
    const dmq_unit *u = &q->model->unit[unit];
    size_t n = 0;

    for (int i = 0; i < u->n_layers; i++) {
        const dmq_qlayer *l = &q->layer[u->layer[i]];

        n += dmq_qmodel_learns(q, u->layer[i]) ? (size_t)l->rows * (size_t)l->per : 0;
    }
    return n;
}

static dmq_status begin(job *j, dmq_unit_work *w, int temporal, dmq_unit_progress *progress)
{
    dmq_status st = DMQ_OK;

    *progress = DMQ_UNIT_NEW;
    w->name = j->q->model->unit[w->unit].name;
    w->train = temporal ? j->slots : j->train;
    w->n_train = j->n_train;
    w->tau = 1;
    DMQ_TRY(dmq_alloc((void **)&w->s, (size_t)w->n_train, sizeof *w->s));
    DMQ_TRY(dmq_recon_state_room(&w->state, j->lanes, count_theta(j->q, w->unit)));
    if (j->hooks->restore)
        DMQ_TRY(j->hooks->restore(j->hooks->context, w, progress));
done:
    return st;
}

/* Weights that restore wrote, to the device. */
static dmq_status push_unit(const job *j, int unit)
{
    const dmq_unit *u = &j->q->model->unit[unit];
    dmq_status st = DMQ_OK;

    for (int i = 0; i < u->n_layers; i++)
        DMQ_TRY(dmq_qmodel_push_weight(j->q, dmq_lanes_queue(j->lanes, 0), u->layer[i]));
done:
    return st;
}

static dmq_status run_unit(job *j, dmq_unit_work *w)
{
    int temporal = j->q->model->unit[w->unit].kind == DMQ_UNIT_TEMPORAL;
    dmq_unit_progress progress;
    dmq_recon_report report;
    dmq_status st = DMQ_OK;

    DMQ_TRY(begin(j, w, temporal, &progress));
    if (progress == DMQ_UNIT_FINISHED) {
        dmq_progress_add(iters_of(j->q, j->config, w->unit), NULL);
        st = push_unit(j, w->unit);
        goto done;
    }
    if (!temporal)
        DMQ_TRY(dmq_cache_open(j->cache, w->unit));
    DMQ_TRY(
        dmq_block_create(&w->block, j->q, j->calib, j->cache, j->lanes, w->unit, j->config->acts));
    if (progress == DMQ_UNIT_NEW) {
        DMQ_TRY(dmq_block_init(w->block, w->state->alpha));
        if (!temporal && j->hooks->weigh)
            DMQ_TRY(j->hooks->weigh(j->hooks->context, w));
    }
    DMQ_TRY(learn(j, w, temporal, &report));
    dmq_log_info("unit %d of %d, %s: %d weights, loss %.4g -> %.4g (held-out %.4g -> %.4g), %.1f s",
                 w->number, w->count, w->name, (int)w->state->n_theta, report.nearest_train,
                 report.final_train, report.nearest_held, report.final_held, report.seconds);
    if (j->hooks->finished)
        DMQ_TRY(j->hooks->finished(j->hooks->context, w, &report));
done:
    dmq_block_destroy(w->block);
    w->block = NULL;
    dmq_cache_close(j->cache);
    dmq_recon_state_destroy(w->state);
    dmq_free(w->s);
    return st;
}

dmq_status dmq_recon_run(dmq_qmodel *q, const dmq_calib *calib, dmq_lanes *lanes,
                         const dmq_recon_run_config *config, const dmq_recon_hooks *hooks)
{
    static const dmq_recon_hooks none = { 0 };
    job j = {
        .q = q, .calib = calib, .lanes = lanes, .config = config, .hooks = hooks ? hooks : &none
    };
    int *order = NULL, count = 0, number = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_recon_check(&config->recon));
    DMQ_TRY(open_job(&j));
    DMQ_TRY(dmq_alloc((void **)&order, (size_t)q->model->n_units, sizeof *order));
    dmq_unit_order_list(order, q->model, config->order);
    for (int u = 0; u < q->model->n_units; u++)
        count += iters_of(q, config, u) > 0;
    for (int i = 0; i < q->model->n_units; i++) {
        dmq_unit_work w = { .unit = order[i], .count = count };

        if (iters_of(q, config, order[i]) == 0)
            continue;
        w.number = ++number;
        DMQ_TRY(run_unit(&j, &w));
    }
    dmq_cache_tell_peak(j.cache);
done:
    dmq_free(order);
    close_job(&j);
    return st;
}
