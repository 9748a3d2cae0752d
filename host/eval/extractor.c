#include "eval/extractor.h"

#include "backend/replay.h"
#include "base/memory.h"
#include "io/hash.h"
#include "model/features.h"
#include "model/inception.h"
#include "model/model_file.h"

#include <stdio.h>
#include <string.h>

/* Digits of a hash in an id. */
enum { DIGITS = 12 };

/* One thread's recording of Inception. */
typedef struct lane {
    dmq_tape *tape;
    dmq_var *x;
    dmq_inception_vars out;
    uint8_t *levels;      /* device memory, (group, h, w, 3), as large as in the run before */
    dmq_resize_args args; /* of levels */
    dmq_replay replay;    /* of resizing and the network */
} lane;

typedef struct state {
    dmq_model *model;
    dmq_lanes *lanes;
    dmq_resize resize;
    int group; /* images of a pass of Inception */
    lane *lane;
    int n_lanes;
} state;

/* ------------------------------------------------------------------ opening */

static const char *const resize_text[] = {
    [DMQ_RESIZE_TF1] = "tf1-resize", [DMQ_RESIZE_HALF_PIXEL] = "half-pixel-resize"
};

static dmq_status describe(dmq_extractor *x, const state *s, const char *path, const char *training)
{
    char hash[DMQ_HASH_TEXT];
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_hash_file(hash, path));
    if (!x->is_inception) {
        (void)snprintf(x->id, sizeof x->id, "features-%.*s", DIGITS, hash);
        x->pool = dmq_features_width(s->model);
        x->classes = dmq_features_config_of(s->model)->classes;
        goto done;
    }
    (void)snprintf(x->id, sizeof x->id, "inception-%.*s/%s", DIGITS,
                   dmq_inception_is_published(training) ? "2015-12-05" : hash,
                   resize_text[s->resize]);
    x->pool = DMQ_INCEPTION_POOL;
    x->spatial = DMQ_INCEPTION_SPATIAL;
    x->classes = DMQ_INCEPTION_CLASSES;
done:
    return st;
}

static dmq_status lane_open(lane *l, const state *s)
{
    dmq_shape shape = s->model->input;
    dmq_status st = DMQ_OK;

    shape.dim[0] = s->group;
    DMQ_TRY(dmq_tape_create(&l->tape, dmq_lanes_backend(s->lanes), DMQ_TAPE_FORWARD));
    l->x = dmq_tape_input(l->tape, "x", shape);
    l->out = dmq_inception_record(s->model, l->tape, l->x);
    dmq_tape_output(l->tape, l->out.pool);
    dmq_tape_output(l->tape, l->out.spatial);
    dmq_tape_output(l->tape, l->out.logits);
    DMQ_TRY(dmq_tape_plan(l->tape));
done:
    return st;
}

/* An image is 11 GFLOP. On a core the last blocks, of 8x8 pixels and half of the weights, want several; more than four
   gain 3 % and leave lanes without work. A device wants more at once. */
static dmq_status inception_open(state *s)
{
    const dmq_backend *be = dmq_lanes_backend(s->lanes);
    dmq_status st = DMQ_OK;

    s->group = be->host_memory ? 4 : be->shard;
    DMQ_TRY(dmq_alloc((void **)&s->lane, (size_t)dmq_lanes_count(s->lanes), sizeof *s->lane));
    s->n_lanes = dmq_lanes_count(s->lanes);
    for (int i = 0; i < s->n_lanes; i++)
        DMQ_TRY(lane_open(&s->lane[i], s));
done:
    return st;
}

