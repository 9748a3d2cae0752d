/* Image sets kept as a folder of image files. */
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "eval/image_source.h"
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* Folders in folders; a link to a folder above ends here too. */
enum { DEPTH = 16, PATH_ROOM = 4096 };

typedef enum form { PNG, JPEG, WEBP, FORMS } form;

static const char *const form_name[FORMS] = { "png", "jpeg", "webp" };
static const struct {
    const char *suffix;
    form form;
} suffixes[] = { { ".png", PNG }, { ".jpg", JPEG }, { ".jpeg", JPEG }, { ".webp", WEBP } };

typedef struct folder {
    char *path;
    dmq_text names;    /* below path, each with its NUL: millions of them in one piece of memory */
    size_t *at;        /* where each begins in names */
    const char **name; /* (n) in their order */
    size_t n, room;
    long count[FORMS];
    long others; /* files that are no images */
    char other[PATH_ROOM];
} folder;

static void close_folder(void *state)
{
    folder *f = state;

    if (!f)
        return;
    dmq_text_release(&f->names);
    dmq_free(f->at);
    dmq_free(f->name);
    dmq_free(f->path);
    dmq_free(f);
}

static form form_of(const char *name)
{
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; dot && i < sizeof suffixes / sizeof *suffixes; i++) {
        if (strcasecmp(dot, suffixes[i].suffix) == 0)
            return suffixes[i].form;
    }
    return FORMS;
}

static dmq_status add(folder *f, const char *name)
{
    form kind = form_of(name);
    dmq_status st = DMQ_OK;

    if (kind == FORMS) {
        if (f->others++ == 0)
            (void)snprintf(f->other, sizeof f->other, "%s", name);
        return DMQ_OK;
    }
    if (f->n == f->room) {
        DMQ_TRY(dmq_grow((void **)&f->at, f->room, 2 * f->room + 64, sizeof *f->at));
        f->room = 2 * f->room + 64;
    }
    f->at[f->n++] = f->names.size;
    f->count[kind]++;
    dmq_text_add_bytes(&f->names, name, strlen(name) + 1);
    st = f->names.status;
done:
    return st;
}

/* below: the folder's name below f->path, "" or with a slash at its end. */
static dmq_status walk(folder *f, const char *below, int depth)
{
    char path[PATH_ROOM], name[PATH_ROOM];
    dmq_status st = DMQ_OK;
    struct dirent *entry;
    struct stat info;
    DIR *dir;

    (void)snprintf(path, sizeof path, "%s/%s", f->path, below);
    if (depth > DEPTH) {
        return dmq_fail(DMQ_EDATA, "%s: folders lie more than %d deep in each other", f->path,
                        DEPTH);
    }
    dir = opendir(path);
    if (!dir)
        return dmq_file_failed(path, false, errno);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.') /* itself, the one above, and what programs hide */
            continue;
        if (snprintf(name, sizeof name, "%s%s", below, entry->d_name) >= (int)sizeof name - 2 ||
            snprintf(path, sizeof path, "%s/%s", f->path, name) >= (int)sizeof path) {
            st = dmq_fail(DMQ_EDATA, "%s/%s...: the path is too long", f->path, below);
            goto done;
        }
        if (stat(path, &info) != 0) {
            st = dmq_file_failed(path, false, errno);
            goto done;
        }
        if (S_ISDIR(info.st_mode)) {
            memcpy(name + strlen(name), "/", 2);
            DMQ_TRY(walk(f, name, depth + 1));
        } else {
            DMQ_TRY(add(f, name));
        }
    }
done:
    (void)closedir(dir);
    return st;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Every image's own size by its header, before anything is computed: two sizes would be found after hours. */
