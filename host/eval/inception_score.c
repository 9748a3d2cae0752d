#include "eval/inception_score.h"

#include "base/memory.h"
#include "eval/pieces.h"

#include <assert.h>
#include <cblas.h>
#include <math.h>
#include <string.h>

/* What the parts are made of. */
typedef struct scoring {
    const float *logits; /* (n, classes) */
    size_t n;
    int classes, parts;
    const dmq_score_parts *how;
} scoring;

static dmq_status prepare(scoring *s)
{
    const dmq_score_parts *how = s->how;

    s->parts = how->splits;
    if (how->part > 0)
        s->parts = (int)((s->n + (size_t)how->part - 1) / (size_t)how->part);
    if (s->parts < 1 || s->n < (size_t)s->parts) {
        return dmq_fail(DMQ_EDATA, "inception score: %zu images cannot make %d splits", s->n,
                        s->parts);
    }
    for (size_t i = 0; i < s->n; i++) {
        for (int j = 0; j < s->classes; j++) {
            float value = s->logits[i * (size_t)s->classes + (size_t)j];

            if (!isfinite(value)) {
                return dmq_fail(DMQ_EDATA, "inception score: image %zu: logit %d is %g", i, j,
                                (double)value);
            }
        }
    }
    return DMQ_OK;
}

/* Where part i begins. */
static size_t part_from(const scoring *s, int i)
{
    size_t from;

    if (s->how->part <= 0)
        return s->n * (size_t)i / (size_t)s->parts;
    from = (size_t)i * (size_t)s->how->part;
    return from < s->n ? from : s->n;
}

/* p (classes) of the image at a place, and what it gives to the score: sum p log p. */
static double softmax(double *p, const scoring *s, size_t place)
{
    size_t image = s->how->order ? s->how->order[place] : place;
    const float *x = s->logits + image * (size_t)s->classes;
    double top = (double)x[0], sum = 0, log_sum, certain = 0;

    for (int j = 1; j < s->classes; j++) {
        if ((double)x[j] > top)
            top = (double)x[j];
    }
    for (int j = 0; j < s->classes; j++) {
        p[j] = exp((double)x[j] - top);
        sum += p[j];
    }
    log_sum = log(sum);
    for (int j = 0; j < s->classes; j++) {
        p[j] /= sum;
        certain += p[j] * ((double)x[j] - top - log_sum);
    }
    return certain;
}

/* Score from sums over n images. */
static double score_of(double certain, const double *sum, int classes, size_t n)
{
    double diverse = 0;

    for (int j = 0; j < classes; j++) {
        double mean = sum[j] / (double)n;

        if (mean > 0)
            diverse += mean * log(mean);
    }
    return exp(certain / (double)n - diverse);
}

dmq_status dmq_inception_score(double *mean, double *sd, const float *logits, size_t n, int classes,
                               const dmq_score_parts *parts)
{
    scoring s = { .logits = logits, .n = n, .classes = classes, .how = parts };
    double *p = NULL, *sum, *score = NULL, total = 0, squares = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(prepare(&s));
    DMQ_TRY(dmq_alloc((void **)&p, 2 * (size_t)classes, sizeof *p));
    DMQ_TRY(dmq_alloc((void **)&score, (size_t)s.parts, sizeof *score));
    sum = p + classes;
    for (int i = 0; i < s.parts; i++) {
        size_t from = part_from(&s, i), to = part_from(&s, i + 1);
        double certain = 0;

        memset(sum, 0, (size_t)classes * sizeof *sum);
        for (size_t place = from; place < to; place++) {
            certain += softmax(p, &s, place);
            for (int j = 0; j < classes; j++)
                sum[j] += p[j];
        }
        score[i] = score_of(certain, sum, classes, to - from);
        total += score[i];
    }
    *mean = total / s.parts;
    for (int i = 0; i < s.parts; i++)
        squares += (score[i] - *mean) * (score[i] - *mean);
    if (sd)
        *sd = sqrt(squares / s.parts);
done:
    dmq_free(p);
    dmq_free(score);
    return st;
}

/* ------------------------------------------------------------------ bootstrap */

/* Images whose probabilities are in memory at once, and resamples that share them. */
enum { IMAGES = 64, SHARED = 128 };

/* Room of one thread. */
typedef struct room {
    uint32_t *index; /* (longest part) */
    uint16_t *count; /* (SHARED, longest part) how often a resample holds an image */
    double *p;       /* (IMAGES, classes + 1), the last one sum p log p */
    double *weight;  /* (SHARED, IMAGES) */
    double *sum;     /* (SHARED, classes + 1) */
} room;

