/*
 * Minimum and maximum, range search.
 *
 * The search scores all candidates with the reference's arithmetic but for the power, which is good to
 * 1e-5 and cheap; those within 1e-4 of the best are scored again as the reference does it. So the
 * winner is the reference's.
 */
#include "backend/cpu_math.h"
#include "backend/cpu_quant.h"
#include "kernels/observe_math.h"

#include <assert.h>
#include <string.h>

enum { LANES = 16, WIDTH = 64, CANDIDATES = 100 };

/* What is gathered at a time, and after how many numbers a candidate may be given up. */
enum { BLOCK = 4096, PIECE = 512 };

/* How much worse than the best a score may look and still be scored exactly. */
#define CLOSE (1 + 1e-4)

/* ------------------------------------------------------------------ minimum and maximum */

/* Lanes of lo, hi and of a sum that is NaN if any number was. */
typedef struct extremes {
    float lo[WIDTH], hi[WIDTH], bad[WIDTH];
} extremes;

DMQ_INLINE void take(extremes *e, size_t k, float x)
{
    e->lo[k] = x < e->lo[k] ? x : e->lo[k];
    e->hi[k] = x > e->hi[k] ? x : e->hi[k];
    e->bad[k] = x == x ? e->bad[k] : x;
}

static void start(extremes *e)
{
    for (size_t k = 0; k < WIDTH; k++) {
        e->lo[k] = INFINITY;
        e->hi[k] = -INFINITY;
        e->bad[k] = 0;
    }
}

/* All numbers of a stretch into lanes. */
DMQ_CLONES static void take_run(extremes *e, const float *x, size_t count)
{
    size_t i = 0;

    for (; i + WIDTH <= count; i += WIDTH) {
        for (size_t k = 0; k < WIDTH; k++)
            take(e, k, x[i + k]);
    }
    for (size_t k = 0; i + k < count; k++)
        take(e, k, x[i + k]);
}

/* Rows of up to WIDTH channels, one lane each. */
DMQ_CLONES static void take_rows(extremes *e, const float *x, size_t rows, size_t stride,
                                 size_t channels)
{
    for (size_t r = 0; r < rows; r++, x += stride) {
        if (channels == WIDTH) {
            for (size_t k = 0; k < WIDTH; k++)
                take(e, k, x[k]);
        } else {
            for (size_t k = 0; k < channels; k++)
                take(e, k, x[k]);
        }
    }
}

/* The lanes of one channel become its ends. */
static void finish(float *lo, float *hi, const extremes *e, size_t first, size_t lanes)
{
    float a = INFINITY, b = -INFINITY, bad = 0;

    for (size_t k = first; k < first + lanes; k++) {
        a = e->lo[k] < a ? e->lo[k] : a;
        b = e->hi[k] > b ? e->hi[k] : b;
        bad = e->bad[k] == e->bad[k] ? bad : e->bad[k];
    }
    *lo = bad == bad ? a : bad;
    *hi = bad == bad ? b : bad;
}

dmq_status dmq_minmax_cpu(dmq_queue *queue, const dmq_minmax_args *a)
{
    size_t inner = (size_t)a->inner, c = (size_t)a->c, stride = c * inner;
    extremes e;

    (void)queue;
    assert(a->outer > 0 && a->inner > 0);
    if (inner == 1 && c > 1) {
        for (size_t first = 0; first < c; first += WIDTH) {
            size_t n = c - first < WIDTH ? c - first : WIDTH;

            start(&e);
            take_rows(&e, a->x + first, (size_t)a->outer, stride, n);
            for (size_t k = 0; k < n; k++)
                finish(&a->lo[first + k], &a->hi[first + k], &e, k, 1);
        }
        return DMQ_OK;
    }
    for (size_t k = 0; k < c; k++) {
        start(&e);
        if (c == 1) {
            take_run(&e, a->x, (size_t)a->outer * inner);
        } else {
            for (size_t o = 0; o < (size_t)a->outer; o++)
                take_run(&e, a->x + o * stride + k * inner, inner);
        }
        finish(&a->lo[k], &a->hi[k], &e, 0, WIDTH);
    }
    return DMQ_OK;
}

/* ------------------------------------------------------------------ scores */

