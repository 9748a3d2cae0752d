/*
 * Convolutions of the layer shapes in bench/shapes, per pass and algorithm, each compared with the
 * reference first. Every thread computes a batch of its own, as lanes do.
 *
 *   bench_conv2d [--shapes tiny] [--batch 8] [--threads 1] [--pass forward|data|weights|all]
 *                [--algorithm auto|direct|winograd|im2col|all] [--reps 10] [--ms 50] [--check 1] [--clock wall|cpu]
 *
 * The op column names the pass and what ran; Winograd counts the operations of the definition.
 */
#include "bench.h"

#include "backend/cpu_conv2d.h"
#include "backend/lanes.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 64 };

typedef struct layer {
    dmq_conv2d_args args[MAX_THREADS];
    dmq_conv_pass pass;
    dmq_conv_algorithm algorithm;
    dmq_lanes *lanes;
    int threads;
} layer;

static dmq_status piece(void *context, int number, int lane, dmq_queue *queue)
{
    layer *l = context;

    (void)lane;
    return dmq_cpu_conv_run(queue, l->pass, l->algorithm, &l->args[number]);
}

static dmq_status run(void *context)
{
    layer *l = context;

    return dmq_lanes_run(l->lanes, l->threads, piece, l);
}

static size_t in_count(const dmq_conv2d_args *a)
{
    return (size_t)a->n * (size_t)a->h * (size_t)a->wd * (size_t)a->c;
}

static size_t out_count(const dmq_conv2d_args *a)
{
    return (size_t)a->n * (size_t)a->ho * (size_t)a->wo * (size_t)a->k;
}

static size_t w_count(const dmq_conv2d_args *a)
{
    return (size_t)(a->k * a->r * a->s) * (size_t)a->c;
}

/* x w bias y dy dx dw of one thread, one behind the other, each on a cache line of its own. */
static dmq_status make_arrays(dmq_conv2d_args *a, unsigned seed)
{
    dmq_status st = DMQ_OK;
    size_t in = (in_count(a) + 15) / 16 * 16, out = (out_count(a) + 15) / 16 * 16;
    size_t w = (w_count(a) + 15) / 16 * 16, bias = ((size_t)a->k + 15) / 16 * 16;
    float *memory = NULL;

    DMQ_TRY(dmq_alloc((void **)&memory, 2 * (in + out + w) + bias, sizeof *memory));
    bench_fill(memory, 2 * (in + out + w) + bias, seed);
    a->x = memory;
    a->w = a->x + in;
    a->bias = a->w + w;
    a->dy = a->bias + bias;
    a->y = memory + in + w + bias + out;
    a->dx = a->y + out;
    a->dw = a->dx + in;
done:
    return st;
}

static dmq_status reference(dmq_conv_pass pass, const dmq_conv2d_args *a)
{
    switch (pass) {
    case DMQ_CONV_FORWARD:
        return dmq_conv2d_forward_ref(NULL, a);
    case DMQ_CONV_BACKWARD_DATA:
        return dmq_conv2d_backward_data_ref(NULL, a);
    default:
        return dmq_conv2d_backward_weights_ref(NULL, a);
    }
}

/* Relative error of the pass, the reference being run on at most two images where that is possible. */
static dmq_status compare(double *error, const layer *l, dmq_queue *queue)
{
    dmq_status st = DMQ_OK;
    dmq_conv2d_args a = l->args[0], part;
    int sums_images = l->pass == DMQ_CONV_BACKWARD_WEIGHTS;
    float *expected = NULL;
    const float *got = l->pass == DMQ_CONV_FORWARD ? a.y : sums_images ? a.dw : a.dx;
    size_t count;

    part = a;
    part.n = sums_images || a.n < 2 ? a.n : 2;
    count = l->pass == DMQ_CONV_FORWARD ? out_count(&part)
            : sums_images               ? w_count(&part)
                                        : in_count(&part);
    DMQ_TRY(dmq_alloc((void **)&expected, count, sizeof *expected));
    part.y = part.dx = part.dw = expected;
    DMQ_TRY(reference(l->pass, &part));
    DMQ_TRY(dmq_cpu_conv_run(queue, l->pass, l->algorithm, &a));
    *error = bench_error(got, expected, count);
done:
    dmq_free(expected);
    return st;
}

static dmq_status bench_pass(layer *l, const char *name, int argc, char **argv, double roof)
{
    static const char *const passes[] = { "forward", "data", "weights" };
    dmq_status st = DMQ_OK;
    const dmq_conv2d_args *a = &l->args[0];
    const char *impl = "none";
    char op[128], shape[128], across[16] = "";
    bench_case c = { .op = op,
                     .backend = "cpu",
                     .shape = shape,
                     .dtype = "f32",
                     .run = run,
                     .context = l,
                     .worst_error = -1,
                     .roof_gflops = roof };

    st = dmq_cpu_conv_name(&impl, l->pass, l->algorithm, a);
    if (st == DMQ_ENOTSUP)
        return DMQ_OK; /* this algorithm has no code for the shape: no line */
    DMQ_TRY(st);
    (void)snprintf(op, sizeof op, "conv2d_%s/%s", passes[l->pass], impl);
    if (a->s != a->r)
        (void)snprintf(across, sizeof across, "x%d", a->s);
    (void)snprintf(shape, sizeof shape, "%s:n%d,c%d,%dx%d,k%d,r%d%s,s%d", name, a->n, a->c, a->h,
                   a->wd, a->k, a->r, across, a->stride);
    c.reps = atoi(bench_option(argc, argv, "--reps", "10"));
    c.min_ms = atof(bench_option(argc, argv, "--ms", "50"));
    c.cpu_clock = strcmp(bench_option(argc, argv, "--clock", "wall"), "cpu") == 0;
    c.flop = 2.0 * (double)out_count(a) * (double)(a->c * a->r * a->s) * l->threads;
    c.bytes = 4.0 * (double)(in_count(a) + out_count(a) + w_count(a)) * l->threads;
    if (atoi(bench_option(argc, argv, "--check", "1")))
        DMQ_TRY(compare(&c.worst_error, l, dmq_lanes_queue(l->lanes, 0)));
    DMQ_TRY(bench_measure(NULL, &c));
done:
    return st;
}

