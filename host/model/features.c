#include "model/features.h"

#include "base/memory.h"
#include "model/build.h"
#include "model/config_text.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/** Entries of one stage. */
typedef struct stage {
    int conv[2], norm[2];
} stage;

typedef struct net {
    dmq_features_config config; /**< first: dmq_model.config is also one of these */
    stage stage[DMQ_FEATURES_STAGES];
    int classify;
} net;

static const dmq_arch arch = { .kind = "features" };

/* ------------------------------------------------------------------ making one */

static dmq_status check(const dmq_features_config *c)
{
    const struct {
        const char *key;
        int value, low, high;
    } range[] = {
        { "resolution", c->resolution, 1, 1024 },
        { "channels", c->channels, 1, 1024 },
        { "classes", c->classes, 2, 100000 },
        { "number of stages in width", c->n_stages, 1, DMQ_FEATURES_STAGES },
        { "norm_groups", c->norm_groups, 1, 4096 },
    };

    for (size_t i = 0; i < sizeof range / sizeof *range; i++) {
        if (range[i].value < range[i].low || range[i].value > range[i].high) {
            return dmq_fail(DMQ_EINVAL, "features: %s = %d: must be %d..%d", range[i].key,
                            range[i].value, range[i].low, range[i].high);
        }
    }
    for (int i = 0; i < c->n_stages; i++) {
        if (c->width[i] < 1 || c->width[i] > 4096 || c->width[i] % c->norm_groups) {
            return dmq_fail(DMQ_EINVAL,
                            "features: width = %d: must be 1..4096, and norm_groups = %d divide it",
                            c->width[i], c->norm_groups);
        }
    }
    if (c->resolution % (1 << (c->n_stages - 1))) {
        return dmq_fail(DMQ_EINVAL,
                        "features: resolution = %d cannot be halved %d times for %d stages",
                        c->resolution, c->n_stages - 1, c->n_stages);
    }
    return DMQ_OK;
}

static dmq_status text_of(char **out, const dmq_features_config *c)
{
    char text[DMQ_CONFIG_TEXT];
    size_t n;

    snprintf(text, sizeof text, "resolution: %d\nchannels: %d\nclasses: %d\n", c->resolution,
             c->channels, c->classes);
    dmq_config_text_list(text, sizeof text, "width", c->width, c->n_stages);
    n = strlen(text);
    snprintf(text + n, sizeof text - n, "norm_groups: %d\n", c->norm_groups);
    return dmq_strdup(out, text);
}

static dmq_status build(dmq_model **out, net *f)
{
    const dmq_features_config *c = &f->config;
    dmq_build b;
    dmq_status st = dmq_build_begin(&b, &arch);
    int in = c->channels;

    if (st != DMQ_OK)
        return st;
    for (int i = 0; i < c->n_stages; i++) {
        for (int k = 0; k < 2; k++) {
            char name[DMQ_NAME_MAX];
            snprintf(name, sizeof name, "stage.%d.conv_%d", i, k);
            f->stage[i].conv[k] = dmq_build_weights(&b, DMQ_LAYER_CONV, c->width[i], in, 3, name);
            snprintf(name, sizeof name, "stage.%d.norm_%d", i, k);
            f->stage[i].norm[k] = dmq_build_norm(&b, c->width[i], name);
            in = c->width[i];
        }
    }
    f->classify = dmq_build_weights(&b, DMQ_LAYER_LINEAR, c->classes, in, 1, "classify");
    return dmq_build_finish(out, &b);
}

dmq_status dmq_features_create(dmq_model **out, const dmq_features_config *config)
{
    dmq_status st = DMQ_OK;
    dmq_model *m = NULL;
    void *memory = NULL;

    DMQ_TRY(check(config));
    DMQ_TRY(dmq_alloc(&memory, 1, sizeof(net)));
    ((net *)memory)->config = *config;
    DMQ_TRY(build(&m, memory));
    m->input = dmq_shape4(1, config->resolution, config->resolution, config->channels);
    m->config = memory;
    memory = NULL;
    DMQ_TRY(text_of(&m->config_text, config));
    *out = m;
    m = NULL;
done:
    dmq_free(memory);
    dmq_model_destroy(m);
    return st;
}

dmq_status dmq_features_create_text(dmq_model **out, const char *config_text)
{
    dmq_status st = DMQ_OK;
    dmq_features_config c = { 0 };
    dmq_model *m = NULL;

    DMQ_TRY(dmq_config_text_int(&c.resolution, config_text, "resolution"));
    DMQ_TRY(dmq_config_text_int(&c.channels, config_text, "channels"));
    DMQ_TRY(dmq_config_text_int(&c.classes, config_text, "classes"));
    DMQ_TRY(dmq_config_text_ints(c.width, &c.n_stages, DMQ_FEATURES_STAGES, config_text, "width"));
    DMQ_TRY(dmq_config_text_int(&c.norm_groups, config_text, "norm_groups"));
    DMQ_TRY(dmq_features_create(&m, &c));
    st = dmq_build_understood(out, &m, config_text);
done:
    dmq_model_destroy(m);
    return st;
}

int dmq_features_is(const dmq_model *model)
{
    return model->arch == &arch;
}

const dmq_features_config *dmq_features_config_of(const dmq_model *model)
{
    assert(dmq_features_is(model));
    return model->config;
}

int dmq_features_width(const dmq_model *model)
{
    const dmq_features_config *c = dmq_features_config_of(model);
    return c->width[c->n_stages - 1];
}

/* ------------------------------------------------------------------ recording and running */

