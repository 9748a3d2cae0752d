#define _DEFAULT_SOURCE /* SA_ONSTACK; NOLINT(bugprone-reserved-identifier) */

/* Memory: the device's, closed to the host (backend/apart.h); pools; page-locked memory of the host. */
#include "pretend/runtime.h"

#include "backend/apart.h"
#include "base/memory.h"

#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { OPENED = 1024, DEVICES = 8, UNIT = 512 };

/* What a pool has of the device. */
typedef struct piece {
    struct piece *next;
    size_t bytes;
    int taken, settled; /* settled: the free of the last who had it has run */
} piece;

struct CUmemPoolHandle_st {
    cudaMemPool_t next;
    piece *pieces;
    uint64_t keep;
    int device;
};

typedef struct allocation {
    char *memory;
    size_t bytes;
    int device;
    piece *piece; /* NULL: not of a pool */
    int ready;    /* its place in the stream has come */
    int given_up; /* its free was asked for */
} allocation;

static struct {
    allocation **live; /* by ascending address */
    size_t n, room;
    size_t taken[DEVICES]; /* bytes, pools' pieces included */
    cudaMemPool_t pools;
    void *opened[OPENED];
    int n_opened;
    struct sigaction before;
    int finishes;
} memory;

static size_t total_bytes(void)
{
    return (size_t)pretend_wish("TOTAL", 1024) << 20;
}

/* ------------------------------------------------------------------ who touches it */

/* The last allocation that begins at or below an address. */
static size_t place_below(const void *where)
{
    size_t low = 0, high = memory.n;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if ((const char *)where < memory.live[middle]->memory)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static allocation *holder(const void *p, size_t bytes)
{
    size_t below = place_below(p);
    allocation *a = below > 0 ? memory.live[below - 1] : NULL;
    size_t at = a ? (size_t)((const char *)p - a->memory) : 0;

    return a && at < a->bytes && bytes <= a->bytes - at ? a : NULL;
}

int pretend_is_device(const void *p, size_t bytes)
{
    int yes;

    pretend_lock(1);
    yes = holder(p, bytes) != NULL;
    pretend_lock(0);
    return yes;
}

/* Open what holds an address to the work that runs; 0: nothing does. */
static int open_holder(const void *where)
{
    allocation *a = holder(where, 0);

    if (!a)
        return 0;
    if (!a->ready)
        pretend_die("touches memory at %p before its allocation's turn has come", where);
    if (memory.n_opened == OPENED)
        pretend_die("touches more than %d allocations", OPENED);
    if (dmq_apart_open(where) != DMQ_OK)
        pretend_die("%s", dmq_message());
    memory.opened[memory.n_opened++] = a->memory;
    return 1;
}

void pretend_close_all(void)
{
    while (memory.n_opened > 0)
        dmq_apart_close(memory.opened[--memory.n_opened]);
}

static void close_one(const char *at)
{
    for (int i = 0; i < memory.n_opened; i++) {
        if (memory.opened[i] == at) {
            dmq_apart_close(at);
            memory.opened[i] = memory.opened[--memory.n_opened];
            return;
        }
    }
}

/* The fault of work opens what it touches; the access is then tried again. */
static void on_fault(int number, siginfo_t *info, void *context)
{
    if (pretend_running()) {
        if (open_holder(info->si_addr))
            return;
        pretend_die("touches %p, where the device has no memory", info->si_addr);
    }
    if (memory.before.sa_flags & SA_SIGINFO)
        memory.before.sa_sigaction(number, info, context);
    else
        (void)signal(number, SIG_DFL);
}

/* Frees that still wait are no leaks. */
static void finish(void)
{
    pretend_lock(1);
    pretend_drain_all();
    pretend_lock(0);
}

void pretend_handle_faults(void)
{
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    struct sigaction now;

    if (sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_flags & SA_SIGINFO &&
        now.sa_sigaction == on_fault)
        return;
    (void)sigemptyset(&action.sa_mask);
    if (sigaction(SIGSEGV, &action, &memory.before) != 0)
        pretend_die("a fault cannot be handled here");
}

/* ------------------------------------------------------------------ allocations */

static allocation *give_out(size_t bytes)
{
    allocation *a = pretend_room(sizeof *a);
    void *at = NULL;

    if (dmq_apart_alloc(&at, bytes) != DMQ_OK)
        pretend_die("%s", dmq_message());
    if (!memory.finishes) /* behind apart's own word at the end, which its first allocation sets */
        (void)atexit(finish);
    memory.finishes = 1;
    a->memory = at;
    a->bytes = bytes;
    a->device = pretend_device();
    pretend_grow((void **)&memory.live, &memory.room, memory.n, sizeof *memory.live);
    memory.live[memory.n++] = a; /* addresses ascend */
    return a;
}

static void take_back(allocation *a)
{
    size_t place = place_below(a->memory);

    close_one(a->memory);
    dmq_apart_free(a->memory);
    memmove(memory.live + place - 1, memory.live + place, (memory.n - place) * sizeof *memory.live);
    memory.n--;
    dmq_free(a);
}

/* Up to what the device gives. */
static size_t units(size_t bytes)
{
    return (bytes + UNIT - 1) / UNIT * UNIT;
}

static int fits(int device, size_t bytes)
{
    return bytes <= total_bytes() && memory.taken[device] <= total_bytes() - bytes;
}

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    cudaError_t error = pretend_enter("cudaMalloc");

    if (error == cudaSuccess)
        error = pretend_refuse_unsafe();
    if (error == cudaSuccess && !fits(pretend_device(), units(bytes)))
        error = cudaErrorMemoryAllocation;
    if (error == cudaSuccess) {
        allocation *a = give_out(bytes);

        a->ready = 1;
        memory.taken[a->device] += units(bytes);
        *out = a->memory;
    }
    return pretend_leave(error);
}

