#include "model/unet_plan.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

enum { SKIPS = DMQ_UNET_LEVELS * DMQ_UNET_BLOCKS + 1 };

/* ------------------------------------------------------------------ settings */

static dmq_status outside(const char *key, int value, int low, int high)
{
    return dmq_fail(DMQ_EINVAL, "ddpm_unet: %s = %d: must be %d..%d", key, value, low, high);
}

static dmq_status check_ranges(const dmq_ddpm_unet_config *c)
{
    const struct {
        const char *key;
        int value, low, high;
    } range[] = {
        { "in_channels", c->in_channels, 1, 1024 },
        { "out_channels", c->out_channels, 1, 1024 },
        { "resolution", c->resolution, 1, 1024 },
        { "ch", c->ch, 4, 4096 }, /* two frequencies at least: the divisor is ch/2 - 1 */
        { "number of levels in ch_mult", c->n_levels, 1, DMQ_UNET_LEVELS },
        { "num_res_blocks", c->num_res_blocks, 1, DMQ_UNET_BLOCKS - 1 },
        { "number of attention resolutions", c->n_attention, 0, DMQ_UNET_LEVELS },
        { "norm_groups", c->norm_groups, 1, 4096 },
    };

    for (size_t i = 0; i < sizeof range / sizeof *range; i++) {
        if (range[i].value < range[i].low || range[i].value > range[i].high)
            return outside(range[i].key, range[i].value, range[i].low, range[i].high);
    }
    for (int i = 0; i < c->n_levels; i++) {
        if (c->ch_mult[i] < 1 || c->ch_mult[i] > 64)
            return outside("ch_mult", c->ch_mult[i], 1, 64);
    }
    if (!(c->norm_eps > 0 && c->norm_eps < 1)) {
        return dmq_fail(DMQ_EINVAL, "ddpm_unet: norm_eps = %g: must lie between 0 and 1",
                        c->norm_eps);
    }
    return DMQ_OK;
}

static dmq_status check(const dmq_ddpm_unet_config *c)
{
    dmq_status st = check_ranges(c);

    if (st != DMQ_OK)
        return st;
    if (c->ch % 2) {
        return dmq_fail(DMQ_EINVAL, "ddpm_unet: ch = %d: must be even, half sines, half cosines",
                        c->ch);
    }
    if (c->resolution % (1 << (c->n_levels - 1))) {
        return dmq_fail(DMQ_EINVAL,
                        "ddpm_unet: resolution = %d cannot be halved %d times for %d levels",
                        c->resolution, c->n_levels - 1, c->n_levels);
    }
    for (int i = 0; i < c->n_attention; i++) {
        int found = 0;
        for (int level = 0; level < c->n_levels; level++)
            found |= c->attention[i] == c->resolution >> level;
        if (!found) {
            return dmq_fail(DMQ_EINVAL, "ddpm_unet: attention at %d: the levels are at %d..%d",
                            c->attention[i], c->resolution >> (c->n_levels - 1), c->resolution);
        }
    }
    return DMQ_OK;
}

/* ------------------------------------------------------------------ the list of units */

static int attends(const dmq_ddpm_unet_config *c, int size)
{
    for (int i = 0; i < c->n_attention; i++) {
        if (c->attention[i] == size)
            return 1;
    }
    return 0;
}

/** While planning: where the network is. */
typedef struct walk {
    dmq_unet *net;
    int c, size; /**< of the value made last */
    int value;   /**< made last */
    int skip[SKIPS], skip_c[SKIPS], n_skips;
} walk;

static dmq_unet_step *plan(walk *w, dmq_unet_kind kind, int c_out, int order, const char *format,
                           ...) __attribute__((format(printf, 5, 6)));

static dmq_unet_step *plan(walk *w, dmq_unet_kind kind, int c_out, int order, const char *format,
                           ...)
{
    dmq_unet_step *s = &w->net->step[w->net->n_steps++];
    va_list args;

    assert(w->net->n_steps <= DMQ_UNET_STEPS);
    va_start(args, format);
    vsnprintf(s->name, sizeof s->name, format, args);
    va_end(args);
    s->kind = kind;
    s->c_in = w->c;
    s->c_out = c_out;
    s->order = order;
    s->in = w->value;
    s->skip = -1;
    s->out = ++w->value; /* values of x are numbered without gaps; embeddings come behind them */
    w->c = c_out;
    if (kind == DMQ_UNET_DOWNSAMPLE)
        w->size /= 2;
    if (kind == DMQ_UNET_UPSAMPLE)
        w->size *= 2;
    s->size = w->size;
    return s;
}

