/* Options, lanes, and the way of one case. */
#include "setup.h"
#include "profile.h"

#include "backend/cuda.h"
#include "base/clock.h"
#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One lane, so that calls are in one order; the benches see the device that is counted for. */
static dmq_status count_instead(bench_setup *s, int argc, char **argv)
{
    bench_roofs roofs = { .shard = atoi(bench_option(argc, argv, "--shard", "0")),
                          .gbs = atof(bench_option(argc, argv, "--gbs", "4300")),
                          .tflops = atof(bench_option(argc, argv, "--tflops", "396")),
                          .launch_us = atof(bench_option(argc, argv, "--launch", "2.5")) };

    s->be = bench_count_backend(s->be, &roofs);
    s->threads = 1;
    s->check = s->profile = 0;
    bench_count_header();
    return dmq_lanes_create(&s->lanes, s->be, 1);
}

dmq_status bench_setup_open(bench_setup *s, const char *program, int argc, char **argv)
{
    const dmq_backend *be = NULL;
    const char *threads = bench_option(argc, argv, "--threads", NULL);
    dmq_status st = DMQ_OK;

    *s =
        (bench_setup){ .program = program,
                       .only = bench_option(argc, argv, "--only", ""),
                       .precision = bench_option(argc, argv, "--precision", "fp32"),
                       .reps = atoi(bench_option(argc, argv, "--reps", "20")),
                       .check = atoi(bench_option(argc, argv, "--check", "1")),
                       .profile = atoi(bench_option(argc, argv, "--profile", "0")),
                       .count = atoi(bench_option(argc, argv, "--count", "0")),
                       .cpu_clock = strcmp(bench_option(argc, argv, "--clock", "wall"), "cpu") == 0,
                       .min_ms = atof(bench_option(argc, argv, "--ms", "200")) };
    DMQ_TRY(dmq_backend_open(&be, bench_option(argc, argv, "--backend", "cpu")));
    s->be = be;
    s->threads = threads ? atoi(threads) : be->host_memory ? 2 : 1;
    if (strcmp(s->precision, "fp32") != 0) {
        DMQ_TRY(dmq_backend_precision(be, strcmp(s->precision, "tf32") == 0 ? DMQ_TF32 : DMQ_FP16));
    }
    if (s->count)
        return count_instead(s, argc, argv);
    if (be->host_memory)
        s->roof_gflops = bench_fma_gflops_threads(s->threads);
    if (s->profile)
        be = bench_profile_backend(be);
    DMQ_TRY(dmq_lanes_create(&s->lanes, be, s->threads));
    bench_header();
done:
    return st;
}

int bench_setup_close(bench_setup *s, dmq_status st)
{
    dmq_lanes_destroy(s->lanes);
    if (st == DMQ_ENOTSUP)
        (void)fprintf(stderr, "skipped: %s\n", dmq_message());
    else if (st != DMQ_OK)
        (void)fprintf(stderr, "%s: %s\n", s->program, dmq_message());
    return st == DMQ_ENOTSUP ? 77 : dmq_exit_code(st);
}

int bench_setup_wants(const bench_setup *s, const char *shape)
{
    return strstr(shape, s->only) != NULL;
}

bench_case bench_setup_case(const bench_setup *s, const char *op, const char *shape, bench_fn *run,
                            void *context)
{
    return (bench_case){ .op = op,
                         .backend = s->be->name,
                         .shape = shape,
                         .dtype = strcmp(s->precision, "fp32") == 0 ? "f32" : s->precision,
                         .run = run,
                         .context = context,
                         .roof_gflops = s->roof_gflops,
                         .worst_error = -1,
                         .cpu_clock = s->cpu_clock,
                         .reps = s->reps,
                         .min_ms = s->min_ms };
}

dmq_status bench_setup_within(const bench_setup *s, const bench_case *c, double limit)
{
    if (c->worst_error < limit || (strcmp(s->precision, "fp32") != 0 && isfinite(c->worst_error)))
        return DMQ_OK;
    return dmq_fail(DMQ_EDIVERGE, "%s: off the reference by %.1e", c->shape, c->worst_error);
}

