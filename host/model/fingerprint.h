/**
 * What a model is, in 64 digits: files made from a model (calibration sets, quantized states) carry it
 * and are refused for another one.
 */
#ifndef DMQ_MODEL_FINGERPRINT_H
#define DMQ_MODEL_FINGERPRINT_H

#include "io/hash.h"
#include "model/model.h"

/**
 * SHA-256 of the configuration text and of every entry's name, shape and values (as f32), in order. The
 * same for every file format and every build that the model comes from.
 */
dmq_status dmq_model_fingerprint(char out[DMQ_HASH_TEXT], const dmq_model *model);

#endif
