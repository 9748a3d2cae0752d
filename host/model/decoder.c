#include "model/decoder.h"

#include "base/memory.h"
#include "model/build.h"
#include "model/config_text.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const dmq_decoder_config dmq_decoder_vq_f4 = {
    .resolution = 256,
    .out_channels = 3,
    .ch = 128,
    .ch_mult = { 1, 2, 4 },
    .n_levels = 3,
    .num_res_blocks = 2,
    .z_channels = 3,
    .embed_dim = 3,
    .n_embed = 8192,
    .norm_groups = 32,
    .norm_eps = 1e-6,
};

const dmq_decoder_config dmq_decoder_kl_f8 = {
    .resolution = 256,
    .out_channels = 3,
    .ch = 128,
    .ch_mult = { 1, 2, 4, 4 },
    .n_levels = 4,
    .num_res_blocks = 2,
    .z_channels = 4,
    .embed_dim = 4,
    .norm_groups = 32,
    .norm_eps = 1e-6,
};

/* Entries: of weights and norms the first of two. */
typedef struct block {
    int norm[2], conv[2];
    int shortcut; /* -1: none */
} block;

typedef struct level {
    block block[DMQ_DECODER_BLOCKS + 1];
    int upsample; /* -1: none */
} level;

typedef struct net {
    dmq_decoder_config config; /* first: dmq_model.config is also one of these */
    int codes;                 /* -1: KL */
    int post_quant, conv_in;
    block mid[2];
    int attn_norm, attn[4]; /* q, k, v, proj_out */
    level up[DMQ_DECODER_LEVELS];
    int norm_out, conv_out;
} net;

static const dmq_arch arch = { .kind = "decoder" };

/* ------------------------------------------------------------------ settings */

static dmq_status range(const char *key, int value, int lo, int hi)
{
    if (value < lo || value > hi)
        return dmq_fail(DMQ_EINVAL, "decoder: %s = %d: must be %d..%d", key, value, lo, hi);
    return DMQ_OK;
}

static dmq_status check(const dmq_decoder_config *c)
{
    dmq_status st = DMQ_OK;
    int factor;

    DMQ_TRY(range("levels of ch_mult", c->n_levels, 1, DMQ_DECODER_LEVELS));
    DMQ_TRY(range("resolution", c->resolution, 1, 1 << 14));
    DMQ_TRY(range("out_channels", c->out_channels, 1, 64));
    DMQ_TRY(range("ch", c->ch, 1, 4096));
    DMQ_TRY(range("num_res_blocks", c->num_res_blocks, 0, DMQ_DECODER_BLOCKS));
    DMQ_TRY(range("z_channels", c->z_channels, 1, 1024));
    DMQ_TRY(range("embed_dim", c->embed_dim, 1, 1024));
    DMQ_TRY(range("n_embed", c->n_embed, 0, 1 << 20));
    DMQ_TRY(range("norm_groups", c->norm_groups, 1, 1024));
    factor = 1 << (c->n_levels - 1);
    if (c->resolution % factor != 0) {
        st = dmq_fail(DMQ_EINVAL,
                      "decoder: resolution = %d: must be a multiple of %d, because ch_mult has %d "
                      "levels",
                      c->resolution, factor, c->n_levels);
        goto done;
    }
    for (int i = 0; i < c->n_levels; i++) {
        DMQ_TRY(range("ch_mult", c->ch_mult[i], 1, 64));
        if (c->ch * c->ch_mult[i] % c->norm_groups != 0) {
            st = dmq_fail(DMQ_EINVAL,
                          "decoder: norm_groups = %d: must divide the %d channels of level %d",
                          c->norm_groups, c->ch * c->ch_mult[i], i);
            goto done;
        }
    }
done:
    return st;
}

static dmq_status text_of(char **out, const dmq_decoder_config *c)
{
    char text[DMQ_CONFIG_TEXT];
    size_t n;

    (void)snprintf(text, sizeof text, "resolution: %d\nout_channels: %d\nch: %d\n", c->resolution,
                   c->out_channels, c->ch);
    dmq_config_text_list(text, sizeof text, "ch_mult", c->ch_mult, c->n_levels);
    n = strlen(text);
    (void)snprintf(text + n, sizeof text - n,
                   "num_res_blocks: %d\nz_channels: %d\nembed_dim: %d\nn_embed: %d\n"
                   "norm_groups: %d\nnorm_eps: %.9g\n",
                   c->num_res_blocks, c->z_channels, c->embed_dim, c->n_embed, c->norm_groups,
                   c->norm_eps);
    return dmq_strdup(out, text);
}

/* ------------------------------------------------------------------ making one */

