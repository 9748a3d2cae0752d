/**
 * First-stage decoders as diffusers publishes them: AutoencoderKL (what DiT's own samplers load) and VQModel,
 * both generations of their attention's names. Its up_blocks count in order of execution.
 *
 * @see specs: models.md 1.7, whose rules for blocks and attention hold here too
 */
#ifndef DMQ_MODEL_DECODER_NAMES_H
#define DMQ_MODEL_DECODER_NAMES_H

#include "model/name_map.h"

/** See dmq_name_map.name. Variant 1: query, key, value, proj_attn. */
bool dmq_decoder_diffusers_name(char out[DMQ_MAP_NAME], const dmq_model *model,
                                const dmq_entry *entry, int variant, int part);

/** See dmq_name_map.check. EDATA names the key and what the network needs. */
dmq_status dmq_decoder_diffusers_check(const dmq_model *model, const dmq_json *config,
                                       const char *path);

#endif
