/* Fake quantization: the reference's operations in vector code, so the codes are the same bits. */
#include "backend/cpu_math.h"
#include "backend/cpu_quant.h"
#include "kernels/fake_quant_math.h"

#include <assert.h>

/* A patch is `rows` stretches of `width` numbers, `stride` apart. Either all share one scale (a tensor,
   an output channel of a weight), or number j of each stretch has scale[j] (channels last, repeated
   over a short inner axis). */
enum { WIDTH = 1024, LANES = 16, CHUNK = 4096 };

typedef struct patch {
    size_t first, rows, stride, width;
    const float *scale, *zero;
    int each;        /* one scale a number */
    int c, channels; /* the channels it covers */
} patch;

/* ------------------------------------------------------------------ stretches */

DMQ_INLINE void forward_body(float *y, int16_t *code, const float *x, size_t count, const patch *p,
                             int each, float lo, float hi)
{
    const float *scale = p->scale, *zero = p->zero;
    float s0 = scale[0], z0 = zero[0];

    if (!code) {
        DMQ_EACH(size_t i = 0; i < count; i++)
        {
            y[i] = dmq_fq(x[i], each ? scale[i] : s0, each ? zero[i] : z0, lo, hi);
        }
        return;
    }
    DMQ_EACH(size_t i = 0; i < count; i++)
    {
        float s = each ? scale[i] : s0, z = each ? zero[i] : z0;
        float q = dmq_fq_clip(dmq_fq_code(x[i], s, z), lo, hi);

        code[i] = dmq_fq_store(q);
        y[i] = dmq_fq_value(q, s, z);
    }
}

DMQ_INLINE void backward_body(float *dx, const float *dy, const float *x, size_t count,
                              const patch *p, int each, float lo, float hi, int add)
{
    const float *scale = p->scale, *zero = p->zero;
    float s0 = scale[0], z0 = zero[0];

    DMQ_EACH(size_t i = 0; i < count; i++)
    {
        float code = dmq_fq_code(x[i], each ? scale[i] : s0, each ? zero[i] : z0);
        float d = dy[i]; /* read in any case: a load under a condition is not vector code */

        d = dmq_fq_inside(code, lo, hi) ? d : 0;
        dx[i] = add ? dx[i] + d : d;
    }
}

/* The flags as constants, one loop for each of them. */
DMQ_INLINE void backward_stretch(float *dx, const float *dy, const float *x, size_t count,
                                 const patch *p, float lo, float hi, int add)
{
    if (p->each && add)
        backward_body(dx, dy, x, count, p, 1, lo, hi, 1);
    else if (p->each)
        backward_body(dx, dy, x, count, p, 1, lo, hi, 0);
    else if (add)
        backward_body(dx, dy, x, count, p, 0, lo, hi, 1);
    else
        backward_body(dx, dy, x, count, p, 0, lo, hi, 0);
}

/* sum[i] (each) or sum[i % 16] += dy dy/dscale */
DMQ_INLINE void scale_body(double *sum, const float *dy, const float *x, size_t count,
                           const patch *p, float lo, float hi)
{
    float s = p->scale[0], z = p->zero[0];
    size_t i = 0;

    for (; i + LANES <= count; i += LANES) {
        for (size_t k = 0; k < LANES; k++)
            sum[k] += (double)dy[i + k] * (double)dmq_fq_dscale(x[i + k], s, z, lo, hi);
    }
    for (size_t k = 0; i + k < count; k++)
        sum[k] += (double)dy[i + k] * (double)dmq_fq_dscale(x[i + k], s, z, lo, hi);
}

DMQ_INLINE void scale_each_body(double *sum, const float *dy, const float *x, size_t count,
                                const patch *p, float lo, float hi)
{
    const float *scale = p->scale, *zero = p->zero;

    DMQ_EACH(size_t i = 0; i < count; i++)
    {
        sum[i] += (double)dy[i] * (double)dmq_fq_dscale(x[i], scale[i], zero[i], lo, hi);
    }
}

DMQ_INLINE void jvp_body(float *y_tan, const float *x_tan, const float *x, const float *scale_tan,
                         size_t count, const patch *p, int each, float lo, float hi)
{
    const float *scale = p->scale, *zero = p->zero;
    float s0 = scale[0], z0 = zero[0], t0 = scale_tan[0];

    DMQ_EACH(size_t i = 0; i < count; i++)
    {
        float s = each ? scale[i] : s0, z = each ? zero[i] : z0;
        float t = x_tan[i];

        t = dmq_fq_inside(dmq_fq_code(x[i], s, z), lo, hi) ? t : 0;
        y_tan[i] = t + dmq_fq_dscale(x[i], s, z, lo, hi) * (each ? scale_tan[i] : t0);
    }
}

/* ------------------------------------------------------------------ patches */

DMQ_CLONES static void forward_patch(const dmq_fake_quant_args *a, const patch *p)
{
    for (size_t r = 0; r < p->rows; r++) {
        size_t at = p->first + r * p->stride;
        int16_t *code = a->code ? a->code + at : NULL;

        if (p->each)
            forward_body(a->y + at, code, a->x + at, p->width, p, 1, a->lo, a->hi);
        else
            forward_body(a->y + at, code, a->x + at, p->width, p, 0, a->lo, a->hi);
    }
}