typedef struct resampling {
    scoring s;
    const dmq_bootstrap *how;
    room *room;     /* (threads) */
    double *scores; /* (resamples) sums over the parts */
} resampling;

static void release_room(room *r)
{
    dmq_free(r->index);
    dmq_free(r->count);
    dmq_free(r->p);
    dmq_free(r->weight);
    dmq_free(r->sum);
}

static dmq_status make_room(room *r, const scoring *s)
{
    size_t longest = 0, width = (size_t)s->classes + 1;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < s->parts; i++) {
        size_t n = part_from(s, i + 1) - part_from(s, i);

        longest = n > longest ? n : longest;
    }
    DMQ_TRY(dmq_alloc((void **)&r->index, longest, sizeof *r->index));
    DMQ_TRY(dmq_alloc((void **)&r->count, SHARED * longest, sizeof *r->count));
    DMQ_TRY(dmq_alloc((void **)&r->p, IMAGES * width, sizeof *r->p));
    DMQ_TRY(dmq_alloc((void **)&r->weight, (size_t)SHARED * IMAGES, sizeof *r->weight));
    DMQ_TRY(dmq_alloc((void **)&r->sum, SHARED * width, sizeof *r->sum));
done:
    return st;
}

/* Draws of resamples first .. first + n - 1 in one part, as counts. */
static void count_draws(room *r, const resampling *b, int first, int n, size_t from, size_t images)
{
    memset(r->count, 0, (size_t)n * images * sizeof *r->count);
    for (int k = 0; k < n; k++) {
        uint16_t *count = r->count + (size_t)k * images;

        dmq_bootstrap_draw(r->index, from, images, b->how, first + k);
        for (size_t i = 0; i < images; i++) {
            assert(count[r->index[i]] < UINT16_MAX);
            count[r->index[i]]++;
        }
    }
}

/* One part of resamples first .. first + n - 1: sums over its images, each as often as it was drawn. */
static void sum_part(room *r, const resampling *b, int n, size_t from, size_t images)
{
    int width = b->s.classes + 1;

    memset(r->sum, 0, (size_t)n * (size_t)width * sizeof *r->sum);
    for (size_t at = 0; at < images; at += IMAGES) {
        size_t count = images - at < IMAGES ? images - at : IMAGES;

        for (size_t i = 0; i < count; i++) {
            double *p = r->p + i * (size_t)width;

            p[width - 1] = softmax(p, &b->s, from + at + i);
            for (size_t k = 0; k < (size_t)n; k++)
                r->weight[k * IMAGES + i] = r->count[k * images + at + i];
        }
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, width, (int)count, 1, r->weight,
                    IMAGES, r->p, width, 1, r->sum, width);
    }
}

static dmq_status resample(void *context, int piece, int thread)
{
    const resampling *b = context;
    room *r = &b->room[thread];
    int first = piece * SHARED, classes = b->s.classes;
    int n = b->how->resamples - first < SHARED ? b->how->resamples - first : SHARED;

    for (int i = 0; i < b->s.parts; i++) {
        size_t from = part_from(&b->s, i), images = part_from(&b->s, i + 1) - from;

        count_draws(r, b, first, n, from, images);
        sum_part(r, b, n, from, images);
        for (int k = 0; k < n; k++) {
            const double *sum = r->sum + (size_t)k * ((size_t)classes + 1);

            b->scores[first + k] += score_of(sum[classes], sum, classes, images);
        }
    }
    return DMQ_OK;
}

dmq_status dmq_inception_score_bootstrap(dmq_interval *out, const float *logits, size_t n,
                                         int classes, const dmq_score_parts *parts,
                                         const dmq_bootstrap *how)
{
    resampling b = { .s = { .logits = logits, .n = n, .classes = classes, .how = parts },
                     .how = how };
    int threads = dmq_pieces_threads();
    dmq_status st = DMQ_OK;

    DMQ_TRY(prepare(&b.s));
    DMQ_TRY(dmq_alloc((void **)&b.scores, (size_t)how->resamples, sizeof *b.scores));
    DMQ_TRY(dmq_alloc((void **)&b.room, (size_t)threads, sizeof *b.room));
    for (int i = 0; i < threads; i++)
        DMQ_TRY(make_room(&b.room[i], &b.s));
    DMQ_TRY(dmq_pieces_run((how->resamples + SHARED - 1) / SHARED, resample, &b));
    for (int i = 0; i < how->resamples; i++)
        b.scores[i] /= b.s.parts;
    dmq_interval_of(out, b.scores, how);
done:
    for (int i = 0; b.room && i < threads; i++)
        release_room(&b.room[i]);
    dmq_free(b.room);
    dmq_free(b.scores);
    return st;
}
