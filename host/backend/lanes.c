#include "backend/lanes.h"

#include "base/memory.h"

#include <assert.h>
#include <limits.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdio.h>

struct dmq_lanes {
    const dmq_backend *backend;
    int count;
    dmq_queue **queue; /* (count) */
};

/* What the threads of one run share. */
typedef struct run {
    atomic_int next;   /* the piece to hand out */
    atomic_int failed; /* 1: hand out no more */
    int failed_piece;  /* smallest so far; this and the next two under the lock "dmq_lanes" */
    dmq_status status;
    char message[4096];
} run;

dmq_status dmq_lanes_create(dmq_lanes **out, const dmq_backend *backend, int count)
{
    dmq_status st = DMQ_OK;
    dmq_lanes *lanes = NULL;

    assert(count >= 0);
    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&lanes, 1, sizeof *lanes));
    lanes->backend = backend;
    /* Outside of parallel regions this is OMP_NUM_THREADS, or the cores that this process may use. */
    lanes->count = count > 0 ? count : omp_get_max_threads();
    DMQ_TRY(dmq_alloc((void **)&lanes->queue, (size_t)lanes->count, sizeof(dmq_queue *)));
    for (int i = 0; i < lanes->count; i++)
        DMQ_TRY(backend->queue_create(&lanes->queue[i], i));
    *out = lanes;
    lanes = NULL;
done:
    dmq_lanes_destroy(lanes);
    return st;
}

void dmq_lanes_destroy(dmq_lanes *lanes)
{
    if (!lanes)
        return;
    for (int i = 0; lanes->queue && i < lanes->count; i++)
        lanes->backend->queue_destroy(lanes->queue[i]);
    dmq_free(lanes->queue);
    dmq_free(lanes);
}

int dmq_lanes_count(const dmq_lanes *lanes)
{
    return lanes->count;
}

const dmq_backend *dmq_lanes_backend(const dmq_lanes *lanes)
{
    return lanes->backend;
}

dmq_queue *dmq_lanes_queue(const dmq_lanes *lanes, int lane)
{
    assert(lane >= 0 && lane < lanes->count);
    return lanes->queue[lane];
}

static void note_failure(run *r, int piece, dmq_status status)
{
#pragma omp critical(dmq_lanes)
    {
        if (piece < r->failed_piece) {
            r->failed_piece = piece;
            r->status = status;
            (void)snprintf(r->message, sizeof r->message, "%s", dmq_message());
        }
    }
    atomic_store(&r->failed, 1);
}

/*
 * A piece that was handed out is run to its end. All pieces below a failed one were handed out before
 * it, so the smallest failure is found whatever the threads' order.
 */
static void work(run *r, const dmq_lanes *lanes, int n_pieces, dmq_piece_fn *fn, void *context)
{
    int lane = omp_get_thread_num();

    while (!atomic_load(&r->failed)) {
        int piece = atomic_fetch_add(&r->next, 1);
        dmq_status st;

        if (piece >= n_pieces)
            return;
        st = fn(context, piece, lane, lanes->queue[lane]);
        if (st != DMQ_OK)
            note_failure(r, piece, st);
    }
}

dmq_status dmq_lanes_run(dmq_lanes *lanes, int n_pieces, dmq_piece_fn *fn, void *context)
{
    run r = { .failed_piece = INT_MAX, .status = DMQ_OK };

    atomic_init(&r.next, 0);
    atomic_init(&r.failed, 0);
    /* The setting ends with the region: libraries that a piece calls open no threads of their own. */
#pragma omp parallel num_threads(lanes->count)
    {
        omp_set_num_threads(1);
        work(&r, lanes, n_pieces, fn, context);
    }
    if (r.status != DMQ_OK)
        dmq_message_set(r.message);
    return r.status;
}