void dmq_features_record(dmq_var **features, dmq_var **logits, const dmq_model *model,
                         dmq_tape *tape, dmq_var *x)
{
    const net *f = model->config;
    const dmq_features_config *c = dmq_features_config_of(model);
    const dmq_pad same = { 1, 1, 1, 1 };
    dmq_var *h = x;

    for (int i = 0; i < c->n_stages; i++) {
        for (int k = 0; k < 2; k++) {
            int conv = f->stage[i].conv[k], norm = f->stage[i].norm[k];
            h = dmq_record_conv2d(tape, h, dmq_model_leaf(model, tape, conv),
                                  dmq_model_leaf(model, tape, conv + 1), i > 0 && k == 0 ? 2 : 1,
                                  same);
            h = dmq_record_group_norm(tape, h, dmq_model_leaf(model, tape, norm),
                                      dmq_model_leaf(model, tape, norm + 1), c->norm_groups, 1e-5);
            h = dmq_record_unary(tape, DMQ_SILU, h);
        }
    }
    h = dmq_record_avg_pool(tape, h, c->resolution >> (c->n_stages - 1));
    *features =
        h ? dmq_record_reshape(tape, h, dmq_shape2(h->shape.dim[0], h->shape.dim[3])) : NULL;
    *logits = dmq_record_linear(tape, *features, dmq_model_leaf(model, tape, f->classify),
                                dmq_model_leaf(model, tape, f->classify + 1));
}

typedef struct lane {
    dmq_tape *tape;
    dmq_var *x, *features, *logits;
    dmq_real *host; /**< (group, larger of F and classes) */
} lane;

typedef struct job {
    const dmq_model *model;
    const dmq_backend *be;
    const dmq_real *images;
    dmq_real *features, *logits;
    int n, n_lanes, group;
    size_t per;
    lane *lane;
} job;

static dmq_status lane_create(job *j, lane *l)
{
    dmq_status st = DMQ_OK;
    dmq_shape shape = j->model->input;
    int classes = dmq_features_config_of(j->model)->classes, width = dmq_features_width(j->model);

    shape.dim[0] = j->group;
    DMQ_TRY(dmq_tape_create(&l->tape, j->be, DMQ_TAPE_FORWARD));
    l->x = dmq_tape_input(l->tape, "x", shape);
    dmq_features_record(&l->features, &l->logits, j->model, l->tape, l->x);
    dmq_tape_output(l->tape, l->features);
    dmq_tape_output(l->tape, l->logits);
    DMQ_TRY(dmq_tape_plan(l->tape));
    DMQ_TRY(dmq_alloc((void **)&l->host, (size_t)(j->group * (classes > width ? classes : width)),
                      sizeof *l->host));
done:
    return st;
}

static dmq_status keep(const job *j, lane *l, dmq_queue *queue, dmq_real *out, const dmq_var *v,
                       int first, int count)
{
    dmq_status st = DMQ_OK;
    size_t width = (size_t)v->shape.dim[1];

    if (!out)
        return DMQ_OK;
    DMQ_TRY(j->be->download(queue, l->host, v->value, (size_t)j->group * width * sizeof *l->host));
    DMQ_TRY(j->be->sync(queue));
    memcpy(out + (size_t)first * width, l->host, (size_t)count * width * sizeof *out);
done:
    return st;
}

static dmq_status group_run(void *context, int piece, int lane_number, dmq_queue *queue)
{
    dmq_status st = DMQ_OK;
    const job *j = context;
    lane *l = &j->lane[lane_number];
    int first = piece * j->group, count = j->n - first < j->group ? j->n - first : j->group;

    for (int i = 0; i < j->group; i++) { /* padded by the last image */
        int n = first + (i < count ? i : count - 1);
        const dmq_real *image = j->images + (size_t)n * j->per;

        for (size_t k = 0; k < j->per; k++) {
            if (!isfinite(image[k]))
                return dmq_fail(DMQ_EDATA, "features: image %d is not finite", n);
        }
        DMQ_TRY(
            j->be->upload(queue, l->x->value + (size_t)i * j->per, image, j->per * sizeof *image));
    }
    DMQ_TRY(dmq_tape_forward(l->tape, queue, DMQ_PART_ALL));
    DMQ_TRY(keep(j, l, queue, j->features, l->features, first, count));
    DMQ_TRY(keep(j, l, queue, j->logits, l->logits, first, count));
done:
    return st;
}

dmq_status dmq_features_run(dmq_real *features, dmq_real *logits, const dmq_model *model,
                            dmq_lanes *lanes, const dmq_real *images, int n)
{
    dmq_status st = DMQ_OK;
    job j = { .model = model,
              .be = dmq_lanes_backend(lanes),
              .images = images,
              .features = features,
              .logits = logits,
              .n = n,
              .group = dmq_lanes_backend(lanes)->shard,
              .per = dmq_shape_count(model->input) };

    assert(n > 0);
    if (!dmq_features_is(model)) {
        return dmq_fail(DMQ_EDATA, "features: the model is of kind %s, not features",
                        model->arch->kind);
    }
    DMQ_TRY(dmq_alloc((void **)&j.lane, (size_t)dmq_lanes_count(lanes), sizeof *j.lane));
    j.n_lanes = dmq_lanes_count(lanes);
    for (int i = 0; i < j.n_lanes; i++)
        DMQ_TRY(lane_create(&j, &j.lane[i]));
    DMQ_TRY(dmq_lanes_run(lanes, (n + j.group - 1) / j.group, group_run, &j));
done:
    for (int i = 0; i < j.n_lanes; i++) {
        dmq_tape_destroy(j.lane[i].tape);
        dmq_free(j.lane[i].host);
    }
    dmq_free(j.lane);
    return st;
}
