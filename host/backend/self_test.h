/**
 * A self-test of a backend: some operations of every family once, against the reference, on shapes that are
 * no multiples of anything. Seconds at most; the tests of the operations are tests/ops.
 */
#ifndef DMQ_BACKEND_SELF_TEST_H
#define DMQ_BACKEND_SELF_TEST_H

#include "backend/backend.h"

typedef struct dmq_self_test {
    int ran, failed, absent; /* operations; absent: the backend has no kernel for it */
    double worst;      /* difference over the largest value of the result, of those that ran */
    char worst_of[32]; /* its operation */
    char message[512]; /* of the first failure; "" */
    char missing[256]; /* names of the absent ones */
} dmq_self_test;

/** An operation fails beyond this difference: far above rounding, Winograd and TF32, far below a wrong term. */
#define DMQ_SELF_TEST_LIMIT 4e-3

/** Test it; a status only where the test itself cannot run (no queue, no memory). */
dmq_status dmq_backend_self_test(dmq_self_test *out, const dmq_backend *backend);

#endif
