/**
 * AlexNet as it is used for LPIPS: the convolutions of torchvision's network, and the weights that LPIPS gives to their
 * channels.
 *
 *   x ->  conv 11x11 /4 pad 2, 64  relu  (1)  -> max 3x3 /2
 *     ->  conv 5x5 pad 2, 192      relu  (2)  -> max 3x3 /2
 *     ->  conv 3x3 pad 1, 384      relu  (3)
 *     ->  conv 3x3 pad 1, 256      relu  (4)
 *     ->  conv 3x3 pad 1, 256      relu  (5)      images from 31 x 31 on leave a pixel
 *
 * A dmq_model without units and layers: "features.0.weight", "features.0.bias", 3, 6, 8, 10, and "lin0.model.1.weight" to
 * "lin4.model.1.weight" (1,C,1,1). Files that it is imported from: the state dict of lpips.LPIPS(net="alex"), or the
 * files of torchvision (alexnet-owt-7be5be79.pth; its classifier is passed over) and of LPIPS (alex.pth of version 0.1,
 * as lpips-alex.pth) beside data/lpips-alex.index.json, which is what is imported then.
 *
 * @see Krizhevsky, arXiv:1404.5997; Zhang et al., arXiv:1801.03924
 */
#ifndef DMQ_MODEL_ALEXNET_H
#define DMQ_MODEL_ALEXNET_H

#include "model/model.h"
#include "model/name_map.h"

enum { DMQ_ALEXNET_STAGES = 5 };

/** All parameters zero. */
dmq_status dmq_alexnet_create(dmq_model **out);

/** From config_text of a model; EDATA when the text is not one. */
dmq_status dmq_alexnet_create_text(dmq_model **out, const char *config_text);

/** 1 for a model of this kind. */
int dmq_alexnet_is(const dmq_model *model);

/** The weights of a stage's channels, (C), where the model's parameters are. */
const dmq_real *dmq_alexnet_channel_weights(int *channels, const dmq_model *model, int stage);

/** x (N,H,W,3) -> stage[i] (N,Hi,Wi,Ci), behind the i-th relu; NULL after a failure that the plan reports. */
void dmq_alexnet_record(dmq_var *stage[DMQ_ALEXNET_STAGES], const dmq_model *model, dmq_tape *tape,
                        dmq_var *x);

/** Names in the state dict of lpips.LPIPS(net="alex"), for name_map.c. */
bool dmq_alexnet_lpips_name(char out[DMQ_MAP_NAME], const dmq_model *model, const dmq_entry *entry,
                            int variant, int part);

#endif
