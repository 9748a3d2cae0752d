/**
 * Ranks as threads, for tests: each joins a group, does its part and leaves. A part reports by its status and
 * message alone, since cmocka's asserts belong to the main thread.
 */
#ifndef DMQ_TESTS_COMM_RANKS_H
#define DMQ_TESTS_COMM_RANKS_H

#include "base/clock.h"
#include "dist/threads.h"

#include "comm_parts.h"

#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef struct rank_thread {
    rank_place at;
    dmq_threads *threads;
    dmq_comm_config config;
    rank_fn *fn;
    pthread_t thread;
    dmq_status status;
    char message[4096];
    double seconds; /* that it took */
} rank_thread;

static void *rank_main(void *context)
{
    rank_thread *t = context;
    double start = dmq_clock_seconds();
    dmq_status st = t->at.be->queue_create(&t->at.queue, t->at.rank);

    if (st == DMQ_OK)
        st = dmq_threads_join(&t->at.comm, t->threads, t->at.rank, &t->config);
    if (st == DMQ_OK)
        st = t->fn(&t->at);
    t->status = st;
    (void)snprintf(t->message, sizeof t->message, "%s", st == DMQ_OK ? "" : dmq_message());
    dmq_comm_destroy(t->at.comm);
    t->at.be->queue_destroy(t->at.queue);
    t->seconds = dmq_clock_seconds() - start;
    return NULL;
}

/** Run a part on ranks 0..size-1 but for those of which `absent` has a bit; statuses are in rank[]. */
static inline void ranks_run(rank_thread rank[RANKS], int size, const dmq_backend *be,
                             double seconds, rank_fn *fn, void *context, unsigned absent)
{
    dmq_threads *threads = NULL;

    assert_int_equal(dmq_threads_create(&threads, size, seconds), DMQ_OK);
    for (int r = 0; r < size; r++) {
        rank[r] = (rank_thread){ .at = { .be = be, .rank = r, .size = size, .context = context },
                                 .threads = threads,
                                 .config = { .backend = be },
                                 .fn = fn };
        if (!(absent >> r & 1))
            assert_int_equal(pthread_create(&rank[r].thread, NULL, rank_main, &rank[r]), 0);
    }
    for (int r = 0; r < size; r++) {
        if (!(absent >> r & 1))
            (void)pthread_join(rank[r].thread, NULL);
    }
    dmq_threads_destroy(threads);
}

static inline void ranks_all_well(rank_thread rank[RANKS], int size, const dmq_backend *be,
                                  rank_fn *fn, void *context)
{
    ranks_run(rank, size, be, 60, fn, context, 0);
    for (int r = 0; r < size; r++) {
        if (rank[r].status != DMQ_OK)
            fail_msg("rank %d of %d on %s: %s", r, size, be->name, rank[r].message);
    }
}

#endif
