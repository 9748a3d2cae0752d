/**
 * The keys model.* of a configuration and the network that they describe.
 *
 *   ddpm_unet  model.ch, ch_mult, num_res_blocks, attn_resolutions, resolution, in_channels, out_ch, norm_groups
 *   ldm_unet   the same, and model.num_heads or head_channels, context_dim, n_classes, scale_shift,
 *              resblock_updown; attention is told by the width of the level, as for the other one
 *   dit        model.resolution, in_channels, out_ch, patch, hidden, depth, num_heads, n_classes
 *   decoder    model.ch, ch_mult, num_res_blocks, norm_groups, resolution and out_ch of the image, in_channels of the
 *              latent, n_embed; the eps of its norms is that of the published ones
 */
#ifndef DMQ_RUN_NETWORK_H
#define DMQ_RUN_NETWORK_H

#include "base/config.h"
#include "model/model_file.h"

/** The network, parameters zero: what training and import start from. EINVAL with the key's name. */
dmq_status dmq_model_from_config(dmq_model **out, const dmq_config *config);

/** The schedule that such a network was trained with, for its file; a decoder has none. */
void dmq_model_info_from_config(dmq_model_info *out, const dmq_config *config);

/**
 * Fill in model.* as the checkpoint has it, where nobody wrote it, and hold what somebody wrote against it.
 *
 * @param path  of the checkpoint, for messages
 * @return      EDATA when it is another network, or none that makes images of noise
 */
dmq_status dmq_network_adopt(dmq_config *config, const dmq_model *model, const char *path);

/** Set a key that nobody wrote to what the checkpoint says. */
dmq_status dmq_config_adopt(dmq_config *config, const char *key, const char *text);
dmq_status dmq_config_adopt_int(dmq_config *config, const char *key, int value);

#endif
