#include "model/inception.h"

#include "base/memory.h"
#include "model/build.h"
#include "model/config_text.h"
#include "tape/ops.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* One convolution: how many entries it has in the two forms, and which of them is what. */
enum { WEIGHT, BIAS, FOLDED };
enum { GAMMA = 1, BETA, MEAN, VARIANCE, PUBLISHED };

#define NORM_EPS 1e-3

typedef struct net {
    int folded;
    int convolutions;
    int fc; /* entry of its weight; the bias follows */
} net;

static const dmq_arch arch = { .kind = "inception" };

/* ------------------------------------------------------------------ the network, told once */

/*
 * The same walk lays the entries out and records them: with a builder it makes entries, with a tape it takes
 * them in their order. A value then is a variable or its channels alone.
 */
typedef struct value {
    dmq_var *var; /* NULL while building */
    int channels;
} value;

typedef struct walk {
    dmq_build *build; /* NULL while recording */
    const dmq_model *model;
    dmq_tape *tape;
    const net *net;
    const char *block; /* "Mixed_5b"; NULL: none */
    int convolutions;  /* so far */
    value kept;        /* Mixed_6d.branch1x1 */
} walk;

/* Kernel, stride and padding of a convolution. */
typedef struct window {
    int r, s, stride, pad_r, pad_s;
} window;

static const window by_1x1 = { 1, 1, 1, 0, 0 }, by_3x3 = { 3, 3, 1, 1, 1 },
                    inner_3x3 = { 3, 3, 1, 0, 0 }, half_3x3 = { 3, 3, 2, 0, 0 },
                    by_5x5 = { 5, 5, 1, 2, 2 }, by_1x7 = { 1, 7, 1, 0, 3 },
                    by_7x1 = { 7, 1, 1, 3, 0 }, by_1x3 = { 1, 3, 1, 0, 1 },
                    by_3x1 = { 3, 1, 1, 1, 0 };

static void add_entries(walk *w, const char *layer, int out, int in, const window *by)
{
    static const char *const norm[] = { "weight", "bias", "running_mean", "running_var" };
    char name[2 * DMQ_NAME_MAX];

    (void)snprintf(name, sizeof name, "%s.conv.weight", layer);
    (void)dmq_build_entry(w->build, dmq_shape4(out, by->r, by->s, in), 1, name);
    if (w->net->folded) {
        (void)snprintf(name, sizeof name, "%s.conv.bias", layer);
        (void)dmq_build_entry(w->build, dmq_shape1(out), 0, name);
        return;
    }
    for (int i = 0; i < 4; i++) {
        (void)snprintf(name, sizeof name, "%s.bn.%s", layer, norm[i]);
        (void)dmq_build_entry(w->build, dmq_shape1(out), 0, name);
    }
}

static value convolve(walk *w, value x, const char *name, int out, const window *by)
{
    char layer[DMQ_NAME_MAX];
    int at = w->convolutions++ * FOLDED;
    dmq_var *h;

    (void)snprintf(layer, sizeof layer, "%s%s%s", w->block ? w->block : "", w->block ? "." : "",
                   name);
    if (w->build) {
        add_entries(w, layer, out, x.channels, by);
        return (value){ NULL, out };
    }
    h = dmq_record_conv2d(w->tape, x.var, dmq_model_leaf(w->model, w->tape, at + WEIGHT),
                          dmq_model_leaf(w->model, w->tape, at + BIAS), by->stride,
                          (dmq_pad){ by->pad_r, by->pad_r, by->pad_s, by->pad_s });
    return (value){ dmq_record_unary(w->tape, DMQ_RELU, h), out };
}

static value pool(walk *w, value x, dmq_pool_kind kind, int k, int stride, int pad)
{
    if (!w->build)
        x.var = dmq_record_pool2d(w->tape, kind, x.var, k, stride, pad);
    return x;
}

static value join(walk *w, const value *part, int n)
{
    dmq_var *var[6];
    value all = { NULL, 0 };

    assert(n <= 6);
    for (int i = 0; i < n; i++) {
        var[i] = part[i].var;
        all.channels += part[i].channels;
    }
    if (!w->build)
        all.var = dmq_record_concat_all(w->tape, var, n);
    return all;
}

