/*
 * Elementwise kernels of a device against the bandwidth of its copies: arrays beyond every cache, in the
 * device's memory. Beside bench/reference/device/pointwise.py. bench_pointwise and bench_quant are the CPU's.
 *
 *   bench_bandwidth [--backend cuda] [--only TEXT] [--batch 256] [--reps 20] [--ms 50] [--check 1]
 *
 * An array holds (batch, 32, 32, 128). GB/s counts what must move once, read or written; the share of the roof is
 * that of the first line, a plain copy. A repeat is ten calls and one wait. The error is that of a batch of 2
 * against cpu.
 */
#include "bench.h"

#include "backend/backend.h"
#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIXELS = 1024, CHANNELS = 128, GROUPS = 32, ARRAYS = 8, SMALL = 4096, CALLS = 10 };

/* Of resized images: 3 x 208 x 208 are 0.99 of an image's numbers. */
enum { SIDE = 208 };

/* v[0] to v[3] are read, v[4] is written; v[5] to v[7] change: moments, alpha or statistics. */
typedef struct arrays {
    const dmq_backend *be;
    dmq_queue *queue;
    dmq_real *v[ARRAYS];
    dmq_real *scale, *zero; /* (SMALL) of weights and activations */
    dmq_real *small;        /* (SMALL) gamma and beta, factors */
    dmq_sampler_coef *coef;
    int *index; /* (batch) rows of a batch in another order */
    int batch;
    size_t count;
} arrays;

typedef struct job job;

typedef dmq_status job_fn(const job *j, const arrays *s);

struct job {
    const char *name;
    job_fn *fn;
    int flag[2];
    double moved; /* arrays read and written */
};

/* ------------------------------------------------------------------ the calls */

static dmq_status copy(const job *j, const arrays *s)
{
    dmq_copy2d_args a = { .src = s->v[0],
                          .dst = s->v[4],
                          .rows = s->count / CHANNELS,
                          .cols = CHANNELS,
                          .src_ld = CHANNELS,
                          .dst_ld = CHANNELS };

    if (j->flag[0]) { /* into one half of twice as many channels */
        a.rows = s->count / CHANNELS / 2;
        a.dst_ld = (size_t)CHANNELS * 2;
    }
    return s->be->copy2d(s->queue, &a);
}

static dmq_status axpby(const job *j, const arrays *s)
{
    dmq_axpby_args a = { .x = s->v[0], .y = s->v[4], .alpha = 0.5F, .count = s->count };

    (void)j;
    return s->be->axpby(s->queue, &a);
}

static dmq_status add(const job *j, const arrays *s)
{
    ptrdiff_t image = (ptrdiff_t)PIXELS * CHANNELS;
    dmq_binary_args a = { .kind = DMQ_ADD,
                          .p = s->v[0],
                          .q = s->v[1],
                          .y = s->v[4],
                          .dim = { s->batch, PIXELS, CHANNELS },
                          .stride_p = { image, CHANNELS, 1 },
                          .stride_q = { image, CHANNELS, 1 } };

    if (j->flag[0]) { /* an embedding: one number a channel */
        a.stride_q[0] = CHANNELS;
        a.stride_q[1] = 0;
    }
    return s->be->binary_forward(s->queue, &a);
}

static dmq_status silu(const job *j, const arrays *s)
{
    dmq_unary_args a = { .kind = DMQ_SILU,
                         .x = s->v[0],
                         .y = s->v[4],
                         .v = s->v[1],
                         .out = s->v[4],
                         .count = s->count };

    return j->flag[0] ? s->be->unary_derive(s->queue, &a) : s->be->unary_forward(s->queue, &a);
}

static dmq_status norm(const job *j, const arrays *s)
{
    dmq_group_norm_args a = { .x = s->v[0],
                              .gamma = s->small,
                              .beta = s->small + CHANNELS,
                              .y = s->v[4],
                              .mean = s->v[7],
                              .rstd = s->v[7] + (ptrdiff_t)s->batch * GROUPS,
                              .n = s->batch,
                              .hw = PIXELS,
                              .c = CHANNELS,
                              .groups = GROUPS,
                              .eps = 1e-6F,
                              .silu = 1,
                              .quant = j->flag[0],
                              .scale = s->scale,
                              .zero = s->zero,
                              .rows = 1,
                              .lo = 0,
                              .hi = 255,
                              .dy = s->v[1],
                              .dx = s->v[4] };

    return j->flag[1] ? s->be->group_norm_backward(s->queue, &a)
                      : s->be->group_norm_forward(s->queue, &a);
}

