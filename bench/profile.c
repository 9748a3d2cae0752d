#include "profile.h"

#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct counter {
    const char *name;
    atomic_long calls, ns;
} counter;

static const dmq_backend *under;
static dmq_backend table;
static double start;

static long thread_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

#define NUMBER(slot, args) NUMBER_##slot,
enum { DMQ_BACKEND_OPS(NUMBER) SLOTS };

#define COUNTER(slot, args) { .name = #slot },
static counter count[SLOTS] = { DMQ_BACKEND_OPS(COUNTER) };

#define PASS_ON(slot, args)                                              \
    static dmq_status slot##_timed(dmq_queue *q, const args *a)          \
    {                                                                    \
        long begin = thread_ns();                                        \
        dmq_status st = under->slot(q, a);                               \
                                                                         \
        atomic_fetch_add(&count[NUMBER_##slot].calls, 1);                \
        atomic_fetch_add(&count[NUMBER_##slot].ns, thread_ns() - begin); \
        return st;                                                       \
    }
DMQ_BACKEND_OPS(PASS_ON)

const dmq_backend *bench_profile_backend(const dmq_backend *be)
{
    under = be;
    table = *be;
#define PUT(slot, args) table.slot = slot##_timed;
    DMQ_BACKEND_OPS(PUT)
    bench_profile_reset();
    return &table;
}

void bench_profile_reset(void)
{
    for (int i = 0; i < SLOTS; i++) {
        atomic_store(&count[i].calls, 0);
        atomic_store(&count[i].ns, 0);
    }
    start = dmq_clock_cpu_seconds();
}

static int by_time(const void *a, const void *b)
{
    long x = atomic_load(&count[*(const int *)a].ns), y = atomic_load(&count[*(const int *)b].ns);

    return (x < y) - (x > y);
}

void bench_profile_print(const char *what, int runs)
{
    double total = (dmq_clock_cpu_seconds() - start) * 1e9, rest = total;
    int order[SLOTS];

    for (int i = 0; i < SLOTS; i++)
        order[i] = i;
    qsort(order, SLOTS, sizeof *order, by_time);
    (void)fprintf(stderr, "# %s: CPU time of a run, slot by slot\n", what);
    for (int i = 0; i < SLOTS; i++) {
        counter *c = &count[order[i]];
        double ns = (double)atomic_load(&c->ns);

        rest -= ns;
        if (ns > 0) {
            (void)fprintf(stderr, "#   %-24s %8.1f calls %10.1f us %6.1f %%\n", c->name,
                          (double)atomic_load(&c->calls) / runs, ns / runs * 1e-3,
                          100 * ns / total);
        }
    }
    (void)fprintf(stderr, "#   %-24s %8s       %10.1f us %6.1f %%\n", "(elsewhere)", "",
                  rest / runs * 1e-3, 100 * rest / total);
    (void)fprintf(stderr, "#   %-24s %8s       %10.1f us\n", "(all)", "", total / runs * 1e-3);
}