/* Pooling that keeps the size, and a 1x1 behind it. */
static value pooled(walk *w, value x, dmq_pool_kind kind, int out)
{
    return convolve(w, pool(w, x, kind, 3, 1, 1), "branch_pool", out, &by_1x1);
}

static value block_a(walk *w, value x, const char *name, int out_pool)
{
    value part[4], h;

    w->block = name;
    part[0] = convolve(w, x, "branch1x1", 64, &by_1x1);
    h = convolve(w, x, "branch5x5_1", 48, &by_1x1);
    part[1] = convolve(w, h, "branch5x5_2", 64, &by_5x5);
    h = convolve(w, x, "branch3x3dbl_1", 64, &by_1x1);
    h = convolve(w, h, "branch3x3dbl_2", 96, &by_3x3);
    part[2] = convolve(w, h, "branch3x3dbl_3", 96, &by_3x3);
    part[3] = pooled(w, x, DMQ_POOL_MEAN, out_pool);
    return join(w, part, 4);
}

static value block_b(walk *w, value x, const char *name)
{
    value part[3], h;

    w->block = name;
    part[0] = convolve(w, x, "branch3x3", 384, &half_3x3);
    h = convolve(w, x, "branch3x3dbl_1", 64, &by_1x1);
    h = convolve(w, h, "branch3x3dbl_2", 96, &by_3x3);
    part[1] = convolve(w, h, "branch3x3dbl_3", 96, &half_3x3);
    part[2] = pool(w, x, DMQ_POOL_MAX, 3, 2, 0);
    return join(w, part, 3);
}

/* keep: leave branch1x1 in w->kept. */
static value block_c(walk *w, value x, const char *name, int c7, int keep)
{
    value part[4], h;

    w->block = name;
    part[0] = convolve(w, x, "branch1x1", 192, &by_1x1);
    if (keep)
        w->kept = part[0];
    h = convolve(w, x, "branch7x7_1", c7, &by_1x1);
    h = convolve(w, h, "branch7x7_2", c7, &by_1x7);
    part[1] = convolve(w, h, "branch7x7_3", 192, &by_7x1);
    h = convolve(w, x, "branch7x7dbl_1", c7, &by_1x1);
    h = convolve(w, h, "branch7x7dbl_2", c7, &by_7x1);
    h = convolve(w, h, "branch7x7dbl_3", c7, &by_1x7);
    h = convolve(w, h, "branch7x7dbl_4", c7, &by_7x1);
    part[2] = convolve(w, h, "branch7x7dbl_5", 192, &by_1x7);
    part[3] = pooled(w, x, DMQ_POOL_MEAN, 192);
    return join(w, part, 4);
}

static value block_d(walk *w, value x, const char *name)
{
    value part[3], h;

    w->block = name;
    h = convolve(w, x, "branch3x3_1", 192, &by_1x1);
    part[0] = convolve(w, h, "branch3x3_2", 320, &half_3x3);
    h = convolve(w, x, "branch7x7x3_1", 192, &by_1x1);
    h = convolve(w, h, "branch7x7x3_2", 192, &by_1x7);
    h = convolve(w, h, "branch7x7x3_3", 192, &by_7x1);
    part[1] = convolve(w, h, "branch7x7x3_4", 192, &half_3x3);
    part[2] = pool(w, x, DMQ_POOL_MAX, 3, 2, 0);
    return join(w, part, 3);
}

/* The two halves of a forked branch lie side by side, so that one concatenation has them all. */
static value block_e(walk *w, value x, const char *name, dmq_pool_kind kind)
{
    value part[6], h;

    w->block = name;
    part[0] = convolve(w, x, "branch1x1", 320, &by_1x1);
    h = convolve(w, x, "branch3x3_1", 384, &by_1x1);
    part[1] = convolve(w, h, "branch3x3_2a", 384, &by_1x3);
    part[2] = convolve(w, h, "branch3x3_2b", 384, &by_3x1);
    h = convolve(w, x, "branch3x3dbl_1", 448, &by_1x1);
    h = convolve(w, h, "branch3x3dbl_2", 384, &by_3x3);
    part[3] = convolve(w, h, "branch3x3dbl_3a", 384, &by_1x3);
    part[4] = convolve(w, h, "branch3x3dbl_3b", 384, &by_3x1);
    part[5] = pooled(w, x, kind, 192);
    return join(w, part, 6);
}

