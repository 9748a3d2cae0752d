#define _DEFAULT_SOURCE /* MAP_ANONYMOUS; NOLINT(bugprone-reserved-identifier) */

#include "backend/apart.h"

#include "base/memory.h"
#include "kernels/kernel.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Addresses, not memory: pages count when they are first written. */
#define RANGE_MOST  ((size_t)1 << 38)
#define RANGE_LEAST ((size_t)1 << 30) /* where addresses are few, as under valgrind */

typedef struct allocation {
    char *memory; /* what the caller has */
    char *page;   /* the first page of it */
    size_t bytes; /* of its pages, without the closed one behind */
    int open;     /* how many have it open */
} allocation;

static struct {
    pthread_mutex_t lock;
    char *range;       /* NULL before the first allocation */
    size_t bytes;      /* of the range */
    size_t used;       /* bytes of the range given out */
    allocation **live; /* by ascending address */
    size_t n, room;
    struct sigaction before;
} apart = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ------------------------------------------------------------------ who touches it */

static size_t hex(char *out, uintptr_t number)
{
    static const char digit[] = "0123456789abcdef";
    size_t n = 0;

    for (int shift = (int)(sizeof number * 8) - 4; shift >= 0; shift -= 4) {
        if (n > 0 || number >> shift || shift == 0)
            out[n++] = digit[number >> shift & 15];
    }
    return n;
}

/* By write alone: a handler may call little else. */
static void say_where(uintptr_t where)
{
    static const char begin[] = "check: the host touched device memory at 0x";
    static const char end[] = "; go through upload, download or a slot\n";
    char text[sizeof begin + sizeof end + 2 * sizeof where];
    size_t n = sizeof begin - 1;

    memcpy(text, begin, n);
    n += hex(text + n, where);
    memcpy(text + n, end, sizeof end - 1);
    n += sizeof end - 1;
    if (write(STDERR_FILENO, text, n) < 0)
        return; /* the fault itself is said by what comes next */
}

/* Then whoever would have handled the fault, or death: the access is tried again when this returns. */
static void on_fault(int number, siginfo_t *info, void *context)
{
    uintptr_t where = (uintptr_t)info->si_addr, from = (uintptr_t)apart.range;

    if (where >= from && where - from < apart.bytes)
        say_where(where);
    if (apart.before.sa_flags & SA_SIGINFO)
        apart.before.sa_sigaction(number, info, context);
    else if (apart.before.sa_handler != SIG_DFL && apart.before.sa_handler != SIG_IGN)
        apart.before.sa_handler(number);
    else
        (void)signal(number, SIG_DFL);
}

/* ------------------------------------------------------------------ the range */

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* At the end of the process: a leak checker would find nothing, since these are all still known. */
static void tell_leaks(void)
{
    size_t bytes = 0;

    for (size_t i = 0; i < apart.n; i++)
        bytes += apart.live[i]->bytes;
    if (apart.n > 0) {
        (void)fprintf(stderr,
                      "check: %zu allocations of device memory, %zu bytes, were not freed\n",
                      apart.n, bytes);
    }
}

/* With the lock held, as all below. */
static dmq_status reserve(void)
{
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    size_t bytes = RANGE_MOST * 2;
    void *range;

    if (apart.range)
        return DMQ_OK;
    do {
        bytes /= 2;
        range = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    } while (range == MAP_FAILED && bytes > RANGE_LEAST);
    if (range == MAP_FAILED)
        return dmq_fail(DMQ_ENOMEM, "check: no %zu GiB of addresses to be had", bytes >> 30);
    (void)sigemptyset(&action.sa_mask);
    if (sigaction(SIGSEGV, &action, &apart.before) != 0) {
        (void)munmap(range, bytes);
        return dmq_fail(DMQ_ENOTSUP, "check: a fault cannot be handled here");
    }
    apart.range = range;
    apart.bytes = bytes;
    (void)atexit(tell_leaks);
    return DMQ_OK;
}

static dmq_status make_room(void)
{
    size_t room = apart.room ? 2 * apart.room : 64;
    void *live = apart.live;
    dmq_status st;

    if (apart.n < apart.room)
        return DMQ_OK;
    st = dmq_grow(&live, apart.n, room, sizeof(allocation *));
    if (st != DMQ_OK)
        return st;
    apart.live = live;
    apart.room = room;
    return DMQ_OK;
}

