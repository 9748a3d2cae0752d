#include "model/ldm_unet.h"

#include "base/memory.h"
#include "model/build.h"
#include "model/config_text.h"
#include "model/ldm_plan.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const dmq_ldm_unet_config dmq_ldm_unet_beds = {
    .in_channels = 3,
    .out_channels = 3,
    .resolution = 64,
    .model_channels = 224,
    .channel_mult = { 1, 2, 3, 4 },
    .n_levels = 4,
    .num_res_blocks = 2,
    .attention = { 8, 4, 2 },
    .n_attention = 3,
    .num_head_channels = 32,
    .norm_groups = 32,
};

const dmq_ldm_unet_config dmq_ldm_unet_cin = {
    .in_channels = 3,
    .out_channels = 3,
    .resolution = 64,
    .model_channels = 192,
    .channel_mult = { 1, 2, 3, 5 },
    .n_levels = 4,
    .num_res_blocks = 2,
    .attention = { 8, 4, 2 },
    .n_attention = 3,
    .num_heads = 1,
    .context_dim = 512,
    .n_classes = 1000,
    .norm_groups = 32,
};

const dmq_ldm_unet_config dmq_ldm_unet_church = {
    .in_channels = 4,
    .out_channels = 4,
    .resolution = 32,
    .model_channels = 192,
    .channel_mult = { 1, 2, 2, 4, 4 },
    .n_levels = 5,
    .num_res_blocks = 2,
    .attention = { 1, 2, 4, 8 },
    .n_attention = 4,
    .num_heads = 8,
    .scale_shift = 1,
    .resblock_updown = 1,
    .norm_groups = 32,
};

/* ------------------------------------------------------------------ recording */

static const double norm_eps = 1e-5, proj_norm_eps = 1e-6, layer_norm_eps = 1e-5;

typedef struct pass {
    const dmq_model *model;
    const dmq_ldm *net;
    dmq_tape *tape;
    const dmq_hooks *hooks;
    const dmq_ldm_step *step;
} pass;

static dmq_var *norm(const pass *p, dmq_var *x, int number, double eps)
{
    int entry = p->step->norm[number];
    dmq_var *gamma = dmq_model_leaf(p->model, p->tape, entry);
    dmq_var *beta = dmq_model_leaf(p->model, p->tape, entry + 1);

    return dmq_record_group_norm(p->tape, x, gamma, beta, p->net->config.norm_groups, eps);
}

static dmq_var *layer_norm(const pass *p, dmq_var *x, int number)
{
    int entry = p->step->norm[number];
    dmq_var *gamma = dmq_model_leaf(p->model, p->tape, entry);
    dmq_var *beta = dmq_model_leaf(p->model, p->tape, entry + 1);

    return dmq_record_layer_norm(p->tape, x, gamma, beta, layer_norm_eps);
}

static dmq_var *layer(const pass *p, int i, dmq_var *x)
{
    return dmq_model_record_layer(p->model, p->tape, p->hooks, p->step->layer[i], x);
}

static dmq_var *silu(const pass *p, dmq_var *x)
{
    return dmq_record_unary(p->tape, DMQ_SILU, x);
}

static dmq_var *add(const pass *p, dmq_var *x, dmq_var *y)
{
    return dmq_record_binary(p->tape, DMQ_ADD, x, y);
}

static dmq_var *resampled(const pass *p, dmq_var *x)
{
    if (p->step->resample == 0)
        return x;
    return p->step->resample > 0 ? dmq_record_upsample(p->tape, x, 2)
                                 : dmq_record_avg_pool(p->tape, x, 2);
}

/* norm(h + e), or norm(h) (1 + scale) + shift of e = [scale | shift] */
static dmq_var *modulated_norm(const pass *p, dmq_var *h, dmq_var *e)
{
    int c = p->step->c_out;
    dmq_var *scale;

    if (!p->net->config.scale_shift)
        return norm(p, add(p, h, e), 1, norm_eps);
    h = norm(p, h, 1, norm_eps);
    scale = dmq_record_slice(p->tape, e, 1, 0, c);
    h = add(p, h, dmq_record_binary(p->tape, DMQ_MUL, h, scale));
    return add(p, h, dmq_record_slice(p->tape, e, 1, c, c));
}

static dmq_var *resblock(const pass *p, dmq_var *x, dmq_var *skip, dmq_var *e)
{
    dmq_var *h;

    if (skip)
        x = dmq_record_concat(p->tape, x, skip);
    h = layer(p, 0, resampled(p, silu(p, norm(p, x, 0, norm_eps))));
    h = layer(p, 1, silu(p, modulated_norm(p, h, e)));
    x = resampled(p, x);
    if (p->step->weights[2] >= 0)
        x = layer(p, 2, x);
    return add(p, x, h);
}

