/* dmq doctor: what this build and this machine have, and a self-test of each backend */
#include "backend/lanes.h"
#include "base/log.h"
#include "base/memory.h"
#include "cli/setup.h"
#include "cli/verbs.h"
#include "io/file.h"
#include "io/libraries.h"
#include "run/version.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A 3x3 convolution of whole numbers, whose sums are exact in any order: every backend must give the same. */
static dmq_status self_test(const dmq_backend *be, double *worst)
{
    enum { N = 2, S = 8, C = 16 };
    static dmq_real x[N * S * S * C], w[C * 9 * C], want[N * S * S * C], got[N * S * S * C];
    dmq_conv2d_args a = { .x = x,
                          .w = w,
                          .n = N,
                          .h = S,
                          .wd = S,
                          .c = C,
                          .k = C,
                          .r = 3,
                          .s = 3,
                          .stride = 1,
                          .pad_top = 1,
                          .pad_left = 1,
                          .ho = S,
                          .wo = S };
    enum { WHOLE = N * S * S * C, ALL = 2 * WHOLE + C * 9 * C };
    dmq_queue *queue = NULL;
    void *memory = NULL;
    dmq_real *device;
    dmq_status st = DMQ_OK;

    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        x[i] = (dmq_real)((int)(i * 7 % 11) - 5);
    for (size_t i = 0; i < sizeof w / sizeof *w; i++)
        w[i] = (dmq_real)((int)(i * 5 % 7) - 3);
    a.y = want;
    DMQ_TRY(dmq_conv2d_forward_ref(NULL, &a));
    DMQ_TRY(be->queue_create(&queue, 0));
    DMQ_TRY(be->alloc(&memory, ALL * sizeof *device));
    device = memory;
    a.x = device;
    a.y = device + WHOLE;
    a.w = device + 2 * WHOLE;
    DMQ_TRY(be->upload(queue, device, x, sizeof x));
    DMQ_TRY(be->upload(queue, device + 2 * WHOLE, w, sizeof w));
    DMQ_TRY(be->conv2d_forward(queue, &a));
    DMQ_TRY(be->download(queue, got, a.y, sizeof got));
    DMQ_TRY(be->sync(queue));
    *worst = 0;
    for (size_t i = 0; i < sizeof got / sizeof *got; i++)
        *worst = fmax(*worst, fabs((double)got[i] - (double)want[i]));
done:
    be->free(memory);
    be->queue_destroy(queue);
    return st;
}

dmq_status dmq_cmd_doctor(const dmq_options *o)
{
    static const char *const names[] = { "ref", "check", "cpu", "cuda" };
    int failed = 0;

    (void)o;
    (void)printf("dmq %s\ncores    %ld\n", dmq_version(), sysconf(_SC_NPROCESSORS_ONLN));
    dmq_libraries_print(stdout);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const dmq_backend *be = NULL;
        double worst = 0;

        if (dmq_backend_open(&be, names[i]) != DMQ_OK) {
            (void)printf("%-8s not here: %s\n", names[i], dmq_message());
            continue;
        }
        if (self_test(be, &worst) != DMQ_OK) {
            (void)printf("%-8s FAILED: %s\n", names[i], dmq_message());
            failed++;
        } else {
            /* Winograd's transforms round: 1e-3 against sums of a few hundred */
            (void)printf("%-8s %s (a convolution of whole numbers is off by %.1e)\n", names[i],
                         worst < 1e-3 ? "works" : "FAILED", worst);
            failed += worst >= 1e-3;
        }
    }
    return failed ? dmq_fail(DMQ_EDEVICE, "doctor: %d self-test(s) failed", failed) : DMQ_OK;
}
