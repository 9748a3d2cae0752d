#include "model/ddpm_unet.h"

#include "base/memory.h"
#include "model/build.h"
#include "model/config_text.h"
#include "model/unet_plan.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const dmq_ddpm_unet_config dmq_ddpm_unet_cifar10 = {
    .in_channels = 3,
    .out_channels = 3,
    .resolution = 32,
    .ch = 128,
    .ch_mult = { 1, 2, 2, 2 },
    .n_levels = 4,
    .num_res_blocks = 2,
    .attention = { 16 },
    .n_attention = 1,
    .norm_groups = 32,
    .norm_eps = 1e-6,
};

dmq_status dmq_ddpm_unet_text(char **out, const dmq_ddpm_unet_config *c)
{
    char text[DMQ_CONFIG_TEXT];
    size_t n;

    snprintf(text, sizeof text, "in_channels: %d\nout_channels: %d\nresolution: %d\nch: %d\n",
             c->in_channels, c->out_channels, c->resolution, c->ch);
    dmq_config_text_list(text, sizeof text, "ch_mult", c->ch_mult, c->n_levels);
    dmq_config_text_list(text, sizeof text, "attention", c->attention, c->n_attention);
    n = strlen(text);
    snprintf(text + n, sizeof text - n, "num_res_blocks: %d\nnorm_groups: %d\nnorm_eps: %.9g\n",
             c->num_res_blocks, c->norm_groups, c->norm_eps);
    return dmq_strdup(out, text);
}

static const char *join(char out[2 * DMQ_NAME_MAX], const char *a, const char *b)
{
    snprintf(out, 2 * (size_t)DMQ_NAME_MAX, "%s.%s", a, b);
    return out;
}

static int conv_weights(dmq_build *b, int out, int in, int kernel, const char *unit,
                        const char *part)
{
    char name[2 * DMQ_NAME_MAX];
    return dmq_build_weights(b, DMQ_LAYER_CONV, out, in, kernel, join(name, unit, part));
}

/** Entries of one unit, in the order of the state dict; temb_proj stands between conv1 and norm2. */
static void build_entries(dmq_build *b, dmq_unet_step *s, int c_temb)
{
    static const char *const part[] = { "q", "k", "v", "proj_out" };
    char name[2 * DMQ_NAME_MAX];
    int c = s->c_in + s->c_skip;

    switch (s->kind) {
    case DMQ_UNET_RESBLOCK:
        s->norm[0] = dmq_build_norm(b, c, join(name, s->name, "norm1"));
        s->weights[0] = conv_weights(b, s->c_out, c, 3, s->name, "conv1");
        s->temb_proj = dmq_build_weights(b, DMQ_LAYER_LINEAR, s->c_out, c_temb, 1,
                                         join(name, s->name, "temb_proj"));
        s->norm[1] = dmq_build_norm(b, s->c_out, join(name, s->name, "norm2"));
        s->weights[1] = conv_weights(b, s->c_out, s->c_out, 3, s->name, "conv2");
        s->weights[2] = -1;
        if (c != s->c_out)
            s->weights[2] = conv_weights(b, s->c_out, c, 1, s->name, "nin_shortcut");
        return;
    case DMQ_UNET_ATTENTION:
        s->norm[0] = dmq_build_norm(b, c, join(name, s->name, "norm"));
        for (int i = 0; i < 4; i++)
            s->weights[i] = conv_weights(b, c, c, 1, s->name, part[i]);
        return;
    case DMQ_UNET_CONV_OUT:
        s->norm[0] = dmq_build_norm(b, c, "norm_out");
        break;
    case DMQ_UNET_CONV_IN:
    case DMQ_UNET_DOWNSAMPLE:
    case DMQ_UNET_UPSAMPLE:
        break;
    }
    s->weights[0] = dmq_build_weights(b, DMQ_LAYER_CONV, s->c_out, c, 3, s->name);
}

/** Layer i of a unit; kernel size and channels as its weights have them. */
static void build_layer(dmq_build *b, dmq_unet_step *s, int unit, int i, dmq_layer l,
                        const char *part)
{
    char name[2 * DMQ_NAME_MAX];
    dmq_shape w;

    if (b->status != DMQ_OK)
        return;
    w = b->model->entry[s->weights[i]].shape;
    l.kind = DMQ_LAYER_CONV;
    l.out = w.dim[0];
    l.kernel = w.dim[1];
    l.in = w.dim[3];
    l.stride = l.downsample ? 2 : 1;
    if (l.kernel == 3)
        l.pad = (dmq_pad){ !l.downsample, 1, !l.downsample, 1 };
    s->layer[i] =
        dmq_build_layer(b, unit, s->weights[i], &l, part ? join(name, s->name, part) : s->name);
}

