/**
 * model.h5: a network with its parameters, complete in one file.
 *
 *   one array an entry, named as in the state dict ("down.0.block.0.conv1.weight"), in the order of
 *   files: convolutions (K,C,R,S), linear (K,D), vectors (C); f32 or f16
 *   attributes: format "dmq-model", kind, config (the architecture's text), T, beta_start, beta_end, and
 *   schedule "scaled_linear" where it is not linear
 *   (diffusion models), training (a text: how it was made)
 *
 * Loading checks that the names of file and network are the same set, each with the network's shape, and
 * that all numbers are finite; what is missing, unused or of another shape is named. Half precision is
 * rounded to nearest even; a weight beyond its range is an error when saving.
 */
#ifndef DMQ_MODEL_MODEL_FILE_H
#define DMQ_MODEL_MODEL_FILE_H

#include "io/h5.h"
#include "model/model.h"

/** What a model file says besides its parameters. */
typedef struct dmq_model_info {
    int T; /**< 0: not a diffusion model; then no schedule is stored */
    double beta_start, beta_end;
    char *training; /**< free text, or NULL */
    int scaled;     /**< 1: sqrt(beta) is linear (dmq_schedule_create_scaled) */
} dmq_model_info;

/** Frees the text. */
void dmq_model_info_release(dmq_model_info *info);

/** @param half  1: store f16, 0: f32 */
dmq_status dmq_model_save(const dmq_model *model, const dmq_model_info *info, const char *path,
                          int half);

/**
 * The network that the file describes, with its parameters.
 *
 * @param info  filled in, for dmq_model_info_release; NULL if not wanted
 * @return      ENOINPUT, EIO; EDATA: not such a file, an unknown kind, names or numbers wrong; ESHAPE
 */
dmq_status dmq_model_load(dmq_model **out, dmq_model_info *info, const char *path);

/** A network of a kind ("ddpm_unet", "features") and configuration text, its parameters zero. */
dmq_status dmq_model_create(dmq_model **out, const char *kind, const char *config_text);

/**
 * Write a block laid out as model->params (parameters, an average of them, ...) into an open file, one
 * array an entry. group: "" for the root, or its name.
 */
dmq_status dmq_model_block_write(dmq_h5 *file, const char *group, const dmq_model *model,
                                 const dmq_real *block, int half);

/** Read such a block; all checks as in dmq_model_load. Numbers between the entries stay as they are. */
dmq_status dmq_model_block_read(dmq_real *block, dmq_h5 *file, const char *group,
                                const dmq_model *model);

#endif
