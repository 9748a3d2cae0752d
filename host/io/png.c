#include "io/png.h"

#include "base/memory.h"
#include "base/text.h"
#include "io/file.h"

#include <assert.h>
#include <math.h>
#include <png.h>
#include <setjmp.h>
#include <string.h>

enum { SIDE_LIMIT = 65535 };

uint8_t dmq_png_byte(float x)
{
    float v = (x + 1.0F) / 2.0F;

    if (!(v > 0.0F)) /* NaN too */
        return 0;
    return (uint8_t)floorf(255.0F * (v < 1.0F ? v : 1.0F) + 0.5F);
}

/* ------------------------------------------------------------------ the grid */

static void draw(const dmq_picture *to, int left, int top, const float *image, int h, int w,
                 int channels, int scale)
{
    for (int y = 0; y < h * scale; y++) {
        for (int x = 0; x < w * scale; x++) {
            const float *from =
                image + ((size_t)(y / scale) * (size_t)w + (size_t)(x / scale)) * (size_t)channels;
            uint8_t *pixel =
                to->rgb + ((size_t)(top + y) * (size_t)to->width + (size_t)(left + x)) * 3;

            for (int c = 0; c < 3; c++)
                pixel[c] = dmq_png_byte(from[channels == 3 ? c : 0]);
        }
    }
}

dmq_status dmq_png_grid(dmq_picture *out, const float *images, int n, int h, int w, int channels,
                        int columns, int padding, int scale)
{
    dmq_status st = DMQ_OK;
    size_t bytes;
    int rows;

    assert(n > 0 && h > 0 && w > 0 && scale > 0 && padding >= 0);
    memset(out, 0, sizeof *out);
    if (channels != 1 && channels != 3)
        return dmq_fail(DMQ_ESHAPE, "png: images have %d channels, 1 or 3 can be drawn", channels);
    if (columns <= 0)
        columns = (int)ceil(sqrt((double)n));
    rows = (n + columns - 1) / columns;
    if ((int64_t)columns * ((int64_t)w * scale + padding) + padding > SIDE_LIMIT ||
        (int64_t)rows * ((int64_t)h * scale + padding) + padding > SIDE_LIMIT)
        return dmq_fail(DMQ_EINVAL, "png: %d images of %dx%d are too many for one grid", n, w, h);
    out->width = columns * (w * scale + padding) + padding;
    out->height = rows * (h * scale + padding) + padding;
    bytes = (size_t)out->width * (size_t)out->height * 3;
    DMQ_TRY(dmq_alloc((void **)&out->rgb, bytes, 1));
    memset(out->rgb, 255, bytes);
    for (int i = 0; i < n; i++) {
        draw(out, padding + i % columns * (w * scale + padding),
             padding + i / columns * (h * scale + padding),
             images + (size_t)i * (size_t)h * (size_t)w * (size_t)channels, h, w, channels, scale);
    }
done:
    return st;
}

/* ------------------------------------------------------------------ the file */

typedef struct writer {
    dmq_text bytes;
    char message[128];
} writer;

static void on_bytes(png_structp png, png_bytep data, size_t size)
{
    writer *w = png_get_io_ptr(png);

    dmq_text_add_bytes(&w->bytes, (const char *)data, size);
    if (w->bytes.status != DMQ_OK)
        png_error(png, "no memory left");
}

static void on_flush(png_structp png)
{
    (void)png;
}

static void on_error(png_structp png, png_const_charp message)
{
    writer *w = png_get_error_ptr(png);

    (void)strncpy(w->message, message, sizeof w->message - 1);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static void set_texts(png_structp png, png_infop info, const dmq_png_text *texts, int n)
{
    for (int i = 0; i < n; i++) {
        png_text one;
        union {
            const char *in;
            char *out; /* libpng copies it, but does not say const */
        } key = { texts[i].key }, text = { texts[i].text };

        memset(&one, 0, sizeof one);
        one.compression = PNG_TEXT_COMPRESSION_NONE;
        one.key = key.out;
        one.text = text.out;
        png_set_text(png, info, &one, 1);
    }
}

/* Apart, because a longjmp passes over it: it owns nothing. 0 when libpng gave up. */
static int write_png(png_structp png, png_infop info, const dmq_picture *p,
                     const dmq_png_text *texts, int n_texts)
{
    if (setjmp(png_jmpbuf(png)))
        return 0;
    png_set_IHDR(png, info, (png_uint_32)p->width, (png_uint_32)p->height, 8, PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    set_texts(png, info, texts, n_texts);
    png_write_info(png, info);
    for (int y = 0; y < p->height; y++)
        png_write_row(png, p->rgb + (size_t)y * (size_t)p->width * 3);
    png_write_end(png, info);
    return 1;
}

dmq_status dmq_png_encode(uint8_t **out, size_t *size, const dmq_picture *picture,
                          const dmq_png_text *texts, int n_texts)
{
    dmq_status st = DMQ_OK;
    writer w;
    png_structp png;
    png_infop info = NULL;

    memset(&w, 0, sizeof w);
    *out = NULL;
    *size = 0;
    png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &w, on_error, on_warning);
    if (png)
        info = png_create_info_struct(png);
    if (!info) {
        st = dmq_fail(DMQ_ENOMEM, "png: no memory left");
        goto done;
    }
    png_set_write_fn(png, &w, on_bytes, on_flush);
    if (!write_png(png, info, picture, texts, n_texts)) {
        st = w.bytes.status != DMQ_OK ? w.bytes.status : dmq_fail(DMQ_EINVAL, "png: %s", w.message);
        goto done;
    }
    *size = w.bytes.size;
    DMQ_TRY(dmq_text_take((char **)out, &w.bytes));
done:
    png_destroy_write_struct(&png, &info);
    dmq_text_release(&w.bytes);
    return st;
}

dmq_status dmq_png_save(const char *path, const dmq_picture *picture, const dmq_png_text *texts,
                        int n_texts)
{
    dmq_status st = DMQ_OK;
    uint8_t *bytes = NULL;
    size_t size;

    DMQ_TRY(dmq_png_encode(&bytes, &size, picture, texts, n_texts));
    DMQ_TRY(dmq_file_write(path, bytes, size));
done:
    dmq_free(bytes);
    return st;
}
