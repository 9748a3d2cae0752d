/* evaluate: the error of the predicted noise, by the sampler's steps */
#include "run/evaluate_inner.h"

#include "base/log.h"
#include "base/memory.h"
#include "calib/calib_file.h"
#include "eval/noise_error.h"
#include "quant/hooks.h"
#include "quant/quant_file.h"

dmq_status dmq_evaluate_steps(dmq_evaluating *v, dmq_json *q)
{
    dmq_calib *calib = NULL;
    dmq_qmodel *model = NULL;
    dmq_attach attach;
    dmq_hook_source source;
    char *path = NULL;
    const dmq_real **x = NULL;
    dmq_real *t = NULL;
    int *row = NULL, *label = NULL, groups = dmq_config_int(v->config, "evaluate.groups"), n = 0,
        each, from;
    double *error = NULL, sum[1000] = { 0 }, mean = 0;
    int count[1000] = { 0 };
    dmq_json *list, *m;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_folder_file(&path, v->job->folder, dmq_stages[DMQ_RUN_CALIBRATE].file));
    DMQ_TRY(dmq_calib_load(&calib, path));
    dmq_free(path);
    path = NULL;
    DMQ_TRY(dmq_folder_file(&path, v->job->folder, dmq_stages[DMQ_RUN_QUANTIZE].file));
    DMQ_TRY(dmq_quant_load(&model, path, v->e->model, v->e->model_hash, v->e->sampler));
    DMQ_TRY(dmq_qmodel_place(model, v->e->lanes));
    dmq_attach_init(&attach, model);
    attach.acts = model->table_rows > 0;
    source = dmq_attach_source(&attach);

    from =
        calib->config.per_timestep; /* held-out states of a step come behind those of calibration */
    each = calib->per_step - from;
    if (each == 0) {
        dmq_log_warn("no-held-out", "evaluate: calibrate.held_out is 0: no noise_error");
        goto done;
    }
    if (groups > calib->n_steps)
        groups = calib->n_steps;
    DMQ_TRY(dmq_alloc((void **)&x, (size_t)(each * calib->n_steps), sizeof *x));
    DMQ_TRY(dmq_alloc((void **)&t, (size_t)(each * calib->n_steps), sizeof *t));
    DMQ_TRY(dmq_alloc((void **)&row, (size_t)(each * calib->n_steps), sizeof *row));
    DMQ_TRY(dmq_alloc((void **)&label, (size_t)(each * calib->n_steps), sizeof *label));
    DMQ_TRY(dmq_alloc((void **)&error, (size_t)(each * calib->n_steps), sizeof *error));
    for (int k = 0; k < calib->n_steps; k++) {
        for (int j = 0; j < each; j++, n++) {
            x[n] = dmq_calib_state(calib, k, from + j);
            t[n] = calib->t[k];
            row[n] = k;
            label[n] = dmq_calib_label(calib, k, from + j);
        }
    }
    DMQ_TRY(dmq_noise_error(error, v->e->model, &source, v->e->lanes, x, t, row, label, n));
    for (int i = 0; i < n; i++) {
        int g = row[i] * groups / calib->n_steps;

        sum[g] += error[i];
        count[g]++;
        mean += error[i] / n;
    }
    for (int g = 0; g < groups; g++)
        sum[g] /= count[g];
    DMQ_TRY(dmq_evaluate_put(q, "noise_error", "noise-mse/held-out-fp-states", mean, n));
    m = dmq_json_get(q, "noise_error");
    DMQ_TRY(dmq_json_set_reals(m, "groups_noisy_to_clean", sum, (size_t)groups));
    DMQ_TRY(dmq_json_set_array(&list, m, "by_step"));
    for (int k = 0; k < calib->n_steps; k++) {
        double s = 0;

        for (int j = 0; j < each; j++)
            s += error[k * each + j] / each;
        DMQ_TRY(dmq_json_add_real(list, s));
    }
done:
    dmq_qmodel_destroy(model);
    dmq_calib_destroy(calib);
    dmq_free(path);
    dmq_free(x);
    dmq_free(t);
    dmq_free(row);
    dmq_free(label);
    dmq_free(error);
    return st;
}
