/* sample: images of the full-precision or the quantized model -> images-fp.h5, images-q.h5

   The job is cut into pieces of sample.batch images, rounded up to whole groups, each with a file of its
   own in ckpt/ until all are there: a stopped job goes on with the next piece, and shards of a job are
   runs over some of its pieces. No cut changes a bit of any image (diffusion/sample.h, model/decode.h).

   With a first stage the network samples latents, which are decoded piece by piece. */
#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "base/progress.h"
#include "diffusion/labels.h"
#include "diffusion/sample.h"
#include "eval/images.h"
#include "io/file.h"
#include "model/decode.h"
#include "quant/hooks.h"
#include "quant/quant_file.h"
#include "run/stage.h"

#include <stdio.h>
#include <string.h>

/* Images that a piece has a multiple of: a group of a CPU, and the same cut on every device. */
enum { WHOLE = 8 };

typedef struct sampling {
    dmq_job *job;
    const char *what; /* "fp" or "q" */
    int count, piece, n_pieces;
    uint64_t seed;
    size_t per, per_latent; /* numbers of an image, and of what the network makes */
    int keep_latents;
    dmq_labels labels; /* n_classes 0: the network knows none */
    /* There when the first piece is made. */
    dmq_sample *sampler;
    dmq_decode *decode; /* NULL: no first stage */
} sampling;

static dmq_status piece_path(char **out, const sampling *s, int i)
{
    char name[64];

    (void)snprintf(name, sizeof name, "ckpt/images-%s-%08d.h5", s->what, i * s->piece);
    return dmq_folder_file(out, s->job->folder, name);
}

static int piece_count(const sampling *s, int i)
{
    int left = s->count - i * s->piece;

    return left < s->piece ? left : s->piece;
}

/* Whether a piece is complete and of this key; one that is anything else, or damaged, is made again. */
static dmq_status look(int *done, const sampling *s, int i)
{
    dmq_images images = { 0 };
    char *path = NULL;
    dmq_status st = DMQ_OK;

    *done = 0;
    DMQ_TRY(piece_path(&path, s, i));
    if (!dmq_file_exists(path))
        goto done;
    st = dmq_images_load(&images, path, s->job->key);
    *done = st == DMQ_OK && images.n == piece_count(s, i) && !images.latents == !s->keep_latents &&
            !images.label == (s->labels.n_classes == 0);
    if (st != DMQ_ENOMEM)
        st = DMQ_OK;
done:
    dmq_images_release(&images);
    dmq_free(path);
    return st;
}

/* Room for n images, and for the latents that they are made of. */
static dmq_status images_create(dmq_images *out, const sampling *s, int n, int latents)
{
    const dmq_experiment *e = s->job->experiment;
    dmq_status st = DMQ_OK;

    *out = (dmq_images){ .n = n, .one = e->image, .one_latent = e->model->input };
    DMQ_TRY(dmq_alloc((void **)&out->data, (size_t)n * s->per, sizeof(dmq_real)));
    if (latents)
        DMQ_TRY(dmq_alloc((void **)&out->latents, (size_t)n * s->per_latent, sizeof(dmq_real)));
    if (s->labels.n_classes > 0)
        DMQ_TRY(dmq_alloc((void **)&out->label, (size_t)n, sizeof *out->label));
done:
    return st;
}

static void progress(void *context, uint64_t first, int n)
{
    (void)context;
    (void)first;
    dmq_progress_add(n, "");
}

static void decoded(void *context, int image)
{
    (void)context;
    (void)image;
    dmq_progress_add(1, "");
}

/* An image counts when it is there: with a first stage, when it is decoded. */
static dmq_status run_piece(const sampling *s, int i)
{
    dmq_sample_watch watch = { .done = s->decode ? NULL : progress };
    dmq_images images = { 0 };
    dmq_real *made;
    uint64_t first = (uint64_t)i * (uint64_t)s->piece;
    dmq_status st = DMQ_OK;
    char *path = NULL;

    DMQ_TRY(piece_path(&path, s, i));
    DMQ_TRY(images_create(&images, s, piece_count(s, i), s->decode != NULL));
    made = s->decode ? images.latents : images.data;
    if (images.label)
        DMQ_TRY(dmq_labels_fill(images.label, &s->labels, first, images.n));
    DMQ_TRY(
        dmq_sample_run(s->sampler, made, s->seed, first, (uint64_t)images.n, images.label, &watch));
    if (s->decode)
        DMQ_TRY(dmq_decode_run(s->decode, images.data, images.latents, images.n, decoded, NULL));
    if (!s->keep_latents) {
        dmq_free(images.latents);
        images.latents = NULL;
    }
    DMQ_TRY(dmq_images_save(path, &images, (int64_t)i * s->piece, s->job->key));
done:
    dmq_images_release(&images);
    dmq_free(path);
    return st;
}

static dmq_status load_piece(dmq_images *out, const sampling *s, int i)
{
    char *path = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(piece_path(&path, s, i));
    DMQ_TRY(dmq_images_load(out, path, s->job->key));
done:
    dmq_free(path);
    return st;
}

static dmq_status remove_piece(const sampling *s, int i)
{
    char *path = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(piece_path(&path, s, i));
    DMQ_TRY(dmq_file_remove(path));
done:
    dmq_free(path);
    return st;
}

