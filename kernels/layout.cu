/* Strided copies and permutations on the device.

   4 + 4 bytes a number (+ 4 where it adds), the least there is. A permutation is first brought to as few
   axes as it has: axes of one entry fall away, axes that stay neighbours become one. Then it is one of
     - a copy (nothing moves);
     - rows: the last axis stays last; 16-byte accesses on both sides (attention heads);
     - tiles: the last axis of x is another of y (NCHW <-> NHWC): 64 x 64 numbers go through shared memory,
       so that both sides see 16-byte accesses of whole 256-byte rows. The tile's rows are 65 long: writing
       and reading it meet each bank twice, a third of what shared memory can do at 4.3 TB/s;
     - a gather, where one of the two axes is too short for a tile (images of 3 channels). */
#include "kernels/map.cuh"

extern "C" {
#include "kernels/layout.h"
}

struct moved_rows {
    const dmq_real *src;
    dmq_real *dst;
    dmq_divider row; /* packs of a row */
    size_t src_ld, dst_ld;
    int add;

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> v, old;
        size_t to;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        unsigned col, i = dmq_divide((unsigned)pack, &col, row);

        h.to = i * dst_ld + col;
        h.v = dmq_load<W>(src, i * src_ld + col);
        h.old = dmq_old<W>(dst, h.to, add);
    }
    template <int W> __device__ void store(held<W> &h, size_t) const
    {
        dmq_add<W>(h.v, h.old, add);
        dmq_store<W>(dst, h.to, h.v);
    }
};

struct moved_flat {
    const dmq_real *src;
    dmq_real *dst;
    int add;

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> v, old;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.v = dmq_load<W>(src, pack);
        h.old = dmq_old<W>(dst, pack, add);
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        dmq_add<W>(h.v, h.old, add);
        dmq_store<W>(dst, pack, h.v);
    }
};

static dmq_status move_flat(dmq_queue *queue, dmq_real *dst, const dmq_real *src, size_t count,
                            int add)
{
    moved_flat op = { src, dst, add };

    return dmq_map(queue, op, count, dmq_aligned(src, dst));
}

DMQ_DEVICE(dmq_copy2d)(dmq_queue *queue, const dmq_copy2d_args *a)
{
    size_t count = a->rows * a->cols, unit;
    bool wide = dmq_by_four(a->cols, a->src_ld, a->dst_ld) && dmq_aligned(a->src, a->dst);
    dmq_status st = DMQ_OK;

    if (a->rows == 1 || (a->src_ld == a->cols && a->dst_ld == a->cols))
        return move_flat(queue, a->dst, a->src, count, a->add);
    unit = wide ? 4 : 1;
    st = dmq_map_fits("copy2d", count / unit);
    if (st != DMQ_OK || count == 0)
        return st;
    moved_rows op = { a->src,           a->dst,           dmq_divider_of(a->cols / unit),
                      a->src_ld / unit, a->dst_ld / unit, a->add };
    return dmq_map(queue, op, count, wide);
}

/* The axes of y, those beyond n of one entry; stride: in x, in numbers. */
struct axes {
    int n;
    size_t dim[4], stride[4];
};

static axes axes_of(const dmq_permute_args *a)
{
    size_t of_x[4];
    axes y = { 0, { 1, 1, 1, 1 }, { 0, 0, 0, 0 } };

    of_x[3] = 1;
    for (int d = 2; d >= 0; d--)
        of_x[d] = of_x[d + 1] * (size_t)a->dim[d + 1];
    for (int d = 0; d < 4; d++) {
        size_t dim = (size_t)a->dim[a->perm[d]], stride = of_x[a->perm[d]];

        if (dim == 1)
            continue;
        if (y.n > 0 && y.stride[y.n - 1] == dim * stride) {
            y.dim[y.n - 1] *= dim;
            y.stride[y.n - 1] = stride;
        } else {
            y.dim[y.n] = dim;
            y.stride[y.n++] = stride;
        }
    }
    return y;
}

/* y in order, x by strides: packs along the last axis, of W numbers where that is x's last too. */
struct gathered {
    const dmq_real *x;
    dmq_real *y;
    dmq_divider last[3]; /* length of axes 1 to 3, in packs the last of them */
    size_t stride[4];    /* in packs */
    int add;

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> v, old;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        unsigned rest = (unsigned)pack, at;
        size_t from = 0;

        for (int d = 3; d > 0; d--) {
            rest = dmq_divide(rest, &at, last[d - 1]);
            from += at * stride[d];
        }
        h.v = dmq_load<W>(x, from + rest * stride[0]);
        h.old = dmq_old<W>(y, pack, add);
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        dmq_add<W>(h.v, h.old, add);
        dmq_store<W>(y, pack, h.v);
    }
};

static dmq_status gather(dmq_queue *queue, const dmq_permute_args *a, const axes &y, size_t count)
{
    bool whole = y.stride[y.n - 1] == 1; /* rows of x */
    bool wide = whole && y.dim[y.n - 1] % 4 == 0 && dmq_aligned(a->x, a->y);
    size_t unit = wide ? 4 : 1;
    dmq_status st = dmq_map_fits("permute", count / unit);
    gathered op = {};

    if (st != DMQ_OK)
        return st;
    op.x = a->x;
    op.y = a->y;
    op.add = a->add;
    for (int d = 0; d < 4; d++) { /* the last n of the four places */
        int from = d - (4 - y.n);
        size_t dim = from < 0 ? 1 : y.dim[from], stride = from < 0 ? 0 : y.stride[from];

        op.stride[d] = d == 3 && whole ? 1 : stride / unit;
        if (d > 0)
            op.last[d - 1] = dmq_divider_of(d == 3 ? dim / unit : dim);
    }
    return dmq_map(queue, op, count, wide);
}

