/* quantize: calib.h5 -> quant.h5

   ranges of all layers -> units in order { sample weights, reconstruction } -> activation tables.
   Each unit that is done leaves ckpt/block-NNN.h5 (codes, sample weights) and one line in its log; a unit
   under way leaves ckpt/block-NNN.part.h5 when stopped. */
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/signal.h"
#include "calib/calib_file.h"
#include "quant/quant_file.h"
#include "run/block_file.h"
#include "run/reweight.h"
#include "run/settings.h"
#include "run/stage.h"

#include <math.h>
#include <string.h>

typedef struct quantizing {
    dmq_job *job;
    const dmq_config *config;
    const dmq_experiment *e;
    dmq_calib *calib;
    dmq_qmodel *q;
    dmq_recon_config recon;
    dmq_unit_log *log; /* of the unit under way */
    double next_save;  /* clock of the next checkpoint inside a unit */
} quantizing;

#define SAVE_EVERY_SECONDS 60

/* ------------------------------------------------------------------ what to quantize */

static dmq_status choose(quantizing *z)
{
    dmq_status st = DMQ_OK;
    dmq_choice *choice = NULL;
    dmq_coverage cover;

    DMQ_TRY(dmq_alloc((void **)&choice, (size_t)z->e->model->n_layers, sizeof *choice));
    DMQ_TRY(dmq_policy_settings(choice, z->config, z->e->model));
    dmq_coverage_of(&cover, z->e->model, choice);
    dmq_log_info("quantize: %d of %d layers by their weight (%.1f %% of the weights), %d by their "
                 "input; %.2f MB instead of %.2f",
                 cover.weight_layers, cover.layers,
                 100 * cover.weights_quantized / fmax(cover.weights, 1), cover.act_layers,
                 cover.size_bytes / 1e6, cover.size_fp_bytes / 1e6);
    if (cover.operands > 0)
        dmq_log_info("quantize: %d operands of attention products", cover.operands);
    DMQ_TRY(dmq_json_set_real(z->job->folder->manifest, "size_bytes", cover.size_bytes));
    DMQ_TRY(dmq_qmodel_create(&z->q, z->e->model, choice));
    DMQ_TRY(dmq_qmodel_place(z->q, z->e->lanes));
done:
    dmq_free(choice);
    return st;
}

dmq_status dmq_quantize_check(const dmq_experiment *e)
{
    dmq_recon_config recon;
    dmq_choice *choice = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&choice, (size_t)e->model->n_layers, sizeof *choice));
    DMQ_TRY(dmq_policy_settings(choice, e->config, e->model));
    dmq_recon_settings(&recon, e->config);
    DMQ_TRY(dmq_config_place(e->config, dmq_recon_check(&recon)));
done:
    dmq_free(choice);
    return st;
}

/* ------------------------------------------------------------------ what recon/run.h calls back */

static int weighs(const quantizing *z)
{
    return dmq_config_enum(z->config, "reweight.form") != 0;
}

static dmq_status restore(void *context, dmq_unit_work *w, dmq_unit_progress *progress)
{
    quantizing *z = context;
    int temporal = z->e->model->unit[w->unit].kind == DMQ_UNIT_TEMPORAL;
    int n_s = weighs(z) && !temporal ? w->n_train : 0, there = 0;
    dmq_status st = DMQ_OK;

    *progress = DMQ_UNIT_NEW;
    memset(z->log, 0, sizeof *z->log);
    z->next_save = dmq_clock_seconds() + SAVE_EVERY_SECONDS;
    DMQ_TRY(dmq_block_file_load(z->job, z->q, w->unit, &there));
    if (there) {
        *progress = DMQ_UNIT_FINISHED;
        goto done;
    }
    DMQ_TRY(dmq_part_load(z->job, w->unit, w->state, w->s, n_s, z->log, &there));
    if (!there)
        goto done;
    *progress = DMQ_UNIT_STARTED;
    if (n_s > 0) {
        w->weighted = 1;
        w->tau = dmq_config_real(z->config, "reweight.tau");
    }
done:
    return st;
}

static dmq_status weigh(void *context, dmq_unit_work *w)
{
    quantizing *z = context;
    const dmq_config *c = z->config;
    int *held = NULL, n_held;
    dmq_status st = DMQ_OK;

    z->log->groups = dmq_reweight_groups(c, z->calib);
    z->log->cosines = dmq_calib_list(z->calib, DMQ_VALIDATION, NULL) > 0;
    if (z->log->cosines) {
        DMQ_TRY(dmq_reweight_cosines(w->block, c, z->calib, w->state->alpha, &z->log->cosine_before,
                                     z->log->cosines_before));
    }
    if (!weighs(z))
        goto done;
    DMQ_TRY(dmq_alloc((void **)&held, (size_t)z->calib->n, sizeof *held));
    n_held = dmq_calib_list(z->calib, DMQ_HELD_OUT, held);
    DMQ_TRY(dmq_reweight_block(w->block, c, z->calib, w->train, w->n_train, held, n_held, &z->recon,
                               w->s, z->log));
    w->weighted = 1;
    w->tau = dmq_config_real(c, "reweight.tau");
done:
    dmq_free(held);
    return st;
}

