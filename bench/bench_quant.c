/*
 * Quantizers, losses, the optimizer and noise: every slot of a backend on typical shapes, one thread.
 *
 *   bench_quant [--backend cpu] [--only NAME] [--ms 100]
 *
 * GB/s counts the arrays that a pass must read and write once.
 */
#include "bench.h"

#include "backend/backend.h"
#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An activation (16, 32, 32, 64) and a weight 128 x 3 x 3 x 128 have about a million and 147456. */
enum { COUNT = 1 << 20, K = 128, PER = 1152, WEIGHT = K * PER, ARRAYS = 8 };

typedef struct job {
    const dmq_backend *backend;
    dmq_queue *queue;
    dmq_real *x[ARRAYS];
    dmq_real scale[K], zero[K], score[K];
    int16_t *code;
    double value;
    int shape; /* one of several of a pass */
} job;

/* ------------------------------------------------------------------ fake quantization */

static dmq_fake_quant_args fake_quant_args(job *j)
{
    dmq_fake_quant_args a = { .x = j->x[0],
                              .scale = j->scale,
                              .zero = j->zero,
                              .y = j->x[1],
                              .dy = j->x[2],
                              .dx = j->x[1],
                              .x_tan = j->x[2],
                              .y_tan = j->x[1],
                              .n = 16,
                              .outer = 1024,
                              .c = 1,
                              .inner = 64,
                              .rows = 1,
                              .lo = 0,
                              .hi = 255,
                              .lsq_gain = 1 };

    if (j->shape == 1) { /* channels last */
        a.c = 64;
        a.inner = 1;
    } else if (j->shape == 2) { /* a weight */
        a.n = a.outer = 1;
        a.c = K;
        a.inner = COUNT / K;
    }
    return a;
}

static dmq_status fq_forward(void *context)
{
    job *j = context;
    dmq_fake_quant_args a = fake_quant_args(j);

    return j->backend->fake_quant_forward(j->queue, &a);
}

static dmq_status fq_code(void *context)
{
    job *j = context;
    dmq_fake_quant_args a = fake_quant_args(j);

    a.code = j->code;
    return j->backend->fake_quant_forward(j->queue, &a);
}

static dmq_status fq_backward(void *context)
{
    job *j = context;
    dmq_fake_quant_args a = fake_quant_args(j);

    return j->backend->fake_quant_backward(j->queue, &a);
}

static dmq_status fq_backward_scale(void *context)
{
    job *j = context;
    dmq_fake_quant_args a = fake_quant_args(j);

    a.dscale = j->score;
    return j->backend->fake_quant_backward(j->queue, &a);
}

static dmq_status fq_jvp(void *context)
{
    job *j = context;
    dmq_fake_quant_args a = fake_quant_args(j);

    return j->backend->fake_quant_jvp(j->queue, &a);
}

/* ------------------------------------------------------------------ AdaRound, on WEIGHT numbers */

static dmq_adaround_layer layer_of(job *j)
{
    return (dmq_adaround_layer){ .w = j->x[0],
                                 .scale = j->scale,
                                 .zero = j->zero,
                                 .alpha = j->x[1],
                                 .w_soft = j->x[2],
                                 .dw = j->x[3],
                                 .alpha_tan = j->x[4],
                                 .w_tan = j->x[5],
                                 .dalpha = j->x[5],
                                 .k = K,
                                 .per = PER,
                                 .lo = 0,
                                 .hi = 15 };
}

static dmq_adaround_args round_args(job *j, const dmq_adaround_layer *layer)
{
    return (dmq_adaround_args){
        .layer = layer, .n_layers = 1, .reg_weight = 0.01F, .reg_beta = 11, .reg_value = &j->value
    };
}

#define ROUND(name, slot)                            \
    static dmq_status name(void *context)            \
    {                                                \
        job *j = context;                            \
        dmq_adaround_layer layer = layer_of(j);      \
        dmq_adaround_args a = round_args(j, &layer); \
                                                     \
        return j->backend->slot(j->queue, &a);       \
    }
ROUND(round_forward, adaround_forward)
ROUND(round_backward, adaround_backward)
ROUND(round_jvp, adaround_jvp)
ROUND(round_curve, adaround_curve)
ROUND(round_regularize, adaround_regularize)
#undef ROUND

