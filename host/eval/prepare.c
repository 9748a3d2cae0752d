#include "eval/prepare.h"

#include "base/memory.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* A sum of weights times levels stays below 2^31: 22 bits of weight, 8 of level, and lobes that add less than half. */
enum { BITS = 22 };

/* Weights of one axis: out[d] is a sum over taps[d].n places from taps[d].first on, by k + d * width. */
typedef struct weights {
    int width; /* the most places that an output has */
    struct tap {
        int first, n;
    } * taps;
    int32_t *k;
} weights;

static double box(double x)
{
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double bicubic(double x)
{
    x = fabs(x);
    if (x < 1.0)
        return (1.5 * x - 2.5) * x * x + 1.0;
    return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5 : 0.0;
}

static void weights_release(weights *w)
{
    dmq_free(w->taps);
    dmq_free(w->k);
}

/* The operations are PIL's in PIL's order: another one would move a weight by a step, and some level by one. */
static dmq_status weights_init(weights *out, int from, int to, dmq_filter filter)
{
    double (*f)(double) = filter == DMQ_FILTER_BOX ? box : bicubic;
    double scale = (double)from / to, wide = scale < 1.0 ? 1.0 : scale;
    double reach = (filter == DMQ_FILTER_BOX ? 0.5 : 2.0) * wide, *k = NULL;
    weights w = { .width = (int)ceil(reach) * 2 + 1 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&w.taps, (size_t)to, sizeof *w.taps));
    DMQ_TRY(dmq_alloc((void **)&w.k, (size_t)to * (size_t)w.width, sizeof *w.k));
    DMQ_TRY(dmq_alloc((void **)&k, (size_t)w.width, sizeof *k));
    for (int d = 0; d < to; d++) {
        double centre = (d + 0.5) * scale, sum = 0.0;
        int first = (int)(centre - reach + 0.5), last = (int)(centre + reach + 0.5);

        first = first < 0 ? 0 : first;
        last = last > from ? from : last;
        w.taps[d] = (struct tap){ first, last - first };
        for (int x = first; x < last; x++) {
            k[x - first] = f((x - centre + 0.5) * (1.0 / wide));
            sum += k[x - first];
        }
        for (int i = 0; i < last - first; i++) {
            double step = (sum != 0.0 ? k[i] / sum : k[i]) * (1 << BITS);

            w.k[(size_t)d * (size_t)w.width + (size_t)i] =
                (int32_t)(step + (step < 0 ? -0.5 : 0.5));
        }
    }
    *out = w;
    memset(&w, 0, sizeof w);
done:
    weights_release(&w);
    dmq_free(k);
    return st;
}

static uint8_t level(int32_t sum)
{
    return (uint8_t)(sum < 0 ? 0 : sum >> BITS > 255 ? 255 : sum >> BITS);
}

/* One output row or column: pixels of `in` are `step` bytes apart, those of `out` out_step. */
static void run_line(uint8_t *out, size_t out_step, const uint8_t *in, size_t step,
                     const weights *w, int n)
{
    for (int d = 0; d < n; d++) {
        const int32_t *k = w->k + (size_t)d * (size_t)w->width;
        const uint8_t *from = in + (size_t)w->taps[d].first * step;
        int32_t sum[3] = { 1 << (BITS - 1), 1 << (BITS - 1), 1 << (BITS - 1) };

        for (int i = 0; i < w->taps[d].n; i++) {
            for (int c = 0; c < 3; c++)
                sum[c] += k[i] * from[(size_t)i * step + (size_t)c];
        }
        for (int c = 0; c < 3; c++)
            out[(size_t)d * out_step + (size_t)c] = level(sum[c]);
    }
}

static dmq_status create(dmq_picture *out, int w, int h)
{
    *out = (dmq_picture){ .width = w, .height = h };
    return dmq_alloc((void **)&out->rgb, (size_t)w * (size_t)h, 3);
}

