#include "run/images.h"

#include "base/memory.h"
#include "tensor/layout.h"

#include <math.h>
#include <string.h>

void dmq_images_release(dmq_images *images)
{
    dmq_free(images->data);
    dmq_free(images->latents);
    dmq_free(images->label);
    memset(images, 0, sizeof *images);
}

static dmq_status create_array(dmq_h5 *file, const char *name, int n, dmq_shape one,
                               const char *layout)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_create(file, name, DMQ_H5_F32, DMQ_DIMS(n, one.dim[3], one.dim[1], one.dim[2])));
    DMQ_TRY(dmq_h5_attr_set_text(file, name, "layout", layout));
done:
    return st;
}

dmq_status dmq_images_begin(dmq_h5 **out, const char *path, const dmq_images *like, int n,
                            int64_t first, const char *key)
{
    dmq_status st = DMQ_OK;
    dmq_h5 *file = NULL;

    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_WRITE));
    DMQ_TRY(dmq_h5_format_set(file, "dmq-images", 1));
    DMQ_TRY(dmq_h5_attr_set_text(file, "/", "key", key));
    DMQ_TRY(dmq_h5_attr_set_i64(file, "/", "first", first));
    DMQ_TRY(create_array(file, "images", n, like->one, "NCHW, in [-1, 1]"));
    if (like->latents) {
        DMQ_TRY(create_array(file, "latents", n, like->one_latent,
                             "NCHW, as sampled: times the scale factor"));
    }
    if (like->label)
        DMQ_TRY(dmq_h5_create(file, "label", DMQ_H5_I32, DMQ_DIMS(n)));
    *out = file;
    file = NULL;
done:
    dmq_h5_close(file);
    return st;
}

static dmq_status put_rows(dmq_h5 *file, const char *name, int at, const dmq_real *data, int n,
                           dmq_shape one)
{
    dmq_status st = DMQ_OK;
    dmq_real *nchw = NULL;

    DMQ_TRY(dmq_alloc((void **)&nchw, (size_t)n * dmq_shape_count(one), sizeof *nchw));
    dmq_nchw_from_nhwc(nchw, data, n, one.dim[3], one.dim[1], one.dim[2]);
    DMQ_TRY(dmq_h5_write_rows(file, name, at, n, DMQ_H5_F32, nchw));
done:
    dmq_free(nchw);
    return st;
}

dmq_status dmq_images_put(dmq_h5 *file, int at, const dmq_images *part)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(put_rows(file, "images", at, part->data, part->n, part->one));
    if (part->latents)
        DMQ_TRY(put_rows(file, "latents", at, part->latents, part->n, part->one_latent));
    if (part->label)
        DMQ_TRY(dmq_h5_write_rows(file, "label", at, part->n, DMQ_H5_I32, part->label));
done:
    return st;
}

dmq_status dmq_images_save(const char *path, const dmq_images *images, int64_t first,
                           const char *key)
{
    dmq_status st = DMQ_OK;
    dmq_h5 *file = NULL;

    DMQ_TRY(dmq_images_begin(&file, path, images, images->n, first, key));
    DMQ_TRY(dmq_images_put(file, 0, images));
    DMQ_TRY(dmq_h5_commit(file));
done:
    dmq_h5_close(file);
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

/* (N, C, H, W) of a file as (n, H, W, C); n < 0: any number of them. */
static dmq_status read_array(dmq_real **out, int *n, dmq_shape *one, dmq_h5 *file, const char *name)
{
    dmq_real *data = NULL, *nchw = NULL;
    const char *path = dmq_h5_path(file);
    dmq_h5_info info;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_shape(&info, file, name));
    if (info.rank != 4 || info.count < 1) {
        st = dmq_fail(DMQ_ESHAPE, "%s: %s must be (N, C, H, W)", path, name);
        goto done;
    }
    if (*n >= 0 && info.dims[0] != *n) {
        st =
            dmq_fail(DMQ_ESHAPE, "%s: %d images, %lld %s", path, *n, (long long)info.dims[0], name);
        goto done;
    }
    DMQ_TRY(dmq_alloc((void **)&data, (size_t)info.count, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&nchw, (size_t)info.count, sizeof(dmq_real)));
    DMQ_TRY(dmq_h5_read_real(nchw, file, name, info.rank, info.dims));
    for (int64_t i = 0; i < info.count; i++) {
        if (!isfinite(nchw[i])) {
            st = dmq_fail(DMQ_EDATA,
                          "%s: %.*s %lld holds a number that is NaN or infinite\n"
                          "  hint: make or copy the file again",
                          path, (int)strlen(name) - 1, name,
                          (long long)(i / (info.count / info.dims[0])));
            goto done;
        }
    }
    *n = (int)info.dims[0];
    *one = dmq_shape4(1, (int)info.dims[2], (int)info.dims[3], (int)info.dims[1]);
    dmq_nhwc_from_nchw(data, nchw, *n, (int)info.dims[1], (int)info.dims[2], (int)info.dims[3]);
    *out = data;
    data = NULL;
done:
    dmq_free(data);
    dmq_free(nchw);
    return st;
}

dmq_status dmq_images_load(dmq_images *out, const char *path, const char *key)
{
    dmq_images images = { .n = -1 };
    dmq_h5 *file = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_READ));
    DMQ_TRY(dmq_h5_format_check(file, "dmq-images", 1));
    DMQ_TRY(check_key(file, path, key));
    DMQ_TRY(read_array(&images.data, &images.n, &images.one, file, "images"));
    if (dmq_h5_has(file, "latents"))
        DMQ_TRY(read_array(&images.latents, &images.n, &images.one_latent, file, "latents"));
    if (dmq_h5_has(file, "label")) {
        DMQ_TRY(dmq_alloc((void **)&images.label, (size_t)images.n, sizeof *images.label));
        DMQ_TRY(dmq_h5_read_i32(images.label, file, "label", DMQ_DIMS(images.n)));
    }
    *out = images;
    memset(&images, 0, sizeof images);
done:
    dmq_images_release(&images);
    dmq_h5_close(file);
    return st;
}

/* Truncation takes the steps of the released scripts, in float: elsewhere a level may end up one lower. */
void dmq_images_export(dmq_real *out, const dmq_real *images, size_t count, dmq_levels levels)
{
    for (size_t i = 0; i < count; i++) {
        double level;

        if (levels == DMQ_LEVELS_TRUNCATE) {
            float u = ((float)images[i] + 1.0F) / 2.0F;

            level = (double)floorf(255.0F * fminf(fmaxf(u, 0.0F), 1.0F));
        } else {
            level = floor(255 * fmin(fmax(((double)images[i] + 1) / 2, 0), 1) + 0.5);
        }
        out[i] = (dmq_real)(level / 255 * 2 - 1);
    }
}
