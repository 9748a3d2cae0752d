/*
 * Operations of a backend, each through its table on the device's own memory: what `bench/gpu.sh` runs on a
 * GPU. One image of each batch is compared with the cpu backend first.
 *
 *   bench_device [--backend cuda] [--precision fp32|tf32|fp16] [--only TEXT] [--reps 10] [--ms 50] [--calls 10]
 *                [--check 1]
 *
 * A repeat is `calls` calls and one wait: times, GB/s and GFLOP/s are of one call. The shape column names
 * layers as CxHxW -> K, batch.
 */
#include "bench.h"

#include "backend/cuda.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct device {
    const dmq_backend *be;
    dmq_queue *queue;
    const char *only, *precision;
    int calls, reps, check;
    double min_ms;
} device;

typedef enum kind { FORWARD, DATA, WEIGHTS, PRODUCT, AXPBY, SILU } kind;

typedef struct job {
    device *d;
    kind kind;
    dmq_conv2d_args conv;
    dmq_matmul_args product;
    dmq_axpby_args axpby;
    dmq_unary_args unary;
} job;

static dmq_status call(const dmq_backend *be, dmq_queue *queue, const job *j)
{
    switch (j->kind) {
    case FORWARD:
        return be->conv2d_forward(queue, &j->conv);
    case DATA:
        return be->conv2d_backward_data(queue, &j->conv);
    case WEIGHTS:
        return be->conv2d_backward_weights(queue, &j->conv);
    case PRODUCT:
        return be->matmul(queue, &j->product);
    case AXPBY:
        return be->axpby(queue, &j->axpby);
    default:
        return be->unary_forward(queue, &j->unary);
    }
}

static dmq_status run(void *context)
{
    const job *j = context;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < j->d->calls; i++)
        DMQ_TRY(call(j->d->be, j->d->queue, j));
    DMQ_TRY(j->d->be->sync(j->d->queue));
done:
    return st;
}

/* Arrays of one job on one backend: two that are read, one that is written. */
typedef struct arrays {
    const dmq_backend *be;
    void *at[3];
} arrays;

static dmq_status arrays_open(arrays *m, const dmq_backend *be, dmq_queue *queue,
                              const size_t count[3])
{
    dmq_status st = DMQ_OK;
    float *host = NULL;

    m->be = be;
    for (int i = 0; i < 3; i++) {
        DMQ_TRY(be->alloc(&m->at[i], count[i] * sizeof *host));
        DMQ_TRY(dmq_alloc((void **)&host, count[i], sizeof *host));
        bench_fill(host, count[i], (unsigned)i + 1);
        DMQ_TRY(be->upload(queue, m->at[i], host, count[i] * sizeof *host));
        dmq_free(host);
        host = NULL;
    }
done:
    dmq_free(host);
    return st;
}

static void arrays_close(arrays *m)
{
    for (int i = 0; i < 3; i++) {
        if (m->be)
            m->be->free(m->at[i]);
    }
}

/* Numbers of the two that are read and of the one that is written. */
static void count_of(size_t count[3], const job *j)
{
    const dmq_conv2d_args *c = &j->conv;
    size_t x = (size_t)c->n * (size_t)c->h * (size_t)c->wd * (size_t)c->c;
    size_t y = (size_t)c->n * (size_t)c->ho * (size_t)c->wo * (size_t)c->k;
    size_t w = (size_t)c->k * (size_t)c->r * (size_t)c->s * (size_t)c->c;

    if (j->kind <= WEIGHTS) {
        count[0] = j->kind == DATA ? y : x;
        count[1] = j->kind == WEIGHTS ? y : w;
        count[2] = j->kind == FORWARD ? y : j->kind == DATA ? x : w;
    } else if (j->kind == PRODUCT) {
        const dmq_matmul_args *p = &j->product;

        count[0] = (size_t)p->batch * (size_t)p->m * (size_t)p->k;
        count[1] = (size_t)p->batch * (size_t)p->n * (size_t)p->k;
        count[2] = (size_t)p->batch * (size_t)p->m * (size_t)p->n;
    } else {
        count[0] = count[2] = j->kind == AXPBY ? j->axpby.count : j->unary.count;
        count[1] = 1;
    }
}

