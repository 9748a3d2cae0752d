/* evaluate: images-fp.h5, images-q.h5, calib.h5, quant.h5 -> metrics.json

   Every number carries the id of its metric, the number of images, and is told for the full-precision
   model too where that has one. */
#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "calib/calib_file.h"
#include "eval/images.h"
#include "eval/moments.h"
#include "eval/noise_error.h"
#include "eval/paired.h"
#include "io/file.h"
#include "io/png.h"
#include "model/features.h"
#include "quant/hooks.h"
#include "quant/quant_file.h"
#include "run/stage.h"
#include "train/dataset.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Images in memory at once: whole blocks of eval/moments.h, so that the cut changes no bit. */
enum { BATCH = 256 };

typedef struct evaluating {
    dmq_job *job;
    const dmq_config *config;
    const dmq_experiment *e;
    dmq_images_file fp, q;
    dmq_model *features;
    char features_hash[DMQ_HASH_TEXT];
    int width, classes;
    dmq_json *out; /* metrics.json */
} evaluating;

static int wanted(const evaluating *v, const char *metric)
{
    int n;
    const char *const *names = dmq_config_texts(v->config, "evaluate.metrics", &n);

    for (int i = 0; i < n; i++) {
        if (strcmp(names[i], metric) == 0)
            return 1;
    }
    return 0;
}

static dmq_status open_images(evaluating *v)
{
    char *path = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_folder_file(&path, v->job->folder, dmq_stages[DMQ_RUN_SAMPLE_FP].file));
    DMQ_TRY(dmq_images_open(&v->fp, path, NULL));
    dmq_free(path);
    path = NULL;
    DMQ_TRY(dmq_folder_file(&path, v->job->folder, dmq_stages[DMQ_RUN_SAMPLE].file));
    DMQ_TRY(dmq_images_open(&v->q, path, NULL));
    if (v->fp.n != v->q.n || !dmq_shape_equal(v->fp.one, v->q.one)) {
        st = dmq_fail(DMQ_ESHAPE, "evaluate: %d full-precision images, %d quantized ones", v->fp.n,
                      v->q.n);
        st = dmq_fail_note(st,
                           "  hint: both are made by sample.count; --overwrite makes them again");
    }
done:
    dmq_free(path);
    return st;
}

/* One metric: {"id": ..., "value": ..., "n": ...} under a name. */
static dmq_status put(dmq_json *list, const char *name, const char *id, double value, int n)
{
    dmq_json *m;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_object(&m, list, name));
    DMQ_TRY(dmq_json_set_text(m, "id", id));
    DMQ_TRY(dmq_json_set_real(m, "value", value));
    DMQ_TRY(dmq_json_set_int(m, "n", n));
done:
    return st;
}

/* ------------------------------------------------------------------ with a feature network */

static dmq_status open_features(evaluating *v)
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

static dmq_levels levels_of(const dmq_config *config)
{
    return (dmq_levels)dmq_config_enum(config, "sample.levels");
}

/* Features of some images (and logits, if wanted); what is exported is what is scored: 8-bit values. */
static dmq_status score(evaluating *v, dmq_moments *m, dmq_real *logits, const dmq_real *images,
                        int n)
{
    size_t count = (size_t)n * dmq_shape_count(v->fp.one);
    dmq_real *levels = NULL, *f = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&levels, count, sizeof *levels));
    DMQ_TRY(dmq_alloc((void **)&f, (size_t)n * (size_t)v->width, sizeof *f));
    dmq_images_export(levels, images, count, levels_of(v->config));
    DMQ_TRY(dmq_features_run(f, logits, v->features, v->e->lanes, levels, n));
    DMQ_TRY(dmq_moments_add(m, f, (size_t)n));
done:
    dmq_free(levels);
    dmq_free(f);
    return st;
}

static int batch(int n, int from)
{
    return n - from < BATCH ? n - from : BATCH;
}

