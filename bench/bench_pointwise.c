/*
 * Passes over memory: group norm with what is fused into it, activations, softmax, losses, fake
 * quantization, the alpha step. Compared with the reference first; every thread has arrays of its own.
 *
 *   bench_pointwise [--backend cpu] [--shapes tiny] [--batch 8] [--threads 1] [--only TEXT] [--ms 50] [--clock wall|cpu]
 *
 * Bytes are those that must move once; the roof is reading from the second-level cache and beyond at
 * the array's size. Numbers a second: GB/s over the bytes of one number.
 */
#include "bench.h"

#include "backend/lanes.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 64, ARRAYS = 8 };

/* Arrays of one thread. v[0..3] are read, v[4..7] written. */
typedef struct set {
    float *v[ARRAYS];
    float *channel[6];
    size_t count;
    int n, hw, c, groups;
} set;

typedef struct job job;

typedef dmq_status job_fn(const job *j, const dmq_backend *be, dmq_queue *queue, const set *s);

struct job {
    const char *name;
    job_fn *fn;
    int flag[2];
    int moved;  /* arrays of count numbers that are read or written */
    int output; /* which of v is compared */
};

/* ------------------------------------------------------------------ the calls */

static dmq_group_norm_args norm_args(const job *j, const set *s)
{
    return (dmq_group_norm_args){ .x = s->v[0],
                                  .shift = s->channel[2],
                                  .gamma = s->channel[0],
                                  .beta = s->channel[1],
                                  .y = s->v[4],
                                  .mean = s->channel[3],
                                  .rstd = s->channel[4],
                                  .n = s->n,
                                  .hw = s->hw,
                                  .c = s->c,
                                  .groups = s->groups,
                                  .eps = 1e-6f,
                                  .silu = j->flag[0],
                                  .quant = j->flag[1],
                                  .scale = s->channel[5],
                                  .zero = s->channel[5] + 1,
                                  .rows = 1,
                                  .lo = 0,
                                  .hi = 255,
                                  .dy = s->v[1],
                                  .dx = s->v[4],
                                  .dgamma = s->v[6],
                                  .dbeta = s->v[7],
                                  .x_tan = s->v[1],
                                  .y_tan = s->v[4] };
}

static dmq_status norm_forward(const job *j, const dmq_backend *be, dmq_queue *q, const set *s)
{
    dmq_group_norm_args a = norm_args(j, s);

    return be->group_norm_forward(q, &a);
}

static dmq_status norm_backward(const job *j, const dmq_backend *be, dmq_queue *q, const set *s)
{
    dmq_group_norm_args a = norm_args(j, s);

    return be->group_norm_backward(q, &a);
}

static dmq_status norm_jvp(const job *j, const dmq_backend *be, dmq_queue *q, const set *s)
{
    dmq_group_norm_args a = norm_args(j, s);

    return be->group_norm_jvp(q, &a);
}

static dmq_status layer_forward(const job *j, const dmq_backend *be, dmq_queue *q, const set *s)
{
    dmq_layer_norm_args a = { .x = s->v[0],
                              .gamma = s->channel[0],
                              .beta = s->channel[1],
                              .y = s->v[4],
                              .mean = s->v[5],
                              .rstd = s->v[6],
                              .rows = s->n * s->hw,
                              .d = s->c,
                              .eps = 1e-5f };

    (void)j;
    return be->layer_norm_forward(q, &a);
}

static dmq_status unary(const job *j, const dmq_backend *be, dmq_queue *q, const set *s)
{
    dmq_unary_args a = { .kind = (dmq_unary_kind)j->flag[0],
                         .x = s->v[0],
                         .y = s->v[4],
                         .v = s->v[1],
                         .out = s->v[4],
                         .count = s->count };

    return j->flag[1] ? be->unary_derive(q, &a) : be->unary_forward(q, &a);
}

