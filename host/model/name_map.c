#include "model/name_map.h"

#include "model/alexnet.h"
#include "model/ddpm_unet_names.h"
#include "model/decoder_names.h"

#include <stdio.h>
#include <string.h>

/* What Lightning checkpoints of CompVis hold beside one of their networks. */
static const char *const beside_unet[] = { "first_stage_model.",
                                           "cond_stage_model.",
                                           "model_ema.decay",
                                           "model_ema.num_updates",
                                           "betas",
                                           "alphas_cumprod",
                                           "sqrt_",
                                           "log_",
                                           "posterior_",
                                           "logvar",
                                           "lvlb_weights",
                                           "scale_factor",
                                           NULL };
static const char *const beside_stage[] = { "model.",
                                            "model_ema.",
                                            "cond_stage_model.",
                                            "first_stage_model.encoder.",
                                            "first_stage_model.quant_conv.",
                                            "first_stage_model.loss.",
                                            "betas",
                                            "alphas_cumprod",
                                            "sqrt_",
                                            "log_",
                                            "posterior_",
                                            "logvar",
                                            "lvlb_weights",
                                            "scale_factor",
                                            NULL };
static const char *const beside_decoder[] = { "encoder.", "quant_conv.", "loss.", NULL };
static const char *const beside_inception[] = { "AuxLogits.", NULL };
static const char *const ends_inception[] = { ".bn.num_batches_tracked", NULL };
static const char *const beside_alexnet[] = { "classifier.", NULL };
static const char *const beside_lpips[] = { "lins.", "scaling_layer.", NULL };

/* By kind; the order within a kind is the order in which they are tried. */
static const struct {
    const char *kind;
    dmq_name_map map;
} maps[] = {
    { "alexnet", { .layout = "torchvision", .prefix = "", .beside = beside_alexnet } },
    { "alexnet",
      { .layout = "lpips", .prefix = "", .name = dmq_alexnet_lpips_name, .beside = beside_lpips } },
    { "ddpm_unet",
      { .layout = "diffusers",
        .prefix = "",
        .name = dmq_ddpm_unet_diffusers_name,
        .check = dmq_ddpm_unet_diffusers_check } },
    { "ldm_unet",
      { .layout = "CompVis",
        .prefix = "model.diffusion_model.",
        .apart = "cond_stage_model.",
        .ema = "model_ema.diffusion_model",
        .beside = beside_unet } },
    { "decoder",
      { .layout = "CompVis, first stage alone", .prefix = "", .beside = beside_decoder } },
    { "decoder", { .layout = "CompVis", .prefix = "first_stage_model.", .beside = beside_stage } },
    { "decoder",
      { .layout = "diffusers",
        .prefix = "",
        .name = dmq_decoder_diffusers_name,
        .beside = beside_decoder,
        .check = dmq_decoder_diffusers_check } },
    { "inception",
      { .layout = "pytorch-fid",
        .prefix = "",
        .beside = beside_inception,
        .beside_ends = ends_inception } },
};

static const dmq_name_map plain = { .layout = "as published", .prefix = "" };

const dmq_name_map *dmq_name_map_of(const char *kind, int i)
{
    if (i == 0)
        return &plain;
    for (size_t k = 0; k < sizeof maps / sizeof *maps; k++) {
        if (strcmp(maps[k].kind, kind) == 0 && --i == 0)
            return &maps[k].map;
    }
    return NULL;
}

static bool lies_apart(const dmq_name_map *map, const dmq_entry *entry)
{
    return map->apart && strncmp(entry->name, map->apart, strlen(map->apart)) == 0;
}

bool dmq_name_map_name(char out[DMQ_MAP_NAME], const dmq_name_map *map, const dmq_model *model,
                       const dmq_entry *entry, int variant, int part)
{
    size_t n = strlen(map->prefix);
    char rest[DMQ_MAP_NAME];

    if (map->name) {
        if (!map->name(rest, model, entry, variant, part))
            return false;
    } else {
        if (variant > 0 || part > 0)
            return false;
        (void)snprintf(rest, sizeof rest, "%s", entry->name);
    }
    if (lies_apart(map, entry))
        return snprintf(out, DMQ_MAP_NAME, "%s", rest) < DMQ_MAP_NAME;
    return snprintf(out, DMQ_MAP_NAME, "%s%s", map->prefix, rest) < DMQ_MAP_NAME &&
           n < DMQ_MAP_NAME;
}

bool dmq_name_map_ema(char out[DMQ_MAP_NAME], const dmq_name_map *map, const dmq_model *model,
                      const dmq_entry *entry)
{
    char name[DMQ_MAP_NAME];
    size_t n;

    if (!map->ema || lies_apart(map, entry) || !dmq_name_map_name(name, map, model, entry, 0, 0))
        return false;
    n = (size_t)snprintf(out, DMQ_MAP_NAME, "%s", map->ema);
    for (const char *c = name + strlen(map->prefix); *c && n + 1 < DMQ_MAP_NAME; c++) {
        if (*c != '.')
            out[n++] = *c;
    }
    out[n] = '\0';
    return true;
}