/* Moments and logits of the images of a file. */
static dmq_status moments_of(evaluating *v, double *mean, double *cov, dmq_real *logits,
                             const dmq_images_file *file)
{
    dmq_images part = { 0 };
    dmq_moments *m = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_moments_create(&m, v->width));
    for (int from = 0; from < file->n; from += BATCH) {
        DMQ_TRY(dmq_images_read(&part, file, from, batch(file->n, from)));
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

static dmq_status reference(evaluating *v, double *mean, double *cov, int n)
{
    dmq_dataset *set = NULL;
    dmq_real *images = NULL;
    dmq_moments *m = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(open_reference(&set, v->e));
    DMQ_TRY(dmq_alloc((void **)&images, (size_t)batch(n, 0) * dmq_shape_count(v->fp.one),
                      sizeof *images));
    DMQ_TRY(dmq_moments_create(&m, v->width));
    for (int from = 0; from < n; from += BATCH) {
        DMQ_TRY(dmq_dataset_range(set, images, NULL, DMQ_DATASET_HELD_OUT + (uint64_t)from,
                                  batch(n, from)));
        DMQ_TRY(score(v, m, NULL, images, batch(n, from)));
    }
    DMQ_TRY(dmq_moments_result(m, mean, cov));
done:
    dmq_moments_destroy(m);
    dmq_dataset_close(set);
    dmq_free(images);
    return st;
}

static dmq_status with_features(evaluating *v, dmq_json *fp, dmq_json *q)
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
        if (wanted(v, "fd")) {
            DMQ_TRY(dmq_frechet_distance(&fd, v->width, ref, ref + d, gen, gen + d));
            (void)snprintf(id, sizeof id, "fd%d/%.12s/%s-heldout-%d/uint8-%s", im->n,
                           v->features_hash, name, n_ref,
                           dmq_config_text(v->config, "sample.levels"));
            DMQ_TRY(put(to, "fd", id, fd, im->n));
        }
        if (wanted(v, "is")) {
            DMQ_TRY(dmq_inception_score(&is, &sd, logits, (size_t)im->n, v->classes, 1));
            (void)snprintf(id, sizeof id, "is%d/%.12s/1-split", im->n, v->features_hash);
            DMQ_TRY(put(to, "is", id, is, im->n));
        }
    }
done:
    dmq_free(ref);
    dmq_free(gen);
    dmq_free(logits);
    return st;
}

/* ------------------------------------------------------------------ without one */

/* Errors of images and of latents; latent NULL: not both files hold them. */
static dmq_status pair_up(dmq_paired_sum *image, dmq_paired_sum *latent, const evaluating *v)
{
    dmq_images q = { 0 }, fp = { 0 };
    dmq_status st = DMQ_OK;

    for (int from = 0; from < v->q.n; from += BATCH) {
        int n = batch(v->q.n, from);

        DMQ_TRY(dmq_images_read(&q, &v->q, from, n));
        DMQ_TRY(dmq_images_read(&fp, &v->fp, from, n));
        DMQ_TRY(dmq_paired_add(image, q.data, fp.data, (size_t)n));
        if (latent)
            DMQ_TRY(dmq_paired_add(latent, q.latents, fp.latents, (size_t)n));
        dmq_images_release(&q);
        dmq_images_release(&fp);
    }
done:
    dmq_images_release(&q);
    dmq_images_release(&fp);
    return st;
}

static dmq_status paired(evaluating *v, dmq_json *q)
{
    dmq_paired_sum *image = NULL, *latent = NULL;
    dmq_paired p;
    dmq_status st = DMQ_OK;
    int n = v->q.n;

    DMQ_TRY(dmq_paired_create(&image, dmq_shape_count(v->q.one)));
    if (v->q.has_latents && v->fp.has_latents)
        DMQ_TRY(dmq_paired_create(&latent, dmq_shape_count(v->q.one_latent)));
    DMQ_TRY(pair_up(image, latent, v));
    dmq_paired_result(&p, image);
    DMQ_TRY(put(q, "mse", "paired-mse/same-noise", p.mse, n));
    DMQ_TRY(put(q, "mse_bias", "paired-mse/mean-difference-image", p.bias, n));
    DMQ_TRY(put(q, "mse_rest", "paired-mse/without-the-mean", p.rest, n));
    DMQ_TRY(put(q, "psnr", "paired-psnr/peak-2", p.psnr, n));
    if (latent) {
        dmq_paired_result(&p, latent);
        DMQ_TRY(put(q, "latent_mse", "paired-mse/latents/same-noise", p.mse, n));
    }
done:
    dmq_paired_destroy(image);
    dmq_paired_destroy(latent);
    return st;
}

static dmq_status noise_error(evaluating *v, dmq_json *q)
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
    DMQ_TRY(put(q, "noise_error", "noise-mse/held-out-fp-states", mean, n));
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

/* Geometric means over the units that were reconstructed: losses of units differ by orders of magnitude. */
static dmq_status block_losses(evaluating *v, dmq_json *q)
{
    char *path = NULL;
    dmq_json *root = NULL, *blocks;
    double near = 0, last = 0, ess = 0, before = 0, after = 0;
    int n = 0, weighted = 0, cosines = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_folder_file(&path, v->job->folder, "blocks.json"));
    if (!dmq_file_exists(path))
        goto done;
    DMQ_TRY(dmq_json_load(&root, path));
    blocks = dmq_json_get(root, "blocks");
    for (size_t i = 0; i < dmq_json_count(blocks); i++) {
        const dmq_json *b = dmq_json_at(blocks, i);
        double x = dmq_json_real(dmq_json_find(b, "recon.nearest_held"), 0);
        double y = dmq_json_real(dmq_json_find(b, "recon.final_held"), 0);

        if (!(x > 0) || !(y > 0)) /* the temporal unit has no held-out samples */
            continue;
        near += log(x);
        last += log(y);
        n++;
        if (dmq_json_get(b, "cosine_before")) {
            before += dmq_json_real(dmq_json_get(b, "cosine_before"), 0);
            after += dmq_json_real(dmq_json_get(b, "cosine_after"), 0);
            cosines++;
        }
        if (dmq_json_get(b, "weights")) {
            ess += dmq_json_real(dmq_json_find(b, "weights.ess"), 0);
            weighted++;
        }
    }
    if (n == 0)
        goto done;
    DMQ_TRY(put(q, "block_loss_nearest", "geometric-mean/held-out", exp(near / n), n));
    DMQ_TRY(put(q, "block_loss", "geometric-mean/held-out", exp(last / n), n));
    if (cosines) {
        DMQ_TRY(
            put(q, "group_cosine_before", "mean-pairwise/validation", before / cosines, cosines));
        DMQ_TRY(put(q, "group_cosine_after", "mean-pairwise/validation", after / cosines, cosines));
    }
    if (weighted)
        DMQ_TRY(put(q, "ess", "mean-over-units", ess / weighted, weighted));
