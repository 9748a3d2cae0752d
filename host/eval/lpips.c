#include "eval/lpips.h"

#include "base/memory.h"
#include "io/hash.h"
#include "model/alexnet.h"
#include "model/model_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STAGES = DMQ_ALEXNET_STAGES, DIGITS = 12 };

/* Pairs of a pass. A pass holds both images of each. */
enum { GROUP = 4 };

typedef struct state {
    dmq_model *model;
    dmq_lanes *lanes;
    double *weight[STAGES]; /* (C) */
} state;

/* One thread's recording for the size of a call. */
typedef struct lane {
    dmq_tape *tape;
    dmq_var *x, *stage[STAGES];
    float *host; /* of one image: input, or the largest stage; of stages both images */
} lane;

typedef struct job {
    const state *state;
    const uint8_t *image[2]; /* q, f */
    double *out;
    int n, h, w;
    lane *lane;
} job;

/* ------------------------------------------------------------------ opening */

/* From where the parameters are read, before they are placed. */
static dmq_status keep_weights(state *s)
{
    dmq_status st = DMQ_OK;

    for (int i = 0; i < STAGES; i++) {
        int channels;
        const dmq_real *w = dmq_alexnet_channel_weights(&channels, s->model, i);

        DMQ_TRY(dmq_alloc((void **)&s->weight[i], (size_t)channels, sizeof(double)));
        for (int c = 0; c < channels; c++)
            s->weight[i][c] = (double)w[c];
    }
done:
    return st;
}

dmq_status dmq_lpips_open(dmq_lpips **out, const char *path, dmq_lanes *lanes)
{
    dmq_model_info info = { 0 };
    char hash[DMQ_HASH_TEXT];
    dmq_lpips *l = NULL;
    state *s = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&l, 1, sizeof *l));
    DMQ_TRY(dmq_alloc((void **)&s, 1, sizeof *s));
    l->state = s;
    s->lanes = lanes;
    DMQ_TRY(dmq_model_load(&s->model, &info, path));
    if (!dmq_alexnet_is(s->model)) {
        st = dmq_fail(DMQ_EDATA, "%s is no network of LPIPS but a %s", path, s->model->arch->kind);
        st = dmq_fail_note(st, "  hint: dmq import --network lpips-alex makes one");
        goto done;
    }
    DMQ_TRY(dmq_hash_file(hash, path));
    (void)snprintf(l->id, sizeof l->id, "lpips-alex-%.*s", DIGITS, hash);
    DMQ_TRY(keep_weights(s));
    DMQ_TRY(dmq_model_place(s->model, lanes));
    *out = l;
    l = NULL;
done:
    dmq_model_info_release(&info);
    dmq_lpips_close(l);
    return st;
}

void dmq_lpips_close(dmq_lpips *lpips)
{
    state *s = lpips ? lpips->state : NULL;

    for (int i = 0; s && i < STAGES; i++)
        dmq_free(s->weight[i]);
    if (s)
        dmq_model_destroy(s->model);
    dmq_free(s);
    dmq_free(lpips);
}

/* ------------------------------------------------------------------ running */

static size_t per_image(const dmq_var *v)
{
    return dmq_shape_count(v->shape) / (size_t)v->shape.dim[0];
}

static dmq_status lane_open(lane *l, const job *j)
{
    size_t most;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_tape_create(&l->tape, dmq_lanes_backend(j->state->lanes), DMQ_TAPE_FORWARD));
    l->x = dmq_tape_input(l->tape, "x", dmq_shape4(2 * GROUP, j->h, j->w, 3));
    dmq_alexnet_record(l->stage, j->state->model, l->tape, l->x);
    for (int i = 0; i < STAGES; i++)
        dmq_tape_output(l->tape, l->stage[i]);
    DMQ_TRY(dmq_tape_plan(l->tape));
    most = per_image(l->x);
    for (int i = 0; i < STAGES; i++) {
        size_t both = 2 * per_image(l->stage[i]);

        most = both > most ? both : most;
    }
    DMQ_TRY(dmq_alloc((void **)&l->host, most, sizeof *l->host));
done:
    return st;
}

static void scale(float *out, const uint8_t *image, size_t n)
{
    static const double shift[3] = { -0.030, -0.088, -0.188 }, by[3] = { 0.458, 0.448, 0.450 };

    for (size_t i = 0; i < n; i++)
        out[i] = (float)(((double)image[i] / 127.5 - 1 - shift[i % 3]) / by[i % 3]);
}