/*
 * x^2.4 without logarithm or division, to 6e-6: z is x^-0.4 up to a few per cent, made from the bits
 * of x; with d = 1 - z^5 x^2 it is x^2.4 = x^4 z^4 (1 - d)^-0.8.
 */
DMQ_INLINE float power_2_4(float x)
{
    float z, d, z2, x2, p;

    x = x < 1e-6F ? 1e-6F : x;
    z = dmq_cpu_from_bits(
        (uint32_t)(int32_t)(1.4908863e9F - 0.4F * (float)(int32_t)dmq_cpu_to_bits(x)));
    z2 = z * z;
    x2 = x * x;
    d = 1 - z2 * z2 * z * x2;
    p = 0.66422799F;
    p = p * d + 0.69553576F;
    p = p * d + 0.71974819F;
    p = p * d + 0.79982294F;
    p = p * d + 1;
    return (x2 * z2) * (x2 * z2) * p;
}

/* sum |x - fq(x)|^2.4 in units of the step */
DMQ_INLINE float term(float x, dmq_range r, float top, float per_step, float power)
{
    float e = fabsf(x - dmq_fq(x, r.scale, r.zero, 0, top)) * per_step;

    return power == 2.4F ? power_2_4(e) : power == 2 ? e * e : dmq_cpu_pow(e, power);
}

/* The sum over one block, in lanes of float: a block is short. */
DMQ_INLINE double score_block(const float *x, size_t count, dmq_range r, float top, float power)
{
    float sum[LANES] = { 0 }, per_step = 1 / r.scale;
    double total = 0;
    size_t i = 0;

    for (; i + LANES <= count; i += LANES) {
        for (size_t k = 0; k < LANES; k++)
            sum[k] += term(x[i + k], r, top, per_step, power);
    }
    for (size_t k = 0; i + k < count; k++)
        sum[k] += term(x[i + k], r, top, per_step, power);
    for (size_t k = 0; k < LANES; k++)
        total += (double)sum[k];
    return total;
}

/* One channel: `rows` stretches of `width` numbers, `stride` apart. */
typedef struct channel {
    const float *x;
    size_t rows, width, stride;
} channel;

typedef struct search {
    dmq_range range[CANDIDATES];
    double unit[CANDIDATES];  /* step^p: a score is this times a sum in units of the step */
    double score[CANDIDATES]; /* sum of |error|^p; infinite: given up */
    int count;
    float top, power;
} search;

/* Candidate by candidate, given up when the best of those before is passed. A large channel is read
   anew for each, from wherever it lies: a score costs more than that. */
DMQ_INLINE void score_piece(search *s, const channel *c, float power)
{
    double best = INFINITY;

    for (int i = 0; i < s->count; i++) {
        double total = 0;

        for (size_t r = 0; r < c->rows && total <= best * CLOSE; r++) {
            const float *x = c->x + r * c->stride;

            for (size_t at = 0; at < c->width && total <= best * CLOSE; at += PIECE) {
                size_t n = c->width - at < PIECE ? c->width - at : PIECE;

                total += s->unit[i] * score_block(x + at, n, s->range[i], s->top, power);
            }
        }
        s->score[i] = total <= best * CLOSE ? total : INFINITY;
        best = total < best ? total : best;
    }
}

/* A block of a channel that comes in several. */
DMQ_INLINE void score_part(search *s, const float *x, size_t count, float power)
{
    for (int i = 0; i < s->count; i++)
        s->score[i] += s->unit[i] * score_block(x, count, s->range[i], s->top, power);
}

/* The power as a constant, one loop for each. */
DMQ_CLONES static void score_channel_whole(search *s, const channel *c)
{
    if (s->power == 2.4F) {
        score_piece(s, c, 2.4F);
    } else if (s->power == 2) {
        score_piece(s, c, 2);
    } else {
        score_piece(s, c, s->power);
    }
}

DMQ_CLONES static void score_channel_part(search *s, const float *x, size_t count)
{
    if (s->power == 2.4F) {
        score_part(s, x, count, 2.4F);
    } else if (s->power == 2) {
        score_part(s, x, count, 2);
    } else {
        score_part(s, x, count, s->power);
    }
}

