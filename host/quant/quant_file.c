#include "quant/quant_file.h"

#include "base/log.h"
#include "base/memory.h"
#include "calib/calib.h"
#include "io/h5.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FORMAT  "dmq-quant"
#define VERSION 1

enum { CHOICE = 5, PATH = 2 * DMQ_NAME_MAX };

/* Output channels of a layer, numbers of each, and how they lie: K rows of (R*S, C) in memory. */
typedef struct weight_view {
    int k, taps, c, halves;
} weight_view;

static weight_view view_of(const dmq_qmodel *q, int layer)
{
    const dmq_layer *l = &q->model->layer[layer];
    size_t count = l->weight < 0 ? 0 : dmq_shape_count(q->model->entry[l->weight].shape);
    int per = (int)(count / (size_t)l->out);

    return (weight_view){ l->out, per / l->in, l->in, q->layer[layer].split_at > 0 ? 2 : 1 };
}

static const char *path_of(char out[PATH], const dmq_qmodel *q, int layer, const char *what)
{
    (void)snprintf(out, PATH, "layers/%s/%s", q->model->layer[layer].name, what);
    return out;
}

/* Codes between memory (K, taps, C) and file (K, C, taps). */
static void codes_to_file(uint8_t *out, const int16_t *code, weight_view v)
{
    for (int k = 0; k < v.k; k++) {
        for (int c = 0; c < v.c; c++) {
            for (int t = 0; t < v.taps; t++) {
                *out++ = (uint8_t)
                    code[((size_t)k * (size_t)v.taps + (size_t)t) * (size_t)v.c + (size_t)c];
            }
        }
    }
}

static void codes_from_file(int16_t *code, const uint8_t *in, weight_view v)
{
    for (int k = 0; k < v.k; k++) {
        for (int c = 0; c < v.c; c++) {
            for (int t = 0; t < v.taps; t++)
                code[((size_t)k * (size_t)v.taps + (size_t)t) * (size_t)v.c + (size_t)c] = *in++;
        }
    }
}

/* Dims of the codes in the file: as the entry's are told. */
static int code_dims(int64_t dims[4], const dmq_qmodel *q, int layer)
{
    int weight = q->model->layer[layer].weight;
    const dmq_entry *e = &q->model->entry[weight < 0 ? 0 : weight];
    const int *d = e->shape.dim;

    if (weight < 0)
        return 0;
    dims[0] = d[0];
    dims[1] = e->rank4 ? d[3] : d[1];
    dims[2] = d[1];
    dims[3] = d[2];
    return e->rank4 ? 4 : 2;
}

/* Scales of rows told for each output channel and half; a row's half is that of its first channel. */
static void rows_to_file(dmq_real *out, const dmq_real *rows, const dmq_qlayer *l, weight_view v)
{
    int runs = l->rows / v.k;

    for (int k = 0; k < v.k; k++) {
        out[k * v.halves] = rows[k * runs];
        if (v.halves == 2)
            out[2 * k + 1] = rows[k * runs + v.c / l->per - 1];
    }
}

static void rows_from_file(dmq_real *rows, const dmq_real *in, const dmq_qlayer *l, weight_view v)
{
    int runs = l->rows / v.k;

    for (int r = 0; r < l->rows; r++) {
        int channel = v.halves == 2 ? r % (v.c / l->per) * l->per : 0;

        rows[r] = in[r / runs * v.halves + (v.halves == 2 && channel >= l->split_at)];
    }
}

/* Columns of a table in the file: one, a half, a channel. */
static int table_width(const dmq_qlayer *l)
{
    return l->act_channels ? l->table_cols : l->split_at > 0 ? 2 : 1;
}

static void table_to_file(dmq_real *out, const dmq_real *table, int rows, const dmq_qlayer *l)
{
    int width = table_width(l), cols = l->table_cols, halves = width == 2 && !l->act_channels;

    for (int r = 0; r < rows; r++) {
        for (int h = 0; h < width; h++)
            out[r * width + h] = table[r * cols + (halves && h ? cols - 1 : h)];
    }
}

