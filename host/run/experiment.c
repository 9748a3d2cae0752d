#include "run/experiment.h"

#include "backend/cuda.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "base/schema.h"
#include "diffusion/moves.h"
#include "io/file.h"
#include "run/network.h"

#include <stdio.h>
#include <string.h>

dmq_status dmq_schedule_from_config(dmq_schedule **out, const dmq_config *c)
{
    int T = dmq_config_int(c, "schedule.T"), scaled = dmq_config_enum(c, "schedule.kind") == 1;
    double from = dmq_config_real(c, "schedule.beta_start");
    double to = dmq_config_real(c, "schedule.beta_end");

    return scaled ? dmq_schedule_create_scaled(out, T, from, to)
                  : dmq_schedule_create(out, T, from, to);
}

/* Not quad, which is the default of the kinds that have always been there, for what came later. */
static int evenly_by_default(const dmq_sampler_config *s)
{
    return s->kind == DMQ_PLMS || s->kind == DMQ_DPM_SOLVER || s->repository == DMQ_REPOSITORY_LDM;
}

void dmq_sampler_settings(dmq_sampler_config *out, const dmq_config *c)
{
    memset(out, 0, sizeof *out);
    out->kind = (dmq_sampler_kind)dmq_config_enum(c, "sampler.kind");
    out->spacing = (dmq_spacing)dmq_config_enum(c, "sampler.spacing");
    out->steps = dmq_config_int(c, "sampler.steps");
    out->eta = out->kind == DMQ_DDPM && !dmq_config_is_set(c, "sampler.eta")
                   ? 1
                   : dmq_config_real(c, "sampler.eta");
    out->variance = (dmq_variance)dmq_config_enum(c, "sampler.variance");
    out->clip_x0 = dmq_config_bool(c, "sampler.clip_x0");
    out->repository = (dmq_repository)dmq_config_enum(c, "sampler.repository");
    out->solver = (dmq_solver)dmq_config_enum(c, "sampler.order");
    out->lower_order_below = dmq_config_int(c, "sampler.lower_order_below");
    out->guidance = dmq_config_real(c, "sampler.guidance");
    out->cond_first = dmq_config_enum(c, "sampler.guidance_batch") == 1;
    out->guided_channels = dmq_config_int(c, "sampler.guided_channels");
    if (evenly_by_default(out) && !dmq_config_is_set(c, "sampler.spacing"))
        out->spacing = DMQ_SPACING_UNIFORM;
}

/* ------------------------------------------------------------------ what the checkpoint knows */

static dmq_status adopt_real(dmq_config *c, const char *key, double value)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%.17g", value);
    return dmq_config_adopt(c, key, text);
}

static dmq_status adopt_settings(dmq_config *c, const dmq_experiment *e)
{
    dmq_sampler_config sampler;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_network_adopt(c, e->model, e->model_path));
    if (e->info.T > 0) {
        DMQ_TRY(dmq_config_adopt_int(c, "schedule.T", e->info.T));
        DMQ_TRY(adopt_real(c, "schedule.beta_start", e->info.beta_start));
        DMQ_TRY(adopt_real(c, "schedule.beta_end", e->info.beta_end));
        if (e->info.scaled)
            DMQ_TRY(dmq_config_adopt(c, "schedule.kind", "scaled_linear"));
    }
    if (dmq_config_enum(c, "sampler.kind") == DMQ_DDPM)
        DMQ_TRY(
            dmq_config_adopt(c, "sampler.eta", "1")); /* what dmq_sampler_settings takes it for */
    dmq_sampler_settings(&sampler, c);
    if (evenly_by_default(&sampler))
        DMQ_TRY(dmq_config_adopt(c, "sampler.spacing", "uniform"));
done:
    return st;
}

/* A file of weights, as model.sha256 says. */
static dmq_status load_model(dmq_experiment *e)
{
    const char *hash = dmq_config_text(e->config, "model.sha256");
    dmq_status st = DMQ_OK;

    if (dmq_stand_in_described(e->model_path)) {
        DMQ_TRY(dmq_stand_in_random(&e->model, &e->info, e->model_hash, e->model_path));
    } else {
        DMQ_TRY(dmq_hash_file(e->model_hash, e->model_path));
    }
    if (*hash && strcmp(hash, e->model_hash) != 0) {
        (void)dmq_fail(DMQ_EDATA, "%s has sha256 %s, model.sha256 says %s", e->model_path,
                       e->model_hash, hash);
        (void)dmq_origin_note(DMQ_EDATA, dmq_config_origin(e->config, "model.sha256"));
        return dmq_fail_note(DMQ_EDATA, "  hint: fetch the file again, or correct model.sha256");
    }
    if (!e->model)
        st = dmq_model_load(&e->model, &e->info, e->model_path);
done:
    return st == DMQ_OK ? st
                        : dmq_origin_note(st, dmq_config_origin(e->config, "model.checkpoint"));
}

static dmq_status open_model(dmq_experiment *e, dmq_config *config, dmq_missing *missing)
{
    const char *path = dmq_config_text(e->config, "model.checkpoint");
    dmq_status st = DMQ_OK;

    if (!*path) {
        return dmq_config_refuse(e->config, "model.checkpoint",
                                 "the run needs a checkpoint (--model FILE, or a card in extends)");
    }
    DMQ_TRY(dmq_path_resolve(&e->model_path, path));
    if (dmq_file_exists(e->model_path)) {
        DMQ_TRY(load_model(e));
    } else {
        (void)dmq_fail(DMQ_ENOINPUT, "there is no checkpoint %s", e->model_path);
        (void)dmq_origin_note(DMQ_ENOINPUT, dmq_config_origin(e->config, "model.checkpoint"));
        (void)dmq_config_hints(e->config, "model.source", DMQ_ENOINPUT,
                               "dmq train makes one; data:NAME is a file of $DMQ_DATA");
        DMQ_TRY(dmq_stand_in_published(&e->model, &e->info, e->model_hash, e->config,
                                       "model.network", missing));
    }
    DMQ_TRY(adopt_settings(config, e));
done:
    return st;
}

