/**
 * Benches: the same measurement for all of them.
 *
 * A case is one call, repeated after a warm-up, each time on flushed caches if asked; first its result
 * is compared with the reference by the caller. One line a case on stdout, separated by tabs:
 *
 *   op backend shape dtype reps median_us min_us GB/s GFLOP/s share_of_roof worst_error
 *
 * GB/s, GFLOP/s and the share are those of the best repeat: others share the machine. With --clock cpu
 * the time in which the system ran others does not count. The roof is the larger of flop over the
 * measured FMA peak and bytes over the measured bandwidth; a share above 1 is possible where an
 * algorithm needs fewer operations than the definition (Winograd).
 */
#ifndef DMQ_BENCH_BENCH_H
#define DMQ_BENCH_BENCH_H

#include "base/status.h"

#include <stddef.h>

/** Fused multiply-adds of one thread in GFLOP/s (2 an addition and multiplication): best of some ms. */
double bench_fma_gflops(void);

/** Bytes read a second of one thread in GB/s over an array of that size. */
double bench_read_gbs(size_t bytes);

/** Both, for as many threads at once; sums over the threads. */
double bench_fma_gflops_threads(int threads);
double bench_read_gbs_threads(size_t bytes_each, int threads);

typedef dmq_status bench_fn(void *context);

typedef struct bench_case {
    const char *op, *backend, *shape, *dtype;
    bench_fn *run;
    void *context;
    double flop, bytes; /* of one run; 0: not told */
    double roof_gflops; /* 0: no share */
    double roof_gbs;    /* 0: memory is no limit */
    double worst_error; /* as compared by the caller; negative: not compared */
    int reps;           /* at least; continued until min_ms have passed */
    double min_ms;
    int calls;     /* of the operation in one run: times are of one call; 0: 1 */
    int flush;     /* 1: caches are overwritten before each repeat */
    int cpu_clock; /* 1: CPU seconds of the process, where others use the cores; one thread */
} bench_case;

typedef struct bench_result {
    int reps;
    double median_us, min_us;
} bench_result;

void bench_header(void);

/** The line of a case that was measured in another way. */
void bench_print(const bench_case *c, const bench_result *r);

/** Measure, print the line, and fill result (optional). */
dmq_status bench_measure(bench_result *result, const bench_case *c);

/** |a - b| / |b| in the 2-norm; 0/0 is 0. */
double bench_error(const float *a, const float *b, size_t count);

/** Normally distributed, never zeros, the same for the same seed. */
void bench_fill(float *x, size_t count, unsigned seed);

/** A line of bench/shapes/FILE.txt that starts with op: its name and numbers; 0 at the end. */
typedef struct bench_shapes bench_shapes;
dmq_status bench_shapes_open(bench_shapes **out, const char *path);
int bench_shapes_next(bench_shapes *shapes, const char *op, char name[64], int *number, int count);
void bench_shapes_close(bench_shapes *shapes);

/** Value of "--name VALUE" among the arguments, or what is given. */
const char *bench_option(int argc, char **argv, const char *name, const char *otherwise);

#endif
