/**
 * quant.h5: a quantized model beside the full-precision one that it was made from.
 *
 *   /                  format dmq-quant, key of the stage, model_sha256, sampler, steps
 *   layers/NAME/codes  (rows, per) u8, KRSC order: 0..2^bits - 1
 *   layers/NAME/scale, zero  (rows)         attributes weight_bits, act_bits, split_at, learned
 *   layers/NAME/act_scale, act_zero  (table rows, columns)
 *
 * Only layers with something quantized are listed. It holds no full-precision weight: what stays in full
 * precision is read from the model, whose hash must be the one told.
 *
 * Loading refuses, with both sides named: another model, tables that were made for another sampler (rows
 * are steps of that sampler), layers that the model does not have, codes beyond their bits, scales that
 * are not positive.
 */
#ifndef DMQ_QUANT_QUANT_FILE_H
#define DMQ_QUANT_QUANT_FILE_H

#include "diffusion/sampler.h"
#include "quant/qmodel.h"

dmq_status dmq_quant_save(const dmq_qmodel *q, const char *path, const char *model_hash,
                          const dmq_sampler *sampler, const char *key);

/** sampler NULL: any (for looking at the file). */
dmq_status dmq_quant_load(dmq_qmodel **out, const char *path, const dmq_model *model,
                          const char *model_hash, const dmq_sampler *sampler);

#endif
