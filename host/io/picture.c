#include "io/picture.h"

#include "base/memory.h"
#include "io/file.h"
#include "io/input.h"
#include "io/jpeg.h"
#include "io/png.h"
#include "io/webp.h"

#include <string.h>

/* Headers lie here, but for those of JPEGs with large profiles. */
enum { HEAD = 1 << 14 };

typedef dmq_status decode_fn(dmq_picture *out, const char *name, const uint8_t *bytes, size_t size);
typedef dmq_status size_fn(int *width, int *height, const char *name, const uint8_t *bytes,
                           size_t size);

typedef struct format {
    decode_fn *decode;
    size_fn *size;
} format;

static const format png = { dmq_png_decode, dmq_png_size };
static const format jpeg = { dmq_jpeg_decode, dmq_jpeg_size };
static const format webp = { dmq_webp_decode, dmq_webp_size };

void dmq_picture_release(dmq_picture *picture)
{
    dmq_free(picture->rgb);
    memset(picture, 0, sizeof *picture);
}

static dmq_status format_of(const format **out, const char *name, const uint8_t *bytes, size_t size)
{
    *out = NULL;
    if (size >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0) {
        *out = &png;
    } else if (size >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0) {
        *out = &jpeg;
    } else if (size >= 12 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0) {
        *out = &webp;
    }
    if (*out)
        return DMQ_OK;
    return dmq_fail(
        DMQ_EDATA, size == 0 ? "%s: is empty" : "%s: is neither a PNG nor a JPEG nor a WebP", name);
}

dmq_status dmq_picture_decode(dmq_picture *out, const char *name, const void *bytes, size_t size)
{
    const format *f;
    dmq_status st = DMQ_OK;

    memset(out, 0, sizeof *out);
    DMQ_TRY(format_of(&f, name, bytes, size));
    DMQ_TRY(f->decode(out, name, bytes, size));
done:
    return st;
}

dmq_status dmq_picture_load(dmq_picture *out, const char *path)
{
    char *bytes = NULL;
    size_t size;
    dmq_status st = DMQ_OK;

    memset(out, 0, sizeof *out);
    DMQ_TRY(dmq_file_read(&bytes, &size, path, DMQ_PICTURE_BYTES));
    DMQ_TRY(dmq_picture_decode(out, path, bytes, size));
done:
    dmq_free(bytes);
    return st;
}

dmq_status dmq_picture_size(int *width, int *height, const char *path)
{
    const format *f;
    dmq_input *input = NULL;
    uint8_t *bytes = NULL;
    uint64_t size;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_input_open(&input, path));
    size = dmq_input_size(input) < HEAD ? dmq_input_size(input) : HEAD;
    DMQ_TRY(dmq_alloc((void **)&bytes, HEAD, 1));
    DMQ_TRY(dmq_input_read(bytes, input, size, 0));
    DMQ_TRY(format_of(&f, path, bytes, (size_t)size));
    st = f->size(width, height, path, bytes, (size_t)size);
    if (st == DMQ_OK || size == dmq_input_size(input))
        goto done;
    dmq_free(bytes);
    bytes = NULL;
    DMQ_TRY(dmq_file_read((char **)&bytes, NULL, path, DMQ_PICTURE_BYTES));
    st = f->size(width, height, path, bytes, (size_t)dmq_input_size(input));
done:
    dmq_free(bytes);
    dmq_input_close(input);
    return st;
}

dmq_status dmq_picture_check_size(const char *name, int64_t width, int64_t height)
{
    if (width > 0 && height > 0 && width <= DMQ_PICTURE_SIDE && height <= DMQ_PICTURE_SIDE &&
        width * height <= DMQ_PICTURE_PIXELS)
        return DMQ_OK;
    return dmq_fail(DMQ_EDATA,
                    "%s: says that it is %lldx%lld: at most %d a side and 2^26 pixels are read",
                    name, (long long)width, (long long)height, DMQ_PICTURE_SIDE);
}

dmq_status dmq_picture_drop_alpha(dmq_picture *out, const char *name)
{
    size_t n = (size_t)out->width * (size_t)out->height;

    for (size_t i = 0; i < n; i++) {
        if (out->rgb[4 * i + 3] != 255) {
            return dmq_fail(DMQ_EDATA,
                            "%s: pixel (%zu, %zu) is transparent (alpha %d of 255)\n"
                            "  hint: paint it on a ground, and save it without alpha",
                            name, i % (size_t)out->width, i / (size_t)out->width,
                            out->rgb[4 * i + 3]);
        }
        memmove(out->rgb + 3 * i, out->rgb + 4 * i, 3);
    }
    return DMQ_OK;
}
