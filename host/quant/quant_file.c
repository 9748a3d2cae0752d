#include "quant/quant_file.h"

#include "base/memory.h"
#include "calib/calib.h"
#include "io/h5.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define NAME_ROOM 256

static void member(char out[NAME_ROOM], const char *layer, const char *what)
{
    (void)snprintf(out, NAME_ROOM, "layers/%s%s%s", layer, *what ? "/" : "", what);
}

/* ------------------------------------------------------------------ saving */

static dmq_status save_weights(dmq_h5 *file, const char *layer, const dmq_qlayer *l)
{
    size_t count = (size_t)l->rows * (size_t)l->per;
    char name[NAME_ROOM];
    uint8_t *codes = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&codes, count, 1));
    for (size_t i = 0; i < count; i++)
        codes[i] = (uint8_t)l->code[i];
    member(name, layer, "codes");
    DMQ_TRY(dmq_h5_write_u8(file, name, DMQ_DIMS(l->rows, l->per), codes));
    member(name, layer, "scale");
    DMQ_TRY(dmq_h5_write_real(file, name, DMQ_DIMS(l->rows), l->scale));
    member(name, layer, "zero");
    DMQ_TRY(dmq_h5_write_real(file, name, DMQ_DIMS(l->rows), l->zero));
done:
    dmq_free(codes);
    return st;
}

static dmq_status save_layer(dmq_h5 *file, const dmq_qmodel *q, int i)
{
    const dmq_qlayer *l = &q->layer[i];
    const char *layer = q->model->layer[i].name;
    char name[NAME_ROOM];
    dmq_status st = DMQ_OK;
    int tables = l->act_bits > 0 && q->table_rows > 0;

    if (l->weight_bits == 0 && !tables)
        return st;
    if (l->weight_bits > 0)
        DMQ_TRY(save_weights(file, layer, l));
    if (tables) {
        member(name, layer, "act_scale");
        DMQ_TRY(
            dmq_h5_write_real(file, name, DMQ_DIMS(q->table_rows, l->table_cols), l->act_scale));
        member(name, layer, "act_zero");
        DMQ_TRY(dmq_h5_write_real(file, name, DMQ_DIMS(q->table_rows, l->table_cols), l->act_zero));
    }
    member(name, layer, "");
    DMQ_TRY(dmq_h5_attr_set_i64(file, name, "weight_bits", l->weight_bits));
    DMQ_TRY(dmq_h5_attr_set_i64(file, name, "act_bits", tables ? l->act_bits : 0));
    DMQ_TRY(dmq_h5_attr_set_i64(file, name, "split_at", l->split_at));
    DMQ_TRY(dmq_h5_attr_set_i64(file, name, "learned", l->learned));
done:
    return st;
}

dmq_status dmq_quant_save(const dmq_qmodel *q, const char *path, const char *model_hash,
                          const dmq_sampler *sampler, const char *key)
{
    dmq_h5 *file = NULL;
    char *text = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_sampler_text(&text, sampler));
    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_WRITE));
    DMQ_TRY(dmq_h5_format_set(file, "dmq-quant", 1));
    DMQ_TRY(dmq_h5_attr_set_text(file, "/", "key", key));
    DMQ_TRY(dmq_h5_attr_set_text(file, "/", "model_sha256", model_hash));
    DMQ_TRY(dmq_h5_attr_set_text(file, "/", "sampler", text));
    DMQ_TRY(dmq_h5_attr_set_i64(file, "/", "steps", sampler->n_steps));
    DMQ_TRY(dmq_h5_attr_set_i64(file, "/", "table_rows", q->table_rows));
    for (int i = 0; i < q->model->n_layers; i++)
        DMQ_TRY(save_layer(file, q, i));
    DMQ_TRY(dmq_h5_commit(file));
done:
    dmq_h5_close(file);
    dmq_free(text);
    return st;
}

