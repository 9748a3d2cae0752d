/**
 * Image files: images (N, 3, H, W) f32 in about [-1, 1], and what they were made with.
 */
#ifndef DMQ_RUN_IMAGES_H
#define DMQ_RUN_IMAGES_H

#include "kernels/kernel.h"
#include "tensor/shape.h"

typedef struct dmq_images {
    dmq_real *data; /**< (n, H, W, C) */
    int n;
    dmq_shape one; /**< (1, H, W, C) */
} dmq_images;

void dmq_images_release(dmq_images *images);

/** first: number of the first image; key: of the stage that made them. */
dmq_status dmq_images_save(const char *path, const dmq_images *images, int64_t first,
                           const char *key);

/** key NULL: any; EDATA when another one made the file. */
dmq_status dmq_images_load(dmq_images *out, const char *path, const char *key);

#endif
