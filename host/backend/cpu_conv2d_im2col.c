#include "backend/cpu_conv2d.h"
#include "backend/cpu_math.h"
#include "backend/cpu_matmul.h"

#include <string.h>

/*
 * Taps times channels as columns, and a matrix product. The columns are those of the side with fewer
 * channels, since they are that side r s times over:
 *
 *   of x   (ho wo, r s c): gathered from x, or scattered to dx
 *   of y   (h wd, k r s):  gathered from dy, or scattered to y; the pixel of x is the row
 *
 * Image by image, so that no image's result depends on its neighbours.
 */

static size_t pixels(int h, int wd)
{
    return (size_t)h * (size_t)wd;
}

static int columns_of_y(const dmq_conv2d_args *a)
{
    return a->k < a->c;
}

size_t dmq_cpu_im2col_bytes(const dmq_conv2d_args *a)
{
    size_t taps = (size_t)a->r * (size_t)a->s;

    return sizeof(float) * taps *
           (columns_of_y(a) ? pixels(a->h, a->wd) * (size_t)a->k
                            : pixels(a->ho, a->wo) * (size_t)a->c);
}

/* The pixel of x under output (i, j) and tap (r, s); 0: outside. */
static int inside(const dmq_conv2d_args *a, int i, int j, int r, int s, size_t *pixel)
{
    int y = i * a->stride - a->pad_top + r;
    int x = j * a->stride - a->pad_left + s;

    if (y < 0 || y >= a->h || x < 0 || x >= a->wd)
        return 0;
    *pixel = (size_t)y * (size_t)a->wd + (size_t)x;
    return 1;
}

#define FOR_TAPS(a)                          \
    for (int i = 0; i < (a)->ho; i++)        \
        for (int j = 0; j < (a)->wo; j++)    \
            for (int r = 0; r < (a)->r; r++) \
                for (int s = 0; s < (a)->s; s++)

/* ------------------------------------------------------------------ columns of x */

static void gather_x(const dmq_conv2d_args *a, const float *x, float *col)
{
    size_t c = (size_t)a->c, p;

    FOR_TAPS(a)
    {
        if (inside(a, i, j, r, s, &p))
            memcpy(col, x + p * c, c * sizeof *col);
        else
            memset(col, 0, c * sizeof *col);
        col += c;
    }
}

DMQ_CLONES
static void scatter_dx(const dmq_conv2d_args *a, const float *col, float *dx)
{
    size_t c = (size_t)a->c, p;

    FOR_TAPS(a)
    {
        if (inside(a, i, j, r, s, &p)) {
#pragma GCC ivdep
            for (size_t l = 0; l < c; l++)
                dx[p * c + l] += col[l];
        }
        col += c;
    }
}

/* ------------------------------------------------------------------ columns of y */

static void gather_dy(const dmq_conv2d_args *a, const float *dy, float *col)
{
    size_t k = (size_t)a->k, taps = (size_t)a->r * (size_t)a->s, p;

    memset(col, 0, pixels(a->h, a->wd) * taps * k * sizeof *col);
    FOR_TAPS(a)
    {
        const float *from = dy + ((size_t)i * (size_t)a->wo + (size_t)j) * k;

        if (inside(a, i, j, r, s, &p))
            for (size_t l = 0; l < k; l++)
                col[(p * k + l) * taps + (size_t)(r * a->s + s)] = from[l];
    }
}

static void scatter_y(const dmq_conv2d_args *a, const float *col, float *y)
{
    size_t k = (size_t)a->k, taps = (size_t)a->r * (size_t)a->s, p;

    FOR_TAPS(a)
    {
        float *to = y + ((size_t)i * (size_t)a->wo + (size_t)j) * k;

        if (inside(a, i, j, r, s, &p))
            for (size_t l = 0; l < k; l++)
                to[l] += col[(p * k + l) * taps + (size_t)(r * a->s + s)];
    }
}

/* ------------------------------------------------------------------ passes of one image */

static void start_y(const dmq_conv2d_args *a, float *y)
{
    for (size_t i = 0; i < pixels(a->ho, a->wo); i++, y += a->k)
        for (int k = 0; k < a->k; k++)
            y[k] = (a->add ? y[k] : 0.0f) + (a->bias ? a->bias[k] : 0.0f);
}

static dmq_status forward(const dmq_conv2d_args *a, const float *x, float *y, float *col)
{
    dmq_status st = DMQ_OK;
    int taps = a->r * a->s, m = a->ho * a->wo, per = taps * a->c;

    start_y(a, y);
    if (columns_of_y(a)) {
        DMQ_TRY(dmq_cpu_gemm(0, 1, a->h * a->wd, a->k * taps, a->c, 1.0f, x, a->c, a->w, a->c, 0.0f,
                             col, a->k * taps));
        scatter_y(a, col, y);
    } else {
        gather_x(a, x, col);
        DMQ_TRY(dmq_cpu_gemm(0, 1, m, a->k, per, 1.0f, col, per, a->w, per, 1.0f, y, a->k));
    }
done:
    return st;
}

static dmq_status backward_data(const dmq_conv2d_args *a, const float *dy, float *dx, float *col)
{
    dmq_status st = DMQ_OK;
    int taps = a->r * a->s, m = a->ho * a->wo, per = taps * a->c;

    if (columns_of_y(a)) {
        gather_dy(a, dy, col);
        return dmq_cpu_gemm(0, 0, a->h * a->wd, a->c, a->k * taps, 1.0f, col, a->k * taps, a->w,
                            a->c, a->add ? 1.0f : 0.0f, dx, a->c);
    }
    DMQ_TRY(dmq_cpu_gemm(0, 0, m, per, a->k, 1.0f, dy, a->k, a->w, per, 0.0f, col, per));
    if (!a->add)
        memset(dx, 0, pixels(a->h, a->wd) * (size_t)a->c * sizeof *dx);
    scatter_dx(a, col, dx);
done:
    return st;
}

static dmq_status backward_weights(const dmq_conv2d_args *a, const float *x, const float *dy,
                                   float beta, float *col)
{
    int taps = a->r * a->s, m = a->ho * a->wo, per = taps * a->c;

    if (columns_of_y(a)) {
        gather_dy(a, dy, col);
        return dmq_cpu_gemm(1, 0, a->k * taps, a->c, a->h * a->wd, 1.0f, col, a->k * taps, x, a->c,
                            beta, a->dw, a->c);
    }
    gather_x(a, x, col);
    return dmq_cpu_gemm(1, 0, a->k, per, m, 1.0f, dy, a->k, col, per, beta, a->dw, per);
}

dmq_status dmq_cpu_im2col(dmq_conv_pass pass, const dmq_conv2d_args *a, float *scratch)
{
    dmq_status st = DMQ_OK;
    size_t in = pixels(a->h, a->wd) * (size_t)a->c, out = pixels(a->ho, a->wo) * (size_t)a->k;

    for (size_t n = 0; n < (size_t)a->n; n++) {
        if (pass == DMQ_CONV_FORWARD)
            DMQ_TRY(forward(a, a->x + n * in, a->y + n * out, scratch));
        else if (pass == DMQ_CONV_BACKWARD_DATA)
            DMQ_TRY(backward_data(a, a->dy + n * out, a->dx + n * in, scratch));
        else
            DMQ_TRY(backward_weights(a, a->x + n * in, a->dy + n * out,
                                     a->add || n > 0 ? 1.0f : 0.0f, scratch));
    }
done:
    return st;
}
