#include "model/ldm_plan.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SKIPS = DMQ_LDM_LEVELS * DMQ_LDM_BLOCKS + 1 };

/* ------------------------------------------------------------------ settings */

static dmq_status outside(const char *key, int value, int low, int high)
{
    return dmq_fail(DMQ_EINVAL, "ldm_unet: %s = %d: must be %d..%d", key, value, low, high);
}

static dmq_status check_ranges(const dmq_ldm_unet_config *c)
{
    const struct {
        const char *key;
        int value, low, high;
    } range[] = {
        { "in_channels", c->in_channels, 1, 1024 },
        { "out_channels", c->out_channels, 1, 1024 },
        { "resolution", c->resolution, 1, 1024 },
        { "model_channels", c->model_channels, 2, 4096 },
        { "number of levels in channel_mult", c->n_levels, 1, DMQ_LDM_LEVELS },
        { "num_res_blocks", c->num_res_blocks, 1, DMQ_LDM_BLOCKS - 1 },
        { "number of attention resolutions", c->n_attention, 0, DMQ_LDM_LEVELS },
        { "num_heads", c->num_heads, 0, 1024 },
        { "num_head_channels", c->num_head_channels, 0, 4096 },
        { "context_dim", c->context_dim, 0, 65536 },
        { "n_classes", c->n_classes, 0, 1 << 24 },
        { "scale_shift", c->scale_shift, 0, 1 },
        { "resblock_updown", c->resblock_updown, 0, 1 },
        { "norm_groups", c->norm_groups, 1, 4096 },
    };

    for (size_t i = 0; i < sizeof range / sizeof *range; i++) {
        if (range[i].value < range[i].low || range[i].value > range[i].high)
            return outside(range[i].key, range[i].value, range[i].low, range[i].high);
    }
    for (int i = 0; i < c->n_levels; i++) {
        if (c->channel_mult[i] < 1 || c->channel_mult[i] > 64)
            return outside("channel_mult", c->channel_mult[i], 1, 64);
    }
    return DMQ_OK;
}

static dmq_status check(const dmq_ldm_unet_config *c)
{
    dmq_status st = check_ranges(c);

    if (st != DMQ_OK)
        return st;
    if (c->model_channels % 2) {
        return dmq_fail(DMQ_EINVAL,
                        "ldm_unet: model_channels = %d: must be even, half cosines, half sines",
                        c->model_channels);
    }
    if (c->resolution % (1 << (c->n_levels - 1))) {
        return dmq_fail(DMQ_EINVAL,
                        "ldm_unet: resolution = %d cannot be halved %d times for %d levels",
                        c->resolution, c->n_levels - 1, c->n_levels);
    }
    if ((c->num_heads > 0) == (c->num_head_channels > 0)) {
        return dmq_fail(
            DMQ_EINVAL,
            "ldm_unet: num_heads = %d and num_head_channels = %d: one of them must be 0",
            c->num_heads, c->num_head_channels);
    }
    if ((c->context_dim > 0) != (c->n_classes > 0)) {
        return dmq_fail(DMQ_EINVAL,
                        "ldm_unet: context_dim = %d and n_classes = %d: the context of a "
                        "transformer is a row of the table of classes; set both or none",
                        c->context_dim, c->n_classes);
    }
    for (int i = 0; i < c->n_attention; i++) {
        int found = 0;
        for (int level = 0; level < c->n_levels; level++)
            found |= c->attention[i] == 1 << level;
        if (!found) {
            return dmq_fail(DMQ_EINVAL,
                            "ldm_unet: attention_resolutions has %d: levels are divided by 1..%d",
                            c->attention[i], 1 << (c->n_levels - 1));
        }
    }
    return DMQ_OK;
}

int dmq_ldm_heads(const dmq_ldm_unet_config *c, int channels)
{
    return c->num_heads > 0 ? c->num_heads : channels / c->num_head_channels;
}

/* Widths against groups and heads, once they are known. */
static dmq_status check_widths(const dmq_ldm *net)
{
    const dmq_ldm_unet_config *c = &net->config;

    for (int i = 0; i < net->n_steps; i++) {
        const dmq_ldm_step *s = &net->step[i];
        int width[2] = { s->c_in + s->c_skip, s->c_out };

        for (int k = 0; k < 2 && (s->kind == DMQ_LDM_RESBLOCK || s->kind == DMQ_LDM_ATTENTION ||
                                  s->kind == DMQ_LDM_PROJ_IN);
             k++) {
            if (width[k] % c->norm_groups) {
                return dmq_fail(DMQ_EINVAL,
                                "ldm_unet: norm_groups = %d does not divide the %d channels of %s",
                                c->norm_groups, width[k], s->name);
            }
        }
        if ((s->kind == DMQ_LDM_ATTENTION || s->kind == DMQ_LDM_TRANSFORMER) &&
            s->c_out % (c->num_heads > 0 ? c->num_heads : c->num_head_channels)) {
            return dmq_fail(DMQ_EINVAL,
                            "ldm_unet: the %d channels of %s cannot be divided by %s %d", s->c_out,
                            s->name, c->num_heads > 0 ? "num_heads" : "num_head_channels",
                            c->num_heads > 0 ? c->num_heads : c->num_head_channels);
        }
    }
    return DMQ_OK;
}

/* ------------------------------------------------------------------ the list of units */

