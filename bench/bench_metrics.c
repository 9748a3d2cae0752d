/*
 * Metrics of features on the host, made-up features as wide as the pool of Inception's, classes as many: moments, the
 * normal law of a covariance and the distance of two, balls about points and what they hold, kernel distance, inception
 * score, structural similarity.
 *
 *   bench_metrics [--threads 2] [--n 4096] [--d 2048] [--only law] [--reps 3] [--ms 0] [--clock wall|cpu]
 *
 * Errors: of a covariance against long double sums at 64 places; of a law |R^T R - C| / |C|; of radii against distances
 * one by one. Of n real points half as many are generated.
 */
#include "bench.h"
#include "setup.h"

#include "base/memory.h"
#include "eval/frechet.h"
#include "eval/inception_score.h"
#include "eval/kid.h"
#include "eval/manifold.h"
#include "eval/moments.h"
#include "eval/pieces.h"
#include "eval/similarity.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 1008, SIDE = 256, PLACES = 64 };

typedef struct metrics {
    size_t n, half;
    int d;
    float *real, *generated; /* (n, d), (n / 2, d) */
    double *mean, *cov;
    dmq_gaussian *law;
    dmq_balls *balls, *other;
    uint8_t *levels; /* two images */
} metrics;

/* ------------------------------------------------------------------ the cases */

static dmq_status moments(void *context)
{
    metrics *b = context;
    dmq_moments *m = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_moments_create(&m, b->d));
    DMQ_TRY(dmq_moments_add(m, b->real, b->n));
    DMQ_TRY(dmq_moments_result(m, b->mean, b->cov));
done:
    dmq_moments_destroy(m);
    return st;
}

static dmq_status law(void *context)
{
    metrics *b = context;

    dmq_gaussian_destroy(b->law);
    b->law = NULL;
    return dmq_gaussian_create(&b->law, b->d, b->mean, b->cov);
}

static dmq_status distance(void *context)
{
    const metrics *b = context;
    double out;

    return dmq_frechet_between(&out, b->law, b->law);
}

static dmq_status balls(void *context)
{
    metrics *b = context;

    dmq_balls_destroy(b->balls);
    b->balls = NULL;
    return dmq_balls_create(&b->balls, b->real, b->n, b->d, 3);
}

static dmq_status compare(void *context)
{
    const metrics *b = context;
    dmq_manifold out;

    return dmq_manifold_compare(&out, b->balls, b->other);
}

static dmq_status kid(void *context)
{
    const metrics *b = context;
    const dmq_kid_config config = { .subsets = 10, .size = 1000, .seed = 2020 };
    double mean;

    return dmq_kid(&mean, NULL, b->generated, b->half, b->real, b->n, b->d, &config);
}

static dmq_status score(void *context)
{
    const metrics *b = context;
    double mean;

    return dmq_inception_score(&mean, NULL, b->real, b->n * (size_t)b->d / CLASSES, CLASSES,
                               &(dmq_score_parts){ .splits = 10 });
}

static dmq_status similarity(void *context)
{
    const metrics *b = context;
    dmq_similarity_sum sum = { 0 };

    return dmq_similarity_add(&sum, b->levels, b->levels + (size_t)SIDE * SIDE * 3, 8, SIDE, SIDE,
                              3);
}

/* ------------------------------------------------------------------ errors */

static double moments_error(const metrics *b)
{
    size_t d = (size_t)b->d;
    double worst = 0;

    for (size_t p = 0; p < PLACES; p++) {
        size_t i = p * 97 % d, j = p * 31 % d;
        long double sum[2] = { 0 }, cross = 0, square = 0;

        for (size_t k = 0; k < b->n; k++) {
            sum[0] += b->real[k * d + i];
            sum[1] += b->real[k * d + j];
        }
        for (size_t k = 0; k < b->n; k++) {
            long double x = b->real[k * d + i] - sum[0] / (long double)b->n;
            long double y = b->real[k * d + j] - sum[1] / (long double)b->n;

            cross += x * y;
            square += fabsl(x * y);
        }
        worst = fmax(
            worst, (double)fabsl((long double)b->cov[i * d + j] * ((long double)b->n - 1) - cross) /
                       (double)square);
    }
    return worst;
}

static dmq_status law_error(double *out, const metrics *b)
{
    size_t n = (size_t)b->d * (size_t)b->d;
    double *c = NULL, difference = 0, length = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&c, n, sizeof *c));
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, b->d, b->d, b->law->rank, 1, b->law->root,
                b->d, b->law->root, b->d, 0, c, b->d);
    for (size_t i = 0; i < n; i++) {
        difference += (c[i] - b->cov[i]) * (c[i] - b->cov[i]);
        length += b->cov[i] * b->cov[i];
    }
    *out = sqrt(difference / length);
done:
    dmq_free(c);
    return st;
}

