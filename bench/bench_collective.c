/*
 * What ranks of a group move and add: all_gather, broadcast, all_to_all, and the sum in the order of its pieces in
 * both forms, over sizes.
 *
 *   bench_collective [--backend cpu] [--ranks 2] [--only TEXT] [--reps 20] [--most 67108864]
 *                    [--room 0] [--gbs 0] [--check 1]
 *
 * --room is that of a sum (dist/sum.h). --ranks threads of this process, of a host; a device has one, which tells what a call costs. Where a scheduler
 * started several (dist/meet.h) they are the ranks, with one device each: cuda:0, cuda:1, ... by their number on the
 * machine; they meet in DMQ_COMM_FOLDER or at MASTER_ADDR and MASTER_PORT, and rank 0 talks.
 *
 * The shape column is the bytes of the result (all_gather: of all parts), the ranks, and how memory moves. A repeat is
 * CALLS calls and one wait, and its time that of the slowest rank. Two lines a case: GB/s is that of the algorithm, bytes
 * of the result over time; in the line OP/bus it is what each rank must send over time, which does not depend on
 * the number of ranks; --gbs is what a link can do, and the share is of that. The error is against the host's own.
 */
#include "bench.h"

#include "backend/backend.h"
#include "base/clock.h"
#include "base/memory.h"
#include "dist/meet.h"
#include "dist/sum.h"
#include "dist/threads.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS = 5, PIECES = 8, RANKS_MOST = 64, REPS_MOST = 1000, LEAST = 1024 };

typedef struct options {
    const char *backend, *only;
    int ranks, reps, check;
    size_t most, room;
    double gbs;
} options;

typedef struct world {
    const options *o;
    const dmq_backend *be;
    dmq_comm *comm;
    dmq_queue *queue;
    int rank, size;
    float *data, *other;             /* (most) bytes of the backend */
    float *piece[PIECES];            /* of the sums */
    float *host, *want, *piece_host; /* (most) bytes */
    double *us;                      /* (size) */
    dmq_sum *sum;
    int own; /* pieces */
} world;

typedef dmq_status op_fn(world *w, size_t numbers);

/* ------------------------------------------------------------------ the calls */

static dmq_status all_gather(world *w, size_t n)
{
    return dmq_comm_all_gather(w->comm, w->queue, w->data, n / (size_t)w->size * sizeof(float));
}

static dmq_status broadcast(world *w, size_t n)
{
    return dmq_comm_broadcast(w->comm, w->queue, w->data, n * sizeof(float), 0);
}

static dmq_status all_to_all(world *w, size_t n)
{
    return dmq_comm_all_to_all(w->comm, w->queue, w->other, w->data,
                               n / (size_t)w->size * sizeof(float));
}

static dmq_status add(world *w, size_t n)
{
    const dmq_real *row[PIECES];

    (void)n;
    for (int i = 0; i < w->own; i++)
        row[i] = w->piece[i];
    return dmq_sum_run(w->sum, w->queue, w->data, row, 1);
}

typedef enum result_kind { GATHERED, FIRST, TURNED, SUMMED } result_kind;

typedef struct op {
    const char *name;
    op_fn *fn;
    result_kind kind;
    dmq_sum_form form; /* AUTO: no sum */
} op;

static const op ops[] = { { "all_gather", all_gather, GATHERED, DMQ_SUM_AUTO },
                          { "broadcast", broadcast, FIRST, DMQ_SUM_AUTO },
                          { "all_to_all", all_to_all, TURNED, DMQ_SUM_AUTO },
                          { "sum_gather", add, SUMMED, DMQ_SUM_GATHER },
                          { "sum_scatter", add, SUMMED, DMQ_SUM_SCATTER } };

/* ------------------------------------------------------------------ numbers */

static dmq_status up(world *w, float *to, const float *from, size_t n)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(w->be->upload(w->queue, to, from, n * sizeof *from));
    DMQ_TRY(w->be->sync(w->queue));
done:
    return st;
}

