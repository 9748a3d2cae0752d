#include "model/dit.h"

#include "base/memory.h"
#include "model/build.h"
#include "model/config_text.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FREQUENCIES = 256, DIVISOR = FREQUENCIES / 2 };
#define NORM_EPS 1e-6

const dmq_dit_config dmq_dit_xl2_256 = {
    .in_channels = 4,
    .out_channels = 8,
    .resolution = 32,
    .patch = 2,
    .hidden = 1152,
    .depth = 28,
    .heads = 16,
    .n_classes = 1000,
};

/* Numbers of values between units. */
enum { VALUE_X, VALUE_C, VALUE_TOKENS };

/* Layers of a block, as positions in its list; of the final layer the first and LINEAR. */
enum { ADA_LN, QKV, PROJ, FC1, FC2, BLOCK_LAYERS };
enum { LINEAR = 1 };

typedef struct net {
    dmq_dit_config config; /* first: dmq_model.config is also one of these */
    int pos_embed, table;  /* entries */
    int proj, mlp[2];      /* of their weights */
    int block[DMQ_DIT_BLOCKS][BLOCK_LAYERS];
    int last[2];
} net;

static int tokens_of(const dmq_dit_config *c)
{
    return (c->resolution / c->patch) * (c->resolution / c->patch);
}

/* ------------------------------------------------------------------ settings */

static dmq_status range(const char *key, int value, int lo, int hi)
{
    if (value < lo || value > hi)
        return dmq_fail(DMQ_EINVAL, "dit: %s = %d: must be %d..%d", key, value, lo, hi);
    return DMQ_OK;
}

static dmq_status check(const dmq_dit_config *c)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(range("in_channels", c->in_channels, 1, 64));
    DMQ_TRY(range("out_channels", c->out_channels, 1, 128));
    DMQ_TRY(range("resolution", c->resolution, 1, 4096));
    DMQ_TRY(range("patch", c->patch, 1, 64));
    DMQ_TRY(range("hidden", c->hidden, 1, 1 << 16));
    DMQ_TRY(range("depth", c->depth, 1, DMQ_DIT_BLOCKS));
    DMQ_TRY(range("heads", c->heads, 1, 1024));
    DMQ_TRY(range("n_classes", c->n_classes, 1, 1 << 20));
    if (c->resolution % c->patch != 0) {
        st = dmq_fail(DMQ_EINVAL, "dit: resolution = %d: must be a multiple of patch = %d",
                      c->resolution, c->patch);
    } else if (c->hidden % c->heads != 0) {
        st = dmq_fail(DMQ_EINVAL, "dit: hidden = %d: must be a multiple of heads = %d", c->hidden,
                      c->heads);
    }
done:
    return st;
}

dmq_status dmq_dit_text(char **out, const dmq_dit_config *c)
{
    char text[DMQ_CONFIG_TEXT];

    (void)snprintf(text, sizeof text,
                   "in_channels: %d\nout_channels: %d\nresolution: %d\npatch: %d\nhidden: %d\n"
                   "depth: %d\nheads: %d\nn_classes: %d\n",
                   c->in_channels, c->out_channels, c->resolution, c->patch, c->hidden, c->depth,
                   c->heads, c->n_classes);
    return dmq_strdup(out, text);
}

/* ------------------------------------------------------------------ making one */

static int linear(dmq_build *b, int out, int in, const char *name)
{
    return dmq_build_weights(b, DMQ_LAYER_LINEAR, out, in, 1, name);
}

static const char *name_of(char out[DMQ_NAME_MAX], int block, const char *part)
{
    (void)snprintf(out, DMQ_NAME_MAX, "blocks.%d.%s", block, part);
    return out;
}

/* Layers of a block in order of execution; the state dict has adaLN last. */
static const char *const part[BLOCK_LAYERS] = { "adaLN_modulation.1", "attn.qkv", "attn.proj",
                                                "mlp.fc1", "mlp.fc2" };

