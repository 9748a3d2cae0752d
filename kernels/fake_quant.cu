/*
 * Fake quantization on the device.
 *
 * Bytes an element: forward 8, 10 with codes; backward 12, jvp 12: the floors. A learned scale costs
 * another pass over x and dy, 8, and is wanted for activations' scales only. One scale and its inverse
 * serve a pack of four (dmq_fq_step: the bits of a division); where each number of a pack has its own,
 * NHWC per channel, the division stays, within the time of the bytes.
 */
#include "kernels/channels.cuh"

extern "C" {
#include "kernels/fake_quant.h"
#include "kernels/fake_quant_math.h"
}

/* Where the parameters of a pack lie. EACH: those of its numbers lie side by side. */
struct places {
    const dmq_real *scale, *zero;
    const int *row;
    int c;
    dmq_divider image, channel,
        line; /* in packs: of an image, of a channel, of a line of channels */

    __device__ size_t of(size_t pack, int each) const
    {
        unsigned rest, in_image, image_at = dmq_divide((unsigned)pack, &in_image, image);
        size_t first = row ? (size_t)row[image_at] * c : 0;

        if (c == 1)
            return first;
        (void)dmq_divide(in_image, &rest, line);
        return first + (each > 1 ? rest * each : dmq_divide(rest, &rest, channel));
    }
};

template <int W, bool EACH> struct parameters {
    enum { COUNT = EACH ? W : 1 };
    dmq_pack<COUNT> scale, zero;

    __device__ void load(const places &p, size_t pack)
    {
        size_t at = p.of(pack, COUNT);

        scale = dmq_load<COUNT>(p.scale + at, 0);
        zero = dmq_load<COUNT>(p.zero + at, 0);
    }
    /* The steps of the numbers of the pack; one serves all unless EACH. */
    __device__ void steps(dmq_fq_step (&s)[COUNT]) const
    {
        for (int k = 0; k < COUNT; k++) {
            s[k] = dmq_fq_step_of(scale.at[k], zero.at[k]);
            if (EACH) /* an inverse of its own costs what the division does */
                s[k].divide = 1;
        }
    }
};

template <bool EACH> struct forward {
    dmq_fake_quant_args a;
    places p;
    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> x;
        parameters<W, EACH> of;
    };
    template <int W> struct alignas(W * sizeof(int16_t)) codes {
        int16_t at[W];
    };

    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.x = dmq_load<W>(a.x, pack);
        h.of.load(p, pack);
    }

    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        dmq_fq_step s[parameters<W, EACH>::COUNT];
        codes<W> code;

        h.of.steps(s);
        for (int k = 0; k < W; k++) {
            const dmq_fq_step &of = s[EACH ? k : 0];
            float q = dmq_fq_clip(dmq_fq_step_code(h.x.at[k], of), a.lo, a.hi);

            code.at[k] = dmq_fq_store(q);
            h.x.at[k] = dmq_fq_value(q, of.scale, of.zero);
        }
        if (a.code)
            reinterpret_cast<codes<W> *>(a.code)[pack] = code;
        dmq_store(a.y, pack, h.x);
    }
};

/* y = (clip(rint(x/s) + z) - z) s: dx = inside dy. */
template <bool EACH> struct backward {
    dmq_fake_quant_args a;
    places p;
    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> x, dy, dx;
        parameters<W, EACH> of;
    };

    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.x = dmq_load<W>(a.x, pack);
        h.dy = dmq_load<W>(a.dy, pack);
        if (a.add)
            h.dx = dmq_load<W>(a.dx, pack);
        h.of.load(p, pack);
    }

    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        dmq_fq_step s[parameters<W, EACH>::COUNT];

        h.of.steps(s);
        for (int k = 0; k < W; k++) {
            float code = dmq_fq_step_code(h.x.at[k], s[EACH ? k : 0]);

            if (!dmq_fq_inside(code, a.lo, a.hi))
                h.dy.at[k] = 0;
        }
        dmq_add(h.dy, h.dx, a.add);
        dmq_store(a.dx, pack, h.dy);
    }
};