/* All pieces are there: one file, and the pieces go. One piece at a time is in memory. */
static dmq_status join(const sampling *s)
{
    dmq_images part = { 0 };
    dmq_h5 *file = NULL;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < s->n_pieces; i++) {
        DMQ_TRY(load_piece(&part, s, i));
        if (!file)
            DMQ_TRY(dmq_images_begin(&file, s->job->out, &part, s->count, 0, s->job->key));
        DMQ_TRY(dmq_images_put(file, i * s->piece, &part));
        dmq_images_release(&part);
    }
    DMQ_TRY(dmq_h5_commit(file));
    for (int i = 0; i < s->n_pieces; i++)
        DMQ_TRY(remove_piece(s, i));
done:
    dmq_images_release(&part);
    dmq_h5_close(file);
    return st;
}

/* Whose turn it is: with shards, every n-th piece. */
static int mine(const dmq_job *job, int i)
{
    return !job->merge && (job->n_shards == 0 || i % job->n_shards == job->shard - 1);
}

static dmq_status makers_create(sampling *s, const dmq_hook_source *source)
{
    const dmq_experiment *e = s->job->experiment;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_sample_create(&s->sampler, e->model, e->sampler, source, e->lanes));
    if (e->first.model)
        DMQ_TRY(dmq_decode_create(&s->decode, e->first.model, e->first.scale_factor, e->lanes));
done:
    return st;
}

static dmq_status run_pieces(sampling *s, const dmq_hook_source *source)
{
    int made;
    dmq_status st = DMQ_OK;

    dmq_progress_begin(strcmp(s->what, "fp") == 0 ? "sample-fp" : "sample", s->count, 0, "images");
    for (int i = 0; i < s->n_pieces; i++) {
        if (!mine(s->job, i))
            continue;
        DMQ_TRY(look(&made, s, i));
        if (made) {
            dmq_progress_add(piece_count(s, i), "");
            continue;
        }
        if (!s->sampler)
            DMQ_TRY(makers_create(s, source));
        DMQ_TRY(run_piece(s, i));
    }
    dmq_progress_end();
done:
    dmq_decode_destroy(s->decode);
    dmq_sample_destroy(s->sampler);
    return st;
}

/* Pieces that nobody made; the first of them in *first. */
static dmq_status count_missing(int *missing, int *first, const sampling *s)
{
    int made;
    dmq_status st = DMQ_OK;

    for (int i = s->n_pieces - 1; i >= 0; i--) {
        DMQ_TRY(look(&made, s, i));
        if (made)
            continue;
        *first = i;
        ++*missing;
    }
done:
    return st;
}

static dmq_status sample(dmq_job *job, const char *what, const dmq_hook_source *source)
{
    const dmq_experiment *e = job->experiment;
    int batch = dmq_config_int(e->config, "sample.batch"), first = 0, missing = 0;
    sampling s = { .job = job,
                   .what = what,
                   .count = dmq_config_int(e->config, "sample.count"),
                   .piece = (batch + WHOLE - 1) / WHOLE * WHOLE,
                   .seed = (uint64_t)dmq_config_int64(e->config, "sample.seed"),
                   .per = dmq_shape_count(e->image),
                   .per_latent = dmq_shape_count(e->model->input),
                   .keep_latents =
                       e->first.model && dmq_config_bool(e->config, "first_stage.keep_latents") };
    dmq_status st = DMQ_OK;

    if (e->model->n_labels > 0) {
        s.labels =
            (dmq_labels){ .choice = (dmq_label_choice)dmq_config_enum(e->config, "sample.labels"),
                          .one = dmq_config_int(e->config, "sample.class"),
                          .n_classes = e->model->n_classes,
                          .seed = s.seed };
    }
    s.n_pieces = (s.count + s.piece - 1) / s.piece;
    DMQ_TRY(dmq_disk_check(job->folder->path, 2 * (uint64_t)s.count *
                                                  (s.per + (s.keep_latents ? s.per_latent : 0)) *
                                                  sizeof(float)));
    DMQ_TRY(run_pieces(&s, source));
    if (job->n_shards > 0 || job->merge)
        DMQ_TRY(count_missing(&missing, &first, &s));
    if (missing > 0 && job->merge) {
        st =
            dmq_fail(DMQ_ENOINPUT, "%s: %d of %d pieces are missing, the first is that of image %d",
                     job->folder->path, missing, s.n_pieces, first * s.piece);
        st = dmq_fail_note(st, "  hint: run the shards that are left, with the same sample.batch");
        goto done;
    }
    job->incomplete = missing > 0 || !dmq_folder_claim(job->folder);
    if (missing > 0) {
        dmq_log_info("sample: shard %d of %d is done; %d pieces are left to others", job->shard,
                     job->n_shards, missing);
    } else if (job->incomplete) {
        dmq_log_info("sample: all pieces are there, but others work here still: "
                     "dmq sample --merge joins them");
    } else {
        DMQ_TRY(join(&s));
    }
done:
    return st;
}

dmq_status dmq_stage_sample_fp(dmq_job *job)
{
    return sample(job, "fp", NULL);
}

dmq_status dmq_stage_sample(dmq_job *job)
{
    const dmq_experiment *e = job->experiment;
    dmq_qmodel *q = NULL;
    dmq_attach attach;
    dmq_hook_source source;
    char *path = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_folder_file(&path, job->folder, dmq_stages[DMQ_RUN_QUANTIZE].file));
    DMQ_TRY(dmq_quant_load(&q, path, e->model, e->model_hash, e->sampler));
    DMQ_TRY(dmq_qmodel_place(q, e->lanes));
    dmq_attach_init(&attach, q);
    attach.acts = q->table_rows > 0;
    source = dmq_attach_source(&attach);
    DMQ_TRY(sample(job, "q", &source));
done:
    dmq_qmodel_destroy(q);
    dmq_free(path);
    return st;
}