static dmq_var *as_tokens(const pass *p, dmq_var *x)
{
    dmq_shape s;

    if (!x)
        return NULL;
    s = x->shape;
    return dmq_record_reshape(p->tape, x, dmq_shape3(s.dim[0], s.dim[1] * s.dim[2], s.dim[3]));
}

static dmq_var *as_image(const pass *p, dmq_var *x)
{
    int size = p->step->size;

    if (!x)
        return NULL;
    return dmq_record_reshape(p->tape, x, dmq_shape4(x->shape.dim[0], size, size, x->shape.dim[2]));
}

static dmq_heads heads_of(const pass *p)
{
    int c = p->step->c_out, heads = dmq_ldm_heads(&p->net->config, c);

    return (dmq_heads){ .model = p->model,
                        .tape = p->tape,
                        .hooks = p->hooks,
                        .operand = p->step->operand,
                        .heads = heads,
                        .alpha = 1 / sqrt((double)c / heads) };
}

static dmq_var *attention(const pass *p, dmq_var *x)
{
    const dmq_heads heads = heads_of(p);
    dmq_var *h = layer(p, 0, as_tokens(p, norm(p, x, 0, norm_eps)));

    h = dmq_heads_record_qkv(&heads, h, 1);
    return add(p, x, as_image(p, layer(p, 1, h)));
}

/* Tokens z, the context c a row for each sample. */
static dmq_var *transformer(const pass *p, dmq_var *z, dmq_var *c)
{
    const dmq_heads heads = heads_of(p);
    dmq_var *h = layer_norm(p, z, 0), *q, *k;

    q = layer(p, DMQ_LDM_Q1, h);
    k = layer(p, DMQ_LDM_K1, h);
    h = layer(p, DMQ_LDM_V1, h);
    z = add(p, z, layer(p, DMQ_LDM_OUT1, dmq_heads_record(&heads, q, k, h)));
    h = dmq_heads_operand(&heads, p->step->operand_v2, layer(p, DMQ_LDM_V2, c));
    z = add(p, z, layer(p, DMQ_LDM_OUT2, h)); /* for every token the same */
    h = layer(p, DMQ_LDM_FF0, layer_norm(p, z, 2));
    return add(p, z, layer(p, DMQ_LDM_FF2, dmq_record_geglu(p->tape, h)));
}

static dmq_var *record(const dmq_model *model, const dmq_unit *unit, dmq_tape *tape,
                       const dmq_hooks *hooks, dmq_var *in0, dmq_var *in1, dmq_var *emb)
{
    const dmq_ldm *net = model->config;
    const dmq_ldm_step *s = &net->step[unit->arch];
    const pass p = { model, net, tape, hooks, s };

    switch (s->kind) {
    case DMQ_LDM_RESBLOCK:
        return resblock(&p, in0, in1, emb);
    case DMQ_LDM_ATTENTION:
        return attention(&p, in0);
    case DMQ_LDM_PROJ_IN:
        return layer(&p, 0, norm(&p, in0, 0, proj_norm_eps));
    case DMQ_LDM_TRANSFORMER:
        return transformer(&p, as_tokens(&p, in0), emb);
    case DMQ_LDM_PROJ_OUT:
        return add(&p, in1, layer(&p, 0, as_image(&p, in0)));
    case DMQ_LDM_UP:
        return layer(&p, 0, dmq_record_upsample(tape, in0, 2));
    case DMQ_LDM_OUT:
        return layer(&p, 0, silu(&p, norm(&p, in0, 0, norm_eps)));
    case DMQ_LDM_CONV_IN:
    case DMQ_LDM_DOWN:
        break;
    }
    return layer(&p, 0, in0);
}

static dmq_status record_temporal(const dmq_model *model, dmq_tape *tape, const dmq_hooks *hooks,
                                  dmq_var *t, const dmq_index *label, dmq_var **emb)
{
    const dmq_ldm *net = model->config;
    const int *number = model->unit[0].layer;
    int mc = net->config.model_channels, half = mc / 2, n = 2;
    dmq_var *h = dmq_record_time_embed(tape, t, mc, half, 1);

    h = dmq_model_record_layer(model, tape, hooks, number[0], h);
    h = dmq_record_unary(tape, DMQ_SILU, h);
    h = dmq_model_record_layer(model, tape, hooks, number[1], h);
    h = dmq_record_unary(tape, DMQ_SILU, h); /* every block's own: computed once */
    for (int i = 0; i < net->n_steps; i++) {
        if (net->step[i].kind == DMQ_LDM_RESBLOCK)
            emb[net->step[i].emb] = dmq_model_record_layer(model, tape, hooks, number[n++], h);
    }
    if (label) {
        emb[net->context] = dmq_record_embed(tape, dmq_model_leaf(model, tape, net->table), label);
    }
    return DMQ_OK;
}

