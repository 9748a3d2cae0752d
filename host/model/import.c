#include "model/import.h"

#include "base/memory.h"
#include "base/path.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "model/match.h"
#include "model/name_map.h"
#include "tensor/layout.h"

#include <stdio.h>
#include <string.h>

enum { PARTS = 8, VARIANTS = 4 };

/* ------------------------------------------------------------------ which state dict */

static const struct {
    const char *root, *needs; /* needs: the other dictionary that shows what this one is */
    int ema;
} roots[] = {
    { "ema/", NULL, 1 },   { "4/", "0/", 1 }, { "state_dict/", NULL, 0 },
    { "model/", NULL, 0 }, { "0/", NULL, 0 }, { "", NULL, 0 },
};

enum { ROOTS = sizeof roots / sizeof *roots };

/* The tensors of one entry, in the order of its rows. */
typedef struct source {
    const dmq_stored *part[PARTS];
    int n;
} source;

typedef struct import {
    dmq_model *model;
    const dmq_import_options *options;
    const dmq_checkpoint *file;
    const dmq_table *table;
    const char *path;
    const dmq_name_map *map;
    dmq_import_report *report;
    source *source;      /* (entries) */
    unsigned char *used; /* (tensors of the table) */
    dmq_listing twice;
} import;

/* The name behind the root, NULL for what does not lie directly there. */
static const char *below(const import *im, const dmq_stored *t)
{
    size_t n = strlen(im->report->root);
    const char *rest = t->name + n;

    return strncmp(t->name, im->report->root, n) == 0 && !strchr(rest, '/') ? rest : NULL;
}

static bool is_there(const import *im, const char *root)
{
import at = * im;
    dmq_import_report report = { 0 };

    (void)snprintf(report.root, sizeof report.root, "%s", root);
    at.report = &report;
    for (int i = 0; i < im->table->count; i++) {
        if (below(&at, &im->table->tensor[i]))
            return true;
    }
    return false;
}

/* A tensor of the state dict by its name, with or without "module."; both at once is one too many. */
static const dmq_stored *find(const import *im, const char *name, dmq_listing *twice)
{
    static const char *const front[] = { "", "module." };
    const dmq_stored *found = NULL;

    for (int i = 0; i < 2; i++) {
        char path[DMQ_TABLE_NAME + DMQ_MAP_NAME + 16];
        const dmq_stored *t;

        (void)snprintf(path, sizeof path, "%s%s%s", im->report->root, front[i], name);
        t = dmq_table_find(im->table, path);
        if (t && found && twice)
            dmq_listing_add(twice, t->name);
        found = found ? found : t;
    }
    return found;
}

/* The tensors of an entry under the map's names for it; n = 0 when there are none. */
static source look_up(const import *im, const dmq_name_map *map, const dmq_entry *e,
                      dmq_listing *twice)
{
    source found = { { NULL }, 0 };
    char name[DMQ_MAP_NAME];

    for (int v = 0; v < VARIANTS; v++) {
        source s = { { NULL }, 0 };
        int part = 0;

        for (; part < PARTS && dmq_name_map_name(name, map, im->model, e, v, part); part++) {
            s.part[part] = find(im, name, twice);
            if (!s.part[part])
                break;
            s.n++;
        }
        if (s.n == 0 || (part < PARTS && dmq_name_map_name(name, map, im->model, e, v, part)))
            continue; /* not there, or not whole */
        if (found.n > 0 && twice)
            dmq_listing_add(twice, s.part[0]->name);
        found = found.n ? found : s;
    }
    return found;
}

static int count_found(const import *im, const dmq_name_map *map)
{
    int n = 0;

    for (int i = 0; i < im->model->n_entries; i++)
        n += look_up(im, map, &im->model->entry[i], NULL).n > 0;
    return n;
}

/* The map that most names fit, the later of two, which knows more; NULL when the caller's is not one. */
static const dmq_name_map *choose_map(const import *im)
{
    const dmq_name_map *best = NULL, *map;
    int most = -1;

    for (int i = 0; (map = dmq_name_map_of(im->model->arch->kind, i)) != NULL; i++) {
        int n;

        if (im->options->layout && strcmp(im->options->layout, map->layout) != 0)
            continue;
        n = count_found(im, map);
        if (n > most || (n == most && n > 0)) {
            best = map;
            most = n;
        }
    }
    return best;
}

static dmq_status no_such_layout(const import *im)
{
    dmq_status st = dmq_fail(DMQ_EINVAL, "a network of kind %s has no layout \"%s\"",
                             im->model->arch->kind, im->options->layout);
    const dmq_name_map *map;

    for (int i = 0; (map = dmq_name_map_of(im->model->arch->kind, i)) != NULL; i++)
        st = dmq_fail_note(st, "  hint: there is \"%s\"", map->layout);
    return st;
}