static dmq_status fake_quant(const job *j, const arrays *s)
{
    dmq_fake_quant_args a = { .x = s->v[0],
                              .scale = s->scale,
                              .zero = s->zero,
                              .y = s->v[4],
                              .dy = s->v[1],
                              .dx = s->v[4],
                              .n = s->batch,
                              .outer = 1,
                              .c = 1,
                              .inner = PIXELS * CHANNELS,
                              .rows = 1,
                              .lo = 0,
                              .hi = 255,
                              .lsq_gain = 1 };

    if (j->flag[1]) {
        a.outer = PIXELS;
        a.c = CHANNELS;
        a.inner = 1;
    }
    return j->flag[0] ? s->be->fake_quant_backward(s->queue, &a)
                      : s->be->fake_quant_forward(s->queue, &a);
}

static dmq_status loss(const job *j, const arrays *s)
{
    dmq_loss_args a = { .f = s->v[0],
                        .y = s->v[1],
                        .loss = s->v[4],
                        .dloss = s->v[2],
                        .df = s->v[4],
                        .n = s->batch,
                        .per = (size_t)PIXELS * CHANNELS,
                        .coef = 1.0F / PIXELS,
                        .power = 2 };

    if (j->flag[0] == 2) { /* losses first, then gradients */
        a.loss = s->small;
        return s->be->loss_both(s->queue, &a);
    }
    return j->flag[0] ? s->be->loss_backward(s->queue, &a) : s->be->loss_forward(s->queue, &a);
}

/* Every row of a batch from where the other half of it is, and small rows beside it. */
static dmq_status gather(const job *j, const arrays *s)
{
    dmq_gather_args a = { .part = { { s->v[0], s->index, s->v[4], PIXELS * CHANNELS, s->batch },
                                    { s->v[1], s->index, s->v[5], CHANNELS, s->batch } },
                          .n_parts = 2,
                          .n = s->batch };

    (void)j;
    return s->be->gather(s->queue, &a);
}

static dmq_status pool(const job *j, const arrays *s)
{
    dmq_pool2d_args a = { .kind = j->flag[0] ? DMQ_POOL_MEAN : DMQ_POOL_MAX,
                          .x = s->v[0],
                          .y = s->v[4],
                          .n = s->batch,
                          .h = 32,
                          .wd = 32,
                          .c = CHANNELS,
                          .k = 3,
                          .stride = 1,
                          .pad = 1,
                          .ho = 32,
                          .wo = 32 };

    return s->be->pool2d_forward(s->queue, &a);
}

/* Levels of 32x32, three channels, to as many pixels as an array has room for. */
static dmq_status resize(const job *j, const arrays *s)
{
    dmq_resize_args a = { .rule = DMQ_RESIZE_TF1,
                          .x = (const uint8_t *)s->v[0],
                          .y = s->v[4],
                          .n = s->batch,
                          .h = 32,
                          .wd = 32,
                          .c = 3,
                          .ho = SIDE,
                          .wo = SIDE,
                          .unit = 1,
                          .alpha = 1.0F / 128,
                          .beta = -1 };

    (void)j;
    return s->be->resize_levels(s->queue, &a);
}

static dmq_status softmax(const job *j, const arrays *s)
{
    dmq_softmax_args a = { .x = s->v[0],
                           .y = s->v[4],
                           .v = s->v[1],
                           .out = s->v[4],
                           .rows = (int)(s->count / 256),
                           .cols = 256 };

    if (j->flag[0])
        a.y = s->v[2];
    return j->flag[0] ? s->be->softmax_derive(s->queue, &a) : s->be->softmax_forward(s->queue, &a);
}

static dmq_status adam(const job *j, const arrays *s)
{
    dmq_adam_args a = {
        s->v[4], s->v[5], s->v[6], s->v[0], s->count, 1e-5F, 0.9F, 0.999F, 1e-8F, 10
    };

    (void)j;
    return s->be->adam(s->queue, &a);
}

