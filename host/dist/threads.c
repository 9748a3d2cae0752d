#include "dist/threads.h"

#include "base/memory.h"
#include "dist/comm_inner.h"
#include "dist/roll.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

struct dmq_threads {
    dmq_roll roll;
    long *left; /* (size): calls whose copies a rank has made */
    int asked;  /* whether ranks wait for their devices; who watches answers */
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

typedef struct threads_link {
    dmq_link link;
    dmq_threads *threads;
} threads_link;

static dmq_threads *threads_of(dmq_link *link)
{
    return ((threads_link *)link)->threads;
}

/* ------------------------------------------------------------------ under the lock */

static void tell_all(dmq_threads *t)
{
    (void)pthread_cond_broadcast(&t->changed);
}

static int all_left(const dmq_threads *t, long number)
{
    for (int r = 0; r < t->roll.size; r++) {
        if (t->left[r] < number)
            return 0;
    }
    return 1;
}

/* 0 when the time is over. */
static int wait_until(dmq_threads *t, const struct timespec *end)
{
    return pthread_cond_timedwait(&t->changed, &t->lock, end) == 0;
}

static struct timespec end_after(double seconds)
{
    struct timespec end = { 0, 0 };
    double whole = floor(seconds);

    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += (time_t)whole;
    end.tv_nsec += (long)((seconds - whole) * 1e9);
    if (end.tv_nsec >= 1000000000) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000;
    }
    return end;
}

/*
 * All have come with the same call. After a failure nobody comes any more, so that "all came", once true, stays
 * so until the last one has left the call.
 */
static dmq_status come(dmq_threads *t, dmq_link *link, const dmq_call *call)
{
    struct timespec end = end_after(t->roll.seconds);
    dmq_roll_entry *own = &t->roll.rank[link->rank];
    int in_time = 1;

    if (t->roll.why[0])
        return dmq_roll_failed(&t->roll);
    own->call = *call;
    memcpy(own->label, link->label, sizeof own->label);
    tell_all(t);
    while (!dmq_roll_all(&t->roll, call->number) && !t->roll.why[0]) {
        int gone = dmq_roll_gone(&t->roll, call->number);

        if (gone >= 0) {
            dmq_roll_fail_gone(&t->roll, gone, link->rank, call);
        } else if (!in_time) {
            dmq_roll_fail_missing(&t->roll, call);
        } else {
            in_time = wait_until(t, &end);
        }
    }
    if (!dmq_roll_all(&t->roll, call->number) || dmq_roll_fail_different(&t->roll)) {
        tell_all(t);
        return dmq_roll_failed(&t->roll);
    }
    return DMQ_OK;
}

/* No time limit: they are copying. */
static void leave(dmq_threads *t, int rank, long number)
{
    t->left[rank] = number;
    tell_all(t);
    while (!all_left(t, number))
        (void)pthread_cond_wait(&t->changed, &t->lock);
}

/* ------------------------------------------------------------------ the link */

/* Parts of the others, whose memory stays as it is until all have left the call. */
static void take(const dmq_threads *t, int rank, const dmq_call *own)
{
    for (int r = 0; r < t->roll.size && own->bytes > 0; r++) {
        const dmq_call *from = &t->roll.rank[r].call;
        size_t at = (size_t)r * own->bytes;

        if (own->kind == DMQ_CALL_GATHER && r != rank) {
            memcpy((char *)own->data + at, (const char *)from->data + at, own->bytes);
        } else if (own->kind == DMQ_CALL_BROADCAST && r == own->root && r != rank) {
            memcpy(own->data, from->data, own->bytes);
        } else if (own->kind == DMQ_CALL_TURN) {
            memcpy((char *)own->data + at, (const char *)from->in + (size_t)rank * own->bytes,
                   own->bytes);
        }
    }
}

static dmq_status threads_call(dmq_link *link, const dmq_call *call)
{
    dmq_threads *t = threads_of(link);
    dmq_status st;

    (void)pthread_mutex_lock(&t->lock);
    st = come(t, link, call);
    (void)pthread_mutex_unlock(&t->lock);
    if (st != DMQ_OK)
        return st;
    take(t, link->rank, call);
    (void)pthread_mutex_lock(&t->lock);
    leave(t, link->rank, call->number);
    (void)pthread_mutex_unlock(&t->lock);
    return DMQ_OK;
}

