/**
 * Where the time of a bench goes: a backend that passes every call on to another and adds up the CPU
 * time of its slots, and what they would cost (count.h). CPU time of the calling thread, so other processes
 * disturb it little.
 *
 *   be = bench_profile_backend(dmq_backend_cpu());
 *   ... run ...
 *   bench_profile_reset();
 *   ... run 20 times ...
 *   bench_profile_print("128@32", 20);      stderr: slot, calls and us a run, share; the rest of the process
 */
#ifndef DMQ_BENCH_PROFILE_H
#define DMQ_BENCH_PROFILE_H

#include "backend/backend.h"

/** One backend at a time: there is one set of counters in the process. */
const dmq_backend *bench_profile_backend(const dmq_backend *be);

void bench_profile_reset(void);
void bench_profile_print(const char *what, int runs);

/**
 * A device to count for: what runs on the backend is recorded as for one with shards of that size and memory
 * of its own.
 */
typedef struct bench_roofs {
    int shard;        /* samples; 0: the backend as it is */
    double gbs;       /* GB/s */
    double tflops;    /* TFLOP/s */
    double launch_us; /* a call takes at least as long */
} bench_roofs;

const dmq_backend *bench_count_backend(const dmq_backend *be, const bench_roofs *roofs);

/** stdout: a line for each slot called and one of all, by tabs: shape slot calls MB GFLOP floor_us launched_us, where
    the floor of a call is the larger time of its bytes and operations, and launched_us counts the launch too. */
void bench_count_header(void);
void bench_count_print(const char *shape, int runs);

#endif