static dmq_status load(dmq_extractor *x, state *s, const char *path)
{
    dmq_model_info info = { 0 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_model_load(&s->model, &info, path));
    x->is_inception = dmq_inception_is_folded(s->model);
    if (!x->is_inception && !dmq_features_is(s->model)) {
        st = dmq_fail(DMQ_EDATA, "%s is no feature network but a %s", path, s->model->arch->kind);
        st = dmq_fail_note(st, "  hint: dmq train with train.task: features makes one; dmq import "
                               "--network inception-2015-12-05 reads that of the FID");
        goto done;
    }
    DMQ_TRY(describe(x, s, path, info.training));
    DMQ_TRY(dmq_model_place(s->model, s->lanes));
    if (x->is_inception)
        DMQ_TRY(inception_open(s));
done:
    dmq_model_info_release(&info);
    return st;
}

dmq_status dmq_extractor_open(dmq_extractor **out, const char *path, dmq_resize resize,
                              dmq_lanes *lanes)
{
    dmq_extractor *x = NULL;
    dmq_status st = DMQ_OK;
    state *s = NULL;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&x, 1, sizeof *x));
    DMQ_TRY(dmq_alloc((void **)&s, 1, sizeof *s));
    x->state = s;
    s->lanes = lanes;
    s->resize = resize;
    DMQ_TRY(load(x, s, path));
    *out = x;
    x = NULL;
done:
    dmq_extractor_close(x);
    return st;
}

static void forget_levels(const state *s, lane *l)
{
    dmq_replay_drop(&l->replay, dmq_lanes_backend(s->lanes));
    dmq_lanes_backend(s->lanes)->free(l->levels);
    l->levels = NULL;
}

void dmq_extractor_close(dmq_extractor *extractor)
{
    state *s = extractor ? extractor->state : NULL;

    for (int i = 0; s && i < s->n_lanes; i++) {
        forget_levels(s, &s->lane[i]);
        dmq_tape_destroy(s->lane[i].tape);
    }
    if (s) {
        dmq_free(s->lane);
        dmq_model_destroy(s->model);
    }
    dmq_free(s);
    dmq_free(extractor);
}

dmq_status dmq_extractor_takes(const dmq_extractor *extractor, int h, int w, int c)
{
    const state *s = extractor->state;
    const int *d = s->model->input.dim;

    if (extractor->is_inception) {
        if (c == d[3] && h > 0 && w > 0)
            return DMQ_OK;
        return dmq_fail(DMQ_ESHAPE, "%s takes images with %d channels, these have %d",
                        extractor->id, d[3], c);
    }
    if (h == d[1] && w == d[2] && c == d[3])
        return DMQ_OK;
    return dmq_fail(DMQ_ESHAPE,
                    "%s takes images of %d x %d with %d channels, these are %d x %d with %d",
                    extractor->id, d[1], d[2], d[3], h, w, c);
}

/* ------------------------------------------------------------------ running */

typedef struct job {
    const state *state;
    const uint8_t *images;
    float *pool, *spatial, *logits;
    int n, h, w;
} job;

/* To 299x299 and [-1, 1], as the tools do that each resize is from. */
static dmq_resize_args resize_args(const job *j, const lane *l)
{
    dmq_resize_args a = { .rule = j->state->resize,
                          .x = l->levels,
                          .y = l->x->value,
                          .n = j->state->group,
                          .h = j->h,
                          .wd = j->w,
                          .c = 3,
                          .ho = DMQ_INCEPTION_SIZE,
                          .wo = DMQ_INCEPTION_SIZE,
                          .unit = 1,
                          .alpha = (dmq_real)1 / 128, /* exactly (level - 128)/128 */
                          .beta = -1 };

    if (a.rule == DMQ_RESIZE_HALF_PIXEL) { /* 2 (level/255) - 1 */
        a.unit = 255;
        a.alpha = 2;
    }
    return a;
}

/* There when the queue has been waited for. */
static dmq_status keep(const job *j, dmq_queue *queue, float *out, const dmq_var *v, int first,
                       int count)
{
    size_t width = (size_t)v->shape.dim[1];

    if (!out)
        return DMQ_OK;
    return dmq_lanes_backend(j->state->lanes)
        ->download(queue, out + (size_t)first * width, v->value,
                   (size_t)count * width * sizeof *out);
}