static dmq_status geglu(const job *j, const dmq_backend *be, dmq_queue *q, const set *s)
{
    dmq_geglu_args a = { .x = s->v[0], .y = s->v[4], .rows = s->n * s->hw / 2, .d = s->c };

    (void)j;
    return be->geglu_forward(q, &a);
}

static dmq_status binary(const job *j, const dmq_backend *be, dmq_queue *q, const set *s)
{
    dmq_binary_args a = { .kind = DMQ_ADD,
                          .p = s->v[0],
                          .q = s->v[1],
                          .y = s->v[4],
                          .dim = { s->n, s->hw, s->c },
                          .stride_p = { (ptrdiff_t)s->hw * s->c, s->c, 1 },
                          .stride_q = { j->flag[0] ? s->c : (ptrdiff_t)s->hw * s->c,
                                        j->flag[0] ? 0 : s->c, 1 } };

    return be->binary_forward(q, &a);
}

static dmq_status softmax(const job *j, const dmq_backend *be, dmq_queue *q, const set *s)
{
    dmq_softmax_args a = { .x = s->v[0], .y = s->v[4], .rows = (int)(s->count / 256), .cols = 256 };

    (void)j;
    return be->softmax_forward(q, &a);
}

static dmq_status loss(const job *j, const dmq_backend *be, dmq_queue *q, const set *s)
{
    dmq_loss_args a = { .f = s->v[0],
                        .y = s->v[1],
                        .loss = s->v[4],
                        .dloss = s->v[2],
                        .df = s->v[4],
                        .n = s->n,
                        .per = s->count / (size_t)s->n,
                        .coef = 1.0f / (float)s->hw,
                        .power = j->flag[0] ? 2.4f : 2.0f };

    return j->flag[1] ? be->loss_backward(q, &a) : be->loss_forward(q, &a);
}

static dmq_status fake_quant(const job *j, const dmq_backend *be, dmq_queue *q, const set *s)
{
    dmq_fake_quant_args a = { .x = s->v[0],
                              .scale = s->channel[5],
                              .zero = s->channel[5] + 1,
                              .y = s->v[4],
                              .dy = s->v[1],
                              .dx = s->v[4],
                              .n = s->n,
                              .outer = 1,
                              .c = 1,
                              .inner = s->hw * s->c,
                              .rows = 1,
                              .lo = 0,
                              .hi = 255,
                              .lsq_gain = 1 };

    return j->flag[0] ? be->fake_quant_backward(q, &a) : be->fake_quant_forward(q, &a);
}

static dmq_status upsample(const job *j, const dmq_backend *be, dmq_queue *q, const set *s)
{
    dmq_resample_args a = {
        .x = s->v[0], .y = s->v[4], .n = s->n, .h = s->hw / 4, .wd = 1, .c = s->c, .factor = 2
    };

    (void)j;
    return be->upsample_forward(q, &a);
}

static dmq_status col_sum(const job *j, const dmq_backend *be, dmq_queue *q, const set *s)
{
    dmq_col_sum_args a = { .x = s->v[0], .y = s->v[4], .rows = s->n * s->hw, .cols = s->c };

    (void)j;
    return be->col_sum(q, &a);
}

static dmq_status concat(const job *j, const dmq_backend *be, dmq_queue *q, const set *s)
{
    size_t half = (size_t)s->c / 2;
    dmq_copy2d_args a = { .src = s->v[0],
                          .dst = s->v[4],
                          .rows = (size_t)(s->n * s->hw),
                          .cols = half,
                          .src_ld = half,
                          .dst_ld = (size_t)s->c };

    (void)j;
    return be->copy2d(q, &a);
}

