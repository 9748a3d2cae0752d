/**
 * Ranks that are threads of one process, each with queues of its own: parts are copied from memory to memory.
 *
 *   dmq_threads_create(&threads, 4, 30);
 *   each thread:  dmq_threads_join(&comm, threads, rank, &config); ... dmq_comm_destroy(comm);
 *   then          dmq_threads_destroy(threads);
 */
#ifndef DMQ_DIST_THREADS_H
#define DMQ_DIST_THREADS_H

#include "dist/comm.h"

typedef struct dmq_threads dmq_threads;

/** seconds: limit of a call, of all ranks; 0: as dmq_comm_config has it. */
dmq_status dmq_threads_create(dmq_threads **out, int size, double seconds);

/** When every rank that joined has left. Takes NULL. */
void dmq_threads_destroy(dmq_threads *threads);

/** One thread a rank; returns when all have joined. config->seconds is not looked at. */
dmq_status dmq_threads_join(dmq_comm **out, dmq_threads *threads, int rank,
                            const dmq_comm_config *config);

#endif
