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

int dmq_cpu_winograd_fits(const dmq_conv2d_args *a)
{
    return a->r == 3 && a->s == 3 && a->stride == 1 && a->pad_top <= 2 && a->pad_left <= 2 &&
           a->c % 16 == 0 && a->k % 16 == 0 && code();
}

const char *dmq_cpu_winograd_name(void)
{
    return code() ? code()->name : "none";
}

void dmq_cpu_winograd_weights(float *u, int k, int c, const float *w, int turned)
{
    code()->weights(u, k, c, w, turned);
}

static int run_of(const dmq_winograd_job *j)
{
    int run = RUN_BYTES / (DMQ_POINTS * (int)sizeof(float) * (j->c + j->k)) / DMQ_ROWS * DMQ_ROWS;
    int all = (j->tiles + DMQ_ROWS - 1) / DMQ_ROWS * DMQ_ROWS;

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
    j.run = run_of(&j);
    j.plane_v = (size_t)j.run * (size_t)j.c + DMQ_LINE;
    j.plane_m = (size_t)j.run * (size_t)j.k + DMQ_LINE;
    return j;
}

dmq_status dmq_cpu_winograd(dmq_queue *queue, dmq_conv_pass pass, const dmq_conv2d_args *a)
{
    dmq_status st = DMQ_OK;
    dmq_winograd_job j = job_of(pass, a);
    size_t weights = DMQ_POINTS * (size_t)j.c * (size_t)j.k;
    size_t run = DMQ_POINTS * (j.plane_v + j.plane_m);
    int turned = pass == DMQ_CONV_BACKWARD_DATA;
    dmq_prepared *kept = NULL;
    void *scratch = NULL;

    assert(dmq_cpu_winograd_fits(a));
    DMQ_TRY(dmq_cpu_scratch(&scratch, queue, (weights + run) * sizeof(float)));
    j.u = scratch;
    j.v = j.u + weights;
    j.m = j.v + DMQ_POINTS * j.plane_v;
    if (pass == DMQ_CONV_BACKWARD_WEIGHTS) {
        code()->correlate(&j);
        goto done;
    }
    kept = dmq_cpu_prepared_get(j.k, j.c, a->w, turned);
    if (!kept)
        dmq_cpu_winograd_weights(j.u, j.k, j.c, a->w, turned);
    j.weights = kept ? dmq_cpu_prepared_weights(kept) : j.u;
    code()->convolve(&j);
done:
    dmq_cpu_prepared_put(kept);
    return st;
}