static void table_from_file(dmq_real *table, const dmq_real *in, int rows, const dmq_qlayer *l)
{
    int width = table_width(l), cols = l->table_cols;

    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < cols; c++) {
            table[r * cols + c] =
                in[r * width + (l->act_channels ? c : width == 2 && c >= l->split_at)];
        }
    }
}

static dmq_status write_reals(dmq_h5 *f, const char *path, const dmq_real *x, int rows, int cols)
{
    return dmq_h5_write_real(f, path, cols > 1 ? 2 : 1, (const int64_t[]){ rows, cols }, x);
}

static dmq_status read_reals(dmq_real *x, dmq_h5 *f, const char *path, int rows, int cols)
{
    return dmq_h5_read_real(x, f, path, cols > 1 ? 2 : 1, (const int64_t[]){ rows, cols });
}

/* Scratch of one layer: codes as bytes, and the longest list of scales. */
static dmq_status scratch(uint8_t **bytes, dmq_real **list, const dmq_qmodel *q, int layer)
{
    weight_view v = view_of(q, layer);
    size_t scales = (size_t)v.k * (size_t)v.halves;
    size_t table = (size_t)q->table_rows * (size_t)table_width(&q->layer[layer]);
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)bytes, (size_t)v.k * (size_t)v.taps * (size_t)v.c, 1));
    DMQ_TRY(dmq_alloc((void **)list, scales > table ? scales : table, sizeof **list));
done:
    return st;
}

/* ------------------------------------------------------------------ saving */

static dmq_status write_tables(dmq_h5 *f, const dmq_qmodel *q, int layer, dmq_real *list)
{
    const dmq_qlayer *l = &q->layer[layer];
    int rows = q->table_rows;
    char path[PATH];
    dmq_status st = DMQ_OK;

    table_to_file(list, l->act_scale, rows, l);
    DMQ_TRY(write_reals(f, path_of(path, q, layer, "act_scale"), list, rows, table_width(l)));
    table_to_file(list, l->act_zero, rows, l);
    DMQ_TRY(write_reals(f, path_of(path, q, layer, "act_zero"), list, rows, table_width(l)));
done:
    return st;
}

static dmq_status write_layer(dmq_h5 *f, const dmq_qmodel *q, int layer)
{
    const dmq_qlayer *l = &q->layer[layer];
    weight_view v = view_of(q, layer);
    char path[PATH];
    uint8_t *bytes = NULL;
    dmq_real *list = NULL;
    int64_t dims[4];
    int rank = code_dims(dims, q, layer);
    dmq_status st = DMQ_OK;

    DMQ_TRY(scratch(&bytes, &list, q, layer));
    if (l->weight_bits > 0) {
        codes_to_file(bytes, l->code, v);
        DMQ_TRY(dmq_h5_write_u8(f, path_of(path, q, layer, "code"), rank, dims, bytes));
        rows_to_file(list, l->scale, l, v);
        DMQ_TRY(write_reals(f, path_of(path, q, layer, "scale"), list, v.k, v.halves));
        rows_to_file(list, l->zero, l, v);
        DMQ_TRY(write_reals(f, path_of(path, q, layer, "zero"), list, v.k, v.halves));
    }
    if (l->act_bits > 0 && q->table_rows > 0)
        DMQ_TRY(write_tables(f, q, layer, list));
done:
    dmq_free(bytes);
    dmq_free(list);
    return st;
}