/* Channels as they lie; if their stretches are short, gathered: whole or block by block. */
static void score_channel(search *s, const channel *c)
{
    float gathered[BLOCK];
    int many = c->rows * c->width > BLOCK;

    if (c->rows == 1 || c->width >= 4 * LANES) {
        score_channel_whole(s, c);
        return;
    }
    for (int i = 0; i < s->count; i++)
        s->score[i] = 0;
    for (size_t r = 0; r < c->rows;) {
        channel block = { gathered, 1, 0, 0 };

        for (; r < c->rows && block.width + c->width <= BLOCK; r++, block.width += c->width)
            memcpy(gathered + block.width, c->x + r * c->stride, c->width * sizeof *gathered);
        if (many) {
            score_channel_part(s, gathered, block.width);
        } else {
            score_channel_whole(s, &block);
        }
    }
}

/* The mean as the reference forms it. */
static double exact_score(const channel *c, dmq_range r, float top, float power)
{
    double sum = 0;

    for (size_t o = 0; o < c->rows; o++) {
        for (size_t k = 0; k < c->width; k++)
            sum += (double)dmq_range_term(c->x[o * c->stride + k], r, top, power);
    }
    return sum / ((double)c->rows * (double)c->width);
}

/* The candidate to take, and its exact score if that was needed to decide or is asked for. */
static int decide(double *exact, const search *s, const channel *c, int want_score)
{
    double best = INFINITY, floor_of = 0, count = (double)c->rows * (double)c->width;
    int first = 0, close = 0, winner = -1;

    for (int i = 0; i < s->count; i++) {
        if (s->score[i] < best) {
            best = s->score[i];
            first = i;
        }
    }
    /* errors that vanish are below what the cheap power resolves, or the float power underflows */
    floor_of = count * fmax(1e-12 * s->unit[first], 1e-30);
    for (int i = 0; i < s->count; i++)
        close += s->score[i] <= best * CLOSE;
    if (close == 1 && best > floor_of && !want_score)
        return first;
    for (int i = 0; i < s->count; i++) {
        double score;

        if (best > floor_of && best < INFINITY && !(s->score[i] <= best * CLOSE))
            continue;
        score = exact_score(c, s->range[i], s->top, s->power);
        if (winner < 0 || score < *exact) {
            *exact = score;
            winner = i;
        }
    }
    return winner;
}

static void search_channel(const dmq_range_search_args *a, int at, const channel *c, float lo,
                           float hi)
{
    search s = { .count = a->candidates, .top = (float)((1 << a->bits) - 1), .power = a->power };
    dmq_range best = dmq_range_closed(lo, hi, a->always_zero);
    double score = 0;
    int winner = 0;

    if (dmq_range_is_open(lo, hi, a->always_zero)) {
        for (int i = 0; i < s.count; i++) {
            s.range[i] = dmq_range_candidate(lo, hi, i, s.top, a->always_zero);
            s.unit[i] = pow((double)s.range[i].scale, (double)a->power);
        }
        score_channel(&s, c);
        winner = decide(&score, &s, c, a->score != NULL);
        best = s.range[winner];
    } else if (a->score) {
        score = exact_score(c, best, s.top, a->power);
    }
    a->scale[at] = best.scale;
    a->zero[at] = best.zero;
    if (a->score)
        a->score[at] = (float)score;
    if (a->winner)
        a->winner[at] = winner;
}

dmq_status dmq_range_search_cpu(dmq_queue *queue, const dmq_range_search_args *a)
{
    dmq_minmax_args ends = { a->x, a->scale, a->zero, a->outer, a->c, a->inner };
    size_t inner = (size_t)a->inner;

    assert(a->bits >= 1 && a->bits <= 16 && a->candidates >= 1 && a->candidates <= CANDIDATES);
    (void)dmq_minmax_cpu(queue, &ends); /* scale and zero hold the ends until they are known */
    for (int k = 0; k < a->c; k++) {
        channel c = { a->x + (size_t)k * inner, (size_t)a->outer, inner, (size_t)a->c * inner };

        if (a->c == 1) {
            c.rows = 1;
            c.width = (size_t)a->outer * inner;
        }
        search_channel(a, k, &c, a->scale[k], a->zero[k]);
    }
    return DMQ_OK;
}