DMQ_CLONES static void backward_patch(const dmq_fake_quant_args *a, const patch *p, double *sum)
{
    /* in chunks, so that the second look at x and dy is at the first-level cache; dscale first,
       since dx may be dy */
    for (size_t r = 0; r < p->rows; r++) {
        for (size_t k = 0; k < p->width; k += CHUNK) {
            size_t at = p->first + r * p->stride + k;
            size_t count = p->width - k < CHUNK ? p->width - k : CHUNK;
            const float *x = a->x + at, *dy = a->dy + at;

            if (sum && p->each)
                scale_each_body(sum, dy, x, count, p, a->lo, a->hi);
            else if (sum)
                scale_body(sum, dy, x, count, p, a->lo, a->hi);
            if (a->dx)
                backward_stretch(a->dx + at, dy, x, count, p, a->lo, a->hi, a->add);
        }
    }
}

DMQ_CLONES static void jvp_patch(const dmq_fake_quant_args *a, const patch *p, const float *tan)
{
    for (size_t r = 0; r < p->rows; r++) {
        size_t at = p->first + r * p->stride;
        float *out = a->y_tan + at;

        if (!tan) /* of x alone, as backward */
            backward_stretch(out, a->x_tan + at, a->x + at, p->width, p, a->lo, a->hi, 0);
        else if (p->each)
            jvp_body(out, a->x_tan + at, a->x + at, tan, p->width, p, 1, a->lo, a->hi);
        else
            jvp_body(out, a->x_tan + at, a->x + at, tan, p->width, p, 0, a->lo, a->hi);
    }
}

/* ------------------------------------------------------------------ the walk over patches */

typedef void patch_fn(const dmq_fake_quant_args *a, const patch *p, size_t table);

/* table[c] of every number of a stretch: each channel's repeated `inner` times. */
static void spread(float *out, const float *table, int channels, int inner)
{
    for (int c = 0; c < channels; c++) {
        for (int k = 0; k < inner; k++)
            *out++ = table[c];
    }
}

static void walk(const dmq_fake_quant_args *a, patch_fn *fn)
{
    size_t inner = (size_t)a->inner, stride = (size_t)a->c * inner;
    size_t image = (size_t)a->outer * stride;

    assert(!a->code || (a->lo >= INT16_MIN && a->hi <= INT16_MAX));
    for (int i = 0; i < a->n; i++) {
        int row = a->row ? a->row[i] : 0;
        size_t table = (size_t)row * (size_t)a->c;
        float scale[WIDTH], zero[WIDTH];
        patch p = { .rows = (size_t)a->outer, .stride = stride };

        assert(row >= 0 && row < a->rows);
        if (a->c == 1 || inner >= LANES) {
            for (int c = 0; c < a->c; c++) {
                p.first = (size_t)i * image + (size_t)c * inner;
                p.width = inner;
                if (a->c == 1) { /* one long stretch */
                    p.rows = 1;
                    p.width = image;
                }
                p.scale = a->scale + table + c;
                p.zero = a->zero + table + c;
                p.c = c;
                p.channels = 1;
                fn(a, &p, table);
            }
            continue;
        }
        p.each = 1;
        p.scale = scale;
        p.zero = zero;
        for (int c = 0; c < a->c; c += p.channels) {
            p.c = c;
            p.channels = a->c - c < WIDTH / a->inner ? a->c - c : WIDTH / a->inner;
            p.first = (size_t)i * image + (size_t)c * inner;
            p.width = (size_t)p.channels * inner;
            spread(scale, a->scale + table + c, p.channels, a->inner);
            spread(zero, a->zero + table + c, p.channels, a->inner);
            fn(a, &p, table);
        }
    }
}

static void forward_one(const dmq_fake_quant_args *a, const patch *p, size_t table)
{
    (void)table;
    forward_patch(a, p);
}

static void backward_one(const dmq_fake_quant_args *a, const patch *p, size_t table)
{
    double sum[WIDTH] = { 0 };
    size_t share = p->each ? (size_t)a->inner : LANES;

    backward_patch(a, p, a->dscale ? sum : NULL);
    for (int c = 0; a->dscale && c < p->channels; c++) {
        double total = 0;

        for (size_t k = 0; k < share; k++)
            total += sum[(size_t)c * share + k];
        a->dscale[table + (size_t)(p->c + c)] += (float)(total * (double)a->lsq_gain);
    }
}

static void jvp_one(const dmq_fake_quant_args *a, const patch *p, size_t table)
{
    float tan[WIDTH];
    const float *scale_tan = a->scale_tan ? a->scale_tan + table + p->c : NULL;

    if (scale_tan && p->each) {
        spread(tan, scale_tan, p->channels, a->inner);
        scale_tan = tan;
    }
    jvp_patch(a, p, scale_tan);
}

dmq_status dmq_fake_quant_forward_cpu(dmq_queue *queue, const dmq_fake_quant_args *a)
{
    (void)queue;
    walk(a, forward_one);
    return DMQ_OK;
}

dmq_status dmq_fake_quant_backward_cpu(dmq_queue *queue, const dmq_fake_quant_args *a)
{
    (void)queue;
    if (a->dx || a->dscale)
        walk(a, backward_one);
    return DMQ_OK;
}

dmq_status dmq_fake_quant_jvp_cpu(dmq_queue *queue, const dmq_fake_quant_args *a)
{
    if (!a->x_tan) /* of scale alone: rare, and as the reference has it */
        return dmq_fake_quant_jvp_ref(queue, a);
    walk(a, jvp_one);
    return DMQ_OK;
}
