#include "backend/cpu_conv2d.h"
#include "backend/cpu_matmul.h"

#include <string.h>

/* Columns (ho wo, r s c) of one image times weights (k, r s c) transposed. Image by image, so that no
 * image's result depends on its neighbours. */

static size_t columns(const dmq_conv2d_args *a)
{
    return (size_t)a->ho * (size_t)a->wo * (size_t)(a->r * a->s * a->c);
}

size_t dmq_cpu_im2col_bytes(dmq_conv_pass pass, const dmq_conv2d_args *a)
{
    (void)pass;
    return columns(a) * sizeof(float);
}

/* Row and column of x under output (i, j) and tap (r, s); 0 outside. */
static int inside(const dmq_conv2d_args *a, int i, int j, int r, int s, size_t *at)
{
    int y = i * a->stride - a->pad_top + r;
    int x = j * a->stride - a->pad_left + s;

    if (y < 0 || y >= a->h || x < 0 || x >= a->wd)
        return 0;
    *at = ((size_t)y * (size_t)a->wd + (size_t)x) * (size_t)a->c;
    return 1;
}

static void gather(const dmq_conv2d_args *a, const float *x, float *col)
{
    size_t c = (size_t)a->c, at;

    for (int i = 0; i < a->ho; i++)
        for (int j = 0; j < a->wo; j++)
            for (int r = 0; r < a->r; r++)
                for (int s = 0; s < a->s; s++, col += c) {
                    if (inside(a, i, j, r, s, &at))
                        memcpy(col, x + at, c * sizeof *col);
                    else
                        memset(col, 0, c * sizeof *col);
                }
}

static void scatter_add(const dmq_conv2d_args *a, const float *col, float *dx)
{
    size_t c = (size_t)a->c, at;

    for (int i = 0; i < a->ho; i++)
        for (int j = 0; j < a->wo; j++)
            for (int r = 0; r < a->r; r++)
                for (int s = 0; s < a->s; s++, col += c) {
                    if (!inside(a, i, j, r, s, &at))
                        continue;
                    for (size_t l = 0; l < c; l++)
                        dx[at + l] += col[l];
                }
}

static void bias_rows(const dmq_conv2d_args *a, float *y, int rows)
{
    for (int i = 0; i < rows; i++, y += a->k)
        for (int k = 0; k < a->k; k++)
            y[k] = a->add ? y[k] + a->bias[k] : a->bias[k];
}

dmq_status dmq_cpu_im2col(dmq_conv_pass pass, const dmq_conv2d_args *a, float *scratch)
{
    dmq_status st = DMQ_OK;
    size_t in = (size_t)a->h * (size_t)a->wd * (size_t)a->c;
    size_t out = (size_t)a->ho * (size_t)a->wo * (size_t)a->k;
    int m = a->ho * a->wo, per = a->r * a->s * a->c;

    for (size_t n = 0; n < (size_t)a->n; n++) {
        switch (pass) {
        case DMQ_CONV_FORWARD:
            gather(a, a->x + n * in, scratch);
            if (a->bias)
                bias_rows(a, a->y + n * out, m);
            DMQ_TRY(dmq_cpu_gemm(0, 1, m, a->k, per, 1.0f, scratch, per, a->w, per,
                                 a->add || a->bias ? 1.0f : 0.0f, a->y + n * out, a->k));
            break;
        case DMQ_CONV_BACKWARD_DATA:
            DMQ_TRY(dmq_cpu_gemm(0, 0, m, per, a->k, 1.0f, a->dy + n * out, a->k, a->w, per, 0.0f,
                                 scratch, per));
            if (!a->add)
                memset(a->dx + n * in, 0, in * sizeof *a->dx);
            scatter_add(a, scratch, a->dx + n * in);
            break;
        case DMQ_CONV_BACKWARD_WEIGHTS:
            gather(a, a->x + n * in, scratch);
            DMQ_TRY(dmq_cpu_gemm(1, 0, a->k, per, m, 1.0f, a->dy + n * out, a->k, scratch, per,
                                 a->add || n > 0 ? 1.0f : 0.0f, a->dw, per));
            break;
        }
    }
done:
    return st;
}
