/**
 * One result a channel of x seen as (n, outer, c, inner): sums for a quantizer's step, minimum, maximum.
 *
 * A channel of an image is cut into chunks, whose number follows from (outer, c, inner) alone; a block
 * leaves the result of a chunk in scratch, and a second kernel joins chunks in ascending order. Two ways
 * to walk:
 *
 *   lines     a block has one channel, whose numbers lie in lines of `inner`: a whole tensor (c = 1), a
 *             weight; packs of 4 where lines are a multiple of 4
 *   columns   inner = 1, c > 1: a block has 32 channels, a warp reads 128 bytes of a pixel
 */
#ifndef DMQ_KERNELS_CHANNELS_CUH
#define DMQ_KERNELS_CHANNELS_CUH

#include "kernels/map.cuh"
#include "kernels/reduce.cuh"

#ifdef DMQ_SIMT
enum { DMQ_CHUNK = 192, DMQ_CHUNK_BLOCK = 64, DMQ_CHUNK_DEPTH = 2 };
#else
enum { DMQ_CHUNK = 8192, DMQ_CHUNK_BLOCK = 256, DMQ_CHUNK_DEPTH = 4 }; /* depth: as in map.cuh */
#endif

/** By value into the kernels. */
struct dmq_channels {
    int c;
    unsigned of_image;  /**< packs of a channel of an image */
    unsigned length;    /**< of a chunk, in packs */
    unsigned chunks;    /**< of a channel of an image */
    size_t image, line; /**< packs from image to image, from line to line of a channel */
    dmq_divider inner;  /**< packs of a line */
    bool wide, columns;
};

/** aligned: all arrays that a pack is read from. */
static inline dmq_channels dmq_channels_of(size_t outer, size_t c, size_t inner, bool aligned)
{
    dmq_channels g = {};
    size_t w;

    if (c == 1) {
        inner *= outer;
        outer = 1;
    }
    g.c = (int)c;
    g.columns = c > 1 && inner == 1;
    g.wide = aligned && !g.columns && inner % 4 == 0;
    w = g.wide ? 4 : 1;
    g.of_image = (unsigned)(outer * inner / w);
    g.length = DMQ_CHUNK / (unsigned)w;
    g.chunks = (g.of_image + g.length - 1) / g.length;
    g.image = outer * c * inner / w;
    g.line = c * inner / w;
    g.inner = dmq_divider_of(inner / w > 0 ? inner / w : 1);
    return g;
}

/** Blocks: lines (chunk, channel, image), columns (chunk, 32 channels, image). */
static inline dim3 dmq_channels_grid(const dmq_channels *g, int n)
{
    return dim3(g->chunks, (unsigned)(g->columns ? (g->c + DMQ_WARP - 1) / DMQ_WARP : g->c),
                (unsigned)n);
}

/**
 * The block's part of it: part[(image chunks + chunk) c + channel] = the join of what `op` makes of each
 * number. Op: typedef value (a plain struct or number), start(), a struct held<W> as in map.cuh,
 * load<W>(held<W> &, pack), take<W>(value &, image, channel, const held<W> &) and join(a, b).
 */
template <int W, typename Op>
static __device__ void dmq_channel_part(const Op &op, const dmq_channels &g,
                                        typename Op::value *part)
{
    typedef typename Op::value value;
    __shared__ value slot[DMQ_CHUNK_BLOCK];
    const unsigned chunk = blockIdx.x, lane = threadIdx.x % DMQ_WARP;
    const unsigned stripe = threadIdx.x / DMQ_WARP, stripes = DMQ_CHUNK_BLOCK / DMQ_WARP;
    const int image = (int)blockIdx.z;
    const unsigned first = chunk * g.length;
    const unsigned end = first + g.length < g.of_image ? first + g.length : g.of_image;
    value mine = op.start();

    part += ((size_t)image * g.chunks + chunk) * g.c;
    if (g.columns) {
        const int channel = (int)(blockIdx.y * DMQ_WARP + lane);
        const size_t start = (size_t)image * g.image + channel;

#pragma unroll DMQ_CHUNK_DEPTH
        for (unsigned i = first + stripe; channel < g.c && i < end; i += stripes) {
            typename Op::template held<W> h;

            op.template load<W>(h, start + i * g.line);
            op.template take<W>(mine, image, channel, h);
        }
        slot[threadIdx.x] = mine;
        __syncthreads();
        if (stripe == 0 && channel < g.c) {
            for (unsigned s = 1; s < stripes; s++)
                mine = op.join(mine, slot[s * DMQ_WARP + lane]);
            part[channel] = mine;
        }
        return;
    }
    const int channel = (int)blockIdx.y;
    const size_t start = (size_t)image * g.image + (size_t)channel * g.inner.d;
    unsigned i = first + threadIdx.x;

    for (; i + (DMQ_CHUNK_DEPTH - 1) * DMQ_CHUNK_BLOCK < end;
         i += DMQ_CHUNK_DEPTH * DMQ_CHUNK_BLOCK) {
        typename Op::template held<W> h[DMQ_CHUNK_DEPTH];

#pragma unroll
        for (unsigned k = 0; k < DMQ_CHUNK_DEPTH; k++) {
            unsigned rest, line = dmq_divide(i + k * DMQ_CHUNK_BLOCK, &rest, g.inner);

            op.template load<W>(h[k], start + line * g.line + rest);
        }
#pragma unroll
        for (unsigned k = 0; k < DMQ_CHUNK_DEPTH; k++)
            op.template take<W>(mine, image, channel, h[k]);
    }
#pragma unroll 1
    for (; i < end; i += DMQ_CHUNK_BLOCK) {
        unsigned rest, line = dmq_divide(i, &rest, g.inner);
        typename Op::template held<W> h;

        op.template load<W>(h, start + line * g.line + rest);
        op.template take<W>(mine, image, channel, h);
    }
    slot[threadIdx.x] = mine;
    for (unsigned half = DMQ_CHUNK_BLOCK / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            slot[threadIdx.x] = op.join(slot[threadIdx.x], slot[threadIdx.x + half]);
    }
    if (threadIdx.x == 0)
        part[channel] = slot[0];
}

template <typename Op>
static __global__ void __launch_bounds__(DMQ_CHUNK_BLOCK)
    dmq_channel_parts(Op op, dmq_channels g, typename Op::value *part)
{
    if (g.wide)
        dmq_channel_part<4>(op, g, part);
    else
        dmq_channel_part<1>(op, g, part);
}

#endif