/* ------------------------------------------------------------------ loading */

static dmq_status check_belongs(dmq_h5 *file, const char *path, const char *model_hash,
                                const dmq_sampler *sampler)
{
    char *made = NULL, *was = NULL, *now = NULL;
    int64_t rows = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_format_check(file, "dmq-quant", 1));
    DMQ_TRY(dmq_h5_attr_text(&made, file, "/", "model_sha256"));
    if (strcmp(made, model_hash) != 0) {
        st = dmq_fail(DMQ_EDATA,
                      "%s belongs to the model with sha256 %.16s..., this one has %.16s...", path,
                      made, model_hash);
        st = dmq_fail_note(st, "  hint: give the checkpoint that it was made from with --model");
        goto done;
    }
    DMQ_TRY(dmq_h5_attr_i64(&rows, file, "/", "table_rows"));
    if (!sampler || rows <= 1)
        goto done;
    DMQ_TRY(dmq_h5_attr_text(&was, file, "/", "sampler"));
    DMQ_TRY(dmq_sampler_text(&now, sampler));
    if (strcmp(was, now) != 0) {
        st = dmq_fail(DMQ_EDATA, "%s has one activation table for each step of another sampler",
                      path);
        (void)dmq_fail_note(st, "  it was: %s", was);
        (void)dmq_fail_note(st, "  now is: %s", now);
        st = dmq_fail_note(st, "  hint: quantize again for this sampler, or sample with that one");
    }
done:
    dmq_free(made);
    dmq_free(was);
    dmq_free(now);
    return st;
}

/* What was chosen for each layer, and that every layer of the file is one of the model. */
static dmq_status read_choice(dmq_choice *choice, dmq_h5 *file, const dmq_model *model)
{
    dmq_h5_names names = { 0 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_list(&names, file, "layers"));
    for (int i = 0; i < names.count; i++) {
        char layer[DMQ_NAME_MAX], group[NAME_ROOM];
        const dmq_layer *l;
        int64_t w, a, split;

        (void)snprintf(layer, sizeof layer, "%.*s", DMQ_NAME_MAX - 1, names.name[i]);
        layer[strcspn(layer, "/")] = '\0';
        l = dmq_model_layer(model, layer);
        if (!l) {
            st = dmq_fail(DMQ_EDATA, "%s: the model has no layer %s", dmq_h5_path(file), layer);
            goto done;
        }
        member(group, layer, "");
        DMQ_TRY(dmq_h5_attr_i64(&w, file, group, "weight_bits"));
        DMQ_TRY(dmq_h5_attr_i64(&a, file, group, "act_bits"));
        DMQ_TRY(dmq_h5_attr_i64(&split, file, group, "split_at"));
        if (w < 0 || w > DMQ_MAX_BITS || a < 0 || a > DMQ_MAX_BITS || split < 0 || split > l->in) {
            st = dmq_fail(DMQ_EDATA,
                          "%s: layer %s with %lld weight and %lld activation bits, cut at %lld",
                          dmq_h5_path(file), layer, (long long)w, (long long)a, (long long)split);
            goto done;
        }
        choice[l->index] =
            (dmq_choice){ .weight_bits = (int)w, .act_bits = (int)a, .split = split > 0 };
    }
done:
    dmq_h5_names_release(&names);
    return st;
}

static dmq_status check_numbers(const dmq_h5 *file, const char *layer, const char *what,
                                const dmq_real *scale, const dmq_real *zero, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(scale[i] > 0) || !isfinite(scale[i]) || !isfinite(zero[i]) ||
            zero[i] != dmq_rint(zero[i]))
            return dmq_fail(DMQ_EDATA, "%s: layer %s, %s %zu: scale %g, zero %g", dmq_h5_path(file),
                            layer, what, i, (double)scale[i], (double)zero[i]);
    return DMQ_OK;
}

