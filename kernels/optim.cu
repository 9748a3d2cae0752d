/* Adam, sums of blocks and the dot product on the device.

   Bytes an element, the least there is: Adam 16 read, 12 written; a sum of n blocks 4 n + 4 (+ 4 where it
   adds); dot 8. Conversions to double are a quarter of what an SM can do at that rate. */
#include "kernels/row_sum.cuh"

extern "C" {
#include "kernels/optim.h"
#include "kernels/optim_math.h"
}

struct adam_move {
    dmq_real *p, *m, *v;
    const dmq_real *g;
    dmq_adam_step s;

    enum { depth = 2 };
    template <int W> struct held {
        dmq_pack<W> p, m, v, g;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.g = dmq_load<W>(g, pack);
        h.m = dmq_load<W>(m, pack);
        h.v = dmq_load<W>(v, pack);
        h.p = dmq_load<W>(p, pack);
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        for (int k = 0; k < W; k++)
            h.p.at[k] = dmq_adam_move(h.p.at[k], h.g.at[k], &h.m.at[k], &h.v.at[k], s);
        dmq_store<W>(p, pack, h.p);
        dmq_store<W>(m, pack, h.m);
        dmq_store<W>(v, pack, h.v);
    }
};

enum { BLOCKS_MOST = 128 }; /* pointers in the parameters of one launch */

/* The sum over some of the blocks, after that over those before them (part_in). */
struct block_sum {
    const dmq_real *x[BLOCKS_MOST];
    const dmq_real *part_in; /* NULL: these are the first */
    dmq_real *part_out;      /* NULL: these are the last */
    dmq_real *y, alpha;
    int n, add;

    enum { depth = 1 }; /* the blocks are in flight together */
    template <int W> struct held {
        dmq_pack<W> sum, old;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.sum = dmq_old<W>(part_in, pack, part_in != NULL);
        h.old = dmq_old<W>(y, pack, add && !part_out);
#pragma unroll 8
        for (int k = 0; k < n; k++) {
            dmq_pack<W> v = dmq_load<W>(x[k], pack);

            for (int l = 0; l < W; l++)
                h.sum.at[l] += v.at[l];
        }
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        if (part_out) {
            dmq_store<W>(part_out, pack, h.sum);
            return;
        }
        for (int k = 0; k < W; k++)
            h.sum.at[k] *= alpha;
        dmq_add<W>(h.sum, h.old, add);
        dmq_store<W>(y, pack, h.sum);
    }
};

struct dot_product {
    const dmq_real *x, *y;
    double *out;

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> x, y;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.x = dmq_load<W>(x, pack);
        h.y = dmq_load<W>(y, pack);
    }
    template <int W> __device__ double term(const held<W> &h) const
    {
        double t[W];

        for (int k = 0; k < W; k++)
            t[k] = (double)h.x.at[k] * (double)h.y.at[k]; /* exact */
        return dmq_pack_sum<W>(t);
    }
    __device__ void finish(size_t, double sum) const
    {
        *out = sum;
    }
};

DMQ_DEVICE(dmq_adam)(dmq_queue *queue, const dmq_adam_args *a)
{
    adam_move op = { a->p, a->m, a->v, a->g,
                     dmq_adam_begin(a->lr, a->beta1, a->beta2, a->eps, a->step) };

    return dmq_map(queue, op, a->count, dmq_aligned(a->p, a->m, a->v, a->g));
}

/* Blocks `first` to `first + op.n - 1` at numbers `from` to `from + count - 1`. */
static dmq_status sum_some(dmq_queue *queue, const dmq_sum_blocks_args *a, dmq_real *part,
                           int first, size_t from, size_t count)
{
    block_sum op = {};
    bool aligned = dmq_aligned(a->y + from);

    op.n = a->n_blocks - first < BLOCKS_MOST ? a->n_blocks - first : BLOCKS_MOST;
    for (int k = 0; k < op.n; k++) {
        op.x[k] = a->x[first + k] + from;
        aligned = aligned && dmq_aligned(op.x[k]);
    }
    op.part_in = first > 0 ? part : NULL;
    op.part_out = first + op.n < a->n_blocks ? part : NULL;
    op.y = a->y + from;
    op.alpha = a->alpha;
    op.add = a->add;
    return dmq_map(queue, op, count, aligned);
}

DMQ_DEVICE(dmq_sum_blocks)(dmq_queue *queue, const dmq_sum_blocks_args *a)
{
    size_t most = a->count;
    void *part = NULL;
    dmq_status st = DMQ_OK;

    if (a->n_blocks > BLOCKS_MOST) {
        size_t room = DMQ_SCRATCH_BYTES / sizeof(dmq_real);

        most = most < room ? most : room;
        st = dmq_cuda_scratch(&part, queue, most * sizeof(dmq_real));
    }
    for (size_t from = 0; from < a->count && st == DMQ_OK; from += most) {
        size_t count = a->count - from < most ? a->count - from : most;
        int first = 0;

        do {
            st = sum_some(queue, a, static_cast<dmq_real *>(part), first, from, count);
            first += BLOCKS_MOST;
        } while (first < a->n_blocks && st == DMQ_OK);
    }
    return st;
}

DMQ_DEVICE(dmq_dot)(dmq_queue *queue, const dmq_dot_args *a)
{
    dot_product op = { a->x, a->y, a->out };

    return dmq_row_sum(queue, op, 1, 1, a->count, dmq_aligned(a->x, a->y));
}
