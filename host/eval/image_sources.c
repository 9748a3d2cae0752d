/* Image sets whose images have one size: data sets, our own files, packs, CIFAR-10. */
#include "base/memory.h"
#include "eval/image_source.h"
#include "io/cifar10.h"
#include "io/npz.h"
#include "train/dataset.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ a procedural data set: its held-out images */

typedef struct data_set {
    dmq_dataset *set;
    dmq_levels levels;
} data_set;

static void close_data_set(void *state)
{
    data_set *d = state;

    if (d)
        dmq_dataset_close(d->set);
    dmq_free(d);
}

static dmq_status read_data_set(uint8_t *out, int *labels, const dmq_image_source *source,
                                int64_t first, int n)
{
    const data_set *d = source->state;
    size_t count = (size_t)n * (size_t)source->h * (size_t)source->w * (size_t)source->c;
    float *images = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&images, count, sizeof *images));
    DMQ_TRY(dmq_dataset_range(d->set, images, labels, DMQ_DATASET_HELD_OUT + (uint64_t)first, n));
    dmq_images_levels(out, images, count, d->levels);
done:
    dmq_free(images);
    return st;
}

dmq_status dmq_source_data_set(dmq_image_source *out, const char *name,
                               const dmq_image_set_config *config)
{
    data_set *d = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&d, 1, sizeof *d));
    DMQ_TRY(dmq_dataset_open(&d->set, name, 0));
    if (config->count < 1) {
        st = dmq_fail(DMQ_EINVAL, "data set %s has no end: how many of its images?", name);
        goto done;
    }
    d->levels = config->levels;
    *out = (dmq_image_source){ .n = config->count,
                               .h = d->set->size,
                               .w = d->set->size,
                               .c = d->set->channels,
                               .has_labels = 1,
                               .kind = "data set",
                               .state = d,
                               .read = read_data_set,
                               .close = close_data_set };
    (void)snprintf(out->text, sizeof out->text, "%s, %lld held out", name,
                   (long long)config->count);
    d = NULL;
done:
    close_data_set(d);
    return st;
}

/* ------------------------------------------------------------------ an image file of ours */

typedef struct images {
    dmq_images_file file;
    dmq_levels levels;
} images;

static void close_images(void *state)
{
    images *m = state;

    if (m)
        dmq_images_close(&m->file);
    dmq_free(m);
}

static dmq_status read_images(uint8_t *out, int *labels, const dmq_image_source *source,
                              int64_t first, int n)
{
    const images *m = source->state;
    dmq_images_file only = m->file;
    dmq_images part = { 0 };
    dmq_status st = DMQ_OK;

    only.has_latents = 0; /* nobody looks at them */
    DMQ_TRY(dmq_images_read(&part, &only, (int)first, n));
    dmq_images_levels(out, part.data, (size_t)n * dmq_shape_count(part.one), m->levels);
    if (labels)
        memcpy(labels, part.label, (size_t)n * sizeof *labels);
done:
    dmq_images_release(&part);
    return st;
}

dmq_status dmq_source_images(dmq_image_source *out, const char *path,
                             const dmq_image_set_config *config)
{
    images *m = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&m, 1, sizeof *m));
    DMQ_TRY(dmq_images_open(&m->file, path, NULL));
    m->levels = config->levels;
    *out = (dmq_image_source){ .n = m->file.n,
                               .h = m->file.one.dim[1],
                               .w = m->file.one.dim[2],
                               .c = m->file.one.dim[3],
                               .has_labels = m->file.has_labels,
                               .kind = "images.h5",
                               .state = m,
                               .read = read_images,
                               .close = close_images };
    (void)snprintf(out->text, sizeof out->text, "images.h5, %d", m->file.n);
    m = NULL;
done:
    close_images(m);
    return st;
}

/* ------------------------------------------------------------------ a pack */

typedef struct pack {
    dmq_npz *file;
    dmq_npz_rows *rows;
    int *label; /* NULL: it has none */
} pack;

static void close_pack(void *state)
{
    pack *p = state;

    if (!p)
        return;
    dmq_npz_rows_close(p->rows);
    dmq_npz_close(p->file);
    dmq_free(p->label);
    dmq_free(p);
}

static dmq_status read_pack(uint8_t *out, int *labels, const dmq_image_source *source,
                            int64_t first, int n)
{
    const pack *p = source->state;

    if (labels)
        memcpy(labels, p->label + first, (size_t)n * sizeof *labels);
    return dmq_npz_rows_read(out, p->rows, first, n);
}

