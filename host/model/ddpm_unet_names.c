#include "model/ddpm_unet_names.h"

#include "model/ddpm_unet.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { VARIANTS = 2 };

typedef struct pair {
    const char *ours, *theirs[VARIANTS];
} pair;

static const pair top[] = {
    { "temb.dense.0.", { "time_embedding.linear_1.", NULL } },
    { "temb.dense.1.", { "time_embedding.linear_2.", NULL } },
    { "norm_out.", { "conv_norm_out.", NULL } },
    { "conv_in.", { "conv_in.", NULL } },
    { "conv_out.", { "conv_out.", NULL } },
    { "mid.block_1.", { "mid_block.resnets.0.", NULL } },
    { "mid.attn_1.", { "mid_block.attentions.0.", NULL } },
    { "mid.block_2.", { "mid_block.resnets.1.", NULL } },
};

static const pair part_of[] = {
    { "temb_proj.", { "time_emb_proj.", NULL } },
    { "nin_shortcut.", { "conv_shortcut.", NULL } },
    { "norm.", { "group_norm.", NULL } },
    { "q.", { "to_q.", "query." } },
    { "k.", { "to_k.", "key." } },
    { "v.", { "to_v.", "value." } },
    { "proj_out.", { "to_out.0.", "proj_attn." } },
};

enum { TOPS = sizeof top / sizeof *top, PARTS = sizeof part_of / sizeof *part_of };

/* The pair that a name begins with; NULL when there is none. */
static const pair *find(const pair *list, int n, const char *name)
{
    for (int i = 0; i < n; i++) {
        if (strncmp(list[i].ours, name, strlen(list[i].ours)) == 0)
            return &list[i];
    }
    return NULL;
}

/* "down.1.attn.0." -> "down_blocks.1.attentions.0."; what is behind it is left in *rest. */
static bool level(char out[64], const char **rest, const char *name, int n_levels)
{
    static const struct {
        const char *ours, *theirs;
    } member[] = { { "block.", "resnets." }, { "attn.", "attentions." } };
    int up = strncmp(name, "up.", 3) == 0, i = 0, j = 0, end = 0;
    const char *at;

    if ((!up && strncmp(name, "down.", 5) != 0) ||
        sscanf(name + (up ? 3 : 5), "%d.%n", &i, &end) != 1 || end == 0)
        return false;
    at = name + (up ? 3 : 5) + end;
    if (up)
        i = n_levels - 1 - i; /* theirs count in order of execution */
    if (strncmp(at, up ? "upsample." : "downsample.", up ? 9 : 11) == 0) {
        (void)snprintf(out, 64, "%s_blocks.%d.%ssamplers.0.", up ? "up" : "down", i,
                       up ? "up" : "down");
        *rest = at + (up ? 9 : 11);
        return true;
    }
    for (int k = 0; k < 2; k++) {
        size_t n = strlen(member[k].ours);

        end = 0;
        if (strncmp(at, member[k].ours, n) == 0 && sscanf(at + n, "%d.%n", &j, &end) == 1 && end) {
            (void)snprintf(out, 64, "%s_blocks.%d.%s%d.", up ? "up" : "down", i, member[k].theirs,
                           j);
            *rest = at + n + end;
            return true;
        }
    }
    return false;
}

bool dmq_ddpm_unet_diffusers_name(char out[DMQ_MAP_NAME], const dmq_model *model,
                                  const dmq_entry *entry, int variant, int part)
{
    const pair *p = find(top, TOPS, entry->name);
    const char *rest = entry->name, *inside = "";
    char front[64] = "";

    if (part > 0 || variant >= VARIANTS)
        return false;
    if (p) {
        (void)snprintf(front, sizeof front, "%s", p->theirs[0]);
        rest = entry->name + strlen(p->ours);
    } else if (!level(front, &rest, entry->name, dmq_ddpm_unet_config_of(model)->n_levels)) {
        return false;
    }
    p = find(part_of, PARTS, rest);
    if (p) {
        inside = p->theirs[variant];
        rest += strlen(p->ours);
    } else if (variant > 0) {
        return false;
    }
    return inside && snprintf(out, DMQ_MAP_NAME, "%s%s%s", front, inside, rest) < DMQ_MAP_NAME;
}

