/* The device as a whole: which there is, errors, what is to fail, what is left at the end. */
#include "pretend/runtime.h"

#include "base/memory.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { NAMES = 64, LEAKED = 70 };

typedef struct wish {
    char name[64];
    long n, calls;
} wish;

static struct {
    pthread_mutex_t lock;
    pthread_once_t once;
    uint64_t chance; /* state of the random order; 0: another order */
    int early;
    wish wishes[NAMES];
    int left; /* things that were not given back */
} device = { .once = PTHREAD_ONCE_INIT };

static _Thread_local cudaError_t last_error;
static _Thread_local int current;

void pretend_die(const char *format, ...)
{
    const char *work = pretend_running();
    va_list args;

    va_start(args, format);
    (void)fprintf(stderr, "pretend: ");
    if (work)
        (void)fprintf(stderr, "%s: ", work);
    (void)vfprintf(stderr, format, args);
    (void)fprintf(stderr, "\n");
    va_end(args);
    abort();
}

void *pretend_room(size_t bytes)
{
    void *room = NULL;

    if (dmq_alloc(&room, 1, bytes) != DMQ_OK)
        pretend_die("the host has no %zu bytes", bytes);
    return room;
}

void pretend_grow(void **array, size_t *room, size_t n, size_t size)
{
    size_t more = *room ? 2 * *room : 16;

    if (n < *room)
        return;
    if (dmq_grow(array, *room, more, size) != DMQ_OK)
        pretend_die("the host has no %zu bytes", more * size);
    *room = more;
}

/* ------------------------------------------------------------------ wishes */

long pretend_wish(const char *name, long other)
{
    char variable[96];
    const char *text;

    (void)snprintf(variable, sizeof variable, "PRETEND_%s", name);
    text = getenv(variable);
    return text && *text ? strtol(text, NULL, 10) : other;
}

static wish *wish_of(const char *name)
{
    for (int i = 0; i < NAMES; i++) {
        wish *w = &device.wishes[i];

        if (!w->name[0])
            (void)snprintf(w->name, sizeof w->name, "%s", name);
        if (strcmp(w->name, name) == 0)
            return w;
    }
    pretend_die("more than %d functions are to fail", NAMES);
}

static int fails(const char *name)
{
    char variable[80];
    long n;
    wish *w;

    (void)snprintf(variable, sizeof variable, "FAIL_%s", name);
    n = pretend_wish(variable, 0);
    if (n == 0)
        return 0;
    w = wish_of(name);
    if (w->n != n) {
        w->n = n;
        w->calls = 0;
    }
    return ++w->calls == n;
}

int pretend_fails(const char *name)
{
    int yes;

    pretend_lock(1);
    yes = fails(name);
    pretend_lock(0);
    return yes;
}

/* ------------------------------------------------------------------ order */

static void read_order(void)
{
    const char *order = getenv("PRETEND_ORDER");

    if (!order || !*order || strcmp(order, "late") == 0)
        return;
    if (strcmp(order, "early") == 0) {
        device.early = 1;
    } else if (strncmp(order, "random:", 7) == 0) {
        device.chance = strtoull(order + 7, NULL, 10) * UINT64_C(0x9E3779B97F4A7C15) + 1;
    } else {
        pretend_die("PRETEND_ORDER = %s: must be late, early or random:SEED", order);
    }
}

/* xorshift64* */
unsigned pretend_chance(void)
{
    uint64_t *s = &device.chance;

    if (*s == 0)
        return 0;
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return (unsigned)((*s * UINT64_C(2685821657736338717)) >> 33);
}

int pretend_is_early(void)
{
    return device.early;
}

/* ------------------------------------------------------------------ the end */

void pretend_count(const char *what, size_t left)
{
    if (left == 0)
        return;
    (void)fprintf(stderr, "pretend: not given back: %s: %zu\n", what, left);
    device.left = 1;
}

/* A program that leaks says so by its exit code, too: a leak checker sees nothing of this. */
static void tell_what_is_left(void)
{
    (void)pthread_mutex_lock(&device.lock);
    pretend_streams_left();
    pretend_graphs_left();
    pretend_memory_left();
    if (device.left) {
        (void)fflush(NULL);
        _exit(LEAKED);
    }
    (void)pthread_mutex_unlock(&device.lock);
}

static void begin(void)
{
    pthread_mutexattr_t recursive;

    (void)pthread_mutexattr_init(&recursive);
    (void)pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    (void)pthread_mutex_init(&device.lock, &recursive);
    read_order();
    (void)atexit(tell_what_is_left);
}

/* ------------------------------------------------------------------ every function */

