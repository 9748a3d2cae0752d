/**
 * Images from latents: a decoder (model/decoder.h) over the lanes.
 *
 *   image = decoder(latent / scale_factor)
 *
 * One image is one piece of work, so its bits do not depend on how many are decoded at once, and a lane
 * needs the memory of one: 177 MiB at 256x256, most of it for the levels of 256 pixels. It keeps a device busy,
 * too: 335 G multiply-adds for VQ-f4, 3.3 passes of the UNet that makes its latents.
 */
#ifndef DMQ_MODEL_DECODE_H
#define DMQ_MODEL_DECODE_H

#include "backend/lanes.h"
#include "model/decoder.h"

typedef struct dmq_decode dmq_decode;

/**
 * Record one tape a lane.
 *
 * @param model         a decoder, on the device of the lanes (dmq_model_place)
 * @param scale_factor  latents are divided by it; > 0
 * @param model, lanes  must outlive the result
 */
dmq_status dmq_decode_create(dmq_decode **out, const dmq_model *model, double scale_factor,
                             dmq_lanes *lanes);

/** Takes NULL. */
void dmq_decode_destroy(dmq_decode *decode);

/**
 * n images, in any order.
 *
 * @param images   (n, H, W, C), in about [-1, 1]; latents: (n, h, w, embed_dim); host memory both
 * @param done     after each image, for progress, from the threads of the lanes; may be NULL
 * @return         EDIVERGE when an image is not finite (its number is told); ESTOP on a signal
 */
dmq_status dmq_decode_run(dmq_decode *decode, dmq_real *images, const dmq_real *latents, int n,
                          void (*done)(void *context, int image), void *context);

/** Bytes of all tapes. */
size_t dmq_decode_bytes(const dmq_decode *decode);

#endif
