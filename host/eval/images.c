#include "eval/images.h"

#include "base/memory.h"
#include "tensor/layout.h"

#include <limits.h>
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

/* Shape of an array (n, C, H, W), n images if it is not negative. */
static dmq_status look(int *n, dmq_shape *one, dmq_h5 *file, const char *name)
{
    const char *path = dmq_h5_path(file);
    dmq_h5_info info;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_shape(&info, file, name));
    if (info.rank != 4 || info.count < 1 || info.dims[0] > INT_MAX) {
        st = dmq_fail(DMQ_ESHAPE, "%s: %s must be (N, C, H, W)", path, name);
    } else if (*n >= 0 && info.dims[0] != *n) {
        st =
            dmq_fail(DMQ_ESHAPE, "%s: %d images, %lld %s", path, *n, (long long)info.dims[0], name);
    } else {
        *n = (int)info.dims[0];
        *one = dmq_shape4(1, (int)info.dims[2], (int)info.dims[3], (int)info.dims[1]);
    }
done:
    return st;
}

dmq_status dmq_images_open(dmq_images_file *out, const char *path, const char *key)
{
    dmq_images_file f = { .n = -1 };
    dmq_h5_info info;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_open(&f.file, path, DMQ_H5_READ));
    DMQ_TRY(dmq_h5_format_check(f.file, "dmq-images", 1));
    DMQ_TRY(check_key(f.file, path, key));
    DMQ_TRY(look(&f.n, &f.one, f.file, "images"));
    f.has_latents = dmq_h5_has(f.file, "latents");
    if (f.has_latents)
        DMQ_TRY(look(&f.n, &f.one_latent, f.file, "latents"));
    f.has_labels = dmq_h5_has(f.file, "label");
    if (f.has_labels) {
        DMQ_TRY(dmq_h5_shape(&info, f.file, "label"));
        if (info.rank != 1 || info.dims[0] != f.n) {
            st = dmq_fail(DMQ_ESHAPE, "%s: %d images, %lld labels", path, f.n,
                          (long long)info.dims[0]);
            goto done;
        }
    }
    *out = f;
    f.file = NULL;
done:
    dmq_h5_close(f.file);
    return st;
}

void dmq_images_close(dmq_images_file *file)
{
    dmq_h5_close(file->file);
    memset(file, 0, sizeof *file);
}

/* Rows of an array as (n, H, W, C). */
static dmq_status read_rows(dmq_real **out, dmq_h5 *file, const char *name, int first, int n,
                            dmq_shape one)
{
    size_t per = dmq_shape_count(one), count = (size_t)n * per;
    int h = one.dim[1], w = one.dim[2], c = one.dim[3];
    dmq_real *data = NULL, *nchw = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&data, count, sizeof *data));
    DMQ_TRY(dmq_alloc((void **)&nchw, count, sizeof *nchw));
    DMQ_TRY(dmq_h5_read_rows(nchw, file, name, first, n, DMQ_H5_F32, DMQ_DIMS(-1, c, h, w)));
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(nchw[i])) {
            st = dmq_fail(DMQ_EDATA,
                          "%s: %.*s %lld holds a number that is NaN or infinite\n"
                          "  hint: make or copy the file again",
                          dmq_h5_path(file), (int)strlen(name) - 1, name,
                          (long long)first + (long long)(i / per));
            goto done;
        }
    }
    dmq_nhwc_from_nchw(data, nchw, n, c, h, w);
    *out = data;
    data = NULL;
done:
    dmq_free(data);
    dmq_free(nchw);
    return st;
}

dmq_status dmq_images_read(dmq_images *out, const dmq_images_file *f, int first, int n)
{
    dmq_images images = { .n = n, .one = f->one, .one_latent = f->one_latent };
    dmq_status st = DMQ_OK;

    DMQ_TRY(read_rows(&images.data, f->file, "images", first, n, f->one));
    if (f->has_latents)
        DMQ_TRY(read_rows(&images.latents, f->file, "latents", first, n, f->one_latent));
    if (f->has_labels) {
        DMQ_TRY(dmq_alloc((void **)&images.label, (size_t)n, sizeof *images.label));
        DMQ_TRY(
            dmq_h5_read_rows(images.label, f->file, "label", first, n, DMQ_H5_I32, DMQ_DIMS(-1)));
    }
    *out = images;
    memset(&images, 0, sizeof images);
done:
    dmq_images_release(&images);
    return st;
}

dmq_status dmq_images_load(dmq_images *out, const char *path, const char *key)
{
    dmq_images_file f = { 0 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_images_open(&f, path, key));
    DMQ_TRY(dmq_images_read(out, &f, 0, f.n));
done:
    dmq_images_close(&f);
    return st;
}

/* Truncation takes the steps of the released scripts, in float: elsewhere a level may end up one lower. */
static double level_of(dmq_real x, dmq_levels levels)
{
    float u;

    if (levels == DMQ_LEVELS_ROUND)
        return floor(255 * fmin(fmax(((double)x + 1) / 2, 0), 1) + 0.5);
    u = ((float)x + 1.0F) / 2.0F;
    return (double)floorf(255.0F * fminf(fmaxf(u, 0.0F), 1.0F));
}

void dmq_images_levels(uint8_t *out, const dmq_real *images, size_t count, dmq_levels levels)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (uint8_t)level_of(images[i], levels);
}

void dmq_images_export(dmq_real *out, const dmq_real *images, size_t count, dmq_levels levels)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (dmq_real)(level_of(images[i], levels) / 255 * 2 - 1);
}
