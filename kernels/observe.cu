/*
 * Minimum and maximum, and the range search, on the device.
 *
 * Minimum and maximum: 4 bytes an element, in chunks, then over chunks.
 *
 * Range search: arithmetic is what it costs, 80 candidates an element. A channel that fits in shared
 * memory (a weight's) is one block's: read once, its range found, then eight warps take ten candidates
 * each by an approximate power (some 20 instructions), and the few candidates within 1e-4 of the smallest
 * score are scored again as ref does. 35 M weights are 2.9e9 such terms, about 3 ms of arithmetic. A longer
 * channel (a whole activation) goes in chunks over all blocks, every candidate with the exact power: three
 * launches more.
 */
#include "kernels/channels.cuh"

extern "C" {
#include "kernels/observe.h"
#include "kernels/observe_math.h"
}

enum { CANDIDATES = 100, SEARCH = 256, WARPS = SEARCH / 32, BATCH = 5, STRIPES = 8 };
enum { EACH = (CANDIDATES + WARPS - 1) / WARPS }; /* candidates of a warp */
#ifdef DMQ_SIMT
enum { KEEP = 1040, PIECE = 1024 }; /* small, so that tests take both ways */
#else
enum {
    KEEP = 10240,
    PIECE = 4096
}; /* numbers of a channel, or of a piece of it, in shared memory */
#endif

/* ------------------------------------------------------------------ minimum and maximum */

struct extremes {
    float lo, hi;
};

struct find_ends {
    typedef extremes value;
    const dmq_real *x;

    __device__ extremes start() const
    {
        return { INFINITY, -INFINITY };
    }
    template <int W> struct held {
        dmq_pack<W> x;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.x = dmq_load<W>(x, pack);
    }
    template <int W> __device__ void take(extremes &e, int, int, const held<W> &h) const
    {
        for (int k = 0; k < W; k++)
            e = join(e, { h.x.at[k], h.x.at[k] });
    }
    /* NaN wins, and in both. */
    __device__ extremes join(extremes a, extremes b) const
    {
        return { dmq_min_of()(a.lo, b.lo), dmq_max_of()(a.hi, b.hi) };
    }
};

/* A block a channel. */
static __global__ void __launch_bounds__(SEARCH)
    join_ends(dmq_real *lo, dmq_real *hi, const extremes *part, int c, unsigned chunks)
{
    __shared__ float slot[2][DMQ_WARPS_MOST];
    float a = INFINITY, b = -INFINITY;

    for (unsigned k = threadIdx.x; k < chunks; k += SEARCH) {
        a = dmq_min_of()(a, part[(size_t)k * c + blockIdx.x].lo);
        b = dmq_max_of()(b, part[(size_t)k * c + blockIdx.x].hi);
    }
    a = dmq_block_join(a, slot[0], dmq_min_of());
    b = dmq_block_join(b, slot[1], dmq_max_of());
    if (threadIdx.x == 0) {
        lo[blockIdx.x] = a;
        hi[blockIdx.x] = b;
    }
}

static size_t ends_bytes(const dmq_channels *g)
{
    return (size_t)g->chunks * g->c * sizeof(extremes);
}

static dmq_status find(dmq_queue *queue, dmq_real *lo, dmq_real *hi, const dmq_real *x,
                       const dmq_channels *g, void *scratch)
{
    const find_ends op = { x };
    extremes *part = static_cast<extremes *>(scratch);
    dmq_status st = DMQ_OK;

    DMQ_TRY(DMQ_LAUNCH((dmq_channel_parts<find_ends>), dmq_channels_grid(g, 1), DMQ_CHUNK_BLOCK, 0,
                       queue, op, *g, part));
    DMQ_TRY(DMQ_LAUNCH(join_ends, (unsigned)g->c, SEARCH, 0, queue, lo, hi,
                       static_cast<const extremes *>(part), g->c, g->chunks));
done:
    return st;
}

DMQ_DEVICE(dmq_minmax)(dmq_queue *queue, const dmq_minmax_args *a)
{
    const dmq_channels g =
        dmq_channels_of((size_t)a->outer, (size_t)a->c, (size_t)a->inner, dmq_aligned(a->x));
    void *scratch = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_map_fits("minmax", (size_t)a->outer * a->inner / (g.wide ? 4 : 1)));
    DMQ_TRY(dmq_cuda_scratch(&scratch, queue, ends_bytes(&g)));
    st = find(queue, a->lo, a->hi, a->x, &g, scratch);
done:
    return st;
}

/* ------------------------------------------------------------------ one candidate */

/* By value: what the search kernels share. */
struct search {
    dmq_range_search_args a;
    float top;
    unsigned count; /* numbers of a channel */
    dmq_divider inner;
};

/* Number i of a channel. */
static __device__ float number(const search &s, int channel, unsigned i)
{
    unsigned rest, o = dmq_divide(i, &rest, s.inner);

    return s.a.x[((size_t)o * s.a.c + channel) * s.a.inner + rest];
}

