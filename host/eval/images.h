/**
 * Image files: images (N, 3, H, W) f32 in about [-1, 1], and what they were made with; with a first stage
 * also, where wanted, the latents (N, c, h, w) that they were decoded from; with classes the label (N).
 */
#ifndef DMQ_EVAL_IMAGES_H
#define DMQ_EVAL_IMAGES_H

#include "io/h5.h"
#include "kernels/kernel.h"
#include "tensor/shape.h"

typedef struct dmq_images {
    dmq_real *data; /**< (n, H, W, C) */
    int n;
    dmq_shape one;        /**< (1, H, W, C) */
    dmq_real *latents;    /**< (n, h, w, c); NULL: not kept */
    dmq_shape one_latent; /**< (1, h, w, c) */
    int *label;           /**< (n) class of each; NULL: the network knows none */
} dmq_images;

void dmq_images_release(dmq_images *images);

/** first: number of the first image; key: of the stage that made them. */
dmq_status dmq_images_save(const char *path, const dmq_images *images, int64_t first,
                           const char *key);

/**
 * The same part by part, so that no memory has to hold all of them: begin, put every part, dmq_h5_commit,
 * dmq_h5_close.
 *
 * @param like  a part: its shapes, and which arrays there are
 * @param n     images of all parts;  at: place of a part's first one among them
 */
dmq_status dmq_images_begin(dmq_h5 **out, const char *path, const dmq_images *like, int n,
                            int64_t first, const char *key);
dmq_status dmq_images_put(dmq_h5 *file, int at, const dmq_images *part);

/** An image file to be read part by part. */
typedef struct dmq_images_file {
    dmq_h5 *file;
    int n;
    dmq_shape one, one_latent; /**< as in dmq_images */
    int has_latents, has_labels;
} dmq_images_file;

/** key NULL: any; EDATA when another one made the file. */
dmq_status dmq_images_open(dmq_images_file *out, const char *path, const char *key);

/** Also of one that is all zero. */
void dmq_images_close(dmq_images_file *file);

/** Images first .. first + n - 1, for dmq_images_release; EDATA names the first that is not finite. */
dmq_status dmq_images_read(dmq_images *out, const dmq_images_file *file, int first, int n);

/** What the file holds, latents and labels included. key NULL: any; EDATA when another one made the file. */
dmq_status dmq_images_load(dmq_images *out, const char *path, const char *key);

/** Which 8-bit level a number of an image becomes; in the order of sample.levels. */
typedef enum dmq_levels {
    DMQ_LEVELS_ROUND,   /**< floor(255 u + 0.5), u = clamp((x + 1)/2, 0, 1): ddim, DiT */
    DMQ_LEVELS_TRUNCATE /**< floor(255 u): the scripts of latent diffusion; half a level darker */
} dmq_levels;

/** The levels themselves, of `count` numbers. NaN is 0. */
void dmq_images_levels(uint8_t *out, const dmq_real *images, size_t count, dmq_levels levels);

/** Images as their 8-bit export has them, 2 level / 255 - 1: what is scored and shown. out may be images. */
void dmq_images_export(dmq_real *out, const dmq_real *images, size_t count, dmq_levels levels);

#endif
