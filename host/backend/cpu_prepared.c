#include "backend/cpu_winograd.h"
#include "base/memory.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

/* Entries that nobody asked for during so many calls give way to new ones. Younger ones do not: a
 * network larger than the limit would otherwise throw out each before its next use. */
enum { OLD = 10000, BUCKETS = 256 };

struct dmq_prepared {
    dmq_prepare what; /* w: where the weights were seen; only compared */
    int users;        /* who reads u or copy, or fills them */
    int filling;      /* 1: not to be read; by its one user */
    unsigned long last;
    size_t bytes;
    float *copy, *u;
    dmq_prepared *next;
};

static struct {
    pthread_mutex_t lock;
    dmq_prepared *bucket[BUCKETS];
    size_t bytes;
    unsigned long calls;
} all = { .lock = PTHREAD_MUTEX_INITIALIZER };

static size_t count_of(const dmq_prepare *q)
{
    return (size_t)q->k * (size_t)q->c;
}

static dmq_prepared **bucket_of(const float *w)
{
    return &all.bucket[((size_t)w >> 6) % BUCKETS];
}

static void entry_free(dmq_prepared *e)
{
    if (!e)
        return;
    dmq_free(e->copy);
    dmq_free(e->u);
    dmq_free(e);
}

static void drop_old(void)
{
    for (int i = 0; i < BUCKETS; i++) {
        dmq_prepared **at = &all.bucket[i];

        while (*at) {
            dmq_prepared *e = *at;

            if (e->users > 0 || all.calls - e->last < OLD) {
                at = &e->next;
                continue;
            }
            *at = e->next;
            all.bytes -= e->bytes;
            entry_free(e);
        }
    }
}

/* A new entry, or NULL. With the lock held. */
static dmq_prepared *entry_create(const dmq_prepare *q)
{
    size_t count = count_of(q), bytes;
    dmq_prepared *e = NULL;

    bytes = count * (size_t)(q->taps + q->points) * sizeof(float);
    if (all.bytes + bytes > DMQ_PREPARED_BYTES)
        drop_old();
    if (all.bytes + bytes > DMQ_PREPARED_BYTES)
        return NULL;
    if (dmq_alloc((void **)&e, 1, sizeof *e) != DMQ_OK ||
        dmq_alloc((void **)&e->copy, count * (size_t)q->taps, sizeof(float)) != DMQ_OK ||
        dmq_alloc((void **)&e->u, count * (size_t)q->points, sizeof(float)) != DMQ_OK) {
        entry_free(e);
        return NULL;
    }
    e->what = *q;
    e->bytes = bytes;
    e->next = *bucket_of(q->w);
    *bucket_of(q->w) = e;
    all.bytes += bytes;
    return e;
}

static dmq_prepared *find(const dmq_prepare *q)
{
    for (dmq_prepared *e = *bucket_of(q->w); e; e = e->next) {
        const dmq_prepare *p = &e->what;

        if (p->w == q->w && p->turned == q->turned && p->k == q->k && p->c == q->c &&
            p->taps == q->taps && p->points == q->points)
            return e;
    }
    return NULL;
}

/* One user more, if the entry can be read or filled; *fill: it is empty and the caller fills it. */
static dmq_prepared *take(const dmq_prepare *q, int *fill)
{
    dmq_prepared *e;

    pthread_mutex_lock(&all.lock);
    all.calls++;
    e = find(q);
    *fill = !e;
    if (!e) {
        e = entry_create(q);
    } else if (e->filling) {
        e = NULL;
    }
    if (e) {
        e->users++;
        e->filling = *fill;
        e->last = all.calls;
    }
    pthread_mutex_unlock(&all.lock);
    return e;
}

/* To the sole user of outdated weights. */
static int take_over(dmq_prepared *e)
{
    int alone;

    pthread_mutex_lock(&all.lock);
    alone = e->users == 1;
    if (alone) {
        e->filling = 1;
    } else {
        e->users--;
    }
    pthread_mutex_unlock(&all.lock);
    return alone;
}

dmq_prepared *dmq_cpu_prepared_get(const dmq_prepare *what)
{
    size_t bytes = count_of(what) * (size_t)what->taps * sizeof(float);
    int fill;
    dmq_prepared *e = take(what, &fill);

    if (!e)
        return NULL;
    if (!fill) {
        if (memcmp(e->copy, what->w, bytes) == 0)
            return e;
        if (!take_over(e))
            return NULL;
    }
    memcpy(e->copy, what->w, bytes);
    what->make(e->u, what);
    pthread_mutex_lock(&all.lock);
    e->filling = 0;
    pthread_mutex_unlock(&all.lock);
    return e;
}

const float *dmq_cpu_prepared_weights(const dmq_prepared *prepared)
{
    return prepared->u;
}

void dmq_cpu_prepared_put(dmq_prepared *prepared)
{
    if (!prepared)
        return;
    pthread_mutex_lock(&all.lock);
    assert(prepared->users > 0);
    prepared->users--;
    pthread_mutex_unlock(&all.lock);
}

void dmq_cpu_prepared_clear(void)
{
    pthread_mutex_lock(&all.lock);
    for (int i = 0; i < BUCKETS; i++) {
        while (all.bucket[i]) {
            dmq_prepared *e = all.bucket[i];

            assert(e->users == 0);
            all.bucket[i] = e->next;
            entry_free(e);
        }
    }
    all.bytes = 0;
    pthread_mutex_unlock(&all.lock);
}
