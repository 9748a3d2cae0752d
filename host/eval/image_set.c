#include "eval/image_set.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "eval/image_source.h"
#include "io/checkpoint.h"
#include "io/cifar10.h"
#include "io/file.h"
#include "train/dataset.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Images of one size that are in memory at once before they are prepared. */
enum { GROUP = 32 };

typedef struct set_state {
    dmq_image_source source;
    dmq_prepare prepare; /* NONE also where the images have that size already */
} set_state;

/* ------------------------------------------------------------------ failures of several threads */

void dmq_image_note(dmq_image_failure *failure, int64_t i, dmq_status st)
{
    if (st == DMQ_OK)
        return;
#pragma omp critical(dmq_image_note)
    {
        if (i < failure->at) {
            failure->at = i;
            failure->st = st;
            (void)snprintf(failure->text, sizeof failure->text, "%s", dmq_message());
        }
    }
}

dmq_status dmq_image_raise(const dmq_image_failure *failure)
{
    if (failure->st != DMQ_OK)
        dmq_message_set(failure->text);
    return failure->st;
}

/* ------------------------------------------------------------------ what a name stands for */

static dmq_status refuse_file(const char *path)
{
    int w, h;
    dmq_status st = dmq_picture_size(&w, &h, path);

    if (st == DMQ_OK) {
        return dmq_fail(DMQ_EDATA, "%s: is one image\n  hint: give the folder that holds the set",
                        path);
    }
    if (st != DMQ_EDATA)
        return st;
    return dmq_fail(DMQ_EDATA,
                    "%s: holds no set of images that is known\n"
                    "  hint: known are folders of PNG, JPEG or WebP files, LMDB databases "
                    "(data.mdb), packs (.npz with "
                    "arr_0), image files of dmq "
                    "(.h5) and CIFAR-10's binary batches; an archive must be unpacked first",
                    path);
}

static dmq_status open_file(dmq_image_source *out, const char *path,
                            const dmq_image_set_config *config)
{
    dmq_container kind = DMQ_CONTAINER_UNKNOWN;
    dmq_input *input = NULL;
    dmq_status st = DMQ_OK;

    if (dmq_path_has_suffix(path, ".mdb")) {
        DMQ_TRY(dmq_source_lmdb(out, path, config));
        goto done;
    }
    if (dmq_cifar10_is(path)) {
        DMQ_TRY(dmq_source_cifar10(out, path));
        goto done;
    }
    DMQ_TRY(dmq_input_open(&input, path));
    DMQ_TRY(dmq_container_of(&kind, input));
    if (kind == DMQ_CONTAINER_HDF5) {
        DMQ_TRY(dmq_source_images(out, path, config));
    } else if (kind == DMQ_CONTAINER_NPY || kind == DMQ_CONTAINER_ZIP) {
        DMQ_TRY(dmq_source_pack(out, path));
    } else {
        st = refuse_file(path);
    }
done:
    dmq_input_close(input);
    return st;
}

static dmq_status holds(int *out, const char *folder, const char *name)
{
    char *path = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_path_join(&path, folder, name));
    *out = dmq_file_exists(path);
done:
    dmq_free(path);
    return st;
}

static dmq_status open_folder(dmq_image_source *out, const char *path,
                              const dmq_image_set_config *config)
{
    int lmdb = 0, run = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(holds(&lmdb, path, "data.mdb"));
    DMQ_TRY(holds(&run, path, "run.json"));
    if (lmdb) {
        DMQ_TRY(dmq_source_lmdb(out, path, config));
    } else if (run) { /* its grid.png would be taken for all of its images */
        st = dmq_fail(
            DMQ_EDATA,
            "%s: is a run folder\n  hint: its images are in %s/images-q.h5 and images-fp.h5", path,
            path);
    } else {
        DMQ_TRY(dmq_cifar10_is(path) ? dmq_source_cifar10(out, path)
                                     : dmq_source_folder(out, path, config));
    }
done:
    return st;
}

/* The name of a data set means it wherever one stands: a folder that happens to be called so is given as ./NAME. */
static dmq_status open_source(dmq_image_source *out, const char *name,
                              const dmq_image_set_config *config)
{
    dmq_dataset *known = NULL;
    int folder = dmq_folder_exists(name), file = !folder && dmq_file_exists(name);
    dmq_status st = DMQ_OK;

    memset(out, 0, sizeof *out);
    if (!strchr(name, '/') && !strchr(name, '.')) {
        st = dmq_dataset_open(&known, name, 0);
        if (st == DMQ_OK) {
            DMQ_TRY(dmq_source_data_set(out, name, config));
            goto done;
        }
        if (st != DMQ_EINVAL || (!folder && !file))
            goto done;
    }
    if (folder) {
        DMQ_TRY(open_folder(out, name, config));
    } else if (file) {
        DMQ_TRY(open_file(out, name, config));
    } else {
        st = dmq_fail(DMQ_ENOINPUT, "%s: no such file or folder", name);
    }
done:
    dmq_dataset_close(known);
    return st;
}

/* ------------------------------------------------------------------ the set */

