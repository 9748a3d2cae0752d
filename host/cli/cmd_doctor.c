/* dmq doctor: what this build and this machine have, and a self-test of each backend */
#include "backend/cuda.h"
#include "backend/self_test.h"
#include "cli/verbs.h"
#include "dist/meet.h"
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

/* Numbers from every rank to every rank, through the memory of the backend. */
static dmq_status test_group(dmq_comm *comm, dmq_queue *queue)
{
    enum { COUNT = 1000 };
    const dmq_backend *be = dmq_comm_backend(comm);
    int rank = dmq_comm_rank(comm), size = dmq_comm_size(comm);
    float part[COUNT], *memory = NULL;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < COUNT; i++)
        part[i] = (float)(rank * COUNT + i);
    DMQ_TRY(be->alloc((void **)&memory, (size_t)size * sizeof part));
    DMQ_TRY(be->upload(queue, memory + (size_t)rank * COUNT, part, sizeof part));
    DMQ_TRY(dmq_comm_all_gather(comm, queue, memory, sizeof part));
    DMQ_TRY(dmq_comm_sync(comm, queue));
    for (int r = 0; r < size; r++) {
        DMQ_TRY(be->download(queue, part, memory + (size_t)r * COUNT, sizeof part));
        DMQ_TRY(be->sync(queue));
        for (int i = 0; i < COUNT; i++) {
            if (part[i] != (float)(r * COUNT + i))
                DMQ_TRY(dmq_fail(DMQ_EDEVICE, "number %d of rank %d is %g", i, r, (double)part[i]));
        }
    }
    DMQ_TRY(dmq_comm_barrier(comm));
done:
    be->free(memory);
    return st;
}

/* Where several ranks were started (srun dmq doctor), whether they find each other. */
static dmq_status examine_group(const dmq_backend *be)
{
    dmq_comm_config config = { .backend = be };
    dmq_comm *comm = NULL;
    dmq_queue *queue = NULL;
    dmq_meet meet;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_meet_environment(&meet));
    if (meet.size == 1)
        return DMQ_OK;
    DMQ_TRY(be->queue_create(&queue, 0));
    DMQ_TRY(dmq_comm_meet(&comm, &meet, NULL, "doctor", &config));
    DMQ_TRY(test_group(comm, queue));
    (void)printf("group    rank %d of %d works (%s, %s)\n", meet.rank, meet.size, meet.by,
                 dmq_comm_way_name(comm));
done:
    if (comm && st != DMQ_OK)
        dmq_comm_fail(comm);
    dmq_comm_destroy(comm);
    be->queue_destroy(queue);
    return st;
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
    if (dmq_backend_open(&be, "auto") == DMQ_OK) {
        dmq_status st;

        (void)printf("auto     %s\n", dmq_backend_auto_reason());
        st = examine_group(be);
        if (st != DMQ_OK)
            return st;
    }
    return failed ? dmq_fail(DMQ_EDEVICE, "doctor: %d self-test(s) failed", failed) : DMQ_OK;
}
