/* Operations that move numbers or only add them: copies, look-up, permutation, up-sampling,
   column sums. */
#include "backend/cpu.h"
#include "backend/cpu_math.h"

#include <assert.h>
#include <string.h>

DMQ_CLONES
static void add_row(float *y, const float *x, size_t count)
{
#pragma GCC ivdep
    for (size_t i = 0; i < count; i++)
        y[i] += x[i];
}

static void put_row(float *y, const float *x, size_t count, int add)
{
    if (add)
        add_row(y, x, count);
    else
        memcpy(y, x, count * sizeof *y);
}

dmq_status dmq_copy2d_cpu(dmq_queue *queue, const dmq_copy2d_args *a)
{
    (void)queue;
    for (size_t i = 0; i < a->rows; i++)
        put_row(a->dst + i * a->dst_ld, a->src + i * a->src_ld, a->cols, a->add);
    return DMQ_OK;
}

dmq_status dmq_embed_forward_cpu(dmq_queue *queue, const dmq_embed_args *a)
{
    size_t d = (size_t)a->d;

    (void)queue;
    for (int i = 0; i < a->n; i++) {
        assert(a->index[i] >= 0 && a->index[i] < a->rows);
        put_row(a->y + (size_t)i * d, a->table + (size_t)a->index[i] * d, d, a->add);
    }
    return DMQ_OK;
}

dmq_status dmq_gather_cpu(dmq_queue *queue, const dmq_gather_args *a)
{
    dmq_status st = DMQ_OK;

    for (int p = 0; p < a->n_parts && st == DMQ_OK; p++) {
        const dmq_gather_part *from = &a->part[p];

        st = dmq_embed_forward_cpu(queue, &(dmq_embed_args){ .table = from->table,
                                                             .index = from->index,
                                                             .y = from->y,
                                                             .n = a->n,
                                                             .d = from->d,
                                                             .rows = from->rows });
    }
    return st;
}

/* The usual permutations (heads of attention) keep the last axis: rows move whole. */
dmq_status dmq_permute_cpu(dmq_queue *queue, const dmq_permute_args *a)
{
    const int *dim = a->dim, *perm = a->perm;
    size_t count = (size_t)dim[3];
    ptrdiff_t of_x[3] = { (ptrdiff_t)dim[1] * dim[2] * dim[3], (ptrdiff_t)dim[2] * dim[3], dim[3] };
    float *y = a->y;

    if (perm[3] != 3)
        return dmq_permute_ref(queue, a);
    for (int i = 0; i < dim[perm[0]]; i++)
        for (int j = 0; j < dim[perm[1]]; j++)
            for (int k = 0; k < dim[perm[2]]; k++, y += count)
                put_row(y, a->x + i * of_x[perm[0]] + j * of_x[perm[1]] + k * of_x[perm[2]], count,
                        a->add);
    return DMQ_OK;
}

dmq_status dmq_upsample_forward_cpu(dmq_queue *queue, const dmq_resample_args *a)
{
    size_t c = (size_t)a->c, wd = (size_t)a->wd, f = (size_t)a->factor;
    const float *x = a->x;
    float *y = a->y;

    (void)queue;
    for (int i = 0; i < a->n * a->h; i++, x += wd * c) {
        for (size_t r = 0; r < f; r++)
            for (size_t j = 0; j < wd; j++)
                for (size_t s = 0; s < f; s++, y += c)
                    put_row(y, x + j * c, c, a->add);
    }
    return DMQ_OK;
}

/* Copies are added in the order of their rows and columns. */
dmq_status dmq_upsample_backward_cpu(dmq_queue *queue, const dmq_resample_args *a)
{
    size_t c = (size_t)a->c, wd = (size_t)a->wd, f = (size_t)a->factor;
    const float *dy = a->dy;
    float *dx = a->dx;

    (void)queue;
    for (int i = 0; i < a->n * a->h; i++, dx += wd * c) {
        for (size_t r = 0; r < f; r++)
            for (size_t j = 0; j < wd; j++)
                for (size_t s = 0; s < f; s++, dy += c)
                    put_row(dx + j * c, dy, c, a->add || r > 0 || s > 0);
    }
    return DMQ_OK;
}

/* Some columns at a time, whose sums stay in registers; each column in the order of the rows. */
DMQ_INLINE void sum_columns(float *restrict y, const float *restrict x, size_t rows, size_t cols,
                            size_t width, int add)
{
    float sum[64];

    for (size_t j = 0; j < width; j++)
        sum[j] = add ? y[j] : 0.0f;
    for (size_t i = 0; i < rows; i++, x += cols)
        for (size_t j = 0; j < width; j++)
            sum[j] += x[j];
    for (size_t j = 0; j < width; j++)
        y[j] = sum[j];
}

DMQ_CLONES
static void col_sum(float *y, const float *x, size_t rows, size_t cols, int add)
{
    size_t j = 0;

    for (; j + 64 <= cols; j += 64)
        sum_columns(y + j, x + j, rows, cols, 64, add);
    for (; j + 16 <= cols; j += 16)
        sum_columns(y + j, x + j, rows, cols, 16, add);
    if (j < cols)
        sum_columns(y + j, x + j, rows, cols, cols - j, add);
}

dmq_status dmq_col_sum_cpu(dmq_queue *queue, const dmq_col_sum_args *a)
{
    (void)queue;
    col_sum(a->y, a->x, (size_t)a->rows, (size_t)a->cols, a->add);
    return DMQ_OK;
}