/* dmq_fq_dscale, the same bits. */
static __device__ float slope_of(float x, dmq_fq_step s, float lo, float hi)
{
    float u = dmq_fq_quotient(x, s), near = dmq_rint(u), code = near + s.zero;

    return code < lo ? lo - s.zero : code > hi ? hi - s.zero : near - u;
}

template <bool EACH> struct tangent {
    dmq_fake_quant_args a;
    places p;
    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> x, x_tan;
        parameters<W, EACH> of;
        dmq_pack<parameters<W, EACH>::COUNT> scale_tan;
    };

    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.x = dmq_load<W>(a.x, pack);
        for (int k = 0; k < W; k++)
            h.x_tan.at[k] = 0;
        if (a.x_tan)
            h.x_tan = dmq_load<W>(a.x_tan, pack);
        h.of.load(p, pack);
        if (a.scale_tan) {
            const int count = parameters<W, EACH>::COUNT;

            h.scale_tan = dmq_load<count>(a.scale_tan + p.of(pack, count), 0);
        }
    }

    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        dmq_fq_step s[parameters<W, EACH>::COUNT];
        dmq_pack<W> out;

        h.of.steps(s);
        for (int k = 0; k < W; k++) {
            const dmq_fq_step &of = s[EACH ? k : 0];
            float x = h.x.at[k], t = 0;

            if (dmq_fq_inside(dmq_fq_step_code(x, of), a.lo, a.hi))
                t = h.x_tan.at[k];
            if (a.scale_tan)
                t += slope_of(x, of, a.lo, a.hi) * h.scale_tan.at[EACH ? k : 0];
            out.at[k] = t;
        }
        dmq_store(a.y_tan, pack, out);
    }
};

/* ------------------------------------------------------------------ the gradient of the scale */

/* Of one chunk: sum of dy dy/dscale, products and sums in double, as ref has them. */
struct slopes {
    typedef double value;
    dmq_fake_quant_args a;

    __device__ double start() const
    {
        return 0;
    }
    template <int W> struct held {
        dmq_pack<W> x, dy;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.x = dmq_load<W>(a.x, pack);
        h.dy = dmq_load<W>(a.dy, pack);
    }
    template <int W>
    __device__ void take(double &sum, int image, int channel, const held<W> &h) const
    {
        size_t at = (size_t)(a.row ? a.row[image] : 0) * a.c + channel;
        dmq_fq_step s = dmq_fq_step_of(a.scale[at], a.zero[at]);

        for (int k = 0; k < W; k++)
            sum += (double)h.dy.at[k] * (double)slope_of(h.x.at[k], s, a.lo, a.hi);
    }
    __device__ double join(double x, double y) const
    {
        return x + y;
    }
};

/* A block a channel, a thread a row of the table: the sums of the images are added in the order of the
   images, as ref does, so that a batch split in two gives the same table. */
static __global__ void __launch_bounds__(DMQ_CHUNK_BLOCK)
    add_to_table(dmq_fake_quant_args a, unsigned chunks, const double *part)
{
    __shared__ float of_image[DMQ_CHUNK_BLOCK];
    __shared__ int row[DMQ_CHUNK_BLOCK];
    const int channel = (int)blockIdx.x, me = (int)threadIdx.x;

    for (int first = 0; first < a.n; first += DMQ_CHUNK_BLOCK) {
        int count = a.n - first < DMQ_CHUNK_BLOCK ? a.n - first : (int)DMQ_CHUNK_BLOCK;

        if (me < count) {
            const double *from = part + (size_t)(first + me) * chunks * a.c + channel;
            double sum = 0;

            for (unsigned k = 0; k < chunks; k++)
                sum += from[(size_t)k * a.c];
            of_image[me] = (float)(sum * (double)a.lsq_gain);
            row[me] = a.row ? a.row[first + me] : 0;
        }
        __syncthreads();
        for (int r = me; r < a.rows; r += DMQ_CHUNK_BLOCK) {
            float all = a.dscale[(size_t)r * a.c + channel];

            for (int i = 0; i < count; i++) {
                if (row[i] == r)
                    all += of_image[i];
            }
            a.dscale[(size_t)r * a.c + channel] = all;
        }
        __syncthreads();
    }
}

