#include "backend/cpu.h"
#include "backend/cpu_math.h"
#include "kernels/fake_quant_math.h"

#include <string.h>

/*
 * Group norm over NHWC, image by image. What differs from channel to channel (mean, gamma, ...) is laid
 * out as it repeats in memory, over a span of some whole pixels, so that the inner loop runs over many
 * numbers whatever the width. Sums go pixel by pixel into one float a place of the span, then in double
 * over places and channels: the order depends on the shape alone.
 */

enum { SPAN = 512, TABLES = 12, SUM_WIDTH = 64 };

typedef struct span {
    size_t len;   /* numbers: whole pixels */
    size_t times; /* spans an image */
    float *shift, *mean, *rstd, *gamma, *beta, *m1, *m2, *gamma_tan, *beta_tan, *shift_tan;
    float *sum1, *sum2;
} span;

/* The quantizer of one image; hi < lo: none. */
typedef struct quantizer {
    float scale, zero, lo, hi;
} quantizer;

static size_t span_pixels(const dmq_group_norm_args *a)
{
    size_t pixels = (size_t)a->c < SPAN ? SPAN / (size_t)a->c : 1;

    if (pixels > (size_t)a->hw)
        pixels = (size_t)a->hw;
    while ((size_t)a->hw % pixels != 0)
        pixels--;
    return pixels;
}

static size_t span_bytes(const dmq_group_norm_args *a)
{
    return (span_pixels(a) * (size_t)a->c + 16) * TABLES * sizeof(float);
}

/* Tables in scratch, each on a cache line of its own; what is left of it comes back. */
static float *span_make(span *s, const dmq_group_norm_args *a, float *scratch)
{
    float **table[TABLES] = { &s->shift,    &s->mean,      &s->rstd, &s->gamma,
                              &s->beta,     &s->m1,        &s->m2,   &s->gamma_tan,
                              &s->beta_tan, &s->shift_tan, &s->sum1, &s->sum2 };

    s->len = span_pixels(a) * (size_t)a->c;
    s->times = (size_t)a->hw / span_pixels(a);
    for (int i = 0; i < TABLES; i++) {
        *table[i] = scratch;
        scratch += (s->len + 15) / 16 * 16;
    }
    return scratch;
}

/* Per channel -> over the span; NULL is zero. */
static void spread(const span *s, float *table, const float *value, int c)
{
    for (size_t i = 0; i < s->len; i += (size_t)c) {
        if (value)
            memcpy(table + i, value, (size_t)c * sizeof *table);
        else
            memset(table + i, 0, (size_t)c * sizeof *table);
    }
}

/* Per group -> over the span. */
static void spread_groups(const span *s, float *table, const float *value,
                          const dmq_group_norm_args *a)
{
    size_t c = (size_t)a->c, per = c / (size_t)a->groups;

    for (size_t j = 0; j < c; j++)
        table[j] = value[j / per];
    for (size_t i = c; i < s->len; i += c)
        memcpy(table + i, table, c * sizeof *table);
}

/* The sum of one channel, from the places of the span in ascending order. */
static double channel_sum(const span *s, const float *sum, size_t channel, size_t c)
{
    double total = 0;

    for (size_t i = channel; i < s->len; i += c)
        total += (double)sum[i];
    return total;
}

static double group_sum(const span *s, const float *sum, const float *factor, size_t group,
                        const dmq_group_norm_args *a)
{
    size_t per = (size_t)(a->c / a->groups);
    double total = 0;

    for (size_t j = group * per; j < (group + 1) * per; j++)
        total += channel_sum(s, sum, j, (size_t)a->c) * (factor ? (double)factor[j] : 1.0);
    return total;
}

static quantizer quantizer_of(const dmq_group_norm_args *a, int n)
{
    quantizer q = { 1, 0, 1, 0 };
    int row = a->row ? a->row[n] : 0;

    if (a->quant) {
        q.scale = a->scale[row];
        q.zero = a->zero[row];
        q.lo = a->lo;
        q.hi = a->hi;
    }
    return q;
}

