/**
 * calib.h5: a calibration set as a file.
 *
 *   x (steps, per_step, C, H, W) f32, t (steps) i32, role (weight samples) u8
 *   t_model (steps) f32, where t is not whole: t is rounded then
 *   label (steps, per_step) i32, of a network that knows classes only
 *   attributes: the configuration (branches: 2 with guidance), sampler text, model_hash, config_hash
 */
#ifndef DMQ_CALIB_CALIB_FILE_H
#define DMQ_CALIB_CALIB_FILE_H

#include "calib/calib.h"

dmq_status dmq_calib_save(const dmq_calib *calib, const char *path);

/**
 * @return ENOINPUT no such file; EDATA damaged, of another format, or of numbers that contradict each other
 */
dmq_status dmq_calib_load(dmq_calib **out, const char *path);

/**
 * EDATA when the set was made from another model (by fingerprint), or for another sampler; both sides and
 * the way out are told.
 */
dmq_status dmq_calib_fits(const dmq_calib *calib, const dmq_model *model,
                          const dmq_sampler *sampler);

#endif
