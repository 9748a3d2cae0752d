#include "recon/prefetch.h"

#include "base/memory.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

typedef struct place {
    const dmq_store *store;
    dmq_real *table;  /* (2, room, per) */
    dmq_real *bounce; /* (room, per), page-locked: what comes from the disk to a device; or NULL */
} place;

struct dmq_prefetch {
    const dmq_backend *be;
    dmq_queue *queue; /* of copies; NULL where tables are the host's memory */
    place place[DMQ_PREFETCH_MOST];
    int n, room;
    void *here[2]; /* events: the half has been filled */
    void *left[2]; /* what reads the half has been asked for */
    pthread_t thread;
    int started;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    int quit, busy; /* busy: the thread is bringing a batch */
    int on_way;     /* a trip is under way */
    unsigned number;
    dmq_trip trip;
    int next;   /* batch to bring */
    int n_left; /* batches before it have been left */
    dmq_status status;
    char message[4096];
};

/* ------------------------------------------------------------------ bringing */

static int rows_of(const dmq_trip *t, int batch)
{
    int rest = t->count - batch * t->rows;

    return rest < t->rows ? rest : t->rows;
}

static int source_row(const dmq_trip *t, int batch, int row)
{
    return t->index ? t->index[batch * t->stride + row] : t->first + batch * t->rows + row;
}

/* How many rows from `row` on follow each other in the store. */
static int run_length(const dmq_trip *t, int batch, int row, int rows)
{
    int n = 1, from = source_row(t, batch, row);

    while (row + n < rows && source_row(t, batch, row + n) == from + n)
        n++;
    return n;
}

/* Rows of one store to host memory. */
static dmq_status read_rows(const place *p, dmq_real *to, const dmq_trip *t, int batch, int rows)
{
    dmq_status st = DMQ_OK;

    for (int r = 0, n; r < rows && st == DMQ_OK; r += n) {
        n = run_length(t, batch, r, rows);
        st = dmq_store_get(p->store, NULL, to + (size_t)r * p->store->per, source_row(t, batch, r),
                           n);
    }
    return st;
}

/* Rows of a store in page-locked memory, each run of them by one copy. */
static dmq_status fetch_rows(const dmq_prefetch *f, const place *p, dmq_real *to, const dmq_trip *t,
                             int batch, int rows)
{
    size_t per = p->store->per;
    dmq_status st = DMQ_OK;

    for (int r = 0, n; r < rows && st == DMQ_OK; r += n) {
        n = run_length(t, batch, r, rows);
        st = f->be->fetch(f->queue, to + (size_t)r * per,
                          p->store->data + (size_t)source_row(t, batch, r) * per,
                          (size_t)n * per * sizeof *to);
    }
    return st;
}

/* Both sides share memory, and the half has been left: read straight into it. */
static dmq_status bring_to_host(const dmq_prefetch *f, const dmq_trip *t, int batch)
{
    int rows = rows_of(t, batch);
    dmq_status st = DMQ_OK;

    for (int k = 0; k < f->n && st == DMQ_OK; k++) {
        const place *p = &f->place[k];
        size_t at = (size_t)dmq_prefetch_row(f, batch, 0) * p->store->per;

        st = read_rows(p, p->table + at, t, batch, rows);
    }
    return st;
}

static dmq_status bring_to_device(const dmq_prefetch *f, const dmq_trip *t, int batch)
{
    int rows = rows_of(t, batch), half = batch % 2;
    dmq_status st = DMQ_OK;

    for (int k = 0, waited = 0; k < f->n; k++) { /* the disk first, while the half may be in use */
        const place *p = &f->place[k];

        if (!p->bounce)
            continue;
        if (!waited)
            DMQ_TRY(f->be->sync(f->queue)); /* the batch before has left the bounce */
        waited = 1;
        DMQ_TRY(read_rows(p, p->bounce, t, batch, rows));
    }
    DMQ_TRY(f->be->event_wait(f->queue, f->left[half]));
    for (int k = 0; k < f->n; k++) {
        const place *p = &f->place[k];
        size_t per = p->store->per;
        dmq_real *to = p->table + (size_t)dmq_prefetch_row(f, batch, 0) * per;

        DMQ_TRY(p->bounce ? f->be->fetch(f->queue, to, p->bounce, (size_t)rows * per * sizeof *to)
                          : fetch_rows(f, p, to, t, batch, rows));
    }
    DMQ_TRY(f->be->event_record(f->queue, f->here[half]));
done:
    return st;
}

