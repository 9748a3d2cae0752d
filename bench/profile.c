#include "profile.h"

#include "count.h"

#include "base/clock.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct counter {
    const char *name;
    atomic_long calls, ns;
    double bytes, flop, floor_us, launched_us; /* one lane: counted with --count alone */
} counter;

static const dmq_backend *under;
static dmq_backend table;
static bench_roofs roofs; /* gbs 0: nothing is counted but time */
static double start;

static long thread_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

#define COUNTER(slot, args) { .name = #slot },
static counter count[BENCH_SLOTS] = { DMQ_BACKEND_OPS(COUNTER) };

static void add_cost(int slot, const void *args)
{
    bench_cost cost = bench_cost_of(slot, args);
    counter *c = &count[slot];
    double us = fmax(cost.bytes / roofs.gbs * 1e-3, cost.flop / roofs.tflops * 1e-6);

    c->bytes += cost.bytes;
    c->flop += cost.flop;
    c->floor_us += us;
    c->launched_us += fmax(us, roofs.launch_us);
}

#define PASS_ON(slot, args)                                             \
    static dmq_status slot##_timed(dmq_queue *q, const args *a)         \
    {                                                                   \
        long begin = thread_ns();                                       \
        dmq_status st = under->slot(q, a);                              \
                                                                        \
        atomic_fetch_add(&count[BENCH_##slot].calls, 1);                \
        atomic_fetch_add(&count[BENCH_##slot].ns, thread_ns() - begin); \
        if (roofs.gbs > 0)                                              \
            add_cost(BENCH_##slot, a);                                  \
        return st;                                                      \
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
    for (int i = 0; i < BENCH_SLOTS; i++) {
        atomic_store(&count[i].calls, 0);
        atomic_store(&count[i].ns, 0);
        count[i].bytes = count[i].flop = count[i].floor_us = count[i].launched_us = 0;
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
    int order[BENCH_SLOTS];

    for (int i = 0; i < BENCH_SLOTS; i++)
        order[i] = i;
    qsort(order, BENCH_SLOTS, sizeof *order, by_time);
    (void)fprintf(stderr, "# %s: CPU time of a run, slot by slot\n", what);
    for (int i = 0; i < BENCH_SLOTS; i++) {
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

const dmq_backend *bench_count_backend(const dmq_backend *be, const bench_roofs *r)
{
    (void)bench_profile_backend(be);
    roofs = *r;
    if (r->shard > 0) {
        table.shard = r->shard;
        table.host_memory = 0;
    }
    return &table;
}

void bench_count_header(void)
{
    (void)printf("shape\tslot\tcalls\tMB\tGFLOP\tfloor_us\tlaunched_us\n");
}

static void print_row(const char *shape, const counter *c, double calls, int runs)
{
    (void)printf("%s\t%s\t%g\t%.3f\t%.3f\t%.1f\t%.1f\n", shape, c->name, calls / runs,
                 c->bytes / runs * 1e-6, c->flop / runs * 1e-9, c->floor_us / runs,
                 c->launched_us / runs);
}

void bench_count_print(const char *shape, int runs)
{
    counter all = { .name = "all" };
    double calls = 0;

    for (int i = 0; i < BENCH_SLOTS; i++) {
        const counter *c = &count[i];
        double n = (double)atomic_load(&c->calls);

        if (n == 0)
            continue;
        print_row(shape, c, n, runs);
        calls += n;
        all.bytes += c->bytes;
        all.flop += c->flop;
        all.floor_us += c->floor_us;
        all.launched_us += c->launched_us;
    }
    print_row(shape, &all, calls, runs);
}
