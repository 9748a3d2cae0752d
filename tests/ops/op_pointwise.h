/** unary (x), GEGLU (x), binary (p, q) for check_op.h. */
#ifndef DMQ_TESTS_OP_POINTWISE_H
#define DMQ_TESTS_OP_POINTWISE_H

#include "check_op.h"

typedef struct unary_shape {
    int kind, count;
} unary_shape;

static inline void unary_forward(const check_op *op, const check_on *on, dmq_real *const in[],
                                 dmq_real *out, bool add)
{
    const unary_shape *s = op->shape;
    dmq_unary_args a = { .kind = (dmq_unary_kind)s->kind, .count = op->count_out };

    (void)add;
    a.x = check_up_real(on, in[0], op->count_out);
    a.y = check_room(on, NULL, op->count_out);
    CHECK_RUN(on, unary_forward, &a);
    check_down_real(on, out, a.y, op->count_out);
}

static inline void unary_derive(const check_op *op, const check_on *on, const dmq_real *x,
                                const dmq_real *v, dmq_real *out, bool add)
{
    const unary_shape *s = op->shape;
    dmq_unary_args a = { .kind = (dmq_unary_kind)s->kind, .count = op->count_out, .add = add };

    a.x = check_up_real(on, x, op->count_out);
    a.v = check_up_real(on, v, op->count_out);
    a.out = check_op_room(on, out, op->count_out, add);
    CHECK_RUN(on, unary_derive, &a);
    check_down_real(on, out, a.out, op->count_out);
}

static inline check_op unary_op(const void *shape)
{
    const unary_shape *s = shape;
    static const char *const names[] = { "silu", "gelu", "relu", "identity", "gelu_tanh" };

    return (check_op){ .name = names[s->kind],
                       .n_in = 1,
                       .count_in = { (size_t)s->count },
                       .count_out = (size_t)s->count,
                       .smooth = s->kind != DMQ_RELU,
                       .add_in = true,
                       .shape = s,
                       .forward = unary_forward,
                       .jvp = check_op_derive_jvp,
                       .backward = check_op_derive_backward,
                       .derive = unary_derive };
}

typedef struct geglu_shape {
    int rows, d;
} geglu_shape;

static inline dmq_geglu_args geglu_args(const check_op *op, const check_on *on, const dmq_real *x)
{
    const geglu_shape *s = op->shape;

    return (
        dmq_geglu_args){ .rows = s->rows, .d = s->d, .x = check_up_real(on, x, op->count_in[0]) };
}

static inline void geglu_forward(const check_op *op, const check_on *on, dmq_real *const in[],
                                 dmq_real *out, bool add)
{
    dmq_geglu_args a = geglu_args(op, on, in[0]);

    (void)add;
    a.y = check_room(on, NULL, op->count_out);
    CHECK_RUN(on, geglu_forward, &a);
    check_down_real(on, out, a.y, op->count_out);
}

static inline void geglu_jvp(const check_op *op, const check_on *on, dmq_real *const in[],
                             dmq_real *const tan[], dmq_real *out_tan)
{
    dmq_geglu_args a = geglu_args(op, on, in[0]);

    a.x_tan = check_up_real(on, tan[0], op->count_in[0]);
    a.y_tan = check_room(on, NULL, op->count_out);
    CHECK_RUN(on, geglu_jvp, &a);
    check_down_real(on, out_tan, a.y_tan, op->count_out);
}

static inline void geglu_backward(const check_op *op, const check_on *on, dmq_real *const in[],
                                  const dmq_real *dout, dmq_real *const din[], bool add)
{
    dmq_geglu_args a = geglu_args(op, on, in[0]);

    a.dy = check_up_real(on, dout, op->count_out);
    a.dx = check_op_room(on, din[0], op->count_in[0], add);
    a.add = add;
    CHECK_RUN(on, geglu_backward, &a);
    check_down_real(on, din[0], a.dx, op->count_in[0]);
}

static inline check_op geglu_op(const void *shape)
{
    const geglu_shape *s = shape;
    size_t count = CHECK_COUNT(s->rows, s->d);

    return (check_op){ .name = "geglu",
                       .n_in = 1,
                       .count_in = { 2 * count },
                       .count_out = count,
                       .smooth = true,
                       .add_in = true,
                       .terms = 4,
                       .terms_in = 4,
                       .shape = s,
                       .forward = geglu_forward,
                       .jvp = geglu_jvp,
                       .backward = geglu_backward };
}

typedef struct binary_shape {
    int kind, dim[3];
    int keep_p[3], keep_q[3]; /* 0: repeats along this axis */
} binary_shape;

static inline size_t binary_strides(ptrdiff_t stride[3], const binary_shape *s, const int keep[3])
{
    ptrdiff_t next = 1;

    for (int axis = 2; axis >= 0; axis--) {
        stride[axis] = keep[axis] ? next : 0;
        next *= keep[axis] ? s->dim[axis] : 1;
    }
    return (size_t)next;
}

