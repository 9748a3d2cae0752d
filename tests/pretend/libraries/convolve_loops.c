#include "convolve_loops.h"

#include "numbers.h"

#include <stddef.h>

/* The i-th of n in the order of an engine: from a place that turns with the calls, up or down. */
static int nth(const conv_loops *l, int i, int n)
{
    int at = (int)(((unsigned)i + l->turn) % (unsigned)n);

    return l->backwards ? n - 1 - at : at;
}

static void add_scaled(float *sum, const float *row, float by, int n)
{
    for (int i = 0; i < n; i++)
        sum[i] += by * row[i];
}

static void make_halves(float *sum, int n)
{
    for (int i = 0; i < n; i++)
        sum[i] = round_to_half(sum[i]);
}

/* sum (n) += row (count) matrix (count, n) */
static void add_product(float *sum, const float *row, const float *matrix, int count, int n,
                        const conv_loops *l)
{
    for (int i = 0; i < count; i++) {
        int at = nth(l, i, count);

        add_scaled(sum, matrix + (size_t)at * (size_t)n, row[at], n);
        if (l->reduced)
            make_halves(sum, n);
    }
}

static const float *pixel(const float *x, int image, int row, int col, int h, int w, int c)
{
    return x + (((size_t)image * (size_t)h + (size_t)row) * (size_t)w + (size_t)col) * (size_t)c;
}

void conv_loops_forward(float *y, const float *x, const float *w, const conv_loops *l)
{
    int taps = l->r * l->s;

    for (int p = 0; p < l->n * l->ho * l->wo; p++) {
        int image = p / (l->ho * l->wo), i = p / l->wo % l->ho, j = p % l->wo;

        for (int t = 0; t < taps; t++) {
            int tap = nth(l, t, taps);
            int row = i * l->stride[0] - l->before[0] + tap / l->s * l->dilation[0];
            int col = j * l->stride[1] - l->before[1] + tap % l->s * l->dilation[1];

            if (row < 0 || row >= l->h || col < 0 || col >= l->wd)
                continue;
            add_product(y + (size_t)p * (size_t)l->k, pixel(x, image, row, col, l->h, l->wd, l->c),
                        w + (size_t)tap * (size_t)l->c * (size_t)l->k, l->c, l->k, l);
        }
    }
}

void conv_loops_backward_data(float *dx, const float *dy, const float *w, const conv_loops *l)
{
    int taps = l->r * l->s;

    for (int p = 0; p < l->n * l->h * l->wd; p++) {
        int image = p / (l->h * l->wd), row = p / l->wd % l->h, col = p % l->wd;

        for (int t = 0; t < taps; t++) {
            int tap = nth(l, t, taps);
            int i = row + l->before[0] - tap / l->s * l->dilation[0];
            int j = col + l->before[1] - tap % l->s * l->dilation[1];

            if (i < 0 || i % l->stride[0] != 0 || i / l->stride[0] >= l->ho || j < 0 ||
                j % l->stride[1] != 0 || j / l->stride[1] >= l->wo)
                continue;
            add_product(dx + (size_t)p * (size_t)l->c,
                        pixel(dy, image, i / l->stride[0], j / l->stride[1], l->ho, l->wo, l->k),
                        w + (size_t)tap * (size_t)l->c * (size_t)l->k, l->k, l->c, l);
        }
    }
}

void conv_loops_backward_filter(float *dw, const float *x, const float *dy, const conv_loops *l)
{
    int pixels = l->n * l->ho * l->wo, taps = l->r * l->s;

    for (int q = 0; q < pixels; q++) {
        int p = nth(l, q, pixels);
        int image = p / (l->ho * l->wo), i = p / l->wo % l->ho, j = p % l->wo;
        const float *dy_row = dy + (size_t)p * (size_t)l->k;

        for (int tap = 0; tap < taps; tap++) {
            int row = i * l->stride[0] - l->before[0] + tap / l->s * l->dilation[0];
            int col = j * l->stride[1] - l->before[1] + tap % l->s * l->dilation[1];

            if (row < 0 || row >= l->h || col < 0 || col >= l->wd)
                continue;
            for (int k = 0; k < l->k; k++) {
                float *sum = dw + ((size_t)k * (size_t)taps + (size_t)tap) * (size_t)l->c;

                add_scaled(sum, pixel(x, image, row, col, l->h, l->wd, l->c), dy_row[k], l->c);
                if (l->reduced)
                    make_halves(sum, l->c);
            }
        }
    }
}

void product_loops(float *c, const float *a, const float *b, int m, int n, int k, int first)
{
    for (int i = 0; i < m; i++) {
        for (int q = 0; q < k; q++) {
            int at = (q + first) % k;

            add_scaled(c + (size_t)i * (size_t)n, b + (size_t)at * (size_t)n,
                       a[(size_t)i * (size_t)k + (size_t)at], n);
        }
    }
}
