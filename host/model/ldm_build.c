/* The lists of model.h for a planned network: entries in the order of the state dict, values, units, layers. */
#include "model/ldm_plan.h"

#include <assert.h>
#include <stdio.h>

/* What a part of a unit is called in the state dict, below its module's name. */
typedef struct named {
    const char *name;
    int layer; /* place in dmq_ldm_step.layer */
} named;

static const char *join(char out[2 * DMQ_NAME_MAX], const char *a, const char *b)
{
    snprintf(out, 2 * (size_t)DMQ_NAME_MAX, "%s%s%s", a, *b ? "." : "", b);
    return out;
}

/* ------------------------------------------------------------------ entries */

static int weights(dmq_build *b, dmq_layer_kind kind, int out, int in, int kernel, const char *unit,
                   const char *part)
{
    char name[2 * DMQ_NAME_MAX];

    return dmq_build_weights(b, kind, out, in, kernel, join(name, unit, part));
}

static int norm(dmq_build *b, int channels, const char *unit, const char *part)
{
    char name[2 * DMQ_NAME_MAX];

    return dmq_build_norm(b, channels, join(name, unit, part));
}

/* Of a projection without bias. */
static int weight_alone(dmq_build *b, int out, int in, const char *unit, const char *part)
{
    char name[2 * DMQ_NAME_MAX], with[2 * DMQ_NAME_MAX + 8];

    snprintf(with, sizeof with, "%s.weight", join(name, unit, part));
    return dmq_build_entry(b, dmq_shape2(out, in), 0, with);
}

static void resblock_entries(dmq_build *b, const dmq_ldm *net, dmq_ldm_step *s)
{
    int c = s->c_in + s->c_skip, emb = 4 * net->config.model_channels;

    s->norm[0] = norm(b, c, s->name, "in_layers.0");
    s->weights[0] = weights(b, DMQ_LAYER_CONV, s->c_out, c, 3, s->name, "in_layers.2");
    s->emb_layer = weights(b, DMQ_LAYER_LINEAR, (1 + net->config.scale_shift) * s->c_out, emb, 1,
                           s->name, "emb_layers.1");
    s->norm[1] = norm(b, s->c_out, s->name, "out_layers.0");
    s->weights[1] = weights(b, DMQ_LAYER_CONV, s->c_out, s->c_out, 3, s->name, "out_layers.3");
    if (c != s->c_out)
        s->weights[2] = weights(b, DMQ_LAYER_CONV, s->c_out, c, 1, s->name, "skip_connection");
}

static void transformer_entries(dmq_build *b, const dmq_ldm *net, dmq_ldm_step *s)
{
    int c = s->c_in, context = net->config.context_dim;
    int *w = s->weights;

    w[DMQ_LDM_Q1] = weight_alone(b, c, c, s->name, "attn1.to_q");
    w[DMQ_LDM_K1] = weight_alone(b, c, c, s->name, "attn1.to_k");
    w[DMQ_LDM_V1] = weight_alone(b, c, c, s->name, "attn1.to_v");
    w[DMQ_LDM_OUT1] = weights(b, DMQ_LAYER_LINEAR, c, c, 1, s->name, "attn1.to_out.0");
    w[DMQ_LDM_FF0] = weights(b, DMQ_LAYER_LINEAR, 8 * c, c, 1, s->name, "ff.net.0.proj");
    w[DMQ_LDM_FF2] = weights(b, DMQ_LAYER_LINEAR, c, 4 * c, 1, s->name, "ff.net.2");
    w[DMQ_LDM_Q2] = weight_alone(b, c, c, s->name, "attn2.to_q");
    w[DMQ_LDM_K2] = weight_alone(b, c, context, s->name, "attn2.to_k");
    w[DMQ_LDM_V2] = weight_alone(b, c, context, s->name, "attn2.to_v");
    w[DMQ_LDM_OUT2] = weights(b, DMQ_LAYER_LINEAR, c, c, 1, s->name, "attn2.to_out.0");
    s->norm[0] = norm(b, c, s->name, "norm1");
    s->norm[1] = norm(b, c, s->name, "norm2");
    s->norm[2] = norm(b, c, s->name, "norm3");
}

