/**
 * What a call of a slot costs, by its arguments alone: each number that it reads or writes once, and the
 * operations of convolutions and matrix products (2 a multiplication and addition). Of other slots memory is
 * the limit, so that their arithmetic is not counted.
 */
#ifndef DMQ_BENCH_COUNT_H
#define DMQ_BENCH_COUNT_H

#include "backend/backend.h"

/** Numbers of the slots, in the order of the table of backends. */
#define BENCH_SLOT_NUMBER(slot, args) BENCH_##slot,
enum { DMQ_BACKEND_OPS(BENCH_SLOT_NUMBER) BENCH_SLOTS };
#undef BENCH_SLOT_NUMBER

typedef struct bench_cost {
    double bytes, flop;
} bench_cost;

/** args: of the slot. Of slots that prepare a run and are none of its passes: zeros. */
bench_cost bench_cost_of(int slot, const void *args);

#endif