/* What this rank begins with, and pieces of a sum: piece k is the same on whatever rank it is. */
static dmq_status fill(world *w, const op *o, size_t n)
{
    dmq_deal deal = { PIECES, w->size, 1, DMQ_DEAL_BLOCKS };
    dmq_status st = DMQ_OK;

    bench_fill(w->host, n, (unsigned)w->rank);
    DMQ_TRY(up(w, w->data, w->host, n));
    for (int i = 0; o->kind == SUMMED && i < w->own; i++) {
        bench_fill(w->host, n, 100 + (unsigned)dmq_deal_item(&deal, w->rank, i));
        DMQ_TRY(up(w, w->piece[i], w->host, n));
    }
done:
    return st;
}

static void expect(world *w, const op *o, size_t n)
{
    size_t part = n / (size_t)w->size;

    memset(w->want, 0, n * sizeof *w->want);
    for (int k = 0; k < (o->kind == SUMMED ? PIECES : w->size); k++) {
        size_t to = (size_t)k * part, from = o->kind == TURNED ? (size_t)w->rank * part : to;

        bench_fill(w->piece_host, n, o->kind == SUMMED ? 100 + (unsigned)k : (unsigned)k);
        for (size_t i = 0; o->kind == SUMMED && i < n; i++)
            w->want[i] += w->piece_host[i];
        if (o->kind == FIRST && k == 0)
            memcpy(w->want, w->piece_host, n * sizeof *w->want);
        if (o->kind == GATHERED || o->kind == TURNED)
            memcpy(w->want + to, w->piece_host + from, part * sizeof *w->want);
    }
}

/* Of the rank that is worst. */
static dmq_status compare(double *error, world *w, const op *o, size_t n)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(fill(w, o, n));
    DMQ_TRY(o->fn(w, n));
    DMQ_TRY(dmq_comm_sync(w->comm, w->queue));
    DMQ_TRY(w->be->download(w->queue, w->host, o->kind == TURNED ? w->other : w->data,
                            n * sizeof *w->host));
    DMQ_TRY(w->be->sync(w->queue));
    expect(w, o, n);
    w->us[w->rank] = bench_error(w->host, w->want, n);
    DMQ_TRY(dmq_comm_exchange(w->comm, w->us, sizeof *w->us));
    *error = 0;
    for (int r = 0; r < w->size; r++)
        *error = w->us[r] > *error ? w->us[r] : *error;
done:
    return st;
}

/* ------------------------------------------------------------------ time */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Of the slowest rank. */
static dmq_status once(double *us, world *w, const op *o, size_t n)
{
    double start;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_comm_barrier(w->comm));
    start = dmq_clock_seconds();
    for (int i = 0; i < CALLS; i++)
        DMQ_TRY(o->fn(w, n));
    DMQ_TRY(dmq_comm_sync(w->comm, w->queue));
    w->us[w->rank] = (dmq_clock_seconds() - start) * 1e6 / CALLS;
    DMQ_TRY(dmq_comm_exchange(w->comm, w->us, sizeof *w->us));
    *us = 0;
    for (int r = 0; r < w->size; r++)
        *us = w->us[r] > *us ? w->us[r] : *us;
done:
    return st;
}

/* Bytes that each rank must send, where none sends for another. */
static double sent(const world *w, const op *o, size_t n)
{
    dmq_sum_plan plan;

    if (o->kind == SUMMED) {
        dmq_sum_tell(&plan, w->sum);
        return plan.sent_bytes;
    }
    return o->kind == FIRST ? (w->size > 1) * (double)n * sizeof(float)
                            : (double)n * sizeof(float) * (w->size - 1) / w->size;
}