static int conv(dmq_build *b, int out, int in, int kernel, const char *unit, const char *part)
{
    char name[2 * DMQ_NAME_MAX];

    (void)snprintf(name, sizeof name, "%s%s%s", unit, *unit ? "." : "", part);
    return dmq_build_weights(b, DMQ_LAYER_CONV, out, in, kernel, name);
}

static int norm(dmq_build *b, int channels, const char *unit, const char *part)
{
    char name[2 * DMQ_NAME_MAX];

    (void)snprintf(name, sizeof name, "%s.%s", unit, part);
    return dmq_build_norm(b, channels, name);
}

static void build_block(dmq_build *b, block *to, int in, int out, const char *name)
{
    to->norm[0] = norm(b, in, name, "norm1");
    to->conv[0] = conv(b, out, in, 3, name, "conv1");
    to->norm[1] = norm(b, out, name, "norm2");
    to->conv[1] = conv(b, out, out, 3, name, "conv2");
    to->shortcut = in == out ? -1 : conv(b, out, in, 1, name, "nin_shortcut");
}

/* Channels that come into a level: those of the one that runs before it. */
static int channels_into(const dmq_decoder_config *c, int i)
{
    return c->ch * c->ch_mult[i + 1 < c->n_levels ? i + 1 : i];
}

static void build_up(dmq_build *b, net *n)
{
    const dmq_decoder_config *c = &n->config;
    char name[DMQ_NAME_MAX];

    for (int i = 0; i < c->n_levels; i++) {
        int in = channels_into(c, i), out = c->ch * c->ch_mult[i];

        for (int k = 0; k <= c->num_res_blocks; k++, in = out) {
            (void)snprintf(name, sizeof name, "decoder.up.%d.block.%d", i, k);
            build_block(b, &n->up[i].block[k], in, out, name);
        }
        (void)snprintf(name, sizeof name, "decoder.up.%d.upsample", i);
        n->up[i].upsample = i == 0 ? -1 : conv(b, out, out, 3, name, "conv");
    }
}

static dmq_status build(dmq_model **out, net *n)
{
    static const char *const part[] = { "q", "k", "v", "proj_out" };
    const dmq_decoder_config *c = &n->config;
    int top = c->ch * c->ch_mult[c->n_levels - 1];
    dmq_build b;
    dmq_status st = dmq_build_begin(&b, &arch);

    if (st != DMQ_OK)
        return st;
    n->conv_in = conv(&b, top, c->z_channels, 3, "decoder", "conv_in");
    build_block(&b, &n->mid[0], top, top, "decoder.mid.block_1");
    n->attn_norm = norm(&b, top, "decoder.mid.attn_1", "norm");
    for (int i = 0; i < 4; i++)
        n->attn[i] = conv(&b, top, top, 1, "decoder.mid.attn_1", part[i]);
    build_block(&b, &n->mid[1], top, top, "decoder.mid.block_2");
    build_up(&b, n);
    n->norm_out = norm(&b, c->ch * c->ch_mult[0], "decoder", "norm_out");
    n->conv_out = conv(&b, c->out_channels, c->ch * c->ch_mult[0], 3, "decoder", "conv_out");
    n->codes = -1;
    if (c->n_embed > 0) {
        n->codes = dmq_build_entry(&b, dmq_shape2(c->n_embed, c->embed_dim), 0,
                                   "quantize.embedding.weight");
    }
    n->post_quant = conv(&b, c->z_channels, c->embed_dim, 1, "", "post_quant_conv");
    return dmq_build_finish(out, &b);
}

