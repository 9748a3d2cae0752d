/* Rows of a table, and the embedding of time, on the device.

   Forward: 4 + 4 bytes a number of y (+ 4 where it adds), the index from the cache. Backward: every row of
   the table is written once by threads of its own, which look through all indices, 32 at a time: no
   atomics, the order of the samples, and 4 bytes a number of dy and of the table. Time embeddings are
   some thousand numbers, in double. */
#include "kernels/map.cuh"

extern "C" {
#include "kernels/embed.h"
}

struct lookup {
    dmq_embed_args a;
    dmq_divider row; /* packs of a row */

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> v, old;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        unsigned col, i = dmq_divide((unsigned)pack, &col, row);

        h.v = dmq_load<W>(a.table, (size_t)a.index[i] * row.d + col);
        h.old = dmq_old<W>(a.y, pack, a.add);
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        dmq_add<W>(h.v, h.old, a.add);
        dmq_store<W>(a.y, pack, h.v);
    }
};

/* Packs of all parts one behind the other. */
struct gather {
    dmq_gather_part part[DMQ_GATHER_PARTS];
    dmq_divider row[DMQ_GATHER_PARTS]; /* packs of a row */
    unsigned first[DMQ_GATHER_PARTS];  /* pack of each part */
    int n;

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> v;
    };
    __device__ int part_of(unsigned pack) const
    {
        int p = 0;

        while (p + 1 < n && first[p + 1] <= pack)
            p++;
        return p;
    }
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        int p = part_of((unsigned)pack);
        unsigned col, i = dmq_divide((unsigned)pack - first[p], &col, row[p]);

        h.v = dmq_load<W>(part[p].table, (size_t)part[p].index[i] * row[p].d + col);
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        int p = part_of((unsigned)pack);

        dmq_store<W>(part[p].y, pack - first[p], h.v);
    }
};

/* y[i] = table[index[i]]: dtable[r] = the dy[i] of index[i] = r, in the order of i. */
template <int W>
static __global__ void __launch_bounds__(DMQ_MAP_BLOCK)
    collect(dmq_embed_args a, unsigned tiles, unsigned packs)
{
    const int lane = (int)(threadIdx.x % 32);

    for (size_t b = blockIdx.x; b < (size_t)a.rows * tiles; b += gridDim.x) {
        int row = (int)(b / tiles), changed = !a.add;
        size_t col = b % tiles * DMQ_MAP_BLOCK + threadIdx.x, at = (size_t)row * packs + col;
        dmq_pack<W> sum = dmq_old<W>(a.dtable, at, a.add && col < packs);

        for (int first = 0; first < a.n; first += 32) {
            unsigned here =
                __ballot_sync(0xffffffffu, first + lane < a.n && a.index[first + lane] == row);

            for (int i = first; here; i++, here >>= 1) {
                if (here & 1 && col < packs) {
                    dmq_add<W>(sum, dmq_load<W>(a.dy, (size_t)i * packs + col), 1);
                    changed = 1;
                }
            }
        }
        if (changed && col < packs)
            dmq_store<W>(a.dtable, at, sum);
    }
}

/* In double: the product of t = 999 and a rounded frequency would be wrong by 3e-5 already. */
static __global__ void embed_time(dmq_time_embed_args a, size_t count)
{
    DMQ_EACH_INDEX(at, count)
    {
        int half = a.d / 2, j = (int)(at % (size_t)half);
        dmq_real *y = a.y + at / (size_t)half * (size_t)a.d;
        double phase = (double)a.t[at / (size_t)half] * exp(-log(10000.0) * j / (double)a.divisor);

        y[a.cos_first ? half + j : j] = (dmq_real)sin(phase);
        y[a.cos_first ? j : half + j] = (dmq_real)cos(phase);
    }
}

DMQ_DEVICE(dmq_embed_forward)(dmq_queue *queue, const dmq_embed_args *a)
{
    size_t count = (size_t)a->n * (size_t)a->d;
    bool wide = a->d % 4 == 0 && dmq_aligned(a->table, a->y);
    dmq_status st = dmq_map_fits("embed", wide ? count / 4 : count);

    if (st != DMQ_OK || count == 0)
        return st;
    lookup op = { *a, dmq_divider_of((size_t)(wide ? a->d / 4 : a->d)) };
    return dmq_map(queue, op, count, wide);
}

DMQ_DEVICE(dmq_gather)(dmq_queue *queue, const dmq_gather_args *a)
{
    bool wide = true;
    gather op = {};
    size_t packs = 0, count = 0;
    dmq_status st;

    for (int p = 0; p < a->n_parts; p++)
        wide = wide && a->part[p].d % 4 == 0 && dmq_aligned(a->part[p].table, a->part[p].y);
    op.n = a->n_parts;
    for (int p = 0; p < a->n_parts; p++) {
        size_t d = (size_t)(wide ? a->part[p].d / 4 : a->part[p].d);

        op.part[p] = a->part[p];
        op.row[p] = dmq_divider_of(d);
        op.first[p] = (unsigned)packs;
        packs += (size_t)a->n * d;
        count += (size_t)a->n * (size_t)a->part[p].d;
    }
    st = dmq_map_fits("gather", packs);
    if (st != DMQ_OK || count == 0)
        return st;
    return dmq_map(queue, op, count, wide);
}

DMQ_DEVICE(dmq_embed_backward)(dmq_queue *queue, const dmq_embed_args *a)
{
    bool wide = a->d % 4 == 0 && dmq_aligned(a->dy, a->dtable);
    unsigned packs = (unsigned)(wide ? a->d / 4 : a->d);
    unsigned tiles = (packs + DMQ_MAP_BLOCK - 1) / DMQ_MAP_BLOCK;
    unsigned grid = dmq_map_grid((size_t)a->rows * tiles);

    return wide ? DMQ_LAUNCH(collect<4>, grid, DMQ_MAP_BLOCK, 0, queue, *a, tiles, packs)
                : DMQ_LAUNCH(collect<1>, grid, DMQ_MAP_BLOCK, 0, queue, *a, tiles, packs);
}

DMQ_DEVICE(dmq_time_embed)(dmq_queue *queue, const dmq_time_embed_args *a)
{
    size_t count = (size_t)a->n * (size_t)(a->d / 2);

    return DMQ_LAUNCH(embed_time, dmq_grid(count, 128), 128, 0, queue, *a, count);
}
