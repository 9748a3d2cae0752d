/**
 * An image in memory, and image files of others brought to it: PNG, JPEG and WebP, as 8-bit RGB.
 *
 * What a file is, its first bytes say. Grey ones have three equal channels, palettes are looked up; alpha is refused
 * unless all of it is opaque, as are 16 bits a channel, CMYK and animations: what they would look like is a choice
 * that moves a metric. Colour profiles, gamma and the orientation of EXIF are not applied, as PIL does not.
 *
 * Nothing is trusted: at most DMQ_PICTURE_SIDE pixels a side and DMQ_PICTURE_PIXELS in all are allocated for, and a file that
 * ends too early is refused, not filled up.
 *
 * @see specs: models.md 6.2
 */
#ifndef DMQ_IO_PICTURE_H
#define DMQ_IO_PICTURE_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

#define DMQ_PICTURE_SIDE   32767
#define DMQ_PICTURE_PIXELS (1 << 26)

/** Room for a file: more than any picture of that many pixels needs. */
#define DMQ_PICTURE_BYTES ((size_t)1 << 29)

/** An image in memory: (height, width, 3). */
typedef struct dmq_picture {
    int width, height;
    uint8_t *rgb; /**< the owner's, dmq_free */
} dmq_picture;

void dmq_picture_release(dmq_picture *picture);

/**
 * Read a file; the caller releases.
 *
 * @return  ENOINPUT; EDATA naming the file and what is wrong with it; ENOMEM
 */
dmq_status dmq_picture_load(dmq_picture *out, const char *path);

/** The same of a file in memory; name: for messages. */
dmq_status dmq_picture_decode(dmq_picture *out, const char *name, const void *bytes, size_t size);

/** Width and height by the header alone. As dmq_picture_load. */
dmq_status dmq_picture_size(int *width, int *height, const char *path);

/** For the readers: EDATA when a picture of that size is not read. name: of the file, for messages. */
dmq_status dmq_picture_check_size(const char *name, int64_t width, int64_t height);

/** For the readers: out->rgb (height, width, 4) becomes (height, width, 3); EDATA unless all is opaque. */
dmq_status dmq_picture_drop_alpha(dmq_picture *out, const char *name);

#endif
