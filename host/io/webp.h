/**
 * WebP images, lossy and lossless, as 8-bit RGB: what LSUN's databases hold. The only place that calls libwebp.
 */
#ifndef DMQ_IO_WEBP_H
#define DMQ_IO_WEBP_H

#include "io/picture.h"

/** name: of the file, for messages. The caller releases. EDATA, ENOMEM. */
dmq_status dmq_webp_decode(dmq_picture *out, const char *name, const uint8_t *bytes, size_t size);

/** By the header alone; bytes may end behind it. */
dmq_status dmq_webp_size(int *width, int *height, const char *name, const uint8_t *bytes,
                         size_t size);

#endif
