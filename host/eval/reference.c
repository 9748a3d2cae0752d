#include "eval/reference.h"

#include "base/memory.h"
#include "eval/reference_inner.h"
#include "io/checkpoint.h"
#include "io/file.h"
#include "io/h5.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Two numbers that rounding alone separates are nearer than this part of the largest variance. */
#define ASYMMETRY 1e-5

dmq_status dmq_reference_check_width(const char *path, const char *name, int64_t d)
{
    if (d >= 1 && d <= DMQ_REFERENCE_WIDTH)
        return DMQ_OK;
    return dmq_fail(DMQ_EDATA, "%s: %s has %lld numbers: features have 1..%d", path, name,
                    (long long)d, DMQ_REFERENCE_WIDTH);
}

dmq_status dmq_reference_check_law(const char *path, const char *mean_name, const char *cov_name,
                                   int d, const double *mean, const double *cov)
{
    size_t n = (size_t)d;
    double largest = 0;

    for (size_t i = 0; i < n; i++) {
        if (!isfinite(mean[i]))
            return dmq_fail(DMQ_EDATA, "%s: %s[%zu] is not finite", path, mean_name, i);
    }
    for (size_t i = 0; i < n * n; i++) {
        if (!isfinite(cov[i])) {
            return dmq_fail(DMQ_EDATA, "%s: %s[%zu, %zu] is not finite", path, cov_name, i / n,
                            i % n);
        }
    }
    for (size_t i = 0; i < n; i++)
        largest = cov[i * n + i] > largest ? cov[i * n + i] : largest;
    for (size_t i = 0; i < n; i++) {
        if (cov[i * n + i] < -ASYMMETRY * largest) {
            return dmq_fail(DMQ_EDATA, "%s: %s[%zu, %zu] is %g: a variance is not negative", path,
                            cov_name, i, i, cov[i * n + i]);
        }
        for (size_t k = 0; k < i; k++) {
            if (fabs(cov[i * n + k] - cov[k * n + i]) > ASYMMETRY * largest) {
                return dmq_fail(
                    DMQ_EDATA,
                    "%s: %s[%zu, %zu] is %g, [%zu, %zu] is %g: a covariance is symmetric", path,
                    cov_name, i, k, cov[i * n + k], k, i, cov[k * n + i]);
            }
        }
    }
    return DMQ_OK;
}

static dmq_status check_rows(const char *path, int64_t rows, int d, const float *x)
{
    for (size_t i = 0; i < (size_t)rows * (size_t)d; i++) {
        if (!isfinite(x[i])) {
            return dmq_fail(DMQ_EDATA, "%s: rows[%zu, %zu] is not finite", path, i / (size_t)d,
                            i % (size_t)d);
        }
    }
    return DMQ_OK;
}

static dmq_status check(const char *path, const dmq_reference *r)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_reference_check_law(path, "mean", "cov", r->d, r->mean, r->cov));
    if (r->d_spatial > 0) {
        DMQ_TRY(dmq_reference_check_law(path, "mean_spatial", "cov_spatial", r->d_spatial,
                                        r->mean_spatial, r->cov_spatial));
    }
    DMQ_TRY(check_rows(path, r->n_rows, r->d, r->rows));
done:
    return st;
}

/* ------------------------------------------------------------------ reference.h5 */

/* A text of the file into room of the struct's. */
static dmq_status read_text(char *out, size_t size, dmq_h5 *file, const char *name)
{
    char *text = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_attr_text(&text, file, "/", name));
    if (strlen(text) >= size) {
        st = dmq_fail(DMQ_EDATA, "%s: its attribute %s is longer than %zu bytes", dmq_h5_path(file),
                      name, size - 1);
        goto done;
    }
    memcpy(out, text, strlen(text) + 1);
done:
    dmq_free(text);
    return st;
}

static dmq_status read_law(int *d, double **mean, double **cov, dmq_h5 *file, const char *mean_name,
                           const char *cov_name)
{
    dmq_h5_info info;
    int64_t n;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_shape(&info, file, mean_name));
    n = info.count;
    DMQ_TRY(dmq_reference_check_width(dmq_h5_path(file), mean_name, n));
    DMQ_TRY(dmq_alloc((void **)mean, (size_t)n, sizeof **mean));
    DMQ_TRY(dmq_h5_read_f64(*mean, file, mean_name, DMQ_DIMS(n)));
    DMQ_TRY(dmq_h5_shape(&info, file, cov_name));
    if (info.rank != 2 || info.dims[0] != n || info.dims[1] != n) {
        st = dmq_fail(DMQ_ESHAPE, "%s: %s has %lld numbers, %s must be (%lld, %lld)",
                      dmq_h5_path(file), mean_name, (long long)n, cov_name, (long long)n,
                      (long long)n);
        goto done;
    }
    DMQ_TRY(dmq_alloc((void **)cov, (size_t)(n * n), sizeof **cov));
    DMQ_TRY(dmq_h5_read_f64(*cov, file, cov_name, DMQ_DIMS(n, n)));
    *d = (int)n;
done:
    return st;
}