static dmq_status load_weights(dmq_qmodel *q, dmq_h5 *file, int i)
{
    dmq_qlayer *l = &q->layer[i];
    const char *layer = q->model->layer[i].name;
    size_t count = (size_t)l->rows * (size_t)l->per;
    char name[NAME_ROOM];
    uint8_t *codes = NULL;
    int64_t learned;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&codes, count, 1));
    member(name, layer, "codes");
    DMQ_TRY(dmq_h5_read_u8(codes, file, name, DMQ_DIMS(l->rows, l->per)));
    for (size_t j = 0; j < count; j++) {
        if (codes[j] >> l->weight_bits) {
            st = dmq_fail(DMQ_EDATA, "%s: layer %s has code %d at %zu, beyond %d bits",
                          dmq_h5_path(file), layer, codes[j], j, l->weight_bits);
            goto done;
        }
        l->code[j] = (int16_t)codes[j];
    }
    member(name, layer, "scale");
    DMQ_TRY(dmq_h5_read_real(l->scale, file, name, DMQ_DIMS(l->rows)));
    member(name, layer, "zero");
    DMQ_TRY(dmq_h5_read_real(l->zero, file, name, DMQ_DIMS(l->rows)));
    DMQ_TRY(check_numbers(file, layer, "row", l->scale, l->zero, (size_t)l->rows));
    member(name, layer, "");
    DMQ_TRY(dmq_h5_attr_i64(&learned, file, name, "learned"));
    l->learned = learned != 0;
    dmq_qmodel_dequantize(q, i);
done:
    dmq_free(codes);
    return st;
}

static dmq_status load_tables(dmq_qmodel *q, dmq_h5 *file, int i)
{
    dmq_qlayer *l = &q->layer[i];
    const char *layer = q->model->layer[i].name;
    char name[NAME_ROOM];
    dmq_status st = DMQ_OK;

    member(name, layer, "act_scale");
    DMQ_TRY(dmq_h5_read_real(l->act_scale, file, name, DMQ_DIMS(q->table_rows, l->table_cols)));
    member(name, layer, "act_zero");
    DMQ_TRY(dmq_h5_read_real(l->act_zero, file, name, DMQ_DIMS(q->table_rows, l->table_cols)));
    DMQ_TRY(check_numbers(file, layer, "table entry", l->act_scale, l->act_zero,
                          (size_t)q->table_rows * (size_t)l->table_cols));
done:
    return st;
}

dmq_status dmq_quant_load(dmq_qmodel **out, const char *path, const dmq_model *model,
                          const char *model_hash, const dmq_sampler *sampler)
{
    dmq_h5 *file = NULL;
    dmq_choice *choice = NULL;
    dmq_qmodel *q = NULL;
    int64_t rows;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_READ));
    DMQ_TRY(check_belongs(file, path, model_hash, sampler));
    DMQ_TRY(dmq_alloc((void **)&choice, (size_t)model->n_layers, sizeof *choice));
    DMQ_TRY(read_choice(choice, file, model));
    DMQ_TRY(dmq_qmodel_create(&q, model, choice));
    DMQ_TRY(dmq_h5_attr_i64(&rows, file, "/", "table_rows"));
    if (rows < 0 || rows > 1000000) {
        st = dmq_fail(DMQ_EDATA, "%s: %lld rows of activation tables", path, (long long)rows);
        goto done;
    }
    if (rows > 0)
        DMQ_TRY(dmq_qmodel_tables(q, (int)rows));
    for (int i = 0; i < model->n_layers; i++) {
        if (q->layer[i].weight_bits > 0)
            DMQ_TRY(load_weights(q, file, i));
        if (q->layer[i].act_bits > 0 && rows > 0)
            DMQ_TRY(load_tables(q, file, i));
    }
    *out = q;
    q = NULL;
done:
    dmq_qmodel_destroy(q);
    dmq_free(choice);
    dmq_h5_close(file);
    return st;
}