#ifdef DMQ_SIMT
enum { TILE = 16, TILE_BLOCK = 64, TILE_LEAST = 2 };
#else
enum { TILE = 64, TILE_BLOCK = 256, TILE_LEAST = 8 };
#endif

/* x: (outer, b, a) by strides, a neighbours; y: (outer, a, b) by strides, b neighbours. */
struct transposed {
    const dmq_real *x;
    dmq_real *y;
    unsigned a, b, tiles_a, tiles_b;
    unsigned outer[2];      /* lengths of the other axes */
    size_t x_outer[2], x_b; /* strides */
    size_t y_outer[2], y_a;
    int add;
};

template <int W>
static __global__ void __launch_bounds__(TILE_BLOCK) transpose(transposed t, size_t tiles)
{
    __shared__ dmq_real tile[TILE][TILE + 1];
    const unsigned lanes = TILE / W, rows = TILE_BLOCK / lanes, turns = TILE / rows;
    const unsigned lane = threadIdx.x % lanes * W, line = threadIdx.x / lanes;

    for (size_t at = blockIdx.x; at < tiles; at += gridDim.x) {
        unsigned a0 = (unsigned)(at % t.tiles_a) * TILE;
        unsigned rest = (unsigned)(at / t.tiles_a), b0 = rest % t.tiles_b * TILE;
        unsigned i = rest / t.tiles_b / t.outer[1], j = rest / t.tiles_b % t.outer[1];
        const dmq_real *x = t.x + i * t.x_outer[0] + j * t.x_outer[1] + a0 + lane;
        dmq_real *y = t.y + i * t.y_outer[0] + j * t.y_outer[1] + b0 + lane;
        dmq_pack<W> v[turns];

#pragma unroll
        for (unsigned k = 0; k < turns; k++) {
            unsigned b = b0 + line + k * rows;

            v[k] = dmq_old<W>(x + b * t.x_b, 0, a0 + lane < t.a && b < t.b);
        }
#pragma unroll
        for (unsigned k = 0; k < turns; k++) {
            for (int l = 0; l < W; l++)
                tile[line + k * rows][lane + l] = v[k].at[l];
        }
        __syncthreads();
#pragma unroll
        for (unsigned k = 0; k < turns; k++) {
            unsigned a = a0 + line + k * rows;
            dmq_real *to = y + a * t.y_a;

            if (a < t.a && b0 + lane < t.b) {
                for (int l = 0; l < W; l++)
                    v[k].at[l] = tile[lane + l][line + k * rows];
                dmq_add<W>(v[k], dmq_old<W>(to, 0, t.add), t.add);
                dmq_store<W>(to, 0, v[k]);
            }
        }
        __syncthreads();
    }
}

DMQ_DEVICE(dmq_permute)(dmq_queue *queue, const dmq_permute_args *a)
{
    size_t count = (size_t)a->dim[0] * (size_t)a->dim[1] * (size_t)a->dim[2] * (size_t)a->dim[3];
    axes y = axes_of(a);
    size_t stride = 1, tiles;
    int others = 0, inner = 0;
    transposed t = {};
    bool wide;

    if (count == 0)
        return DMQ_OK;
    if (y.n <= 1)
        return move_flat(queue, a->y, a->x, count, a->add);
    while (y.stride[inner] != 1)
        inner++;
    if (inner == y.n - 1 || y.dim[inner] < TILE_LEAST || y.dim[y.n - 1] < TILE_LEAST)
        return gather(queue, a, y, count);

    t.x = a->x;
    t.y = a->y;
    t.a = (unsigned)y.dim[inner];
    t.b = (unsigned)y.dim[y.n - 1];
    t.x_b = y.stride[y.n - 1];
    t.outer[0] = t.outer[1] = 1;
    t.add = a->add;
    for (int d = y.n - 1; d >= 0; d--) {
        if (d == inner) {
            t.y_a = stride;
        } else if (d < y.n - 1) {
            t.outer[others] = (unsigned)y.dim[d];
            t.x_outer[others] = y.stride[d];
            t.y_outer[others++] = stride;
        }
        stride *= y.dim[d];
    }
    t.tiles_a = (t.a + TILE - 1) / TILE;
    t.tiles_b = (t.b + TILE - 1) / TILE;
    tiles = (size_t)t.tiles_a * t.tiles_b * t.outer[0] * t.outer[1];
    /* all other strides are multiples of a or b */
    wide = dmq_by_four(t.a, t.b) && dmq_aligned(a->x, a->y);
    return wide ? DMQ_LAUNCH(transpose<4>, dmq_map_grid(tiles), TILE_BLOCK, 0, queue, t, tiles)
                : DMQ_LAUNCH(transpose<1>, dmq_map_grid(tiles), TILE_BLOCK, 0, queue, t, tiles);
}