static void build_layers(dmq_build *b, dmq_unet_step *s, int unit)
{
    static const char *const part[] = { "q", "k", "v", "proj_out" };
    const dmq_layer plain = { 0 };

    switch (s->kind) {
    case DMQ_UNET_RESBLOCK:
        build_layer(b, s, unit, 0, plain, "conv1");
        build_layer(b, s, unit, 1, plain, "conv2");
        if (s->weights[2] >= 0) {
            build_layer(b, s, unit, 2,
                        (dmq_layer){ .shortcut = 1, .split = s->skip < 0 ? 0 : s->c_in },
                        "nin_shortcut");
        }
        break;
    case DMQ_UNET_ATTENTION:
        for (int i = 0; i < 4; i++)
            build_layer(b, s, unit, i, plain, part[i]);
        break;
    case DMQ_UNET_CONV_IN:
        build_layer(b, s, unit, 0, (dmq_layer){ .first = 1 }, NULL);
        break;
    case DMQ_UNET_DOWNSAMPLE:
        build_layer(b, s, unit, 0, (dmq_layer){ .downsample = 1 }, NULL);
        break;
    case DMQ_UNET_UPSAMPLE:
        build_layer(b, s, unit, 0, plain, NULL);
        break;
    case DMQ_UNET_CONV_OUT:
        build_layer(b, s, unit, 0, (dmq_layer){ .last = 1 }, NULL);
        break;
    }
}

static void build_temporal(dmq_build *b, const dmq_unet *net)
{
    int c_temb = 4 * net->config.ch;
    int unit = dmq_build_unit(b, DMQ_UNIT_TEMPORAL, -1, -1, -1, -1, "temporal");
    dmq_layer l = { .kind = DMQ_LAYER_LINEAR,
                    .out = c_temb,
                    .in = net->config.ch,
                    .kernel = 1,
                    .stride = 1,
                    .temporal = 1 };

    dmq_build_layer(b, unit, net->dense[0], &l, "temb.dense.0");
    l.in = c_temb;
    dmq_build_layer(b, unit, net->dense[1], &l, "temb.dense.1");
    for (int i = 0; i < net->n_steps; i++) {
        const dmq_unet_step *s = &net->step[i];
        char name[2 * DMQ_NAME_MAX];

        if (s->kind != DMQ_UNET_RESBLOCK)
            continue;
        l.out = s->c_out;
        dmq_build_layer(b, unit, s->temb_proj, &l, join(name, s->name, "temb_proj"));
    }
}

static void build_units(dmq_build *b, dmq_unet *net)
{
    build_temporal(b, net);
    for (int i = 0; i < net->n_steps; i++) {
        dmq_unet_step *s = &net->step[i];
        dmq_unit_kind kind = s->kind == DMQ_UNET_RESBLOCK    ? DMQ_UNIT_RESBLOCK
                             : s->kind == DMQ_UNET_ATTENTION ? DMQ_UNIT_ATTENTION
                                                             : DMQ_UNIT_LAYER;
        int unit = dmq_build_unit(b, kind, s->in, s->skip, s->emb, s->out, s->name);

        build_layers(b, s, unit);
        if (b->status == DMQ_OK)
            b->model->unit[unit].arch = i;
    }
}

static void build_values(dmq_build *b, dmq_unet *net)
{
    int size = net->config.resolution;

    dmq_build_value(b, dmq_shape4(1, size, size, net->config.in_channels), 0);
    for (int i = 0; i < net->n_steps; i++) {
        const dmq_unet_step *s = &net->step[i];
        int value = dmq_build_value(b, dmq_shape4(1, s->size, s->size, s->c_out), 0);
        assert(b->status != DMQ_OK || value == s->out);
        (void)value;
    }
    if (b->status == DMQ_OK)
        b->model->output = net->step[net->n_steps - 1].out;
    for (int i = 0; i < net->n_steps; i++) {
        dmq_unet_step *s = &net->step[i];
        s->emb = s->kind == DMQ_UNET_RESBLOCK
                     ? dmq_build_value(b, dmq_shape2(1, s->c_out), DMQ_OF_T)
                     : -1;
    }
}

