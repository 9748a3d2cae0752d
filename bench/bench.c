#include "bench.h"

#include "base/clock.h"
#include "base/memory.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ roofs */

/* Ten independent chains of the widest registers: enough to hide the latency of an FMA. */
#define FMA_BODY(type, width, fma)                                                        \
    type acc[10], p = { 0 }, q = { 0 };                                                   \
    float total = 0;                                                                      \
                                                                                          \
    for (int l = 0; l < (width); l++) {                                                   \
        p[l] = 0.999f;                                                                    \
        q[l] = 0.001f;                                                                    \
    }                                                                                     \
    for (int i = 0; i < 10; i++)                                                          \
        acc[i] = p * (float)i;                                                            \
    for (long n = 0; n < rounds; n++) {                                                   \
        _Pragma("GCC unroll 10") for (int i = 0; i < 10; i++) acc[i] = fma(acc[i], p, q); \
    }                                                                                     \
    for (int i = 0; i < 10; i++)                                                          \
        total += acc[i][0];                                                               \
    return total

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f"))) static float fma_512(long rounds)
{
    FMA_BODY(__m512, 16, _mm512_fmadd_ps);
}

__attribute__((target("avx2,fma"))) static float fma_256(long rounds)
{
    FMA_BODY(__m256, 8, _mm256_fmadd_ps);
}
#endif

static float fma_scalar(long rounds)
{
    float acc[10];
    float total = 0;

    for (int i = 0; i < 10; i++)
        acc[i] = (float)i;
    for (long n = 0; n < rounds; n++) {
        for (int i = 0; i < 10; i++)
            acc[i] = acc[i] * 0.999f + 0.001f;
    }
    for (int i = 0; i < 10; i++)
        total += acc[i];
    return total;
}

double bench_fma_gflops(void)
{
    float (*run)(long) = fma_scalar;
    double width = 1, best = 0;
    const long rounds = 100000;
    volatile float sink = 0;

#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        run = fma_512;
        width = 16;
    } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        run = fma_256;
        width = 8;
    }
#endif
    for (int i = 0; i < 100; i++) {
        double start = dmq_clock_seconds(), rate;

        sink = sink + run(rounds);
        rate = (double)rounds * 20 * width / (dmq_clock_seconds() - start) * 1e-9;
        if (rate > best)
            best = rate;
    }
    return best;
}

__attribute__((noinline)) static float read_all(const float *x, size_t count)
{
    float sum[64] = { 0 };
    float total = 0;

    for (size_t i = 0; i + 64 <= count; i += 64) {
        for (size_t l = 0; l < 64; l++)
            sum[l] += x[i + l];
    }
    for (size_t l = 0; l < 64; l++)
        total += sum[l];
    return total;
}

double bench_read_gbs(size_t bytes)
{
    void *memory = NULL;
    double best = 0;
    volatile float sink = 0;

    if (dmq_alloc(&memory, bytes, 1) != DMQ_OK)
        return 0;
    bench_fill(memory, bytes / sizeof(float), 1);
    for (int i = 0; i < 20; i++) {
        double start = dmq_clock_seconds(), rate;
        int times = (int)(1 + (32u << 20) / bytes);

        for (int t = 0; t < times; t++)
            sink = sink + read_all(memory, bytes / sizeof(float));
        rate = (double)bytes * times / (dmq_clock_seconds() - start) * 1e-9;
        if (rate > best)
            best = rate;
    }
    dmq_free(memory);
    return best;
}

double bench_fma_gflops_threads(int threads)
{
    double sum = 0;

#pragma omp parallel num_threads(threads) reduction(+ : sum)
    sum += bench_fma_gflops();
    return sum;
}

double bench_read_gbs_threads(size_t bytes_each, int threads)
{
    double sum = 0;

#pragma omp parallel num_threads(threads) reduction(+ : sum)
    sum += bench_read_gbs(bytes_each);
    return sum;
}

/* ------------------------------------------------------------------ measuring */

enum { MAX_REPS = 10000, FLUSH_BYTES = 64 << 20 };

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void flush(char *junk)
{
    for (size_t i = 0; i < FLUSH_BYTES; i += 64)
        junk[i]++;
}

void bench_header(void)
{
    (void)printf(
        "op\tbackend\tshape\tdtype\treps\tmedian_us\tmin_us\tGB/s\tGFLOP/s\tshare_of_roof\t"
        "worst_error\n");
}

