/* Reference statistics of other programs: ADM's evaluator and pytorch-fid. */
#include "base/memory.h"
#include "base/path.h"
#include "eval/reference_inner.h"
#include "io/npz.h"
#include "io/picture.h"

#include <stdio.h>
#include <string.h>

static int has(const dmq_npz *file, const char *name)
{
    for (int i = 0; i < dmq_npz_count(file); i++) {
        if (strcmp(dmq_npz_name(file, i), name) == 0)
            return 1;
    }
    return 0;
}

dmq_status dmq_reference_npz_is(int *out, const char *path)
{
    dmq_npz *file;
    dmq_status st = dmq_npz_open(&file, path);

    *out = 0;
    if (st == DMQ_EDATA) /* another archive: PyTorch's */
        return DMQ_OK;
    if (st == DMQ_OK)
        *out = has(file, "mu");
    dmq_npz_close(file);
    return st;
}

/* The file's name without its suffix; what would cut a metric's id in two becomes "_". */
static void name_of(char *out, size_t size, const char *path)
{
    const char *name = dmq_path_name(path);
    size_t n = strlen(name);

    if (dmq_path_has_suffix(name, ".npz") && n > 4)
        n -= 4;
    n = n < size - 1 ? n : size - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(name[i] > ' ' && name[i] < 127 && !strchr("/,", name[i]) ? name[i] : '_');
    out[n] = '\0';
}

static dmq_status read_law(int *d, double **mean, double **cov, dmq_npz *file, const char *path,
                           const char *mean_name, const char *cov_name)
{
    dmq_npz_info info;
    int64_t n;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_npz_shape(&info, file, mean_name));
    n = info.count;
    if (info.rank != 1) {
        st =
            dmq_fail(DMQ_ESHAPE, "%s: %s has %d dimensions: must be the means of the features, (d)",
                     path, mean_name, info.rank);
        goto done;
    }
    DMQ_TRY(dmq_reference_check_width(path, mean_name, n));
    DMQ_TRY(dmq_npz_shape(&info, file, cov_name));
    if (info.rank != 2 || info.dims[0] != n || info.dims[1] != n) {
        st = dmq_fail(
            DMQ_ESHAPE,
            "%s: %s is (%lld, %lld) of rank %d: must be (%lld, %lld), as %s has %lld numbers", path,
            cov_name, (long long)info.dims[0], (long long)(info.rank > 1 ? info.dims[1] : 1),
            info.rank, (long long)n, (long long)n, mean_name, (long long)n);
        goto done;
    }
    DMQ_TRY(dmq_alloc((void **)mean, (size_t)n, sizeof **mean));
    DMQ_TRY(dmq_alloc((void **)cov, (size_t)(n * n), sizeof **cov));
    DMQ_TRY(dmq_npz_read_f64(*mean, file, mean_name, 1, (int64_t[]){ n }));
    DMQ_TRY(dmq_npz_read_f64(*cov, file, cov_name, 2, (int64_t[]){ n, n }));
    DMQ_TRY(dmq_reference_check_law(path, mean_name, cov_name, (int)n, *mean, *cov));
    *d = (int)n;
done:
    return st;
}

/* Of a pack the shape alone: eval/image_set.h reads it. */
static dmq_status look_at_images(dmq_reference *r, dmq_npz *file, const char *path)
{
    dmq_npz_info info;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_npz_shape(&info, file, "arr_0"));
    if (info.type != DMQ_NPZ_U1 || info.rank != 4 || info.dims[3] != 3 || info.count == 0 ||
        info.dims[1] > DMQ_PICTURE_SIDE || info.dims[2] > DMQ_PICTURE_SIDE) {
        st = dmq_fail(DMQ_ESHAPE, "%s: arr_0 beside mu and sigma must be images, u1 (N, H, W, 3)",
                      path);
        goto done;
    }
    r->n_images = info.dims[0];
    r->h = (int)info.dims[1];
    r->w = (int)info.dims[2];
done:
    return st;
}

static dmq_status refuse_missing(const dmq_npz *file, const char *path, const char *missing)
{
    dmq_status st =
        dmq_fail(DMQ_EDATA,
                 "%s: has no array \"%s\": reference statistics are mu and sigma, of the "
                 "spatial features mu_s and sigma_s",
                 path, missing);

    if (has(file, "arr_0") || has(file, "")) {
        st = dmq_fail_note(
            st, "  hint: images alone become a reference by dmq evaluate --make-reference");
    }
    return st;
}

dmq_status dmq_reference_load_npz(dmq_reference *r, const char *path)
{
    static const char *const pairs[2][2] = { { "mu", "sigma" }, { "mu_s", "sigma_s" } };
    dmq_npz *file = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_npz_open(&file, path));
    for (int i = 0; i < 2; i++) {
        int mean = has(file, pairs[i][0]), cov = has(file, pairs[i][1]);

        if (i == 1 && !mean && !cov)
            continue;
        if (!mean || !cov) {
            st = refuse_missing(file, path, pairs[i][mean ? 1 : 0]);
            goto done;
        }
    }
    name_of(r->name, sizeof r->name, path);
    DMQ_TRY(read_law(&r->d, &r->mean, &r->cov, file, path, "mu", "sigma"));
    if (has(file, "mu_s")) {
        DMQ_TRY(read_law(&r->d_spatial, &r->mean_spatial, &r->cov_spatial, file, path, "mu_s",
                         "sigma_s"));
    }
    if (has(file, "arr_0"))
        DMQ_TRY(look_at_images(r, file, path));
done:
    dmq_npz_close(file);
    return st;
}