static dmq_status measure(world *w, const op *o, size_t n)
{
    static const char *const units[] = { "B", "KiB", "MiB" };
    double us[REPS_MOST], error = -1, shown = (double)n * sizeof(float);
    char shape[96], bus[64];
    dmq_sum_config config = { .deal = { PIECES, w->size, 1, DMQ_DEAL_BLOCKS },
                              .count = n,
                              .room_bytes = w->o->room,
                              .form = o->form };
    bench_result r = { .reps = w->o->reps };
    bench_case c = { .op = o->name, .backend = w->be->name, .shape = shape, .dtype = "f32" };
    dmq_status st = DMQ_OK;
    int unit = 0;

    if (o->kind == SUMMED)
        DMQ_TRY(dmq_sum_create(&w->sum, w->comm, &config));
    if (w->o->check)
        DMQ_TRY(compare(&error, w, o, n));
    for (int i = -2; i < r.reps; i++)
        DMQ_TRY(once(&us[i < 0 ? 0 : i], w, o, n));
    if (w->rank > 0)
        goto done;
    qsort(us, (size_t)r.reps, sizeof *us, ascending);
    r.median_us = us[r.reps / 2];
    r.min_us = us[0];
    for (; shown >= 1024 && unit < 2; unit++)
        shown /= 1024;
    (void)snprintf(shape, sizeof shape, "%g%s/%d/%s", shown, units[unit], w->size,
                   dmq_comm_way_name(w->comm));
    (void)snprintf(bus, sizeof bus, "%s/bus", o->name);
    c.bytes = (double)n * sizeof(float);
    c.worst_error = error;
    bench_print(&c, &r);
    c.op = bus;
    c.bytes = sent(w, o, n);
    c.roof_gbs = w->o->gbs;
    bench_print(&c, &r);
done:
    dmq_sum_destroy(w->sum);
    w->sum = NULL;
    return st;
}

/* ------------------------------------------------------------------ ranks */

static dmq_status open_world(world *w)
{
    size_t bytes = w->o->most;
    dmq_deal deal = { PIECES, w->size, 1, DMQ_DEAL_BLOCKS };
    dmq_status st = DMQ_OK;

    w->own = dmq_deal_count(&deal, w->rank);
    DMQ_TRY(w->be->alloc((void **)&w->data, bytes));
    DMQ_TRY(w->be->alloc((void **)&w->other, bytes));
    for (int i = 0; i < w->own; i++)
        DMQ_TRY(w->be->alloc((void **)&w->piece[i], bytes));
    DMQ_TRY(dmq_alloc((void **)&w->host, bytes, 1));
    DMQ_TRY(dmq_alloc((void **)&w->want, bytes, 1));
    DMQ_TRY(dmq_alloc((void **)&w->piece_host, bytes, 1));
    DMQ_TRY(dmq_alloc((void **)&w->us, (size_t)w->size, sizeof *w->us));
done:
    return st;
}

static void close_world(world *w)
{
    w->be->free(w->data);
    w->be->free(w->other);
    for (int i = 0; i < PIECES; i++)
        w->be->free(w->piece[i]);
    dmq_free(w->host);
    dmq_free(w->want);
    dmq_free(w->piece_host);
    dmq_free(w->us);
    dmq_comm_destroy(w->comm);
    w->be->queue_destroy(w->queue);
}

static dmq_status run_world(world *w)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(open_world(w));
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
        for (size_t bytes = LEAST; bytes <= w->o->most; bytes *= 8) {
            size_t n = bytes / sizeof(float) / (size_t)w->size * (size_t)w->size;

            if (strstr(ops[k].name, w->o->only))
                DMQ_TRY(measure(w, &ops[k], n));
        }
    }
done:
    if (st != DMQ_OK && w->comm)
        dmq_comm_fail(w->comm);
    return st;
}

typedef struct thread_rank {
    world w;
    dmq_threads *threads;
    pthread_t thread;
    dmq_status status;
    char message[4096];
} thread_rank;