static double radii_error(const metrics *b)
{
    size_t d = (size_t)b->d;
    double worst = 0;

    for (size_t p = 0; p < PLACES; p++) {
        size_t i = p * 101 % b->n;
        double nearest[3] = { INFINITY, INFINITY, INFINITY };

        for (size_t k = 0; k < b->n; k++) {
            double sum = 0;

            for (size_t j = 0; j < d; j++) {
                double x = (double)b->real[i * d + j] - (double)b->real[k * d + j];

                sum += x * x;
            }
            for (int at = 0; k != i && at < 3; at++) {
                if (sum < nearest[at]) {
                    double next = nearest[at];

                    nearest[at] = sum;
                    sum = next;
                }
            }
        }
        worst = fmax(worst, fabs(b->balls->radius2[i] / nearest[2] - 1));
    }
    return worst;
}

/* ------------------------------------------------------------------ all of them */

static dmq_status open_metrics(metrics *b, int argc, char **argv)
{
    size_t d, image = (size_t)SIDE * SIDE * 3;
    dmq_status st = DMQ_OK;

    b->n = (size_t)atoi(bench_option(argc, argv, "--n", "4096"));
    b->half = b->n / 2;
    b->d = atoi(bench_option(argc, argv, "--d", "2048"));
    d = (size_t)b->d;
    DMQ_TRY(dmq_alloc((void **)&b->real, b->n * d, sizeof *b->real));
    DMQ_TRY(dmq_alloc((void **)&b->generated, b->half * d, sizeof *b->generated));
    DMQ_TRY(dmq_alloc((void **)&b->mean, d, sizeof *b->mean));
    DMQ_TRY(dmq_alloc((void **)&b->cov, d * d, sizeof *b->cov));
    DMQ_TRY(dmq_alloc((void **)&b->levels, 9 * image, 1)); /* pairs of neighbours */
    bench_fill(b->real, b->n * d, 1);
    bench_fill(b->generated, b->half * d, 2);
    for (size_t i = 0; i < 9 * image; i++)
        b->levels[i] = (uint8_t)(i * 2654435761U >> 13);
done:
    return st;
}

static void close_metrics(metrics *b)
{
    dmq_gaussian_destroy(b->law);
    dmq_balls_destroy(b->balls);
    dmq_balls_destroy(b->other);
    dmq_free(b->real);
    dmq_free(b->generated);
    dmq_free(b->mean);
    dmq_free(b->cov);
    dmq_free(b->levels);
}

static dmq_status measure(const bench_setup *setup, metrics *b, const char *op, const char *dtype,
                          bench_fn *run, double flop, double error)
{
    char shape[48];
    bench_case c;
    dmq_status st = DMQ_OK;

    if (!bench_setup_wants(setup, op))
        return DMQ_OK;
    (void)snprintf(shape, sizeof shape, "%zux%d", b->n, b->d);
    c = bench_setup_case(setup, op, shape, run, b);
    c.dtype = dtype;
    c.flop = flop;
    c.roof_gflops = 0; /* that of FP32, and half of these are in FP64 */
    c.worst_error = error;
    DMQ_TRY(bench_setup_measure(NULL, setup, &c));
done:
    return st;
}

int main(int argc, char **argv)
{
    metrics b = { 0 };
    bench_setup setup;
    double n, d, error;
    dmq_status st = DMQ_OK;

    DMQ_TRY(bench_setup_open(&setup, "bench_metrics", argc, argv));
    dmq_pieces_threads_set(setup.threads);
    DMQ_TRY(open_metrics(&b, argc, argv));
    n = (double)b.n;
    d = b.d;
    DMQ_TRY(moments(&b)); /* what the later ones take */
    DMQ_TRY(law(&b));
    DMQ_TRY(balls(&b));
    DMQ_TRY(dmq_balls_create(&b.other, b.generated, b.half, b.d, 3));
    DMQ_TRY(measure(&setup, &b, "moments", "f64", moments, n * d * d, moments_error(&b)));
    DMQ_TRY(law_error(&error, &b));
    DMQ_TRY(measure(&setup, &b, "law", "f64", law, 0, error));
    DMQ_TRY(measure(&setup, &b, "distance", "f64", distance, 0, -1));
    DMQ_TRY(measure(&setup, &b, "balls", "f32", balls, 2 * n * n * d, radii_error(&b)));
    DMQ_TRY(measure(&setup, &b, "compare", "f32", compare, n * n * d, -1));
    if (b.half >= 1000)
        DMQ_TRY(measure(&setup, &b, "kid", "f64", kid, 10 * 4e6 * 2 * d, -1));
    DMQ_TRY(measure(&setup, &b, "score", "f64", score, 0, -1));
    DMQ_TRY(measure(&setup, &b, "similarity", "f64", similarity, 0, -1));
done:
    close_metrics(&b);
    return bench_setup_close(&setup, st);
}
