/**
 * What the benches of a whole computation share: their options, the lanes of the backend, and the way
 * of one case: check, measure, profile.
 *
 *   --backend cpu, cuda, ...                   --precision fp32|tf32 of a device
 *   --threads 2   lanes (a device: 1)          --check 1      compare with the reference backend first
 *   --only TEXT   shapes that contain it       --profile 0    then tell the time of each operation
 *   --reps 20  --ms 200  --clock wall|cpu      as in bench_case
 *   --count 1     measure nothing, but say what one run asks of the backend, slot by slot (profile.h):
 *   --shard 32    of a device that takes so many samples at once; 0: of the backend as it is
 *   --gbs 4300  --tflops 396  --launch 2.5     memory, TF32 and a launch of an H200 (floors)
 */
#ifndef DMQ_BENCH_SETUP_H
#define DMQ_BENCH_SETUP_H

#include "bench.h"

#include "backend/lanes.h"

typedef struct bench_setup {
    const char *program, *only, *precision;
    const dmq_backend *be;
    int threads, reps, check, profile, cpu_clock, count;
    double min_ms;
    double roof_gflops; /* of all threads; 0: not known */
    dmq_lanes *lanes;
} bench_setup;

/** Read the options, measure the roof, create the lanes, print the header line. */
dmq_status bench_setup_open(bench_setup *s, const char *program, int argc, char **argv);

/** Destroy the lanes, tell what failed, and return the exit code of main: 77 without the backend. */
int bench_setup_close(bench_setup *s, dmq_status st);

/** Whether --only lets this shape through. */
int bench_setup_wants(const bench_setup *s, const char *shape);

/** A case of the backend that is not compared yet; its shape is kept, not copied. */
bench_case bench_setup_case(const bench_setup *s, const char *op, const char *shape, bench_fn *run,
                            void *context);

/** EDIVERGE where the error of the case, set by the caller, is not below the limit, which is that of fp32. With
    operands in other precisions it must be finite, and is told: what it may be has not been measured. */
dmq_status bench_setup_within(const bench_setup *s, const bench_case *c, double limit);

/** What a device's results are compared with: cpu, which takes seconds where ref would take minutes; for a
    backend on the host's memory ref. */
const dmq_backend *bench_setup_judge(const bench_setup *s);

/**
 * Time of the device alone, printed as a case: `run` of it asks for work and does not wait, and is called while
 * the queue is kept busy with something else, so that the host is never what the device waits for.
 *
 *   time = (until all is done) - (until the other work alone is done), median of `reps`
 *
 * prepare  before each call, may wait; NULL: nothing. Does nothing on a backend whose calls compute at once,
 *          nor with --count.
 */
dmq_status bench_setup_queued(bench_result *result, const bench_setup *s, const bench_case *c,
                              bench_fn *prepare);

/** Measure the case; with --profile, run it as often again and tell where its time goes. With --count, run it twice
    and print what the second run asked for; result is then of no time. */
dmq_status bench_setup_measure(bench_result *result, const bench_setup *s, const bench_case *c);

#endif