static void build_entries(dmq_build *b, net *n)
{
    const dmq_dit_config *c = &n->config;
    int d = c->hidden;
    char name[DMQ_NAME_MAX];

    n->pos_embed = dmq_build_entry(b, dmq_shape3(1, tokens_of(c), d), 0, "pos_embed");
    n->proj = dmq_build_weights(b, DMQ_LAYER_CONV, d, c->in_channels, c->patch, "x_embedder.proj");
    n->mlp[0] = linear(b, d, FREQUENCIES, "t_embedder.mlp.0");
    n->mlp[1] = linear(b, d, d, "t_embedder.mlp.2");
    n->table =
        dmq_build_entry(b, dmq_shape2(c->n_classes + 1, d), 0, "y_embedder.embedding_table.weight");
    for (int i = 0; i < c->depth; i++) {
        const int out[BLOCK_LAYERS] = { 6 * d, 3 * d, d, 4 * d, d };
        const int in[BLOCK_LAYERS] = { d, d, d, d, 4 * d };

        for (int k = 0; k < BLOCK_LAYERS; k++) {
            int l = (k + 1) % BLOCK_LAYERS;

            n->block[i][l] = linear(b, out[l], in[l], name_of(name, i, part[l]));
        }
    }
    n->last[LINEAR] = linear(b, c->patch * c->patch * c->out_channels, d, "final_layer.linear");
    n->last[ADA_LN] = linear(b, 2 * d, d, "final_layer.adaLN_modulation.1");
}

/* A linear layer of a unit; its widths are those of its weight. */
static void layer(dmq_build *b, int unit, int weights, dmq_layer like, const char *name)
{
    if (b->status != DMQ_OK)
        return;
    like.kind = DMQ_LAYER_LINEAR;
    like.out = b->model->entry[weights].shape.dim[0];
    like.in = b->model->entry[weights].shape.dim[1];
    like.kernel = like.stride = 1;
    (void)dmq_build_layer(b, unit, weights, &like, name);
}

static void build_units(dmq_build *b, const net *n)
{
    const dmq_dit_config *c = &n->config;
    const dmq_layer plain = { 0 }, temporal = { .temporal = 1 };
    const dmq_layer first = { .kind = DMQ_LAYER_CONV,
                              .out = c->hidden,
                              .in = c->in_channels,
                              .kernel = c->patch,
                              .stride = c->patch,
                              .first = 1 };
    char name[DMQ_NAME_MAX];
    int unit = dmq_build_unit(b, DMQ_UNIT_TEMPORAL, -1, -1, -1, -1, "temporal");

    layer(b, unit, n->mlp[0], temporal, "t_embedder.mlp.0");
    layer(b, unit, n->mlp[1], temporal, "t_embedder.mlp.2");
    unit = dmq_build_unit(b, DMQ_UNIT_LAYER, VALUE_X, -1, -1, VALUE_TOKENS, "x_embedder");
    (void)dmq_build_layer(b, unit, n->proj, &first, "x_embedder.proj");
    for (int i = 0; i < c->depth; i++) {
        (void)snprintf(name, sizeof name, "blocks.%d", i);
        unit = dmq_build_unit(b, DMQ_UNIT_TRANSFORMER, VALUE_TOKENS + i, -1, VALUE_C,
                              VALUE_TOKENS + i + 1, name);
        for (int k = 0; k < BLOCK_LAYERS; k++)
            layer(b, unit, n->block[i][k], plain, name_of(name, i, part[k]));
    }
    unit = dmq_build_unit(b, DMQ_UNIT_LAYER, VALUE_TOKENS + c->depth, -1, VALUE_C,
                          VALUE_TOKENS + c->depth + 1, "final_layer");
    layer(b, unit, n->last[ADA_LN], plain, "final_layer.adaLN_modulation.1");
    layer(b, unit, n->last[LINEAR], (dmq_layer){ .last = 1 }, "final_layer.linear");
}