static dmq_status round_step(void *context)
{
    job *j = context;
    dmq_adaround_layer layer = layer_of(j);
    dmq_adaround_step_args a = { .round = round_args(j, &layer),
                                 .m = j->x[6],
                                 .v = j->x[7],
                                 .lr = 1e-5F,
                                 .beta1 = 0.9F,
                                 .beta2 = 0.999F,
                                 .eps = 1e-8F,
                                 .step = 10 };

    return j->backend->adaround_step(j->queue, &a);
}

/* ------------------------------------------------------------------ the others */

static dmq_status loss_pass(job *j, int pass)
{
    dmq_loss_args a = { .f = j->x[0],
                        .y = j->x[1],
                        .loss = j->score,
                        .dloss = j->scale,
                        .df = j->x[2],
                        .f_tan = j->x[3],
                        .loss_tan = j->score,
                        .n = 16,
                        .per = COUNT / 16,
                        .coef = 1,
                        .power = j->shape ? 2.4F : 2 };

    return pass == 0   ? j->backend->loss_forward(j->queue, &a)
           : pass == 1 ? j->backend->loss_backward(j->queue, &a)
                       : j->backend->loss_jvp(j->queue, &a);
}

static dmq_status loss_forward(void *context)
{
    return loss_pass(context, 0);
}

static dmq_status loss_backward(void *context)
{
    return loss_pass(context, 1);
}

static dmq_status loss_jvp(void *context)
{
    return loss_pass(context, 2);
}

static dmq_status adam(void *context)
{
    job *j = context;
    dmq_adam_args a = { j->x[1], j->x[6], j->x[7], j->x[0], COUNT, 1e-5F, 0.9F, 0.999F, 1e-8F, 10 };

    return j->backend->adam(j->queue, &a);
}

static dmq_status sum_blocks(void *context)
{
    job *j = context;
    const dmq_real *x[4] = { j->x[0], j->x[1], j->x[2], j->x[3] };
    dmq_sum_blocks_args a = { x, j->x[4], 4, COUNT, 0.25F, 0 };

    return j->backend->sum_blocks(j->queue, &a);
}

static dmq_status dot(void *context)
{
    job *j = context;
    dmq_dot_args a = { j->x[0], j->x[1], COUNT, &j->value };

    return j->backend->dot(j->queue, &a);
}

static dmq_status axpby(void *context)
{
    job *j = context;
    dmq_axpby_args a = { .x = j->x[0], .y = j->x[1], .alpha = 0.5F, .beta = 0.5F, .count = COUNT };

    return j->backend->axpby(j->queue, &a);
}

static dmq_status noise(void *context)
{
    job *j = context;
    dmq_noise_args a = { .out = j->x[5],
                         .n = 16,
                         .per = COUNT / 16,
                         .seed = 1,
                         .purpose = DMQ_FOR_TEST,
                         .channels = j->shape ? 4 : 0 };

    return j->backend->noise_normal(j->queue, &a);
}

static dmq_status minmax(void *context)
{
    job *j = context;
    dmq_minmax_args a = { j->x[0], j->score, j->score + 64, 1, 1, COUNT };

    if (j->shape) {
        a.outer = COUNT / 64;
        a.c = 64;
        a.inner = 1;
    }
    return j->backend->minmax(j->queue, &a);
}

static dmq_status search(void *context)
{
    job *j = context;
    float scale[512], zero[512];
    dmq_range_search_args a = { .x = j->x[0],
                                .scale = scale,
                                .zero = zero,
                                .outer = 1,
                                .c = 64,
                                .inner = 4608,
                                .bits = j->shape == 1 ? 8 : 4,
                                .candidates = 80,
                                .power = 2.4F };

    if (j->shape == 2) { /* an activation, per tensor */
        a.c = 1;
        a.inner = 64 * 4608;
        a.bits = 8;
    }
    return j->backend->range_search(j->queue, &a);
}