static int has_averages(const import *im)
{
    char name[DMQ_MAP_NAME];

    for (int i = 0; i < im->model->n_entries; i++) {
        if (dmq_name_map_ema(name, im->map, im->model, &im->model->entry[i]) &&
            find(im, name, NULL))
            return 1;
    }
    return 0;
}

static dmq_status take_root(import *im, const char *root)
{
    (void)snprintf(im->report->root, sizeof im->report->root, "%s", root);
    im->map = choose_map(im);
    return im->map ? DMQ_OK : no_such_layout(im);
}

/* The caller's, or the first of the list that is there and has the weights that are wanted. */
static dmq_status choose_root(import *im)
{
    dmq_weights wanted = im->options->weights;
    const char *told = im->options->root;
    dmq_status st = DMQ_OK;
    char root[DMQ_TABLE_NAME + 2];

    if (told) {
        size_t n = strlen(told);

        (void)snprintf(root, sizeof root, "%.*s%s", DMQ_TABLE_NAME, told,
                       n == 0 || told[n - 1] == '/' ? "" : "/");
        if (!is_there(im, root)) {
            st = dmq_fail(DMQ_EDATA, "%s: has no tensors under \"%s\"", im->path, told);
            return dmq_fail_note(st, "  hint: dmq inspect shows what it has");
        }
        return take_root(im, root);
    }
    for (int i = 0; i < ROOTS; i++) {
        if ((roots[i].ema && wanted == DMQ_WEIGHTS_RAW) || !is_there(im, roots[i].root) ||
            (roots[i].needs && !is_there(im, roots[i].needs)))
            continue;
        DMQ_TRY(take_root(im, roots[i].root));
        im->report->ema = roots[i].ema;
        if (wanted != DMQ_WEIGHTS_EMA || roots[i].ema || has_averages(im))
            return DMQ_OK;
    }
    if (wanted == DMQ_WEIGHTS_EMA) {
        st = dmq_fail(DMQ_EDATA, "%s: has no averaged weights that can be told as such", im->path);
        return dmq_fail_note(st, "  hint: --weights auto takes those that it has; a file may hold "
                                 "averaged ones alone");
    }
    st = dmq_fail(DMQ_EDATA, "%s: has no state dict where one is looked for", im->path);
    st = dmq_fail_note(st, "  hint: dmq inspect shows its tensors, --root says where they are");
done:
    return st;
}

/* ------------------------------------------------------------------ which tensors */

static void mark(import *im, const source *s)
{
    for (int i = 0; i < s->n; i++)
        im->used[s->part[i] - im->table->tensor] = 1;
}

/* Averages in the same dictionary: all or none. They take the place of the raw weights. */
static dmq_status take_averages(import *im)
{
    dmq_listing missing = { 0 };
    char name[DMQ_MAP_NAME];

    if (im->report->ema || !im->map->ema || !has_averages(im))
        return DMQ_OK;
    for (int i = 0; i < im->model->n_entries; i++) {
        const dmq_entry *e = &im->model->entry[i];
        source s = { { NULL }, 1 };

        if (!dmq_name_map_ema(name, im->map, im->model, e))
            continue;
        s.part[0] = find(im, name, &im->twice);
        if (!s.part[0]) {
            dmq_listing_add(&missing, name);
            continue;
        }
        mark(im, &s);
        if (im->options->weights != DMQ_WEIGHTS_RAW)
            im->source[i] = s;
    }
    im->report->ema = im->options->weights != DMQ_WEIGHTS_RAW;
    if (missing.count == 0)
        return DMQ_OK;
    return dmq_listing_note(
        dmq_fail(DMQ_EDATA, "%s: has averaged weights for some parameters only", im->path),
        &missing, "missing");
}

static bool begins_with_one_of(const char *name, const char *const *list, int n)
{
    for (int i = 0; list && (n < 0 ? list[i] != NULL : i < n); i++) {
        if (strncmp(name, list[i], strlen(list[i])) == 0)
            return true;
    }
    return false;
}

static bool ends_with_one_of(const char *name, const char *const *list)
{
    size_t length = strlen(name);

    for (; list && *list; list++) {
        size_t n = strlen(*list);

        if (length >= n && strcmp(name + length - n, *list) == 0)
            return true;
    }
    return false;
}

/* Whether a tensor of the state dict that is no parameter may be there. */
static bool may_stand_beside(const import *im, const char *name)
{
    if (strncmp(name, "module.", 7) == 0)
        name += 7;
    return begins_with_one_of(name, im->map->beside, -1) ||
           ends_with_one_of(name, im->map->beside_ends) ||
           begins_with_one_of(name, im->options->ignore, im->options->n_ignore);
}

