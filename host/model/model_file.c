#include "model/model_file.h"

#include "base/half.h"
#include "base/memory.h"
#include "io/checkpoint.h"
#include "model/alexnet.h"
#include "model/ddpm_unet.h"
#include "model/decoder.h"
#include "model/dit.h"
#include "model/features.h"
#include "model/inception.h"
#include "model/ldm_unet.h"
#include "model/match.h"
#include "tensor/layout.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FORMAT "dmq-model"
#define SCALED "scaled_linear"
enum { VERSION = 1 };

static const struct {
    const char *kind;
    dmq_status (*create)(dmq_model **out, const char *config_text);
} kinds[] = {
    { "alexnet", dmq_alexnet_create_text },   { "ddpm_unet", dmq_ddpm_unet_create_text },
    { "decoder", dmq_decoder_create_text },   { "dit", dmq_dit_create_text },
    { "features", dmq_features_create_text }, { "inception", dmq_inception_create_text },
    { "ldm_unet", dmq_ldm_unet_create_text },
};

dmq_status dmq_model_create(dmq_model **out, const char *kind, const char *config_text)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].kind, kind) == 0)
            return kinds[i].create(out, config_text);
    }
    return dmq_fail(DMQ_EDATA,
                    "model: unknown kind \"%s\"; this version knows alexnet, ddpm_unet, decoder, "
                    "dit, features, inception, ldm_unet",
                    kind);
}

void dmq_model_info_release(dmq_model_info *info)
{
    dmq_free(info->training);
    info->training = NULL;
}

/* ------------------------------------------------------------------ blocks */

static void path_of(char *out, size_t size, const char *group, const char *name)
{
    snprintf(out, size, "%s%s%s", group, *group ? "/" : "", name);
}

/** One array of the largest entry's size, for the other order of axes. */
static dmq_status scratch_create(dmq_real **out, const dmq_model *model)
{
    size_t largest = 0;

    for (int i = 0; i < model->n_entries; i++) {
        size_t n = dmq_shape_count(model->entry[i].shape);
        largest = n > largest ? n : largest;
    }
    return dmq_alloc((void **)out, largest, sizeof **out);
}

static dmq_status write_half(dmq_h5 *file, const char *path, const dmq_entry *e, int rank,
                             const int64_t *dims, const dmq_real *value)
{
    dmq_status st = DMQ_OK;
    size_t n = dmq_shape_count(e->shape);
    void *memory = NULL;
    float *copy;

    DMQ_TRY(dmq_alloc(&memory, n, sizeof *copy));
    copy = memory;
    for (size_t i = 0; i < n; i++) {
        copy[i] = (float)value[i];
        if (!isfinite(dmq_half_to_float(dmq_half_from_float(copy[i])))) {
            st = dmq_fail(DMQ_EDATA,
                          "%s: %s holds %g, half precision ends at 65504\n"
                          "  hint: store the model in f32",
                          dmq_h5_path(file), e->name, (double)copy[i]);
            goto done;
        }
    }
    DMQ_TRY(dmq_h5_write_f16(file, path, rank, dims, copy));
done:
    dmq_free(memory);
    return st;
}

dmq_status dmq_model_block_write(dmq_h5 *file, const char *group, const dmq_model *model,
                                 const dmq_real *block, int half)
{
    dmq_status st = DMQ_OK;
    dmq_real *scratch = NULL;

    DMQ_TRY(scratch_create(&scratch, model));
    for (int i = 0; i < model->n_entries; i++) {
        const dmq_entry *e = &model->entry[i];
        const dmq_real *value = block + e->offset;
        int64_t dims[4];
        int rank = dmq_entry_dims(dims, e);
        char path[2 * DMQ_NAME_MAX];

        path_of(path, sizeof path, group, e->name);
        if (e->rank4) {
            const int *d = e->shape.dim;
            dmq_nchw_from_nhwc(scratch, value, d[0], d[3], d[1], d[2]);
            value = scratch;
        }
        if (half) {
            DMQ_TRY(write_half(file, path, e, rank, dims, value));
        } else {
            DMQ_TRY(dmq_h5_write_real(file, path, rank, dims, value));
        }
    }
done:
    dmq_free(scratch);
    return st;
}

/** Which array of the group belongs to each entry. */
static dmq_status match(int *found, dmq_h5_names *names, dmq_h5 *file, const char *group,
                        const dmq_model *model)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_list(names, file, group));
    DMQ_TRY(dmq_model_match(found, model, (const char *const *)names->name, names->count,
                            dmq_h5_path(file)));
done:
    return st;
}

dmq_status dmq_model_block_read(dmq_real *block, dmq_h5 *file, const char *group,
                                const dmq_model *model)
{
    dmq_status st = DMQ_OK;
    dmq_real *scratch = NULL;
    dmq_h5_names names = { 0 };
    int *found = NULL;

    DMQ_TRY(dmq_alloc((void **)&found, (size_t)model->n_entries, sizeof *found));
    DMQ_TRY(match(found, &names, file, group, model));
    DMQ_TRY(scratch_create(&scratch, model));
    for (int i = 0; i < model->n_entries; i++) {
        const dmq_entry *e = &model->entry[i];
        dmq_real *value = e->rank4 ? scratch : block + e->offset;
        int64_t dims[4];
        int rank = dmq_entry_dims(dims, e);
        char path[2 * DMQ_NAME_MAX];

        path_of(path, sizeof path, group, names.name[found[i]]);
        DMQ_TRY(dmq_h5_read_real(value, file, path, rank, dims));
        DMQ_TRY(dmq_model_check_finite(e, value, dmq_h5_path(file)));
        if (e->rank4) {
            const int *d = e->shape.dim;
            dmq_nhwc_from_nchw(block + e->offset, scratch, d[0], d[3], d[1], d[2]);
        }
    }
done:
    dmq_h5_names_release(&names);
    dmq_free(found);
    dmq_free(scratch);
    return st;
}

