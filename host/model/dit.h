/**
 * DiT, the diffusion transformer with adaptive layer norms, of any size.
 *
 *   x = proj(patches of x) + pos_embed                       tokens row by row over the grid of patches
 *   c = silu(mlp.2(silu(mlp.0(cosines(t)))) + table[label])
 *   block   (shift, scale, gate | shift', scale', gate') = adaLN_modulation.1(c)
 *           x += gate  proj(attention(qkv(modulate(x, shift, scale))))
 *           x += gate' fc2(gelu_tanh(fc1(modulate(x, shift', scale'))))
 *   result  (shift, scale) = final_layer.adaLN_modulation.1(c);  linear(modulate(x, shift, scale)), token
 *           (i, j) and its number (p patch + q) channels + k -> channel k of pixel (i patch + p, j patch + q)
 *
 *   modulate(x, shift, scale) = norm(x) (1 + scale) + shift, layer norm without gamma and beta, eps 1e-6
 *   attention: heads of width hidden / heads, qkv in the order all q, all k, all v
 *
 * Time embeddings are [cos | sin] of 256 numbers, divisor 128. Entries are named as in the published state dict:
 * "blocks.0.attn.qkv.weight", "pos_embed", "y_embedder.embedding_table.weight" (the last row is the null label's).
 *
 * Units, in order of execution: temporal, x_embedder, every block, final_layer. One embedding value, c: the
 * adaLN layers are a third of all weights and belong to their blocks, so that the temporal unit stays small.
 *
 * @see specs: models.md 3; arXiv:2212.09748
 */
#ifndef DMQ_MODEL_DIT_H
#define DMQ_MODEL_DIT_H

#include "model/model.h"

enum { DMQ_DIT_BLOCKS = 64 };

typedef struct dmq_dit_config {
    int in_channels, out_channels; /**< 4 and 8: the variance is learned too */
    int resolution;                /**< of the latent, both sides */
    int patch;                     /**< pixels of a token, both sides */
    int hidden, depth, heads;      /**< the feed-forward layers are 4 hidden wide */
    int n_classes;                 /**< the table has a row more, for none */
} dmq_dit_config;

/** 256x256 images: 675,129,632 numbers in 292 entries. */
extern const dmq_dit_config dmq_dit_xl2_256;

/** EINVAL when the settings do not fit each other, with the key's name; all parameters zero. */
dmq_status dmq_dit_create(dmq_model **out, const dmq_dit_config *config);

/** From config_text of a model; EDATA when the text is not one. */
dmq_status dmq_dit_create_text(dmq_model **out, const char *config_text);

/** Its text, without making the network; the caller frees. */
dmq_status dmq_dit_text(char **out, const dmq_dit_config *config);

/** The settings of a model of this kind. */
const dmq_dit_config *dmq_dit_config_of(const dmq_model *model);

#endif