void bench_print(const bench_case *c, const bench_result *r)
{
    double gflops = c->flop / r->min_us * 1e-3, gbs = c->bytes / r->min_us * 1e-3;
    double by_math = c->roof_gflops > 0 ? gflops / c->roof_gflops : 0;
    double by_bytes = c->roof_gbs > 0 ? gbs / c->roof_gbs : 0;

    (void)printf("%s\t%s\t%s\t%s\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.3f\t%.1e\n", c->op, c->backend,
                 c->shape, c->dtype, r->reps, r->median_us, r->min_us, gbs, gflops,
                 by_math > by_bytes ? by_math : by_bytes, c->worst_error);
    (void)fflush(stdout);
}

static double seconds(const bench_case *c)
{
    return c->cpu_clock ? dmq_clock_cpu_seconds() : dmq_clock_seconds();
}

dmq_status bench_measure(bench_result *result, const bench_case *c)
{
    dmq_status st = DMQ_OK;
    double *us = NULL, begin;
    char *junk = NULL;
    bench_result r = { 0 };

    DMQ_TRY(dmq_alloc((void **)&us, MAX_REPS, sizeof *us));
    if (c->flush)
        DMQ_TRY(dmq_alloc((void **)&junk, FLUSH_BYTES, 1));
    for (int i = 0; i < 2; i++)
        DMQ_TRY(c->run(c->context));
    begin = dmq_clock_seconds();
    while (r.reps < MAX_REPS &&
           (r.reps < c->reps || dmq_clock_seconds() - begin < c->min_ms * 1e-3)) {
        double start;

        if (junk)
            flush(junk);
        start = seconds(c);
        DMQ_TRY(c->run(c->context));
        us[r.reps++] = (seconds(c) - start) * 1e6 / (c->calls > 0 ? c->calls : 1);
    }
    qsort(us, (size_t)r.reps, sizeof *us, ascending);
    r.median_us = us[r.reps / 2];
    r.min_us = us[0];
    bench_print(c, &r);
    if (result)
        *result = r;
done:
    dmq_free(junk);
    dmq_free(us);
    return st;
}

double bench_error(const float *a, const float *b, size_t count)
{
    double diff = 0, norm = 0;

    for (size_t i = 0; i < count; i++) {
        double d = (double)a[i] - (double)b[i];

        diff += d * d;
        norm += (double)b[i] * (double)b[i];
    }
    return diff == 0 ? 0 : sqrt(diff / norm);
}

void bench_fill(float *x, size_t count, unsigned seed)
{
    unsigned state = seed * 2654435761u + 1u;

    for (size_t i = 0; i < count; i++) {
        float sum = 0;

        for (int k = 0; k < 4; k++) { /* four uniform numbers are normal enough */
            state = state * 1664525u + 1013904223u;
            sum += (float)(state >> 8) * 0x1p-24f - 0.5f;
        }
        x[i] = sum * 1.7320508f;
    }
}

/* ------------------------------------------------------------------ shapes and options */

struct bench_shapes {
    FILE *file;
};

dmq_status bench_shapes_open(bench_shapes **out, const char *path)
{
    dmq_status st = DMQ_OK;
    bench_shapes *s = NULL;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&s, 1, sizeof *s));
    s->file = fopen(path, "r");
    if (!s->file) {
        st = dmq_fail(DMQ_ENOINPUT, "bench: cannot open %s", path);
        goto done;
    }
    *out = s;
    s = NULL;
done:
    dmq_free(s);
    return st;
}

void bench_shapes_close(bench_shapes *shapes)
{
    if (!shapes)
        return;
    (void)fclose(shapes->file);
    dmq_free(shapes);
}

int bench_shapes_next(bench_shapes *shapes, const char *op, char name[64], int *number, int count)
{
    char line[256];

    while (fgets(line, sizeof line, shapes->file)) {
        char *save = NULL, *word = strtok_r(line, " \t\n", &save);
        int got = 0;

        if (!word || strcmp(word, op) != 0)
            continue;
        word = strtok_r(NULL, " \t\n", &save);
        if (!word)
            continue;
        (void)snprintf(name, 64, "%s", word);
        while (got < count && (word = strtok_r(NULL, " \t\n", &save)))
            number[got++] = (int)strtol(word, NULL, 10);
        if (got == count)
            return 1;
    }
    return 0;
}

const char *bench_option(int argc, char **argv, const char *name, const char *otherwise)
{
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    }
    return otherwise;
}