static void place(job *j, const arrays *m)
{
    if (j->kind == FORWARD || j->kind == WEIGHTS)
        j->conv.x = m->at[0];
    if (j->kind == FORWARD || j->kind == DATA)
        j->conv.w = m->at[1];
    j->conv.dy = j->kind == DATA ? m->at[0] : m->at[1];
    j->conv.y = j->conv.dx = j->conv.dw = m->at[2];
    j->product.a = m->at[0];
    j->product.b = m->at[1];
    j->product.c = m->at[2];
    j->axpby.x = j->unary.x = m->at[0];
    j->axpby.y = j->unary.y = m->at[2];
}

/* The job on a backend, once, its result to the host. */
static dmq_status once(float *out, const job *given, const dmq_backend *be, dmq_queue *queue)
{
    job j = *given;
    arrays m = { 0 };
    size_t count[3];
    dmq_status st = DMQ_OK;

    count_of(count, &j);
    DMQ_TRY(arrays_open(&m, be, queue, count));
    place(&j, &m);
    DMQ_TRY(call(be, queue, &j));
    DMQ_TRY(be->download(queue, out, m.at[2], count[2] * sizeof *out));
    DMQ_TRY(be->sync(queue));
done:
    arrays_close(&m);
    return st;
}

/* One image, one matrix or a million numbers of it, against the cpu backend. */
static dmq_status compare(double *error, const job *whole)
{
    const dmq_backend *cpu = dmq_backend_cpu();
    dmq_queue *queue = NULL;
    float *got = NULL, *want = NULL;
    job j = *whole;
    size_t count[3];
    dmq_status st = DMQ_OK;

    j.conv.n = j.product.batch = 1;
    j.axpby.count = j.unary.count = 1 << 20;
    count_of(count, &j);
    DMQ_TRY(dmq_alloc((void **)&got, count[2], sizeof *got));
    DMQ_TRY(dmq_alloc((void **)&want, count[2], sizeof *want));
    DMQ_TRY(cpu->queue_create(&queue, 0));
    DMQ_TRY(once(want, &j, cpu, queue));
    DMQ_TRY(once(got, &j, j.d->be, j.d->queue));
    *error = bench_error(got, want, count[2]);
    if (!(*error < 3e-3)) /* TF32 rounds to 5e-4 */
        st = dmq_fail(DMQ_EDIVERGE, "bench_device: off the cpu backend by %.1e", *error);
done:
    cpu->queue_destroy(queue);
    dmq_free(want);
    dmq_free(got);
    return st;
}

static dmq_status measure(device *d, job *j, const char *op, const char *shape, double flop,
                          double bytes)
{
    bench_case c = { .op = op,
                     .backend = d->be->name,
                     .shape = shape,
                     .dtype = d->precision,
                     .run = run,
                     .context = j,
                     .flop = flop,
                     .bytes = bytes,
                     .worst_error = -1,
                     .reps = d->reps,
                     .min_ms = d->min_ms,
                     .calls = d->calls };
    arrays m = { 0 };
    size_t count[3];
    dmq_status st = DMQ_OK;

    if (!strstr(shape, d->only) && !strstr(op, d->only))
        return DMQ_OK;
    j->d = d;
    if (d->check)
        DMQ_TRY(compare(&c.worst_error, j));
    count_of(count, j);
    DMQ_TRY(arrays_open(&m, d->be, d->queue, count));
    place(j, &m);
    DMQ_TRY(bench_measure(NULL, &c));
done:
    arrays_close(&m);
    return st;
}

static dmq_status convolutions(device *d)
{
    static const struct {
        int c, h, k, r, stride, batch;
    } layers[] = { { 128, 32, 128, 3, 1, 32 }, { 256, 16, 256, 3, 1, 32 },
                   { 512, 8, 256, 3, 1, 32 },  { 256, 4, 256, 3, 1, 32 },
                   { 384, 32, 384, 3, 1, 32 }, { 960, 8, 960, 3, 1, 32 },
                   { 128, 32, 128, 3, 2, 32 }, { 3, 32, 128, 3, 1, 32 },
                   { 512, 16, 256, 1, 1, 32 }, { 128, 32, 128, 3, 1, 256 } };
    static const char *const ops[] = { "conv2d_forward", "conv2d_data", "conv2d_weights" };
    dmq_status st = DMQ_OK;

    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        int c = layers[i].c, h = layers[i].h, k = layers[i].k, r = layers[i].r;
        int stride = layers[i].stride, pad = stride == 1 ? r / 2 : 0, ho = h / stride;
        char shape[64];

        (void)snprintf(shape, sizeof shape, "%dx%dx%d->%d%s,b%d", c, h, h, k,
                       r == 1        ? ",1x1"
                       : stride == 2 ? ",down"
                                     : "",
                       layers[i].batch);
        for (int pass = FORWARD; pass <= WEIGHTS; pass++) {
            job j = { .kind = (kind)pass,
                      .conv = { .n = layers[i].batch,
                                .h = h,
                                .wd = h,
                                .c = c,
                                .k = k,
                                .r = r,
                                .s = r,
                                .stride = stride,
                                .pad_top = pad,
                                .pad_left = pad,
                                .ho = ho,
                                .wo = ho } };
            double outs = (double)layers[i].batch * ho * ho * k;
            double ins = (double)layers[i].batch * h * h * c;

            DMQ_TRY(measure(d, &j, ops[pass], shape, 2.0 * outs * r * r * c,
                            4 * (outs + ins + (double)k * r * r * c)));
        }
    }
