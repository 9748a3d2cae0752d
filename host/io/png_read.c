#include "io/png.h"

#include "base/memory.h"

#include <png.h>
#include <setjmp.h>
#include <string.h>

typedef struct reader {
    const uint8_t *bytes;
    size_t left;
    char message[128];
} reader;

static void on_read(png_structp png, png_bytep out, size_t size)
{
    reader *r = png_get_io_ptr(png);

    if (size > r->left)
        png_error(png, "is cut short");
    memcpy(out, r->bytes, size);
    r->bytes += size;
    r->left -= size;
}

static void on_error(png_structp png, png_const_charp message)
{
    reader *r = png_get_error_ptr(png);

    (void)strncpy(r->message, message, sizeof r->message - 1);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

/* Apart, as read_rows: a longjmp passes over it, and it owns nothing. 0 when libpng gave up. */
static int read_header(png_structp png, png_infop info)
{
    if (setjmp(png_jmpbuf(png)))
        return 0;
    png_set_user_limits(png, DMQ_PICTURE_SIDE, DMQ_PICTURE_SIDE);
    png_read_info(png, info);
    return 1;
}

/* 1, 2 and 4 bits, palettes and greys become RGB; a colour that stands for transparency becomes alpha. */
static int set_up(png_structp png, png_infop info)
{
    if (setjmp(png_jmpbuf(png)))
        return 0;
    png_set_expand(png);
    png_set_gray_to_rgb(png);
    (void)png_set_interlace_handling(png);
    png_read_update_info(png, info);
    return 1;
}

static int read_rows(png_structp png, png_infop info, const dmq_picture *p)
{
    if (setjmp(png_jmpbuf(png)))
        return 0;
    /* an interlaced picture comes in seven passes over the same rows */
    for (int pass = png_get_interlace_type(png, info) == PNG_INTERLACE_ADAM7 ? 7 : 1; pass > 0;
         pass--) {
        for (int y = 0; y < p->height; y++)
            png_read_row(png, p->rgb + (size_t)y * png_get_rowbytes(png, info), NULL);
    }
    png_read_end(png, NULL);
    return 1;
}

static dmq_status refuse(const char *name, const reader *r)
{
    if (strcmp(r->message, "is cut short") == 0)
        return dmq_fail(DMQ_EDATA, "%s: is cut short", name);
    return dmq_fail(DMQ_EDATA, "%s: is no PNG that can be read: %s", name, r->message);
}

/* The header, checked; the caller destroys png and info whatever comes back. */
static dmq_status look(png_structp *png, png_infop *info, reader *r, const char *name)
{
    *png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r, on_error, on_warning);
    if (*png)
        *info = png_create_info_struct(*png);
    if (!*info)
        return dmq_fail(DMQ_ENOMEM, "png: no memory left");
    png_set_read_fn(*png, r, on_read);
    if (!read_header(*png, *info))
        return refuse(name, r);
    if (png_get_bit_depth(*png, *info) == 16) {
        return dmq_fail(DMQ_EDATA,
                        "%s: has 16 bits a channel, 8 are read\n"
                        "  hint: save it with 8 bits a channel",
                        name);
    }
    return dmq_picture_check_size(name, png_get_image_width(*png, *info),
                                  png_get_image_height(*png, *info));
}

dmq_status dmq_png_decode(dmq_picture *out, const char *name, const uint8_t *bytes, size_t size)
{
    reader r = { .bytes = bytes, .left = size };
    dmq_picture p = { 0 };
    png_structp png = NULL;
    png_infop info = NULL;
    size_t channels;
    dmq_status st = DMQ_OK;

    memset(out, 0, sizeof *out);
    DMQ_TRY(look(&png, &info, &r, name));
    p.width = (int)png_get_image_width(png, info);
    p.height = (int)png_get_image_height(png, info);
    if (!set_up(png, info)) {
        st = refuse(name, &r);
        goto done;
    }
    channels = png_get_channels(png, info);
    if (png_get_rowbytes(png, info) != (size_t)p.width * channels ||
        (channels != 3 && channels != 4)) {
        st = dmq_fail(DMQ_EDATA, "%s: has %zu channels, 3 or 4 are read", name, channels);
        goto done;
    }
    DMQ_TRY(dmq_alloc((void **)&p.rgb, (size_t)p.width * (size_t)p.height, channels));
    if (!read_rows(png, info, &p)) {
        st = refuse(name, &r);
        goto done;
    }
    if (channels == 4)
        DMQ_TRY(dmq_picture_drop_alpha(&p, name));
    *out = p;
    p.rgb = NULL;
done:
    png_destroy_read_struct(&png, &info, NULL);
    dmq_free(p.rgb);
    return st;
}

dmq_status dmq_png_size(int *width, int *height, const char *name, const uint8_t *bytes,
                        size_t size)
{
    reader r = { .bytes = bytes, .left = size };
    png_structp png = NULL;
    png_infop info = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(look(&png, &info, &r, name));
    *width = (int)png_get_image_width(png, info);
    *height = (int)png_get_image_height(png, info);
done:
    png_destroy_read_struct(&png, &info, NULL);
    return st;
}
