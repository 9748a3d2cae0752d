/**
 * Sums over the rows of matrices, in an order that the shape of a matrix alone decides.
 *
 *   sum[b, c] = sum over r < rows of term(b, r, c)      the arrays are (batch, rows, cols)
 *
 * Up to 32 neighbouring threads have a pack of columns each, so that a warp reads 512 bytes of a row; the
 * lines of a block take every eighth row, eight of them in flight, and join in shared memory. A block has
 * 64 rows (at 128 columns and more; twice as many where that would be over 512 blocks above one another),
 * so that a bias of 32 images of 32x32 pixels keeps 512 blocks busy; the sums of blocks, 1/64 of what is
 * read, are joined by a second launch of the same kernel.
 *
 * An operation is a struct as in map.cuh, with
 *
 *   template <int W> struct held;
 *   load<W>(held<W> &h, size_t pack)                       pack: of the whole array
 *   dmq_pack<W> term<W>(const held<W> &h)
 *   finish<W>(size_t b, size_t col, const dmq_pack<W> &sum)   one thread stores it; col in packs
 */
#ifndef DMQ_KERNELS_COL_SUM_CUH
#define DMQ_KERNELS_COL_SUM_CUH

#include "kernels/map.cuh"

#ifdef DMQ_SIMT
enum { DMQ_COL_BLOCK = 32, DMQ_COL_LANES = 4, DMQ_COL_DEPTH = 2, DMQ_COL_SLICES = 3 };
#else
enum { DMQ_COL_BLOCK = 256, DMQ_COL_LANES = 32, DMQ_COL_DEPTH = 8, DMQ_COL_SLICES = 512 };
#endif

/** How a matrix is cut. */
struct dmq_col_cut {
    size_t first, end, rows, packs; /* matrices first..end-1; packs: columns / W */
    unsigned lanes, tiles;          /* packs side by side in a block, blocks side by side */
    unsigned slices, rows_of;       /* blocks above one another, rows of each */
};

template <int W, int MOST, typename Op>
static __global__ void __launch_bounds__(MOST)
    dmq_col_slices(Op op, dmq_real *part, dmq_col_cut cut)
{
    DMQ_SHARED(dmq_pack<W>, joined);
    const unsigned lane = threadIdx.x % cut.lanes, line = threadIdx.x / cut.lanes;
    const unsigned lines = blockDim.x / cut.lanes;
    const size_t blocks = (cut.end - cut.first) * cut.slices * cut.tiles;

    for (size_t at = blockIdx.x; at < blocks; at += gridDim.x) {
        size_t col = at % cut.tiles * cut.lanes + lane, above = at / cut.tiles;
        size_t b = cut.first + above / cut.slices, from = above % cut.slices * cut.rows_of;
        size_t end = from + cut.rows_of < cut.rows ? from + cut.rows_of : cut.rows;
        size_t row = from + line;
        dmq_pack<W> sum = {};

        for (; col < cut.packs && row + (DMQ_COL_DEPTH - 1) * lines < end;
             row += DMQ_COL_DEPTH * lines) {
            typename Op::template held<W> h[DMQ_COL_DEPTH];

#pragma unroll
            for (unsigned k = 0; k < DMQ_COL_DEPTH; k++)
                op.template load<W>(h[k], (b * cut.rows + row + k * lines) * cut.packs + col);
#pragma unroll
            for (unsigned k = 0; k < DMQ_COL_DEPTH; k++)
                dmq_add<W>(sum, op.template term<W>(h[k]), 1);
        }
        for (; col < cut.packs && row < end; row += lines) {
            typename Op::template held<W> h;

            op.template load<W>(h, (b * cut.rows + row) * cut.packs + col);
            dmq_add<W>(sum, op.template term<W>(h), 1);
        }
        joined[threadIdx.x] = sum;
        __syncthreads();
        if (line == 0 && col < cut.packs) {
            for (unsigned k = 1; k < lines; k++)
                dmq_add<W>(sum, joined[k * cut.lanes + lane], 1);
            if (part)
                dmq_store<W>(part, above * cut.packs + col, sum);
            else
                op.template finish<W>(b, col, sum);
        }
        __syncthreads();
    }
}

