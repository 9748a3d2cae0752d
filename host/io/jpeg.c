#include "io/jpeg.h"

#include "base/log.h"
#include "base/memory.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

/* Every scan of a progressive file is a pass over the picture: a small file may claim thousands of them. */
enum { SCAN_LIMIT = 200 };

typedef struct reader {
    struct jpeg_error_mgr errors; /* libjpeg's view of it: first */
    struct jpeg_progress_mgr progress;
    jmp_buf back;
    bool cut;     /* the data ended before the picture */
    bool damaged; /* libjpeg went over something */
    bool endless;
    char message[JMSG_LENGTH_MAX]; /* of the error, or of the first damage */
} reader;

static void on_error(j_common_ptr info)
{
    reader *r = (reader *)(void *)info->err;

    info->err->format_message(info, r->message);
    longjmp(r->back, 1);
}

/* level -1: damage; others are traces. */
static void on_message(j_common_ptr info, int level)
{
    reader *r = (reader *)(void *)info->err;

    if (level >= 0)
        return;
    if (info->err->msg_code == JWRN_JPEG_EOF) {
        r->cut = true;
        longjmp(r->back, 1);
    }
    if (!r->damaged)
        info->err->format_message(info, r->message);
    r->damaged = true;
}

static void on_progress(j_common_ptr info)
{
    reader *r = (reader *)(void *)info->err;

    if (((j_decompress_ptr)(void *)info)->input_scan_number > SCAN_LIMIT) {
        r->endless = true;
        longjmp(r->back, 1);
    }
}

/* Apart, because a longjmp passes over it: it owns nothing. 0 when libjpeg gave up. */
static int read_header(struct jpeg_decompress_struct *info, reader *r, const uint8_t *bytes,
                       size_t size)
{
    info->err = jpeg_std_error(&r->errors);
    r->errors.error_exit = on_error;
    r->errors.emit_message = on_message;
    r->progress.progress_monitor = on_progress;
    if (setjmp(r->back))
        return 0;
    jpeg_create_decompress(info);
    info->progress = &r->progress;
    jpeg_mem_src(info, bytes, size);
    (void)jpeg_read_header(info, TRUE);
    return 1;
}

static int read_rows(struct jpeg_decompress_struct *info, reader *r, const dmq_picture *p)
{
    if (setjmp(r->back))
        return 0;
    info->out_color_space = JCS_RGB;
    (void)jpeg_start_decompress(info);
    while (info->output_scanline < info->output_height) {
        JSAMPROW row = p->rgb + (size_t)info->output_scanline * (size_t)p->width * 3;

        (void)jpeg_read_scanlines(info, &row, 1);
    }
    (void)jpeg_finish_decompress(info);
    return 1;
}

static dmq_status refuse(const char *name, const reader *r)
{
    if (r->cut)
        return dmq_fail(DMQ_EDATA, "%s: is cut short", name);
    if (r->endless)
        return dmq_fail(DMQ_EDATA, "%s: has more than %d scans", name, SCAN_LIMIT);
    if (r->errors.msg_code == JERR_OUT_OF_MEMORY)
        return dmq_fail(DMQ_ENOMEM, "jpeg: no memory left");
    return dmq_fail(DMQ_EDATA, "%s: is no JPEG that can be read: %s", name, r->message);
}

static dmq_status look(struct jpeg_decompress_struct *info, reader *r, const char *name,
                       const uint8_t *bytes, size_t size)
{
    if (!read_header(info, r, bytes, size))
        return refuse(name, r);
    if (info->jpeg_color_space != JCS_GRAYSCALE && info->jpeg_color_space != JCS_YCbCr &&
        info->jpeg_color_space != JCS_RGB) {
        return dmq_fail(DMQ_EDATA,
                        "%s: has %d channels that are neither grey nor RGB%s\n"
                        "  hint: save it as RGB",
                        name, info->num_components, info->num_components == 4 ? " (CMYK)" : "");
    }
    return dmq_picture_check_size(name, info->image_width, info->image_height);
}

dmq_status dmq_jpeg_decode(dmq_picture *out, const char *name, const uint8_t *bytes, size_t size)
{
    struct jpeg_decompress_struct info;
    dmq_picture p = { 0 };
    reader r;
    dmq_status st = DMQ_OK;

    memset(&info, 0, sizeof info);
    memset(&r, 0, sizeof r);
    memset(out, 0, sizeof *out);
    DMQ_TRY(look(&info, &r, name, bytes, size));
    p.width = (int)info.image_width;
    p.height = (int)info.image_height;
    DMQ_TRY(dmq_alloc((void **)&p.rgb, (size_t)p.width * (size_t)p.height, 3));
    if (!read_rows(&info, &r, &p)) {
        st = refuse(name, &r);
        goto done;
    }
    if (r.damaged)
        dmq_log_warn("damaged-jpeg", "%s: %s", name, r.message);
    *out = p;
    p.rgb = NULL;
done:
    jpeg_destroy_decompress(&info);
    dmq_free(p.rgb);
    return st;
}

dmq_status dmq_jpeg_size(int *width, int *height, const char *name, const uint8_t *bytes,
                         size_t size)
{
    struct jpeg_decompress_struct info;
    reader r;
    dmq_status st = DMQ_OK;

    memset(&info, 0, sizeof info);
    memset(&r, 0, sizeof r);
    DMQ_TRY(look(&info, &r, name, bytes, size));
    *width = (int)info.image_width;
    *height = (int)info.image_height;
done:
    jpeg_destroy_decompress(&info);
    return st;
}