done:
    dmq_json_destroy(root);
    dmq_free(path);
    return st;
}

static dmq_status draw(const evaluating *v, const dmq_images_file *file, const char *name, int n)
{
    dmq_picture picture = { 0 };
    dmq_images im = { 0 };
    char *path = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_folder_file(&path, v->job->folder, name));
    DMQ_TRY(dmq_images_read(&im, file, 0, n));
    dmq_images_export(im.data, im.data, (size_t)n * dmq_shape_count(im.one), levels_of(v->config));
    DMQ_TRY(dmq_png_grid(&picture, im.data, n, im.one.dim[1], im.one.dim[2], im.one.dim[3],
                         (int)ceil(sqrt(n)), 2, im.one.dim[1] < 32 ? 3 : 2));
    DMQ_TRY(dmq_png_save(path, &picture, NULL, 0));
done:
    dmq_picture_release(&picture);
    dmq_images_release(&im);
    dmq_free(path);
    return st;
}

/* Samples to look at: first of the full-precision model, then of the quantized one, from the same noise. */
static dmq_status grid(evaluating *v)
{
    int count = dmq_config_int(v->config, "sample.grid"), channels = v->q.one.dim[3];
    int n = count < v->q.n ? count : v->q.n;
    dmq_status st = DMQ_OK;

    if (channels != 1 && channels != 3 &&
        count > 0) { /* latents, with no first stage behind them */
        dmq_log_warn("no-grid", "evaluate: samples have %d channels, 1 or 3 can be drawn",
                     channels);
        return DMQ_OK;
    }
    if (n > 0) {
        DMQ_TRY(draw(v, &v->fp, "grid-fp.png", n));
        DMQ_TRY(draw(v, &v->q, "grid.png", n));
    }
done:
    return st;
}

dmq_status dmq_evaluate_check(const dmq_experiment *e)
{
    static const char *const later[] = { "fid", "sfid", "precision", "recall" };
    dmq_job none = { 0 };
    evaluating v = { .job = &none, .config = e->config, .e = e };
    dmq_dataset *set = NULL;
    dmq_status st = DMQ_OK;

    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        if (wanted(&v, later[i])) {
            return dmq_config_refuse(
                e->config, "evaluate.metrics",
                "%s needs the Inception network, which this version does not read; "
                "fd is the Frechet distance with a network of ours",
                later[i]);
        }
    }
    if (!wanted(&v, "fd") && !wanted(&v, "is"))
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

dmq_status dmq_stage_evaluate(dmq_job *job)
{
    evaluating v = { .job = job, .config = job->experiment->config, .e = job->experiment };
    dmq_json *fp, *q;
    dmq_status st = DMQ_OK;

    DMQ_TRY(open_images(&v));
    DMQ_TRY(dmq_json_object(&v.out));
    DMQ_TRY(dmq_json_set_text(v.out, "format", "dmq-metrics"));
    DMQ_TRY(dmq_json_set_text(v.out, "label",
                              dmq_json_text(dmq_json_get(job->folder->manifest, "label"), "")));
    DMQ_TRY(dmq_json_set_int(v.out, "seed", dmq_config_int64(v.config, "seed")));
    DMQ_TRY(dmq_json_set_int(v.out, "sample_seed", dmq_config_int64(v.config, "sample.seed")));
    DMQ_TRY(dmq_json_set_int(v.out, "images", v.q.n));
    DMQ_TRY(dmq_json_set_object(&fp, v.out, "fp"));
    DMQ_TRY(dmq_json_set_object(&q, v.out, "quantized"));
    if (wanted(&v, "fd") || wanted(&v, "is"))
        DMQ_TRY(with_features(&v, fp, q));
    DMQ_TRY(paired(&v, q));
    DMQ_TRY(noise_error(&v, q));
    DMQ_TRY(block_losses(&v, q));
    DMQ_TRY(grid(&v));
    DMQ_TRY(dmq_json_save(job->out, v.out));
done:
    dmq_json_destroy(v.out);
    dmq_model_destroy(v.features);
    dmq_images_close(&v.fp);
    dmq_images_close(&v.q);
    return st;
}