/** While planning: where the network is. */
typedef struct walk {
    dmq_ldm *net;
    int c, size, factor; /**< of the value made last; what the resolution was divided by */
    int value;           /**< made last */
    char block[32];      /**< "input_blocks.4" */
    int module;          /**< next of the block */
    int skip[SKIPS], skip_c[SKIPS], n_skips;
} walk;

static void name_block(walk *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void name_block(walk *w, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(w->block, sizeof w->block, format, args);
    va_end(args);
    w->module = 0;
}

/* part: what follows the name of the module, "" or ".proj_in"; a new module unless it is a later part. */
static dmq_ldm_step *add(walk *w, dmq_ldm_kind kind, int c_out, const char *part)
{
    dmq_ldm_step *s = &w->net->step[w->net->n_steps++];
    int later = kind == DMQ_LDM_TRANSFORMER || kind == DMQ_LDM_PROJ_OUT;

    assert(w->net->n_steps <= DMQ_LDM_STEPS);
    w->module += !later;
    snprintf(s->site, sizeof s->site, "%s.%d", w->block, w->module - 1);
    snprintf(s->name, sizeof s->name, "%s.%d%s", w->block, w->module - 1, part);
    s->kind = kind;
    s->c_in = w->c;
    s->c_out = c_out;
    s->in = w->value;
    s->in1 = -1;
    s->out = ++w->value; /* values of x are numbered without gaps; embeddings come behind them */
    w->c = c_out;
    s->size = w->size;
    return s;
}

static void resample(walk *w, dmq_ldm_step *s, int direction)
{
    w->size = direction > 0 ? 2 * w->size : w->size / 2;
    w->factor = direction > 0 ? w->factor / 2 : 2 * w->factor;
    s->size = w->size;
    if (s->kind == DMQ_LDM_RESBLOCK)
        s->resample = direction;
}

static void add_attention(walk *w)
{
    int x = w->value;

    if (w->net->config.context_dim == 0) {
        add(w, DMQ_LDM_ATTENTION, w->c, "");
        return;
    }
    add(w, DMQ_LDM_PROJ_IN, w->c, ".proj_in");
    add(w, DMQ_LDM_TRANSFORMER, w->c, ".transformer_blocks.0");
    add(w, DMQ_LDM_PROJ_OUT, w->c, ".proj_out")->in1 = x;
}

static void add_attention_here(walk *w)
{
    const dmq_ldm_unet_config *c = &w->net->config;

    for (int i = 0; i < c->n_attention; i++) {
        if (c->attention[i] == w->factor) {
            add_attention(w);
            return;
        }
    }
}

static void push(walk *w)
{
    w->skip[w->n_skips] = w->value;
    w->skip_c[w->n_skips++] = w->c;
}

static void pop(walk *w, dmq_ldm_step *s)
{
    s->in1 = w->skip[--w->n_skips];
    s->c_skip = w->skip_c[w->n_skips];
}

static void plan_down(walk *w, const dmq_ldm_unet_config *c)
{
    int block = 1;

    for (int level = 0; level < c->n_levels; level++) {
        for (int i = 0; i < c->num_res_blocks; i++) {
            name_block(w, "input_blocks.%d", block++);
            add(w, DMQ_LDM_RESBLOCK, c->model_channels * c->channel_mult[level], "");
            add_attention_here(w);
            push(w);
        }
        if (level + 1 < c->n_levels) {
            name_block(w, "input_blocks.%d", block++);
            resample(w,
                     c->resblock_updown ? add(w, DMQ_LDM_RESBLOCK, w->c, "")
                                        : add(w, DMQ_LDM_DOWN, w->c, ".op"),
                     -1);
            push(w);
        }
    }
}

static void plan_up(walk *w, const dmq_ldm_unet_config *c)
{
    int block = 0;

    for (int level = c->n_levels - 1; level >= 0; level--) {
        for (int i = 0; i <= c->num_res_blocks; i++) {
            name_block(w, "output_blocks.%d", block++);
            pop(w, add(w, DMQ_LDM_RESBLOCK, c->model_channels * c->channel_mult[level], ""));
            add_attention_here(w);
            if (level > 0 && i == c->num_res_blocks) {
                resample(w,
                         c->resblock_updown ? add(w, DMQ_LDM_RESBLOCK, w->c, "")
                                            : add(w, DMQ_LDM_UP, w->c, ".conv"),
                         1);
            }
        }
    }
}

dmq_status dmq_ldm_plan(dmq_ldm *net)
{
    const dmq_ldm_unet_config *c = &net->config;
    dmq_status st = check(c);
    walk w = { .net = net, .c = c->in_channels, .size = c->resolution, .factor = 1 };

    if (st != DMQ_OK)
        return st;
    name_block(&w, "input_blocks.0");
    add(&w, DMQ_LDM_CONV_IN, c->model_channels, "");
    push(&w);
    plan_down(&w, c);
    name_block(&w, "middle_block");
    add(&w, DMQ_LDM_RESBLOCK, w.c, "");
    add_attention(&w);
    add(&w, DMQ_LDM_RESBLOCK, w.c, "");
    plan_up(&w, c);
    name_block(&w, "out");
    add(&w, DMQ_LDM_OUT, c->out_channels, "");
    strcpy(net->step[net->n_steps - 1].name, "out.2"); /* out.0 is its norm, out.1 SiLU */
    assert(w.n_skips == 0);
    return check_widths(net);
}
