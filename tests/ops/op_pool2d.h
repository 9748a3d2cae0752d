/** pool2d for check_op.h: input x, output y. */
#ifndef DMQ_TESTS_OP_POOL2D_H
#define DMQ_TESTS_OP_POOL2D_H

#include "check_op.h"

typedef struct pool2d_shape {
    int mean; /* 0: max */
    int n, h, wd, c, k, stride, pad;
} pool2d_shape;

static inline dmq_pool2d_args pool2d_args(const pool2d_shape *s)
{
    return (dmq_pool2d_args){ .kind = s->mean ? DMQ_POOL_MEAN : DMQ_POOL_MAX,
                              .n = s->n,
                              .h = s->h,
                              .wd = s->wd,
                              .c = s->c,
                              .k = s->k,
                              .stride = s->stride,
                              .pad = s->pad,
                              .ho = (s->h + 2 * s->pad - s->k) / s->stride + 1,
                              .wo = (s->wd + 2 * s->pad - s->k) / s->stride + 1 };
}

static inline void pool2d_forward(const check_op *op, const check_on *on, dmq_real *const in[],
                                  dmq_real *out, bool add)
{
    dmq_pool2d_args a = pool2d_args(op->shape);

    (void)add;
    a.x = check_up_real(on, in[0], op->count_in[0]);
    a.y = check_room(on, NULL, op->count_out);
    CHECK_RUN(on, pool2d_forward, &a);
    check_down_real(on, out, a.y, op->count_out);
}

static inline void pool2d_jvp(const check_op *op, const check_on *on, dmq_real *const in[],
                              dmq_real *const tan[], dmq_real *out_tan)
{
    dmq_pool2d_args a = pool2d_args(op->shape);

    if (a.kind == DMQ_POOL_MEAN) {
        pool2d_forward(op, on, tan, out_tan, false);
        return;
    }
    a.x = check_up_real(on, in[0], op->count_in[0]);
    a.x_tan = check_up_real(on, tan[0], op->count_in[0]);
    a.y_tan = check_room(on, NULL, op->count_out);
    CHECK_RUN(on, pool2d_jvp, &a);
    check_down_real(on, out_tan, a.y_tan, op->count_out);
}

static inline void pool2d_backward(const check_op *op, const check_on *on, dmq_real *const in[],
                                   const dmq_real *dout, dmq_real *const din[], bool add)
{
    dmq_pool2d_args a = pool2d_args(op->shape);

    a.x = a.kind == DMQ_POOL_MAX ? check_up_real(on, in[0], op->count_in[0]) : NULL;
    a.dy = check_up_real(on, dout, op->count_out);
    a.dx = check_op_room(on, din[0], op->count_in[0], add);
    a.add = add;
    CHECK_RUN(on, pool2d_backward, &a);
    check_down_real(on, din[0], a.dx, op->count_in[0]);
}

static inline check_op pool2d_op(const void *shape)
{
    const pool2d_shape *s = shape;
    dmq_pool2d_args a = pool2d_args(s);

    return (check_op){ .name = s->mean ? "mean pool2d" : "max pool2d",
                       .n_in = 1,
                       .count_in = { CHECK_COUNT(s->n, s->h, s->wd, s->c) },
                       .count_out = CHECK_COUNT(s->n, a.ho, a.wo, s->c),
                       .smooth = s->mean,
                       .add_in = true,
                       .terms = s->mean ? s->k * s->k : 1,
                       .terms_in = s->k * s->k,
                       .shape = s,
                       .forward = pool2d_forward,
                       .jvp = pool2d_jvp,
                       .backward = pool2d_backward };
}

#endif