static void *thread_main(void *context)
{
    thread_rank *t = context;
    dmq_comm_config config = { .backend = t->w.be };
    dmq_status st = DMQ_OK;

    DMQ_TRY(t->w.be->queue_create(&t->w.queue, t->w.rank));
    DMQ_TRY(dmq_threads_join(&t->w.comm, t->threads, t->w.rank, &config));
    DMQ_TRY(run_world(&t->w));
done:
    t->status = st;
    (void)snprintf(t->message, sizeof t->message, "%s", st == DMQ_OK ? "" : dmq_message());
    close_world(&t->w);
    return NULL;
}

static dmq_status run_threads(const options *o, const dmq_backend *be)
{
    static thread_rank rank[RANKS_MOST];
    dmq_threads *threads = NULL;
    dmq_status st = DMQ_OK;
    int started = 0;

    DMQ_TRY(dmq_threads_create(&threads, o->ranks, 0));
    for (int r = 0; r < o->ranks; r++) {
        rank[r].w = (world){ .o = o, .be = be, .rank = r, .size = o->ranks };
        rank[r].threads = threads;
        if (pthread_create(&rank[r].thread, NULL, thread_main, &rank[r]) != 0)
            DMQ_TRY(dmq_fail(DMQ_ENOMEM, "thread %d of %d does not start", r + 1, o->ranks));
        started++;
    }
done:
    for (int r = 0; r < started; r++) {
        (void)pthread_join(rank[r].thread, NULL);
        if (rank[r].status != DMQ_OK && st == DMQ_OK) {
            st = rank[r].status;
            dmq_message_set(rank[r].message);
        }
    }
    dmq_threads_destroy(threads);
    return st;
}

/* This process is one rank, perhaps the only one. */
static dmq_status run_process(const options *o, const dmq_backend *be, const dmq_meet *meet)
{
    dmq_comm_config config = { .backend = be };
    world w = { .o = o, .be = be, .rank = meet->rank, .size = meet->size };
    dmq_status st = DMQ_OK;

    if (meet->size == 1) /* what a call of the library costs */
        config.way = DMQ_COMM_DEVICE;
    DMQ_TRY(be->queue_create(&w.queue, 0));
    DMQ_TRY(dmq_comm_meet(&w.comm, meet, NULL, "bench_collective", &config));
    DMQ_TRY(run_world(&w));
done:
    close_world(&w);
    return st;
}

int main(int argc, char **argv)
{
    options o = { .backend = bench_option(argc, argv, "--backend", "cpu"),
                  .only = bench_option(argc, argv, "--only", ""),
                  .ranks = atoi(bench_option(argc, argv, "--ranks", "2")),
                  .reps = atoi(bench_option(argc, argv, "--reps", "20")),
                  .check = atoi(bench_option(argc, argv, "--check", "1")),
                  .most = (size_t)atoll(bench_option(argc, argv, "--most", "67108864")),
                  .room = (size_t)atoll(bench_option(argc, argv, "--room", "0")),
                  .gbs = atof(bench_option(argc, argv, "--gbs", "0")) };
    const dmq_backend *be = NULL;
    char name[32];
    dmq_meet meet;
    dmq_status st = DMQ_OK;

    o.reps = o.reps < 1 ? 1 : o.reps < REPS_MOST ? o.reps : REPS_MOST;
    o.ranks = o.ranks < 1 ? 1 : o.ranks < RANKS_MOST ? o.ranks : RANKS_MOST;
    DMQ_TRY(dmq_meet_environment(&meet));
    (void)snprintf(name, sizeof name, "%s", o.backend);
    if (strcmp(name, "cuda") == 0 && meet.local_rank >= 0)
        (void)snprintf(name, sizeof name, "cuda:%d", meet.local_rank);
    DMQ_TRY(dmq_backend_open(&be, name));
    if (meet.rank == 0)
        bench_header();
    DMQ_TRY(meet.size > 1 || !be->host_memory ? run_process(&o, be, &meet) : run_threads(&o, be));
done:
    if (st != DMQ_OK)
        (void)fprintf(stderr, "%s: %s\n", st == DMQ_ENOTSUP ? "skipped" : argv[0], dmq_message());
    return st == DMQ_ENOTSUP ? 77 : dmq_exit_code(st);
}