static void build_values(dmq_build *b, const dmq_dit_config *c)
{
    int size = c->resolution;

    dmq_build_value(b, dmq_shape4(1, size, size, c->in_channels), 0);
    dmq_build_value(b, dmq_shape2(1, c->hidden), DMQ_OF_T | DMQ_OF_LABEL);
    for (int i = 0; i <= c->depth; i++)
        dmq_build_value(b, dmq_shape3(1, tokens_of(c), c->hidden), 0);
    dmq_build_value(b, dmq_shape4(1, size, size, c->out_channels), 0);
    if (b->status == DMQ_OK)
        b->model->output = VALUE_TOKENS + c->depth + 1;
}

/* ------------------------------------------------------------------ recording */

typedef struct pass {
    const dmq_model *model;
    const net *net;
    dmq_tape *tape;
    const dmq_hooks *hooks;
} pass;

static dmq_var *add(const pass *p, dmq_var *a, dmq_var *b)
{
    return dmq_record_binary(p->tape, DMQ_ADD, a, b);
}

static dmq_var *times(const pass *p, dmq_var *a, dmq_var *b)
{
    return dmq_record_binary(p->tape, DMQ_MUL, a, b);
}

/* Layer k of a unit. */
static dmq_var *apply(const pass *p, const dmq_unit *unit, int k, dmq_var *x)
{
    return dmq_model_record_layer(p->model, p->tape, p->hooks, unit->layer[k], x);
}

/* Part i of the modulation (N, parts * D). */
static dmq_var *chunk(const pass *p, dmq_var *modulation, int i)
{
    int d = p->net->config.hidden;

    return modulation ? dmq_record_slice(p->tape, modulation, 1, i * d, d) : NULL;
}

/* norm(x) (1 + scale) + shift; shift and scale are parts i and i + 1. */
static dmq_var *modulate(const pass *p, dmq_var *x, dmq_var *modulation, int i)
{
    dmq_var *h = dmq_record_layer_norm(p->tape, x, NULL, NULL, NORM_EPS);

    h = add(p, h, times(p, h, chunk(p, modulation, i + 1)));
    return add(p, h, chunk(p, modulation, i));
}

static dmq_var *block(const pass *p, const dmq_unit *unit, dmq_var *x, dmq_var *c)
{
    const dmq_dit_config *config = &p->net->config;
    dmq_var *m = apply(p, unit, ADA_LN, c), *h;

    h = apply(p, unit, QKV, modulate(p, x, m, 0));
    h = dmq_record_attention_qkv(p->tape, h, config->heads, 0,
                                 1 / sqrt((double)config->hidden / config->heads));
    x = add(p, x, times(p, apply(p, unit, PROJ, h), chunk(p, m, 2)));
    h = apply(p, unit, FC1, modulate(p, x, m, 3));
    h = apply(p, unit, FC2, dmq_record_unary(p->tape, DMQ_GELU_TANH, h));
    return add(p, x, times(p, h, chunk(p, m, 5)));
}

static dmq_var *embed_patches(const pass *p, const dmq_unit *unit, dmq_var *x)
{
    int tokens = tokens_of(&p->net->config), d = p->net->config.hidden, n;
    dmq_var *h = apply(p, unit, 0, x);
    dmq_var *pos = dmq_record_reshape(p->tape, dmq_model_leaf(p->model, p->tape, p->net->pos_embed),
                                      dmq_shape1(tokens * d));

    if (!h)
        return NULL;
    n = h->shape.dim[0];
    h = add(p, dmq_record_reshape(p->tape, h, dmq_shape2(n, tokens * d)), pos);
    return dmq_record_reshape(p->tape, h, dmq_shape3(n, tokens, d));
}

/* (n, i, j, p, q channels) -> (n, i, p, j, q channels): what was a token becomes patch x patch pixels. */
static dmq_var *unpatchify(const pass *p, dmq_var *h)
{
    static const int perm[4] = { 0, 2, 1, 3 };
    const dmq_dit_config *c = &p->net->config;
    int side = c->resolution / c->patch, n;

    if (!h)
        return NULL;
    n = h->shape.dim[0];
    h = dmq_record_reshape(p->tape, h,
                           dmq_shape4(n * side, side, c->patch, c->patch * c->out_channels));
    h = dmq_record_permute(p->tape, h, perm);
    return dmq_record_reshape(p->tape, h,
                              dmq_shape4(n, c->resolution, c->resolution, c->out_channels));
}

