/**
 * Initial weights for training, as DDPM has them.
 *
 *   weights  uniform in +-sqrt(3 s / mean(fan_in, fan_out)), fan = channels * kernel area
 *            s = 1; 1e-10 where a branch or the network ends (conv2, proj_out, conv_out; out_layers.3,
 *            ff.net.2, out.2 of latent diffusion), so that every
 *            residual block and the whole begin as the identity, or zero
 *   biases   0; gammas of norms 1
 *
 * Number i (in memory order) of entry e is drawn from (seed, DMQ_FOR_INIT, e, i): adding a layer does not
 * change the others' weights.
 */
#ifndef DMQ_MODEL_INIT_H
#define DMQ_MODEL_INIT_H

#include "model/model.h"

#include <stdint.h>

void dmq_model_init(dmq_model *model, uint64_t seed);

/**
 * Weights of a network that nobody trains: as above with s = 1 everywhere, so that every layer has a part in what comes
 * out, and rows of tables (codes, classes) of variance 1. Such a network computes as one of its size does, and makes
 * nothing of its input that means anything.
 */
void dmq_model_init_random(dmq_model *model, uint64_t seed);

#endif