static allocation *exactly(void *p)
{
    allocation *a = holder(p, 1);

    if (!a || a->memory != p)
        pretend_die("%p is freed, where no allocation begins", p);
    if (a->given_up)
        pretend_die("%p is freed twice", p);
    return a;
}

/* Waits for the whole device. */
cudaError_t cudaFree(void *p)
{
    cudaError_t error = pretend_enter("cudaFree");

    if (error == cudaSuccess)
        error = pretend_refuse_unsafe();
    if (error == cudaSuccess && p) {
        allocation *a = exactly(p);

        if (a->piece)
            pretend_die("cudaFree of memory from a pool: nobody has said what that is");
        pretend_drain_all();
        memory.taken[a->device] -= units(a->bytes);
        take_back(a);
    }
    return pretend_leave(error);
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    cudaError_t error = pretend_enter("cudaMemGetInfo");

    if (error == cudaSuccess) {
        *total = total_bytes();
        *free_bytes =
            *total > memory.taken[pretend_device()] ? *total - memory.taken[pretend_device()] : 0;
    }
    return pretend_leave(error);
}

/* ------------------------------------------------------------------ pools */

cudaError_t cudaMemPoolCreate(cudaMemPool_t *out, const struct cudaMemPoolProps *wanted)
{
    cudaError_t error = pretend_enter("cudaMemPoolCreate");

    if (error == cudaSuccess && (wanted->allocType != cudaMemAllocationTypePinned ||
                                 wanted->location.type != cudaMemLocationTypeDevice ||
                                 wanted->handleTypes != cudaMemHandleTypeNone))
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess) {
        cudaMemPool_t pool = pretend_room(sizeof *pool);

        pool->device = wanted->location.id;
        pool->next = memory.pools;
        memory.pools = pool;
        *out = pool;
    }
    return pretend_leave(error);
}

static void trim(cudaMemPool_t pool, uint64_t keep);

cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool)
{
    cudaError_t error = pretend_enter("cudaMemPoolDestroy");

    if (error == cudaSuccess) {
        cudaMemPool_t *at = &memory.pools;

        while (*at && *at != pool)
            at = &(*at)->next;
        if (!*at)
            pretend_die("a pool is destroyed that there is not");
        pretend_drain_all();
        trim(pool, 0);
        if (pool->pieces)
            pretend_die("a pool is destroyed that has given out memory");
        *at = pool->next;
        dmq_free(pool);
    }
    return pretend_leave(error);
}

static uint64_t pool_bytes(cudaMemPool_t pool, int taken_alone)
{
    uint64_t bytes = 0;

    for (const piece *p = pool->pieces; p; p = p->next)
        bytes += !taken_alone || p->taken ? p->bytes : 0;
    return bytes;
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value)
{
    cudaError_t error = pretend_enter("cudaMemPoolGetAttribute");

    if (error == cudaSuccess) {
        if (attribute != cudaMemPoolAttrUsedMemCurrent &&
            attribute != cudaMemPoolAttrReservedMemCurrent)
            pretend_die("nobody has said what attribute %d of a pool is", (int)attribute);
        *(uint64_t *)value = pool_bytes(pool, attribute == cudaMemPoolAttrUsedMemCurrent);
    }
    return pretend_leave(error);
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, enum cudaMemPoolAttr attribute, void *value)
{
    cudaError_t error = pretend_enter("cudaMemPoolSetAttribute");

    if (error == cudaSuccess) {
        if (attribute != cudaMemPoolAttrReleaseThreshold)
            pretend_die("nobody has said what attribute %d of a pool is", (int)attribute);
        pool->keep = *(const uint64_t *)value;
    }
    return pretend_leave(error);
}

static void trim(cudaMemPool_t pool, uint64_t keep)
{
    piece **at = &pool->pieces;

    while (*at) {
        piece *p = *at;

        if (!p->taken && p->settled && pool_bytes(pool, 0) > keep) {
            memory.taken[pool->device] -= p->bytes;
            *at = p->next;
            dmq_free(p);
        } else {
            at = &p->next;
        }
    }
}

