/**
 * Parameters from files of other programs: any container (io/checkpoint.h), any layout (name_map.h).
 *
 * Which state dict of a file is taken, unless the caller says so: averaged weights where the file has them, which is
 * what the published results were sampled from.
 *
 *   ema/                 {model, ema, ...}: DiT and others                                    averaged
 *   4/ (and there is 0/) [model, optimizer, epoch, step, ema]: training in the ddim repository  averaged
 *   state_dict/          Lightning; averaged weights lie in the same dictionary (dmq_name_map.ema)
 *   model/, 0/           the same without averaged weights
 *   the root             a plain state dict, safetensors, .h5, .npz
 *
 * The names in it must be the network's, no more and no less, but for those that the layout or the caller lets stand
 * beside; each with or without "module.". Averaged weights are there for all parameters or for none. F32, F16, BF16 and
 * F64 are read; a 1x1 convolution may be there as a matrix (C,C), since trailing ones of a shape do not count. All
 * numbers are finite.
 *
 * @see specs: models.md 1.6 to 1.9, 2.4, 3, 4.3
 */
#ifndef DMQ_MODEL_IMPORT_H
#define DMQ_MODEL_IMPORT_H

#include "io/checkpoint.h"
#include "model/model.h"

typedef enum dmq_weights {
    DMQ_WEIGHTS_AUTO, /**< averaged ones if there are any */
    DMQ_WEIGHTS_EMA,  /**< averaged ones, or none */
    DMQ_WEIGHTS_RAW   /**< not the averaged ones */
} dmq_weights;

/** All zero: as above. */
typedef struct dmq_import_options {
    dmq_weights weights;
    const char
        *root; /**< the way to the state dict: "state_dict", "0/net"; "" is the root itself */
    const char *layout; /**< name of a map; NULL: the one that most names fit */
    const char *const
        *ignore; /**< (n_ignore) beginnings of names that may stand beside the network's */
    int n_ignore;
} dmq_import_options;

/** What was taken. */
typedef struct dmq_import_report {
    char root[DMQ_TABLE_NAME + 2]; /**< "state_dict/"; "" for the root itself */
    const char *layout;
    int ema;        /**< 1: averaged weights, told by where they lie; 0: as they stand there */
    int tensors;    /**< of the file that became parameters */
    size_t numbers; /**< in them */
    int beside;     /**< tensors of the same state dict that were passed over */
    int elsewhere;  /**< tensors of the file that lie outside of it */
    double
        scale_factor; /**< of latents, which a checkpoint of latent diffusion may hold beside; 0: none */
} dmq_import_report;

/**
 * Fill model->params. On failure they are undefined.
 *
 * @return EDATA: no such state dict; tensors missing, unknown, there twice, not finite, named; a config.json beside
 *         the file that tells of another network. ESHAPE with tensor and both shapes. ENOMEM, EIO
 */
dmq_status dmq_model_import(dmq_model *model, dmq_import_report *report, const dmq_checkpoint *file,
                            const dmq_import_options *options);

/** Write them as safetensors (F32, in the order of files, own names), with the configuration as metadata. */
dmq_status dmq_model_export_safetensors(const dmq_model *model, const char *path);

#endif