static const job jobs[] = {
    { "group_norm", norm_forward, { 0, 0 }, 2, 4 },
    { "group_norm+silu", norm_forward, { 1, 0 }, 2, 4 },
    { "group_norm+silu+quant", norm_forward, { 1, 1 }, 2, 4 },
    { "group_norm_backward", norm_backward, { 0, 0 }, 3, 4 },
    { "group_norm+silu_backward", norm_backward, { 1, 0 }, 3, 4 },
    { "group_norm+silu+quant_backward", norm_backward, { 1, 1 }, 3, 4 },
    { "group_norm+silu+quant_jvp", norm_jvp, { 1, 1 }, 3, 4 },
    { "layer_norm", layer_forward, { 0, 0 }, 2, 4 },
    { "silu", unary, { DMQ_SILU, 0 }, 2, 4 },
    { "silu_derive", unary, { DMQ_SILU, 1 }, 3, 4 },
    { "gelu", unary, { DMQ_GELU, 0 }, 2, 4 },
    { "geglu", geglu, { 0, 0 }, 1, 4 },
    { "add", binary, { 0, 0 }, 3, 4 },
    { "add_channel", binary, { 1, 0 }, 2, 4 },
    { "softmax", softmax, { 0, 0 }, 2, 4 },
    { "loss2", loss, { 0, 0 }, 2, 4 },
    { "loss2_backward", loss, { 0, 1 }, 3, 4 },
    { "loss2.4", loss, { 1, 0 }, 2, 4 },
    { "loss2.4_backward", loss, { 1, 1 }, 3, 4 },
    { "fake_quant", fake_quant, { 0, 0 }, 2, 4 },
    { "fake_quant_backward", fake_quant, { 1, 0 }, 3, 4 },
    { "upsample", upsample, { 0, 0 }, 1, 4 },
    { "col_sum", col_sum, { 0, 0 }, 1, 4 },
    { "concat_half", concat, { 0, 0 }, 1, 4 },
};

/* ------------------------------------------------------------------ measuring */

typedef struct bench {
    const job *job;
    const dmq_backend *backend;
    dmq_lanes *lanes;
    int threads;
    set sets[MAX_THREADS];
} bench;

static dmq_status piece(void *context, int number, int lane, dmq_queue *queue)
{
    bench *b = context;

    (void)lane;
    return b->job->fn(b->job, b->backend, queue, &b->sets[number]);
}

static dmq_status run(void *context)
{
    bench *b = context;

    return dmq_lanes_run(b->lanes, b->threads, piece, b);
}

static dmq_status make_set(set *s, int batch, const int number[4], unsigned seed)
{
    dmq_status st = DMQ_OK;

    s->n = batch;
    s->c = number[0];
    s->hw = number[1] * number[2];
    s->groups = number[3];
    s->count = (size_t)(s->n * s->hw) * (size_t)s->c;
    for (unsigned i = 0; i < ARRAYS; i++) {
        DMQ_TRY(dmq_alloc((void **)&s->v[i], s->count, sizeof(float)));
        bench_fill(s->v[i], s->count, seed * 100 + i);
    }
    for (unsigned i = 0; i < 6; i++) {
        size_t count = (size_t)(s->n * s->c) + 2;

        DMQ_TRY(dmq_alloc((void **)&s->channel[i], count, sizeof(float)));
        bench_fill(s->channel[i], count, seed * 100 + 50 + i);
    }
    s->channel[5][0] = 0.0123f;
    s->channel[5][1] = 20;
done:
    return st;
}

static void free_set(set *s)
{
    for (int i = 0; i < ARRAYS; i++)
        dmq_free(s->v[i]);
    for (int i = 0; i < 6; i++)
        dmq_free(s->channel[i]);
    memset(s, 0, sizeof *s);
}