static dmq_status rounding(const job *j, const arrays *s)
{
    dmq_adaround_layer layer = { .w = s->v[0],
                                 .scale = s->scale,
                                 .zero = s->zero,
                                 .alpha = s->v[j->flag[0] == 2 ? 7 : 1],
                                 .w_soft = s->v[4],
                                 .dw = s->v[2],
                                 .dalpha = s->v[4],
                                 .k = s->batch * 8, /* weights of 16384 numbers a channel */
                                 .per = PIXELS * CHANNELS / 8,
                                 .lo = 0,
                                 .hi = 15 };
    dmq_adaround_args a = { .layer = &layer, .n_layers = 1, .reg_weight = 0.01F, .reg_beta = 11 };
    dmq_adaround_step_args step = { .round = a,
                                    .m = s->v[5],
                                    .v = s->v[6],
                                    .lr = 1e-5F,
                                    .beta1 = 0.9F,
                                    .beta2 = 0.999F,
                                    .eps = 1e-8F,
                                    .step = 10 };

    return j->flag[0] == 0   ? s->be->adaround_forward(s->queue, &a)
           : j->flag[0] == 1 ? s->be->adaround_backward(s->queue, &a)
                             : s->be->adaround_step(s->queue, &step);
}

static dmq_status permute(const job *j, const arrays *s)
{
    dmq_permute_args a = {
        .x = s->v[0], .y = s->v[4], .dim = { s->batch, PIXELS, CHANNELS, 1 }, .perm = { 0, 2, 1, 3 }
    };

    (void)j;
    return s->be->permute(s->queue, &a);
}

static dmq_status upsample(const job *j, const arrays *s)
{
    dmq_resample_args a = {
        .x = s->v[0], .y = s->v[4], .n = s->batch, .h = 16, .wd = 16, .c = CHANNELS, .factor = 2
    };

    (void)j;
    return s->be->upsample_forward(s->queue, &a);
}

static dmq_status minmax(const job *j, const arrays *s)
{
    dmq_minmax_args a = { s->v[0], s->v[4], s->v[4] + 1, 1, 1, (int)s->count };

    (void)j;
    return s->be->minmax(s->queue, &a);
}

static dmq_status sum(const job *j, const arrays *s)
{
    const dmq_real *x[4] = { s->v[0], s->v[1], s->v[2], s->v[3] };
    dmq_sum_blocks_args a = { x, s->v[4], 4, s->count, 0.25F, 0 };

    (void)j;
    return s->be->sum_blocks(s->queue, &a);
}

static dmq_status noise(const job *j, const arrays *s)
{
    dmq_noise_args a = { .out = s->v[4],
                         .n = s->batch,
                         .per = (size_t)PIXELS * CHANNELS,
                         .seed = 1,
                         .purpose = DMQ_FOR_TEST };

    (void)j;
    return s->be->noise_normal(s->queue, &a);
}

static dmq_status update(const job *j, const arrays *s)
{
    dmq_sampler_args a = { .x = s->v[0],
                           .eps = s->v[1],
                           .out = s->v[4],
                           .coef = s->coef,
                           .pixels = s->count / CHANNELS,
                           .channels = CHANNELS,
                           .eps_channels = CHANNELS,
                           .form = DMQ_MOVE_LINEAR };

    (void)j;
    return s->be->sampler_update(s->queue, &a);
}

static dmq_status times(const job *j, const arrays *s)
{
    size_t run = s->count / 32;
    dmq_jacobian_args a = { .rows = s->v[0],
                            .v = s->small,
                            .out = s->v[4],
                            .n = 32,
                            .m = 1,
                            .count = run,
                            .ld = run,
                            .ld_out = run };

    (void)j;
    return s->be->jacobian_times(s->queue, &a);
}