/* From the image to the 8x8 pixels behind Mixed_7c. */
static value trunk(walk *w, value x)
{
    x = convolve(w, x, "Conv2d_1a_3x3", 32, &half_3x3);
    x = convolve(w, x, "Conv2d_2a_3x3", 32, &inner_3x3);
    x = convolve(w, x, "Conv2d_2b_3x3", 64, &by_3x3);
    x = pool(w, x, DMQ_POOL_MAX, 3, 2, 0);
    x = convolve(w, x, "Conv2d_3b_1x1", 80, &by_1x1);
    x = convolve(w, x, "Conv2d_4a_3x3", 192, &inner_3x3);
    x = pool(w, x, DMQ_POOL_MAX, 3, 2, 0);
    x = block_a(w, x, "Mixed_5b", 32);
    x = block_a(w, x, "Mixed_5c", 64);
    x = block_a(w, x, "Mixed_5d", 64);
    x = block_b(w, x, "Mixed_6a");
    x = block_c(w, x, "Mixed_6b", 128, 0);
    x = block_c(w, x, "Mixed_6c", 160, 0);
    x = block_c(w, x, "Mixed_6d", 160, 1);
    x = block_c(w, x, "Mixed_6e", 192, 0);
    x = block_d(w, x, "Mixed_7a");
    x = block_e(w, x, "Mixed_7b", DMQ_POOL_MEAN);
    return block_e(w, x, "Mixed_7c", DMQ_POOL_MAX);
}

/* ------------------------------------------------------------------ making one */

static dmq_status build(dmq_model **out, net *n)
{
    dmq_build b;
    walk w = { .build = &b, .net = n };
    dmq_status st = dmq_build_begin(&b, &arch);
    value last;

    if (st != DMQ_OK)
        return st;
    last = trunk(&w, (value){ NULL, 3 });
    n->convolutions = w.convolutions;
    n->fc = dmq_build_weights(&b, DMQ_LAYER_LINEAR, DMQ_INCEPTION_CLASSES, last.channels, 1, "fc");
    return dmq_build_finish(out, &b);
}

dmq_status dmq_inception_create(dmq_model **out, int folded)
{
    dmq_status st = DMQ_OK;
    char text[DMQ_CONFIG_TEXT];
    dmq_model *m = NULL;
    void *memory = NULL;

    DMQ_TRY(dmq_alloc(&memory, 1, sizeof(net)));
    ((net *)memory)->folded = folded;
    DMQ_TRY(build(&m, memory));
    m->input = dmq_shape4(1, DMQ_INCEPTION_SIZE, DMQ_INCEPTION_SIZE, 3);
    m->config = memory;
    memory = NULL;
    (void)snprintf(text, sizeof text, "folded: %d\n", folded);
    DMQ_TRY(dmq_strdup(&m->config_text, text));
    *out = m;
    m = NULL;
done:
    dmq_free(memory);
    dmq_model_destroy(m);
    return st;
}

dmq_status dmq_inception_create_text(dmq_model **out, const char *config_text)
{
    dmq_status st = DMQ_OK;
    dmq_model *m = NULL;
    int folded;

    DMQ_TRY(dmq_config_text_int(&folded, config_text, "folded"));
    if (folded != 0 && folded != 1) {
        st = dmq_fail(DMQ_EINVAL, "inception: folded = %d: must be 0 or 1", folded);
        goto done;
    }
    DMQ_TRY(dmq_inception_create(&m, folded));
    st = dmq_build_understood(out, &m, config_text);
done:
    dmq_model_destroy(m);
    return st;
}

int dmq_inception_is(const dmq_model *model)
{
    return model->arch == &arch;
}

int dmq_inception_is_folded(const dmq_model *model)
{
    return dmq_inception_is(model) && ((const net *)model->config)->folded;
}