static dmq_var *record(const dmq_model *model, const dmq_unit *unit, dmq_tape *tape,
                       const dmq_hooks *hooks, dmq_var *in0, dmq_var *in1, dmq_var *emb)
{
    const pass p = { model, model->config, tape, hooks };
    dmq_var *h;

    (void)in1;
    if (unit->emb < 0)
        return embed_patches(&p, unit, in0);
    if (unit->out != model->output)
        return block(&p, unit, in0, emb);
    h = modulate(&p, in0, apply(&p, unit, ADA_LN, emb), 0);
    return unpatchify(&p, apply(&p, unit, LINEAR, h));
}

static dmq_status record_temporal(const dmq_model *model, dmq_tape *tape, const dmq_hooks *hooks,
                                  dmq_var *t, const dmq_index *label, dmq_var **emb)
{
    const pass p = { model, model->config, tape, hooks };
    const dmq_unit *unit = &model->unit[0];
    dmq_var *h = dmq_record_time_embed(tape, t, FREQUENCIES, DIVISOR, 1);
    dmq_var *known = dmq_record_embed(tape, dmq_model_leaf(model, tape, p.net->table), label);

    h = dmq_record_unary(tape, DMQ_SILU, apply(&p, unit, 0, h));
    h = add(&p, apply(&p, unit, 1, h), known);
    emb[VALUE_C] = dmq_record_unary(tape, DMQ_SILU, h); /* every block begins with it */
    return DMQ_OK;
}

static const dmq_arch arch = { "dit", record, record_temporal };

static dmq_status build(dmq_model **out, net *n)
{
    dmq_build b;
    dmq_status st = dmq_build_begin(&b, &arch);

    if (st != DMQ_OK)
        return st;
    build_entries(&b, n);
    build_values(&b, &n->config);
    build_units(&b, n);
    return dmq_build_finish(out, &b);
}

dmq_status dmq_dit_create(dmq_model **out, const dmq_dit_config *config)
{
    dmq_status st = DMQ_OK;
    dmq_model *m = NULL;
    void *memory = NULL;

    DMQ_TRY(check(config));
    DMQ_TRY(dmq_alloc(&memory, 1, sizeof(net)));
    ((net *)memory)->config = *config;
    DMQ_TRY(build(&m, memory));
    m->input = dmq_shape4(1, config->resolution, config->resolution, config->in_channels);
    m->n_classes = config->n_classes;
    m->n_labels = config->n_classes + 1;
    m->config = memory;
    memory = NULL;
    DMQ_TRY(dmq_dit_text(&m->config_text, config));
    *out = m;
    m = NULL;
done:
    dmq_free(memory);
    dmq_model_destroy(m);
    return st;
}

dmq_status dmq_dit_create_text(dmq_model **out, const char *config_text)
{
    dmq_status st = DMQ_OK;
    dmq_dit_config c = { 0 };
    dmq_model *m = NULL;

    DMQ_TRY(dmq_config_text_int(&c.in_channels, config_text, "in_channels"));
    DMQ_TRY(dmq_config_text_int(&c.out_channels, config_text, "out_channels"));
    DMQ_TRY(dmq_config_text_int(&c.resolution, config_text, "resolution"));
    DMQ_TRY(dmq_config_text_int(&c.patch, config_text, "patch"));
    DMQ_TRY(dmq_config_text_int(&c.hidden, config_text, "hidden"));
    DMQ_TRY(dmq_config_text_int(&c.depth, config_text, "depth"));
    DMQ_TRY(dmq_config_text_int(&c.heads, config_text, "heads"));
    DMQ_TRY(dmq_config_text_int(&c.n_classes, config_text, "n_classes"));
    DMQ_TRY(dmq_dit_create(&m, &c));
    st = dmq_build_understood(out, &m, config_text);
done:
    dmq_model_destroy(m);
    return st;
}

const dmq_dit_config *dmq_dit_config_of(const dmq_model *model)
{
    assert(model->arch == &arch);
    return model->config; /* its first member */
}
