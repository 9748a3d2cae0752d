/**
 * quant.h5: a quantized model beside the full-precision one that it was made from.
 *
 *   layers/NAME/code   u8 (K,C,R,S) or (K,D), 0..2^bits - 1              for every layer with weight bits
 *   layers/NAME/scale  zero   f32 (K), of a split layer (K,2): its two halves
 *   layers/NAME/act_scale  act_zero   f32 (rows), split (rows,2), per channel (rows,C): if there are tables
 *   choice  i32 (layers, 5): weight bits, act bits, split, act channels, learned, in the model's order
 *   t       i32 (steps): timesteps of the sampler that it was calibrated for
 *   attributes: format dmq-quant, key of the stage, model_sha256, sampler, steps, table_rows
 *
 * It holds no full-precision weight: what stays in full precision is read from the model, whose hash must
 * be the one told. Loading gives the bits that were saved.
 *
 * Loading refuses, with both sides named: another model, tables that were made for another sampler (rows
 * are steps of that sampler), layers that the model does not have, codes beyond their bits, scales that
 * are not positive. Weights alone serve any sampler; another one is told by the warning "other-sampler".
 */
#ifndef DMQ_QUANT_QUANT_FILE_H
#define DMQ_QUANT_QUANT_FILE_H

#include "diffusion/sampler.h"
#include "quant/qmodel.h"

/** model_hash, key: as the caller names model and result. */
dmq_status dmq_quant_save(const dmq_qmodel *q, const char *path, const char *model_hash,
                          const dmq_sampler *sampler, const char *key);

/**
 * @param sampler  NULL: any (for looking at the file)
 * @return         ENOINPUT no such file; EDATA damaged, or one of the above
 */
dmq_status dmq_quant_load(dmq_qmodel **out, const char *path, const dmq_model *model,
                          const char *model_hash, const dmq_sampler *sampler);

#endif
