/* Products with a stored Jacobian on the device: bound by reading J, once for up to eight vectors.

   times has the bits of the reference (sums in the order of the rows, no fused multiply-adds). dots takes
   a warp for a piece of a row: a lane has columns 4 lane .. 4 lane + 3 of every 128, whether it loads four
   numbers at once or one by one, so that neither alignment nor row length changes a bit. */
#include "kernels/map.cuh"
#include "kernels/reduce.cuh"

extern "C" {
#include "kernels/jacobian.h"
}

enum { VECTORS = 8, WARPS = 8, BLOCK = WARPS * DMQ_WARP, AHEAD = 8 };

/* W columns from k on, of `count` vectors from v and out on, at most L. */
template <int W, int L>
static __device__ __forceinline__ void times_columns(const dmq_jacobian_args &a, int first,
                                                     int count, size_t k)
{
    dmq_pack<W> sum[L] = {};

#pragma unroll 4
    for (int i = 0; i < a.n; i++) {
        dmq_pack<W> row = dmq_load<W>(a.rows + (size_t)i * a.ld + k, 0);

#pragma unroll
        for (int l = 0; l < L; l++) {
            dmq_real v = l < count ? a.v[(first + l) * a.n + i] : 0;

#pragma unroll
            for (int j = 0; j < W; j++)
                sum[l].at[j] += v * row.at[j];
        }
    }
#pragma unroll
    for (int l = 0; l < L; l++) {
        if (l < count)
            dmq_store<W>(a.out + (size_t)(first + l) * a.ld_out + k, 0, sum[l]);
    }
}

template <int W, int L>
static __global__ void __launch_bounds__(BLOCK) times(dmq_jacobian_args a, int first, int count)
{
    DMQ_EACH_INDEX(pack, a.count / W)
    {
        times_columns<W, L>(a, first, count, pack * W);
    }
    if (W > 1 && blockIdx.x == 0 && threadIdx.x < a.count % W)
        times_columns<1, L>(a, first, count, a.count / W * W + threadIdx.x);
}

/* The four numbers from k on, zeros behind the end of the piece. */
static __device__ __forceinline__ dmq_pack<4> four_from(const dmq_real *x, size_t k, size_t end,
                                                        bool wide)
{
    dmq_pack<4> v = {};

    if (wide && k + 4 <= end)
        return dmq_load<4>(x + k, 0);
    for (int j = 0; j < 4; j++)
        v.at[j] = k + j < end ? x[k + j] : 0;
    return v;
}

/* part (pieces, rows, L): rows `row0` to `row0 + rows - 1`, vectors from `first` on. */
template <int L>
static __global__ void __launch_bounds__(BLOCK)
    piece_dots(dmq_jacobian_args a, double *part, int row0, int rows, int first, int count,
               bool wide)
{
    const size_t row_blocks = ((size_t)rows + WARPS - 1) / WARPS;
    const size_t pieces = (a.count + DMQ_JACOBIAN_COLUMNS - 1) / DMQ_JACOBIAN_COLUMNS;
    const unsigned lane = threadIdx.x % DMQ_WARP, warp = threadIdx.x / DMQ_WARP;

    for (size_t b = blockIdx.x; b < pieces * row_blocks; b += gridDim.x) {
        size_t piece = b / row_blocks, from = piece * DMQ_JACOBIAN_COLUMNS;
        size_t end = a.count - from < DMQ_JACOBIAN_COLUMNS ? a.count : from + DMQ_JACOBIAN_COLUMNS;
        size_t i = b % row_blocks * WARPS + warp;
        const dmq_real *row = a.rows + (row0 + i) * a.ld;
        const size_t vector = a.pairs ? row0 + i : (size_t)first;
        double sum[L] = {};

        if (i >= (size_t)rows)
            continue; /* a warp as a whole */
        for (size_t k = from + 4 * lane; k < end; k += 4 * DMQ_WARP) {
            dmq_pack<4> g = four_from(row, k, end, wide);

#pragma unroll
            for (int l = 0; l < L; l++) {
                if (l < count) {
                    dmq_pack<4> x = four_from(a.x + (vector + l) * a.ld_x, k, end, wide);

                    for (int j = 0; j < 4; j++) /* the products are exact */
                        sum[l] += (double)g.at[j] * (double)x.at[j];
                }
            }
        }
#pragma unroll
        for (int l = 0; l < L; l++) {
            double all = dmq_warp_join(sum[l], dmq_sum_of());

            if (lane == 0)
                part[(piece * rows + i) * L + l] = all;
        }
    }
}