/* ------------------------------------------------------------------ the thread */

/* With the lock held: two batches at most are on the device. */
static int may_bring(const dmq_prefetch *p)
{
    return p->on_way && p->status == DMQ_OK && p->next * p->trip.rows < p->trip.count &&
           p->next < p->n_left + 2;
}

static void *serve(void *context)
{
    dmq_prefetch *p = context;

    (void)pthread_mutex_lock(&p->lock);
    for (;;) {
        dmq_status st;

        while (!p->quit && !may_bring(p))
            (void)pthread_cond_wait(&p->changed, &p->lock);
        if (p->quit)
            break;
        p->busy = 1;
        (void)pthread_mutex_unlock(&p->lock);
        /* the trip changes only while the thread is not busy */
        st = p->queue ? bring_to_device(p, &p->trip, p->next) : bring_to_host(p, &p->trip, p->next);
        (void)pthread_mutex_lock(&p->lock);
        p->busy = 0;
        if (st == DMQ_OK) {
            p->next++;
        } else {
            p->status = st;
            (void)snprintf(p->message, sizeof p->message, "%s", dmq_message());
        }
        (void)pthread_cond_broadcast(&p->changed);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

static void stop_thread(dmq_prefetch *p)
{
    if (!p->started)
        return;
    (void)pthread_mutex_lock(&p->lock);
    p->quit = 1;
    (void)pthread_cond_broadcast(&p->changed);
    (void)pthread_mutex_unlock(&p->lock);
    (void)pthread_join(p->thread, NULL);
}

/* ------------------------------------------------------------------ tables */

static void free_tables(dmq_prefetch *p)
{
    if (p->queue)
        (void)p->be->sync(p->queue); /* copies may be on their way */
    for (int k = 0; k < p->n; k++) {
        p->be->free(p->place[k].table);
        p->be->pinned_free(p->place[k].bounce);
        p->place[k].table = p->place[k].bounce = NULL;
    }
    p->room = 0;
}

dmq_status dmq_prefetch_reserve(dmq_prefetch *p, int rows, int *moved)
{
    dmq_status st = DMQ_OK;

    *moved = rows > p->room;
    if (rows <= p->room)
        return DMQ_OK;
    dmq_prefetch_end(p);
    free_tables(p);
    for (int k = 0; k < p->n; k++) {
        place *to = &p->place[k];
        size_t bytes = (size_t)rows * to->store->per * sizeof *to->table;

        DMQ_TRY(p->be->alloc((void **)&to->table, 2 * bytes));
        if (p->queue && to->store->tier == DMQ_ON_DISK)
            DMQ_TRY(p->be->pinned_alloc((void **)&to->bounce, bytes));
    }
    p->room = rows;
done:
    if (st != DMQ_OK)
        free_tables(p);
    return st;
}

int dmq_prefetch_room(const dmq_prefetch *p)
{
    return p->room;
}

const dmq_real *dmq_prefetch_table(const dmq_prefetch *p, int k)
{
    assert(k >= 0 && k < p->n);
    return p->place[k].table;
}

int dmq_prefetch_row(const dmq_prefetch *p, int batch, int row)
{
    assert(row >= 0 && row < p->room);
    return batch % 2 * p->room + row;
}

dmq_status dmq_prefetch_create(dmq_prefetch **out, const dmq_backend *be,
                               const dmq_store *const *store, int n)
{
    dmq_prefetch *p = NULL;
    int error;
    dmq_status st = DMQ_OK;

    assert(n > 0 && n <= DMQ_PREFETCH_MOST);
    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&p, 1, sizeof *p));
    p->be = be;
    p->n = n;
    for (int k = 0; k < n; k++) {
        assert(store[k]->tier != DMQ_ON_DEVICE);
        p->place[k].store = store[k];
    }
    (void)pthread_mutex_init(&p->lock, NULL); /* these two cannot fail on Linux */
    (void)pthread_cond_init(&p->changed, NULL);
    if (!be->host_memory)
        DMQ_TRY(be->queue_create(&p->queue, DMQ_COPIES));
    for (int half = 0; half < 2; half++) {
        DMQ_TRY(be->event_create(&p->here[half]));
        DMQ_TRY(be->event_create(&p->left[half]));
    }
    error = pthread_create(&p->thread, NULL, serve, p);
    if (error) {
        st = dmq_fail(DMQ_ENOMEM, "caches: the thread that brings rows does not start: %s",
                      strerror(error));
        goto done;
    }
    p->started = 1;
    *out = p;
    p = NULL;
done:
    dmq_prefetch_destroy(p);
    return st;
}

