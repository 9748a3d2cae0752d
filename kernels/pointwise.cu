/* Activations, GEGLU, axpby and fill on the device; sums and products with broadcast are in binary.cu.

   Bytes an element, read and written once, which is the least there is:
     unary 4 + 4,  derive 8 + 4 (+ 4 where it adds),  axpby 4 + 4 (+ 4),  fill 4,
     geglu 8 + 4 of an output,  its backward 12 + 8 (+ 8),  its jvp 16 + 4.
   At 4.3 TB/s a unary pass has 55 instructions an element; silu takes about 35 (exp, a rounded division),
   gelu 45, their slopes 45 and 60 of 82: memory decides. */
#include "kernels/map.cuh"

extern "C" {
#include "kernels/pointwise.h"
#include "kernels/pointwise_math.h"
}

template <dmq_unary_kind KIND> struct unary_value {
    const dmq_real *x;
    dmq_real *y;

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> x;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.x = dmq_load<W>(x, pack);
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        for (int k = 0; k < W; k++)
            h.x.at[k] = dmq_unary(KIND, h.x.at[k]);
        dmq_store<W>(y, pack, h.x);
    }
};

template <dmq_unary_kind KIND> struct unary_slope {
    const dmq_real *x, *v;
    dmq_real *out;
    int add;

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> x, v, old;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.x = dmq_old<W>(x, pack, KIND != DMQ_IDENTITY);
        h.v = dmq_load<W>(v, pack);
        h.old = dmq_old<W>(out, pack, add);
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        for (int k = 0; KIND != DMQ_IDENTITY && k < W; k++)
            h.v.at[k] = dmq_unary_slope(KIND, h.x.at[k]) * h.v.at[k];
        dmq_add<W>(h.v, h.old, add);
        dmq_store<W>(out, pack, h.v);
    }
};

/* y = left gelu(gate): dleft = gelu(gate) dy, dgate = left gelu'(gate) dy,
   y' = gelu(gate) left' + left gelu'(gate) gate'. */
struct geglu {
    dmq_geglu_args a;
    dmq_divider row; /* packs of y in a row */

    /* Pack of x and its like that holds the left half; the gate is row.d further on. */
    __device__ size_t left_of(size_t pack) const
    {
        unsigned col, i = dmq_divide((unsigned)pack, &col, row);

        return (size_t)i * 2 * row.d + col;
    }
};

struct geglu_value : geglu {
    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> left, gate;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        size_t at = left_of(pack);

        h.left = dmq_load<W>(a.x, at);
        h.gate = dmq_load<W>(a.x, at + row.d);
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        for (int k = 0; k < W; k++)
            h.left.at[k] *= dmq_gelu(h.gate.at[k]);
        dmq_store<W>(a.y, pack, h.left);
    }
};

struct geglu_gradient : geglu {
    enum { depth = 2 };
    template <int W> struct held {
        dmq_pack<W> left, gate, dy, old_left, old_gate;
        size_t at;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.at = left_of(pack);
        h.left = dmq_load<W>(a.x, h.at);
        h.gate = dmq_load<W>(a.x, h.at + row.d);
        h.dy = dmq_load<W>(a.dy, pack);
        h.old_left = dmq_old<W>(a.dx, h.at, a.add);
        h.old_gate = dmq_old<W>(a.dx, h.at + row.d, a.add);
    }
    template <int W> __device__ void store(held<W> &h, size_t) const
    {
        dmq_pack<W> dleft, dgate;

        for (int k = 0; k < W; k++) {
            dleft.at[k] = h.dy.at[k] * dmq_gelu(h.gate.at[k]);
            dgate.at[k] = h.dy.at[k] * h.left.at[k] * dmq_gelu_derive(h.gate.at[k]);
        }
        dmq_add<W>(dleft, h.old_left, a.add);
        dmq_add<W>(dgate, h.old_gate, a.add);
        dmq_store<W>(a.dx, h.at, dleft);
        dmq_store<W>(a.dx, h.at + row.d, dgate);
    }
};

struct geglu_tangent : geglu {
    enum { depth = 2 };
    template <int W> struct held {
        dmq_pack<W> left, gate, left_tan, gate_tan;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        size_t at = left_of(pack);

        h.left = dmq_load<W>(a.x, at);
        h.gate = dmq_load<W>(a.x, at + row.d);
        h.left_tan = dmq_load<W>(a.x_tan, at);
        h.gate_tan = dmq_load<W>(a.x_tan, at + row.d);
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        for (int k = 0; k < W; k++) {
            dmq_real gate = h.gate.at[k];

            h.left.at[k] = h.left_tan.at[k] * dmq_gelu(gate) +
                           h.left.at[k] * dmq_gelu_derive(gate) * h.gate_tan.at[k];
        }
        dmq_store<W>(a.y_tan, pack, h.left);
    }
};