/* Image 2 p of a pass is q, 2 p + 1 is f, of pair first + p; the last pair fills up. */
static dmq_status upload(const job *j, const lane *l, int first, int count, dmq_queue *queue)
{
    const dmq_backend *be = dmq_lanes_backend(j->state->lanes);
    size_t per = per_image(l->x);
    dmq_status st = DMQ_OK;

    for (int i = 0; i < 2 * GROUP; i++) {
        int p = i / 2 < count ? i / 2 : count - 1;

        scale(l->host, j->image[i % 2] + (size_t)(first + p) * per, per);
        DMQ_TRY(be->upload(queue, l->x->value + (size_t)i * per, l->host, per * sizeof *l->host));
        DMQ_TRY(be->sync(queue)); /* the next image takes its place */
    }
done:
    return st;
}

static double inverse_length(const float *f, size_t channels)
{
    double sum = 0;

    for (size_t c = 0; c < channels; c++)
        sum += (double)f[c] * (double)f[c];
    return 1 / (sqrt(sum) + 1e-10);
}

/* Mean over pixels of one stage of one pair; q, f: (pixels, channels). */
static double stage_distance(const float *q, const float *f, size_t pixels, size_t channels,
                             const double *weight)
{
    double total = 0;

    for (size_t p = 0; p < pixels; p++, q += channels, f += channels) {
        double of_q = inverse_length(q, channels), of_f = inverse_length(f, channels);

        for (size_t c = 0; c < channels; c++) {
            double difference = (double)q[c] * of_q - (double)f[c] * of_f;

            total += weight[c] * difference * difference;
        }
    }
    return total / (double)pixels;
}

static dmq_status pair_distance(const job *j, const lane *l, int at, double *out, dmq_queue *queue)
{
    const dmq_backend *be = dmq_lanes_backend(j->state->lanes);
    dmq_status st = DMQ_OK;

    *out = 0;
    for (int i = 0; i < STAGES; i++) {
        const dmq_var *v = l->stage[i];
        size_t per = per_image(v), channels = (size_t)v->shape.dim[3];

        DMQ_TRY(be->download(queue, l->host, v->value + 2 * (size_t)at * per,
                             2 * per * sizeof *l->host));
        DMQ_TRY(be->sync(queue));
        *out +=
            stage_distance(l->host, l->host + per, per / channels, channels, j->state->weight[i]);
    }
done:
    return st;
}

static dmq_status group_run(void *context, int piece, int lane_number, dmq_queue *queue)
{
    const job *j = context;
    const lane *l = &j->lane[lane_number];
    int first = piece * GROUP, count = j->n - first < GROUP ? j->n - first : GROUP;
    dmq_status st = DMQ_OK;

    DMQ_TRY(upload(j, l, first, count, queue));
    DMQ_TRY(dmq_tape_forward(l->tape, queue, DMQ_PART_ALL));
    for (int i = 0; i < count; i++)
        DMQ_TRY(pair_distance(j, l, i, &j->out[first + i], queue));
done:
    return st;
}

dmq_status dmq_lpips_run(double *out, const dmq_lpips *lpips, const uint8_t *q, const uint8_t *f,
                         int n, int h, int w)
{
    const state *s = lpips->state;
    job j = { .state = s, .image = { q, f }, .n = n, .h = h, .w = w };
    int lanes = dmq_lanes_count(s->lanes);
    dmq_status st = DMQ_OK;

    if (h < DMQ_LPIPS_LEAST || w < DMQ_LPIPS_LEAST) {
        st = dmq_fail(DMQ_ESHAPE, "%s takes images from %d x %d on, these are %d x %d", lpips->id,
                      DMQ_LPIPS_LEAST, DMQ_LPIPS_LEAST, h, w);
        goto done;
    }
    j.out = out;
    DMQ_TRY(dmq_alloc((void **)&j.lane, (size_t)lanes, sizeof *j.lane));
    for (int i = 0; i < lanes; i++)
        DMQ_TRY(lane_open(&j.lane[i], &j));
    DMQ_TRY(dmq_lanes_run(s->lanes, (n + GROUP - 1) / GROUP, group_run, &j));
done:
    for (int i = 0; j.lane && i < lanes; i++) {
        dmq_tape_destroy(j.lane[i].tape);
        dmq_free(j.lane[i].host);
    }
    dmq_free(j.lane);
    return st;
}