/* ------------------------------------------------------------------ whole files */

dmq_status dmq_model_save(const dmq_model *model, const dmq_model_info *info, const char *path,
                          int half)
{
    dmq_status st = DMQ_OK;
    dmq_h5 *file = NULL;

    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_WRITE));
    DMQ_TRY(dmq_h5_format_set(file, FORMAT, VERSION));
    DMQ_TRY(dmq_h5_attr_set_text(file, "", "kind", model->arch->kind));
    DMQ_TRY(dmq_h5_attr_set_text(file, "", "config", model->config_text));
    if (info->T > 0) {
        DMQ_TRY(dmq_h5_attr_set_i64(file, "", "T", info->T));
        DMQ_TRY(dmq_h5_attr_set_f64(file, "", "beta_start", info->beta_start));
        DMQ_TRY(dmq_h5_attr_set_f64(file, "", "beta_end", info->beta_end));
        if (info->scaled)
            DMQ_TRY(dmq_h5_attr_set_text(file, "", "schedule", SCALED));
    }
    if (info->training)
        DMQ_TRY(dmq_h5_attr_set_text(file, "", "training", info->training));
    DMQ_TRY(dmq_model_block_write(file, "", model, model->params, half));
    DMQ_TRY(dmq_h5_commit(file));
done:
    dmq_h5_close(file);
    return st;
}

static dmq_status info_read(dmq_model_info *info, dmq_h5 *file)
{
    dmq_status st = DMQ_OK;
    char *kind = NULL;
    int64_t steps = 0;

    *info = (dmq_model_info){ 0 };
    if (dmq_h5_attr_has(file, "", "T")) {
        DMQ_TRY(dmq_h5_attr_i64(&steps, file, "", "T"));
        DMQ_TRY(dmq_h5_attr_f64(&info->beta_start, file, "", "beta_start"));
        DMQ_TRY(dmq_h5_attr_f64(&info->beta_end, file, "", "beta_end"));
        if (steps < 1 || steps > 1000000) {
            st = dmq_fail(DMQ_EDATA, "%s: T = %lld: must be 1..1000000", dmq_h5_path(file),
                          (long long)steps);
            goto done;
        }
        info->T = (int)steps;
        if (dmq_h5_attr_has(file, "", "schedule"))
            DMQ_TRY(dmq_h5_attr_text(&kind, file, "", "schedule"));
        if (kind && strcmp(kind, SCALED) != 0) {
            st = dmq_fail(DMQ_EDATA, "%s: schedule \"%s\" is not known, only " SCALED,
                          dmq_h5_path(file), kind);
            goto done;
        }
        info->scaled = kind != NULL;
    }
    if (dmq_h5_attr_has(file, "", "training"))
        DMQ_TRY(dmq_h5_attr_text(&info->training, file, "", "training"));
done:
    dmq_free(kind);
    return st;
}

/* A file that the user took for ours; what cannot be opened is told by who opens it, but for memory that was out. */
static dmq_status refuse_checkpoint(const char *path)
{
    dmq_container kind = DMQ_CONTAINER_UNKNOWN;
    dmq_input *input = NULL;
    dmq_status st = DMQ_OK;

    st = dmq_input_open(&input, path);
    if (st == DMQ_OK)
        st = dmq_container_of(&kind, input);
    dmq_input_close(input);
    if (st == DMQ_ENOMEM)
        return st;
    if (st != DMQ_OK)
        kind = DMQ_CONTAINER_UNKNOWN;
    st = DMQ_OK;
    if (kind != DMQ_CONTAINER_UNKNOWN && kind != DMQ_CONTAINER_HDF5) {
        st = dmq_fail(DMQ_EDATA, "%s: is a file of another program (%s)", path,
                      dmq_container_name(kind));
        st = dmq_fail_note(st, "  hint: dmq import %s -o model.h5 makes a model of it", path);
    }
    return st;
}

dmq_status dmq_model_load(dmq_model **out, dmq_model_info *info, const char *path)
{
    dmq_status st = DMQ_OK;
    dmq_model_info said = { 0 };
    dmq_model *m = NULL;
    dmq_h5 *file = NULL;
    char *kind = NULL, *text = NULL;

    DMQ_TRY(refuse_checkpoint(path));
    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_READ));
    DMQ_TRY(dmq_h5_format_check(file, FORMAT, VERSION));
    DMQ_TRY(dmq_h5_attr_text(&kind, file, "", "kind"));
    DMQ_TRY(dmq_h5_attr_text(&text, file, "", "config"));
    st = dmq_model_create(&m, kind, text);
    if (st != DMQ_OK) {
        /* Settings that cannot be are a wrong file here, not a wrong choice of the user. */
        st = dmq_fail_note(st == DMQ_EINVAL ? DMQ_EDATA : st, "  in %s", path);
        goto done;
    }
    DMQ_TRY(dmq_model_block_read(m->params, file, "", m));
    DMQ_TRY(info_read(&said, file));
    if (info) {
        *info = said;
        said.training = NULL;
    }
    *out = m;
    m = NULL;
done:
    dmq_model_info_release(&said);
    dmq_model_destroy(m);
    dmq_free(kind);
    dmq_free(text);
    dmq_h5_close(file);
    return st;
}