done:
    return st;
}

static dmq_status products(device *d)
{
    static const int sizes[][4] = { { 1, 4096, 4096, 4096 }, /* batch, m, n, k */
                                    { 32, 256, 256, 256 },   /* attention's scores at 16 x 16 */
                                    { 1, 32, 512, 128 },     /* the time embedding */
                                    { 1, 32, 32, 294912 } }; /* a Gram matrix of gradients */
    dmq_status st = DMQ_OK;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int b = sizes[i][0], m = sizes[i][1], n = sizes[i][2], k = sizes[i][3];
        job j = { .kind = PRODUCT,
                  .product = { .batch = b,
                               .m = m,
                               .n = n,
                               .k = k,
                               .trans_b = 1,
                               .lda = k,
                               .ldb = k,
                               .ldc = n,
                               .stride_a = (ptrdiff_t)m * k,
                               .stride_b = (ptrdiff_t)n * k,
                               .stride_c = (ptrdiff_t)m * n,
                               .alpha = 1 } };
        char shape[64];

        (void)snprintf(shape, sizeof shape, "%dx%dx%d,b%d", m, n, k, b);
        DMQ_TRY(measure(d, &j, "matmul", shape, 2.0 * b * m * n * k,
                        4.0 * b * ((double)m * k + (double)n * k + (double)m * n)));
    }
done:
    return st;
}

static dmq_status passes(device *d)
{
    const size_t count = (size_t)1 << 27; /* 512 MiB an array: beyond every cache */
    job axpby = { .kind = AXPBY, .axpby = { .alpha = 1, .beta = 0, .count = count } };
    job silu = { .kind = SILU, .unary = { .kind = DMQ_SILU, .count = count } };
    dmq_status st = DMQ_OK;

    DMQ_TRY(measure(d, &axpby, "axpby", "134217728", (double)count, 8 * (double)count));
    DMQ_TRY(measure(d, &silu, "silu", "134217728", 4 * (double)count, 8 * (double)count));
done:
    return st;
}

int main(int argc, char **argv)
{
    device d = { .only = bench_option(argc, argv, "--only", ""),
                 .precision = bench_option(argc, argv, "--precision", "fp32"),
                 .calls = atoi(bench_option(argc, argv, "--calls", "10")),
                 .reps = atoi(bench_option(argc, argv, "--reps", "10")),
                 .check = atoi(bench_option(argc, argv, "--check", "1")),
                 .min_ms = atof(bench_option(argc, argv, "--ms", "50")) };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_backend_open(&d.be, bench_option(argc, argv, "--backend", "cuda")));
    DMQ_TRY(dmq_backend_precision(d.be, strcmp(d.precision, "tf32") == 0   ? DMQ_TF32
                                        : strcmp(d.precision, "fp16") == 0 ? DMQ_FP16
                                                                           : DMQ_FP32));
    DMQ_TRY(d.be->queue_create(&d.queue, 0));
    bench_header();
    DMQ_TRY(convolutions(&d));
    DMQ_TRY(products(&d));
    DMQ_TRY(passes(&d));
done:
    if (d.be)
        d.be->queue_destroy(d.queue);
    if (st != DMQ_OK)
        (void)fprintf(stderr, "%s: %s\n", st == DMQ_ENOTSUP ? "skipped" : argv[0], dmq_message());
    return st == DMQ_ENOTSUP ? 77 : dmq_exit_code(st);
}
