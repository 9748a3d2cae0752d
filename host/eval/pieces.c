#include "eval/pieces.h"

#include "backend/cpu.h"

#include <assert.h>
#include <limits.h>
#include <omp.h>
#include <stdio.h>

int dmq_pieces_threads(void)
{
    return omp_in_parallel() ? 1 : omp_get_max_threads();
}

void dmq_pieces_threads_set(int n)
{
    assert(n >= 1);
    omp_set_num_threads(n);
}

dmq_status dmq_pieces_run(int n, dmq_eval_piece *fn, void *context)
{
    dmq_status status = DMQ_OK;
    char message[4096] = "";
    int failed = INT_MAX;

#pragma omp parallel for schedule(dynamic) num_threads(dmq_pieces_threads())
    for (int i = 0; i < n; i++) {
        int threads, before;
        dmq_status st;

#pragma omp atomic read
        before = failed;
        if (before < i)
            continue;
        threads = dmq_cpu_threads_one();
        st = fn(context, i, omp_get_thread_num());
        dmq_cpu_threads_restore(threads);
        if (st == DMQ_OK)
            continue;
#pragma omp critical(dmq_pieces)
        if (i < failed) {
#pragma omp atomic write
            failed = i;
            status = st;
            (void)snprintf(message, sizeof message, "%s", dmq_message());
        }
    }
    if (status != DMQ_OK)
        dmq_message_set(message);
    return status;
}
