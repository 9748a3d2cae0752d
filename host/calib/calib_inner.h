/**
 * Shared by the files of calib/ only.
 */
#ifndef DMQ_CALIB_CALIB_INNER_H
#define DMQ_CALIB_CALIB_INNER_H

#include "calib/calib.h"

/** An empty set: memory, weight steps and roles; t and x are zeros, no sampler text. */
dmq_status dmq_calib_create(dmq_calib **out, const dmq_calib_config *config, dmq_shape image,
                            int n_steps);

/** Room for labels, zeros. */
dmq_status dmq_calib_labels(dmq_calib *calib);

#endif
