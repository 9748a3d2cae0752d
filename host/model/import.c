#include "model/import.h"

#include "base/memory.h"
#include "io/safetensors.h"
#include "model/match.h"
#include "tensor/layout.h"

#include <stdio.h>
#include <string.h>

/** Dims of an entry in the order of files. */
static int dims_of(int64_t dims[4], const dmq_entry *e)
{
    static const int kcrs[4] = { 0, 3, 1, 2 };

    for (int i = 0; i < e->shape.rank; i++)
        dims[i] = e->shape.dim[e->rank4 ? kcrs[i] : i];
    return e->shape.rank;
}

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
        snprintf(out + n, size - n, ")");
}

static dmq_status check_shape(const dmq_st_tensor *t, const dmq_entry *e, const char *path)
{
    int64_t dims[4];
    int rank = dims_of(dims, e), there = without_ones(t->dims, t->rank);
    char ours[96], theirs[192];

    if (there == without_ones(dims, rank) &&
        memcmp(t->dims, dims, (size_t)there * sizeof *dims) == 0)
        return DMQ_OK;
    dims_text(ours, sizeof ours, dims, rank);
    dims_text(theirs, sizeof theirs, t->dims, t->rank);
    return dmq_fail(DMQ_ESHAPE, "%s: %s is %s, the network's is %s", path, t->name, theirs, ours);
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

/** Which tensor of the file belongs to each entry. */
static dmq_status match(int *found, const dmq_model *model, const dmq_safetensors *file,
                        const char *path)
{
    dmq_status st = DMQ_OK;
    int n = dmq_safetensors_count(file);
    const char **name = NULL;

    DMQ_TRY(dmq_alloc((void **)&name, (size_t)n, sizeof *name));
    for (int i = 0; i < n; i++)
        name[i] = dmq_safetensors_at(file, i)->name;
    DMQ_TRY(dmq_model_match(found, model, name, n, path));
done:
    dmq_free(name);
    return st;
}

dmq_status dmq_model_import_safetensors(dmq_model *model, const char *path)
{
    dmq_status st = DMQ_OK;
    size_t largest = largest_entry(model);
    dmq_safetensors *file = NULL;
    dmq_real *scratch = NULL;
    float *read = NULL;
    int *found = NULL;

    DMQ_TRY(dmq_safetensors_open(&file, path));
    DMQ_TRY(dmq_alloc((void **)&found, (size_t)model->n_entries, sizeof *found));
    DMQ_TRY(dmq_alloc((void **)&read, largest, sizeof *read));
    DMQ_TRY(dmq_alloc((void **)&scratch, largest, sizeof *scratch));
    DMQ_TRY(match(found, model, file, path));
    for (int i = 0; i < model->n_entries; i++) {
        const dmq_entry *e = &model->entry[i];
        const dmq_st_tensor *t = dmq_safetensors_at(file, found[i]);

        DMQ_TRY(check_shape(t, e, path)); /* then it has as many numbers, too */
        DMQ_TRY(dmq_safetensors_read_f32(read, file, t->name, t->rank, NULL));
        place(model->params + e->offset, e, read, scratch);
        DMQ_TRY(dmq_model_check_finite(e, model->params + e->offset, path));
    }
done:
    dmq_free(found);
    dmq_free(read);
    dmq_free(scratch);
    dmq_safetensors_close(file);
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
        tensor[i].rank = dims_of(tensor[i].dims, e);
        tensor[i].data = numbers + e->offset;
    }
    DMQ_TRY(dmq_safetensors_save(path, tensor, model->n_entries, metadata, 2));
done:
    dmq_free(tensor);
    dmq_free(numbers);
    dmq_free(scratch);
    return st;
}
