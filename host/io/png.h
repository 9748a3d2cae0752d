/**
 * PNG images, 8-bit RGB: single ones and grids of samples, and those of others read. Equal pixels and texts give
 * equal bytes (for one version of libpng and zlib).
 *
 *   byte = floor(255 clamp((x + 1)/2, 0, 1) + 0.5)      x in [-1, 1], as the ddim code exports; NaN is 0
 */
#ifndef DMQ_IO_PNG_H
#define DMQ_IO_PNG_H

#include "io/picture.h"

/** A tEXt member: what made the image. Key of 1 to 79 Latin letters ("Software", "dmq seed"). */
typedef struct dmq_png_text {
    const char *key;
    const char *text;
} dmq_png_text;

uint8_t dmq_png_byte(float x);

/**
 * n images side by side, row by row, each pixel drawn scale x scale, on a white ground.
 *
 * @param out      width = columns * (w * scale + padding) + padding, height alike; the caller releases
 * @param images   (n, h, w, channels) f32 in [-1, 1], NHWC; 1 or 3 channels
 * @param columns  0: about as many as rows
 */
dmq_status dmq_png_grid(dmq_picture *out, const float *images, int n, int h, int w, int channels,
                        int columns, int padding, int scale);

/** The file's bytes, for embedding. The caller frees. */
dmq_status dmq_png_encode(uint8_t **out, size_t *size, const dmq_picture *picture,
                          const dmq_png_text *texts, int n_texts);

/** Complete or not there at all (file.h). */
dmq_status dmq_png_save(const char *path, const dmq_picture *picture, const dmq_png_text *texts,
                        int n_texts);

/** Read one, of any colour type that picture.h allows. name: of the file, for messages. EDATA, ENOMEM. */
dmq_status dmq_png_decode(dmq_picture *out, const char *name, const uint8_t *bytes, size_t size);

/** By the header alone; bytes may end behind it. */
dmq_status dmq_png_size(int *width, int *height, const char *name, const uint8_t *bytes,
                        size_t size);

#endif
