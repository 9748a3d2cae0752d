/**
 * Parameters from files of other programs.
 *
 * safetensors with the names of the state dict, each with or without "module.": F32, F16, BF16 or F64. A 1x1
 * convolution may be there as a matrix (C,C): trailing ones of a shape do not count. The names must be the
 * network's, no more and no less, and all numbers finite.
 */
#ifndef DMQ_MODEL_IMPORT_H
#define DMQ_MODEL_IMPORT_H

#include "model/model.h"

/** Fill model->params. On failure they are undefined. ENOINPUT, EIO; EDATA, ESHAPE with the tensor's name. */
dmq_status dmq_model_import_safetensors(dmq_model *model, const char *path);

/** Write them so (F32, in the order of files), with the configuration as metadata. */
dmq_status dmq_model_export_safetensors(const dmq_model *model, const char *path);

#endif
