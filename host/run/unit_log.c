#include "run/unit_log.h"

#include <math.h>

void dmq_unit_log_weights(dmq_unit_log *log, const dmq_calib *calib, const int *train, int n_train,
                          const dmq_real *s, double tau)
{
    double top = (double)s[0], sum = 0;
    int count[1024] = { 0 };

    log->n_steps = calib->n_weight_steps < 1024 ? calib->n_weight_steps : 1024;
    for (int i = 1; i < n_train; i++)
        top = fmax(top, (double)s[i]);
    for (int i = 0; i < n_train; i++)
        sum += exp(((double)s[i] - top) / tau);
    for (int k = 0; k < log->n_steps; k++)
        log->step_weight[k] = 0;
    for (int i = 0; i < n_train; i++) {
        int k = dmq_calib_slot(calib, train[i]);

        if (k < log->n_steps) {
            log->step_weight[k] += exp(((double)s[i] - top) / tau) / sum * n_train;
            count[k]++;
        }
    }
    for (int k = 0; k < log->n_steps; k++)
        log->step_weight[k] /= count[k] > 0 ? count[k] : 1;
}

static dmq_status recon_json(dmq_json *out, const dmq_recon_report *r, int without_times)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_int(out, "iterations", r->iterations));
    DMQ_TRY(dmq_json_set_real(out, "nearest_train", r->nearest_train));
    DMQ_TRY(dmq_json_set_real(out, "nearest_held", r->nearest_held));
    DMQ_TRY(dmq_json_set_real(out, "final_train", r->final_train));
    DMQ_TRY(dmq_json_set_real(out, "final_held", r->final_held));
    DMQ_TRY(dmq_json_set_real(out, "soft_train", r->soft_train));
    DMQ_TRY(dmq_json_set_real(out, "undecided", r->undecided));
    DMQ_TRY(dmq_json_set_bool(out, "not_better", r->not_better != 0));
    if (!without_times)
        DMQ_TRY(dmq_json_set_real(out, "seconds", r->seconds));
done:
    return st;
}

static dmq_status weights_json(dmq_json *out, const dmq_unit_log *log, int without_times)
{
    const dmq_learn_log *w = &log->weights;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_real(out, "ess", w->ess));
    DMQ_TRY(dmq_json_set_real(out, "w_max", w->w_max));
    DMQ_TRY(dmq_json_set_real(out, "spearman", log->spearman));
    DMQ_TRY(dmq_json_set_real(out, "rho", w->rho));
    DMQ_TRY(dmq_json_set_real(out, "cosine_mse_gm", w->cosine_mse_gm));
    DMQ_TRY(dmq_json_set_real(out, "lambda", w->lambda));
    DMQ_TRY(dmq_json_set_real(out, "eta", w->eta));
    DMQ_TRY(dmq_json_set_real(out, "move", w->move));
    DMQ_TRY(dmq_json_set_real(out, "loss_mse", w->loss_mse));
    DMQ_TRY(dmq_json_set_real(out, "loss_gm", w->loss_gm));
    DMQ_TRY(dmq_json_set_int(out, "iterations", w->iterations));
    DMQ_TRY(dmq_json_set_bool(out, "stopped_by_ess", w->stopped_by_ess != 0));
    DMQ_TRY(dmq_json_set_reals(out, "step_weight", log->step_weight, (size_t)log->n_steps));
    if (!without_times)
        DMQ_TRY(dmq_json_set_real(out, "seconds", w->seconds));
done:
    return st;
}

dmq_status dmq_unit_log_json(dmq_json *out, const dmq_unit_log *log, int without_times)
{
    size_t k = (size_t)log->groups;
    dmq_json *part;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_object(&part, out, "recon"));
    DMQ_TRY(recon_json(part, &log->recon, without_times));
    if (k > 0) {
        DMQ_TRY(dmq_json_set_int(out, "groups", log->groups));
        DMQ_TRY(dmq_json_set_reals(out, "group_loss", log->group_loss, k));
    }
    if (k > 0 && log->cosines) {
        DMQ_TRY(dmq_json_set_real(out, "cosine_before", log->cosine_before));
        DMQ_TRY(dmq_json_set_real(out, "cosine_after", log->cosine_after));
        DMQ_TRY(dmq_json_set_reals(out, "cosines_before", log->cosines_before, k * k));
        DMQ_TRY(dmq_json_set_reals(out, "cosines_after", log->cosines_after, k * k));
    }
    if (log->weighted) {
        DMQ_TRY(dmq_json_set_object(&part, out, "weights"));
        DMQ_TRY(weights_json(part, log, without_times));
    }
done:
    return st;
}

static double number(const dmq_json *json, const char *name)
{
    return dmq_json_real(dmq_json_get(json, name), NAN); /* null is what was not finite */
}

static void read_weights(dmq_unit_log *log, const dmq_json *json)
{
    dmq_learn_log *w = &log->weights;

    log->weighted = 1;
    log->spearman = number(json, "spearman");
    w->ess = number(json, "ess");
    w->w_max = number(json, "w_max");
    w->rho = number(json, "rho");
    w->cosine_mse_gm = number(json, "cosine_mse_gm");
    w->lambda = number(json, "lambda");
    w->eta = number(json, "eta");
    w->move = number(json, "move");
    w->loss_mse = number(json, "loss_mse");
    w->loss_gm = number(json, "loss_gm");
    w->seconds = number(json, "seconds");
    w->iterations = (int)dmq_json_int(dmq_json_get(json, "iterations"), 0);
    w->stopped_by_ess = dmq_json_bool(dmq_json_get(json, "stopped_by_ess"), false);
}

void dmq_unit_log_read(dmq_unit_log *log, const dmq_json *json)
{
    const dmq_json *weights = dmq_json_get(json, "weights");
    const dmq_json *cosines = dmq_json_get(json, "cosines_before");
    int64_t k = dmq_json_int(dmq_json_get(json, "groups"), 0);

    log->groups = k > 0 && k <= DMQ_MAX_GROUPS ? (int)k : 0;
    log->cosines = cosines && dmq_json_count(cosines) == (size_t)log->groups * (size_t)log->groups;
    for (int i = 0; log->cosines && i < log->groups * log->groups; i++)
        log->cosines_before[i] = dmq_json_real(dmq_json_at(cosines, (size_t)i), NAN);
    if (log->cosines)
        log->cosine_before = number(json, "cosine_before");
    if (weights)
        read_weights(log, weights);
}
