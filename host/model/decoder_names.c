#include "model/decoder_names.h"

#include "model/decoder.h"

#include <stdio.h>
#include <string.h>

enum { VARIANTS = 2 };

typedef struct pair {
    const char *ours, *theirs[VARIANTS]; /* theirs[1] NULL: one name only */
} pair;

/* What stands in front of the last part of a name; levels are apart. */
static const pair top[] = {
    { "decoder.mid.block_1.", { "decoder.mid_block.resnets.0.", NULL } },
    { "decoder.mid.attn_1.", { "decoder.mid_block.attentions.0.", NULL } },
    { "decoder.mid.block_2.", { "decoder.mid_block.resnets.1.", NULL } },
    { "decoder.norm_out.", { "decoder.conv_norm_out.", NULL } },
    { "decoder.conv_", { "decoder.conv_", NULL } },
    { "post_quant_conv.", { "post_quant_conv.", NULL } },
    { "quantize.", { "quantize.", NULL } },
};

static const pair last[] = {
    { "nin_shortcut.", { "conv_shortcut.", NULL } },
    { "norm.", { "group_norm.", NULL } },
    { "q.", { "to_q.", "query." } },
    { "k.", { "to_k.", "key." } },
    { "v.", { "to_v.", "value." } },
    { "proj_out.", { "to_out.0.", "proj_attn." } },
};

static const pair *find(const pair *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strncmp(list[i].ours, name, strlen(list[i].ours)) == 0)
            return &list[i];
    }
    return NULL;
}

/* "decoder.up.2.block.0." of three levels -> "decoder.up_blocks.0.resnets.0."; the rest of the name, NULL if none. */
static const char *level(char out[64], const char *name, int n_levels)
{
    int i = 0, j = 0, end = 0;

    if (sscanf(name, "decoder.up.%d.block.%d.%n", &i, &j, &end) == 2 && end > 0) {
        (void)snprintf(out, 64, "decoder.up_blocks.%d.resnets.%d.", n_levels - 1 - i, j);
        return name + end;
    }
    if (sscanf(name, "decoder.up.%d.upsample.%n", &i, &end) == 1 && end > 0) {
        (void)snprintf(out, 64, "decoder.up_blocks.%d.upsamplers.0.", n_levels - 1 - i);
        return name + end;
    }
    return NULL;
}

bool dmq_decoder_diffusers_name(char out[DMQ_MAP_NAME], const dmq_model *model,
                                const dmq_entry *entry, int variant, int part)
{
    const pair *p = find(top, sizeof top / sizeof *top, entry->name);
    const char *rest, *inside = "";
    char front[64] = "";

    if (part > 0 || variant >= VARIANTS)
        return false;
    if (p) {
        (void)snprintf(front, sizeof front, "%s", p->theirs[0]);
        rest = entry->name + strlen(p->ours);
    } else {
        rest = level(front, entry->name, dmq_decoder_config_of(model)->n_levels);
    }
    p = rest ? find(last, sizeof last / sizeof *last, rest) : NULL;
    if (p) {
        inside = p->theirs[variant];
        rest += strlen(p->ours);
    } else if (variant > 0) {
        return false;
    }
    return rest && inside &&
           snprintf(out, DMQ_MAP_NAME, "%s%s%s", front, inside, rest) < DMQ_MAP_NAME;
}

static dmq_status check_whole(const dmq_json *config, const char *path, const char *key, int wanted)
{
    if (dmq_json_int(dmq_json_get(config, key), -1) == wanted)
        return DMQ_OK;
    return dmq_fail(DMQ_EDATA, "%s: %s must be %d for this network", path, key, wanted);
}

dmq_status dmq_decoder_diffusers_check(const dmq_model *model, const dmq_json *config,
                                       const char *path)
{
    const dmq_decoder_config *c = dmq_decoder_config_of(model);
    const dmq_json *channels = dmq_json_get(config, "block_out_channels");
    dmq_status st = DMQ_OK;

    DMQ_TRY(check_whole(config, path, "out_channels", c->out_channels));
    DMQ_TRY(check_whole(config, path, "layers_per_block", c->num_res_blocks));
    DMQ_TRY(check_whole(config, path, "latent_channels", c->z_channels));
    DMQ_TRY(check_whole(config, path, "norm_num_groups", c->norm_groups));
    if (c->n_embed > 0)
        DMQ_TRY(check_whole(config, path, "num_vq_embeddings", c->n_embed));
    for (int i = 0; i < c->n_levels; i++) {
        if (dmq_json_count(channels) != (size_t)c->n_levels ||
            dmq_json_int(dmq_json_at(channels, (size_t)i), -1) != (int64_t)c->ch * c->ch_mult[i]) {
            st = dmq_fail(DMQ_EDATA, "%s: block_out_channels[%d] must be %d of %d for this network",
                          path, i, c->ch * c->ch_mult[i], c->n_levels);
            goto done;
        }
    }
done:
    return st;
}
