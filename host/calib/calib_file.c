#include "calib/calib_file.h"

#include "base/memory.h"
#include "calib/calib_inner.h"
#include "io/h5.h"
#include "model/fingerprint.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FORMAT  "dmq-calib"
#define VERSION 1

/* (count, H, W, C) in memory to (count, C, H, W) as f32, or back. */
static void to_file(float *out, const dmq_real *in, size_t count, dmq_shape s)
{
    size_t c_n = (size_t)s.dim[3], hw_n = (size_t)s.dim[1] * (size_t)s.dim[2];

    for (size_t i = 0; i < count; i++) {
        for (size_t c = 0; c < c_n; c++) {
            for (size_t p = 0; p < hw_n; p++)
                *out++ = (float)in[(i * hw_n + p) * c_n + c];
        }
    }
}

static void from_file(dmq_real *out, const float *in, size_t count, dmq_shape s)
{
    size_t c_n = (size_t)s.dim[3], hw_n = (size_t)s.dim[1] * (size_t)s.dim[2];

    for (size_t i = 0; i < count; i++) {
        for (size_t c = 0; c < c_n; c++) {
            for (size_t p = 0; p < hw_n; p++)
                out[(i * hw_n + p) * c_n + c] = (dmq_real)*in++;
        }
    }
}

static dmq_status write_header(dmq_h5 *f, const dmq_calib *c)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_format_set(f, FORMAT, VERSION));
    DMQ_TRY(dmq_h5_attr_set_text(f, "", "sampler", c->sampler));
    DMQ_TRY(dmq_h5_attr_set_text(f, "", "model_hash", c->model_hash));
    DMQ_TRY(dmq_h5_attr_set_text(f, "", "config_hash", c->config_hash));
    DMQ_TRY(dmq_h5_attr_set_text(f, "", "trajectories", c->config.fresh ? "fresh" : "shared"));
    DMQ_TRY(dmq_h5_attr_set_i64(f, "", "per_timestep", c->config.per_timestep));
    DMQ_TRY(dmq_h5_attr_set_i64(f, "", "held_out", c->config.held_out));
    DMQ_TRY(dmq_h5_attr_set_i64(f, "", "interval", c->config.interval));
    DMQ_TRY(dmq_h5_attr_set_f64(f, "", "validation", c->config.validation));
    DMQ_TRY(dmq_h5_attr_set_i64(f, "", "seed", (int64_t)c->config.seed));
    if (c->config.branches == 2)
        DMQ_TRY(dmq_h5_attr_set_i64(f, "", "branches", 2));
done:
    return st;
}

/* Whole where they are, so that a set of such has one form. */
static dmq_status write_times(dmq_h5 *f, const dmq_calib *c)
{
    int32_t *whole = NULL;
    int fractions = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&whole, (size_t)c->n_steps, sizeof *whole));
    for (int k = 0; k < c->n_steps; k++) {
        whole[k] = (int32_t)dmq_rint(c->t[k]);
        fractions |= c->t[k] != (dmq_real)whole[k];
    }
    DMQ_TRY(dmq_h5_write_i32(f, "t", DMQ_DIMS(c->n_steps), whole));
    if (fractions)
        DMQ_TRY(dmq_h5_write_real(f, "t_model", DMQ_DIMS(c->n_steps), c->t));
done:
    dmq_free(whole);
    return st;
}

static dmq_status read_times(dmq_calib *c, dmq_h5 *f)
{
    int32_t *whole = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&whole, (size_t)c->n_steps, sizeof *whole));
    DMQ_TRY(dmq_h5_read_i32(whole, f, "t", DMQ_DIMS(c->n_steps)));
    for (int k = 0; k < c->n_steps; k++)
        c->t[k] = (dmq_real)whole[k];
    if (dmq_h5_has(f, "t_model"))
        DMQ_TRY(dmq_h5_read_real(c->t, f, "t_model", DMQ_DIMS(c->n_steps)));
    for (int k = 0; k < c->n_steps; k++) {
        if (!isfinite(c->t[k])) {
            st = dmq_fail(DMQ_EDATA, "%s: t of step %d is not finite", dmq_h5_path(f), k);
            break;
        }
    }
done:
    dmq_free(whole);
    return st;
}

