#include "model/decode.h"

#include "base/memory.h"
#include "base/signal.h"

#include <assert.h>
#include <math.h>

typedef struct lane {
    dmq_tape *tape;
    dmq_var *z, *image;
    dmq_real *host; /* (h, w, embed_dim) */
} lane;

struct dmq_decode {
    const dmq_backend *be;
    dmq_lanes *lanes;
    double scale_factor;
    size_t per_latent, per_image; /* numbers */
    lane *lane;
    int n_lanes;
};

typedef struct job {
    dmq_decode *d;
    dmq_real *images;
    const dmq_real *latents;
    void (*done)(void *context, int image);
    void *context;
} job;

static dmq_status lane_create(const dmq_decode *d, lane *l, const dmq_model *model)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_tape_create(&l->tape, d->be, DMQ_TAPE_FORWARD));
    l->z = dmq_tape_input(l->tape, "latent", model->input);
    l->image = dmq_decoder_record(model, l->tape, l->z, NULL);
    dmq_tape_output(l->tape, l->image);
    DMQ_TRY(dmq_tape_plan(l->tape));
    DMQ_TRY(dmq_alloc((void **)&l->host, d->per_latent, sizeof *l->host));
done:
    return st;
}

dmq_status dmq_decode_create(dmq_decode **out, const dmq_model *model, double scale_factor,
                             dmq_lanes *lanes)
{
    dmq_status st = DMQ_OK;
    dmq_decode *d = NULL;

    assert(scale_factor > 0);
    if (!dmq_decoder_is(model)) {
        return dmq_fail(DMQ_EDATA, "decode: the model is of kind %s, not decoder",
                        model->arch->kind);
    }
    DMQ_TRY(dmq_alloc((void **)&d, 1, sizeof *d));
    d->be = dmq_lanes_backend(lanes);
    d->lanes = lanes;
    d->scale_factor = scale_factor;
    d->per_latent = dmq_shape_count(model->input);
    d->per_image = dmq_shape_count(dmq_decoder_image(model));
    DMQ_TRY(dmq_alloc((void **)&d->lane, (size_t)dmq_lanes_count(lanes), sizeof *d->lane));
    d->n_lanes = dmq_lanes_count(lanes);
    for (int i = 0; i < d->n_lanes; i++)
        DMQ_TRY(lane_create(d, &d->lane[i], model));
    *out = d;
    d = NULL;
done:
    dmq_decode_destroy(d);
    return st;
}

void dmq_decode_destroy(dmq_decode *decode)
{
    if (!decode)
        return;
    for (int i = 0; i < decode->n_lanes; i++) {
        dmq_tape_destroy(decode->lane[i].tape);
        dmq_free(decode->lane[i].host);
    }
    dmq_free(decode->lane);
    dmq_free(decode);
}

static dmq_status image_run(void *context, int piece, int lane_number, dmq_queue *queue)
{
    dmq_status st = DMQ_OK;
    const job *j = context;
    const dmq_decode *d = j->d;
    lane *l = &d->lane[lane_number];
    const dmq_real *latent = j->latents + (size_t)piece * d->per_latent;
    dmq_real *image = j->images + (size_t)piece * d->per_image;

    if (dmq_stop_requested())
        return dmq_fail(DMQ_ESTOP, "decode: stopped by signal %d", dmq_stop_signal());
    for (size_t k = 0; k < d->per_latent; k++)
        l->host[k] = latent[k] / (dmq_real)d->scale_factor;
    DMQ_TRY(d->be->upload(queue, l->z->value, l->host, d->per_latent * sizeof *l->host));
    DMQ_TRY(dmq_tape_forward(l->tape, queue, DMQ_PART_ALL));
    DMQ_TRY(d->be->download(queue, image, l->image->value, d->per_image * sizeof *image));
    DMQ_TRY(d->be->sync(queue));
    for (size_t k = 0; k < d->per_image; k++) {
        if (!isfinite(image[k])) {
            st = dmq_fail(DMQ_EDIVERGE, "decode: image %d holds a number that is NaN or infinite",
                          piece);
            goto done;
        }
    }
    if (j->done)
        j->done(j->context, piece);
done:
    return st;
}

dmq_status dmq_decode_run(dmq_decode *decode, dmq_real *images, const dmq_real *latents, int n,
                          void (*done)(void *context, int image), void *context)
{
    job j = { decode, images, latents, done, context };

    return dmq_lanes_run(decode->lanes, n, image_run, &j);
}

size_t dmq_decode_bytes(const dmq_decode *decode)
{
    size_t bytes = 0;

    for (int i = 0; i < decode->n_lanes; i++)
        bytes += dmq_tape_bytes(decode->lane[i].tape);
    return bytes;
}
