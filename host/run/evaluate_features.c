/* evaluate: metrics of features: the Frechet distance to a reference, the score of a classifier */
#include "run/evaluate_inner.h"

#include "base/memory.h"
#include "eval/frechet.h"
#include "eval/inception_score.h"
#include "eval/moments.h"
#include "io/file.h"
#include "train/dataset.h"

#include <stdio.h>

static dmq_status open_features(dmq_evaluating *v)
{
    const char *name = dmq_config_text(v->config, "evaluate.features");
    char *path = NULL;
    dmq_model_info info = { 0 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_path_resolve(&path, name));
    if (!dmq_file_exists(path)) {
        (void)dmq_config_refuse(v->config, "evaluate.features", "there is no such file");
        st = dmq_fail_note(
            DMQ_ENOINPUT,
            "  hint: data:shapes16-features.h5 ships with dmq; dmq train makes others");
        goto done;
    }
    DMQ_TRY(dmq_hash_file(v->features_hash, path));
    DMQ_TRY(dmq_model_load(&v->features, &info, path));
    if (!dmq_features_is(v->features)) {
        st =
            dmq_fail(DMQ_EDATA, "%s is no feature network but a %s", path, v->features->arch->kind);
        (void)dmq_origin_note(st, dmq_config_origin(v->config, "evaluate.features"));
        st = dmq_fail_note(st, "  hint: dmq train with train.task: features makes one");
        goto done;
    }
    DMQ_TRY(dmq_model_place(v->features, v->e->lanes));
    v->width = dmq_features_width(v->features);
    v->classes = dmq_features_config_of(v->features)->classes;
done:
    dmq_model_info_release(&info);
    dmq_free(path);
    return st;
}

/* Features of some images (and logits, if wanted); what is exported is what is scored: 8-bit values. */
static dmq_status score(dmq_evaluating *v, dmq_moments *m, dmq_real *logits, const dmq_real *images,
                        int n)
{
    size_t count = (size_t)n * dmq_shape_count(v->fp.one);
    dmq_real *levels = NULL, *f = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&levels, count, sizeof *levels));
    DMQ_TRY(dmq_alloc((void **)&f, (size_t)n * (size_t)v->width, sizeof *f));
    dmq_images_export(levels, images, count, v->levels);
    DMQ_TRY(dmq_features_run(f, logits, v->features, v->e->lanes, levels, n));
    DMQ_TRY(dmq_moments_add(m, f, (size_t)n));
done:
    dmq_free(levels);
    dmq_free(f);
    return st;
}

/* Moments and logits of the images of a file. */
static dmq_status moments_of(dmq_evaluating *v, double *mean, double *cov, dmq_real *logits,
                             const dmq_images_file *file)
{
    dmq_images part = { 0 };
    dmq_moments *m = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_moments_create(&m, v->width));
    for (int from = 0; from < file->n; from += DMQ_EVALUATE_BATCH) {
        DMQ_TRY(dmq_images_read(&part, file, from, dmq_evaluate_batch(file->n, from)));
        DMQ_TRY(score(v, m, logits + (size_t)from * (size_t)v->classes, part.data, part.n));
        dmq_images_release(&part);
    }
    DMQ_TRY(dmq_moments_result(m, mean, cov));
done:
    dmq_images_release(&part);
    dmq_moments_destroy(m);
    return st;
}

static dmq_status open_reference(dmq_dataset **out, const dmq_experiment *e)
{
    const int *in = e->image.dim; /* (1, H, W, C) */
    dmq_dataset *set = NULL;
    dmq_status st = dmq_dataset_open(&set, dmq_config_text(e->config, "evaluate.reference"), 0);

    if (st != DMQ_OK)
        return dmq_origin_note(st, dmq_config_origin(e->config, "evaluate.reference"));
    if (set->size != in[1] || set->channels != in[3]) {
        st = dmq_config_refuse(e->config, "evaluate.reference",
                               "its images are %d x %d, the model's %d x %d", set->size, set->size,
                               in[1], in[2]);
        dmq_dataset_close(set);
        return st;
    }
    *out = set;
    return DMQ_OK;
}