void pretend_pools_trim(void)
{
    for (cudaMemPool_t pool = memory.pools; pool; pool = pool->next) {
        if (pool->keep != UINT64_MAX)
            trim(pool, pool->keep);
    }
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t pool, size_t keep)
{
    cudaError_t error = pretend_enter("cudaMemPoolTrimTo");

    if (error == cudaSuccess)
        trim(pool, keep);
    return pretend_leave(error);
}

/* The smallest free piece that is not more than twice as large; else a new one of the device. */
static piece *take_piece(cudaMemPool_t pool, size_t bytes)
{
    piece *best = NULL;

    for (piece *p = pool->pieces; p; p = p->next) {
        if (!p->taken && p->bytes >= bytes && p->bytes / 2 <= bytes &&
            (!best || p->bytes < best->bytes))
            best = p;
    }
    if (!best && fits(pool->device, bytes)) {
        best = pretend_room(sizeof *best);
        best->bytes = bytes;
        best->next = pool->pieces;
        pool->pieces = best;
        memory.taken[pool->device] += bytes;
    }
    if (best)
        best->taken = 1;
    return best;
}

static void run_ready(void *context)
{
    allocation *a = context;

    a->ready = 1;
}

cudaError_t cudaMallocFromPoolAsync(void **out, size_t bytes, cudaMemPool_t pool,
                                    cudaStream_t stream)
{
    cudaError_t error = pretend_enter("cudaMallocFromPoolAsync");
    piece *p = NULL;

    if (error == cudaSuccess && stream->capture)
        pretend_die("an allocation in a capture: nobody has said what that is");
    if (error == cudaSuccess && bytes == 0)
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess) {
        p = take_piece(pool, units(bytes));
        error = p ? cudaSuccess : cudaErrorMemoryAllocation;
    }
    if (error == cudaSuccess) {
        allocation *a = give_out(bytes);

        a->piece = p;
        a->device = pool->device;
        *out = a->memory;
        error = pretend_put(
            stream, &(pretend_work){ .name = "an allocation", .run = run_ready, .context = a });
    }
    return pretend_leave(error);
}

static void run_free(void *context)
{
    allocation *a = context;

    a->piece->settled = 1;
    take_back(a);
}

cudaError_t cudaFreeAsync(void *p, cudaStream_t stream)
{
    cudaError_t error = pretend_enter("cudaFreeAsync");

    if (error == cudaSuccess && stream->capture)
        pretend_die("a free in a capture: nobody has said what that is");
    if (error == cudaSuccess) {
        allocation *a = exactly(p);

        if (!a->piece)
            pretend_die("cudaFreeAsync of memory that is not from a pool");
        a->given_up = 1;
        a->piece->taken = 0;
        a->piece->settled = 0;
        error =
            pretend_put(stream, &(pretend_work){ .name = "a free", .run = run_free, .context = a });
    }
    return pretend_leave(error);
}

/* ------------------------------------------------------------------ page-locked memory */

typedef struct pinned {
    struct pinned *next;
    char *at;
    size_t bytes;
} pinned;

static pinned *locked;

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned flags)
{
    cudaError_t error = pretend_enter("cudaHostAlloc");

    if (error == cudaSuccess && (flags != cudaHostAllocDefault || bytes == 0))
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess)
        error = pretend_refuse_unsafe();
    if (error == cudaSuccess) {
        pinned *p = pretend_room(sizeof *p);

        p->at = pretend_room(bytes);
        memset(p->at, 0xff, bytes);
        p->bytes = bytes;
        p->next = locked;
        locked = p;
        *out = p->at;
    }
    return pretend_leave(error);
}

/* A device might wait here; nobody may rely on it, and a copy that comes later finds nothing. */
cudaError_t cudaFreeHost(void *at)
{
    cudaError_t error = pretend_enter("cudaFreeHost");

    if (error == cudaSuccess)
        error = pretend_refuse_unsafe();
    if (error == cudaSuccess && at) {
        pinned **p = &locked, *found;

        while (*p && (*p)->at != (char *)at)
            p = &(*p)->next;
        if (!*p)
            pretend_die("%p is freed, which is no page-locked memory", at);
        found = *p;
        *p = found->next;
        dmq_free(found->at);
        dmq_free(found);
    }
    return pretend_leave(error);
}

int pretend_is_pinned(const void *at, size_t bytes)
{
    for (const pinned *p = locked; p; p = p->next) {
        size_t off = (size_t)((const char *)at - p->at);

        if ((const char *)at >= p->at && off <= p->bytes && bytes <= p->bytes - off)
            return 1;
    }
    return 0;
}

void pretend_memory_left(void)
{
    size_t pools = 0, pages = 0;

    for (cudaMemPool_t p = memory.pools; p; p = p->next)
        pools++;
    for (const pinned *p = locked; p; p = p->next)
        pages++;
    pretend_count("allocations", memory.n);
    pretend_count("pools", pools > 1 ? pools - 1 : 0); /* a process keeps one (cuda/device.c) */
    pretend_count("pieces of page-locked memory", pages);
}
