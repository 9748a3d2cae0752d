/* evaluate: images of the quantized model beside those of the full-precision one, from the same noise */
#include "run/evaluate_inner.h"

#include "eval/paired.h"

/* Errors of images and of latents; latent NULL: not both files hold them. */
static dmq_status pair_up(dmq_paired_sum *image, dmq_paired_sum *latent, const dmq_evaluating *v)
{
    dmq_images q = { 0 }, fp = { 0 };
    dmq_status st = DMQ_OK;

    for (int from = 0; from < v->q.n; from += DMQ_EVALUATE_BATCH) {
        int n = dmq_evaluate_batch(v->q.n, from);

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

dmq_status dmq_evaluate_pairs(dmq_evaluating *v, dmq_json *q)
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
    DMQ_TRY(dmq_evaluate_put(q, "mse", "paired-mse/same-noise", p.mse, n));
    DMQ_TRY(dmq_evaluate_put(q, "mse_bias", "paired-mse/mean-difference-image", p.bias, n));
    DMQ_TRY(dmq_evaluate_put(q, "mse_rest", "paired-mse/without-the-mean", p.rest, n));
    DMQ_TRY(dmq_evaluate_put(q, "psnr", "paired-psnr/peak-2", p.psnr, n));
    if (latent) {
        dmq_paired_result(&p, latent);
        DMQ_TRY(dmq_evaluate_put(q, "latent_mse", "paired-mse/latents/same-noise", p.mse, n));
    }
done:
    dmq_paired_destroy(image);
    dmq_paired_destroy(latent);
    return st;
}
