/**
 * Where the time of a bench goes: a backend that passes every call on to another and adds up the CPU
 * time of its slots. CPU time of the calling thread, so other processes disturb it little.
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

#endif
