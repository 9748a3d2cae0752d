#include "backend/lanes.h"

#include "base/clock.h"
#include "base/memory.h"

#include <assert.h>
#include <limits.h>
#include <omp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* How long a thread without work looks for some before it sleeps: longer than what a caller does between
   two runs of an iteration, and far shorter than a scheduler's slice. OpenMP's own threads spin for a
   millisecond and more, which on a machine with other work costs several times the work itself. */
#define SPIN_SECONDS 30e-6

typedef struct dmq_lane {
    dmq_lanes *lanes;
    dmq_queue *queue;
    pthread_t thread; /* of all lanes but the first, which is the caller's */
    int started;
} dmq_lane;

/* What the threads of one run share. */
typedef struct run {
    atomic_int next;   /* the piece to hand out */
    atomic_int failed; /* 1: hand out no more */
    int n_pieces;
    dmq_piece_fn *fn;
    void *context;
    int failed_piece; /* smallest so far; this and the next two under the lock */
    dmq_status status;
    char message[4096];
} run;

struct dmq_lanes {
    const dmq_backend *backend;
    int count;
    dmq_lane *lane; /* (count) */
    pthread_mutex_t lock;
    pthread_cond_t begin, end;
    run *run; /* these two are written before round grows */
    int quit;
    atomic_uint round; /* grows by one when there is work; under the lock, for those who sleep */
    atomic_int busy;   /* threads that have not ended it */
    int recording;     /* dmq_lanes_run does not wait */
};

static void note_failure(dmq_lanes *lanes, int piece, dmq_status status)
{
    run *r = lanes->run;

    (void)pthread_mutex_lock(&lanes->lock);
    if (piece < r->failed_piece) {
        r->failed_piece = piece;
        r->status = status;
        (void)snprintf(r->message, sizeof r->message, "%s", dmq_message());
    }
    (void)pthread_mutex_unlock(&lanes->lock);
    atomic_store(&r->failed, 1);
}

/*
 * A piece that was handed out is run to its end. All pieces below a failed one were handed out before
 * it, so the smallest failure is found whatever the threads' order.
 */
static void work(dmq_lanes *lanes, int i)
{
    run *r = lanes->run;
    dmq_status st;

    while (!atomic_load(&r->failed)) {
        int piece = atomic_fetch_add(&r->next, 1);

        if (piece >= r->n_pieces)
            break;
        st = r->fn(r->context, piece, i, lanes->lane[i].queue);
        if (st != DMQ_OK)
            note_failure(lanes, piece, st);
    }
    st = lanes->recording ? DMQ_OK : lanes->backend->sync(lanes->lane[i].queue);
    if (st != DMQ_OK)
        note_failure(lanes, r->n_pieces, st); /* behind all that a piece has to say */
}

/* ------------------------------------------------------------------ threads */

static void await_round(dmq_lanes *lanes, unsigned seen)
{
    double start = dmq_clock_seconds();

    while (atomic_load(&lanes->round) == seen) {
        if (dmq_clock_seconds() - start > SPIN_SECONDS)
            break;
    }
    (void)pthread_mutex_lock(&lanes->lock);
    while (atomic_load(&lanes->round) == seen)
        (void)pthread_cond_wait(&lanes->begin, &lanes->lock);
    (void)pthread_mutex_unlock(&lanes->lock);
}

static void *serve(void *context)
{
    dmq_lane *l = context;
    dmq_lanes *lanes = l->lanes;

    omp_set_num_threads(1); /* libraries that a piece calls open no threads of their own */
    for (unsigned seen = 0;; seen++) {
        await_round(lanes, seen);
        if (lanes->quit)
            return NULL;
        work(lanes, (int)(l - lanes->lane));
        if (atomic_fetch_sub(&lanes->busy, 1) == 1) {
            (void)pthread_mutex_lock(&lanes->lock);
            (void)pthread_cond_signal(&lanes->end);
            (void)pthread_mutex_unlock(&lanes->lock);
        }
    }
}