static __device__ float power_near(float x, float power)
{
#ifdef DMQ_SIMT
    return dmq_pow(x, power);
#else
    return __powf(x, power);
#endif
}

/* |x - fq(x)|^p up to 1e-5: on a tie of codes either side has the same error. */
static __device__ float term_near(float x, dmq_fq_step s, float top, float power)
{
    float code = dmq_fq_clip(dmq_rint(x * s.inverse) + s.zero, 0, top);
    float e = fabsf(x - dmq_fq_value(code, s.scale, s.zero));

    return power == 2 ? e * e : power_near(e, power);
}

/* dmq_range_term, the same bits up to the device's power. */
static __device__ float term(float x, dmq_fq_step s, float top, float power)
{
    return dmq_loss_term(x - dmq_fq_step_value(x, s, 0, top), power);
}

static __device__ dmq_fq_step candidate(const search &s, float lo, float hi, int i)
{
    dmq_range r = dmq_range_is_open(lo, hi, s.a.always_zero)
                      ? dmq_range_candidate(lo, hi, i, s.top, s.a.always_zero)
                      : dmq_range_closed(lo, hi, s.a.always_zero);

    return dmq_fq_step_of(r.scale, r.zero);
}

static __device__ int candidates_of(const search &s, float lo, float hi)
{
    return dmq_range_is_open(lo, hi, s.a.always_zero) ? s.a.candidates : 1;
}

static __device__ void write_winner(const search &s, int channel, int winner, dmq_fq_step step,
                                    double score)
{
    s.a.scale[channel] = step.scale;
    s.a.zero[channel] = step.zero;
    if (s.a.score)
        s.a.score[channel] = (float)score;
    if (s.a.winner)
        s.a.winner[channel] = winner;
}

/* ------------------------------------------------------------------ a channel in one block */

/* The approximate score of each candidate: a warp has BATCH of them at a time. */
static __device__ void score_all(float *near, const float *x, const search &s, float lo, float hi,
                                 int candidates)
{
    const int lane = (int)threadIdx.x % DMQ_WARP;

    for (int first = (int)threadIdx.x / DMQ_WARP * BATCH; first < candidates;
         first += WARPS * BATCH) {
        dmq_fq_step step[BATCH];
        float sum[BATCH] = {};

        for (int k = 0; k < BATCH; k++)
            step[k] = candidate(s, lo, hi, first + k < candidates ? first + k : first);
        for (unsigned i = (unsigned)lane; i < s.count; i += DMQ_WARP) {
#pragma unroll
            for (int k = 0; k < BATCH; k++)
                sum[k] += term_near(x[i], step[k], s.top, s.a.power);
        }
        for (int k = 0; k < BATCH; k++) {
            sum[k] = dmq_warp_join(sum[k], dmq_sum_of());
            if (lane == 0 && first + k < candidates)
                near[first + k] = sum[k];
        }
    }
}

static __global__ void __launch_bounds__(SEARCH) search_whole(search s)
{
    DMQ_SHARED(float, x);
    __shared__ float slot[2][DMQ_WARPS_MOST], near[CANDIDATES];
    __shared__ double sums[2][DMQ_WARPS_MOST];
    const int channel = (int)blockIdx.x;
    float lo = INFINITY, hi = -INFINITY, least = INFINITY;
    double best_score = 0;
    dmq_fq_step best = {};
    int candidates, winner = -1, round = 0;

    for (unsigned i = threadIdx.x; i < s.count; i += SEARCH) {
        x[i] = number(s, channel, i);
        lo = dmq_min_of()(lo, x[i]);
        hi = dmq_max_of()(hi, x[i]);
    }
    lo = dmq_block_join(lo, slot[0], dmq_min_of());
    hi = dmq_block_join(hi, slot[1], dmq_max_of());
    candidates = candidates_of(s, lo, hi);
    score_all(near, x, s, lo, hi, candidates);
    __syncthreads();
    for (int i = 0; i < candidates; i++)
        least = fminf(least, near[i]);

    /* What is near the least, in ascending order: the first smallest wins. A NaN counts as near. */
    for (int i = 0; i < candidates; i++) {
        double sum = 0;

        if (near[i] > least * 1.0001f)
            continue;
        const dmq_fq_step step = candidate(s, lo, hi, i);

        for (unsigned k = threadIdx.x; k < s.count; k += SEARCH)
            sum += (double)term(x[k], step, s.top, s.a.power);
        sum = dmq_block_sum(sum, sums[round++ % 2]) / (double)s.count;
        if (winner < 0 || sum < best_score) {
            winner = i;
            best = step;
            best_score = sum;
        }
    }
    if (threadIdx.x == 0)
        write_winner(s, channel, winner, best, best_score);
}

/* ------------------------------------------------------------------ a channel over many blocks */

