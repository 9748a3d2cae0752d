#include "backend/cpu_winograd.h"

#include "backend/cpu.h"
#include "backend/cpu_winograd_code.h"

#include <assert.h>

/* Bytes of a run of tiles at the points: three quarters of a second-level cache. */
#define RUN_BYTES (768 * 1024)

/* And tiles at least: weights at the points are read anew for every run. */
enum { RUN_LEAST = 32 };

static const dmq_winograd_code *chosen; /* by a test */

void dmq_cpu_winograd_use(const dmq_winograd_code *code)
{
    chosen = code;
}

static const dmq_winograd_code *code(void)
{
    if (chosen)
        return chosen;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return &dmq_winograd_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &dmq_winograd_avx2;
#endif
    return NULL;
}

/* 1x3, 1x7 or turned, as long a line of results as of inputs or shorter. */
static int is_line(const dmq_conv2d_args *a)
{
    int along_x = a->r == 1, taps = along_x ? a->s : a->r;

    return (along_x || a->s == 1) && (taps == 3 || taps == 7) &&
           (along_x ? a->pad_top == 0 && a->ho == a->h : a->pad_left == 0 && a->wo == a->wd);
}

static int is_square(const dmq_conv2d_args *a, int taps)
{
    return a->r == taps && a->s == taps && a->pad_top < taps && a->pad_left < taps;
}

/* Of a tile, for a square. */
static int points_of(const dmq_conv2d_args *a)
{
    return a->r == 3 ? DMQ_POINTS : DMQ_POINTS_5X5;
}

int dmq_cpu_winograd_fits(dmq_conv_pass pass, const dmq_conv2d_args *a)
{
    int fits = is_square(a, 3) || (pass == DMQ_CONV_FORWARD && (is_line(a) || is_square(a, 5)));

    return fits && a->stride == 1 && a->c % 16 == 0 && a->k % 16 == 0 && code();
}

const char *dmq_cpu_winograd_name(void)
{
    return code() ? code()->name : "none";
}

void dmq_cpu_winograd_weights(float *u, int k, int c, const float *w, int turned)
{
    code()->weights(u, k, c, w, turned);
}

static int run_of(int tiles, int points, int c, int k)
{
    int run = RUN_BYTES / (points * (int)sizeof(float) * (c + k)) / DMQ_ROWS * DMQ_ROWS;
    int all = (tiles + DMQ_ROWS - 1) / DMQ_ROWS * DMQ_ROWS;

    run = run < RUN_LEAST ? RUN_LEAST : run;
    return run < all ? run : all;
}

static dmq_winograd_job job_of(dmq_conv_pass pass, const dmq_conv2d_args *a)
{
    int data = pass == DMQ_CONV_BACKWARD_DATA;
    dmq_winograd_job j = { .in = data ? a->dy : a->x,
                           .dy = a->dy,
                           .bias = pass == DMQ_CONV_FORWARD ? a->bias : NULL,
                           .out = data ? a->dx : a->y,
                           .dw = a->dw,
                           .h = data ? a->ho : a->h,
                           .w = data ? a->wo : a->wd,
                           .c = data ? a->k : a->c,
                           .k = data ? a->c : a->k,
                           .ho = data ? a->h : a->ho,
                           .wo = data ? a->wd : a->wo,
                           .add = a->add,
                           .relu = pass == DMQ_CONV_FORWARD && a->relu,
                           .top = data ? 2 - a->pad_top : a->pad_top,
                           .left = data ? 2 - a->pad_left : a->pad_left };

    j.across = (j.wo + DMQ_TILE - 1) / DMQ_TILE;
    j.down = (j.ho + DMQ_TILE - 1) / DMQ_TILE;
    j.tiles = a->n * j.across * j.down;
    j.run = run_of(j.tiles, points_of(a), j.c, j.k);
    j.plane_v = (size_t)j.run * (size_t)j.c + DMQ_LINE;
    j.plane_m = (size_t)j.run * (size_t)j.k + DMQ_LINE;
    return j;
}

static void make_square(float *u, const dmq_prepare *what)
{
    if (what->taps == 9)
        dmq_cpu_winograd_weights(u, what->k, what->c, what->w, what->turned);
    else
        code()->five_weights(u, what->k, what->c, what->w);
}

static void make_line(float *u, const dmq_prepare *what)
{
    code()->line_weights(u, what->k, what->c, what->w, what->taps);
}

