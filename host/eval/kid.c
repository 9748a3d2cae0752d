#include "eval/kid.h"

#include "base/memory.h"
#include "eval/bounded.h"
#include "eval/numpy_random.h"
#include "eval/pieces.h"

#include <assert.h>
#include <cblas.h>
#include <math.h>
#include <string.h>

/* Rows of products in memory at once. */
enum { ROWS = 128 };

const dmq_kid_config dmq_kid_defaults = { .subsets = 100, .size = 1000, .seed = 2020 };

/* Room of one thread. */
typedef struct room {
    double *x, *y;   /* (size, d) */
    double *product; /* (ROWS, size) */
} room;

typedef struct subsets {
    const float *set[2]; /* generated, real */
    uint32_t *index[2];  /* (subsets, size) */
    size_t size;
    int d;
    room *room;    /* (threads) */
    double *value; /* (subsets) */
} subsets;

/* sum of k(x_i, y_j) over all pairs, or over those with i < j where y is x. */
static double kernel_sum(const subsets *s, const room *r, const double *x, const double *y)
{
    size_t d = (size_t)s->d;
    double total = 0;

    for (size_t from = 0; from < s->size; from += ROWS) {
        size_t rows = s->size - from < ROWS ? s->size - from : ROWS;
        size_t first = x == y ? from : 0, columns = s->size - first;

        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)columns, s->d,
                    1 / (double)d, x + from * d, s->d, y + first * d, s->d, 0, r->product,
                    (int)columns);
        for (size_t i = 0; i < rows; i++) {
            double sum = 0;

            for (size_t j = x == y ? i + 1 : 0; j < columns; j++) {
                double k = r->product[i * columns + j] + 1;

                sum += k * k * k;
            }
            total += sum;
        }
    }
    return total;
}

static void gather(double *out, const float *x, const uint32_t *index, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < d; j++)
            out[i * d + j] = (double)x[index[i] * d + j];
    }
}

static dmq_status discrepancy(void *context, int piece, int thread)
{
    subsets *s = context;
    room *r = &s->room[thread];
    double m = (double)s->size, own;

    gather(r->x, s->set[0], s->index[0] + (size_t)piece * s->size, s->size, (size_t)s->d);
    gather(r->y, s->set[1], s->index[1] + (size_t)piece * s->size, s->size, (size_t)s->d);
    own = 2 * (kernel_sum(s, r, r->x, r->x) + kernel_sum(s, r, r->y, r->y));
    s->value[piece] = own / (m * (m - 1)) - 2 * kernel_sum(s, r, r->x, r->y) / (m * m);
    return DMQ_OK;
}

static dmq_status check(const float *x, size_t n, size_t d, int size, const char *what)
{
    if (n < (size_t)size) {
        return dmq_fail(DMQ_EDATA, "kernel distance: %zu %s images cannot make subsets of %d", n,
                        what, size);
    }
    return dmq_features_bounded(what, x, n, d, 0);
}

/* Subsets in the order in which one generator draws them: generated, real, generated, ... */
static dmq_status draw(subsets *s, const size_t n[2], const dmq_kid_config *c)
{
    uint32_t *order = NULL;
    dmq_numpy_random random;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&order, n[0] > n[1] ? n[0] : n[1], sizeof *order));
    dmq_numpy_random_init(&random, c->seed);
    for (size_t i = 0; i < (size_t)c->subsets; i++) {
        for (int k = 0; k < 2; k++) {
            dmq_numpy_permutation(order, n[k], &random);
            memcpy(s->index[k] + i * s->size, order, s->size * sizeof *order);
        }
    }
done:
    dmq_free(order);
    return st;
}

static dmq_status make_room(subsets *s, int threads, const dmq_kid_config *c)
{
    size_t d = (size_t)s->d;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&s->value, (size_t)c->subsets, sizeof *s->value));
    for (int k = 0; k < 2; k++)
        DMQ_TRY(dmq_alloc((void **)&s->index[k], (size_t)c->subsets * s->size, sizeof(uint32_t)));
    DMQ_TRY(dmq_alloc((void **)&s->room, (size_t)threads, sizeof *s->room));
    for (int i = 0; i < threads; i++) {
        DMQ_TRY(dmq_alloc((void **)&s->room[i].x, s->size * d, sizeof(double)));
        DMQ_TRY(dmq_alloc((void **)&s->room[i].y, s->size * d, sizeof(double)));
        DMQ_TRY(dmq_alloc((void **)&s->room[i].product, ROWS * s->size, sizeof(double)));
    }
done:
    return st;
}

static void release(subsets *s, int threads)
{
    for (int i = 0; s->room && i < threads; i++) {
        dmq_free(s->room[i].x);
        dmq_free(s->room[i].y);
        dmq_free(s->room[i].product);
    }
    dmq_free(s->room);
    dmq_free(s->index[0]);
    dmq_free(s->index[1]);
    dmq_free(s->value);
}

dmq_status dmq_kid(double *mean, double *sd, const float *generated, size_t n_generated,
                   const float *real, size_t n_real, int d, const dmq_kid_config *config)
{
    subsets s = { .set = { generated, real }, .size = (size_t)config->size, .d = d };
    size_t n[2] = { n_generated, n_real };
    int threads = dmq_pieces_threads();
    double total = 0, squares = 0;
    dmq_status st = DMQ_OK;

    assert(d >= 1 && config->subsets >= 1 && config->size >= 2);
    DMQ_TRY(check(generated, n_generated, (size_t)d, config->size, "generated"));
    DMQ_TRY(check(real, n_real, (size_t)d, config->size, "real"));
    DMQ_TRY(make_room(&s, threads, config));
    DMQ_TRY(draw(&s, n, config));
    DMQ_TRY(dmq_pieces_run(config->subsets, discrepancy, &s));
    for (int i = 0; i < config->subsets; i++)
        total += s.value[i];
    *mean = total / config->subsets;
    for (int i = 0; i < config->subsets; i++)
        squares += (s.value[i] - *mean) * (s.value[i] - *mean);
    if (sd)
        *sd = sqrt(squares / config->subsets);
done:
    release(&s, threads);
    return st;
}