/* Scores of one chunk of one channel: part[(chunk c + channel) candidates + i]. */
static __global__ void __launch_bounds__(SEARCH)
    score_chunk(search s, const dmq_real *lo, const dmq_real *hi, unsigned length, double *part)
{
    __shared__ float x[PIECE];
    const int channel = (int)blockIdx.y, lane = (int)threadIdx.x % DMQ_WARP;
    const int warp = (int)threadIdx.x / DMQ_WARP;
    const int candidates = candidates_of(s, lo[channel], hi[channel]);
    const unsigned start = blockIdx.x * length;
    const unsigned end = start + length < s.count ? start + length : s.count;

    double sum[EACH] = {};

    for (unsigned first = start; first < end; first += PIECE) {
        unsigned count = end - first < PIECE ? end - first : (unsigned)PIECE;

        __syncthreads();
        for (unsigned i = threadIdx.x; i < count; i += SEARCH)
            x[i] = number(s, channel, first + i);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            if (warp + k * WARPS >= candidates)
                continue;
            const dmq_fq_step step = candidate(s, lo[channel], hi[channel], warp + k * WARPS);

            for (unsigned i = (unsigned)lane; i < count; i += DMQ_WARP)
                sum[k] += (double)term(x[i], step, s.top, s.a.power);
        }
    }
    part += ((size_t)blockIdx.x * s.a.c + channel) * s.a.candidates;
#pragma unroll
    for (int k = 0; k < EACH; k++) {
        if (warp + k * WARPS >= candidates)
            continue;
        sum[k] = dmq_warp_join(sum[k], dmq_sum_of());
        if (lane == 0)
            part[warp + k * WARPS] = sum[k];
    }
}

/* A block a channel: thread (stripe, candidate) adds up every STRIPES-th chunk. */
static __global__ void __launch_bounds__(CANDIDATES *STRIPES)
    choose(search s, const dmq_real *lo, const dmq_real *hi, unsigned chunks, const double *part)
{
    __shared__ double score[STRIPES][CANDIDATES];
    const int channel = (int)blockIdx.x, c = (int)threadIdx.x % CANDIDATES;
    const int stripe = (int)threadIdx.x / CANDIDATES;
    const int candidates = candidates_of(s, lo[channel], hi[channel]);
    double sum = 0;

    for (unsigned k = (unsigned)stripe; c < candidates && k < chunks; k += STRIPES)
        sum += part[((size_t)k * s.a.c + channel) * s.a.candidates + c];
    score[stripe][c] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        int winner = 0;
        double best = 0;

        for (int i = 0; i < candidates; i++) {
            double all = 0;

            for (int k = 0; k < STRIPES; k++)
                all += score[k][i];
            if (i == 0 || all < best) {
                winner = i;
                best = all;
            }
        }
        write_winner(s, channel, winner, candidate(s, lo[channel], hi[channel], winner),
                     best / (double)s.count);
    }
}

static dmq_status search_chunks(dmq_queue *queue, const search *s)
{
    const dmq_channels g = dmq_channels_of((size_t)s->a.outer, (size_t)s->a.c, (size_t)s->a.inner,
                                           dmq_aligned(s->a.x));
    const size_t row = (size_t)s->a.c * s->a.candidates * sizeof(double), room = 16 << 20;
    const size_t ends = 2 * sizeof(dmq_real) * s->a.c, first = (ends + 15) / 16 * 16;
    unsigned length = PIECE, chunks;
    size_t bytes;
    dmq_status st = DMQ_OK;
    void *scratch = NULL;

    while (length < s->count && (s->count + length - 1) / length * row > room)
        length *= 2;
    chunks = (s->count + length - 1) / length;
    bytes = ends_bytes(&g) > chunks * row ? ends_bytes(&g) : chunks * row;
    DMQ_TRY(dmq_cuda_scratch(&scratch, queue, first + bytes));
    {
        dmq_real *lo = static_cast<dmq_real *>(scratch), *hi = lo + s->a.c;
        double *part = reinterpret_cast<double *>(static_cast<char *>(scratch) + first);

        DMQ_TRY(find(queue, lo, hi, s->a.x, &g, part));
        DMQ_TRY(DMQ_LAUNCH(score_chunk, dim3(chunks, (unsigned)s->a.c), SEARCH, 0, queue, *s,
                           static_cast<const dmq_real *>(lo), static_cast<const dmq_real *>(hi),
                           length, part));
        DMQ_TRY(DMQ_LAUNCH(choose, (unsigned)s->a.c, CANDIDATES * STRIPES, 0, queue, *s,
                           static_cast<const dmq_real *>(lo), static_cast<const dmq_real *>(hi),
                           chunks, static_cast<const double *>(part)));
    }
done:
    return st;
}

DMQ_DEVICE(dmq_range_search)(dmq_queue *queue, const dmq_range_search_args *a)
{
    const size_t count = (size_t)a->outer * a->inner;
    search s = { *a, (float)((1 << a->bits) - 1), (unsigned)count,
                 dmq_divider_of((size_t)a->inner) };
    dmq_status st = dmq_map_fits("range_search", count);

    if (st != DMQ_OK)
        return st;
    if (count <= KEEP) {
        return DMQ_LAUNCH(search_whole, (unsigned)a->c, SEARCH, count * sizeof(float), queue, s);
    }
    return search_chunks(queue, &s);
}