static dmq_status match(import *im)
{
    dmq_listing missing = { 0 }, unknown = { 0 };
    dmq_status st = DMQ_OK;

    for (int i = 0; i < im->model->n_entries; i++) {
        const dmq_entry *e = &im->model->entry[i];
        char name[DMQ_MAP_NAME];

        im->source[i] = look_up(im, im->map, e, &im->twice);
        mark(im, &im->source[i]);
        if (im->source[i].n == 0) {
            bool named = dmq_name_map_name(name, im->map, im->model, e, 0, 0);

            dmq_listing_add(&missing, named ? name : e->name);
        }
    }
    DMQ_TRY(take_averages(im));
    for (int i = 0; i < im->table->count; i++) {
        const char *name = below(im, &im->table->tensor[i]);

        if (!name) {
            im->report->elsewhere++;
        } else if (!im->used[i]) {
            if (may_stand_beside(im, name)) {
                im->report->beside++;
            } else {
                dmq_listing_add(&unknown, name);
            }
        }
    }
    if (!missing.count && !unknown.count && !im->twice.count)
        return DMQ_OK;
    st = dmq_fail(DMQ_EDATA, "%s: the tensors are not those of the network (%s, %s)", im->path,
                  im->model->arch->kind, im->map->layout);
    st = dmq_listing_note(st, &missing, "missing");
    st = dmq_listing_note(st, &unknown, "unknown to it");
    st = dmq_listing_note(st, &im->twice, "there twice");
done:
    return st;
}

/* ------------------------------------------------------------------ shapes and numbers */

static int without_ones(const int64_t *dims, int rank)
{
    while (rank > 1 && dims[rank - 1] == 1)
        rank--;
    return rank;
}