static dmq_status check_sizes(dmq_image_source *s)
{
    folder *f = s->state;
    dmq_image_failure failure = { .at = s->n };
    int *sizes = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&sizes, (size_t)s->n, 2 * sizeof *sizes));
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < s->n; i++) {
        char path[PATH_ROOM];

        (void)snprintf(path, sizeof path, "%s/%s", f->path, f->name[i]);
        dmq_image_note(&failure, i, dmq_picture_size(&sizes[2 * i], &sizes[2 * i + 1], path));
    }
    DMQ_TRY(dmq_image_raise(&failure));
    for (int64_t i = 1; i < s->n; i++) {
        if (sizes[2 * i] != sizes[0] || sizes[2 * i + 1] != sizes[1]) {
            st = dmq_fail(DMQ_ESHAPE, "%s: %s is %dx%d, %s is %dx%d: images must have one size",
                          f->path, f->name[0], sizes[0], sizes[1], f->name[i], sizes[2 * i],
                          sizes[2 * i + 1]);
            st = dmq_fail_note(
                st,
                "  hint: evaluate.prepare: ldm or adm crops and shrinks photographs to one size");
            goto done;
        }
    }
    s->w = sizes[0];
    s->h = sizes[1];
done:
    dmq_free(sizes);
    return st;
}

static dmq_status read_one(dmq_picture *out, const dmq_image_source *source, int64_t i)
{
    const folder *f = source->state;
    char path[PATH_ROOM];

    (void)snprintf(path, sizeof path, "%s/%s", f->path, f->name[i]);
    return dmq_picture_load(out, path);
}

static void name_of(char *out, size_t size, const dmq_image_source *source, int64_t i)
{
    (void)snprintf(out, size, "%s", ((const folder *)source->state)->name[i]);
}

/* "folder, 50000 png", of several kinds "folder, 49998 png, 2 jpeg". */
static void set_text(dmq_image_source *s, const folder *f)
{
    size_t at = (size_t)snprintf(s->text, sizeof s->text, "folder");

    for (int i = 0; i < FORMS; i++) {
        if (f->count[i] > 0 && at < sizeof s->text) {
            at += (size_t)snprintf(s->text + at, sizeof s->text - at, ", %ld %s", f->count[i],
                                   form_name[i]);
        }
    }
}

static dmq_status refuse_empty(const folder *f)
{
    dmq_status st =
        dmq_fail(DMQ_EDATA, "%s: the folder holds no image (.png .jpg .jpeg .webp)", f->path);

    if (f->others > 0)
        st = dmq_fail_note(st, "  hint: it holds %ld other files, %s is one", f->others, f->other);
    return st;
}

dmq_status dmq_source_folder(dmq_image_source *out, const char *path,
                             const dmq_image_set_config *config)
{
    folder *f = NULL;
    long lossy;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&f, 1, sizeof *f));
    DMQ_TRY(dmq_strdup(&f->path, path));
    DMQ_TRY(walk(f, "", 0));
    if (f->n == 0) {
        st = refuse_empty(f);
        goto done;
    }
    DMQ_TRY(dmq_alloc((void **)&f->name, f->n, sizeof *f->name));
    for (size_t i = 0; i < f->n; i++)
        f->name[i] = f->names.data + f->at[i];
    qsort(f->name, f->n, sizeof *f->name, by_name);
    *out = (dmq_image_source){ .n = (int64_t)f->n,
                               .c = 3,
                               .kind = "folder",
                               .state = f,
                               .picture = read_one,
                               .name = name_of,
                               .close = close_folder };
    set_text(out, f);
    if (config->prepare == DMQ_PREPARE_NONE)
        DMQ_TRY(check_sizes(out));
    if (f->others > 0)
        dmq_log_detail("%s: %ld files are no images (%s)", path, f->others, f->other);
    lossy = f->count[JPEG] + f->count[WEBP];
    if (config->lossless && lossy > 0) {
        dmq_log_warn("lossy-images",
                     "%s: %ld of %zu images are JPEG or WebP: compression moves FID by whole units",
                     path, lossy, f->n);
    }
    f = NULL;
done:
    if (st != DMQ_OK)
        memset(out, 0, sizeof *out);
    close_folder(f);
    return st;
}
