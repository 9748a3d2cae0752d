/**
 * Whether an imported network computes what it should: its output on a fixed input, told in figures, and against a
 * reference where there is one.
 */
#ifndef DMQ_CLI_IMPORT_CHECK_H
#define DMQ_CLI_IMPORT_CHECK_H

#include "backend/lanes.h"
#include "io/json.h"
#include "model/model.h"

/** Relative L2 distance that another implementation in FP32 may have. @see specs: models.md 8 */
#define DMQ_IMPORT_TOLERANCE 1e-5

/**
 * x of standard normal numbers (Philox, the same everywhere) at a small, a middle and a large t: mean, standard
 * deviation, least and greatest of each output, into the array "check" of the report; of a decoder the image of one
 * latent of such numbers, of Inception pool, spatial features and logits of one image of them. Not for other networks;
 * then the text "check" says so.
 */
dmq_status dmq_import_check(dmq_json *report, dmq_model *model, int steps, dmq_lanes *lanes);

/**
 * x, t, label and what another program made of them, eps, of an .h5 or .npz file. EDATA when the distance is beyond
 * the tolerance, told with both; else it is in the report as "reference_distance".
 */
dmq_status dmq_import_compare(dmq_json *report, dmq_model *model, const char *path,
                              dmq_lanes *lanes);

#endif