static void number_reference_order(dmq_model *m, const dmq_unet *net)
{
    for (int i = 0; i < net->n_steps; i++) {
        int before = 1; /* the temporal unit is 0 in both orders */
        for (int j = 0; j < net->n_steps; j++)
            before += net->step[j].order < net->step[i].order;
        m->unit[i + 1].reference_order = before;
    }
}

/* ------------------------------------------------------------------ recording */

typedef struct pass {
    const dmq_model *model;
    const dmq_unet *net;
    dmq_tape *tape;
    const dmq_hooks *hooks;
} pass;

static dmq_var *norm(const pass *p, dmq_var *x, int entry)
{
    dmq_var *gamma = dmq_model_leaf(p->model, p->tape, entry);
    dmq_var *beta = dmq_model_leaf(p->model, p->tape, entry + 1);
    return dmq_record_group_norm(p->tape, x, gamma, beta, p->net->config.norm_groups,
                                 p->net->config.norm_eps);
}

static dmq_var *layer(const pass *p, int number, dmq_var *x)
{
    return dmq_model_record_layer(p->model, p->tape, p->hooks, number, x);
}

static dmq_var *silu(const pass *p, dmq_var *x)
{
    return dmq_record_unary(p->tape, DMQ_SILU, x);
}

static dmq_var *resblock(const pass *p, const dmq_unet_step *s, dmq_var *x, dmq_var *skip,
                         dmq_var *emb)
{
    dmq_var *h;

    if (s->skip >= 0)
        x = dmq_record_concat(p->tape, x, skip);
    h = layer(p, s->layer[0], silu(p, norm(p, x, s->norm[0])));
    h = dmq_record_binary(p->tape, DMQ_ADD, h, emb); /* fused into norm2 as its shift */
    h = layer(p, s->layer[1], silu(p, norm(p, h, s->norm[1])));
    if (s->weights[2] >= 0)
        x = layer(p, s->layer[2], x);
    return dmq_record_binary(p->tape, DMQ_ADD, x, h);
}

static dmq_var *attention(const pass *p, const dmq_unet_step *s, dmq_var *x)
{
    dmq_var *h, *q, *k, *v, *weight;
    dmq_shape image, tokens;

    if (!x)
        return NULL;
    image = x->shape;
    tokens = dmq_shape3(image.dim[0], image.dim[1] * image.dim[2], image.dim[3]);
    h = norm(p, x, s->norm[0]);
    q = dmq_record_reshape(p->tape, layer(p, s->layer[0], h), tokens);
    k = dmq_record_reshape(p->tape, layer(p, s->layer[1], h), tokens);
    v = dmq_record_reshape(p->tape, layer(p, s->layer[2], h), tokens);
    weight = dmq_record_matmul(p->tape, q, 0, k, 1, 1 / sqrt((double)s->c_out));
    weight = dmq_record_softmax(p->tape, weight);
    h = dmq_record_matmul(p->tape, weight, 0, v, 0, 1);
    h = layer(p, s->layer[3], dmq_record_reshape(p->tape, h, image));
    return dmq_record_binary(p->tape, DMQ_ADD, x, h);
}

static dmq_var *record(const dmq_model *model, const dmq_unit *unit, dmq_tape *tape,
                       const dmq_hooks *hooks, dmq_var *in0, dmq_var *in1, dmq_var *emb)
{
    const dmq_unet *net = model->config;
    const dmq_unet_step *s = &net->step[unit->arch];
    const pass p = { model, net, tape, hooks };

    switch (s->kind) {
    case DMQ_UNET_RESBLOCK:
        return resblock(&p, s, in0, in1, emb);
    case DMQ_UNET_ATTENTION:
        return attention(&p, s, in0);
    case DMQ_UNET_UPSAMPLE:
        return layer(&p, s->layer[0], dmq_record_upsample(tape, in0, 2));
    case DMQ_UNET_CONV_OUT:
        return layer(&p, s->layer[0], silu(&p, norm(&p, in0, s->norm[0])));
    case DMQ_UNET_CONV_IN:
    case DMQ_UNET_DOWNSAMPLE:
        break;
    }
    return layer(&p, s->layer[0], in0);
}

