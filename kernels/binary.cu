/* Sums and products with broadcast on the device, and their gradients.

   The three axes are first brought to as few as the strides leave: equal shapes and a scalar beside an
   array are one axis, a bias over channels is two, a row of an image's channels (N, C) beside (N, HW, C)
   three. Packs lie along the last axis; finding the place of one costs two products a pack of four.

   Bytes an element: forward 4 for each side that does not repeat (one that does stays in the cache), 4 for
   y (+ 4 where it adds); backward 8 for a side that does not repeat (12 of a product, + 4 where it
   adds), 4 (8 of a product) for one that is summed, by columns or by rows. */
#include "kernels/col_sum.cuh"
#include "kernels/row_sum.cuh"

extern "C" {
#include "kernels/pointwise.h"
}

/* Up to three axes, the last ones; those in front of them have one entry and stride 0. */
struct axes {
    size_t dim[3];
    ptrdiff_t p[3], q[3]; /* strides of two sides */
};

static axes axes_of(const int dim[3], const ptrdiff_t p[3], const ptrdiff_t q[3])
{
    axes a = { { 1, 1, 1 }, { 0, 0, 0 }, { 0, 0, 0 } };
    int at = 3;

    for (int d = 2; d >= 0; d--) {
        if (dim[d] == 1)
            continue;
        if (at < 3 && p[d] == a.p[at] * (ptrdiff_t)a.dim[at] &&
            q[d] == a.q[at] * (ptrdiff_t)a.dim[at]) {
            a.dim[at] *= (size_t)dim[d];
        } else {
            a.dim[--at] = (size_t)dim[d];
            a.p[at] = p[d];
            a.q[at] = q[d];
        }
    }
    return a;
}

/* One side: where its packs are. */
struct side {
    dmq_real *at;
    ptrdiff_t outer, middle,
        inner; /* numbers from one to the next; inner: of packs, 0: one for all */
};

struct place {
    dmq_divider middle, inner; /* lengths of the last two axes, inner in packs */
    int flat;                  /* one axis only */

    __device__ ptrdiff_t offset(const side &s, size_t pack) const
    {
        unsigned row, l, i, j;

        if (flat)
            return (ptrdiff_t)pack * s.inner;
        row = dmq_divide((unsigned)pack, &l, inner);
        i = dmq_divide(row, &j, middle);
        return i * s.outer + j * s.middle + l * s.inner;
    }
    template <int W> __device__ dmq_pack<W> load(const side &s, size_t pack) const
    {
        const dmq_real *from = s.at + offset(s, pack);
        dmq_pack<W> v;

        if (s.inner != 0) {
            v = dmq_load<W>(from, 0);
        } else {
            for (int k = 0; k < W; k++)
                v.at[k] = *from;
        }
        return v;
    }
};

/* May packs of four be taken along the last axis? */
static bool wide_side(const dmq_real *at, const ptrdiff_t stride[3])
{
    if (stride[2] == 0)
        return true;
    return stride[2] == 1 && dmq_by_four(stride[0], stride[1]) && dmq_aligned(at);
}

static side side_of(const dmq_real *at, const ptrdiff_t stride[3], bool wide)
{
    return { const_cast<dmq_real *>(at), stride[0], stride[1], wide ? 4 * stride[2] : stride[2] };
}

static place place_of(const axes &a, bool wide)
{
    return { dmq_divider_of(a.dim[1]), dmq_divider_of(wide ? a.dim[2] / 4 : a.dim[2]),
             a.dim[0] == 1 && a.dim[1] == 1 };
}

static size_t count_of(const axes &a)
{
    return a.dim[0] * a.dim[1] * a.dim[2];
}

template <dmq_binary_kind KIND> struct value {
    side p, q;
    place where;
    dmq_real *y;
    int add;

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> p, q, old;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.p = where.load<W>(p, pack);
        h.q = where.load<W>(q, pack);
        h.old = dmq_old<W>(y, pack, add);
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        for (int k = 0; k < W; k++)
            h.p.at[k] = KIND == DMQ_ADD ? h.p.at[k] + h.q.at[k] : h.p.at[k] * h.q.at[k];
        dmq_add<W>(h.p, h.old, add);
        dmq_store<W>(y, pack, h.p);
    }
};

template <dmq_binary_kind KIND>
static dmq_status forward(dmq_queue *queue, const dmq_binary_args *a)
{
    axes x = axes_of(a->dim, a->stride_p, a->stride_q);
    size_t count = count_of(x);
    bool wide =
        x.dim[2] % 4 == 0 && wide_side(a->p, x.p) && wide_side(a->q, x.q) && dmq_aligned(a->y);
    dmq_status st = dmq_map_fits("binary", wide ? count / 4 : count);

    if (st != DMQ_OK || count == 0)
        return st;
    value<KIND> op = { side_of(a->p, x.p, wide), side_of(a->q, x.q, wide), place_of(x, wide), a->y,
                       a->add };
    return dmq_map(queue, op, count, wide);
}

DMQ_DEVICE(dmq_binary_forward)(dmq_queue *queue, const dmq_binary_args *a)
{
    return a->kind == DMQ_ADD ? forward<DMQ_ADD>(queue, a) : forward<DMQ_MUL>(queue, a);
}

/* y = p + q: dp = dy.   y = p q: dp = q dy.   Where p repeats, the sum of these. */
template <dmq_binary_kind KIND> struct gradient {
    const dmq_real *dy;
    side d, other;
    place where;
    int add;

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> dy, other;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.dy = dmq_load<W>(dy, pack);
        if (KIND == DMQ_MUL)
            h.other = where.load<W>(other, pack);
    }
    template <int W> __device__ dmq_pack<W> slope(const held<W> &h) const
    {
        dmq_pack<W> v = h.dy;

        for (int k = 0; KIND == DMQ_MUL && k < W; k++)
            v.at[k] *= h.other.at[k];
        return v;
    }
};

