/* evaluate: images of the quantized model beside those of the full-precision one, from the same noise */
#include "run/evaluate_inner.h"

#include "base/memory.h"
#include "base/path.h"
#include "eval/lpips.h"
#include "eval/paired.h"
#include "eval/similarity.h"
#include "io/file.h"

#include <stdio.h>

typedef struct pairing {
    const dmq_evaluating *v;
    dmq_paired_sum *image, *latent; /* latent NULL: not both files hold them */
    int likeness;                   /* psnr or ssim is wanted: of 8-bit levels */
    dmq_similarity_sum levels;
    dmq_lpips *lpips; /* NULL: not wanted */
    double lpips_sum;
} pairing;

static dmq_status add_levels(pairing *p, const dmq_real *q, const dmq_real *fp, int n)
{
    const int *one = p->v->q.one.dim; /* (1, H, W, C) */
    size_t count = (size_t)n * dmq_shape_count(p->v->q.one);
    uint8_t *levels = NULL;
    double *distance = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&levels, 2 * count, 1));
    DMQ_TRY(dmq_alloc((void **)&distance, (size_t)n, sizeof *distance));
    dmq_images_levels(levels, q, count, p->v->levels);
    dmq_images_levels(levels + count, fp, count, p->v->levels);
    if (p->likeness)
        DMQ_TRY(dmq_similarity_add(&p->levels, levels, levels + count, n, one[1], one[2], one[3]));
    if (p->lpips)
        DMQ_TRY(dmq_lpips_run(distance, p->lpips, levels, levels + count, n, one[1], one[2]));
    for (int i = 0; i < n; i++)
        p->lpips_sum += distance[i];
done:
    dmq_free(levels);
    dmq_free(distance);
    return st;
}

static dmq_status pair_up(pairing *p)
{
    const dmq_evaluating *v = p->v;
    dmq_images q = { 0 }, fp = { 0 };
    dmq_status st = DMQ_OK;

    for (int from = 0; from < v->q.n; from += DMQ_EVALUATE_BATCH) {
        int n = dmq_evaluate_batch(v->q.n, from);

        DMQ_TRY(dmq_images_read(&q, &v->q, from, n));
        DMQ_TRY(dmq_images_read(&fp, &v->fp, from, n));
        DMQ_TRY(dmq_paired_add(p->image, q.data, fp.data, (size_t)n));
        if (p->latent)
            DMQ_TRY(dmq_paired_add(p->latent, q.latents, fp.latents, (size_t)n));
        if (p->likeness || p->lpips)
            DMQ_TRY(add_levels(p, q.data, fp.data, n));
        dmq_images_release(&q);
        dmq_images_release(&fp);
    }
done:
    dmq_images_release(&q);
    dmq_images_release(&fp);
    return st;
}

/* "ssim50k/uint8-round", with the network between: "lpips50k/lpips-alex-9f2c04b1a6de/uint8-round" */
static dmq_status put_levels(const pairing *p, dmq_json *q, const char *name, const char *network,
                             double value)
{
    char id[160], n[DMQ_COUNT_TEXT];

    dmq_count_text(n, p->v->q.n);
    (void)snprintf(id, sizeof id, "%s%s%s%s/uint8-%s", name, n, *network ? "/" : "", network,
                   dmq_config_text(p->v->config, "sample.levels"));
    return dmq_evaluate_put(q, name, id, value, p->v->q.n);
}

static dmq_status put_likeness(const pairing *p, dmq_json *q)
{
    const dmq_config *c = p->v->config;
    dmq_similarity s;
    dmq_status st = DMQ_OK;

    if (p->likeness) {
        dmq_similarity_result(&s, &p->levels);
        if (dmq_evaluate_wants(c, "psnr")) {
            DMQ_TRY(put_levels(p, q, "psnr", "", s.psnr));
            DMQ_TRY(dmq_json_set_real(dmq_json_get(q, "psnr"), "mean_over_images", s.psnr_image));
        }
        if (dmq_evaluate_wants(c, "ssim"))
            DMQ_TRY(put_levels(p, q, "ssim", "", s.ssim));
    }
    if (p->lpips)
        DMQ_TRY(put_levels(p, q, "lpips", p->lpips->id, p->lpips_sum / p->v->q.n));
done:
    return st;
}