struct scaled_sum {
    dmq_axpby_args a;

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> x, y;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.x = dmq_load<W>(a.x, pack);
        h.y = dmq_old<W>(a.z, pack, a.beta != 0);
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        for (int k = 0; k < W; k++) {
            dmq_real scaled = a.alpha * h.x.at[k];

            h.x.at[k] = a.beta == 0 ? scaled : scaled + a.beta * h.y.at[k];
        }
        dmq_store<W>(a.y, pack, h.x);
    }
};

struct constant {
    dmq_fill_args a;

    enum { depth = 4 };
    template <int W> struct held {
        char nothing;
    };
    template <int W> __device__ void load(held<W> &, size_t) const
    {
    }
    template <int W> __device__ void store(held<W> &, size_t pack) const
    {
        dmq_pack<W> v;

        for (int k = 0; k < W; k++)
            v.at[k] = a.value;
        dmq_store<W>(a.y, pack, v);
    }
};

template <dmq_unary_kind KIND> static dmq_status value_of(dmq_queue *queue, const dmq_unary_args *a)
{
    unary_value<KIND> op = { a->x, a->y };

    return dmq_map(queue, op, a->count, dmq_aligned(a->x, a->y));
}

DMQ_DEVICE(dmq_unary_forward)(dmq_queue *queue, const dmq_unary_args *a)
{
    switch (a->kind) {
    case DMQ_SILU:
        return value_of<DMQ_SILU>(queue, a);
    case DMQ_GELU:
        return value_of<DMQ_GELU>(queue, a);
    case DMQ_GELU_TANH:
        return value_of<DMQ_GELU_TANH>(queue, a);
    case DMQ_RELU:
        return value_of<DMQ_RELU>(queue, a);
    case DMQ_IDENTITY:
        break;
    }
    return value_of<DMQ_IDENTITY>(queue, a);
}

template <dmq_unary_kind KIND> static dmq_status slope_of(dmq_queue *queue, const dmq_unary_args *a)
{
    unary_slope<KIND> op = { a->x, a->v, a->out, a->add };

    return dmq_map(queue, op, a->count,
                   dmq_aligned(KIND == DMQ_IDENTITY ? a->v : a->x, a->v, a->out));
}

DMQ_DEVICE(dmq_unary_derive)(dmq_queue *queue, const dmq_unary_args *a)
{
    switch (a->kind) {
    case DMQ_SILU:
        return slope_of<DMQ_SILU>(queue, a);
    case DMQ_GELU:
        return slope_of<DMQ_GELU>(queue, a);
    case DMQ_GELU_TANH:
        return slope_of<DMQ_GELU_TANH>(queue, a);
    case DMQ_RELU:
        return slope_of<DMQ_RELU>(queue, a);
    case DMQ_IDENTITY:
        break;
    }
    return slope_of<DMQ_IDENTITY>(queue, a);
}

template <typename Op>
static dmq_status gated(dmq_queue *queue, const dmq_geglu_args *a, bool aligned)
{
    size_t count = (size_t)a->rows * (size_t)a->d;
    bool wide = aligned && a->d % 4 == 0;
    dmq_status st = dmq_map_fits("geglu", wide ? count / 4 : count);
    Op op;

    if (st != DMQ_OK || count == 0)
        return st;
    op.a = *a;
    op.row = dmq_divider_of((size_t)(wide ? a->d / 4 : a->d));
    return dmq_map(queue, op, count, wide);
}

DMQ_DEVICE(dmq_geglu_forward)(dmq_queue *queue, const dmq_geglu_args *a)
{
    return gated<geglu_value>(queue, a, dmq_aligned(a->x, a->y));
}

DMQ_DEVICE(dmq_geglu_backward)(dmq_queue *queue, const dmq_geglu_args *a)
{
    return gated<geglu_gradient>(queue, a, dmq_aligned(a->x, a->dy, a->dx));
}

DMQ_DEVICE(dmq_geglu_jvp)(dmq_queue *queue, const dmq_geglu_args *a)
{
    return gated<geglu_tangent>(queue, a, dmq_aligned(a->x, a->x_tan, a->y_tan));
}

DMQ_DEVICE(dmq_axpby)(dmq_queue *queue, const dmq_axpby_args *a)
{
    scaled_sum op = { *a };

    op.a.z = a->z ? a->z : a->y;
    return dmq_map(queue, op, a->count, dmq_aligned(a->x, a->y, a->z));
}

DMQ_DEVICE(dmq_fill)(dmq_queue *queue, const dmq_fill_args *a)
{
    constant op = { *a };

    return dmq_map(queue, op, a->count, dmq_aligned(a->y));
}
