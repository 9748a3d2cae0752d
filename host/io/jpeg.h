/**
 * JPEG images as 8-bit RGB. The only place that calls libjpeg.
 *
 * Decoded as libjpeg's own defaults have it (the slow integer transform, smooth upsampling of colours), which PIL
 * takes too: equal levels for one version of libjpeg-turbo. CMYK is refused. Damage in the middle, which libjpeg goes
 * over, is a warning [damaged-jpeg]; an early end is an error.
 */
#ifndef DMQ_IO_JPEG_H
#define DMQ_IO_JPEG_H

#include "io/picture.h"

/** name: of the file, for messages. The caller releases. EDATA, ENOMEM. */
dmq_status dmq_jpeg_decode(dmq_picture *out, const char *name, const uint8_t *bytes, size_t size);

/** By the header alone; bytes may end behind it. */
dmq_status dmq_jpeg_size(int *width, int *height, const char *name, const uint8_t *bytes,
                         size_t size);

#endif