static dmq_status open_lpips(dmq_lpips **out, const dmq_experiment *e)
{
    const char *name = dmq_config_text(e->config, "evaluate.lpips");
    char *path = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_path_resolve(&path, name));
    if (!dmq_file_exists(path)) {
        (void)dmq_config_refuse(e->config, "evaluate.lpips", "there is no such file");
        st = dmq_fail_note(DMQ_ENOINPUT, "  hint: dmq import --network lpips-alex makes it of "
                                         "AlexNet's and LPIPS's weights");
        goto done;
    }
    st = dmq_lpips_open(out, path, e->lanes);
    if (st != DMQ_OK)
        (void)dmq_origin_note(st, dmq_config_origin(e->config, "evaluate.lpips"));
done:
    dmq_free(path);
    return st;
}

dmq_status dmq_evaluate_pairs_check(const dmq_experiment *e)
{
    const int *one = e->image.dim;
    dmq_lpips *lpips = NULL;
    dmq_status st = DMQ_OK;

    if (dmq_evaluate_wants(e->config, "ssim") &&
        (one[1] < DMQ_SSIM_WINDOW || one[2] < DMQ_SSIM_WINDOW)) {
        return dmq_config_refuse(e->config, "evaluate.metrics",
                                 "ssim has a window of %d pixels, images are %d x %d",
                                 DMQ_SSIM_WINDOW, one[1], one[2]);
    }
    if (!dmq_evaluate_wants(e->config, "lpips"))
        goto done;
    DMQ_TRY(open_lpips(&lpips, e));
    if (one[1] < DMQ_LPIPS_LEAST || one[2] < DMQ_LPIPS_LEAST || one[3] != 3) {
        st = dmq_config_refuse(
            e->config, "evaluate.metrics",
            "lpips takes images from %d x %d on with 3 channels, these are %d x %d with %d",
            DMQ_LPIPS_LEAST, DMQ_LPIPS_LEAST, one[1], one[2], one[3]);
    }
done:
    dmq_lpips_close(lpips);
    return st;
}

dmq_status dmq_evaluate_pairs(dmq_evaluating *v, dmq_json *q)
{
    pairing sums = { .v = v,
                     .likeness = dmq_evaluate_wants(v->config, "psnr") ||
                                 dmq_evaluate_wants(v->config, "ssim") };
    dmq_paired p;
    dmq_status st = DMQ_OK;
    int n = v->q.n;

    DMQ_TRY(dmq_paired_create(&sums.image, dmq_shape_count(v->q.one)));
    if (v->q.has_latents && v->fp.has_latents)
        DMQ_TRY(dmq_paired_create(&sums.latent, dmq_shape_count(v->q.one_latent)));
    if (dmq_evaluate_wants(v->config, "lpips"))
        DMQ_TRY(open_lpips(&sums.lpips, v->e));
    DMQ_TRY(pair_up(&sums));
    dmq_paired_result(&p, sums.image);
    DMQ_TRY(dmq_evaluate_put(q, "mse", "paired-mse/same-noise", p.mse, n));
    DMQ_TRY(dmq_evaluate_put(q, "mse_bias", "paired-mse/mean-difference-image", p.bias, n));
    DMQ_TRY(dmq_evaluate_put(q, "mse_rest", "paired-mse/without-the-mean", p.rest, n));
    if (!dmq_evaluate_wants(v->config, "psnr"))
        DMQ_TRY(dmq_evaluate_put(q, "psnr", "paired-psnr/peak-2", p.psnr, n));
    DMQ_TRY(put_likeness(&sums, q));
    if (sums.latent) {
        dmq_paired_result(&p, sums.latent);
        DMQ_TRY(dmq_evaluate_put(q, "latent_mse", "paired-mse/latents/same-noise", p.mse, n));
    }
done:
    dmq_paired_destroy(sums.image);
    dmq_paired_destroy(sums.latent);
    dmq_lpips_close(sums.lpips);
    return st;
}