/* What a device that is short of something, or broken, says. */
static cudaError_t wished_error(const char *function)
{
    static const char *const short_of_memory[] = { "cudaMalloc", "cudaMallocFromPoolAsync",
                                                   "cudaHostAlloc", "cudaGraphInstantiate",
                                                   "cudaStreamCreateWithFlags" };

    for (size_t i = 0; i < sizeof short_of_memory / sizeof *short_of_memory; i++) {
        if (strcmp(function, short_of_memory[i]) == 0)
            return cudaErrorMemoryAllocation;
    }
    return cudaErrorUnknown;
}

void pretend_lock(int take)
{
    (void)pthread_once(&device.once, begin);
    if (take)
        (void)pthread_mutex_lock(&device.lock);
    else
        (void)pthread_mutex_unlock(&device.lock);
}

cudaError_t pretend_enter(const char *function)
{
    pretend_lock(1);
    if (pretend_running())
        pretend_die("%s is called by work of a stream", function);
    if (pretend_wish("DEVICES", 1) == 0)
        return cudaErrorNoDevice;
    pretend_go_on();
    return fails(function) ? wished_error(function) : cudaSuccess;
}

cudaError_t pretend_leave(cudaError_t error)
{
    if (error == cudaSuccess)
        pretend_go_on();
    if (error != cudaSuccess)
        last_error = error;
    (void)pthread_mutex_unlock(&device.lock);
    return error;
}

void pretend_pause(void)
{
    const struct timespec moment = { 0, 200000 };

    pretend_lock(0);
    (void)nanosleep(&moment, NULL);
    pretend_lock(1);
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = last_error;

    last_error = cudaSuccess;
    return error;
}

const char *cudaGetErrorString(cudaError_t error)
{
    static _Thread_local char text[48];

    switch ((int)error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorInvalidValue:
        return "invalid argument";
    case cudaErrorStreamCaptureUnsupported:
        return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
        return "operation failed due to a previous error during capture";
    default:
        (void)snprintf(text, sizeof text, "error %d of the pretended device", (int)error);
        return text;
    }
}

/* ------------------------------------------------------------------ devices */

int pretend_device(void)
{
    return current;
}

static int is_there(int number)
{
    return number >= 0 && number < pretend_wish("DEVICES", 1);
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = (int)pretend_wish("DRIVER", pretend_wish("DEVICES", 1) ? CUDART_VERSION : 0);
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    cudaError_t error = pretend_enter("cudaGetDeviceCount");

    if (error == cudaSuccess &&
        pretend_wish("DRIVER", CUDART_VERSION) / 1000 < CUDART_VERSION / 1000)
        error = cudaErrorInsufficientDriver;
    *count = error == cudaSuccess ? (int)pretend_wish("DEVICES", 1) : 0;
    return pretend_leave(error);
}

cudaError_t cudaSetDevice(int number)
{
    cudaError_t error = pretend_enter("cudaSetDevice");

    if (error == cudaSuccess && !is_there(number))
        error = cudaErrorInvalidDevice;
    if (error == cudaSuccess)
        current = number;
    return pretend_leave(error);
}

cudaError_t cudaGetDevice(int *number)
{
    cudaError_t error = pretend_enter("cudaGetDevice");

    *number = current;
    return pretend_leave(error);
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int number)
{
    cudaError_t error = pretend_enter("cudaDeviceGetAttribute");

    if (error == cudaSuccess && !is_there(number))
        error = cudaErrorInvalidDevice;
    if (error == cudaSuccess && attribute != cudaDevAttrMemoryPoolsSupported)
        pretend_die("nobody has said what attribute %d is", (int)attribute);
    if (error == cudaSuccess)
        *value = (int)pretend_wish("POOLS", 1);
    return pretend_leave(error);
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int number)
{
    cudaError_t error = pretend_enter("cudaGetDeviceProperties");

    if (error == cudaSuccess && !is_there(number))
        error = cudaErrorInvalidDevice;
    if (error == cudaSuccess) {
        memset(p, 0, sizeof *p);
        (void)snprintf(p->name, sizeof p->name, "pretended device");
        p->totalGlobalMem = (size_t)pretend_wish("TOTAL", 1024) << 20;
        p->major = 9;
        p->multiProcessorCount = 132;
    }
    return pretend_leave(error);
}

cudaError_t cudaDeviceGetPCIBusId(char *id, int room, int number)
{
    cudaError_t error = pretend_enter("cudaDeviceGetPCIBusId");

    if (error == cudaSuccess && (!is_there(number) || room < 13))
        error = cudaErrorInvalidValue;
    if (error == cudaSuccess)
        (void)snprintf(id, (size_t)room, "0000:%02x:00.0", number & 0xff);
    return pretend_leave(error);
}
