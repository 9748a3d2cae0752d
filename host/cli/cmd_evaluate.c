/* dmq evaluate: the last stage of a run; or images, or features, that are no run's; or statistics of a reference

   Without a run nothing but the keys of evaluate.* and sample.levels counts. With -o DIR features lie in DIR/ckpt piece
   by piece until DIR/metrics.json is there, so that a stopped evaluation goes on and shards can share one; --shard makes
   its pieces and --merge the numbers. Without -o everything is in memory. */
#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "cli/setup.h"
#include "cli/verbs.h"
#include "io/file.h"
#include "model/inception.h"
#include "run/judge.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Pieces of the features of the images; those of the reference are the judge's. */
#define PIECES "features"

typedef struct evaluating {
    const dmq_options *o;
    dmq_config *config;
    const dmq_backend *backend;
    dmq_lanes *lanes;
    dmq_image_set *images;
    dmq_feature_set *set;
    dmq_judge *judge;
    char *ckpt, *metrics; /* of -o; NULL: there is none */
    char levels[32];
} evaluating;

/* ------------------------------------------------------------------ what is asked for */

static dmq_status check_options(const dmq_options *o)
{
    if (!o->images && !o->ready) {
        return dmq_fail(DMQ_EUSAGE,
                        "dmq evaluate: %s needs --images PATH\n"
                        "  hint: a run is compared with what its evaluate.reference names",
                        o->make ? "--make-reference" : "--reference");
    }
    if (o->images && o->ready) {
        return dmq_fail(
            DMQ_EUSAGE,
            "dmq evaluate: --images and --ready-features are two sets to score, one at a time");
    }
    if (o->ready && (o->make || o->n_shards > 0 || o->merge)) {
        return dmq_fail(DMQ_EUSAGE,
                        "dmq evaluate: --ready-features has nothing to make: %s is for --images",
                        o->make    ? "--make-reference"
                        : o->merge ? "--merge"
                                   : "--shard");
    }
    if (o->make && o->reference) {
        return dmq_fail(
            DMQ_EUSAGE,
            "dmq evaluate: --make-reference compares nothing: --reference has no effect");
    }
    if (o->make && (!o->out || !dmq_path_has_suffix(o->out, ".h5")))
        return dmq_fail(DMQ_EUSAGE, "dmq evaluate: --make-reference needs -o FILE.h5");
    if (o->seed || o->checkpoint || o->resume != DMQ_RESUME_AUTO) {
        return dmq_fail(DMQ_EUSAGE,
                        "dmq evaluate: --%s is of a run, and has no effect on images alone",
                        o->seed         ? "seed"
                        : o->checkpoint ? "model"
                                        : "resume");
    }
    if ((o->n_shards > 0 || o->merge) && !o->out) {
        return dmq_fail(DMQ_EUSAGE, "dmq evaluate: --%s needs -o, where the shards meet",
                        o->merge ? "merge" : "shard");
    }
    return DMQ_OK;
}

static dmq_status refuse_there(const char *path)
{
    dmq_status st = dmq_fail(DMQ_EEXIST, "%s is there already", path);

    return dmq_fail_note(st, "  hint: --overwrite makes it again; -o names another place");
}

static dmq_status places(evaluating *v)
{
    const dmq_options *o = v->o;
    dmq_status st = DMQ_OK;

    if (!o->out)
        return DMQ_OK;
    if (o->make) {
        DMQ_TRY(dmq_path_folder(&v->ckpt, o->out));
    } else {
        DMQ_TRY(dmq_path_join(&v->ckpt, o->out, "ckpt"));
        DMQ_TRY(dmq_path_join(&v->metrics, o->out, "metrics.json"));
    }
    if (!o->overwrite && dmq_file_exists(o->make ? o->out : v->metrics))
        st = refuse_there(o->make ? o->out : v->metrics);
done:
    return st;
}

static dmq_status open_images(evaluating *v)
{
    const dmq_options *o = v->o;
    dmq_image_set_config how = { .levels = (dmq_levels)dmq_config_enum(v->config, "sample.levels"),
                                 .lossless = 1 };
    dmq_status st = DMQ_OK;

    (void)snprintf(v->levels, sizeof v->levels, "ready-features");
    if (o->ready)
        return dmq_feature_set_ready(&v->set, o->ready);
    if (o->make) {
        DMQ_TRY(dmq_judge_images(&v->images, v->config, o->images, 0));
    } else {
        if (!dmq_file_exists(o->images) && !dmq_folder_exists(o->images)) /* a data set */
            how.count = dmq_config_int(v->config, "evaluate.reference_count");
        DMQ_TRY(dmq_image_set_open(&v->images, o->images, &how));
    }
    (void)snprintf(v->levels, sizeof v->levels, "uint8-%s",
                   strcmp(v->images->kind, "images.h5") == 0
                       ? dmq_config_text(v->config, "sample.levels")
                       : "given");
done:
    return st;
}

static dmq_status open_extractor(dmq_extractor **out, const evaluating *v)
{
    char *path = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_path_resolve(&path, dmq_config_text(v->config, "evaluate.features")));
    DMQ_TRY(dmq_extractor_open(out, path, (dmq_resize)dmq_config_enum(v->config, "evaluate.resize"),
                               v->lanes));