/* ------------------------------------------------------------------ statistics */

/* Sums over the spans of an image, of `width` places, which stay in registers when width is known:
 * of x + shift, or of the squares of x + shift - mean. */
DMQ_INLINE void sum_places(const span *s, const float *restrict x, size_t first, size_t width,
                           int squares)
{
    const float *restrict shift = s->shift + first, *restrict mean = s->mean + first;
    size_t len = s->len;
    float sum[SUM_WIDTH] = { 0 };

    x += first;
    for (size_t t = 0; t < s->times; t++, x += len)
        for (size_t i = 0; i < width; i++) {
            float d = x[i] + shift[i];

            if (squares) {
                d -= mean[i];
                d *= d;
            }
            sum[i] += d;
        }
    memcpy(s->sum1 + first, sum, width * sizeof *sum);
}

DMQ_CLONES
static void sum_image(const span *s, const float *x, int squares)
{
    size_t i = 0;

    for (; i + SUM_WIDTH <= s->len; i += SUM_WIDTH) {
        if (squares)
            sum_places(s, x, i, SUM_WIDTH, 1);
        else
            sum_places(s, x, i, SUM_WIDTH, 0);
    }
    if (i < s->len)
        sum_places(s, x, i, s->len - i, squares);
}

static void measure(const span *s, const dmq_group_norm_args *a, int n, const float *x)
{
    size_t groups = (size_t)a->groups;
    int each = a->c / a->groups; /* channels */
    double count = (double)a->hw * each;
    float *mean = a->mean + (size_t)n * groups, *rstd = a->rstd + (size_t)n * groups;

    sum_image(s, x, 0);
    for (size_t g = 0; g < groups; g++)
        mean[g] = (float)(group_sum(s, s->sum1, NULL, g, a) / count);
    spread_groups(s, s->mean, mean, a);
    sum_image(s, x, 1);
    for (size_t g = 0; g < groups; g++)
        rstd[g] = (float)(1.0 / sqrt(group_sum(s, s->sum1, NULL, g, a) / count + (double)a->eps));
    spread_groups(s, s->rstd, rstd, a);
}

/* Tables of image n for the passes that read mean and rstd. */
static void recall(const span *s, const dmq_group_norm_args *a, int n)
{
    size_t groups = (size_t)a->groups;

    spread(s, s->shift, a->shift ? a->shift + (size_t)n * (size_t)a->c : NULL, a->c);
    spread_groups(s, s->mean, a->mean + (size_t)n * groups, a);
    spread_groups(s, s->rstd, a->rstd + (size_t)n * groups, a);
}

/* ------------------------------------------------------------------ forward */

DMQ_INLINE void forward_loop(const span *s, float *restrict y, const float *restrict x, quantizer q,
                             int silu, int quant)
{
    const float *restrict shift = s->shift, *restrict mean = s->mean, *restrict rstd = s->rstd;
    const float *restrict gamma = s->gamma, *restrict beta = s->beta;
    size_t len = s->len;

    for (size_t t = 0; t < s->times; t++, x += len, y += len) {
#pragma GCC ivdep
        for (size_t i = 0; i < len; i++) {
            float v = (x[i] + shift[i] - mean[i]) * rstd[i] * gamma[i] + beta[i];

            if (silu)
                v = dmq_cpu_silu(v);
            if (quant)
                v = dmq_fq(v, q.scale, q.zero, q.lo, q.hi);
            y[i] = v;
        }
    }
}

DMQ_CLONES
static void forward_image(const span *s, float *y, const float *x, quantizer q, int silu, int quant)
{
    if (silu && quant)
        forward_loop(s, y, x, q, 1, 1);
    else if (silu)
        forward_loop(s, y, x, q, 1, 0);
    else if (quant)
        forward_loop(s, y, x, q, 0, 1);
    else
        forward_loop(s, y, x, q, 0, 0);
}

