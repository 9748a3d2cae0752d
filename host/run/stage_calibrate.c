/* calibrate: trajectories of the full-precision model -> calib.h5 */
#include "base/log.h"
#include "base/progress.h"
#include "calib/calib_file.h"
#include "run/settings.h"
#include "run/stage.h"

#include <string.h>

dmq_status dmq_calibrate_check(const dmq_experiment *e)
{
    dmq_calib_config config;

    dmq_calib_settings(&config, e->config);
    return dmq_config_place(e->config, dmq_calib_check(&config, e->sampler));
}

dmq_status dmq_stage_calibrate(dmq_job *job)
{
    const dmq_experiment *e = job->experiment;
    dmq_status st = DMQ_OK;
    dmq_calib_config config;
    dmq_calib *calib = NULL;

    dmq_calib_settings(&config, e->config);
    dmq_progress_begin("calibrate",
                       (double)(config.per_timestep + config.held_out) *
                           (config.fresh ? e->sampler->n_steps : 1),
                       0, config.fresh ? "samples" : "trajectories");
    DMQ_TRY(dmq_calib_run(&calib, e->model, e->sampler, &config, e->lanes));
    dmq_progress_end();
    memcpy(calib->config_hash, job->key, sizeof calib->config_hash);
    dmq_log_info("calibrate: %d steps x %d samples; weight set %d: %d to learn, %d validation, %d "
                 "held out",
                 calib->n_steps, calib->per_step, calib->n, dmq_calib_list(calib, DMQ_TRAIN, NULL),
                 dmq_calib_list(calib, DMQ_VALIDATION, NULL),
                 dmq_calib_list(calib, DMQ_HELD_OUT, NULL));
    DMQ_TRY(dmq_calib_save(calib, job->out));
done:
    dmq_calib_destroy(calib);
    return st;
}