static dmq_status bench_layer(layer *l, const char *name, int argc, char **argv, double roof)
{
    static const char *const algorithms[] = { "auto", "direct", "winograd", "im2col" };
    static const char *const passes[] = { "forward", "data", "weights" };
    const char *algorithm = bench_option(argc, argv, "--algorithm", "auto");
    const char *pass = bench_option(argc, argv, "--pass", "all");
    dmq_status st = DMQ_OK;

    for (int p = 0; p < 3; p++) {
        for (int g = 0; g < 4; g++) {
            int all = strcmp(algorithm, "all") == 0 && g > 0;

            if (!(all || strcmp(algorithm, algorithms[g]) == 0) ||
                !(strcmp(pass, "all") == 0 || strcmp(pass, passes[p]) == 0))
                continue;
            l->pass = (dmq_conv_pass)p;
            l->algorithm = (dmq_conv_algorithm)g;
            DMQ_TRY(bench_pass(l, name, argc, argv, roof));
        }
    }
done:
    return st;
}

/* number: c h w k r s stride, and padding above, left, below, right */
static void set_shape(dmq_conv2d_args *a, const int number[11], int batch)
{
    memset(a, 0, sizeof *a);
    a->n = batch;
    a->c = number[0];
    a->h = number[1];
    a->wd = number[2];
    a->k = number[3];
    a->r = number[4];
    a->s = number[5];
    a->stride = number[6];
    a->pad_top = number[7];
    a->pad_left = number[8];
    a->ho = (a->h + number[7] + number[9] - a->r) / a->stride + 1;
    a->wo = (a->wd + number[8] + number[10] - a->s) / a->stride + 1;
}

/* The lines of square kernels, which tell one size, and then those of the others. */
static int next_shape(bench_shapes **shapes, const char *path, int *others, char name[64],
                      int number[11])
{
    if (!*others) {
        if (bench_shapes_next(*shapes, "conv2d", name, number, 10)) {
            memmove(number + 5, number + 4, 6 * sizeof *number);
            return 1;
        }
        *others = 1;
        bench_shapes_close(*shapes);
        *shapes = NULL;
        if (bench_shapes_open(shapes, path) != DMQ_OK)
            return 0;
    }
    return bench_shapes_next(*shapes, "conv2d_rect", name, number, 11);
}

static dmq_status bench_file(int argc, char **argv, layer *l, double roof)
{
    dmq_status st = DMQ_OK;
    bench_shapes *shapes = NULL;
    char path[512], name[64];
    int number[11], others = 0, batch = atoi(bench_option(argc, argv, "--batch", "8"));
    const char *only = bench_option(argc, argv, "--layer", "");

    (void)snprintf(path, sizeof path, "%s/bench/shapes/%s.txt", DMQ_SOURCE_DIR,
                   bench_option(argc, argv, "--shapes", "tiny"));
    DMQ_TRY(bench_shapes_open(&shapes, path));
    while (next_shape(&shapes, path, &others, name, number)) {
        if (*only && !strstr(name, only))
            continue;
        for (int t = 0; t < l->threads; t++) {
            set_shape(&l->args[t], number, batch);
            DMQ_TRY(make_arrays(&l->args[t], (unsigned)t + 1));
        }
        DMQ_TRY(bench_layer(l, name, argc, argv, roof));
        for (int t = 0; t < l->threads; t++) {
            dmq_free((void *)(uintptr_t)l->args[t].x);
            l->args[t].x = NULL;
        }
    }
done:
    for (int t = 0; t < l->threads; t++)
        dmq_free((void *)(uintptr_t)l->args[t].x);
    bench_shapes_close(shapes);
    return st;
}

int main(int argc, char **argv)
{
    static layer l;
    dmq_status st = DMQ_OK;
    double roof;

    l.threads = atoi(bench_option(argc, argv, "--threads", "1"));
    if (l.threads < 1 || l.threads > MAX_THREADS)
        l.threads = 1;
    roof = bench_fma_gflops_threads(l.threads);
    (void)fprintf(stderr, "roof: %.1f GFLOP/s on %d thread%s\n", roof, l.threads,
                  l.threads == 1 ? "" : "s");
    DMQ_TRY(dmq_lanes_create(&l.lanes, dmq_backend_cpu(), l.threads));
    bench_header();
    DMQ_TRY(bench_file(argc, argv, &l, roof));
done:
    dmq_lanes_destroy(l.lanes);
    if (st != DMQ_OK)
        (void)fprintf(stderr, "bench_conv2d: %s\n", dmq_message());
    return dmq_exit_code(st);
}