static const struct {
    const char *op, *shape;
    bench_fn *run;
    int number;        /* job.shape */
    int count, arrays; /* numbers, and arrays of so many that are read or written */
} cases[] = {
    { "fake_quant_forward", "16x1024x64:tensor", fq_forward, 0, COUNT, 2 },
    { "fake_quant_forward", "16x1024x64:channel", fq_forward, 1, COUNT, 2 },
    { "fake_quant_forward", "128x8192:weight", fq_forward, 2, COUNT, 2 },
    { "fake_quant_code", "16x1024x64:tensor", fq_code, 0, COUNT, 2 },
    { "fake_quant_backward", "16x1024x64:tensor", fq_backward, 0, COUNT, 3 },
    { "fake_quant_backward+scale", "16x1024x64:tensor", fq_backward_scale, 0, COUNT, 3 },
    { "fake_quant_backward+scale", "16x1024x64:channel", fq_backward_scale, 1, COUNT, 3 },
    { "fake_quant_jvp", "16x1024x64:tensor", fq_jvp, 0, COUNT, 3 },
    { "adaround_forward", "128x1152", round_forward, 0, WEIGHT, 3 },
    { "adaround_backward", "128x1152", round_backward, 0, WEIGHT, 4 },
    { "adaround_jvp", "128x1152", round_jvp, 0, WEIGHT, 4 },
    { "adaround_curve", "128x1152", round_curve, 0, WEIGHT, 5 },
    { "adaround_regularize", "128x1152", round_regularize, 0, WEIGHT, 2 },
    { "adaround_step", "128x1152", round_step, 0, WEIGHT, 8 },
    { "loss_forward", "16x65536:p=2", loss_forward, 0, COUNT, 2 },
    { "loss_forward", "16x65536:p=2.4", loss_forward, 1, COUNT, 2 },
    { "loss_backward", "16x65536:p=2", loss_backward, 0, COUNT, 3 },
    { "loss_backward", "16x65536:p=2.4", loss_backward, 1, COUNT, 3 },
    { "loss_jvp", "16x65536:p=2", loss_jvp, 0, COUNT, 3 },
    { "adam", "1048576", adam, 0, COUNT, 7 },
    { "sum_blocks", "4x1048576", sum_blocks, 0, COUNT, 5 },
    { "dot", "1048576", dot, 0, COUNT, 2 },
    { "axpby", "1048576", axpby, 0, COUNT, 3 },
    { "noise_normal", "16x65536", noise, 0, COUNT, 1 },
    { "noise_normal", "16x65536:c=4", noise, 1, COUNT, 1 },
    { "minmax", "1048576", minmax, 0, COUNT, 1 },
    { "minmax", "16384x64", minmax, 1, COUNT, 1 },
    { "range_search", "64x4608:4bit", search, 0, 64 * 4608, 1 },
    { "range_search", "64x4608:8bit", search, 1, 64 * 4608, 1 },
    { "range_search", "294912:8bit", search, 2, 64 * 4608, 1 },
};

static dmq_status job_init(job *j)
{
    dmq_status st = DMQ_OK;

    for (unsigned i = 0; i < ARRAYS; i++) {
        DMQ_TRY(dmq_alloc((void **)&j->x[i], COUNT, sizeof *j->x[i]));
        bench_fill(j->x[i], COUNT, i + 1);
    }
    DMQ_TRY(dmq_alloc((void **)&j->code, COUNT, sizeof *j->code));
    for (int i = 0; i < COUNT; i++)
        j->x[7][i] = fabsf(j->x[7][i]); /* a second moment */
    for (int k = 0; k < K; k++) {
        j->scale[k] = 0.02F + 0.001F * (float)k;
        j->zero[k] = 7;
    }
done:
    return st;
}

int main(int argc, char **argv)
{
    dmq_status st = DMQ_OK;
    const char *only = bench_option(argc, argv, "--only", "");
    job j = { 0 };
    double gbs = bench_read_gbs((size_t)64 << 20);

    DMQ_TRY(dmq_backend_open(&j.backend, bench_option(argc, argv, "--backend", "cpu")));
    DMQ_TRY(j.backend->queue_create(&j.queue, 0));
    DMQ_TRY(job_init(&j));
    bench_header();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bench_case c = { .op = cases[i].op,
                         .backend = j.backend->name,
                         .shape = cases[i].shape,
                         .dtype = "f32",
                         .run = cases[i].run,
                         .context = &j,
                         .bytes = 4.0 * cases[i].count * cases[i].arrays,
                         .roof_gbs = gbs,
                         .worst_error = -1,
                         .reps = 3,
                         .min_ms = atof(bench_option(argc, argv, "--ms", "100")) };
        bench_result r;

        if (!strstr(cases[i].op, only))
            continue;
        j.shape = cases[i].number;
        DMQ_TRY(bench_measure(&r, &c));
        (void)fprintf(stderr, "%-28s %-20s %8.3f ns/element\n", cases[i].op, cases[i].shape,
                      1e3 * r.min_us / cases[i].count);
    }
done:
    if (st != DMQ_OK)
        (void)fprintf(stderr, "bench_quant: %s\n", dmq_message());
    for (int i = 0; i < ARRAYS; i++)
        dmq_free(j.x[i]);
    dmq_free(j.code);
    if (j.backend)
        j.backend->queue_destroy(j.queue);
    return dmq_exit_code(st);
}