/* The pieces in their order; their loads do not wait for the sum. */
static __global__ void join_pieces(dmq_jacobian_args a, const double *part, int row0, int rows,
                                   int first, int count, int step)
{
    const size_t pieces = (a.count + DMQ_JACOBIAN_COLUMNS - 1) / DMQ_JACOBIAN_COLUMNS;
    const size_t width = (size_t)rows * step;

    DMQ_EACH_INDEX(at, width)
    {
        int l = (int)(at % step), i = row0 + (int)(at / step);
        double sum = 0;

        for (size_t p = 0; p < pieces; p += AHEAD) {
            double next[AHEAD];

#pragma unroll
            for (int j = 0; j < AHEAD; j++)
                next[j] = p + j < pieces ? part[(p + j) * width + at] : 0;
#pragma unroll
            for (int j = 0; j < AHEAD; j++)
                sum += next[j];
        }
        if (l < count)
            a.dots[(size_t)(first + l) * a.n + i] = sum;
    }
}

template <int L>
static dmq_status launch_times(dmq_queue *queue, const dmq_jacobian_args *a, int first, int count,
                               bool wide)
{
    return wide ? DMQ_LAUNCH((times<4, L>), dmq_grid(a->count / 4, BLOCK), BLOCK, 0, queue, *a,
                             first, count)
                : DMQ_LAUNCH((times<1, L>), dmq_grid(a->count, BLOCK), BLOCK, 0, queue, *a, first,
                             count);
}

DMQ_DEVICE(dmq_jacobian_times)(dmq_queue *queue, const dmq_jacobian_args *a)
{
    bool wide = dmq_aligned(a->rows, a->out) && dmq_by_four(a->ld, a->ld_out);
    dmq_status st = DMQ_OK;

    for (int first = 0; first < a->m && st == DMQ_OK; first += VECTORS) {
        int count = a->m - first < VECTORS ? a->m - first : VECTORS;

        st = count == 1 ? launch_times<1>(queue, a, first, count, wide)
                        : launch_times<VECTORS>(queue, a, first, count, wide);
    }
    return st;
}

template <int L>
static dmq_status launch_dots(dmq_queue *queue, const dmq_jacobian_args *a, int row0, int rows,
                              int first, int count)
{
    size_t pieces = (a->count + DMQ_JACOBIAN_COLUMNS - 1) / DMQ_JACOBIAN_COLUMNS;
    size_t blocks = pieces * (((size_t)rows + WARPS - 1) / WARPS);
    bool wide = dmq_aligned(a->rows, a->x) && dmq_by_four(a->ld, a->ld_x);
    void *part = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_scratch(&part, queue, pieces * (size_t)rows * L * sizeof(double)));
    DMQ_TRY(DMQ_LAUNCH((piece_dots<L>), dmq_map_grid(blocks), BLOCK, 0, queue, *a,
                       static_cast<double *>(part), row0, rows, first, count, wide));
    DMQ_TRY(DMQ_LAUNCH(join_pieces, dmq_grid((size_t)rows * L, DMQ_WARP), DMQ_WARP, 0, queue, *a,
                       static_cast<const double *>(part), row0, rows, first, count, L));
done:
    return st;
}

DMQ_DEVICE(dmq_jacobian_dots)(dmq_queue *queue, const dmq_jacobian_args *a)
{
    size_t pieces = (a->count + DMQ_JACOBIAN_COLUMNS - 1) / DMQ_JACOBIAN_COLUMNS;
    int vectors = a->m == 1 ? 1 : VECTORS;
    size_t most = DMQ_SCRATCH_BYTES / (pieces * (size_t)vectors * sizeof(double));
    dmq_status st = DMQ_OK;

    if (most < 1)
        most = 1; /* scratch says that it is too little */
    for (int row0 = 0; row0 < a->n && st == DMQ_OK;) {
        int rows = (size_t)(a->n - row0) < most ? a->n - row0 : (int)most;

        for (int first = 0; first < a->m && st == DMQ_OK; first += vectors) {
            int count = a->m - first < vectors ? a->m - first : vectors;

            st = vectors == 1 ? launch_dots<1>(queue, a, row0, rows, first, count)
                              : launch_dots<VECTORS>(queue, a, row0, rows, first, count);
        }
        row0 += rows;
    }
    return st;
}