/* How many allocations lie below an address; the one that holds it would be the last of them. */
static size_t count_below(const void *where)
{
    size_t low = 0, high = apart.n;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if ((const char *)where < apart.live[middle]->memory)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static allocation *holder(const void *where)
{
    size_t below = count_below(where);
    allocation *a = below > 0 ? apart.live[below - 1] : NULL;

    return a && (const char *)where < a->page + a->bytes ? a : NULL;
}

static dmq_status open_pages(const allocation *a)
{
    if (mprotect(a->page, a->bytes, PROT_READ | PROT_WRITE) == 0)
        return DMQ_OK;
    return dmq_fail(DMQ_ENOMEM, "check: no %zu bytes left", a->bytes);
}

static void close_pages(const allocation *a)
{
    int failed = mprotect(a->page, a->bytes, PROT_NONE);

    assert(!failed);
    (void)failed;
}

/* Pages of the range for an allocation, the next one left closed. */
static dmq_status take_pages(allocation *a, size_t bytes)
{
    size_t page = page_bytes(), whole = bytes > 0 ? (bytes + 63) / 64 * 64 : 64;
    size_t left = apart.bytes - apart.used;

    if (bytes > left || whole + 2 * page > left) {
        return dmq_fail(DMQ_ENOMEM, "check: no %zu bytes left in a range of %zu GiB", bytes,
                        apart.bytes >> 30);
    }
    a->bytes = (whole + page - 1) / page * page;
    a->page = apart.range + apart.used;
    a->memory = a->page + (a->bytes - whole);
    apart.used += a->bytes + page;
    return DMQ_OK;
}

static dmq_status poison(const allocation *a)
{
    dmq_status st = open_pages(a);
    dmq_real *number = (dmq_real *)(void *)a->memory;

    if (st != DMQ_OK)
        return st;
    while ((char *)number < a->page + a->bytes)
        *number++ = (dmq_real)NAN;
    close_pages(a);
    return DMQ_OK;
}

dmq_status dmq_apart_alloc(void **out, size_t bytes)
{
    dmq_status st = DMQ_OK;
    allocation *a = NULL;

    *out = NULL;
    (void)pthread_mutex_lock(&apart.lock);
    DMQ_TRY(dmq_alloc((void **)&a, 1, sizeof *a));
    DMQ_TRY(reserve());
    DMQ_TRY(make_room());
    DMQ_TRY(take_pages(a, bytes));
    DMQ_TRY(poison(a));
    apart.live[apart.n++] = a;
    *out = a->memory;
    a = NULL;
done:
    (void)pthread_mutex_unlock(&apart.lock);
    dmq_free(a);
    return st;
}

void dmq_apart_free(void *memory)
{
    allocation *a;
    size_t below;

    if (!memory)
        return;
    (void)pthread_mutex_lock(&apart.lock);
    a = holder(memory);
    assert(a && a->memory == memory && a->open == 0);
    /* a new mapping over the old one gives its pages back */
    (void)mmap(a->page, a->bytes, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    below = count_below(memory);
    memmove(apart.live + below - 1, apart.live + below, (apart.n - below) * sizeof(allocation *));
    apart.n--;
    (void)pthread_mutex_unlock(&apart.lock);
    dmq_free(a);
}

int dmq_apart_holds(const void *where)
{
    int holds;

    (void)pthread_mutex_lock(&apart.lock);
    holds = holder(where) != NULL;
    (void)pthread_mutex_unlock(&apart.lock);
    return holds;
}

dmq_status dmq_apart_open(const void *where)
{
    dmq_status st = DMQ_OK;
    allocation *a;

    (void)pthread_mutex_lock(&apart.lock);
    a = holder(where);
    if (!a)
        st = dmq_fail(DMQ_EINVAL, "check: %p is not device memory", where);
    else if (a->open == 0)
        st = open_pages(a);
    if (st == DMQ_OK)
        a->open++;
    (void)pthread_mutex_unlock(&apart.lock);
    return st;
}

void dmq_apart_close(const void *where)
{
    allocation *a;

    (void)pthread_mutex_lock(&apart.lock);
    a = holder(where);
    assert(a && a->open > 0);
    if (--a->open == 0)
        close_pages(a);
    (void)pthread_mutex_unlock(&apart.lock);
}