/* The schedule that the model was trained with, where the file knows it. */
static dmq_status check_schedule(const dmq_experiment *e)
{
    const dmq_config *c = e->config;
    const dmq_model_info *i = &e->info;

    if (i->T == 0)
        return DMQ_OK;
    if (dmq_config_int(c, "schedule.T") != i->T)
        return dmq_config_refuse(c, "schedule.T", "%s was trained with %d", e->model_path, i->T);
    if (dmq_config_enum(c, "schedule.kind") != i->scaled) {
        return dmq_config_refuse(c, "schedule.kind", "%s was trained with %s", e->model_path,
                                 i->scaled ? "scaled_linear" : "linear");
    }
    if (dmq_config_real(c, "schedule.beta_start") != i->beta_start) {
        return dmq_config_refuse(c, "schedule.beta_start", "%s was trained with %.9g",
                                 e->model_path, i->beta_start);
    }
    if (dmq_config_real(c, "schedule.beta_end") != i->beta_end) {
        return dmq_config_refuse(c, "schedule.beta_end", "%s was trained with %.9g", e->model_path,
                                 i->beta_end);
    }
    return DMQ_OK;
}

dmq_status dmq_sampler_from_config(dmq_schedule **schedule, dmq_sampler **sampler,
                                   const dmq_config *c)
{
    dmq_sampler_config settings;
    char *note = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_schedule_from_config(schedule, c));
    dmq_sampler_settings(&settings, c);
    st = dmq_sampler_create(sampler, *schedule, &settings);
    if (st != DMQ_OK) {
        (void)dmq_origin_note(st, dmq_config_origin(c, "sampler.kind"));
        st = dmq_origin_note(st, dmq_config_origin(c, "sampler.steps"));
        goto done;
    }
    DMQ_TRY(dmq_sampler_note(&note, *sampler));
    if (note)
        dmq_log_info("%s", note);
done:
    dmq_free(note);
    return st;
}

/* What is asked of the classes that the network knows. */
static dmq_status check_classes(const dmq_experiment *e)
{
    const dmq_config *c = e->config;
    dmq_status st = dmq_moves_check_model(e->sampler, e->model);

    if (st != DMQ_OK)
        return dmq_origin_note(st, dmq_config_origin(c, "sampler.guidance"));
    if (e->model->n_labels == 0) {
        if (dmq_config_is_set(c, "sample.labels") || dmq_config_is_set(c, "sample.class"))
            dmq_log_warn("no-effect", "sample.labels has no effect: the network knows no classes");
        return DMQ_OK;
    }
    if (dmq_config_int(c, "sample.class") >= e->model->n_classes) {
        return dmq_config_refuse(c, "sample.class", "the network knows %d classes, 0..%d",
                                 e->model->n_classes, e->model->n_classes - 1);
    }
    return DMQ_OK;
}

static dmq_status open_sampler(dmq_experiment *e)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(check_schedule(e));
    DMQ_TRY(dmq_sampler_from_config(&e->schedule, &e->sampler, e->config));
    DMQ_TRY(check_classes(e));
done:
    return st;
}

dmq_status dmq_experiment_precision(const dmq_backend *backend, const dmq_config *config)
{
    static const dmq_precision precisions[] = { DMQ_FP32, DMQ_TF32, DMQ_FP16 };
    dmq_status st =
        dmq_backend_precision(backend, precisions[dmq_config_enum(config, "device.precision")]);

    return st == DMQ_OK ? st : dmq_origin_note(st, dmq_config_origin(config, "device.precision"));
}

dmq_status dmq_experiment_open(dmq_experiment **out, dmq_config *config, const char *device,
                               int threads)
{
    return dmq_experiment_open_anyway(out, config, device, threads, NULL);
}

dmq_status dmq_experiment_open_anyway(dmq_experiment **out, dmq_config *config, const char *device,
                                      int threads, dmq_missing *missing)
{
    dmq_status st = DMQ_OK;
    dmq_experiment *e = NULL;

    DMQ_TRY(dmq_schema_check(config));
    DMQ_TRY(dmq_alloc((void **)&e, 1, sizeof *e));
    e->config = config;
    DMQ_TRY(dmq_backend_open(&e->backend, device));
    DMQ_TRY(dmq_experiment_precision(e->backend, config));
    DMQ_TRY(open_model(e, config, missing));
    DMQ_TRY(dmq_first_stage_open(&e->first, config, e->model->input, missing));
    e->image = dmq_first_stage_image(&e->first, e->model->input);
    DMQ_TRY(open_sampler(e));
    DMQ_TRY(dmq_lanes_create(&e->lanes, e->backend, threads));
    DMQ_TRY(dmq_model_place(e->model, e->lanes));
    if (e->first.model)
        DMQ_TRY(dmq_model_place(e->first.model, e->lanes));
    *out = e;
    e = NULL;
done:
    dmq_experiment_close(e);
    return st;
}

void dmq_experiment_close(dmq_experiment *e)
{
    if (!e)
        return;
    dmq_lanes_destroy(e->lanes);
    dmq_sampler_destroy(e->sampler);
    dmq_schedule_destroy(e->schedule);
    dmq_first_stage_release(&e->first);
    dmq_model_destroy(e->model);
    dmq_model_info_release(&e->info);
    dmq_free(e->model_path);
    dmq_free(e);
}