/* ------------------------------------------------------------------ along a line */

static dmq_winograd_line_job line_job_of(const dmq_conv2d_args *a)
{
    ptrdiff_t c = a->c, k = a->k;
    int along_x = a->r == 1, taps = along_x ? a->s : a->r, tile = taps == 7 ? 3 : 4;
    dmq_winograd_line_job j = { .in = a->x,
                                .bias = a->bias,
                                .out = a->y,
                                .c = a->c,
                                .k = a->k,
                                .taps = taps,
                                .add = a->add,
                                .relu = a->relu,
                                .lines = along_x ? a->h : a->wd,
                                .length_in = along_x ? a->wd : a->h,
                                .length_out = along_x ? a->wo : a->ho,
                                .pad = along_x ? a->pad_left : a->pad_top,
                                .in_image = a->h * a->wd * c,
                                .in_line = along_x ? a->wd * c : c,
                                .in_step = along_x ? c : a->wd * c,
                                .out_image = a->ho * a->wo * k,
                                .out_line = along_x ? a->wo * k : k,
                                .out_step = along_x ? k : a->wo * k,
                                .tile = tile };

    j.across = (j.length_out + tile - 1) / tile;
    j.tiles = a->n * j.lines * j.across;
    j.run = run_of(j.tiles, tile + taps - 1, j.c, j.k);
    j.plane_v = (size_t)j.run * (size_t)j.c + DMQ_LINE;
    j.plane_m = (size_t)j.run * (size_t)j.k + DMQ_LINE;
    return j;
}

static dmq_status line(dmq_queue *queue, const dmq_conv2d_args *a)
{
    dmq_status st = DMQ_OK;
    dmq_winograd_line_job j = line_job_of(a);
    dmq_prepare what = { .w = a->w,
                         .k = a->k,
                         .c = a->c,
                         .taps = j.taps,
                         .points = j.taps + j.tile - 1,
                         .make = make_line };
    size_t points = (size_t)what.points, weights = points * (size_t)j.c * (size_t)j.k;
    dmq_prepared *kept = NULL;
    void *scratch = NULL;
    float *u;

    DMQ_TRY(dmq_cpu_scratch(&scratch, queue,
                            (weights + points * (j.plane_v + j.plane_m)) * sizeof(float)));
    u = scratch;
    j.v = u + weights;
    j.m = j.v + points * j.plane_v;
    kept = dmq_cpu_prepared_get(&what);
    if (!kept)
        make_line(u, &what);
    j.weights = kept ? dmq_cpu_prepared_weights(kept) : u;
    code()->line_convolve(&j);
done:
    dmq_cpu_prepared_put(kept);
    return st;
}

/* ------------------------------------------------------------------ squares */

dmq_status dmq_cpu_winograd(dmq_queue *queue, dmq_conv_pass pass, const dmq_conv2d_args *a)
{
    dmq_status st = DMQ_OK;
    dmq_winograd_job j = job_of(pass, a);
    size_t points = (size_t)points_of(a), weights = points * (size_t)j.c * (size_t)j.k;
    size_t run = points * (j.plane_v + j.plane_m);
    dmq_prepare what = { .w = a->w,
                         .k = j.k,
                         .c = j.c,
                         .taps = a->r * a->s,
                         .points = (int)points,
                         .turned = pass == DMQ_CONV_BACKWARD_DATA,
                         .make = make_square };
    dmq_prepared *kept = NULL;
    void *scratch = NULL;

    assert(dmq_cpu_winograd_fits(pass, a));
    if (is_line(a))
        return line(queue, a);
    DMQ_TRY(dmq_cpu_scratch(&scratch, queue, (weights + run) * sizeof(float)));
    j.u = scratch;
    j.v = j.u + weights;
    j.m = j.v + points * j.plane_v;
    if (pass == DMQ_CONV_BACKWARD_WEIGHTS) {
        code()->correlate(&j);
        goto done;
    }
    kept = dmq_cpu_prepared_get(&what);
    if (!kept)
        make_square(j.u, &what);
    j.weights = kept ? dmq_cpu_prepared_weights(kept) : j.u;
    if (points == DMQ_POINTS)
        code()->convolve(&j);
    else
        code()->five_convolve(&j);
done:
    dmq_cpu_prepared_put(kept);
    return st;
}