static dmq_status load_h5(dmq_reference *r, const char *path)
{
    dmq_h5 *file = NULL;
    dmq_h5_info info;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_READ));
    DMQ_TRY(dmq_h5_format_check(file, DMQ_REFERENCE_FORMAT, 1));
    DMQ_TRY(read_text(r->name, sizeof r->name, file, "name"));
    DMQ_TRY(read_text(r->extractor, sizeof r->extractor, file, "extractor"));
    DMQ_TRY(dmq_h5_attr_i64(&r->n, file, "/", "n"));
    if (r->n < 2) {
        st = dmq_fail(DMQ_EDATA, "%s: is made of %lld images: statistics need 2", path,
                      (long long)r->n);
        goto done;
    }
    DMQ_TRY(read_law(&r->d, &r->mean, &r->cov, file, "mean", "cov"));
    if (dmq_h5_has(file, "mean_spatial") || dmq_h5_has(file, "cov_spatial")) {
        DMQ_TRY(read_law(&r->d_spatial, &r->mean_spatial, &r->cov_spatial, file, "mean_spatial",
                         "cov_spatial"));
    }
    if (dmq_h5_has(file, "rows")) {
        DMQ_TRY(dmq_h5_shape(&info, file, "rows"));
        if (info.rank != 2 || info.dims[1] != r->d || info.dims[0] < 1 || info.dims[0] > r->n) {
            st =
                dmq_fail(DMQ_ESHAPE, "%s: rows must be (1..%lld, %d)", path, (long long)r->n, r->d);
            goto done;
        }
        DMQ_TRY(dmq_alloc((void **)&r->rows, (size_t)info.count, sizeof *r->rows));
        DMQ_TRY(dmq_h5_read_f32(r->rows, file, "rows", DMQ_DIMS(info.dims[0], r->d)));
        r->n_rows = info.dims[0];
    }
    DMQ_TRY(check(path, r));
done:
    dmq_h5_close(file);
    return st;
}

dmq_status dmq_reference_save(const char *path, const dmq_reference *r)
{
    dmq_h5 *file = NULL;
    int64_t d = r->d, ds = r->d_spatial;
    dmq_status st = DMQ_OK;

    DMQ_TRY(check(path, r));
    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_WRITE));
    DMQ_TRY(dmq_h5_format_set(file, DMQ_REFERENCE_FORMAT, 1));
    DMQ_TRY(dmq_h5_attr_set_text(file, "/", "name", r->name));
    DMQ_TRY(dmq_h5_attr_set_text(file, "/", "extractor", r->extractor));
    DMQ_TRY(dmq_h5_attr_set_i64(file, "/", "n", r->n));
    DMQ_TRY(dmq_h5_write_f64(file, "mean", DMQ_DIMS(d), r->mean));
    DMQ_TRY(dmq_h5_write_f64(file, "cov", DMQ_DIMS(d, d), r->cov));
    if (ds > 0) {
        DMQ_TRY(dmq_h5_write_f64(file, "mean_spatial", DMQ_DIMS(ds), r->mean_spatial));
        DMQ_TRY(dmq_h5_write_f64(file, "cov_spatial", DMQ_DIMS(ds, ds), r->cov_spatial));
    }
    if (r->n_rows > 0)
        DMQ_TRY(dmq_h5_write_f32(file, "rows", DMQ_DIMS(r->n_rows, d), r->rows));
    DMQ_TRY(dmq_h5_commit(file));
done:
    dmq_h5_close(file);
    return st;
}

/* ------------------------------------------------------------------ any of them */

static dmq_status container_of(dmq_container *out, const char *path)
{
    dmq_input *input = NULL;
    dmq_status st = DMQ_OK;

    *out = DMQ_CONTAINER_UNKNOWN;
    DMQ_TRY(dmq_input_open(&input, path));
    DMQ_TRY(dmq_container_of(out, input));
done:
    dmq_input_close(input);
    return st;
}

dmq_status dmq_reference_is(int *out, const char *path)
{
    dmq_container kind;
    dmq_h5 *file = NULL;
    char *format = NULL;
    dmq_status st = DMQ_OK;

    *out = 0;
    if (dmq_folder_exists(path))
        return DMQ_OK;
    DMQ_TRY(container_of(&kind, path));
    if (kind == DMQ_CONTAINER_HDF5) {
        DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_READ));
        if (dmq_h5_attr_has(file, "/", "format"))
            DMQ_TRY(dmq_h5_attr_text(&format, file, "/", "format"));
        *out = format && strcmp(format, DMQ_REFERENCE_FORMAT) == 0;
    } else if (kind == DMQ_CONTAINER_ZIP) {
        DMQ_TRY(dmq_reference_npz_is(out, path));
    }
done:
    dmq_free(format);
    dmq_h5_close(file);
    return st;
}

dmq_status dmq_reference_load(dmq_reference **out, const char *path)
{
    dmq_container kind;
    dmq_reference *r = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(container_of(&kind, path));
    DMQ_TRY(dmq_alloc((void **)&r, 1, sizeof *r));
    if (kind == DMQ_CONTAINER_HDF5) {
        DMQ_TRY(load_h5(r, path));
    } else if (kind == DMQ_CONTAINER_ZIP || kind == DMQ_CONTAINER_NPY) {
        DMQ_TRY(dmq_reference_load_npz(r, path));
    } else {
        st = dmq_fail(DMQ_EDATA,
                      "%s: holds no reference statistics that are known\n"
                      "  hint: known are reference.h5 (dmq evaluate --make-reference) and .npz "
                      "with mu and sigma",
                      path);
        goto done;
    }
    DMQ_TRY(dmq_hash_file(r->hash, path));
    *out = r;
    r = NULL;
done:
    dmq_reference_destroy(r);
    return st;
}

void dmq_reference_destroy(dmq_reference *reference)
{
    if (!reference)
        return;
    dmq_free(reference->mean);
    dmq_free(reference->cov);
    dmq_free(reference->mean_spatial);
    dmq_free(reference->cov_spatial);
    dmq_free(reference->rows);
    dmq_free(reference);
}