static const job jobs[] = {
    { "copy", copy, { 0, 0 }, 2 },
    { "axpby", axpby, { 0, 0 }, 2 },
    { "add", add, { 0, 0 }, 3 },
    { "add_channel", add, { 1, 0 }, 2 },
    { "concat_half", copy, { 1, 0 }, 1 },
    { "permute_nchw", permute, { 0, 0 }, 2 },
    { "upsample", upsample, { 0, 0 }, 1.25 },
    { "silu", silu, { 0, 0 }, 2 },
    { "silu_derive", silu, { 1, 0 }, 3 },
    { "group_norm+silu", norm, { 0, 0 }, 2 },
    { "group_norm+silu+quant", norm, { 1, 0 }, 2 },
    { "group_norm+silu_backward", norm, { 0, 1 }, 3 },
    { "group_norm+silu+quant_backward", norm, { 1, 1 }, 3 },
    { "softmax", softmax, { 0, 0 }, 2 },
    { "softmax_derive", softmax, { 1, 0 }, 3 },
    { "fake_quant", fake_quant, { 0, 0 }, 2 },
    { "fake_quant_channel", fake_quant, { 0, 1 }, 2 },
    { "fake_quant_backward", fake_quant, { 1, 0 }, 3 },
    { "loss2", loss, { 0, 0 }, 2 },
    { "loss2_backward", loss, { 1, 0 }, 3 },
    { "loss2_both", loss, { 2, 0 }, 3 },
    { "gather", gather, { 0, 0 }, 2 },
    { "pool_max3", pool, { 0, 0 }, 2 },
    { "pool_mean3", pool, { 1, 0 }, 2 },
    { "resize_levels", resize, { 0, 0 }, 0.99 },
    { "adaround_forward", rounding, { 0, 0 }, 3 },
    { "adaround_backward", rounding, { 1, 0 }, 4 },
    { "adaround_step", rounding, { 2, 0 }, 9 },
    { "adam", adam, { 0, 0 }, 7 },
    { "sum_blocks", sum, { 0, 0 }, 5 },
    { "jacobian_times", times, { 0, 0 }, 33.0 / 32 },
    { "minmax", minmax, { 0, 0 }, 1 },
    { "noise_normal", noise, { 0, 0 }, 1 },
    { "sampler_update", update, { 0, 0 }, 3 },
};

/* ------------------------------------------------------------------ measuring */

typedef struct bench {
    const job *job;
    arrays *s;
} bench;

static dmq_status run(void *context)
{
    const bench *b = context;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < CALLS; i++)
        DMQ_TRY(b->job->fn(b->job, b->s));
    DMQ_TRY(b->s->be->sync(b->s->queue));
done:
    return st;
}

static dmq_status put(const arrays *s, dmq_real **out, const dmq_real *host, size_t count)
{
    dmq_status st = DMQ_OK;

    if (!*out)
        DMQ_TRY(s->be->alloc((void **)out, count * sizeof **out));
    DMQ_TRY(s->be->upload(s->queue, *out, host, count * sizeof **out));
    DMQ_TRY(s->be->sync(s->queue));
done:
    return st;
}

/* The same numbers whatever was there, memory given out if there is none. */
static dmq_status fill(arrays *s, int batch)
{
    static const dmq_sampler_coef coef = { .r = 1.01F, .c = -0.1F };
    dmq_real *host = NULL;
    int *index = NULL;
    dmq_status st = DMQ_OK;

    s->batch = batch;
    s->count = (size_t)batch * PIXELS * CHANNELS;
    DMQ_TRY(dmq_alloc((void **)&host, s->count, sizeof *host));
    for (int i = 0; i < ARRAYS; i++) {
        bench_fill(host, s->count, (unsigned)i + 1);
        for (size_t k = 0; k < s->count && i == 6; k++) /* a second moment */
            host[k] = fabsf(host[k]);
        DMQ_TRY(put(s, &s->v[i], host, s->count));
    }
    bench_fill(host, SMALL, 9);
    DMQ_TRY(put(s, &s->small, host, SMALL));
    for (int i = 0; i < SMALL; i++)
        host[i] = 0.02F + 1e-5F * (dmq_real)i;
    DMQ_TRY(put(s, &s->scale, host, SMALL));
    for (int i = 0; i < SMALL; i++)
        host[i] = 7;
    DMQ_TRY(put(s, &s->zero, host, SMALL));
    if (!s->coef)
        DMQ_TRY(s->be->alloc((void **)&s->coef, sizeof coef));
    DMQ_TRY(s->be->upload(s->queue, s->coef, &coef, sizeof coef));
    DMQ_TRY(dmq_alloc((void **)&index, (size_t)batch, sizeof *index));
    for (int i = 0; i < batch; i++)
        index[i] = (i + batch / 2) % batch;
    if (!s->index)
        DMQ_TRY(s->be->alloc((void **)&s->index, (size_t)batch * sizeof *index));
    DMQ_TRY(s->be->upload(s->queue, s->index, index, (size_t)batch * sizeof *index));
    DMQ_TRY(s->be->sync(s->queue));
done:
    dmq_free(host);
    dmq_free(index);
    return st;
}

