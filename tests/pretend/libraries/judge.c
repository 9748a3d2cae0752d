#include "judge.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROWS = 1 << 12, DEAD = 1 << 12 };

/* An object lies behind its header. */
typedef struct header {
    struct header *next;
    const char *kind;
    max_align_t object[];
} header;

static struct {
    pthread_mutex_t lock;
    header *row[ROWS];
    long living;
    header *dead[DEAD]; /* kept for a while: their addresses are not another object's at once */
    size_t died;
} all = { .lock = PTHREAD_MUTEX_INITIALIZER };

static header **row_of(const void *object)
{
    return &all.row[((uintptr_t)object >> 4) % ROWS];
}

/* With the lock held: the place that points at the object's header, or at NULL. */
static header **find(const void *object)
{
    header **at = row_of(object);

    while (*at && (const void *)(*at)->object != object)
        at = &(*at)->next;
    return at;
}

void *judge_memory(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);

    if (!p)
        pretend_die("no %zu bytes for a piece of work", bytes);
    return p;
}

void *judge_create(size_t bytes, const char *kind)
{
    header *h = judge_memory(sizeof *h + bytes);

    h->kind = kind;
    (void)pthread_mutex_lock(&all.lock);
    h->next = *row_of(h->object);
    *row_of(h->object) = h;
    all.living++;
    (void)pthread_mutex_unlock(&all.lock);
    return h->object;
}

const char *judge_kind(const void *p)
{
    const char *kind = NULL;

    (void)pthread_mutex_lock(&all.lock);
    if (p && *find(p))
        kind = (*find(p))->kind;
    (void)pthread_mutex_unlock(&all.lock);
    return kind;
}

void *judge_living(const void *p, const char *kind, const char *call, const char *argument)
{
    const char *is = judge_kind(p);

    if (!is)
        pretend_die("%s: %s is no living %s (%p)", call, argument, kind, p);
    if (strcmp(is, kind) != 0)
        pretend_die("%s: %s is a %s, must be a %s", call, argument, is, kind);
    return (void *)(uintptr_t)p;
}

void judge_destroy(void *p, const char *kind, const char *call)
{
    header **at, *h;

    (void)judge_living(p, kind, call, "what is destroyed");
    (void)pthread_mutex_lock(&all.lock);
    at = find(p);
    h = *at;
    if (h) {
        header **place = &all.dead[all.died++ % DEAD];

        *at = h->next;
        all.living--;
        h->next = NULL;
        free(*place);
        *place = h;
    }
    (void)pthread_mutex_unlock(&all.lock);
}

void judge_device(const void *p, size_t bytes, size_t alignment, const char *call,
                  const char *argument)
{
    if ((uintptr_t)p % alignment != 0)
        pretend_die("%s: %s (%p) is no multiple of %zu bytes", call, argument, p, alignment);
    if (bytes > 0 && !pretend_is_device(p, bytes))
        pretend_die("%s: %s (%p) is not %zu bytes of device memory", call, argument, p, bytes);
}

void judge_host(const void *p, size_t bytes, const char *call, const char *argument)
{
    if (!p)
        pretend_die("%s: %s is NULL", call, argument);
    if (pretend_is_device(p, bytes))
        pretend_die("%s: %s (%p) is memory of the device, must be of the host", call, argument, p);
}

void judge_apart(const void *written, size_t written_bytes, const void *read, size_t read_bytes,
                 const char *call, const char *argument)
{
    uintptr_t w = (uintptr_t)written, r = (uintptr_t)read;

    if (w < r + read_bytes && r < w + written_bytes)
        pretend_die("%s: the result overlaps %s", call, argument);
}

int judge_enqueue(cudaStream_t stream, const char *name, void (*run)(void *context),
                  void (*drop)(void *context), void *context)
{
    return pretend_enqueue(
               stream,
               &(pretend_work){ .name = name, .run = run, .drop = drop, .context = context }) ==
           cudaSuccess;
}

/* After all that the program does at its end: what is left now has been forgotten. */
__attribute__((destructor)) static void tell_what_is_left(void)
{
    while (all.living > 0) {
        const char *kind = NULL;
        long n = 0;

        for (int i = 0; i < ROWS; i++) {
            for (header **at = &all.row[i]; *at;) {
                if (!kind)
                    kind = (*at)->kind;
                if (strcmp((*at)->kind, kind) != 0) {
                    at = &(*at)->next;
                    continue;
                }
                *at = (*at)->next; /* it stays where it is: the program ends */
                n++;
            }
        }
        (void)fprintf(stderr, "pretend: %s not destroyed: %ld\n", kind, n);
        all.living -= n;
        (void)fflush(NULL);
        if (all.living == 0)
            _exit(3);
    }
}
