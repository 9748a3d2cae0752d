/**
 * The DDPM UNet (DDPM and DDIM on CIFAR-10), of any size.
 *
 *   temb = dense1(silu(dense0(sinusoid(t)))), one embedding a residual block: temb_proj(silu(temb))
 *   residual block  h = conv1(silu(norm1(x))) + embedding;  y = nin_shortcut(x) + conv2(silu(norm2(h)))
 *   attention       y = x + proj_out(softmax(q k^T / sqrt(C)) v), q, k, v of norm(x), one head
 *   downsample      3x3 stride 2, one row of zeros below and one column on the right
 *   upsample        nearest x2, then 3x3
 *
 * Level i has ch * ch_mult[i] channels and half the resolution of the one before; down: num_res_blocks
 * blocks (+ attention where the resolution is in the list) and a downsample; mid: block, attention, block;
 * up: num_res_blocks + 1 blocks, each on the concatenation [h, skip], and an upsample. Names are those of
 * the published state dict: "down.0.block.1.conv1.weight"; up.0 is the highest resolution, executed last.
 *
 * Units, in order of execution: temporal, conv_in, every residual block, attention block, downsample.conv,
 * upsample.conv (the nearest up-sampling belongs to it), conv_out (with norm_out and SiLU). Layers of the
 * temporal unit come first: temb.dense.0, temb.dense.1, then temb_proj of the blocks in order of execution.
 *
 * @see specs: models.md 1.1 to 1.6, qdiffusion.md 3.2
 */
#ifndef DMQ_MODEL_DDPM_UNET_H
#define DMQ_MODEL_DDPM_UNET_H

#include "model/model.h"

enum { DMQ_UNET_LEVELS = 8 };

typedef struct dmq_ddpm_unet_config {
    int in_channels, out_channels;
    int resolution; /**< of the input, both sides */
    int ch;
    int ch_mult[DMQ_UNET_LEVELS];
    int n_levels;
    int num_res_blocks;
    int attention[DMQ_UNET_LEVELS]; /**< resolutions with attention */
    int n_attention;
    int norm_groups;
    double norm_eps;
} dmq_ddpm_unet_config;

/** The CIFAR-10 network: 35,746,307 parameters, 113 layers, 37 units. */
extern const dmq_ddpm_unet_config dmq_ddpm_unet_cifar10;

/**
 * The network with all parameters zero; dmq_model_init (model/init.h) or a file fills them.
 *
 * @return EINVAL when the settings do not fit each other, with the key's name; ENOMEM
 */
dmq_status dmq_ddpm_unet_create(dmq_model **out, const dmq_ddpm_unet_config *config);

/** From config_text of a model; EDATA when the text is not one. */
dmq_status dmq_ddpm_unet_create_text(dmq_model **out, const char *config_text);

/** Its text, without making the network; the caller frees. */
dmq_status dmq_ddpm_unet_text(char **out, const dmq_ddpm_unet_config *config);

/** The settings of a model of this kind. */
const dmq_ddpm_unet_config *dmq_ddpm_unet_config_of(const dmq_model *model);

#endif