dmq_status dmq_group_norm_forward_cpu(dmq_queue *queue, const dmq_group_norm_args *a)
{
    dmq_status st = DMQ_OK;
    size_t image = (size_t)a->hw * (size_t)a->c;
    void *scratch = NULL;
    span s;

    DMQ_TRY(dmq_cpu_scratch(&scratch, queue, span_bytes(a)));
    (void)span_make(&s, a, scratch);
    spread(&s, s.gamma, a->gamma, a->c);
    spread(&s, s.beta, a->beta, a->c);
    for (int n = 0; n < a->n; n++) {
        const float *x = a->x + (size_t)n * image;

        spread(&s, s.shift, a->shift ? a->shift + (size_t)n * (size_t)a->c : NULL, a->c);
        measure(&s, a, n, x);
        forward_image(&s, a->y + (size_t)n * image, x, quantizer_of(a, n), a->silu, a->quant);
    }
done:
    return st;
}

/* ------------------------------------------------------------------ backward */

/* dy/daffine: SiLU's slope, where the quantizer does not clip. */
DMQ_INLINE float slope_of(float affine, quantizer q, int silu, int quant)
{
    float slope = silu ? dmq_cpu_silu_slope(affine) : 1.0f;

    if (quant) {
        float code = dmq_fq_code(silu ? dmq_cpu_silu(affine) : affine, q.scale, q.zero);

        slope = dmq_fq_inside(code, q.lo, q.hi) ? slope : 0.0f;
    }
    return slope;
}

/* d = slope dy; sum1 += d, sum2 += d norm */
DMQ_INLINE void slopes_loop(const span *s, float *restrict d, const float *restrict x,
                            const float *restrict dy, quantizer q, int silu, int quant)
{
    const float *restrict shift = s->shift, *restrict mean = s->mean, *restrict rstd = s->rstd;
    const float *restrict gamma = s->gamma, *restrict beta = s->beta;
    float *restrict sum1 = s->sum1, *restrict sum2 = s->sum2;
    size_t len = s->len;

    for (size_t i = 0; i < len; i++)
        sum1[i] = sum2[i] = 0;
    for (size_t t = 0; t < s->times; t++, x += len, dy += len, d += len) {
#pragma GCC ivdep
        for (size_t i = 0; i < len; i++) {
            float norm = (x[i] + shift[i] - mean[i]) * rstd[i];
            float v = slope_of(norm * gamma[i] + beta[i], q, silu, quant) * dy[i];

            d[i] = v;
            sum1[i] += v;
            sum2[i] += v * norm;
        }
    }
}

DMQ_CLONES
static void slopes_image(const span *s, float *d, const float *x, const float *dy, quantizer q,
                         int silu, int quant)
{
    if (silu && quant)
        slopes_loop(s, d, x, dy, q, 1, 1);
    else if (silu)
        slopes_loop(s, d, x, dy, q, 1, 0);
    else if (quant)
        slopes_loop(s, d, x, dy, q, 0, 1);
    else
        slopes_loop(s, d, x, dy, q, 0, 0);
}

/* dx = rstd (gamma d - m1 - norm m2); sum1 += dx */
DMQ_INLINE void data_loop(const span *s, float *dx, const float *restrict x, const float *d,
                          int add)
{
    const float *restrict shift = s->shift, *restrict mean = s->mean, *restrict rstd = s->rstd;
    const float *restrict gamma = s->gamma, *restrict m1 = s->m1, *restrict m2 = s->m2;
    float *restrict sum = s->sum1;
    size_t len = s->len;

    for (size_t i = 0; i < len; i++)
        sum[i] = 0;
    for (size_t t = 0; t < s->times; t++, x += len, d += len, dx += len) {
#pragma GCC ivdep
        for (size_t i = 0; i < len; i++) {
            float norm = (x[i] + shift[i] - mean[i]) * rstd[i];
            float v = rstd[i] * (gamma[i] * d[i] - m1[i] - norm * m2[i]);

            dx[i] = add ? dx[i] + v : v;
            sum[i] += v;
        }
    }
}