/* The levels of a group, padded by the last image. */
static dmq_status put_levels(const job *j, const lane *l, dmq_queue *queue, int first, int count)
{
    const dmq_backend *be = dmq_lanes_backend(j->state->lanes);
    size_t per = (size_t)j->h * (size_t)j->w * 3;
    const uint8_t *images = j->images + (size_t)first * per;
    dmq_status st = DMQ_OK;

    DMQ_TRY(be->upload(queue, l->levels, images, (size_t)count * per));
    for (int i = count; i < j->state->group; i++) {
        DMQ_TRY(be->upload(queue, l->levels + (size_t)i * per, images + (size_t)(count - 1) * per,
                           per));
    }
done:
    return st;
}

/* From levels to outputs; no number of it is the host's but those of the lane. */
static dmq_status pass(void *context, dmq_queue *queue)
{
    const lane *l = context;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_tape_backend(l->tape)->resize_levels(queue, &l->args));
    DMQ_TRY(dmq_tape_forward(l->tape, queue, DMQ_PART_ALL));
done:
    return st;
}

static dmq_status group_run(void *context, int piece, int lane_number, dmq_queue *queue)
{
    const job *j = context;
    const dmq_backend *be = dmq_lanes_backend(j->state->lanes);
    lane *l = &j->state->lane[lane_number];
    int group = j->state->group, first = piece * group;
    int count = j->n - first < group ? j->n - first : group;
    dmq_status st = DMQ_OK;

    DMQ_TRY(put_levels(j, l, queue, first, count));
    DMQ_TRY(j->state->n_lanes == 1 ? dmq_replay_run(&l->replay, be, queue, NULL, pass, l)
                                   : pass(l, queue));
    DMQ_TRY(keep(j, queue, j->pool, l->out.pool, first, count));
    DMQ_TRY(keep(j, queue, j->spatial, l->out.spatial, first, count));
    DMQ_TRY(keep(j, queue, j->logits, l->out.logits, first, count));
    DMQ_TRY(be->sync(queue));
done:
    return st;
}

static dmq_status run_inception(job *j)
{
    const state *s = j->state;
    const dmq_backend *be = dmq_lanes_backend(s->lanes);
    size_t bytes = (size_t)s->group * (size_t)j->h * (size_t)j->w * 3;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < s->n_lanes; i++) {
        lane *l = &s->lane[i];

        if (l->levels && l->args.h == j->h && l->args.wd == j->w)
            continue;
        forget_levels(s, l);
        DMQ_TRY(be->alloc((void **)&l->levels, bytes));
        l->args = resize_args(j, l);
    }
    DMQ_TRY(dmq_lanes_run(s->lanes, (j->n + s->group - 1) / s->group, group_run, j));
done:
    return st;
}

static dmq_status run_features(const job *j)
{
    size_t count = (size_t)j->n * dmq_shape_count(j->state->model->input);
    dmq_real *images = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&images, count, sizeof *images));
    for (size_t i = 0; i < count; i++) /* as dmq_images_export */
        images[i] = (dmq_real)((double)j->images[i] / 255 * 2 - 1);
    DMQ_TRY(dmq_features_run(j->pool, j->logits, j->state->model, j->state->lanes, images, j->n));
done:
    dmq_free(images);
    return st;
}

dmq_status dmq_extractor_run(const dmq_extractor *extractor, float *pool, float *spatial,
                             float *logits, const uint8_t *images, int n, int h, int w)
{
    const state *s = extractor->state;
    job j = { s, images, pool, spatial, logits, n, h, w };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_extractor_takes(extractor, h, w, s->model->input.dim[3]));
    if (n == 0)
        goto done;
    DMQ_TRY(extractor->is_inception ? run_inception(&j) : run_features(&j));
done:
    return st;
}