static dmq_status write_choice(dmq_h5 *f, const dmq_qmodel *q)
{
    int32_t *choice = NULL;
    dmq_status st =
        dmq_alloc((void **)&choice, (size_t)q->model->n_layers * CHOICE, sizeof *choice);

    for (int i = 0; i < q->model->n_layers && st == DMQ_OK; i++) {
        const dmq_qlayer *l = &q->layer[i];
        int32_t *c = choice + (size_t)CHOICE * (size_t)i;

        c[0] = l->weight_bits;
        c[1] = l->act_bits;
        c[2] = l->split_at > 0;
        c[3] = l->act_channels;
        c[4] = l->learned;
    }
    if (st == DMQ_OK)
        st = dmq_h5_write_i32(f, "choice", DMQ_DIMS(q->model->n_layers, CHOICE), choice);
    dmq_free(choice);
    return st;
}

static dmq_status write_steps(dmq_h5 *f, const dmq_sampler *sampler)
{
    int32_t *t = NULL;
    dmq_status st = dmq_alloc((void **)&t, (size_t)sampler->n_steps, sizeof *t);

    for (int k = 0; k < sampler->n_steps && st == DMQ_OK; k++)
        t[k] = (int32_t)rint(sampler->step[k].t); /* the text beside it tells fractions apart */
    if (st == DMQ_OK)
        st = dmq_h5_write_i32(f, "t", DMQ_DIMS(sampler->n_steps), t);
    dmq_free(t);
    return st;
}

dmq_status dmq_quant_save(const dmq_qmodel *q, const char *path, const char *model_hash,
                          const dmq_sampler *sampler, const char *key)
{
    dmq_h5 *f = NULL;
    char *text = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_sampler_text(&text, sampler));
    DMQ_TRY(dmq_h5_open(&f, path, DMQ_H5_WRITE));
    DMQ_TRY(dmq_h5_format_set(f, FORMAT, VERSION));
    DMQ_TRY(dmq_h5_attr_set_text(f, "/", "key", key));
    DMQ_TRY(dmq_h5_attr_set_text(f, "/", "model_sha256", model_hash));
    DMQ_TRY(dmq_h5_attr_set_text(f, "/", "sampler", text));
    DMQ_TRY(dmq_h5_attr_set_i64(f, "/", "steps", sampler->n_steps));
    DMQ_TRY(dmq_h5_attr_set_i64(f, "/", "table_rows", q->table_rows));
    DMQ_TRY(write_steps(f, sampler));
    DMQ_TRY(write_choice(f, q));
    for (int i = 0; i < q->model->n_layers; i++) {
        if (q->layer[i].weight_bits > 0 || (q->layer[i].act_bits > 0 && q->table_rows > 0))
            DMQ_TRY(write_layer(f, q, i));
    }
    DMQ_TRY(dmq_h5_commit(f));
done:
    dmq_h5_close(f);
    dmq_free(text);
    return st;
}

/* ------------------------------------------------------------------ loading */

/* Values in a file that the quantizer cannot have written. */
static dmq_status check_layer(const dmq_qmodel *q, int layer, const char *file)
{
    const dmq_qlayer *l = &q->layer[layer];
    const char *name = q->model->layer[layer].name;
    int top = (1 << l->weight_bits) - 1;

    for (int r = 0; l->weight_bits > 0 && r < l->rows; r++) {
        if (!(l->scale[r] > 0) || !isfinite(l->scale[r]) || l->zero[r] != dmq_rint(l->zero[r])) {
            return dmq_fail(DMQ_EDATA, "%s: layer %s: scale %g, zero %g of row %d cannot be", file,
                            name, (double)l->scale[r], (double)l->zero[r], r);
        }
        for (int j = 0; j < l->per; j++) {
            int code = l->code[(size_t)r * (size_t)l->per + (size_t)j];

            if (code > top) {
                return dmq_fail(DMQ_EDATA, "%s: layer %s: code %d, its %d bits end at %d", file,
                                name, code, l->weight_bits, top);
            }
        }
    }
    for (int k = 0; l->act_bits > 0 && k < q->table_rows * l->table_cols; k++) {
        if (!(l->act_scale[k] > 0) || !isfinite(l->act_scale[k]) ||
            l->act_zero[k] != dmq_rint(l->act_zero[k])) {
            return dmq_fail(DMQ_EDATA, "%s: layer %s: table entry %d, scale %g, zero %g, cannot be",
                            file, name, k, (double)l->act_scale[k], (double)l->act_zero[k]);
        }
    }
    return DMQ_OK;
}