static inline dmq_binary_args binary_args(const check_op *op, const check_on *on, const dmq_real *p,
                                          const dmq_real *q)
{
    const binary_shape *s = op->shape;
    dmq_binary_args a = { .kind = (dmq_binary_kind)s->kind,
                          .dim = { s->dim[0], s->dim[1], s->dim[2] } };

    (void)binary_strides(a.stride_p, s, s->keep_p);
    (void)binary_strides(a.stride_q, s, s->keep_q);
    a.p = check_up_real(on, p, op->count_in[0]);
    a.q = check_up_real(on, q, op->count_in[1]);
    return a;
}

static inline void binary_apply(const check_op *op, const check_on *on, const dmq_real *p,
                                const dmq_real *q, dmq_real *out, bool add)
{
    dmq_binary_args a = binary_args(op, on, p, q);

    a.y = check_op_room(on, out, op->count_out, add);
    a.add = add;
    CHECK_RUN(on, binary_forward, &a);
    check_down_real(on, out, a.y, op->count_out);
}

static inline void binary_forward(const check_op *op, const check_on *on, dmq_real *const in[],
                                  dmq_real *out, bool add)
{
    binary_apply(op, on, in[0], in[1], out, add);
}

/* A sum: p' + q'. A product: p' q, then + p q'. */
static inline void binary_jvp(const check_op *op, const check_on *on, dmq_real *const in[],
                              dmq_real *const tan[], dmq_real *out_tan)
{
    const binary_shape *s = op->shape;
    bool product = s->kind == DMQ_MUL;

    binary_apply(op, on, tan[0], product ? in[1] : tan[1], out_tan, false);
    if (product)
        binary_apply(op, on, in[0], tan[1], out_tan, true);
}

static inline void binary_backward(const check_op *op, const check_on *on, dmq_real *const in[],
                                   const dmq_real *dout, dmq_real *const din[], bool add)
{
    dmq_binary_args a = binary_args(op, on, in[0], in[1]);

    a.dy = check_up_real(on, dout, op->count_out);
    a.dp = check_op_room(on, din[0], op->count_in[0], add);
    a.dq = check_op_room(on, din[1], op->count_in[1], add);
    a.add_p = a.add_q = add;
    CHECK_RUN(on, binary_backward, &a);
    check_down_real(on, din[0], a.dp, op->count_in[0]);
    check_down_real(on, din[1], a.dq, op->count_in[1]);
}

static inline check_op binary_op(const void *shape)
{
    const binary_shape *s = shape;
    size_t count = CHECK_COUNT(s->dim[0], s->dim[1], s->dim[2]);
    ptrdiff_t stride[3];

    return (check_op){ .name = s->kind == DMQ_ADD ? "add" : "mul",
                       .n_in = 2,
                       .count_in = { binary_strides(stride, s, s->keep_p),
                                     binary_strides(stride, s, s->keep_q) },
                       .count_out = count,
                       .smooth = true,
                       .add_out = true,
                       .add_in = true,
                       .terms_in = (double)count,
                       .shape = s,
                       .forward = binary_forward,
                       .jvp = binary_jvp,
                       .backward = binary_backward };
}

static inline void pointwise_goldens(void)
{
    CHECK_GOLDENS("pointwise", unary, "silu_37", "silu_64", "gelu_37", "gelu_64", "relu_37",
                  "relu_64", "identity_37", "identity_64", "gelu_tanh_37", "gelu_tanh_64");
    CHECK_GOLDENS("pointwise", geglu, "geglu_tokens", "geglu_odd", "geglu_one");
    CHECK_GOLDENS("pointwise", binary, "add_same", "add_image", "add_channel", "add_outer",
                  "add_scalar", "add_sample", "mul_same", "mul_image", "mul_channel", "mul_outer",
                  "mul_scalar", "mul_sample");
}

static inline void pointwise_shapes(void)
{
    static const geglu_shape gates[] = { { 3, 8 }, { 5, 13 }, { 1, 100 }, { 33, 16 } };
    uint64_t stream = check_stream(203);

    for (int kind = DMQ_SILU; kind <= DMQ_GELU_TANH; kind++) {
        for (int i = 0; i < 4; i++) {
            unary_shape s = { kind, 1 + 61 * i * i };
            check_op op = unary_op(&s);

            check_op_shape(&op, (uint64_t)i);
        }
    }
    CHECK_SHAPES(geglu, gates);
    for (unsigned i = 0; i < 128; i++) { /* all ways to repeat p and q */
        binary_shape s = { .kind = (int)(i & 1) };
        check_op op;

        for (int axis = 0; axis < 3; axis++) {
            s.dim[axis] = check_whole(&stream, 1, axis == 2 ? 19 : 7);
            s.keep_p[axis] = (int)(i >> (1 + axis) & 1);
            s.keep_q[axis] = (int)(i >> (4 + axis) & 1);
        }
        for (int axis = 0; axis < 3;
             axis++) { /* an axis along which both repeat: a constant result */
            if (!s.keep_p[axis] && !s.keep_q[axis])
                s.dim[axis] = 1;
        }
        op = binary_op(&s);
        check_op_shape(&op, i);
    }
    check_report("pointwise");
}

#endif
