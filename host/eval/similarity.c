#include "eval/similarity.h"

#include "base/memory.h"
#include "eval/exact_sum.h"
#include "eval/pieces.h"

#include <math.h>
#include <string.h>

enum { WINDOW = DMQ_SSIM_WINDOW, MAPS = 5 }; /* x, y, xx, yy, xy */

#define SIGMA 1.5
#define C1    ((0.01 * 255) * (0.01 * 255))
#define C2    ((0.03 * 255) * (0.03 * 255))

typedef struct comparing {
    const uint8_t *q, *f; /* (n, h, w, c) */
    int h, w, c;
    double window[WINDOW];
    double *map;       /* (threads, MAPS, h, w c) filtered along rows */
    double *row;       /* (threads, MAPS, w c) */
    double *ssim;      /* (n) */
    uint64_t *squares; /* (n) */
} comparing;

static void fill_window(double *g)
{
    double sum = 0;

    for (int i = 0; i < WINDOW; i++) {
        int x = i - WINDOW / 2;

        g[i] = exp(-(x * x) / (2 * SIGMA * SIGMA));
        sum += g[i];
    }
    for (int i = 0; i < WINDOW; i++)
        g[i] /= sum;
}

/* out[i] = sum_t g[t] x[i + t step] */
DMQ_CLONES static void filter(double *out, const double *x, size_t n, size_t step, const double *g)
{
    memset(out, 0, n * sizeof *out);
    for (size_t t = 0; t < WINDOW; t++) {
        for (size_t i = 0; i < n; i++)
            out[i] += g[t] * x[i + t * step];
    }
}

/* The five maps of one row of both images. */
DMQ_CLONES static uint64_t multiply(double *row, const uint8_t *q, const uint8_t *f, size_t n)
{
    uint64_t squares = 0;

    for (size_t i = 0; i < n; i++) {
        double x = q[i], y = f[i];
        int difference = q[i] - f[i];

        row[i] = x;
        row[n + i] = y;
        row[2 * n + i] = x * x;
        row[3 * n + i] = y * y;
        row[4 * n + i] = x * y;
        squares += (uint64_t)(difference * difference);
    }
    return squares;
}

/* Sum over n places of one row; a: the filtered maps, each (n). */
static double sum_row(const double *a, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        double mx = a[i], my = a[n + i];
        double xx = a[2 * n + i] - mx * mx, yy = a[3 * n + i] - my * my;
        double xy = a[4 * n + i] - mx * my;

        sum += (2 * mx * my + C1) * (2 * xy + C2) / ((mx * mx + my * my + C1) * (xx + yy + C2));
    }
    return sum;
}

static dmq_status compare(void *context, int image, int thread)
{
    const comparing *s = context;
    size_t width = (size_t)s->w * (size_t)s->c, h = (size_t)s->h;
    size_t n = width - (size_t)(WINDOW - 1) * (size_t)s->c, rows = h - (WINDOW - 1);
    double *row = s->row + (size_t)thread * MAPS * width;
    double *map = s->map + (size_t)thread * MAPS * h * width, sum = 0;
    uint64_t squares = 0;

    for (size_t y = 0; y < h; y++) {
        size_t at = ((size_t)image * h + y) * width;

        squares += multiply(row, s->q + at, s->f + at, width);
        for (size_t k = 0; k < MAPS; k++)
            filter(map + (k * h + y) * n, row + k * width, n, (size_t)s->c, s->window);
    }
    for (size_t y = 0; y < rows; y++) {
        for (size_t k = 0; k < MAPS; k++)
            filter(row + k * n, map + (k * h + y) * n, n, n, s->window);
        sum += sum_row(row, n);
    }
    s->ssim[image] = sum / (double)(rows * n);
    s->squares[image] = squares;
    return DMQ_OK;
}

static double decibel(double square)
{
    return square > 0 ? 10 * log10(255.0 * 255.0 / square) : INFINITY;
}

static void take(dmq_similarity_sum *sum, double ssim, uint64_t squares)
{
    sum->n++;
    sum->squares += squares;
    dmq_exact_add(&sum->ssim[0], &sum->ssim[1], &sum->ssim[2], ssim);
    if (squares == 0) {
        sum->equal++;
        return;
    }
    dmq_exact_add(&sum->psnr[0], &sum->psnr[1], &sum->psnr[2],
                  decibel((double)squares / (double)sum->per));
}

static dmq_status same_size(dmq_similarity_sum *sum, int64_t per)
{
    if (sum->per != 0 && per != sum->per) {
        return dmq_fail(DMQ_ESHAPE, "similarity: images of %lld numbers behind some of %lld",
                        (long long)per, (long long)sum->per);
    }
    sum->per = per;
    return DMQ_OK;
}

dmq_status dmq_similarity_add(dmq_similarity_sum *sum, const uint8_t *q, const uint8_t *f, int n,
                              int h, int w, int c)
{
    comparing s = { .q = q, .f = f, .h = h, .w = w, .c = c };
    size_t width = (size_t)w * (size_t)c, threads = (size_t)dmq_pieces_threads();
    dmq_status st = DMQ_OK;

    if (h < WINDOW || w < WINDOW) {
        st = dmq_fail(DMQ_ESHAPE, "ssim: images of %d x %d are smaller than its window, %d x %d", h,
                      w, WINDOW, WINDOW);
        goto done;
    }
    DMQ_TRY(same_size(sum, (int64_t)h * (int64_t)width));
    fill_window(s.window);
    DMQ_TRY(dmq_alloc((void **)&s.map, threads * MAPS * (size_t)h, width * sizeof *s.map));
    DMQ_TRY(dmq_alloc((void **)&s.row, threads * MAPS, width * sizeof *s.row));
    DMQ_TRY(dmq_alloc((void **)&s.ssim, (size_t)n, sizeof *s.ssim));
    DMQ_TRY(dmq_alloc((void **)&s.squares, (size_t)n, sizeof *s.squares));
    DMQ_TRY(dmq_pieces_run(n, compare, &s));
    for (int i = 0; i < n; i++)
        take(sum, s.ssim[i], s.squares[i]);
done:
    dmq_free(s.map);
    dmq_free(s.row);
    dmq_free(s.ssim);
    dmq_free(s.squares);
    return st;
}

dmq_status dmq_similarity_merge(dmq_similarity_sum *sum, const dmq_similarity_sum *other)
{
    dmq_status st = DMQ_OK;

    if (other->n == 0)
        goto done;
    DMQ_TRY(same_size(sum, other->per));
    sum->n += other->n;
    sum->equal += other->equal;
    sum->squares += other->squares;
    for (int i = 0; i < 3; i++) {
        sum->ssim[i] += other->ssim[i];
        sum->psnr[i] += other->psnr[i];
    }
done:
    return st;
}

void dmq_similarity_result(dmq_similarity *out, const dmq_similarity_sum *sum)
{
    int64_t differ = sum->n - sum->equal;

    out->n = sum->n;
    out->equal = sum->equal;
    out->ssim = dmq_exact_sum(sum->ssim[0], sum->ssim[1], sum->ssim[2]) / (double)sum->n;
    out->psnr = decibel((double)sum->squares / ((double)sum->n * (double)sum->per));
    out->psnr_image = INFINITY;
    if (differ > 0) {
        out->psnr_image = dmq_exact_sum(sum->psnr[0], sum->psnr[1], sum->psnr[2]) / (double)differ;
    }
}