template <dmq_binary_kind KIND> struct each : gradient<KIND> {
    template <int W> struct held : gradient<KIND>::template held<W> {
        dmq_pack<W> old;
        dmq_real *to;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        gradient<KIND>::template load<W>(h, pack);
        h.to = this->d.at + this->where.offset(this->d, pack);
        h.old = dmq_old<W>(h.to, 0, this->add);
    }
    template <int W> __device__ void store(held<W> &h, size_t) const
    {
        dmq_pack<W> v = this->template slope<W>(h);

        dmq_add<W>(v, h.old, this->add);
        dmq_store<W>(h.to, 0, v);
    }
};

/* The place of a sum is that of any of its terms: the strides of summed axes are 0. */
template <dmq_binary_kind KIND> struct by_columns : gradient<KIND> {
    size_t apart; /* packs of a matrix */

    template <int W>
    __device__ dmq_pack<W> term(const typename gradient<KIND>::template held<W> &h) const
    {
        return this->template slope<W>(h);
    }
    template <int W> __device__ void finish(size_t b, size_t col, dmq_pack<W> sum) const
    {
        dmq_real *to = this->d.at + this->where.offset(this->d, b * apart + col);

        dmq_add<W>(sum, dmq_old<W>(to, 0, this->add), this->add);
        dmq_store<W>(to, 0, sum);
    }
};

template <dmq_binary_kind KIND> struct by_rows : gradient<KIND> {
    size_t apart; /* packs of a row */

    template <int W>
    __device__ double term(const typename gradient<KIND>::template held<W> &h) const
    {
        dmq_pack<W> v = this->template slope<W>(h);
        double t[W];

        for (int k = 0; k < W; k++)
            t[k] = (double)v.at[k];
        return dmq_pack_sum<W>(t);
    }
    __device__ void finish(size_t row, double sum) const
    {
        dmq_real *to = this->d.at + this->where.offset(this->d, row * apart);

        *to = this->add ? *to + (dmq_real)sum : (dmq_real)sum;
    }
};

template <typename Op, dmq_binary_kind KIND>
static Op gradient_of(const dmq_binary_args *a, const axes &x, dmq_real *d, int add,
                      const dmq_real *other, bool wide)
{
    Op op;

    op.dy = a->dy;
    op.d = side_of(d, x.p, wide);
    op.other = side_of(other, x.q, wide);
    op.where = place_of(x, wide);
    op.add = add;
    return op;
}

/* The gradient of one side, beside another. */
template <dmq_binary_kind KIND>
static dmq_status backward_side(dmq_queue *queue, const dmq_binary_args *a, dmq_real *d,
                                const ptrdiff_t stride[3], int add, const dmq_real *other,
                                const ptrdiff_t other_stride[3])
{
    axes x = axes_of(a->dim, stride, KIND == DMQ_MUL ? other_stride : stride);
    const size_t *dim = x.dim;
    size_t count = count_of(x);
    int kept[3];
    bool wide = dim[2] % 4 == 0 && wide_side(d, x.p) && dmq_aligned(a->dy) &&
                (KIND == DMQ_ADD || wide_side(other, x.q));
    dmq_status st = dmq_map_fits("binary", wide ? count / 4 : count);

    if (st != DMQ_OK || count == 0)
        return st;
    for (int k = 0; k < 3; k++)
        kept[k] = x.p[k] != 0;
    if ((kept[0] || dim[0] == 1) && (kept[1] || dim[1] == 1) && (kept[2] || dim[2] == 1)) {
        each<KIND> op = gradient_of<each<KIND>, KIND>(a, x, d, add, other, wide);

        return dmq_map(queue, op, count, wide);
    }
    if (kept[2]) { /* (batch, rows, cols), of which the rows are summed */
        size_t batch = kept[0] ? dim[0] : 1, cols = kept[1] ? dim[1] * dim[2] : dim[2];
        by_columns<KIND> op = gradient_of<by_columns<KIND>, KIND>(a, x, d, add, other, wide);

        op.apart = count / batch / (wide ? 4 : 1);
        return dmq_col_sum_of(queue, op, batch, count / batch / cols, cols, wide);
    }
    /* (outer, rows, per), of which outer and per are summed */
    size_t outer = !kept[0] && kept[1] ? dim[0] : 1;
    size_t rows = kept[1] ? count / outer / dim[2] : kept[0] ? dim[0] : 1;
    by_rows<KIND> op = gradient_of<by_rows<KIND>, KIND>(a, x, d, add, other, wide);

    op.apart = count / outer / rows / (wide ? 4 : 1);
    return dmq_row_sum(queue, op, outer, rows, count / outer / rows, wide);
}

template <dmq_binary_kind KIND>
static dmq_status backward(dmq_queue *queue, const dmq_binary_args *a)
{
    dmq_status st = DMQ_OK;

    if (a->dp)
        st = backward_side<KIND>(queue, a, a->dp, a->stride_p, a->add_p, a->q, a->stride_q);
    if (a->dq && st == DMQ_OK)
        st = backward_side<KIND>(queue, a, a->dq, a->stride_q, a->add_q, a->p, a->stride_p);
    return st;
}

DMQ_DEVICE(dmq_binary_backward)(dmq_queue *queue, const dmq_binary_args *a)
{
    return a->kind == DMQ_ADD ? backward<DMQ_ADD>(queue, a) : backward<DMQ_MUL>(queue, a);
}