/* ------------------------------------------------------------------ config.json */

typedef struct told {
    const dmq_json *config;
    const char *path;
} told;

static dmq_status refuse(const told *t, const char *key, const char *what)
{
    return dmq_fail(DMQ_EDATA, "%s: %s must be %s for this network", t->path, key, what);
}

static dmq_status check_number(const told *t, const char *key, double wanted)
{
    const dmq_json *value = dmq_json_get(t->config, key);
    char text[32];

    if (fabs(dmq_json_real(value, NAN) - wanted) <= 1e-12)
        return DMQ_OK;
    (void)snprintf(text, sizeof text, "%.9g", wanted);
    return refuse(t, key, text);
}

static dmq_status check_false(const told *t, const char *key)
{
    return dmq_json_bool(dmq_json_get(t->config, key), true) ? refuse(t, key, "false") : DMQ_OK;
}

/* Blocks in order of execution: channels on the way down, attention in both. */
static dmq_status check_blocks(const told *t, const dmq_ddpm_unet_config *c)
{
    const dmq_json *channels = dmq_json_get(t->config, "block_out_channels");
    const dmq_json *down = dmq_json_get(t->config, "down_block_types");
    const dmq_json *up = dmq_json_get(t->config, "up_block_types");
    size_t n = (size_t)c->n_levels;

    if (dmq_json_count(channels) != n || dmq_json_count(down) != n || dmq_json_count(up) != n)
        return refuse(t, "the number of blocks", "that of model.ch_mult");
    for (int i = 0; i < c->n_levels; i++) {
        const char *type[2];
        int attention = 0, place = i;

        if (dmq_json_int(dmq_json_at(channels, (size_t)i), 0) != (int64_t)c->ch * c->ch_mult[i])
            return refuse(t, "block_out_channels", "model.ch * model.ch_mult");
        for (int k = 0; k < c->n_attention; k++)
            attention |= c->attention[k] == c->resolution >> i;
        type[0] = dmq_json_text(dmq_json_at(down, (size_t)place), "");
        place = c->n_levels - 1 - i;
        type[1] = dmq_json_text(dmq_json_at(up, (size_t)place), "");
        if (strcmp(type[0], attention ? "AttnDownBlock2D" : "DownBlock2D") != 0)
            return refuse(t, "down_block_types", "with attention where model.attn_resolutions is");
        if (strcmp(type[1], attention ? "AttnUpBlock2D" : "UpBlock2D") != 0)
            return refuse(t, "up_block_types", "with attention where model.attn_resolutions is");
    }
    return DMQ_OK;
}

dmq_status dmq_ddpm_unet_diffusers_check(const dmq_model *model, const dmq_json *config,
                                         const char *path)
{
    const dmq_ddpm_unet_config *c = dmq_ddpm_unet_config_of(model);
    const told t = { config, path };
    dmq_status st = DMQ_OK;

    DMQ_TRY(check_blocks(&t, c));
    DMQ_TRY(check_number(&t, "in_channels", c->in_channels));
    DMQ_TRY(check_number(&t, "out_channels", c->out_channels));
    DMQ_TRY(check_number(&t, "layers_per_block", c->num_res_blocks));
    DMQ_TRY(check_number(&t, "norm_num_groups", c->norm_groups));
    DMQ_TRY(check_number(&t, "norm_eps", c->norm_eps));
    DMQ_TRY(check_number(&t, "downsample_padding", 0)); /* zeros below and on the right alone */
    DMQ_TRY(check_number(&t, "freq_shift", 1));         /* frequencies divided by half - 1 */
    DMQ_TRY(check_false(&t, "flip_sin_to_cos"));
    DMQ_TRY(check_false(&t, "center_input_sample"));
    if (strcmp(dmq_json_text(dmq_json_get(config, "act_fn"), ""), "silu") != 0)
        return refuse(&t, "act_fn", "silu");
    if (dmq_json_kind_of(dmq_json_get(config, "attention_head_dim")) != DMQ_JSON_NULL)
        return refuse(&t, "attention_head_dim", "null, one head");
done:
    return st;
}