DMQ_CLONES
static void data_image(const span *s, float *dx, const float *x, const float *d, int add)
{
    if (add)
        data_loop(s, dx, x, d, 1);
    else
        data_loop(s, dx, x, d, 0);
}

/* Means over the groups of (gamma d) and (gamma d norm), from sum1 and sum2. */
static void group_means(const span *s, const dmq_group_norm_args *a, const float *factor)
{
    size_t c = (size_t)a->c, per = c / (size_t)a->groups;
    double count = (double)a->hw * (double)per;

    for (size_t g = 0; g < (size_t)a->groups; g++) {
        float m1 = (float)(group_sum(s, s->sum1, factor, g, a) / count);
        float m2 = (float)(group_sum(s, s->sum2, factor, g, a) / count);

        for (size_t j = g * per; j < (g + 1) * per; j++) {
            s->m1[j] = m1;
            s->m2[j] = m2;
        }
    }
    for (size_t i = c; i < s->len; i += c) {
        memcpy(s->m1 + i, s->m1, c * sizeof *s->m1);
        memcpy(s->m2 + i, s->m2, c * sizeof *s->m2);
    }
}

static void add_channels(const span *s, float *to, const float *sum, int c)
{
    for (size_t j = 0; j < (size_t)c; j++)
        to[j] += (float)channel_sum(s, sum, j, (size_t)c);
}

static void start(float *x, size_t count, int add)
{
    if (x && !add)
        memset(x, 0, count * sizeof *x);
}

dmq_status dmq_group_norm_backward_cpu(dmq_queue *queue, const dmq_group_norm_args *a)
{
    dmq_status st = DMQ_OK;
    size_t image = (size_t)a->hw * (size_t)a->c, c = (size_t)a->c;
    float *spare;
    void *scratch = NULL;
    span s;

    DMQ_TRY(dmq_cpu_scratch(&scratch, queue, span_bytes(a) + 2 * image * sizeof(float)));
    spare = span_make(&s, a, scratch);
    spread(&s, s.gamma, a->gamma, a->c);
    spread(&s, s.beta, a->beta, a->c);
    start(a->dgamma, c, a->add_param);
    start(a->dbeta, c, a->add_param);
    start(a->dshift, (size_t)a->n * c, a->add_shift);
    for (size_t n = 0; n < (size_t)a->n; n++) {
        const float *x = a->x + n * image;
        float *dx = a->dx ? a->dx + n * image : spare + image;
        float *d = a->dx && !a->add ? dx : spare; /* d may lie where dx will */

        recall(&s, a, (int)n);
        slopes_image(&s, d, x, a->dy + n * image, quantizer_of(a, (int)n), a->silu, a->quant);
        if (a->dgamma)
            add_channels(&s, a->dgamma, s.sum2, a->c);
        if (a->dbeta)
            add_channels(&s, a->dbeta, s.sum1, a->c);
        if (!a->dx && !a->dshift)
            continue;
        group_means(&s, a, a->gamma);
        data_image(&s, dx, x, d, a->dx && a->add);
        if (a->dshift)
            add_channels(&s, a->dshift + n * c, s.sum1, a->c);
    }
done:
    return st;
}

/* ------------------------------------------------------------------ tangent */