/* Which images and in which size: after the source is open, nothing of it may be in doubt. */
static dmq_status settle(dmq_image_set *set, set_state *state, const char *name,
                         const dmq_image_set_config *config)
{
    const dmq_image_source *s = &state->source;
    size_t at;

    state->prepare = config->prepare;
    if (s->h > 0 && s->h == config->size && s->w == config->size)
        state->prepare = DMQ_PREPARE_NONE;
    if (state->prepare != DMQ_PREPARE_NONE && s->c != 3) {
        return dmq_fail(DMQ_EINVAL, "%s: images of %d channels cannot be prepared, RGB alone can",
                        name, s->c);
    }
    if (config->count > s->n) {
        return dmq_fail(DMQ_EINVAL, "%s: %lld images are asked for, it holds %lld", name,
                        (long long)config->count, (long long)s->n);
    }
    set->n = config->count > 0 ? config->count : s->n;
    set->h = state->prepare == DMQ_PREPARE_NONE ? s->h : config->size;
    set->w = state->prepare == DMQ_PREPARE_NONE ? s->w : config->size;
    set->c = s->c;
    set->has_labels = s->has_labels;
    set->kind = s->kind;
    at = (size_t)snprintf(set->text, sizeof set->text, "%s", s->text);
    if (state->prepare != DMQ_PREPARE_NONE && at < sizeof set->text) {
        at += (size_t)snprintf(set->text + at, sizeof set->text - at, ", %s-%d",
                               dmq_prepare_text(state->prepare), config->size);
    }
    if (set->n < s->n && at < sizeof set->text)
        (void)snprintf(set->text + at, sizeof set->text - at, ", first %lld", (long long)set->n);
    return DMQ_OK;
}

dmq_status dmq_image_set_open(dmq_image_set **out, const char *name,
                              const dmq_image_set_config *config)
{
    dmq_image_set *set = NULL;
    set_state *state = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    if (config->prepare != DMQ_PREPARE_NONE &&
        (config->size < 1 || config->size > DMQ_PICTURE_SIDE)) {
        return dmq_fail(DMQ_EINVAL, "%s: images of size %d are asked for: must be 1..%d", name,
                        config->size, DMQ_PICTURE_SIDE);
    }
    DMQ_TRY(dmq_alloc((void **)&set, 1, sizeof *set));
    DMQ_TRY(dmq_alloc((void **)&state, 1, sizeof *state));
    set->state = state;
    DMQ_TRY(open_source(&state->source, name, config));
    DMQ_TRY(settle(set, state, name, config));
    *out = set;
    set = NULL;
done:
    dmq_image_set_close(set);
    return st;
}

void dmq_image_set_close(dmq_image_set *set)
{
    set_state *state;

    if (!set)
        return;
    state = set->state;
    if (state && state->source.close)
        state->source.close(state->source.state);
    dmq_free(state);
    dmq_free(set);
}

/* One picture to where it belongs: prepared, or of the set's size as it is. */
static dmq_status put(uint8_t *out, const dmq_image_set *set, const dmq_picture *p, int64_t i)
{
    const set_state *state = set->state;
    const dmq_image_source *s = &state->source;
    int side = p->width < p->height ? p->width : p->height;
    char name[DMQ_IMAGE_NAME] = "";

    if (s->name)
        s->name(name, sizeof name, s, i);
    if (state->prepare != DMQ_PREPARE_NONE) {
        if (side < set->h && s->name) {
            dmq_log_warn("enlarged-images", "%s is %dx%d: it is enlarged to %dx%d", name, p->width,
                         p->height, set->w, set->h);
        }
        return dmq_prepare_run(out, p, state->prepare, set->h);
    }
    if (p->width != set->w || p->height != set->h) {
        return dmq_fail(
            DMQ_ESHAPE,
            "%s is %dx%d, the set's first image %dx%d: images must have one size\n"
            "  hint: evaluate.prepare: ldm or adm crops and shrinks photographs to one size",
            name, p->width, p->height, set->w, set->h);
    }
    memcpy(out, p->rgb, (size_t)set->h * (size_t)set->w * 3);
    return DMQ_OK;
}

static dmq_status read_pictures(uint8_t *out, const dmq_image_set *set, int64_t first, int n)
{
    const dmq_image_source *s = &((const set_state *)set->state)->source;
    size_t one = (size_t)set->h * (size_t)set->w * 3;
    dmq_image_failure failure = { .at = n };

    /* One writer an image: the number of threads changes nothing but the time. */
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < n; i++) {
        dmq_picture p = { 0 };
        dmq_status st = s->picture(&p, s, first + i);

        if (st == DMQ_OK)
            st = put(out + (size_t)i * one, set, &p, first + i);
        dmq_image_note(&failure, i, st);
        dmq_picture_release(&p);
    }
    return dmq_image_raise(&failure);
}

static dmq_status read_and_prepare(uint8_t *out, int *labels, const dmq_image_set *set,
                                   int64_t first, int n)
{
    const dmq_image_source *s = &((const set_state *)set->state)->source;
    size_t raw = (size_t)s->h * (size_t)s->w * 3, one = (size_t)set->h * (size_t)set->w * 3;
    uint8_t *images = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&images, n < GROUP ? (size_t)n : GROUP, raw));
    for (int from = 0; from < n; from += GROUP) {
        int here = n - from < GROUP ? n - from : GROUP;
        dmq_image_failure failure = { .at = here };

        DMQ_TRY(s->read(images, labels ? labels + from : NULL, s, first + from, here));
#pragma omp parallel for schedule(static)
        for (int i = 0; i < here; i++) {
            dmq_picture p = { s->w, s->h, images + (size_t)i * raw };

            dmq_image_note(&failure, i,
                           put(out + (size_t)(from + i) * one, set, &p, first + from + i));
        }
        DMQ_TRY(dmq_image_raise(&failure));
    }
done:
    dmq_free(images);
    return st;
}

dmq_status dmq_image_set_read(uint8_t *out, int *labels, const dmq_image_set *set, int64_t first,
                              int n)
{
    const set_state *state = set->state;
    const dmq_image_source *s = &state->source;

    assert(first >= 0 && n >= 0 && first + n <= set->n);
    assert(!labels || set->has_labels);
    if (s->picture)
        return read_pictures(out, set, first, n);
    return state->prepare == DMQ_PREPARE_NONE ? s->read(out, labels, s, first, n)
                                              : read_and_prepare(out, labels, set, first, n);
}