dmq_status dmq_calib_save(const dmq_calib *c, const char *path)
{
    size_t step = (size_t)c->per_step * dmq_shape_count(c->image);
    const int *d = c->image.dim;
    dmq_h5 *f = NULL;
    float *rows = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&rows, step, sizeof *rows));
    DMQ_TRY(dmq_h5_open(&f, path, DMQ_H5_WRITE));
    DMQ_TRY(write_header(f, c));
    DMQ_TRY(write_times(f, c));
    DMQ_TRY(dmq_h5_write_u8(f, "role", DMQ_DIMS(c->n), c->role));
    if (c->label)
        DMQ_TRY(dmq_h5_write_i32(f, "label", DMQ_DIMS(c->n_steps, c->per_step), c->label));
    DMQ_TRY(dmq_h5_create(f, "x", DMQ_H5_F32, DMQ_DIMS(c->n_steps, c->per_step, d[3], d[1], d[2])));
    for (int k = 0; k < c->n_steps; k++) {
        to_file(rows, dmq_calib_state(c, k, 0), (size_t)c->per_step, c->image);
        DMQ_TRY(dmq_h5_write_rows(f, "x", k, 1, DMQ_H5_F32, rows));
    }
    DMQ_TRY(dmq_h5_commit(f));
done:
    dmq_h5_close(f);
    dmq_free(rows);
    return st;
}

/* A whole number of the header within lo..hi. */
static dmq_status read_int(int *out, dmq_h5 *f, const char *name, int64_t lo, int64_t hi)
{
    int64_t value = 0;
    dmq_status st = dmq_h5_attr_i64(&value, f, "", name);

    if (st == DMQ_OK && (value < lo || value > hi)) {
        st = dmq_fail(DMQ_EDATA, "%s: attribute %s = %lld: must be %lld..%lld", dmq_h5_path(f),
                      name, (long long)value, (long long)lo, (long long)hi);
    }
    *out = (int)value;
    return st;
}

static dmq_status read_config(dmq_calib_config *c, dmq_h5 *f)
{
    char *text = NULL;
    int64_t seed = 0;
    dmq_status st = DMQ_OK;

    *c = (dmq_calib_config){ 0 };
    DMQ_TRY(dmq_h5_format_check(f, FORMAT, VERSION));
    DMQ_TRY(dmq_h5_attr_text(&text, f, "", "trajectories"));
    c->fresh = strcmp(text, "fresh") == 0;
    DMQ_TRY(read_int(&c->per_timestep, f, "per_timestep", 1, 1 << 24));
    DMQ_TRY(read_int(&c->held_out, f, "held_out", 0, 1 << 24));
    DMQ_TRY(read_int(&c->interval, f, "interval", 1, 1 << 20));
    DMQ_TRY(dmq_h5_attr_f64(&c->validation, f, "", "validation"));
    DMQ_TRY(dmq_h5_attr_i64(&seed, f, "", "seed"));
    c->seed = (uint64_t)seed;
    c->branches = 1;
    if (dmq_h5_attr_has(f, "", "branches"))
        DMQ_TRY(read_int(&c->branches, f, "branches", 1, 2));
    if (c->per_timestep % c->branches != 0 || c->held_out % c->branches != 0)
        st = dmq_fail(DMQ_EDATA, "%s: an odd number of samples for two branches", dmq_h5_path(f));
done:
    dmq_free(text);
    return st;
}

/* Texts of the header. */
static dmq_status read_texts(dmq_calib *c, dmq_h5 *f)
{
    const char *name[2] = { "model_hash", "config_hash" };
    char *to[2] = { c->model_hash, c->config_hash }, *text = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_attr_text(&c->sampler, f, "", "sampler"));
    for (int i = 0; i < 2; i++) {
        DMQ_TRY(dmq_h5_attr_text(&text, f, "", name[i]));
        if (strlen(text) >= DMQ_CALIB_HASH) {
            st = dmq_fail(DMQ_EDATA, "%s: attribute %s is no hash", dmq_h5_path(f), name[i]);
            goto done;
        }
        memcpy(to[i], text, strlen(text) + 1);
        dmq_free(text);
        text = NULL;
    }
done:
    dmq_free(text);
    return st;
}