static void push(walk *w)
{
    w->skip[w->n_skips] = w->value;
    w->skip_c[w->n_skips++] = w->c;
}

static void pop(walk *w, dmq_unet_step *s)
{
    s->skip = w->skip[--w->n_skips];
    s->c_skip = w->skip_c[w->n_skips];
}

/* Registration order: down levels, mid, then up levels from the highest resolution on; within a
   level all residual blocks, all attention blocks, the change of resolution. */
enum { ORDER_DOWN = 1000, ORDER_MID = 2000, ORDER_UP = 3000, ORDER_OUT = 4000, LEVEL = 100 };
enum { ORDER_ATTENTION = 32, ORDER_RESAMPLE = 64 };

static void plan_down(walk *w, const dmq_ddpm_unet_config *c)
{
    for (int level = 0; level < c->n_levels; level++) {
        int order = ORDER_DOWN + LEVEL * level, width = c->ch * c->ch_mult[level];
        for (int b = 0; b < c->num_res_blocks; b++) {
            plan(w, DMQ_UNET_RESBLOCK, width, order + b, "down.%d.block.%d", level, b);
            if (attends(c, w->size)) {
                plan(w, DMQ_UNET_ATTENTION, width, order + ORDER_ATTENTION + b, "down.%d.attn.%d",
                     level, b);
            }
            push(w);
        }
        if (level + 1 < c->n_levels) {
            plan(w, DMQ_UNET_DOWNSAMPLE, width, order + ORDER_RESAMPLE, "down.%d.downsample.conv",
                 level);
            push(w);
        }
    }
}

static void plan_up(walk *w, const dmq_ddpm_unet_config *c)
{
    for (int level = c->n_levels - 1; level >= 0; level--) {
        int order = ORDER_UP + LEVEL * level, width = c->ch * c->ch_mult[level];
        for (int b = 0; b <= c->num_res_blocks; b++) {
            pop(w, plan(w, DMQ_UNET_RESBLOCK, width, order + b, "up.%d.block.%d", level, b));
            if (attends(c, w->size)) {
                plan(w, DMQ_UNET_ATTENTION, width, order + ORDER_ATTENTION + b, "up.%d.attn.%d",
                     level, b);
            }
        }
        if (level > 0)
            plan(w, DMQ_UNET_UPSAMPLE, width, order + ORDER_RESAMPLE, "up.%d.upsample.conv", level);
    }
}

dmq_status dmq_unet_plan(dmq_unet *net)
{
    const dmq_ddpm_unet_config *c = &net->config;
    dmq_status st = check(c);
    walk w = { .net = net, .c = c->in_channels, .size = c->resolution };

    if (st != DMQ_OK)
        return st;
    plan(&w, DMQ_UNET_CONV_IN, c->ch, 0, "conv_in");
    push(&w);
    plan_down(&w, c);
    plan(&w, DMQ_UNET_RESBLOCK, w.c, ORDER_MID, "mid.block_1");
    plan(&w, DMQ_UNET_ATTENTION, w.c, ORDER_MID + 1, "mid.attn_1");
    plan(&w, DMQ_UNET_RESBLOCK, w.c, ORDER_MID + 2, "mid.block_2");
    plan_up(&w, c);
    plan(&w, DMQ_UNET_CONV_OUT, c->out_channels, ORDER_OUT, "conv_out");
    assert(w.n_skips == 0);
    for (int i = 0; i < net->n_steps; i++) {
        const dmq_unet_step *s = &net->step[i];
        int width[2] = { s->c_in + s->c_skip, s->c_out };
        for (int k = 0; k < 2 && s->kind == DMQ_UNET_RESBLOCK; k++) {
            if (width[k] % c->norm_groups) {
                return dmq_fail(DMQ_EINVAL,
                                "ddpm_unet: norm_groups = %d does not divide the %d channels of %s",
                                c->norm_groups, width[k], s->name);
            }
        }
    }
    return DMQ_OK;
}
