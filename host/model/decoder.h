/**
 * First-stage decoders of latent diffusion: VQ-f4 and KL-f8, of any size.
 *
 *   VQ:  z = the nearest of n_embed codes at every pixel of the latent (kernels/nearest.h); KL: z as it is
 *   h = conv_in(post_quant_conv(z));  h = block_2(attention(block_1(h)))                      mid
 *   level i = n_levels-1 .. 0: num_res_blocks + 1 residual blocks to ch * ch_mult[i] channels, then, but
 *   for level 0, nearest x2 and a 3x3
 *   image = conv_out(silu(norm_out(h))), in about [-1, 1]
 *
 *   residual block  y = nin_shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x))))))
 *   attention       y = x + proj_out(softmax(q k^T / sqrt(C)) v), q, k, v of norm(x), one head
 *
 * The attention in the middle is there whatever attn_resolutions says, and the released configurations have
 * no other. A dmq_model without units and layers, as the feature network: nobody quantizes it. Entries are
 * named as in the published state dicts behind "first_stage_model.": "decoder.up.2.block.0.conv1.weight",
 * "post_quant_conv.weight", "quantize.embedding.weight" (VQ).
 *
 * @see specs: models.md 2.6 and 2.7; arXiv:2112.10752
 */
#ifndef DMQ_MODEL_DECODER_H
#define DMQ_MODEL_DECODER_H

#include "model/model.h"

enum { DMQ_DECODER_LEVELS = 8, DMQ_DECODER_BLOCKS = 8 };

typedef struct dmq_decoder_config {
    int resolution; /**< of the image, both sides; that of the latent is 2^(n_levels-1) times less */
    int out_channels;
    int ch;
    int ch_mult[DMQ_DECODER_LEVELS];
    int n_levels;
    int num_res_blocks; /**< the decoder has one more a level */
    int z_channels;     /**< behind post_quant_conv */
    int embed_dim;      /**< of the latent, in front of it */
    int n_embed;        /**< codes; 0: KL */
    int norm_groups;
    double norm_eps;
} dmq_decoder_config;

/** 256x256 from (3,64,64): 32,960,783 parameters and 8192 codes of 3. */
extern const dmq_decoder_config dmq_decoder_vq_f4;

/** 256x256 from (4,32,32): 49,490,199 parameters. */
extern const dmq_decoder_config dmq_decoder_kl_f8;

/** EINVAL when the settings do not fit each other, with the key's name; all parameters zero. */
dmq_status dmq_decoder_create(dmq_model **out, const dmq_decoder_config *config);

/** From config_text of a model; EDATA when the text is not one. */
dmq_status dmq_decoder_create_text(dmq_model **out, const char *config_text);

/** 1 for a model of this kind. Its dmq_model.input is the latent, (1, h, w, embed_dim). */
int dmq_decoder_is(const dmq_model *model);

/** The settings of a model of this kind. */
const dmq_decoder_config *dmq_decoder_config_of(const dmq_model *model);

/** (1, H, W, out_channels). */
dmq_shape dmq_decoder_image(const dmq_model *model);

/**
 * z (N,h,w,embed_dim), already divided by the scale factor -> image (N,H,W,out_channels).
 *
 * @param quantized  set to the latent behind the codes (z itself for KL); NULL if not wanted
 */
dmq_var *dmq_decoder_record(const dmq_model *model, dmq_tape *tape, dmq_var *z,
                            dmq_var **quantized);

#endif
