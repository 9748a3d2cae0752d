/* dmq train: a small diffusion model, or the feature network, on a data set -> model.h5 */
#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "base/schema.h"
#include "cli/setup.h"
#include "cli/verbs.h"
#include "io/file.h"
#include "model/features.h"
#include "model/init.h"
#include "run/experiment.h"
#include "run/network.h"
#include "train/train_diffusion.h"
#include "train/train_features.h"

#include <string.h>

typedef struct training {
    dmq_config *config;
    const dmq_backend *backend;
    dmq_lanes *lanes;
    dmq_dataset *set;
    dmq_model *model;
    dmq_schedule *schedule;
    char *out, *checkpoint;
} training;

static void settings(dmq_train_config *out, const dmq_config *c)
{
    dmq_train_defaults(out);
    out->batch = dmq_config_int(c, "train.batch");
    out->seed = (uint64_t)dmq_config_int64(c, "seed");
    out->checkpoint_every = dmq_config_int(c, "train.save_every");
    out->optim.iterations = dmq_config_int(c, "train.iters");
    out->optim.lr = dmq_config_real(c, "train.lr");
    out->optim.warmup = dmq_config_int(c, "train.warmup");
    out->optim.lr_end = dmq_config_enum(c, "train.lr_decay") == 1 ? 0.02 : 1;
    out->optim.ema = dmq_config_real(c, "train.ema");
    out->optim.clip = dmq_config_real(c, "train.clip");
}

/* -o names the file of the model; beside it the checkpoint of the training. */
static dmq_status places(training *t, const dmq_options *o)
{
    dmq_status st = DMQ_OK;
    char *folder = NULL;

    if (o->out && dmq_path_has_suffix(o->out, ".h5")) {
        DMQ_TRY(dmq_strdup(&t->out, o->out));
        DMQ_TRY(dmq_path_folder(&folder, t->out));
        DMQ_TRY(dmq_folder_create(folder));
    } else {
        DMQ_TRY(dmq_setup_folder(&folder, o, t->config));
        DMQ_TRY(dmq_folder_create(folder));
        DMQ_TRY(dmq_path_join(&t->out, folder, "model.h5"));
    }
    DMQ_TRY(dmq_path_append(&t->checkpoint, t->out, ".train"));
    if (dmq_file_exists(t->out) && !o->overwrite) {
        st = dmq_fail(DMQ_EEXIST, "%s is there already", t->out);
        st = dmq_fail_note(st, "  hint: --overwrite trains it again; -o names another file");
    }
done:
    dmq_free(folder);
    return st;
}

static dmq_status train_diffusion(training *t, const dmq_train_place *place, char *text)
{
    const dmq_config *c = t->config;
    dmq_train_diffusion_config d;
    dmq_status st = DMQ_OK;

    dmq_train_diffusion_defaults(&d);
    settings(&d.train, c);
    DMQ_TRY(dmq_schedule_from_config(&t->schedule, c));
    if (strcmp(dmq_config_text(c, "model.kind"), "decoder") == 0)
        return dmq_config_refuse(c, "model.kind", "decoders are imported, not trained here");
    DMQ_TRY(dmq_model_from_config(&t->model, c));
    dmq_model_init(t->model, d.train.seed);
    DMQ_TRY(
        dmq_train_diffusion(t->model, text, t->schedule, t->set, &d, t->lanes, place, NULL, NULL));
done:
    return st;
}

static dmq_status train_features(training *t, const dmq_train_place *place, char *text)
{
    const dmq_config *c = t->config;
    dmq_train_features_config f;
    dmq_features_config net = { .resolution = t->set->size,
                                .channels = t->set->channels,
                                .classes = t->set->n_classes,
                                .norm_groups = dmq_config_int(c, "model.norm_groups") };
    const int64_t *width = dmq_config_ints(c, "train.channels", &net.n_stages);
    double accuracy = 0;
    dmq_status st = DMQ_OK;

    dmq_train_features_defaults(&f);
    settings(&f.train, c);
    for (int i = 0; i < net.n_stages && i < DMQ_FEATURES_STAGES; i++)
        net.width[i] = (int)width[i];
    DMQ_TRY(dmq_features_create(&t->model, &net));
    dmq_model_init(t->model, f.train.seed);
    DMQ_TRY(dmq_train_features(t->model, text, t->set, &f, t->lanes, place, NULL, NULL));
    DMQ_TRY(dmq_model_place(t->model, t->lanes));
    DMQ_TRY(
        dmq_features_accuracy(&accuracy, t->model, t->set, DMQ_DATASET_HELD_OUT, 2000, t->lanes));
    dmq_log_info("train: %.1f %% of 2000 held-out images are recognised", 100 * accuracy);
done:
    return st;
}

dmq_status dmq_cmd_train(const dmq_options *o)
{
    training t = { 0 };
    dmq_model_info info = { 0 };
    dmq_train_place place = { .resume = o->resume != DMQ_RESUME_NEVER };
    char text[DMQ_TRAIN_TEXT] = "";
    dmq_status st = DMQ_OK;
    int diffusion;

    DMQ_TRY(dmq_setup_progress(o));
    DMQ_TRY(dmq_setup_config(&t.config, o));
    DMQ_TRY(dmq_schema_check(t.config));
    diffusion = dmq_config_enum(t.config, "train.task") == 0;
    DMQ_TRY(places(&t, o));
    place.checkpoint = t.checkpoint;
    DMQ_TRY(dmq_backend_open(&t.backend, o->device));
    if (dmq_backend_auto_reason()[0])
        dmq_log_info("device: %s", dmq_backend_auto_reason());
    DMQ_TRY(dmq_experiment_precision(t.backend, t.config));
    DMQ_TRY(dmq_lanes_create(&t.lanes, t.backend, o->threads));
    DMQ_TRY(dmq_dataset_open(&t.set, dmq_config_text(t.config, "train.data"), 0));
    if (o->dry_run)
        goto done;
    if (diffusion) {
        DMQ_TRY(train_diffusion(&t, &place, text));
    } else {
        DMQ_TRY(train_features(&t, &place, text));
    }
    if (diffusion)
        dmq_model_info_from_config(&info, t.config);
    info.training = text;
    DMQ_TRY(
        dmq_model_save(t.model, &info, t.out, dmq_config_enum(t.config, "train.out_dtype") == 0));
    DMQ_TRY(dmq_file_exists(t.checkpoint) ? dmq_file_remove(t.checkpoint) : DMQ_OK);
    dmq_log_info("train: wrote %s", t.out);
done:
    dmq_schedule_destroy(t.schedule);
    dmq_model_destroy(t.model);
    dmq_dataset_close(t.set);
    dmq_lanes_destroy(t.lanes);
    dmq_config_destroy(t.config);
    dmq_free(t.out);
    dmq_free(t.checkpoint);
    return st;
}