static dmq_status record_temporal(const dmq_model *model, dmq_tape *tape, const dmq_hooks *hooks,
                                  dmq_var *t, const dmq_index *label, dmq_var **emb)
{
    const dmq_unet *net = model->config;
    const dmq_unit *unit = &model->unit[0];
    const pass p = { model, net, tape, hooks };
    int ch = net->config.ch, divisor = ch / 2 - 1, number = 2;
    dmq_var *h = dmq_record_time_embed(tape, t, ch, divisor, 0);

    (void)label;
    h = silu(&p, layer(&p, unit->layer[0], h));
    h = silu(&p, layer(&p, unit->layer[1], h)); /* every block's second swish: computed once */
    for (int i = 0; i < net->n_steps; i++) {
        if (net->step[i].kind == DMQ_UNET_RESBLOCK)
            emb[net->step[i].emb] = layer(&p, unit->layer[number++], h);
    }
    return DMQ_OK;
}

static const dmq_arch arch = { "ddpm_unet", record, record_temporal };

/* ------------------------------------------------------------------ making one */

static dmq_status build(dmq_model **out, dmq_unet *net)
{
    dmq_build b;
    dmq_status st = dmq_build_begin(&b, &arch);
    int ch = net->config.ch;

    if (st != DMQ_OK)
        return st;
    net->dense[0] = dmq_build_weights(&b, DMQ_LAYER_LINEAR, 4 * ch, ch, 1, "temb.dense.0");
    net->dense[1] = dmq_build_weights(&b, DMQ_LAYER_LINEAR, 4 * ch, 4 * ch, 1, "temb.dense.1");
    for (int i = 0; i < net->n_steps; i++)
        build_entries(&b, &net->step[i], 4 * ch);
    build_values(&b, net);
    build_units(&b, net);
    return dmq_build_finish(out, &b);
}

dmq_status dmq_ddpm_unet_create(dmq_model **out, const dmq_ddpm_unet_config *config)
{
    dmq_status st = DMQ_OK;
    dmq_model *m = NULL;
    void *net = NULL;

    DMQ_TRY(dmq_alloc(&net, 1, sizeof(dmq_unet)));
    ((dmq_unet *)net)->config = *config;
    DMQ_TRY(dmq_unet_plan(net));
    DMQ_TRY(build(&m, net));
    number_reference_order(m, net);
    m->input = dmq_shape4(1, config->resolution, config->resolution, config->in_channels);
    m->config = net;
    net = NULL;
    DMQ_TRY(dmq_ddpm_unet_text(&m->config_text, config));
    *out = m;
    m = NULL;
done:
    dmq_free(net);
    dmq_model_destroy(m);
    return st;
}

dmq_status dmq_ddpm_unet_create_text(dmq_model **out, const char *config_text)
{
    dmq_status st = DMQ_OK;
    dmq_ddpm_unet_config c = { 0 };
    dmq_model *m = NULL;

    DMQ_TRY(dmq_config_text_int(&c.in_channels, config_text, "in_channels"));
    DMQ_TRY(dmq_config_text_int(&c.out_channels, config_text, "out_channels"));
    DMQ_TRY(dmq_config_text_int(&c.resolution, config_text, "resolution"));
    DMQ_TRY(dmq_config_text_int(&c.ch, config_text, "ch"));
    DMQ_TRY(dmq_config_text_ints(c.ch_mult, &c.n_levels, DMQ_UNET_LEVELS, config_text, "ch_mult"));
    DMQ_TRY(dmq_config_text_ints(c.attention, &c.n_attention, DMQ_UNET_LEVELS, config_text,
                                 "attention"));
    DMQ_TRY(dmq_config_text_int(&c.num_res_blocks, config_text, "num_res_blocks"));
    DMQ_TRY(dmq_config_text_int(&c.norm_groups, config_text, "norm_groups"));
    DMQ_TRY(dmq_config_text_double(&c.norm_eps, config_text, "norm_eps"));
    DMQ_TRY(dmq_ddpm_unet_create(&m, &c));
    st = dmq_build_understood(out, &m, config_text);
done:
    dmq_model_destroy(m);
    return st;
}

const dmq_ddpm_unet_config *dmq_ddpm_unet_config_of(const dmq_model *model)
{
    assert(model->arch == &arch);
    return model->config; /* its first member */
}
