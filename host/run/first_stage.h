/**
 * The first stage of a latent diffusion model: the decoder that makes images of what the network samples.
 *
 *   image = decoder(latent / scale_factor)         first_stage.checkpoint, .sha256, .scale_factor
 *
 * Only sampling knows it: calibration and quantization see latents. Its file's hash is part of the keys of
 * the stages that sample.
 */
#ifndef DMQ_RUN_FIRST_STAGE_H
#define DMQ_RUN_FIRST_STAGE_H

#include "base/config.h"
#include "io/hash.h"
#include "model/model.h"
#include "run/stand_in.h"

typedef struct dmq_first_stage {
    dmq_model *model; /**< a decoder; NULL: the network makes images itself */
    char *path;
    char hash[DMQ_HASH_TEXT];
    double scale_factor;
} dmq_first_stage;

/**
 * Nothing is opened when first_stage.checkpoint is empty.
 *
 * @param latent  (1, h, w, C) of the network that samples
 * @param missing gets a decoder that is missing where first_stage.network stands in for it; NULL: it is refused
 * @return        ENOINPUT when the file is not there; EDATA when it is another than first_stage.sha256 says, no
 *                decoder, or one for other latents
 */
dmq_status dmq_first_stage_open(dmq_first_stage *out, const dmq_config *config, dmq_shape latent,
                                dmq_missing *missing);

/** Also of one that is all zero. */
void dmq_first_stage_release(dmq_first_stage *first);

/** (1, H, W, C) of the images behind it: the latent itself where there is no decoder. */
dmq_shape dmq_first_stage_image(const dmq_first_stage *first, dmq_shape latent);

#endif