done:
    dmq_free(path);
    return st;
}

/* Nobody said which metrics: the distance and the score that this network has. */
static dmq_status choose_metrics(const evaluating *v)
{
    const dmq_origin here = { .kind = DMQ_ORIGIN_FLAG,
                              .place = "dmq evaluate without evaluate.metrics" };
    dmq_extractor *x = NULL;
    int inception = 1, logits = 1;
    dmq_status st = DMQ_OK;

    if (dmq_config_is_set(v->config, "evaluate.metrics"))
        return DMQ_OK;
    if (v->set) {
        inception = v->set->width[DMQ_FEATURE_POOL] == DMQ_INCEPTION_POOL;
        logits = v->set->width[DMQ_FEATURE_LOGITS] > 0;
    } else if (*dmq_config_text(v->config, "evaluate.features")) {
        st = open_extractor(&x, v);
        if (st == DMQ_ENOMEM)
            goto done;
        inception =
            st == DMQ_OK && x->is_inception; /* what is wrong with it is told where it is used */
    }
    DMQ_TRY(dmq_config_set(
        v->config, "evaluate.metrics",
        inception ? (logits ? "[fid, is]" : "[fid]") : (logits ? "[fd, is]" : "[fd]"), &here));
done:
    dmq_extractor_close(x);
    return st;
}

/* ------------------------------------------------------------------ statistics of a reference */

static dmq_status make_reference(evaluating *v)
{
    const dmq_options *o = v->o;
    const char *place = strcmp(v->images->kind, "data set") == 0 ? o->images : o->make;
    dmq_extractor *x = NULL;
    dmq_reference *r = NULL;
    dmq_feature_job job = { .images = v->images,
                            .n = v->images->n,
                            .folder = v->ckpt,
                            .shard = o->shard,
                            .n_shards = o->n_shards,
                            .merge = o->merge,
                            .progress = "reference" };
    char *name = NULL;
    int missing = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_path_append(&name, dmq_path_name(o->out), ".part"));
    job.name = name;
    if (!*dmq_config_text(v->config, "evaluate.features")) {
        st = dmq_config_refuse(v->config, "evaluate.features",
                               "whose features? It names the network");
        goto done;
    }
    DMQ_TRY(open_extractor(&x, v));
    job.extractor = x;
    DMQ_TRY(dmq_extractor_takes(x, v->images->h, v->images->w, v->images->c));
    if (o->dry_run)
        goto done;
    DMQ_TRY(dmq_judge_reference(&r, &missing, &job, NULL, place,
                                dmq_config_int(v->config, "evaluate.reference_rows")));
    if (!r || o->n_shards > 0) {
        dmq_log_info("evaluate: shard %d of %d is done; --merge joins them", o->shard, o->n_shards);
        goto done;
    }
    DMQ_TRY(dmq_reference_save(o->out, r));
    DMQ_TRY(dmq_feature_set_remove(v->ckpt, name, v->images->n));
    dmq_log_info("evaluate: wrote %s: %s, %" PRId64 " images, %s", o->out, r->name, r->n,
                 r->extractor);
done:
    dmq_reference_destroy(r);
    dmq_extractor_close(x);
    dmq_free(name);
    return st;
}

/* ------------------------------------------------------------------ scores */

static dmq_status document(dmq_json **out, const evaluating *v, const dmq_scores *scores)
{
    const dmq_reference *r = v->judge->reference;
    dmq_json *root = NULL, *m;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_object(&root));
    DMQ_TRY(dmq_json_set_text(root, "format", "dmq-scores"));
    DMQ_TRY(dmq_json_set_text(root, "of", v->images ? v->o->images : v->o->ready));
    DMQ_TRY(dmq_json_set_int(root, "images", v->set->n));
    DMQ_TRY(dmq_json_set_object(&m, root, "features"));
    DMQ_TRY(dmq_json_set_text(m, "extractor", v->judge->id));
    if (r) {
        DMQ_TRY(dmq_json_set_text(m, "reference", r->name));
        DMQ_TRY(dmq_json_set_int(m, "reference_images", r->n));
    }
    DMQ_TRY(dmq_json_set_object(&m, root, "metrics"));
    DMQ_TRY(dmq_scores_put(m, scores));
    *out = root;
    root = NULL;
done:
    dmq_json_destroy(root);
    return st;
}

static void print(const dmq_scores *scores)
{
    for (int i = 0; i < scores->count; i++) {
        const dmq_score *s = &scores->score[i];
        char value[64];

        if (isfinite(s->sd)) {
            (void)snprintf(value, sizeof value, "%.6g ± %.2g", s->value, s->sd);
        } else {
            (void)snprintf(value, sizeof value, "%.6g", s->value);
        }
        (void)printf("%-10s %-18s %s\n", dmq_metric_names[s->metric], value, s->id);
    }
}