static void entries(dmq_build *b, const dmq_ldm *net, dmq_ldm_step *s)
{
    char name[2 * DMQ_NAME_MAX];

    for (int i = 0; i < DMQ_LDM_UNIT_LAYERS; i++)
        s->weights[i] = -1;
    switch (s->kind) {
    case DMQ_LDM_RESBLOCK:
        resblock_entries(b, net, s);
        return;
    case DMQ_LDM_ATTENTION:
        s->norm[0] = norm(b, s->c_in, s->name, "norm");
        s->weights[0] = dmq_build_conv1d(b, 3 * s->c_in, s->c_in, join(name, s->name, "qkv"));
        s->weights[1] = dmq_build_conv1d(b, s->c_in, s->c_in, join(name, s->name, "proj_out"));
        return;
    case DMQ_LDM_TRANSFORMER:
        transformer_entries(b, net, s);
        return;
    case DMQ_LDM_PROJ_IN:
        s->norm[0] = norm(b, s->c_in, s->site, "norm");
        s->weights[0] = weights(b, DMQ_LAYER_CONV, s->c_out, s->c_in, 1, s->name, "");
        return;
    case DMQ_LDM_PROJ_OUT:
        s->weights[0] = weights(b, DMQ_LAYER_CONV, s->c_out, s->c_in, 1, s->name, "");
        return;
    case DMQ_LDM_OUT:
        s->norm[0] = norm(b, s->c_in, "out", "0");
        break;
    case DMQ_LDM_CONV_IN:
    case DMQ_LDM_DOWN:
    case DMQ_LDM_UP:
        break;
    }
    s->weights[0] = weights(b, DMQ_LAYER_CONV, s->c_out, s->c_in, 3, s->name, "");
}

/* ------------------------------------------------------------------ layers */

/* A layer of a unit; kind, kernel and channels as its weights have them. */
static void layer(dmq_build *b, dmq_ldm_step *s, int unit, int i, dmq_layer l, const char *part)
{
    char name[2 * DMQ_NAME_MAX];
    dmq_shape w;

    if (b->status != DMQ_OK)
        return;
    w = b->model->entry[s->weights[i]].shape;
    l.kind = w.rank == 4 ? DMQ_LAYER_CONV : DMQ_LAYER_LINEAR;
    l.out = w.dim[0];
    l.kernel = w.rank == 4 ? w.dim[1] : 1;
    l.in = w.dim[w.rank - 1];
    l.stride = l.downsample ? 2 : 1;
    if (l.kernel == 3)
        l.pad = (dmq_pad){ 1, 1, 1, 1 };
    s->layer[i] = dmq_build_layer(b, unit, s->weights[i], &l, join(name, s->name, part));
}

static void transformer_layers(dmq_build *b, dmq_ldm_step *s, int unit)
{
    char name[2 * DMQ_NAME_MAX];
    const dmq_layer plain = { 0 }, no_bias = { .bias = -1 }, idle = { .bias = -1, .idle = 1 };

    layer(b, s, unit, DMQ_LDM_Q1, no_bias, "attn1.to_q");
    layer(b, s, unit, DMQ_LDM_K1, no_bias, "attn1.to_k");
    layer(b, s, unit, DMQ_LDM_V1, no_bias, "attn1.to_v");
    layer(b, s, unit, DMQ_LDM_OUT1, plain, "attn1.to_out.0");
    layer(b, s, unit, DMQ_LDM_Q2, idle, "attn2.to_q");
    layer(b, s, unit, DMQ_LDM_K2, idle, "attn2.to_k");
    layer(b, s, unit, DMQ_LDM_V2, no_bias, "attn2.to_v");
    layer(b, s, unit, DMQ_LDM_OUT2, plain, "attn2.to_out.0");
    layer(b, s, unit, DMQ_LDM_FF0, plain, "ff.net.0.proj");
    layer(b, s, unit, DMQ_LDM_FF2, plain, "ff.net.2");
    dmq_build_operands(b, unit, s->c_in, join(name, s->name, "attn1"), s->operand);
    s->operand_v2 = dmq_build_operand(b, unit, s->c_in, join(name, s->name, "attn2.v"));
}

static void layers(dmq_build *b, dmq_ldm_step *s, int unit)
{
    const dmq_layer plain = { 0 };

    switch (s->kind) {
    case DMQ_LDM_RESBLOCK:
        layer(b, s, unit, 0, plain, "in_layers.2");
        layer(b, s, unit, 1, plain, "out_layers.3");
        if (s->weights[2] >= 0) {
            layer(b, s, unit, 2, (dmq_layer){ .shortcut = 1, .split = s->in1 < 0 ? 0 : s->c_in },
                  "skip_connection");
        }
        break;
    case DMQ_LDM_ATTENTION:
        layer(b, s, unit, 0, plain, "qkv");
        layer(b, s, unit, 1, plain, "proj_out");
        dmq_build_operands(b, unit, s->c_in, s->name, s->operand);
        break;
    case DMQ_LDM_TRANSFORMER:
        transformer_layers(b, s, unit);
        break;
    case DMQ_LDM_PROJ_IN:
    case DMQ_LDM_PROJ_OUT:
    case DMQ_LDM_UP:
        layer(b, s, unit, 0, plain, "");
        break;
    case DMQ_LDM_CONV_IN:
        layer(b, s, unit, 0, (dmq_layer){ .first = 1 }, "");
        break;
    case DMQ_LDM_DOWN:
        layer(b, s, unit, 0, (dmq_layer){ .downsample = 1 }, "");
        break;
    case DMQ_LDM_OUT:
        layer(b, s, unit, 0, (dmq_layer){ .last = 1 }, "");
        break;
    }
}