static dmq_status reference(dmq_evaluating *v, double *mean, double *cov, int n)
{
    dmq_dataset *set = NULL;
    dmq_real *images = NULL;
    dmq_moments *m = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(open_reference(&set, v->e));
    DMQ_TRY(dmq_alloc((void **)&images,
                      (size_t)dmq_evaluate_batch(n, 0) * dmq_shape_count(v->fp.one),
                      sizeof *images));
    DMQ_TRY(dmq_moments_create(&m, v->width));
    for (int from = 0; from < n; from += DMQ_EVALUATE_BATCH) {
        DMQ_TRY(dmq_dataset_range(set, images, NULL, DMQ_DATASET_HELD_OUT + (uint64_t)from,
                                  dmq_evaluate_batch(n, from)));
        DMQ_TRY(score(v, m, NULL, images, dmq_evaluate_batch(n, from)));
    }
    DMQ_TRY(dmq_moments_result(m, mean, cov));
done:
    dmq_moments_destroy(m);
    dmq_dataset_close(set);
    dmq_free(images);
    return st;
}

dmq_status dmq_evaluate_features(dmq_evaluating *v, dmq_json *fp, dmq_json *q)
{
    const char *name = dmq_config_text(v->config, "evaluate.reference");
    int n_ref = dmq_config_int(v->config, "evaluate.reference_count");
    double *ref = NULL, *gen = NULL, fd, is, sd;
    dmq_real *logits = NULL;
    char id[160];
    dmq_status st = DMQ_OK;
    size_t d, all;

    DMQ_TRY(open_features(v));
    d = (size_t)v->width;
    all = d + d * d;
    DMQ_TRY(dmq_alloc((void **)&ref, all, sizeof *ref));
    DMQ_TRY(dmq_alloc((void **)&gen, all, sizeof *gen));
    DMQ_TRY(dmq_alloc((void **)&logits, (size_t)v->fp.n * (size_t)v->classes, sizeof *logits));
    DMQ_TRY(reference(v, ref, ref + d, n_ref));
    for (int i = 0; i < 2; i++) {
        const dmq_images_file *im = i ? &v->q : &v->fp;
        dmq_json *to = i ? q : fp;

        DMQ_TRY(moments_of(v, gen, gen + d, logits, im));
        if (dmq_evaluate_wants(v->config, "fd")) {
            DMQ_TRY(dmq_frechet_distance(&fd, v->width, ref, ref + d, gen, gen + d));
            (void)snprintf(id, sizeof id, "fd%d/%.12s/%s-heldout-%d/uint8-%s", im->n,
                           v->features_hash, name, n_ref,
                           dmq_config_text(v->config, "sample.levels"));
            DMQ_TRY(dmq_evaluate_put(to, "fd", id, fd, im->n));
        }
        if (dmq_evaluate_wants(v->config, "is")) {
            DMQ_TRY(dmq_inception_score(&is, &sd, logits, (size_t)im->n, v->classes,
                                        &(dmq_score_parts){ .splits = 1 }));
            (void)snprintf(id, sizeof id, "is%d/%.12s/1-split", im->n, v->features_hash);
            DMQ_TRY(dmq_evaluate_put(to, "is", id, is, im->n));
        }
    }
done:
    dmq_free(ref);
    dmq_free(gen);
    dmq_free(logits);
    return st;
}

dmq_status dmq_evaluate_features_check(const dmq_experiment *e)
{
    dmq_evaluating v = { .config = e->config, .e = e };
    dmq_dataset *set = NULL;
    dmq_status st = DMQ_OK;

    if (!dmq_evaluate_wants(e->config, "fd") && !dmq_evaluate_wants(e->config, "is"))
        return DMQ_OK;
    if (!*dmq_config_text(e->config, "evaluate.features")) {
        return dmq_config_refuse(
            e->config, "evaluate.features",
            "fd and is need a feature network; data:shapes16-features.h5 is one, "
            "and metrics: [paired] needs none");
    }
    DMQ_TRY(open_reference(&set, e));
    DMQ_TRY(open_features(&v));
    if (v.features->input.dim[1] != e->image.dim[1]) {
        st = dmq_config_refuse(
            e->config, "evaluate.features", "it is for %d x %d images, the model's are %d x %d",
            v.features->input.dim[1], v.features->input.dim[2], e->image.dim[1], e->image.dim[2]);
    }
done:
    dmq_dataset_close(set);
    dmq_model_destroy(v.features);
    return st;
}
