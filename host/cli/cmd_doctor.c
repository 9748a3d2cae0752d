/* dmq doctor: what this build and this machine have, and a self-test of each backend */
#include "backend/cuda.h"
#include "backend/self_test.h"
#include "cli/verbs.h"
#include "io/libraries.h"
#include "run/version.h"

#include <stdio.h>
#include <unistd.h>

/* One line about a backend; 1 when it failed. */
static int examine(const char *name)
{
    const dmq_backend *be = NULL;
    dmq_self_test test;

    if (dmq_backend_open(&be, name) != DMQ_OK) {
        (void)printf("%-8s not here: %s\n", name, dmq_message());
        return 0;
    }
    if (dmq_backend_self_test(&test, be) != DMQ_OK) {
        (void)printf("%-8s FAILED: %s\n", name, dmq_message());
        return 1;
    }
    if (test.failed) {
        (void)printf("%-8s FAILED: %d of %d operations: %s\n", name, test.failed, test.ran,
                     test.message);
    } else {
        (void)printf("%-8s works: %d operations, the worst (%s) is off by %.1e\n", name, test.ran,
                     test.worst_of, test.worst);
    }
    if (test.absent)
        (void)printf("%-8s has no kernel yet for %s\n", "", test.missing);
    return test.failed > 0;
}

dmq_status dmq_cmd_doctor(const dmq_options *o)
{
    static const char *const names[] = { "ref", "check", "cpu", "cuda" };
    const dmq_backend *be = NULL;
    int failed = 0;

    (void)o;
    (void)printf("dmq %s\ncores    %ld\n", dmq_version(), sysconf(_SC_NPROCESSORS_ONLN));
    dmq_libraries_print(stdout);
    dmq_backend_cuda_print(stdout);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        failed += examine(names[i]);
    failed += dmq_backend_cuda_self_test(stdout);
    if (dmq_backend_open(&be, "auto") == DMQ_OK)
        (void)printf("auto     %s\n", dmq_backend_auto_reason());
    return failed ? dmq_fail(DMQ_EDEVICE, "doctor: %d self-test(s) failed", failed) : DMQ_OK;
}