/* sum1 += x', sum2 += x' norm */
DMQ_CLONES
static void tangent_sums(const span *s, const float *restrict x, const float *restrict x_tan,
                         size_t step)
{
    const float *restrict shift = s->shift, *restrict mean = s->mean, *restrict rstd = s->rstd;
    const float *restrict shift_tan = s->shift_tan;
    float *restrict sum1 = s->sum1, *restrict sum2 = s->sum2;
    size_t len = s->len;

    for (size_t i = 0; i < len; i++)
        sum1[i] = sum2[i] = 0;
    for (size_t t = 0; t < s->times; t++, x += len, x_tan += step) {
#pragma GCC ivdep
        for (size_t i = 0; i < len; i++) {
            float v = x_tan[i] + shift_tan[i];

            sum1[i] += v;
            sum2[i] += v * ((x[i] + shift[i] - mean[i]) * rstd[i]);
        }
    }
}

/* y' = slope (gamma rstd (x' - m1 - norm m2) + gamma' norm + beta') */
DMQ_INLINE void tangent_loop(const span *s, float *restrict y_tan, const float *restrict x,
                             const float *restrict x_tan, size_t step, quantizer q, int silu,
                             int quant)
{
    const float *restrict shift = s->shift, *restrict mean = s->mean, *restrict rstd = s->rstd;
    const float *restrict gamma = s->gamma, *restrict beta = s->beta;
    const float *restrict m1 = s->m1, *restrict m2 = s->m2, *restrict shift_tan = s->shift_tan;
    const float *restrict gamma_tan = s->gamma_tan, *restrict beta_tan = s->beta_tan;
    size_t len = s->len;

    for (size_t t = 0; t < s->times; t++, x += len, x_tan += step, y_tan += len) {
#pragma GCC ivdep
        for (size_t i = 0; i < len; i++) {
            float norm = (x[i] + shift[i] - mean[i]) * rstd[i];
            float slope = slope_of(norm * gamma[i] + beta[i], q, silu, quant);
            float tan = rstd[i] * (x_tan[i] + shift_tan[i] - m1[i] - norm * m2[i]);

            y_tan[i] = slope * (tan * gamma[i] + gamma_tan[i] * norm + beta_tan[i]);
        }
    }
}

DMQ_CLONES
static void tangent_image(const span *s, float *y_tan, const float *x, const float *x_tan,
                          size_t step, quantizer q, int silu, int quant)
{
    if (silu && quant)
        tangent_loop(s, y_tan, x, x_tan, step, q, 1, 1);
    else if (silu)
        tangent_loop(s, y_tan, x, x_tan, step, q, 1, 0);
    else if (quant)
        tangent_loop(s, y_tan, x, x_tan, step, q, 0, 1);
    else
        tangent_loop(s, y_tan, x, x_tan, step, q, 0, 0);
}

dmq_status dmq_group_norm_jvp_cpu(dmq_queue *queue, const dmq_group_norm_args *a)
{
    dmq_status st = DMQ_OK;
    size_t image = (size_t)a->hw * (size_t)a->c, c = (size_t)a->c;
    void *scratch = NULL;
    float *zeros;
    span s;

    DMQ_TRY(dmq_cpu_scratch(&scratch, queue, 2 * span_bytes(a)));
    zeros = span_make(&s, a, scratch);
    memset(zeros, 0, s.len * sizeof *zeros);
    spread(&s, s.gamma, a->gamma, a->c);
    spread(&s, s.beta, a->beta, a->c);
    spread(&s, s.gamma_tan, a->gamma_tan, a->c);
    spread(&s, s.beta_tan, a->beta_tan, a->c);
    for (size_t n = 0; n < (size_t)a->n; n++) {
        const float *x = a->x + n * image;
        const float *x_tan = a->x_tan ? a->x_tan + n * image : zeros;
        size_t step = a->x_tan ? s.len : 0;

        recall(&s, a, (int)n);
        spread(&s, s.shift_tan, a->shift_tan ? a->shift_tan + n * c : NULL, a->c);
        tangent_sums(&s, x, x_tan, step);
        group_means(&s, a, NULL);
        tangent_image(&s, a->y_tan + n * image, x, x_tan, step, quantizer_of(a, (int)n), a->silu,
                      a->quant);
    }
done:
    return st;
}