void dmq_prefetch_destroy(dmq_prefetch *p)
{
    if (!p)
        return;
    stop_thread(p);
    free_tables(p);
    for (int half = 0; half < 2; half++) {
        p->be->event_destroy(p->here[half]);
        p->be->event_destroy(p->left[half]);
    }
    p->be->queue_destroy(p->queue);
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->changed);
    dmq_free(p);
}

/* ------------------------------------------------------------------ trips */

void dmq_prefetch_end(dmq_prefetch *p)
{
    (void)pthread_mutex_lock(&p->lock);
    p->on_way = 0;
    while (p->busy)
        (void)pthread_cond_wait(&p->changed, &p->lock);
    (void)pthread_mutex_unlock(&p->lock);
}

unsigned dmq_prefetch_begin(dmq_prefetch *p, const dmq_trip *trip, int batch)
{
    unsigned number;

    assert(trip->rows > 0 && trip->rows <= p->room);
    dmq_prefetch_end(p);
    (void)pthread_mutex_lock(&p->lock);
    p->trip = *trip;
    p->next = p->n_left = batch;
    p->status = DMQ_OK;
    p->on_way = 1;
    p->number = p->number + 1 ? p->number + 1 : 1;
    number = p->number;
    (void)pthread_cond_broadcast(&p->changed);
    (void)pthread_mutex_unlock(&p->lock);
    return number;
}

unsigned dmq_prefetch_trip(const dmq_prefetch *p)
{
    return p->on_way ? p->number : 0; /* both are the caller's thread's alone */
}

dmq_status dmq_prefetch_take(dmq_prefetch *p, int batch, dmq_queue *queue)
{
    dmq_status st;

    (void)pthread_mutex_lock(&p->lock);
    assert(p->on_way && batch < p->n_left + 2 && batch * p->trip.rows < p->trip.count);
    while (p->next <= batch && p->status == DMQ_OK)
        (void)pthread_cond_wait(&p->changed, &p->lock);
    st = p->next > batch ? DMQ_OK : p->status;
    if (st != DMQ_OK)
        dmq_message_set(p->message);
    (void)pthread_mutex_unlock(&p->lock);
    return st == DMQ_OK ? p->be->event_wait(queue, p->here[batch % 2]) : st;
}

dmq_status dmq_prefetch_leave(dmq_prefetch *p, int batch, dmq_queue *queue)
{
    dmq_status st = p->be->event_record(queue, p->left[batch % 2]);

    (void)pthread_mutex_lock(&p->lock);
    assert(batch == p->n_left);
    p->n_left = batch + 1;
    (void)pthread_cond_broadcast(&p->changed);
    (void)pthread_mutex_unlock(&p->lock);
    return st;
}