static void dims_text(char *out, size_t size, const int64_t *dims, int rank)
{
    size_t n = (size_t)snprintf(out, size, "(");

    for (int i = 0; i < rank && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%lld", i ? ", " : "", (long long)dims[i]);
    if (n < size)
        (void)snprintf(out + n, size - n, ")");
}

/* One part against the entry's shape; rows: how many of the first dimension it has, of those left. */
static dmq_status check_shape(const import *im, const dmq_stored *t, const dmq_entry *e, int parts,
                              int64_t *left)
{
    int64_t dims[4] = { 0 };
    int rank, there = without_ones(t->dims, t->rank);
    char ours[96], theirs[192];

    rank = dmq_entry_dims(dims, e);
    if (parts > 1 && t->rank > 0 && t->dims[0] <= *left)
        dims[0] = t->dims[0];
    *left -= dims[0];
    if (there == without_ones(dims, rank) &&
        memcmp(t->dims, dims, (size_t)there * sizeof *dims) == 0)
        return DMQ_OK;
    dims_text(ours, sizeof ours, dims, rank);
    dims_text(theirs, sizeof theirs, t->dims, t->rank);
    return dmq_fail(DMQ_ESHAPE, "%s: %s is %s, the network's is %s", im->path, t->name, theirs,
                    ours);
}

/** To memory order, and from float to the number type. */
static void place(dmq_real *out, const dmq_entry *e, const float *in, dmq_real *scratch)
{
    size_t n = dmq_shape_count(e->shape);
    const int *d = e->shape.dim;

    for (size_t i = 0; i < n; i++)
        scratch[i] = (dmq_real)in[i];
    if (e->rank4) {
        dmq_nhwc_from_nchw(out, scratch, d[0], d[3], d[1], d[2]);
    } else {
        memcpy(out, scratch, n * sizeof *out);
    }
}

static size_t largest_entry(const dmq_model *model)
{
    size_t largest = 1;

    for (int i = 0; i < model->n_entries; i++) {
        size_t n = dmq_shape_count(model->entry[i].shape);
        largest = n > largest ? n : largest;
    }
    return largest;
}

static dmq_status read_entry(import *im, int number, float *read, dmq_real *scratch)
{
    const dmq_entry *e = &im->model->entry[number];
    const source *s = &im->source[number];
    int64_t dims[4], left;
    dmq_status st = DMQ_OK;
    size_t at = 0;

    dmq_entry_dims(dims, e);
    left = dims[0];
    for (int i = 0; i < s->n;
         i++) { /* all shapes first: then the parts have as many numbers as the entry */
        if (s->part[i]->type != DMQ_DTYPE_OTHER) /* reading it says why it cannot be */
            DMQ_TRY(check_shape(im, s->part[i], e, s->n, &left));
    }
    if (s->n > 1 && left != 0) {
        return dmq_fail(DMQ_ESHAPE, "%s: %s and the %d that follow it lack %lld of %lld rows",
                        im->path, s->part[0]->name, s->n - 1, (long long)left, (long long)dims[0]);
    }
    for (int i = 0; i < s->n; i++) {
        DMQ_TRY(dmq_checkpoint_read_f32(read + at, im->file, s->part[i]));
        at += (size_t)s->part[i]->count;
    }
    place(im->model->params + e->offset, e, read, scratch);
    DMQ_TRY(dmq_model_check_finite(e, im->model->params + e->offset, im->path));
    im->report->tensors += s->n;
    im->report->numbers += at;
done:
    return st;
}

/* One number beside the networks of latent diffusion: the first stage needs it, and no other file has it. */
static dmq_status read_scale_factor(import *im)
{
    const dmq_stored *t = find(im, "scale_factor", NULL);
    dmq_status st = DMQ_OK;
    float value;

    if (!t || t->count != 1)
        return DMQ_OK;
    DMQ_TRY(dmq_checkpoint_read_f32(&value, im->file, t));
    im->report->scale_factor = (double)value;
done:
    return st;
}

static dmq_status check_config(const import *im)
{
    dmq_status st = DMQ_OK;
    char *folder = NULL, *path = NULL;
    dmq_json *config = NULL;

    if (!im->map->check)
        return DMQ_OK;
    DMQ_TRY(dmq_path_folder(&folder, im->path));
    DMQ_TRY(dmq_path_join(&path, folder, "config.json"));
    if (!dmq_file_exists(path))
        goto done;
    DMQ_TRY(dmq_json_load(&config, path));
    DMQ_TRY(im->map->check(im->model, config, path));
done:
    dmq_json_destroy(config);
    dmq_free(folder);
    dmq_free(path);
    return st;
}

dmq_status dmq_model_import(dmq_model *model, dmq_import_report *report, const dmq_checkpoint *file,
                            const dmq_import_options *options)
{
    dmq_status st = DMQ_OK;
    size_t largest = largest_entry(model);
import im = {.model = model, .options = options, .file = file, .table = dmq_checkpoint_table(file), .path = dmq_checkpoint_path(file), .report = report };
    dmq_real *scratch = NULL;
    float *read = NULL;

    memset(report, 0, sizeof *report);
    DMQ_TRY(dmq_alloc((void **)&im.source, (size_t)model->n_entries, sizeof *im.source));
    DMQ_TRY(dmq_alloc((void **)&im.used, (size_t)im.table->count, 1));
    DMQ_TRY(choose_root(&im));
    report->layout = im.map->layout;
    DMQ_TRY(match(&im));
    DMQ_TRY(check_config(&im));
    DMQ_TRY(read_scale_factor(&im));
    DMQ_TRY(dmq_alloc((void **)&read, largest, sizeof *read));
    DMQ_TRY(dmq_alloc((void **)&scratch, largest, sizeof *scratch));
    for (int i = 0; i < model->n_entries; i++)
        DMQ_TRY(read_entry(&im, i, read, scratch));
done:
    dmq_free(im.source);
    dmq_free(im.used);
    dmq_free(read);
    dmq_free(scratch);
    return st;
}

dmq_status dmq_model_export_safetensors(const dmq_model *model, const char *path)
{
    dmq_status st = DMQ_OK;
    const char *const metadata[][2] = { { "kind", model->arch->kind },
                                        { "config", model->config_text } };
    dmq_st_source *tensor = NULL;
    dmq_real *scratch = NULL;
    float *numbers = NULL;

    DMQ_TRY(dmq_alloc((void **)&tensor, (size_t)model->n_entries, sizeof *tensor));
    DMQ_TRY(dmq_alloc((void **)&numbers, model->n_params, sizeof *numbers));
    DMQ_TRY(dmq_alloc((void **)&scratch, largest_entry(model), sizeof *scratch));
    for (int i = 0; i < model->n_entries; i++) {
        const dmq_entry *e = &model->entry[i];
        const dmq_real *value = model->params + e->offset;
        const int *d = e->shape.dim;

        if (e->rank4) {
            dmq_nchw_from_nhwc(scratch, value, d[0], d[3], d[1], d[2]);
            value = scratch;
        }
        for (size_t k = 0; k < dmq_shape_count(e->shape); k++)
            numbers[e->offset + k] = (float)value[k];
        tensor[i].name = e->name;
        tensor[i].type = DMQ_ST_F32;
        tensor[i].rank = dmq_entry_dims(tensor[i].dims, e);
        tensor[i].data = numbers + e->offset;
    }
    DMQ_TRY(dmq_safetensors_save(path, tensor, model->n_entries, metadata, 2));
done:
    dmq_free(tensor);
    dmq_free(numbers);
    dmq_free(scratch);
    return st;
}