dmq_status dmq_decoder_create(dmq_model **out, const dmq_decoder_config *config)
{
    dmq_status st = DMQ_OK;
    dmq_model *m = NULL;
    void *memory = NULL;
    int size;

    DMQ_TRY(check(config));
    DMQ_TRY(dmq_alloc(&memory, 1, sizeof(net)));
    ((net *)memory)->config = *config;
    DMQ_TRY(build(&m, memory));
    size = config->resolution >> (config->n_levels - 1);
    m->input = dmq_shape4(1, size, size, config->embed_dim);
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

dmq_status dmq_decoder_create_text(dmq_model **out, const char *config_text)
{
    dmq_status st = DMQ_OK;
    dmq_decoder_config c = { 0 };
    dmq_model *m = NULL;

    DMQ_TRY(dmq_config_text_int(&c.resolution, config_text, "resolution"));
    DMQ_TRY(dmq_config_text_int(&c.out_channels, config_text, "out_channels"));
    DMQ_TRY(dmq_config_text_int(&c.ch, config_text, "ch"));
    DMQ_TRY(
        dmq_config_text_ints(c.ch_mult, &c.n_levels, DMQ_DECODER_LEVELS, config_text, "ch_mult"));
    DMQ_TRY(dmq_config_text_int(&c.num_res_blocks, config_text, "num_res_blocks"));
    DMQ_TRY(dmq_config_text_int(&c.z_channels, config_text, "z_channels"));
    DMQ_TRY(dmq_config_text_int(&c.embed_dim, config_text, "embed_dim"));
    DMQ_TRY(dmq_config_text_int(&c.n_embed, config_text, "n_embed"));
    DMQ_TRY(dmq_config_text_int(&c.norm_groups, config_text, "norm_groups"));
    DMQ_TRY(dmq_config_text_double(&c.norm_eps, config_text, "norm_eps"));
    DMQ_TRY(dmq_decoder_create(&m, &c));
    st = dmq_build_understood(out, &m, config_text);
done:
    dmq_model_destroy(m);
    return st;
}

int dmq_decoder_is(const dmq_model *model)
{
    return model->arch == &arch;
}

const dmq_decoder_config *dmq_decoder_config_of(const dmq_model *model)
{
    assert(dmq_decoder_is(model));
    return model->config;
}

dmq_shape dmq_decoder_image(const dmq_model *model)
{
    const dmq_decoder_config *c = dmq_decoder_config_of(model);

    return dmq_shape4(1, c->resolution, c->resolution, c->out_channels);
}

/* ------------------------------------------------------------------ recording */

typedef struct pass {
    const dmq_model *model;
    const net *net;
    dmq_tape *tape;
} pass;

static dmq_var *leaf(const pass *p, int entry)
{
    return dmq_model_leaf(p->model, p->tape, entry);
}

static dmq_var *convolve(const pass *p, dmq_var *x, int entry)
{
    int around = p->model->entry[entry].shape.dim[1] / 2;

    return dmq_record_conv2d(p->tape, x, leaf(p, entry), leaf(p, entry + 1), 1,
                             (dmq_pad){ around, around, around, around });
}

static dmq_var *normalize(const pass *p, dmq_var *x, int entry)
{
    return dmq_record_group_norm(p->tape, x, leaf(p, entry), leaf(p, entry + 1),
                                 p->net->config.norm_groups, p->net->config.norm_eps);
}

static dmq_var *normalize_silu(const pass *p, dmq_var *x, int entry)
{
    return dmq_record_unary(p->tape, DMQ_SILU, normalize(p, x, entry));
}

static dmq_var *residual(const pass *p, dmq_var *x, const block *b)
{
    dmq_var *h = convolve(p, normalize_silu(p, x, b->norm[0]), b->conv[0]);

    h = convolve(p, normalize_silu(p, h, b->norm[1]), b->conv[1]);
    if (b->shortcut >= 0)
        x = convolve(p, x, b->shortcut);
    return dmq_record_binary(p->tape, DMQ_ADD, x, h);
}

static dmq_var *attend(const pass *p, dmq_var *x)
{
    dmq_var *h, *part[3];
    dmq_shape image, tokens;

    if (!x)
        return NULL;
    image = x->shape;
    tokens = dmq_shape3(image.dim[0], image.dim[1] * image.dim[2], image.dim[3]);
    h = normalize(p, x, p->net->attn_norm);
    for (int i = 0; i < 3; i++)
        part[i] = dmq_record_reshape(p->tape, convolve(p, h, p->net->attn[i]), tokens);
    h = dmq_record_attention(p->tape, part[0], part[1], part[2], 1, 1 / sqrt((double)image.dim[3]));
    h = convolve(p, dmq_record_reshape(p->tape, h, image), p->net->attn[3]);
    return dmq_record_binary(p->tape, DMQ_ADD, x, h);
}

dmq_var *dmq_decoder_record(const dmq_model *model, dmq_tape *tape, dmq_var *z, dmq_var **quantized)
{
    const pass p = { model, model->config, tape };
    const dmq_decoder_config *c = dmq_decoder_config_of(model);
    dmq_var *h = z;

    if (p.net->codes >= 0)
        h = dmq_record_nearest(tape, h, leaf(&p, p.net->codes));
    if (quantized)
        *quantized = h;
    h = convolve(&p, convolve(&p, h, p.net->post_quant), p.net->conv_in);
    h = attend(&p, residual(&p, h, &p.net->mid[0]));
    h = residual(&p, h, &p.net->mid[1]);
    for (int i = c->n_levels - 1; i >= 0; i--) {
        for (int k = 0; k <= c->num_res_blocks; k++)
            h = residual(&p, h, &p.net->up[i].block[k]);
        if (i > 0)
            h = convolve(&p, dmq_record_upsample(tape, h, 2), p.net->up[i].upsample);
    }
    return convolve(&p, normalize_silu(&p, h, p.net->norm_out), p.net->conv_out);
}
