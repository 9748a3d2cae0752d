/**
 * The DDPM UNet as diffusers publishes it: UNet2DModel, both generations of its attention's names.
 *
 * @see specs: models.md 1.7
 */
#ifndef DMQ_MODEL_DDPM_UNET_NAMES_H
#define DMQ_MODEL_DDPM_UNET_NAMES_H

#include "model/name_map.h"

/** See dmq_name_map.name. Variant 1: query, key, value, proj_attn. */
bool dmq_ddpm_unet_diffusers_name(char out[DMQ_MAP_NAME], const dmq_model *model,
                                  const dmq_entry *entry, int variant, int part);

/** See dmq_name_map.check. EDATA names the key, what it is and what the network needs. */
dmq_status dmq_ddpm_unet_diffusers_check(const dmq_model *model, const dmq_json *config,
                                         const char *path);

#endif