/* The sums of slices as a matrix of their own. */
template <typename Op> struct dmq_col_joined {
    Op op;
    const dmq_real *part;
    size_t first; /* matrix that part begins with */

    template <int W> struct held {
        dmq_pack<W> v;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.v = dmq_load<W>(part, pack);
    }
    template <int W> __device__ dmq_pack<W> term(const held<W> &h) const
    {
        return h.v;
    }
    template <int W> __device__ void finish(size_t b, size_t col, const dmq_pack<W> &sum) const
    {
        op.template finish<W>(first + b, col, sum);
    }
};

/* The matrices of a cut, in one launch, or in two by way of part. */
template <int W, typename Op>
static dmq_status dmq_col_launch(dmq_queue *queue, const Op &op, dmq_real *part, dmq_col_cut cut)
{
    size_t batch = cut.end - cut.first;
    unsigned block = DMQ_COL_BLOCK;
    dmq_status st = DMQ_LAUNCH((dmq_col_slices<W, DMQ_COL_BLOCK, Op>),
                               dmq_map_grid(batch * cut.slices * cut.tiles), block,
                               block * sizeof(dmq_pack<W>), queue, op, part, cut);

    if (st == DMQ_OK && part) {
        dmq_col_joined<Op> join = { op, part, cut.first };

        cut.first = 0;
        cut.end = batch;
        block = dmq_threads((size_t)cut.lanes * cut.slices, 1024);
        cut.rows = cut.rows_of = cut.slices;
        cut.slices = 1;
        st = DMQ_LAUNCH((dmq_col_slices<W, 1024, dmq_col_joined<Op>>),
                        dmq_map_grid(batch * cut.tiles), block, block * sizeof(dmq_pack<W>), queue,
                        join, static_cast<dmq_real *>(NULL), cut);
    }
    return st;
}

template <int W, typename Op>
static dmq_status dmq_col_sum_by(dmq_queue *queue, const Op &op, size_t batch, size_t rows,
                                 size_t cols)
{
    const size_t room = DMQ_SCRATCH_BYTES / sizeof(dmq_real) / cols;
    size_t most = room < DMQ_COL_SLICES ? room : (size_t)DMQ_COL_SLICES;
    size_t step = batch, least, slices;
    dmq_col_cut cut = { 0, 0, rows, cols / W, 1, 0, 0, 0 };
    void *part = NULL;
    dmq_status st = DMQ_OK;

    while (cut.lanes < DMQ_COL_LANES && cut.lanes < cut.packs)
        cut.lanes *= 2;
    cut.tiles = (unsigned)((cut.packs + cut.lanes - 1) / cut.lanes);
    least = (size_t)DMQ_COL_BLOCK / cut.lanes * DMQ_COL_DEPTH; /* rows that a block has in flight */
    slices = (rows + least - 1) / least;
    if (slices > most)
        least = most < 2 ? rows : least * ((slices + most - 1) / most);
    cut.rows_of = (unsigned)least;
    cut.slices = (unsigned)((rows + least - 1) / least);
    if (cut.slices > 1) {
        step = room / cut.slices < batch ? room / cut.slices : batch;
        st = dmq_cuda_scratch(&part, queue, step * cut.slices * cols * sizeof(dmq_real));
    }
    for (; cut.first < batch && st == DMQ_OK; cut.first = cut.end) {
        cut.end = batch - cut.first < step ? batch : cut.first + step;
        st = dmq_col_launch<W>(queue, op, static_cast<dmq_real *>(part), cut);
    }
    return st;
}

/** wide: pointers are aligned and cols is whole packs. */
template <typename Op>
static dmq_status dmq_col_sum_of(dmq_queue *queue, const Op &op, size_t batch, size_t rows,
                                 size_t cols, bool wide)
{
    return wide ? dmq_col_sum_by<4>(queue, op, batch, rows, cols)
                : dmq_col_sum_by<1>(queue, op, batch, rows, cols);
}

#endif
