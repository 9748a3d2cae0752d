#include "run/images.h"

#include "base/memory.h"
#include "io/h5.h"
#include "tensor/layout.h"

#include <math.h>
#include <string.h>

void dmq_images_release(dmq_images *images)
{
    dmq_free(images->data);
    memset(images, 0, sizeof *images);
}

dmq_status dmq_images_save(const char *path, const dmq_images *images, int64_t first,
                           const char *key)
{
    int h = images->one.dim[1], w = images->one.dim[2], c = images->one.dim[3];
    size_t count = (size_t)images->n * dmq_shape_count(images->one);
    dmq_status st = DMQ_OK;
    dmq_real *nchw = NULL;
    dmq_h5 *file = NULL;

    DMQ_TRY(dmq_alloc((void **)&nchw, count, sizeof *nchw));
    dmq_nchw_from_nhwc(nchw, images->data, images->n, c, h, w);
    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_WRITE));
    DMQ_TRY(dmq_h5_format_set(file, "dmq-images", 1));
    DMQ_TRY(dmq_h5_attr_set_text(file, "/", "key", key));
    DMQ_TRY(dmq_h5_attr_set_i64(file, "/", "first", first));
    DMQ_TRY(dmq_h5_write_real(file, "images", DMQ_DIMS(images->n, c, h, w), nchw));
    DMQ_TRY(dmq_h5_attr_set_text(file, "images", "layout", "NCHW, in [-1, 1]"));
    DMQ_TRY(dmq_h5_commit(file));
done:
    dmq_h5_close(file);
    dmq_free(nchw);
    return st;
}

static dmq_status check_key(dmq_h5 *file, const char *path, const char *key)
{
    char *made = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_attr_text(&made, file, "/", "key"));
    if (key && strcmp(made, key) != 0) {
        st = dmq_fail(DMQ_EDATA, "%s was made with another configuration (key %.12s, not %.12s)",
                      path, made, key);
        st = dmq_fail_note(st, "  hint: remove it, or give another folder with -o");
    }
done:
    dmq_free(made);
    return st;
}

dmq_status dmq_images_load(dmq_images *out, const char *path, const char *key)
{
    dmq_images images = { 0 };
    dmq_h5 *file = NULL;
    dmq_h5_info info;
    dmq_real *nchw = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_READ));
    DMQ_TRY(dmq_h5_format_check(file, "dmq-images", 1));
    DMQ_TRY(check_key(file, path, key));
    DMQ_TRY(dmq_h5_shape(&info, file, "images"));
    if (info.rank != 4 || info.count < 1) {
        st = dmq_fail(DMQ_ESHAPE, "%s: images must be (N, C, H, W)", path);
        goto done;
    }
    images.n = (int)info.dims[0];
    images.one = dmq_shape4(1, (int)info.dims[2], (int)info.dims[3], (int)info.dims[1]);
    DMQ_TRY(dmq_alloc((void **)&images.data, (size_t)info.count, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&nchw, (size_t)info.count, sizeof(dmq_real)));
    DMQ_TRY(dmq_h5_read_real(nchw, file, "images", info.rank, info.dims));
    for (int64_t i = 0; i < info.count; i++) {
        if (!isfinite(nchw[i])) {
            st = dmq_fail(DMQ_EDATA,
                          "%s: image %lld holds a number that is NaN or infinite\n"
                          "  hint: make or copy the file again",
                          path, (long long)(i / (info.count / info.dims[0])));
            goto done;
        }
    }
    dmq_nhwc_from_nchw(images.data, nchw, images.n, (int)info.dims[1], (int)info.dims[2],
                       (int)info.dims[3]);
    *out = images;
    images.data = NULL;
done:
    dmq_free(images.data);
    dmq_free(nchw);
    dmq_h5_close(file);
    return st;
}
