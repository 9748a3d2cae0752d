/**
 * Sums over the rows of an array in double, in an order that the length of a row alone decides: neither
 * the number of rows nor that of multiprocessors changes a bit of them.
 *
 *   sum[r] = sum over o < outer, i < per of term(o, r, i)      the arrays are (outer, rows, per)
 *
 * A row is cut into slices of 8192 numbers, one block each, so that a single row of a million fills the
 * device; where a row has more than one, their sums lie in scratch and a second, short launch joins them.
 * Each number is read once; the sums of slices are 8 bytes for 32 KiB.
 *
 * An operation is a struct as in map.cuh, with
 *
 *   template <int W> struct held;
 *   load<W>(held<W> &h, size_t pack)    pack: of the whole array
 *   double term<W>(const held<W> &h)    the sum over the pack
 *   finish(size_t row, double sum)      one thread stores it
 */
#ifndef DMQ_KERNELS_ROW_SUM_CUH
#define DMQ_KERNELS_ROW_SUM_CUH

#include "kernels/map.cuh"
#include "kernels/reduce.cuh"

#ifdef DMQ_SIMT
enum { DMQ_SLICE = 512, DMQ_SLICE_BLOCK = 64 };
#else
enum { DMQ_SLICE = 8192, DMQ_SLICE_BLOCK = 256 };
#endif

/** The sum of a pack's numbers, so that no chain of additions is longer than needed. */
template <int W> static __device__ __forceinline__ double dmq_pack_sum(const double (&t)[W])
{
    return W == 4 ? (t[0] + t[W / 2]) + (t[W / 4] + t[W - 1]) : t[0];
}

template <int W, typename Op>
static __global__ void __launch_bounds__(DMQ_SLICE_BLOCK)
    dmq_row_slices(Op op, double *part, size_t rows, size_t per, unsigned slices)
{
    __shared__ double slot[2][DMQ_WARPS_MOST];
    const unsigned step = blockDim.x;
    int turn = 0;

    for (size_t b = blockIdx.x; b < rows * slices; b += gridDim.x, turn ^= 1) {
        size_t row = b / slices, from = b % slices * DMQ_SLICE;
        size_t end = per - from < DMQ_SLICE ? per : from + DMQ_SLICE;
        size_t pack = (row * per + from) / W + threadIdx.x, last = (row * per + end) / W;
        double sum = 0;

        for (; pack + (Op::depth - 1) * step < last; pack += Op::depth * step) {
            typename Op::template held<W> h[Op::depth];

#pragma unroll
            for (int k = 0; k < Op::depth; k++)
                op.template load<W>(h[k], pack + k * step);
#pragma unroll
            for (int k = 0; k < Op::depth; k++)
                sum += op.template term<W>(h[k]);
        }
        for (; pack < last; pack += step) {
            typename Op::template held<W> h;

            op.template load<W>(h, pack);
            sum += op.template term<W>(h);
        }
        if (W > 1 && threadIdx.x < end % W) { /* of a single row: others are whole packs */
            typename Op::template held<1> h;

            op.template load<1>(h, end - end % W + threadIdx.x);
            sum += op.template term<1>(h);
        }
        sum = dmq_block_sum(sum, slot[turn]);
        if (threadIdx.x == 0) {
            if (part)
                part[b] = sum;
            else
                op.finish(row, sum);
        }
    }
}

template <typename Op>
static __global__ void dmq_row_join(Op op, const double *part, size_t outer, size_t rows,
                                    unsigned slices)
{
    __shared__ double slot[2][DMQ_WARPS_MOST];
    int turn = 0;

    for (size_t row = blockIdx.x; row < rows; row += gridDim.x, turn ^= 1) {
        double sum = 0;

        for (size_t k = threadIdx.x; k < outer * slices; k += blockDim.x)
            sum += part[(k / slices * rows + row) * slices + k % slices];
        sum = dmq_block_sum(sum, slot[turn]);
        if (threadIdx.x == 0)
            op.finish(row, sum);
    }
}

/** wide: pointers are aligned, and per is whole packs unless there is one row. */
template <typename Op>
static dmq_status dmq_row_sum(dmq_queue *queue, const Op &op, size_t outer, size_t rows, size_t per,
                              bool wide)
{
    size_t slices = per == 0 ? 1 : (per + DMQ_SLICE - 1) / DMQ_SLICE, all = outer * rows * slices;
    unsigned block = dmq_threads(wide ? per / 4 : per, DMQ_SLICE_BLOCK), grid = dmq_map_grid(all);
    unsigned n = (unsigned)slices;
    bool alone = slices == 1 && outer == 1;
    void *part = NULL;
    dmq_status st = alone ? DMQ_OK : dmq_cuda_scratch(&part, queue, all * sizeof(double));

    if (st == DMQ_OK) {
        double *sums = static_cast<double *>(part);

        st = wide ? DMQ_LAUNCH((dmq_row_slices<4, Op>), grid, block, 0, queue, op, sums,
                               outer * rows, per, n)
                  : DMQ_LAUNCH((dmq_row_slices<1, Op>), grid, block, 0, queue, op, sums,
                               outer * rows, per, n);
    }
    if (st == DMQ_OK && !alone) {
        st = DMQ_LAUNCH(dmq_row_join<Op>, dmq_map_grid(rows), dmq_threads(outer * slices, 1024), 0,
                        queue, op, static_cast<const double *>(part), outer, rows, n);
    }
    return st;
}

#endif