static int has_array(const dmq_npz *file, const char *name)
{
    for (int i = 0; i < dmq_npz_count(file); i++) {
        if (strcmp(dmq_npz_name(file, i), name) == 0)
            return 1;
    }
    return 0;
}

static dmq_status read_labels(pack *p, const char *path, int64_t n)
{
    int64_t *wide = NULL;
    dmq_npz_info info;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_npz_shape(&info, p->file, "arr_1"));
    if (info.rank != 1 || info.dims[0] != n) {
        st = dmq_fail(DMQ_ESHAPE, "%s: arr_0 holds %lld images, arr_1 %lld labels", path,
                      (long long)n, (long long)info.count);
        goto done;
    }
    DMQ_TRY(dmq_alloc((void **)&wide, (size_t)n, sizeof *wide));
    DMQ_TRY(dmq_alloc((void **)&p->label, (size_t)n, sizeof *p->label));
    DMQ_TRY(dmq_npz_read_i64(wide, p->file, "arr_1", 1, &n));
    for (int64_t i = 0; i < n; i++) {
        if (wide[i] < 0 || wide[i] > INT_MAX) {
            st = dmq_fail(DMQ_EDATA, "%s: arr_1: label %lld is %lld: must be a class, 0 or more",
                          path, (long long)i, (long long)wide[i]);
            goto done;
        }
        p->label[i] = (int)wide[i];
    }
done:
    dmq_free(wide);
    return st;
}

dmq_status dmq_source_pack(dmq_image_source *out, const char *path)
{
    pack *p = NULL;
    const dmq_npz_info *info;
    const char *name;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&p, 1, sizeof *p));
    DMQ_TRY(dmq_npz_open(&p->file, path));
    name = dmq_npz_count(p->file) == 1 && dmq_npz_name(p->file, 0)[0] == '\0' ? "" : "arr_0";
    if (*name && !has_array(p->file, name)) {
        st = dmq_fail(DMQ_EDATA, "%s: holds no images: a pack has them in arr_0", path);
        if (has_array(p->file, "mu")) {
            st = dmq_fail_note(
                st,
                "  hint: it holds statistics (mu), which stand for a reference, not for images");
        }
        goto done;
    }
    DMQ_TRY(dmq_npz_rows_open(&p->rows, p->file, name));
    info = dmq_npz_rows_info(p->rows);
    if (info->type != DMQ_NPZ_U1 || info->rank != 4 || info->dims[3] != 3 ||
        info->dims[1] > DMQ_PICTURE_SIDE || info->dims[2] > DMQ_PICTURE_SIDE) {
        st = dmq_fail(DMQ_ESHAPE, "%s: %s must be u1 (N, H, W, 3), levels 0..255%s", path,
                      *name ? name : "the array",
                      info->type != DMQ_NPZ_U1 ? ", but holds numbers of another type"
                      : info->rank != 4        ? ", but has another rank"
                      : info->dims[3] == 3     ? ", but is larger than 32767 a side"
                      : info->dims[1] == 3     ? ", but is (N, 3, H, W)"
                                               : ", but has another number of channels");
        goto done;
    }
    if (*name && has_array(p->file, "arr_1"))
        DMQ_TRY(read_labels(p, path, info->dims[0]));
    *out = (dmq_image_source){ .n = info->dims[0],
                               .h = (int)info->dims[1],
                               .w = (int)info->dims[2],
                               .c = 3,
                               .has_labels = p->label != NULL,
                               .kind = "pack",
                               .state = p,
                               .read = read_pack,
                               .close = close_pack };
    (void)snprintf(out->text, sizeof out->text, "pack, %lld", (long long)out->n);
    p = NULL;
done:
    close_pack(p);
    return st;
}

/* ------------------------------------------------------------------ CIFAR-10 */

static void close_cifar10(void *state)
{
    dmq_cifar10_close(state);
}

static dmq_status read_cifar10(uint8_t *out, int *labels, const dmq_image_source *source,
                               int64_t first, int n)
{
    return dmq_cifar10_read(out, labels, source->state, (int)first, n);
}

dmq_status dmq_source_cifar10(dmq_image_source *out, const char *path)
{
    dmq_cifar10 *set;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cifar10_open(&set, path));
    *out = (dmq_image_source){ .n = dmq_cifar10_count(set),
                               .h = DMQ_CIFAR10_SIDE,
                               .w = DMQ_CIFAR10_SIDE,
                               .c = 3,
                               .has_labels = 1,
                               .kind = "cifar10-binary",
                               .state = set,
                               .read = read_cifar10,
                               .close = close_cifar10 };
    (void)snprintf(out->text, sizeof out->text, "%s", dmq_cifar10_text(set));
done:
    return st;
}