static dmq_status tell(const evaluating *v, const dmq_scores *scores)
{
    dmq_json *root = NULL;
    char *text = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(document(&root, v, scores));
    if (v->metrics) {
        DMQ_TRY(dmq_folder_create(v->o->out));
        DMQ_TRY(dmq_json_save(v->metrics, root));
    }
    if (v->o->json) {
        DMQ_TRY(dmq_json_dump(&text, root, 2));
        (void)puts(text);
    } else {
        print(scores);
    }
done:
    dmq_json_destroy(root);
    dmq_free(text);
    return st;
}

static dmq_status make_features(evaluating *v, int *missing)
{
    const dmq_options *o = v->o;
    const dmq_feature_job job = { .extractor = v->judge->extractor,
                                  .images = v->images,
                                  .n = v->images->n,
                                  .spatial = dmq_metrics_need_spatial(v->judge->metrics),
                                  .logits = (v->judge->metrics >> DMQ_METRIC_IS & 1) != 0,
                                  .folder = v->ckpt,
                                  .name = PIECES,
                                  .shard = o->shard,
                                  .n_shards = o->n_shards,
                                  .merge = o->merge,
                                  .progress = "evaluate" };

    return dmq_feature_set_make(&v->set, missing, &job);
}

/* Metrics of a configuration that need a run. */
static void warn_of_others(const dmq_config *c)
{
    int n;
    const char *const *names = dmq_config_texts(c, "evaluate.metrics", &n);

    for (int i = 0; i < n; i++) {
        int known = 0;

        for (int m = 0; m < DMQ_METRICS; m++)
            known |= strcmp(names[i], dmq_metric_names[m]) == 0;
        if (!known) {
            dmq_log_warn("no-effect", "evaluate.metrics: %s is of a run, not of images alone",
                         names[i]);
        }
    }
}

static dmq_status score(evaluating *v)
{
    const dmq_options *o = v->o;
    dmq_judge_config how = { .config = v->config,
                             .lanes = v->lanes,
                             .ready = o->ready ? v->set : NULL,
                             .levels = v->levels,
                             .folder = v->ckpt,
                             .shard = o->shard,
                             .n_shards = o->n_shards,
                             .merge = o->merge };
    dmq_scores scores;
    int missing = 0;
    dmq_status st = DMQ_OK;

    how.n = v->images ? v->images->n : v->set->n;
    if (v->images) {
        how.h = v->images->h;
        how.w = v->images->w;
        how.c = v->images->c;
    }
    DMQ_TRY(choose_metrics(v));
    if (!dmq_judge_metrics(v->config)) {
        st = dmq_config_refuse(v->config, "evaluate.metrics",
                               "none of them is made of images alone");
        goto done;
    }
    warn_of_others(v->config);
    DMQ_TRY(dmq_judge_check(&how));
    if (o->dry_run)
        goto done;
    DMQ_TRY(dmq_judge_create(&v->judge, &how));
    if (v->images)
        DMQ_TRY(make_features(v, &missing));
    if (o->n_shards > 0) {
        dmq_log_info("evaluate: shard %d of %d is done; --merge joins them", o->shard, o->n_shards);
        goto done;
    }
    DMQ_TRY(dmq_scorer_run(&scores, v->judge->scorer, v->set, v->judge->id));
    DMQ_TRY(tell(v, &scores));
    if (v->images && v->ckpt)
        DMQ_TRY(dmq_feature_set_remove(v->ckpt, PIECES, v->images->n));
    DMQ_TRY(dmq_judge_clean(v->judge));
done:
    return st;
}

static dmq_status open_lanes(evaluating *v)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_backend_open(&v->backend, v->o->device));
    if (dmq_backend_auto_reason()[0])
        dmq_log_info("device: %s", dmq_backend_auto_reason());
    DMQ_TRY(dmq_experiment_precision(v->backend, v->config));
    DMQ_TRY(dmq_lanes_create(&v->lanes, v->backend, v->o->threads));
done:
    return st;
}

static dmq_status without_run(const dmq_options *o)
{
    const dmq_origin flag = { .kind = DMQ_ORIGIN_FLAG, .place = "--reference" };
    evaluating v = { .o = o };
    dmq_status st = DMQ_OK;

    DMQ_TRY(check_options(o));
    DMQ_TRY(dmq_setup_progress(o));
    DMQ_TRY(dmq_setup_config(&v.config, o));
    if (o->reference)
        DMQ_TRY(dmq_config_set(v.config, "evaluate.reference", o->reference, &flag));
    DMQ_TRY(places(&v));
    DMQ_TRY(open_images(&v));
    if (!o->ready)
        DMQ_TRY(open_lanes(&v));
    DMQ_TRY(o->make ? make_reference(&v) : score(&v));
done:
    dmq_judge_destroy(v.judge);
    dmq_feature_set_destroy(v.set);
    dmq_image_set_close(v.images);
    dmq_lanes_destroy(v.lanes);
    dmq_config_destroy(v.config);
    dmq_free(v.ckpt);
    dmq_free(v.metrics);
    return st;
}

dmq_status dmq_cmd_evaluate(const dmq_options *o)
{
    return o->images || o->ready || o->make || o->reference ? without_run(o)
                                                            : dmq_setup_stages(o, DMQ_RUN_EVALUATE);
}