static void begin_round(dmq_lanes *lanes)
{
    (void)pthread_mutex_lock(&lanes->lock);
    (void)atomic_fetch_add(&lanes->round, 1);
    (void)pthread_cond_broadcast(&lanes->begin);
    (void)pthread_mutex_unlock(&lanes->lock);
}

static void await_end(dmq_lanes *lanes)
{
    double start = dmq_clock_seconds();

    while (atomic_load(&lanes->busy) > 0) {
        if (dmq_clock_seconds() - start > SPIN_SECONDS)
            break;
    }
    (void)pthread_mutex_lock(&lanes->lock);
    while (atomic_load(&lanes->busy) > 0)
        (void)pthread_cond_wait(&lanes->end, &lanes->lock);
    (void)pthread_mutex_unlock(&lanes->lock);
}

static dmq_status start_threads(dmq_lanes *lanes)
{
    for (int i = 1; i < lanes->count; i++) {
        dmq_lane *l = &lanes->lane[i];
        int error;

        l->lanes = lanes;
        error = pthread_create(&l->thread, NULL, serve, l);
        if (error) {
            return dmq_fail(DMQ_ENOMEM, "thread %d of %d does not start: %s", i + 1, lanes->count,
                            strerror(error));
        }
        l->started = 1;
    }
    return DMQ_OK;
}

static void stop_threads(dmq_lanes *lanes)
{
    lanes->quit = 1;
    begin_round(lanes);
    for (int i = 1; i < lanes->count; i++) {
        if (lanes->lane[i].started)
            (void)pthread_join(lanes->lane[i].thread, NULL);
    }
}

/* ------------------------------------------------------------------ lanes */

dmq_status dmq_lanes_create(dmq_lanes **out, const dmq_backend *backend, int count)
{
    dmq_status st = DMQ_OK;
    dmq_lanes *lanes = NULL;

    assert(count >= 0);
    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&lanes, 1, sizeof *lanes));
    lanes->backend = backend;
    /* OMP_NUM_THREADS, or the cores that this process may use */
    lanes->count = count > 0 ? count : backend->host_memory ? omp_get_max_threads() : 1;
    (void)pthread_mutex_init(&lanes->lock, NULL); /* these three cannot fail on Linux */
    (void)pthread_cond_init(&lanes->begin, NULL);
    (void)pthread_cond_init(&lanes->end, NULL);
    DMQ_TRY(dmq_alloc((void **)&lanes->lane, (size_t)lanes->count, sizeof *lanes->lane));
    for (int i = 0; i < lanes->count; i++)
        DMQ_TRY(backend->queue_create(&lanes->lane[i].queue, i));
    DMQ_TRY(start_threads(lanes));
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
    if (lanes->lane)
        stop_threads(lanes);
    for (int i = 0; lanes->lane && i < lanes->count; i++)
        lanes->backend->queue_destroy(lanes->lane[i].queue);
    (void)pthread_mutex_destroy(&lanes->lock);
    (void)pthread_cond_destroy(&lanes->begin);
    (void)pthread_cond_destroy(&lanes->end);
    dmq_free(lanes->lane);
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
    return lanes->lane[lane].queue;
}

void dmq_lanes_record(dmq_lanes *lanes, int on)
{
    assert(!on || lanes->count == 1);
    lanes->recording = on;
}

dmq_status dmq_lanes_run(dmq_lanes *lanes, int n_pieces, dmq_piece_fn *fn, void *context)
{
    run r = { .n_pieces = n_pieces,
              .fn = fn,
              .context = context,
              .failed_piece = INT_MAX,
              .status = DMQ_OK };
    int others = lanes->count > 1 && n_pieces > 1, threads = omp_get_max_threads();

    atomic_init(&r.next, 0);
    atomic_init(&r.failed, 0);
    lanes->run = &r;
    if (others) {
        atomic_store(&lanes->busy, lanes->count - 1);
        begin_round(lanes);
    }
    omp_set_num_threads(1);
    work(lanes, 0);
    omp_set_num_threads(threads);
    if (others)
        await_end(lanes);
    lanes->run = NULL;
    if (r.status != DMQ_OK)
        dmq_message_set(r.message);
    return r.status;
}