dmq_inception_totals dmq_inception_totals_of(const dmq_model *model)
{
    const net *n = model->config;
    dmq_inception_totals t = { .convolutions = n->convolutions };
    int per = n->folded ? FOLDED : PUBLISHED;

    for (int i = 0; i < n->convolutions; i++) {
        dmq_shape shape = model->entry[i * per].shape;

        t.conv_weights += dmq_shape_count(shape);
        t.norm_channels += (size_t)shape.dim[0];
    }
    t.learnable = t.conv_weights + 2 * t.norm_channels +
                  dmq_shape_count(model->entry[n->fc].shape) +
                  dmq_shape_count(model->entry[n->fc + 1].shape);
    return t;
}

int dmq_inception_is_published(const char *training)
{
    return training && strstr(training, " sha256 6726825d") != NULL;
}

/* ------------------------------------------------------------------ folding */

static const dmq_real *numbers(const dmq_model *model, int entry)
{
    return model->params + model->entry[entry].offset;
}

static dmq_status fold(dmq_model *to, int folded, const dmq_model *from, int published)
{
    const dmq_real *w = numbers(from, published), *gamma = numbers(from, published + GAMMA);
    const dmq_real *beta = numbers(from, published + BETA), *mean = numbers(from, published + MEAN);
    const dmq_real *variance = numbers(from, published + VARIANCE);
    dmq_real *w_to = to->params + to->entry[folded + WEIGHT].offset;
    dmq_real *b_to = to->params + to->entry[folded + BIAS].offset;
    dmq_shape shape = to->entry[folded + WEIGHT].shape;
    size_t per = dmq_shape_count(shape) / (size_t)shape.dim[0];

    for (size_t k = 0; k < (size_t)shape.dim[0]; k++) {
        double by;

        if (!(variance[k] >= 0)) {
            return dmq_fail(DMQ_EDATA, "inception: %s[%zu] is %g: a variance is not below 0",
                            from->entry[published + VARIANCE].name, k, (double)variance[k]);
        }
        by = (double)gamma[k] / sqrt((double)variance[k] + NORM_EPS);
        b_to[k] = (dmq_real)((double)beta[k] - (double)mean[k] * by);
        for (size_t i = k * per; i < (k + 1) * per; i++)
            w_to[i] = (dmq_real)((double)w[i] * by);
    }
    return DMQ_OK;
}

dmq_status dmq_inception_fold(dmq_model **out, const dmq_model *published)
{
    const net *from = published->config, *to;
    dmq_status st = DMQ_OK;
    dmq_model *m = NULL;

    assert(dmq_inception_is(published) && !from->folded);
    DMQ_TRY(dmq_inception_create(&m, 1));
    to = m->config;
    for (int i = 0; i < from->convolutions; i++)
        DMQ_TRY(fold(m, i * FOLDED, published, i * PUBLISHED));
    for (int i = 0; i < 2; i++) {
        memcpy(m->params + m->entry[to->fc + i].offset, numbers(published, from->fc + i),
               dmq_shape_count(m->entry[to->fc + i].shape) * sizeof *m->params);
    }
    *out = m;
    m = NULL;
done:
    dmq_model_destroy(m);
    return st;
}

/* ------------------------------------------------------------------ recording */

dmq_inception_vars dmq_inception_record(const dmq_model *model, dmq_tape *tape, dmq_var *x)
{
    enum { PIXELS = 17, CHANNELS = 7, LAST = 8 };
    const net *n = model->config;
    walk w = { .model = model, .tape = tape, .net = n };
    dmq_inception_vars v = { NULL, NULL, NULL };
    dmq_var *h;
    int images;

    assert(dmq_inception_is_folded(model));
    if (!x)
        return v;
    images = x->shape.dim[0];
    h = trunk(&w, (value){ x, 3 }).var;
    h = dmq_record_pool2d(tape, DMQ_POOL_MEAN, h, LAST, LAST, 0);
    v.pool = dmq_record_reshape(tape, h, dmq_shape2(images, DMQ_INCEPTION_POOL));
    h = dmq_record_slice(tape, w.kept.var, 3, 0, CHANNELS);
    v.spatial = dmq_record_reshape(tape, h, dmq_shape2(images, PIXELS * PIXELS * CHANNELS));
    v.logits = dmq_record_linear(tape, v.pool, dmq_model_leaf(model, tape, n->fc), NULL);
    return v;
}