/* The reference first, its statistics being what the later passes of both read. */
static dmq_status compare(double *error, const bench *b, dmq_queue *queue)
{
    dmq_status st = DMQ_OK;
    const dmq_backend *ref = dmq_backend_ref();
    const set *s = &b->sets[0];
    job plain = { "group_norm", norm_forward, { 0, 0 }, 2, 4 };
    float *expected = NULL;

    DMQ_TRY(dmq_alloc((void **)&expected, s->count, sizeof(float)));
    DMQ_TRY(norm_forward(&plain, ref, queue, s));
    bench_fill(s->v[b->job->output], s->count, 77);
    DMQ_TRY(b->job->fn(b->job, ref, queue, s));
    memcpy(expected, s->v[b->job->output], s->count * sizeof(float));
    bench_fill(s->v[b->job->output], s->count, 77);
    DMQ_TRY(b->job->fn(b->job, b->backend, queue, s));
    *error = bench_error(s->v[b->job->output], expected, s->count);
done:
    dmq_free(expected);
    return st;
}

static dmq_status bench_shape(bench *b, const char *layer, int argc, char **argv)
{
    const char *only = bench_option(argc, argv, "--only", "");
    dmq_status st = DMQ_OK;
    const set *s = &b->sets[0];
    double roof = bench_read_gbs_threads(s->count * sizeof(float), b->threads);

    for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++) {
        char shape[128];
        bench_case c = { .op = jobs[i].name,
                         .backend = b->backend->name,
                         .shape = shape,
                         .dtype = "f32",
                         .run = run,
                         .context = b,
                         .reps = 5,
                         .roof_gbs = roof };

        if (*only && !strstr(jobs[i].name, only))
            continue;
        b->job = &jobs[i];
        (void)snprintf(shape, sizeof shape, "%s:n%d,hw%d,c%d,g%d", layer, s->n, s->hw, s->c,
                       s->groups);
        c.min_ms = atof(bench_option(argc, argv, "--ms", "50"));
        c.cpu_clock = strcmp(bench_option(argc, argv, "--clock", "wall"), "cpu") == 0;
        c.bytes = 4.0 * (double)s->count * jobs[i].moved * b->threads;
        DMQ_TRY(compare(&c.worst_error, b, dmq_lanes_queue(b->lanes, 0)));
        DMQ_TRY(bench_measure(NULL, &c));
    }
done:
    return st;
}

static dmq_status bench_file(bench *b, int argc, char **argv)
{
    dmq_status st = DMQ_OK;
    bench_shapes *shapes = NULL;
    char path[512], name[64];
    int number[4], batch = atoi(bench_option(argc, argv, "--batch", "8"));

    (void)snprintf(path, sizeof path, "%s/bench/shapes/%s.txt", DMQ_SOURCE_DIR,
                   bench_option(argc, argv, "--shapes", "tiny"));
    DMQ_TRY(bench_shapes_open(&shapes, path));
    while (bench_shapes_next(shapes, "group_norm", name, number, 4)) {
        for (int t = 0; t < b->threads; t++)
            DMQ_TRY(make_set(&b->sets[t], batch, number, (unsigned)t + 1));
        DMQ_TRY(bench_shape(b, name, argc, argv));
        for (int t = 0; t < b->threads; t++)
            free_set(&b->sets[t]);
    }
done:
    for (int t = 0; t < b->threads; t++)
        free_set(&b->sets[t]);
    bench_shapes_close(shapes);
    return st;
}

int main(int argc, char **argv)
{
    static bench b;
    dmq_status st = DMQ_OK;

    b.threads = atoi(bench_option(argc, argv, "--threads", "1"));
    if (b.threads < 1 || b.threads > MAX_THREADS)
        b.threads = 1;
    DMQ_TRY(dmq_backend_open(&b.backend, bench_option(argc, argv, "--backend", "cpu")));
    DMQ_TRY(dmq_lanes_create(&b.lanes, b.backend, b.threads));
    bench_header();
    DMQ_TRY(bench_file(&b, argc, argv));
done:
    dmq_lanes_destroy(b.lanes);
    if (st != DMQ_OK)
        (void)fprintf(stderr, "bench_pointwise: %s\n", dmq_message());
    return dmq_exit_code(st);
}
