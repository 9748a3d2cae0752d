/* Options, lanes, and the way of one case. */
#include "setup.h"
#include "profile.h"

#include "backend/cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
                       .cpu_clock = strcmp(bench_option(argc, argv, "--clock", "wall"), "cpu") == 0,
                       .min_ms = atof(bench_option(argc, argv, "--ms", "200")) };
    DMQ_TRY(dmq_backend_open(&be, bench_option(argc, argv, "--backend", "cpu")));
    s->be = be;
    s->threads = threads ? atoi(threads) : be->host_memory ? 2 : 1;
    if (strcmp(s->precision, "fp32") != 0) {
        DMQ_TRY(dmq_backend_precision(be, strcmp(s->precision, "tf32") == 0 ? DMQ_TF32 : DMQ_FP16));
    }
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
    if (c->worst_error < (strcmp(s->precision, "fp32") == 0 ? limit : 30 * limit))
        return DMQ_OK;
    return dmq_fail(DMQ_EDIVERGE, "%s: off the reference by %.1e", c->shape, c->worst_error);
}

dmq_status bench_setup_measure(bench_result *result, const bench_setup *s, const bench_case *c)
{
    dmq_status st = DMQ_OK;

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