static dmq_status save_part(void *context, const dmq_unit_work *w)
{
    quantizing *z = context;

    if (!dmq_stop_requested() && dmq_clock_seconds() < z->next_save)
        return DMQ_OK;
    z->next_save = dmq_clock_seconds() + SAVE_EVERY_SECONDS;
    return dmq_part_save(z->job, w->unit, w->state, w->s, w->weighted ? w->n_train : 0, z->log);
}

static dmq_status finished(void *context, const dmq_unit_work *w, const dmq_recon_report *report)
{
    quantizing *z = context;
    dmq_unit_log *log = z->log;
    dmq_status st = DMQ_OK;

    log->recon = *report;
    if (!w->block->temporal) {
        if (dmq_calib_list(z->calib, DMQ_HELD_OUT, NULL) > 0)
            DMQ_TRY(dmq_reweight_group_losses(w->block, z->config, z->calib, log->group_loss));
        if (log->cosines) {
            DMQ_TRY(dmq_reweight_cosines(w->block, z->config, z->calib, w->state->alpha,
                                         &log->cosine_after, log->cosines_after));
        }
    }
    if (w->weighted)
        dmq_unit_log_weights(log, z->calib, w->train, w->n_train, w->s, w->tau);
    DMQ_TRY(dmq_block_file_save(z->job, z->q, w->block, w->s, w->weighted ? w->n_train : 0, log));
    DMQ_TRY(dmq_unit_log_tell(z->job, &z->e->model->unit[w->unit], log));
done:
    return st;
}

static dmq_status reconstruct(quantizing *z)
{
    const dmq_recon_hooks hooks = {
        .context = z, .restore = restore, .weigh = weigh, .save = save_part, .finished = finished
    };
    dmq_recon_run_config run;
    dmq_status st = DMQ_OK;

    dmq_recon_run_settings(&run, z->config);
    if (!run.cache.folder)
        run.cache.folder = z->job->folder->path;
    z->recon = run.recon;
    DMQ_TRY(dmq_recon_check(&z->recon));
    DMQ_TRY(dmq_alloc((void **)&z->log, 1, sizeof *z->log));
    dmq_progress_begin("quantize", fmax(dmq_recon_run_total(z->q, &run), 1), 0, "it");
    DMQ_TRY(dmq_config_place(z->config, dmq_recon_run(z->q, z->calib, z->e->lanes, &run, &hooks)));
    dmq_progress_end();
done:
    dmq_free(z->log);
    z->log = NULL;
    return st;
}

/* ------------------------------------------------------------------ activations */

static dmq_status tables(quantizing *z)
{
    dmq_tables_config config;
    int any = 0;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < z->q->model->n_layers; i++)
        any |= z->q->layer[i].act_bits > 0;
    if (!any)
        return DMQ_OK;
    dmq_tables_settings(&config, z->config);
    dmq_progress_begin("tables", config.single ? 1 : z->calib->n_steps, 0, "steps");
    DMQ_TRY(dmq_tables_run(z->q, z->calib, z->e->lanes, &config));
    dmq_progress_end();
done:
    return st;
}

dmq_status dmq_stage_quantize(dmq_job *job)
{
    const dmq_experiment *e = job->experiment;
    quantizing z = { .job = job, .config = e->config, .e = e };
    dmq_ranges_config weights;
    char *path = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_folder_file(&path, job->folder, dmq_stages[DMQ_RUN_CALIBRATE].file));
    DMQ_TRY(dmq_calib_load(&z.calib, path));
    DMQ_TRY(dmq_calib_fits(z.calib, e->model, e->sampler));
    DMQ_TRY(choose(&z));
    dmq_ranges_settings(&weights, e->config);
    DMQ_TRY(dmq_ranges_run(z.q, e->lanes, &weights));
    if (dmq_config_enum(e->config, "quant.weight.round") == 1)
        DMQ_TRY(reconstruct(&z));
    DMQ_TRY(tables(&z));
    DMQ_TRY(dmq_quant_save(z.q, job->out, e->model_hash, e->sampler, job->key));
    DMQ_TRY(dmq_block_files_finish(job, e->model));
done:
    dmq_qmodel_destroy(z.q);
    dmq_calib_destroy(z.calib);
    dmq_free(path);
    return st;
}