/* Under the lock. */
static void answer(dmq_threads *t, const dmq_link *link)
{
    t->roll.rank[link->rank].calls = link->device_calls;
    memcpy(t->roll.rank[link->rank].label, link->label, sizeof link->label);
    tell_all(t);
}

static dmq_status threads_watch(dmq_link *link)
{
    dmq_threads *t = threads_of(link);
    dmq_status st;

    (void)pthread_mutex_lock(&t->lock);
    if (t->asked)
        answer(t, link);
    st = t->roll.why[0] ? dmq_roll_failed(&t->roll) : DMQ_OK;
    (void)pthread_mutex_unlock(&t->lock);
    return st;
}

static dmq_status threads_late(dmq_link *link, const dmq_call *last)
{
    dmq_threads *t = threads_of(link);
    struct timespec end = end_after(DMQ_ROLL_GRACE);
    dmq_status st;

    (void)pthread_mutex_lock(&t->lock);
    t->asked = 1;
    answer(t, link);
    while (!t->roll.why[0] && !dmq_roll_all_late(&t->roll) && wait_until(t, &end)) {
    }
    dmq_roll_fail_late(&t->roll, last); /* unless another one did */
    tell_all(t);
    st = dmq_roll_failed(&t->roll);
    (void)pthread_mutex_unlock(&t->lock);
    return st;
}

static void threads_tell(dmq_link *link, const char *text)
{
    dmq_threads *t = threads_of(link);

    (void)pthread_mutex_lock(&t->lock);
    dmq_roll_fail(&t->roll, link->rank, text);
    tell_all(t);
    (void)pthread_mutex_unlock(&t->lock);
}

static void leave_for_good(dmq_threads *t, int rank)
{
    (void)pthread_mutex_lock(&t->lock);
    t->roll.rank[rank].gone = 1;
    tell_all(t);
    (void)pthread_mutex_unlock(&t->lock);
}

static void threads_close(dmq_link *link)
{
    leave_for_good(threads_of(link), link->rank);
    dmq_free(link);
}

/* ------------------------------------------------------------------ the group */

dmq_status dmq_threads_create(dmq_threads **out, int size, double seconds)
{
    dmq_comm_config config = { .seconds = seconds };
    pthread_condattr_t attr;
    dmq_threads *t = NULL;
    dmq_status st = DMQ_OK;

    assert(size > 0);
    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&t, 1, sizeof *t));
    (void)pthread_mutex_init(&t->lock, NULL); /* these cannot fail on Linux */
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&t->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    DMQ_TRY(dmq_comm_seconds(&seconds, &config));
    DMQ_TRY(dmq_roll_create(&t->roll, size, seconds));
    DMQ_TRY(dmq_alloc((void **)&t->left, (size_t)size, sizeof *t->left));
    *out = t;
    t = NULL;
done:
    dmq_threads_destroy(t);
    return st;
}

void dmq_threads_destroy(dmq_threads *t)
{
    if (!t)
        return;
    (void)pthread_cond_destroy(&t->changed);
    (void)pthread_mutex_destroy(&t->lock);
    dmq_roll_release(&t->roll);
    dmq_free(t->left);
    dmq_free(t);
}

dmq_status dmq_threads_join(dmq_comm **out, dmq_threads *t, int rank, const dmq_comm_config *config)
{
    threads_link *l = NULL;
    dmq_status st = DMQ_OK;
    int twice;

    assert(rank >= 0 && rank < t->roll.size);
    *out = NULL;
    (void)pthread_mutex_lock(&t->lock);
    twice = t->roll.rank[rank].joined;
    t->roll.rank[rank].joined = 1;
    (void)pthread_mutex_unlock(&t->lock);
    if (twice)
        return dmq_fail(DMQ_EINVAL, "group: two threads are rank %d of %d", rank, t->roll.size);
    st = dmq_alloc((void **)&l, 1, sizeof *l);
    if (st != DMQ_OK) {
        leave_for_good(t, rank);
        return st;
    }
    l->threads = t;
    l->link.rank = rank;
    l->link.size = t->roll.size;
    l->link.seconds = t->roll.seconds;
    l->link.call = threads_call;
    l->link.watch = threads_watch;
    l->link.late = threads_late;
    l->link.tell = threads_tell;
    l->link.close = threads_close;
    DMQ_TRY(dmq_comm_create(out, &l->link, config));
done:
    return st;
}