static void release(arrays *s)
{
    for (int i = 0; i < ARRAYS && s->be; i++)
        s->be->free(s->v[i]);
    if (s->be) {
        s->be->free(s->small);
        s->be->free(s->scale);
        s->be->free(s->zero);
        s->be->free(s->coef);
        s->be->free(s->index);
        s->be->queue_destroy(s->queue);
    }
    *s = (arrays){ 0 };
}

/* Numbers of v[4] that a job writes. */
static size_t written(const job *j, const arrays *s)
{
    if (j->fn == minmax)
        return 2;
    if (j->fn == loss && !j->flag[0])
        return (size_t)s->batch;
    if (j->fn == times)
        return s->count / 32;
    if (j->fn == resize)
        return (size_t)s->batch * 3 * SIDE * SIDE;
    return s->count;
}

static dmq_status open_arrays(arrays *s, const dmq_backend *be, int batch)
{
    dmq_status st = DMQ_OK;

    s->be = be;
    DMQ_TRY(be->queue_create(&s->queue, 0));
    DMQ_TRY(fill(s, batch));
done:
    return st;
}

/* Two images of a job on both backends, all that it writes to v[4] and what it leaves there. */
static dmq_status compare(double *error, const job *j, const dmq_backend *be)
{
    arrays side[2] = { 0 };
    dmq_real *got[2] = { NULL, NULL };
    dmq_status st = DMQ_OK;

    for (int i = 0; i < 2; i++) {
        DMQ_TRY(open_arrays(&side[i], i ? dmq_backend_cpu() : be, 2));
        if (j->fn == norm && j->flag[1]) /* statistics first */
            DMQ_TRY(norm(&(job){ .flag = { j->flag[0], 0 } }, &side[i]));
        DMQ_TRY(j->fn(j, &side[i]));
        DMQ_TRY(dmq_alloc((void **)&got[i], side[i].count, sizeof *got[i]));
        DMQ_TRY(side[i].be->download(side[i].queue, got[i], side[i].v[4],
                                     written(j, &side[i]) * sizeof *got[i]));
        DMQ_TRY(side[i].be->sync(side[i].queue));
    }
    *error = bench_error(got[0], got[1], written(j, &side[0]));
    if (!(*error < 1e-3))
        st = dmq_fail(DMQ_EDIVERGE, "%s: off the cpu backend by %.1e", j->name, *error);
done:
    for (int i = 0; i < 2; i++) {
        dmq_free(got[i]);
        release(&side[i]);
    }
    return st;
}

int main(int argc, char **argv)
{
    const char *only = bench_option(argc, argv, "--only", "");
    int batch = atoi(bench_option(argc, argv, "--batch", "256"));
    int check = atoi(bench_option(argc, argv, "--check", "1"));
    const dmq_backend *be = NULL;
    arrays s = { 0 };
    double copied = 0;
    char shape[32];
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_backend_open(&be, bench_option(argc, argv, "--backend", "cuda")));
    DMQ_TRY(open_arrays(&s, be, batch));
    (void)snprintf(shape, sizeof shape, "%dx32x32x128", batch);
    bench_header();
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        bench b = { &jobs[i], &s };
        bench_case c = { .op = jobs[i].name,
                         .backend = be->name,
                         .shape = shape,
                         .dtype = "f32",
                         .run = run,
                         .context = &b,
                         .bytes = 4 * jobs[i].moved * (double)s.count,
                         .roof_gbs = copied,
                         .worst_error = -1,
                         .calls = CALLS,
                         .reps = atoi(bench_option(argc, argv, "--reps", "20")),
                         .min_ms = atof(bench_option(argc, argv, "--ms", "50")) };
        bench_result r;

        if (i > 0 && !strstr(jobs[i].name, only))
            continue;
        if (check)
            DMQ_TRY(compare(&c.worst_error, &jobs[i], be));
        DMQ_TRY(bench_measure(&r, &c));
        if (i == 0)
            copied = c.bytes / r.min_us * 1e-3;
    }
done:
    release(&s);
    if (st != DMQ_OK)
        (void)fprintf(stderr, "%s: %s\n", st == DMQ_ENOTSUP ? "skipped" : argv[0], dmq_message());
    return st == DMQ_ENOTSUP ? 77 : dmq_exit_code(st);
}
