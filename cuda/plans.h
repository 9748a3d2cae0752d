/**
 * A table from shapes to plans: what a library wants to be asked once and told again at every call.
 *
 * A key is a row of whole numbers, a plan the caller's memory. Open addressing, at most two thirds full, doubled beyond that: after the
 * first meeting of each shape, looking up neither allocates nor waits.
 */
#ifndef DMQ_CUDA_PLANS_H
#define DMQ_CUDA_PLANS_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

enum { DMQ_CUDA_KEY = 20 };

typedef struct dmq_cuda_key {
    int64_t word[DMQ_CUDA_KEY]; /* unused ones are zero */
} dmq_cuda_key;

typedef struct dmq_cuda_plan {
    dmq_cuda_key key;
    void *plan; /* NULL: free place */
} dmq_cuda_plan;

/** Starts as zeros. */
typedef struct dmq_cuda_plans {
    dmq_cuda_plan *place;
    size_t room, count;
} dmq_cuda_plans;

/** The plan of a key; NULL when there is none. */
void *dmq_cuda_plans_find(const dmq_cuda_plans *plans, const dmq_cuda_key *key);

/** Add a plan, which stays the caller's to free; the key is not there yet. */
dmq_status dmq_cuda_plans_add(dmq_cuda_plans *plans, const dmq_cuda_key *key, void *plan);

/** Hand each plan to `destroy` and forget them. */
void dmq_cuda_plans_release(dmq_cuda_plans *plans, void (*destroy)(void *plan));

#endif