/* ------------------------------------------------------------------ units */

static void temporal(dmq_build *b, const dmq_ldm *net)
{
    int mc = net->config.model_channels, c = 4 * mc;
    int unit = dmq_build_unit(b, DMQ_UNIT_TEMPORAL, -1, -1, -1, -1, "temporal");
    dmq_layer l = {
        .kind = DMQ_LAYER_LINEAR, .out = c, .in = mc, .kernel = 1, .stride = 1, .temporal = 1
    };

    dmq_build_layer(b, unit, net->time_embed[0], &l, "time_embed.0");
    l.in = c;
    dmq_build_layer(b, unit, net->time_embed[1], &l, "time_embed.2");
    for (int i = 0; i < net->n_steps; i++) {
        const dmq_ldm_step *s = &net->step[i];
        char name[2 * DMQ_NAME_MAX];

        if (s->kind != DMQ_LDM_RESBLOCK)
            continue;
        l.out = (1 + net->config.scale_shift) * s->c_out;
        dmq_build_layer(b, unit, s->emb_layer, &l, join(name, s->name, "emb_layers.1"));
    }
}

static void units(dmq_build *b, dmq_ldm *net)
{
    static const dmq_unit_kind kind[] = {
        [DMQ_LDM_CONV_IN] = DMQ_UNIT_LAYER,
        [DMQ_LDM_RESBLOCK] = DMQ_UNIT_RESBLOCK,
        [DMQ_LDM_ATTENTION] = DMQ_UNIT_ATTENTION,
        [DMQ_LDM_PROJ_IN] = DMQ_UNIT_LAYER,
        [DMQ_LDM_TRANSFORMER] = DMQ_UNIT_TRANSFORMER,
        [DMQ_LDM_PROJ_OUT] = DMQ_UNIT_LAYER,
        [DMQ_LDM_DOWN] = DMQ_UNIT_LAYER,
        [DMQ_LDM_UP] = DMQ_UNIT_LAYER,
        [DMQ_LDM_OUT] = DMQ_UNIT_LAYER,
    };

    temporal(b, net);
    for (int i = 0; i < net->n_steps; i++) {
        dmq_ldm_step *s = &net->step[i];
        int unit = dmq_build_unit(b, kind[s->kind], s->in, s->in1, s->emb, s->out, s->name);

        layers(b, s, unit);
        if (b->status == DMQ_OK)
            b->model->unit[unit].arch = i;
    }
}

/* Values of x as the steps are numbered, then one embedding a residual block, then the context. */
static void values(dmq_build *b, dmq_ldm *net)
{
    const dmq_ldm_unet_config *c = &net->config;

    dmq_build_value(b, dmq_shape4(1, c->resolution, c->resolution, c->in_channels), 0);
    for (int i = 0; i < net->n_steps; i++) {
        const dmq_ldm_step *s = &net->step[i];
        int value = dmq_build_value(b,
                                    s->kind == DMQ_LDM_TRANSFORMER
                                        ? dmq_shape3(1, s->size * s->size, s->c_out)
                                        : dmq_shape4(1, s->size, s->size, s->c_out),
                                    0);
        assert(b->status != DMQ_OK || value == s->out);
        (void)value;
    }
    if (b->status == DMQ_OK)
        b->model->output = net->step[net->n_steps - 1].out;
    for (int i = 0; i < net->n_steps; i++) {
        dmq_ldm_step *s = &net->step[i];
        int width = (1 + c->scale_shift) * s->c_out;

        s->emb =
            s->kind == DMQ_LDM_RESBLOCK ? dmq_build_value(b, dmq_shape2(1, width), DMQ_OF_T) : -1;
    }
    if (c->context_dim == 0)
        return;
    net->context = dmq_build_value(b, dmq_shape2(1, c->context_dim), DMQ_OF_LABEL);
    for (int i = 0; i < net->n_steps; i++) {
        if (net->step[i].kind == DMQ_LDM_TRANSFORMER)
            net->step[i].emb = net->context;
    }
}

void dmq_ldm_build(dmq_build *b, dmq_ldm *net)
{
    const dmq_ldm_unet_config *c = &net->config;
    int mc = c->model_channels;

    net->time_embed[0] = dmq_build_weights(b, DMQ_LAYER_LINEAR, 4 * mc, mc, 1, "time_embed.0");
    net->time_embed[1] = dmq_build_weights(b, DMQ_LAYER_LINEAR, 4 * mc, 4 * mc, 1, "time_embed.2");
    for (int i = 0; i < net->n_steps; i++)
        entries(b, net, &net->step[i]);
    net->table = -1;
    if (c->n_classes > 0) {
        net->table = dmq_build_entry(b, dmq_shape2(c->n_classes + 1, c->context_dim), 0,
                                     "cond_stage_model.embedding.weight");
    }
    values(b, net);
    units(b, net);
}
