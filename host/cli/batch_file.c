#include "cli/batch_file.h"

#include "base/memory.h"
#include "base/path.h"
#include "io/h5.h"
#include "io/npz.h"

#include <limits.h>
#include <string.h>

void dmq_forward_batch_release(dmq_forward_batch *b)
{
    dmq_free(b->x);
    dmq_free(b->t);
    dmq_free(b->eps);
    dmq_free(b->label);
}

/* Sizes as the file has them, held against the network's before anything is allocated. */
static dmq_status check_sizes(dmq_forward_batch *b, const dmq_model *model, const char *path,
                              int rank, const int64_t *dims, int64_t n_t)
{
    const int *in = model->input.dim;

    if (rank != 4 || dims[1] != in[3] || dims[2] != in[1] || dims[3] != in[2]) {
        return dmq_fail(DMQ_ESHAPE, "%s: x must be (N, %d, %d, %d) for this network", path, in[3],
                        in[1], in[2]);
    }
    if (dims[0] < 1 || dims[0] > INT_MAX) {
        return dmq_fail(DMQ_ESHAPE, "%s: x holds %lld samples: must be at least 1", path,
                        (long long)dims[0]);
    }
    if (n_t != dims[0]) {
        return dmq_fail(DMQ_ESHAPE, "%s: x holds %lld samples, t %lld: must be one t for each x",
                        path, (long long)dims[0], (long long)n_t);
    }
    memcpy(b->dims, dims, sizeof b->dims);
    return DMQ_OK;
}

static dmq_status room(dmq_forward_batch *b)
{
    size_t n = (size_t)b->dims[0], count = n * (size_t)(b->dims[1] * b->dims[2] * b->dims[3]);
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&b->x, count, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&b->eps, count, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&b->t, n, sizeof(dmq_real)));
done:
    return st;
}

/* Labels as read; out of the range of int is -1, which no network takes. */
static dmq_status keep_labels(dmq_forward_batch *b, const int64_t *whole)
{
    dmq_status st = dmq_alloc((void **)&b->label, (size_t)b->dims[0], sizeof *b->label);

    for (int64_t i = 0; st == DMQ_OK && i < b->dims[0]; i++)
        b->label[i] = whole[i] < 0 || whole[i] > INT_MAX ? -1 : (int)whole[i];
    return st;
}

static dmq_status read_h5_labels(dmq_forward_batch *b, dmq_h5 *file)
{
    int64_t *whole = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&whole, (size_t)b->dims[0], sizeof *whole));
    DMQ_TRY(dmq_h5_read_i64(whole, file, "label", DMQ_DIMS(b->dims[0])));
    DMQ_TRY(keep_labels(b, whole));
done:
    dmq_free(whole);
    return st;
}

static dmq_status read_npz_labels(dmq_forward_batch *b, dmq_npz *file)
{
    int64_t *whole = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&whole, (size_t)b->dims[0], sizeof *whole));
    DMQ_TRY(dmq_npz_read_i64(whole, file, "label", DMQ_DIMS(b->dims[0])));
    DMQ_TRY(keep_labels(b, whole));
done:
    dmq_free(whole);
    return st;
}

static dmq_status read_h5(dmq_forward_batch *b, const dmq_model *model, const char *path)
{
    dmq_h5 *file = NULL;
    dmq_h5_info x, t;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_READ));
    DMQ_TRY(dmq_h5_shape(&x, file, "x"));
    DMQ_TRY(dmq_h5_shape(&t, file, "t"));
    DMQ_TRY(check_sizes(b, model, path, x.rank, x.dims, t.count));
    DMQ_TRY(room(b));
    DMQ_TRY(dmq_h5_read_real(b->x, file, "x", 4, x.dims));
    if (t.type == DMQ_H5_I32 || t.type == DMQ_H5_I64 || t.type == DMQ_H5_U8 ||
        t.type == DMQ_H5_I8) {
        int64_t *whole = NULL;

        st = dmq_alloc((void **)&whole, (size_t)t.count, sizeof *whole);
        if (st == DMQ_OK)
            st = dmq_h5_read_i64(whole, file, "t", t.rank, t.dims);
        for (int64_t i = 0; st == DMQ_OK && i < t.count; i++)
            b->t[i] = (dmq_real)whole[i];
        dmq_free(whole);
        DMQ_TRY(st);
    } else {
        DMQ_TRY(dmq_h5_read_real(b->t, file, "t", t.rank, t.dims));
    }
    if (model->n_labels > 0)
        DMQ_TRY(read_h5_labels(b, file));
done:
    dmq_h5_close(file);
    return st;
}

static dmq_status read_npz(dmq_forward_batch *b, const dmq_model *model, const char *path)
{
    dmq_npz *file = NULL;
    dmq_npz_info x, t;
    double *times = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_npz_open(&file, path));
    DMQ_TRY(dmq_npz_shape(&x, file, "x"));
    DMQ_TRY(dmq_npz_shape(&t, file, "t"));
    DMQ_TRY(check_sizes(b, model, path, x.rank, x.dims, t.count));
    DMQ_TRY(room(b));
    DMQ_TRY(dmq_npz_read_f32(b->x, file, "x", 4, x.dims));
    DMQ_TRY(dmq_alloc((void **)&times, (size_t)t.count, sizeof *times));
    if (t.type == DMQ_NPZ_F4 || t.type == DMQ_NPZ_F8) {
        DMQ_TRY(dmq_npz_read_f64(times, file, "t", t.rank, t.dims));
        for (int64_t i = 0; i < t.count; i++)
            b->t[i] = (dmq_real)times[i];
    } else {
        DMQ_TRY(dmq_npz_read_i64((int64_t *)times, file, "t", t.rank, t.dims));
        for (int64_t i = 0; i < t.count; i++)
            b->t[i] = (dmq_real)((int64_t *)times)[i];
    }
    if (model->n_labels > 0)
        DMQ_TRY(read_npz_labels(b, file));
done:
    dmq_npz_close(file);
    dmq_free(times);
    return st;
}

dmq_status dmq_forward_batch_read(dmq_forward_batch *b, const dmq_model *model, const char *path,
                                  const char *option)
{
    dmq_status st =
        dmq_path_has_suffix(path, ".npz") ? read_npz(b, model, path) : read_h5(b, model, path);

    if (st == DMQ_OK)
        return st;
    return dmq_fail_note(st, "  hint: %s is an .h5 or .npz file with x (N, %d, %d, %d) and t (N)%s",
                         option, model->input.dim[3], model->input.dim[1], model->input.dim[2],
                         model->n_labels > 0 ? ", label (N)" : "");
}
