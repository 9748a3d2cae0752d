/**
 * The UNet of latent diffusion (openaimodel), of any size.
 *
 *   emb = L2(silu(L0(e))), e = [cos(t f), sin(t f)], f_i = exp(-ln(10000) i / half)
 *   residual block  h = conv(silu(norm(x)));  e = emb_layer(silu(emb))
 *                   plain:       h = norm(h + e)              scale-shift: h = norm(h) (1 + e_0) + e_1
 *                   y = skip(x) + conv(silu(h)); a block that resamples does so to silu(norm(x)) and to x
 *   attention       y = x + proj_out(heads(qkv(norm(x)))), q, k, v of a head side by side in qkv
 *   transformer     z = proj_in(norm(x)); z += attn1(ln1 z); z += attn2(ln2 z, c); z += ff(ln3 z);
 *                   y = x + proj_out(z);  ff(z) = L2(a gelu(g)), (a | g) = L0(z)
 *   downsample      3x3 stride 2, padded by 1;  upsample  nearest x2, then 3x3
 *
 * Level i has model_channels * channel_mult[i] channels and half the resolution of the one before; attention
 * where the resolution was divided by a number of attention_resolutions, and in the middle. With context_dim > 0
 * it is the transformer; c is then row `label` of a table of labels, a single token, so that the softmax of
 * attn2 is 1 and attn2(z, c) = to_out(to_v(c)) whatever to_q, to_k and ln2 hold: those are entries and layers
 * (dmq_layer.idle), and nothing computes them. Norms have eps 1e-5, that in front of proj_in 1e-6.
 *
 * Operands of attention products are layers, too (attention.h): "middle_block.1.q", ".k", ".v", ".softmax",
 * of a transformer "attn1.q" and so on and "attn2.v".
 *
 * Names are those of the published state dict without "model.diffusion_model."; the table of labels is
 * "cond_stage_model.embedding.weight". qkv and proj_out of attention are published as (K,C,1).
 *
 * Units, in order of execution: temporal, input_blocks.0.0, every residual block, attention, proj_in, transformer
 * block, proj_out (+ x, its second input), downsampling and upsampling convolution, out.2 (with its norm and
 * SiLU). The temporal unit's layers: time_embed.0, time_embed.2, then emb_layers.1 of the blocks in order.
 *
 * @see specs: models.md 2, qdiffusion.md 3.2; Rombach et al., arXiv:2112.10752
 */
#ifndef DMQ_MODEL_LDM_UNET_H
#define DMQ_MODEL_LDM_UNET_H

#include "model/model.h"

enum { DMQ_LDM_LEVELS = 8 };

typedef struct dmq_ldm_unet_config {
    int in_channels, out_channels;
    int resolution; /**< of the latent, both sides */
    int model_channels;
    int channel_mult[DMQ_LDM_LEVELS];
    int n_levels;
    int num_res_blocks;
    int attention[DMQ_LDM_LEVELS]; /**< attention_resolutions: 4 is a quarter of the resolution */
    int n_attention;
    int num_heads;         /**< of every attention; 0: by the next */
    int num_head_channels; /**< channels of a head; 0: by the one before. One of both is 0 */
    int context_dim;       /**< > 0: transformers; 0: attention blocks */
    int n_classes; /**< > 0 with transformers, else 0. The table has one row more, the null label */
    int scale_shift; /**< use_scale_shift_norm */
    int resblock_updown;
    int norm_groups;
} dmq_ldm_unet_config;

/** 274,056,163 parameters in 368 entries. */
extern const dmq_ldm_unet_config dmq_ldm_unet_beds;

/** cin256-v2: 400,920,579 parameters in 688 entries, and the table of 1001 x 512. */
extern const dmq_ldm_unet_config dmq_ldm_unet_cin;

/** 294,966,916 parameters. */
extern const dmq_ldm_unet_config dmq_ldm_unet_church;

/**
 * The network with all parameters zero; dmq_model_init (model/init.h) or a file fills them.
 *
 * @return EINVAL when the settings do not fit each other, with the key's name; ENOMEM
 */
dmq_status dmq_ldm_unet_create(dmq_model **out, const dmq_ldm_unet_config *config);

/** From config_text of a model; EDATA when the text is not one. */
dmq_status dmq_ldm_unet_create_text(dmq_model **out, const char *config_text);

/** Its text, without making the network; the caller frees. */
dmq_status dmq_ldm_unet_text(char **out, const dmq_ldm_unet_config *config);

/** The settings of a model of this kind. */
const dmq_ldm_unet_config *dmq_ldm_unet_config_of(const dmq_model *model);

#endif