dmq_status dmq_picture_resize(dmq_picture *out, const dmq_picture *in, int w, int h,
                              dmq_filter filter)
{
    dmq_picture rows = { 0 }, all = { 0 };
    weights x = { 0 }, y = { 0 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(weights_init(&x, in->width, w, filter));
    DMQ_TRY(weights_init(&y, in->height, h, filter));
    DMQ_TRY(create(&rows, w, in->height));
    for (int r = 0; r < in->height; r++) {
        const uint8_t *from = in->rgb + (size_t)r * (size_t)in->width * 3;
        uint8_t *to = rows.rgb + (size_t)r * (size_t)w * 3;

        if (w == in->width) {
            memcpy(to, from, (size_t)w * 3);
        } else {
            run_line(to, 3, from, 3, &x, w);
        }
    }
    if (h == in->height) {
        *out = rows;
        rows.rgb = NULL;
        goto done;
    }
    DMQ_TRY(create(&all, w, h));
    for (int c = 0; c < w; c++) {
        run_line(all.rgb + (size_t)c * 3, (size_t)w * 3, rows.rgb + (size_t)c * 3, (size_t)w * 3,
                 &y, h);
    }
    *out = all;
done:
    if (st != DMQ_OK)
        dmq_free(all.rgb);
    dmq_free(rows.rgb);
    weights_release(&x);
    weights_release(&y);
    return st;
}

/* w x h pixels from (left, top) on. */
static void cut(uint8_t *out, const dmq_picture *in, int left, int top, int w, int h)
{
    for (int y = 0; y < h; y++) {
        memcpy(out + (size_t)y * (size_t)w * 3,
               in->rgb + ((size_t)(top + y) * (size_t)in->width + (size_t)left) * 3, (size_t)w * 3);
    }
}

static dmq_status run_ldm(uint8_t *out, const dmq_picture *in, int size)
{
    int side = in->width < in->height ? in->width : in->height;
    dmq_picture square = { 0 }, small = { 0 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(create(&square, side, side));
    cut(square.rgb, in, (in->width - side) / 2, (in->height - side) / 2, side, side);
    DMQ_TRY(dmq_picture_resize(&small, &square, size, size, DMQ_FILTER_BICUBIC));
    memcpy(out, small.rgb, (size_t)size * (size_t)size * 3);
done:
    dmq_picture_release(&square);
    dmq_picture_release(&small);
    return st;
}

static int shorter(const dmq_picture *p)
{
    return p->width < p->height ? p->width : p->height;
}

static dmq_status run_adm(uint8_t *out, const dmq_picture *in, int size)
{
    dmq_picture now = *in, next = { 0 };
    double scale;
    dmq_status st = DMQ_OK;

    while (shorter(&now) >= 2 * size) {
        DMQ_TRY(dmq_picture_resize(&next, &now, now.width / 2, now.height / 2, DMQ_FILTER_BOX));
        if (now.rgb != in->rgb)
            dmq_picture_release(&now);
        now = next;
    }
    scale = (double)size / shorter(&now);
    DMQ_TRY(dmq_picture_resize(&next, &now, (int)lrint(now.width * scale),
                               (int)lrint(now.height * scale), DMQ_FILTER_BICUBIC));
    cut(out, &next, (next.width - size) / 2, (next.height - size) / 2, size, size);
    dmq_picture_release(&next);
done:
    if (now.rgb != in->rgb)
        dmq_picture_release(&now);
    return st;
}

dmq_status dmq_prepare_run(uint8_t *out, const dmq_picture *in, dmq_prepare how, int size)
{
    assert(how != DMQ_PREPARE_NONE && size > 0);
    return how == DMQ_PREPARE_LDM ? run_ldm(out, in, size) : run_adm(out, in, size);
}

const char *dmq_prepare_text(dmq_prepare how)
{
    return how == DMQ_PREPARE_LDM ? "ldm-crop" : how == DMQ_PREPARE_ADM ? "adm-crop" : "";
}