static const dmq_arch arch = { "ldm_unet", record, record_temporal };

/* ------------------------------------------------------------------ making one */

dmq_status dmq_ldm_unet_text(char **out, const dmq_ldm_unet_config *c)
{
    char text[DMQ_CONFIG_TEXT];
    size_t n;

    snprintf(text, sizeof text,
             "in_channels: %d\nout_channels: %d\nresolution: %d\nmodel_channels: %d\n",
             c->in_channels, c->out_channels, c->resolution, c->model_channels);
    dmq_config_text_list(text, sizeof text, "channel_mult", c->channel_mult, c->n_levels);
    dmq_config_text_list(text, sizeof text, "attention_resolutions", c->attention, c->n_attention);
    n = strlen(text);
    snprintf(text + n, sizeof text - n,
             "num_res_blocks: %d\nnum_heads: %d\nnum_head_channels: %d\ncontext_dim: %d\n"
             "n_classes: %d\nscale_shift: %d\nresblock_updown: %d\nnorm_groups: %d\n",
             c->num_res_blocks, c->num_heads, c->num_head_channels, c->context_dim, c->n_classes,
             c->scale_shift, c->resblock_updown, c->norm_groups);
    return dmq_strdup(out, text);
}

dmq_status dmq_ldm_unet_create(dmq_model **out, const dmq_ldm_unet_config *config)
{
    dmq_status st = DMQ_OK;
    dmq_model *m = NULL;
    dmq_ldm *net = NULL;
    dmq_build b;

    DMQ_TRY(dmq_alloc((void **)&net, 1, sizeof *net));
    net->config = *config;
    DMQ_TRY(dmq_ldm_plan(net));
    DMQ_TRY(dmq_build_begin(&b, &arch));
    dmq_ldm_build(&b, net);
    DMQ_TRY(dmq_build_finish(&m, &b));
    m->input = dmq_shape4(1, config->resolution, config->resolution, config->in_channels);
    m->n_classes = config->n_classes;
    m->n_labels = config->n_classes > 0 ? config->n_classes + 1 : 0;
    m->config = net;
    net = NULL;
    DMQ_TRY(dmq_ldm_unet_text(&m->config_text, config));
    *out = m;
    m = NULL;
done:
    dmq_free(net);
    dmq_model_destroy(m);
    return st;
}

dmq_status dmq_ldm_unet_create_text(dmq_model **out, const char *text)
{
    dmq_status st = DMQ_OK;
    dmq_ldm_unet_config c = { 0 };
    dmq_model *m = NULL;
    const struct {
        const char *key;
        int *value;
    } number[] = {
        { "in_channels", &c.in_channels },
        { "out_channels", &c.out_channels },
        { "resolution", &c.resolution },
        { "model_channels", &c.model_channels },
        { "num_res_blocks", &c.num_res_blocks },
        { "num_heads", &c.num_heads },
        { "num_head_channels", &c.num_head_channels },
        { "context_dim", &c.context_dim },
        { "n_classes", &c.n_classes },
        { "scale_shift", &c.scale_shift },
        { "resblock_updown", &c.resblock_updown },
        { "norm_groups", &c.norm_groups },
    };

    for (size_t i = 0; i < sizeof number / sizeof *number; i++)
        DMQ_TRY(dmq_config_text_int(number[i].value, text, number[i].key));
    DMQ_TRY(
        dmq_config_text_ints(c.channel_mult, &c.n_levels, DMQ_LDM_LEVELS, text, "channel_mult"));
    DMQ_TRY(dmq_config_text_ints(c.attention, &c.n_attention, DMQ_LDM_LEVELS, text,
                                 "attention_resolutions"));
    DMQ_TRY(dmq_ldm_unet_create(&m, &c));
    st = dmq_build_understood(out, &m, text);
done:
    dmq_model_destroy(m);
    return st;
}

const dmq_ldm_unet_config *dmq_ldm_unet_config_of(const dmq_model *model)
{
    assert(model->arch == &arch);
    return model->config; /* its first member */
}