/* Shape of x against the header; sizes the set. */
static dmq_status create_from(dmq_calib **out, dmq_h5 *f)
{
    dmq_calib_config config;
    dmq_h5_info x;
    dmq_status st = DMQ_OK;

    DMQ_TRY(read_config(&config, f));
    DMQ_TRY(dmq_h5_shape(&x, f, "x"));
    if (x.rank != 5 || x.dims[1] != (int64_t)config.per_timestep + config.held_out ||
        x.dims[0] > 1 << 20 || config.interval > x.dims[0]) {
        st = dmq_fail(
            DMQ_EDATA,
            "%s: x has rank %d and %lld samples a step; its attributes say %d + %d samples",
            dmq_h5_path(f), x.rank, (long long)x.dims[1], config.per_timestep, config.held_out);
        goto done;
    }
    DMQ_TRY(dmq_calib_create(out, &config,
                             dmq_shape4(1, (int)x.dims[3], (int)x.dims[4], (int)x.dims[2]),
                             (int)x.dims[0]));
done:
    return st;
}

static dmq_status check_finite(const float *x, size_t n, const char *path, int step)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return dmq_fail(DMQ_EDATA,
                            "%s: x of step %d holds a number that is NaN or infinite\n"
                            "  hint: make or copy the file again",
                            path, step);
        }
    }
    return DMQ_OK;
}

dmq_status dmq_calib_load(dmq_calib **out, const char *path)
{
    dmq_h5 *f = NULL;
    dmq_calib *c = NULL;
    float *rows = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_h5_open(&f, path, DMQ_H5_READ));
    DMQ_TRY(create_from(&c, f));
    DMQ_TRY(read_texts(c, f));
    DMQ_TRY(read_times(c, f));
    DMQ_TRY(dmq_h5_read_u8(c->role, f, "role", DMQ_DIMS(c->n)));
    if (dmq_h5_has(f, "label")) {
        DMQ_TRY(dmq_calib_labels(c));
        DMQ_TRY(dmq_h5_read_i32(c->label, f, "label", DMQ_DIMS(c->n_steps, c->per_step)));
    }
    for (int i = 0; i < c->n; i++) {
        if (c->role[i] > DMQ_HELD_OUT) {
            st = dmq_fail(DMQ_EDATA, "%s: role of sample %d is %d: must be 0..2", path, i,
                          c->role[i]);
            goto done;
        }
    }
    DMQ_TRY(
        dmq_alloc((void **)&rows, (size_t)c->per_step * dmq_shape_count(c->image), sizeof *rows));
    for (int k = 0; k < c->n_steps; k++) {
        DMQ_TRY(dmq_h5_read_rows(rows, f, "x", k, 1, DMQ_H5_F32, 5,
                                 (const int64_t[]){ c->n_steps, c->per_step, c->image.dim[3],
                                                    c->image.dim[1], c->image.dim[2] }));
        DMQ_TRY(check_finite(rows, (size_t)c->per_step * dmq_shape_count(c->image), path, k));
        from_file(c->x + (size_t)k * (size_t)c->per_step * dmq_shape_count(c->image), rows,
                  (size_t)c->per_step, c->image);
    }
    *out = c;
    c = NULL;
done:
    dmq_free(rows);
    dmq_calib_destroy(c);
    dmq_h5_close(f);
    return st;
}

dmq_status dmq_calib_fits(const dmq_calib *c, const dmq_model *model, const dmq_sampler *sampler)
{
    char hash[DMQ_HASH_TEXT], *text = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_model_fingerprint(hash, model));
    if (strcmp(hash, c->model_hash) != 0) {
        st = dmq_fail(DMQ_EDATA,
                      "the calibration set was made from another model: %.12s, this one is %.12s\n"
                      "  hint: calibrate again for this model",
                      c->model_hash, hash);
        goto done;
    }
    if ((c->label != NULL) != (model->n_labels > 0)) {
        st = dmq_fail(DMQ_EDATA, "the calibration set has %s, the model knows %d classes",
                      c->label ? "labels" : "no labels", model->n_classes);
        goto done;
    }
    if (c->label)
        DMQ_TRY(dmq_model_check_labels(model, c->label, c->n_steps * c->per_step, "calibration"));
    DMQ_TRY(dmq_sampler_text(&text, sampler));
    for (int k = 0; st == DMQ_OK && k < c->n_steps && k < sampler->n_steps; k++) {
        if (c->t[k] != (dmq_real)sampler->step[k].t)
            st = DMQ_EDATA;
    }
    if (st != DMQ_OK || c->n_steps != sampler->n_steps || strcmp(text, c->sampler) != 0) {
        st = dmq_fail(
            DMQ_EDATA,
            "the calibration set was made for another sampler: \"%s\", this one is \"%s\"\n"
            "  hint: calibrate again for this sampler",
            c->sampler, text);
    }
done:
    dmq_free(text);
    return st;
}