static dmq_status read_tables(dmq_qmodel *q, int layer, dmq_h5 *f, dmq_real *list)
{
    dmq_qlayer *l = &q->layer[layer];
    int rows = q->table_rows;
    char path[PATH];
    dmq_status st = DMQ_OK;

    DMQ_TRY(read_reals(list, f, path_of(path, q, layer, "act_scale"), rows, table_width(l)));
    table_from_file(l->act_scale, list, rows, l);
    DMQ_TRY(read_reals(list, f, path_of(path, q, layer, "act_zero"), rows, table_width(l)));
    table_from_file(l->act_zero, list, rows, l);
done:
    return st;
}

static dmq_status read_layer(dmq_qmodel *q, int layer, dmq_h5 *f)
{
    dmq_qlayer *l = &q->layer[layer];
    weight_view v = view_of(q, layer);
    char path[PATH];
    uint8_t *bytes = NULL;
    dmq_real *list = NULL;
    int64_t dims[4];
    int rank = code_dims(dims, q, layer);
    dmq_status st = DMQ_OK;

    DMQ_TRY(scratch(&bytes, &list, q, layer));
    if (l->weight_bits > 0) {
        DMQ_TRY(dmq_h5_read_u8(bytes, f, path_of(path, q, layer, "code"), rank, dims));
        codes_from_file(l->code, bytes, v);
        DMQ_TRY(read_reals(list, f, path_of(path, q, layer, "scale"), v.k, v.halves));
        rows_from_file(l->scale, list, l, v);
        DMQ_TRY(read_reals(list, f, path_of(path, q, layer, "zero"), v.k, v.halves));
        rows_from_file(l->zero, list, l, v);
    }
    if (l->act_bits > 0 && q->table_rows > 0)
        DMQ_TRY(read_tables(q, layer, f, list));
    DMQ_TRY(check_layer(q, layer, dmq_h5_path(f)));
    if (l->weight_bits > 0)
        dmq_qmodel_dequantize(q, layer);
done:
    dmq_free(bytes);
    dmq_free(list);
    return st;
}

static dmq_status check_model(dmq_h5 *f, const char *model_hash)
{
    char *made = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_format_check(f, FORMAT, VERSION));
    DMQ_TRY(dmq_h5_attr_text(&made, f, "/", "model_sha256"));
    if (strcmp(made, model_hash) != 0) {
        st = dmq_fail(DMQ_EDATA,
                      "%s belongs to the model with sha256 %.16s..., this one has %.16s...\n"
                      "  hint: give the checkpoint that it was made from with --model",
                      dmq_h5_path(f), made, model_hash);
    }
done:
    dmq_free(made);
    return st;
}

/* 1 when the steps in the file are those of the sampler. */
static dmq_status same_steps(int *same, dmq_h5 *f, const dmq_sampler *sampler)
{
    dmq_h5_info info;
    int32_t *t = NULL;
    dmq_status st = DMQ_OK;

    *same = 0;
    if (!dmq_h5_has(f, "t"))
        return DMQ_OK;
    DMQ_TRY(dmq_h5_shape(&info, f, "t"));
    if (info.rank != 1 || info.dims[0] != sampler->n_steps)
        return DMQ_OK;
    DMQ_TRY(dmq_alloc((void **)&t, (size_t)sampler->n_steps, sizeof *t));
    DMQ_TRY(dmq_h5_read_i32(t, f, "t", DMQ_DIMS(sampler->n_steps)));
    *same = 1;
    for (int k = 0; k < sampler->n_steps; k++)
        *same &= t[k] == (int32_t)rint(sampler->step[k].t);
done:
    dmq_free(t);
    return st;
}