static dmq_status backward_scale(dmq_queue *queue, const dmq_fake_quant_args *a)
{
    const dmq_channels g =
        dmq_channels_of((size_t)a->outer, (size_t)a->c, (size_t)a->inner, dmq_aligned(a->x, a->dy));
    const size_t image = (size_t)a->outer * a->c * a->inner;
    const size_t bytes = (size_t)g.chunks * a->c * sizeof(double);
    const size_t fit = DMQ_SCRATCH_BYTES / bytes < 1 ? 1 : DMQ_SCRATCH_BYTES / bytes;
    const int at_once = fit > 32768 ? 32768 : (int)fit; /* a grid's third size ends at 65535 */
    dmq_status st = DMQ_OK;
    void *scratch = NULL;

    DMQ_TRY(dmq_cuda_scratch(&scratch, queue, bytes * (a->n < at_once ? a->n : at_once)));
    for (int first = 0; first < a->n; first += at_once) {
        double *part = static_cast<double *>(scratch);
        slopes op = { *a };

        op.a.x += first * image;
        op.a.dy += first * image;
        op.a.row = a->row ? a->row + first : NULL;
        op.a.n = a->n - first < at_once ? a->n - first : at_once;
        DMQ_TRY(DMQ_LAUNCH((dmq_channel_parts<slopes>), dmq_channels_grid(&g, op.a.n),
                           DMQ_CHUNK_BLOCK, 0, queue, op, g, part));
        DMQ_TRY(DMQ_LAUNCH(add_to_table, (unsigned)a->c, DMQ_CHUNK_BLOCK, 0, queue, op.a, g.chunks,
                           static_cast<const double *>(part)));
    }
done:
    return st;
}

/* ------------------------------------------------------------------ launches */

static places places_of(const dmq_fake_quant_args *a, size_t w)
{
    const size_t c = (size_t)a->c, inner = (size_t)a->inner;
    const size_t channel = inner / w > 0 ? inner / w : 1;
    places p = { a->scale, a->zero, a->row, a->c, {}, {}, {} };

    p.image = dmq_divider_of((size_t)a->outer * c * inner / w);
    p.line = dmq_divider_of(c * inner / w > 0 ? c * inner / w : 1);
    p.channel = dmq_divider_of(channel);
    return p;
}

/* aligned: the arrays of the pass. */
template <template <bool> class Op>
static dmq_status every(dmq_queue *queue, const dmq_fake_quant_args *a, bool aligned)
{
    const size_t count = (size_t)a->n * a->outer * a->c * a->inner;
    const bool each = a->c > 1 && a->inner == 1 && dmq_by_four(a->c) &&
                      dmq_aligned(a->scale, a->zero, a->scale_tan);
    const bool one = dmq_by_four(a->c == 1 ? (size_t)a->outer * a->inner : (size_t)a->inner);
    const bool wide = aligned && (each || one);
    const places p = places_of(a, wide ? 4 : 1);
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_map_fits("fake_quant", wide ? count / 4 : count));
    if (wide && each) {
        const Op<true> op = { *a, p };

        st = dmq_map(queue, op, count, true);
    } else {
        const Op<false> op = { *a, p };

        st = dmq_map(queue, op, count, wide);
    }
done:
    return st;
}

DMQ_DEVICE(dmq_fake_quant_forward)(dmq_queue *queue, const dmq_fake_quant_args *a)
{
    return every<forward>(queue, a, dmq_aligned(a->x, a->y) && dmq_aligned(a->code));
}

DMQ_DEVICE(dmq_fake_quant_backward)(dmq_queue *queue, const dmq_fake_quant_args *a)
{
    dmq_status st = DMQ_OK;

    if (a->dscale) /* first: dx may be dy */
        DMQ_TRY(backward_scale(queue, a));
    if (a->dx)
        DMQ_TRY(every<backward>(queue, a, dmq_aligned(a->x, a->dy, a->dx)));
done:
    return st;
}

DMQ_DEVICE(dmq_fake_quant_jvp)(dmq_queue *queue, const dmq_fake_quant_args *a)
{
    return every<tangent>(queue, a, dmq_aligned(a->x, a->x_tan, a->y_tan));
}
