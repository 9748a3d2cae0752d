/**
 * One row a team: softmax, layer norm. A team is a warp, or a block where rows are long; a row is read
 * once into registers and visited there as often as the formula needs. What does not fit (more than V
 * packs a thread) is read again at each visit, which happens in rows of more than 8192 numbers only.
 *
 *   dmq_row<TEAM, W, V, 2> row(a.cols / W);
 *   row.load(0, x); row.load(1, dy);
 *   row.each([&](int pack, dmq_pack<W> &x, dmq_pack<W> &dy) { ... });
 *
 * A visit must not change what it is given: the next one would see it in registers and not beyond.
 */
#ifndef DMQ_KERNELS_ROWS_CUH
#define DMQ_KERNELS_ROWS_CUH

#include "kernels/map.cuh"
#include "kernels/reduce.cuh"

enum { DMQ_TEAM = 256 };

template <int TEAM, int W, int V> struct dmq_row {
    const dmq_real *from;
    int packs;
    dmq_pack<W> held[V];

    static __device__ int member()
    {
        return (int)threadIdx.x % TEAM;
    }

    __device__ dmq_row(const dmq_real *x, int numbers) : from(x), packs(numbers / W)
    {
#pragma unroll
        for (int k = 0; k < V; k++) {
            int at = k * TEAM + member();

            if (at < packs)
                held[k] = dmq_load<W>(from, (size_t)at);
        }
    }

    template <typename Visit> __device__ void each(Visit visit) const
    {
#pragma unroll
        for (int k = 0; k < V; k++) {
            int at = k * TEAM + member();

            if (at < packs)
                visit((size_t)at, held[k]);
        }
        for (int at = V * TEAM + member(); at < packs; at += TEAM)
            visit((size_t)at, dmq_load<W>(from, (size_t)at));
    }

    /** Two rows of one length together. */
    template <typename Visit> __device__ void each(const dmq_row &other, Visit visit) const
    {
#pragma unroll
        for (int k = 0; k < V; k++) {
            int at = k * TEAM + member();

            if (at < packs)
                visit((size_t)at, held[k], other.held[k]);
        }
        for (int at = V * TEAM + member(); at < packs; at += TEAM) {
            visit((size_t)at, dmq_load<W>(from, (size_t)at), dmq_load<W>(other.from, (size_t)at));
        }
    }
};

/** Joined over the team, to all of it. slot: as of dmq_block_join, another one for each call in a row. */
template <int TEAM, typename T, typename Join>
static __device__ T dmq_team_join(T value, T *slot, Join join)
{
    return TEAM == DMQ_WARP ? dmq_warp_join(value, join) : dmq_block_join(value, slot, join);
}

/** The row of the team; rows may end before the last team's. */
template <int TEAM> static __device__ int dmq_row_number()
{
    return (int)(blockIdx.x * (DMQ_TEAM / TEAM) + threadIdx.x / TEAM);
}

/** Sum of a pack in float, to be added to a longer sum in double. */
template <int W> static __device__ double dmq_pack_sum(const dmq_pack<W> &x)
{
    float sum = x.at[0];

    for (int k = 1; k < W; k++)
        sum += x.at[k];
    return (double)sum;
}

/* One launch of kernel<TEAM, W, V>(...) over `rows` rows of `length` numbers. */
#define DMQ_ROWS_OF(kernel, W, queue, rows, length, ...)                                        \
    ((length) <= DMQ_WARP * 2 * W                                                               \
         ? DMQ_LAUNCH((kernel<DMQ_WARP, W, 2>), ((unsigned)(rows) + 7) / 8, DMQ_TEAM, 0, queue, \
                      __VA_ARGS__)                                                              \
     : (length) <= DMQ_WARP * 8 * W                                                             \
         ? DMQ_LAUNCH((kernel<DMQ_WARP, W, 8>), ((unsigned)(rows) + 7) / 8, DMQ_TEAM, 0, queue, \
                      __VA_ARGS__)                                                              \
         : DMQ_LAUNCH((kernel<DMQ_TEAM, W, 8>), (unsigned)(rows), DMQ_TEAM, 0, queue,           \
                      __VA_ARGS__))

#define DMQ_LAUNCH_ROWS(kernel, wide, queue, rows, length, ...)        \
    ((wide) ? DMQ_ROWS_OF(kernel, 4, queue, rows, length, __VA_ARGS__) \
            : DMQ_ROWS_OF(kernel, 1, queue, rows, length, __VA_ARGS__))

#endif
