/**
 * What the tests of whole networks share: a backend by its name, one lane on it, and the file of golden
 * values that PyTorch wrote. Included by the one file of a test.
 */
#ifndef DMQ_TESTS_NETWORK_TEST_H
#define DMQ_TESTS_NETWORK_TEST_H

#include "backend/lanes.h"
#include "base/memory.h"
#include "io/h5.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/** The kernels of the device on the host (simt/backend_simt.h). */
const dmq_backend *dmq_backend_simt(void) __attribute__((weak));

static const dmq_backend *backend;
static dmq_queue *queue;
static dmq_lanes *lanes;
static dmq_h5 *file;

#define OK(call)                                      \
    do {                                              \
        dmq_status status_of_call = (call);           \
        if (status_of_call != DMQ_OK)                 \
            fail_msg("%s: %s", #call, dmq_message()); \
    } while (0)

static dmq_real *reals(size_t n)
{
    void *p = NULL;
    OK(dmq_alloc(&p, n, sizeof(dmq_real)));
    return p;
}

/** The file and one lane, for a set-up of the group. */
static void network_open(const char *path)
{
    OK(dmq_h5_open(&file, path, DMQ_H5_READ));
    OK(dmq_lanes_create(&lanes, backend, 1));
}

static void network_close(void)
{
    dmq_lanes_destroy(lanes);
    dmq_h5_close(file);
}

/** backend and queue by a name; 0, or what main must return: 77 where the machine lacks it. */
static int network_backend(const char *name)
{
    dmq_status st = DMQ_OK;

    if (strcmp(name, "simt") == 0 && dmq_backend_simt) {
        backend = dmq_backend_simt();
    } else {
        st = dmq_backend_open(&backend, name);
    }
    if (st == DMQ_OK)
        st = backend->queue_create(&queue, 0);
    if (st == DMQ_OK)
        return 0;
    fprintf(stderr, "%s%s\n", st == DMQ_ENOTSUP ? "skipped: " : "", dmq_message());
    return st == DMQ_ENOTSUP ? 77 : 1;
}

#endif