const dmq_backend *bench_setup_judge(const bench_setup *s)
{
    return s->be->host_memory ? dmq_backend_ref() : dmq_backend_cpu();
}

/* 64 MiB read and 64 written: some 30 us of a device, of which launching it takes a tenth. */
enum { BUSY_COUNT = 1 << 24, QUEUED_REPS = 9 };

/* Seconds until the queue is idle, having been asked for `busy` copies and, with c, for its work. */
static dmq_status queued_once(double *seconds, const bench_setup *s, dmq_real *busy_memory,
                              int busy, const bench_case *c, bench_fn *prepare, double *asked)
{
    dmq_queue *queue = dmq_lanes_queue(s->lanes, 0);
    dmq_axpby_args a = {
        .x = busy_memory, .y = busy_memory + BUSY_COUNT, .alpha = 1, .beta = 0, .count = BUSY_COUNT
    };
    dmq_status st = DMQ_OK;
    double begin, ask;

    if (c && prepare)
        DMQ_TRY(prepare(c->context));
    DMQ_TRY(s->be->sync(queue));
    begin = dmq_clock_seconds();
    for (int i = 0; i < busy; i++)
        DMQ_TRY(s->be->axpby(queue, &a));
    ask = dmq_clock_seconds();
    if (c)
        DMQ_TRY(c->run(c->context));
    if (asked)
        *asked = dmq_clock_seconds() - ask;
    DMQ_TRY(s->be->sync(queue));
    *seconds = dmq_clock_seconds() - begin;
done:
    return st;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

dmq_status bench_setup_queued(bench_result *result, const bench_setup *s, const bench_case *c,
                              bench_fn *prepare)
{
    dmq_queue *queue = dmq_lanes_queue(s->lanes, 0);
    double with, alone, asked, us[QUEUED_REPS];
    bench_result r = { .reps = QUEUED_REPS };
    dmq_real *memory = NULL;
    dmq_status st = DMQ_OK;
    int busy;

    if (!s->be->capture_begin || s->count)
        return DMQ_OK;
    DMQ_TRY(s->be->alloc((void **)&memory, 2 * (size_t)BUSY_COUNT * sizeof *memory));
    DMQ_TRY(s->be->fill(queue, &(dmq_fill_args){ memory, 2 * (size_t)BUSY_COUNT, 1 }));
    DMQ_TRY(queued_once(&with, s, memory, 1, c, prepare, &asked));
    DMQ_TRY(queued_once(&with, s, memory, 1, c, prepare, &asked)); /* graphs are made by now */
    DMQ_TRY(queued_once(&alone, s, memory, 20, NULL, NULL, NULL));
    busy = (int)(2 * asked / (alone / 20)) + 20;
    for (int i = 0; i < QUEUED_REPS; i++) {
        DMQ_TRY(queued_once(&alone, s, memory, busy, NULL, NULL, NULL));
        DMQ_TRY(queued_once(&with, s, memory, busy, c, prepare, NULL));
        us[i] = (with - alone) * 1e6 / (c->calls > 0 ? c->calls : 1);
    }
    qsort(us, QUEUED_REPS, sizeof *us, ascending);
    r.median_us = us[QUEUED_REPS / 2];
    r.min_us = us[0];
    bench_print(c, &r);
    if (result)
        *result = r;
done:
    s->be->free(memory);
    return st;
}

dmq_status bench_setup_measure(bench_result *result, const bench_setup *s, const bench_case *c)
{
    dmq_status st = DMQ_OK;

    if (s->count) {
        if (result)
            *result = (bench_result){ 0 };
        DMQ_TRY(c->run(c->context)); /* what is made once is made here */
        bench_profile_reset();
        DMQ_TRY(c->run(c->context));
        bench_count_print(c->shape, c->calls > 0 ? c->calls : 1);
        goto done;
    }
    DMQ_TRY(bench_measure(result, c));
    if (s->profile) {
        bench_profile_reset();
        for (int i = 0; i < result->reps; i++)
            DMQ_TRY(c->run(c->context));
        bench_profile_print(c->shape, result->reps);
    }
done:
    return st;
}