static dmq_status check_sampler(dmq_h5 *f, const dmq_sampler *sampler, int table_rows)
{
    char *was = NULL, *now = NULL;
    int same;
    dmq_status st = DMQ_OK;

    if (!sampler)
        return DMQ_OK;
    DMQ_TRY(dmq_h5_attr_text(&was, f, "/", "sampler"));
    DMQ_TRY(dmq_sampler_text(&now, sampler));
    DMQ_TRY(same_steps(&same, f, sampler));
    if (same && strcmp(was, now) == 0)
        goto done;
    if (table_rows > 1) {
        st = dmq_fail(DMQ_EDATA,
                      "%s has one activation table for each step of another sampler\n"
                      "  it was: %s\n  now is: %s\n"
                      "  hint: quantize again for this sampler, or sample with that one",
                      dmq_h5_path(f), was, now);
    } else {
        dmq_log_warn("other-sampler", "%s was calibrated for \"%s\", it is used with \"%s\"",
                     dmq_h5_path(f), was, now);
    }
done:
    dmq_free(was);
    dmq_free(now);
    return st;
}

static int choice_can_be(const int32_t *c, const dmq_layer *l)
{
    for (int side = 0; side < 2; side++) {
        if (c[side] != 0 && (c[side] < DMQ_MIN_BITS || c[side] > DMQ_MAX_BITS))
            return 0;
    }
    return !c[2] || l->split > 0;
}

/* What each layer is, checked against the model, as an empty state. */
static dmq_status create_from(dmq_qmodel **out, dmq_h5 *f, const dmq_model *model)
{
    dmq_choice *choice = NULL;
    int32_t *stored = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&choice, (size_t)model->n_layers, sizeof *choice));
    DMQ_TRY(dmq_alloc((void **)&stored, (size_t)model->n_layers * CHOICE, sizeof *stored));
    DMQ_TRY(dmq_h5_read_i32(stored, f, "choice", DMQ_DIMS(model->n_layers, CHOICE)));
    for (int i = 0; i < model->n_layers; i++) {
        const int32_t *c = stored + (size_t)CHOICE * (size_t)i;

        if (!choice_can_be(c, &model->layer[i])) {
            st = dmq_fail(DMQ_EDATA, "%s: layer %s with %d weight and %d activation bits, split %d",
                          dmq_h5_path(f), model->layer[i].name, (int)c[0], (int)c[1], (int)c[2]);
            goto done;
        }
        choice[i] = (dmq_choice){ c[0], c[1], c[2] != 0, c[3] != 0 };
    }
    DMQ_TRY(dmq_qmodel_create(out, model, choice));
    for (int i = 0; i < model->n_layers; i++)
        (*out)->layer[i].learned = stored[(size_t)CHOICE * (size_t)i + 4] != 0;
done:
    dmq_free(choice);
    dmq_free(stored);
    return st;
}

dmq_status dmq_quant_load(dmq_qmodel **out, const char *path, const dmq_model *model,
                          const char *model_hash, const dmq_sampler *sampler)
{
    dmq_h5 *f = NULL;
    dmq_qmodel *q = NULL;
    int64_t rows = 0;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_h5_open(&f, path, DMQ_H5_READ));
    DMQ_TRY(check_model(f, model_hash));
    DMQ_TRY(dmq_h5_attr_i64(&rows, f, "/", "table_rows"));
    if (rows < 0 || rows > 1000000) {
        st = dmq_fail(DMQ_EDATA, "%s: %lld rows of activation tables", path, (long long)rows);
        goto done;
    }
    DMQ_TRY(check_sampler(f, sampler, (int)rows));
    DMQ_TRY(create_from(&q, f, model));
    if (rows > 0)
        DMQ_TRY(dmq_qmodel_tables(q, (int)rows));
    for (int i = 0; i < model->n_layers; i++)
        DMQ_TRY(read_layer(q, i, f));
    *out = q;
    q = NULL;
done:
    dmq_qmodel_destroy(q);
    dmq_h5_close(f);
    return st;
}
