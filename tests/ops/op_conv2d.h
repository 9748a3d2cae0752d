/** conv2d for check_op.h: inputs x, w, bias. */
#ifndef DMQ_TESTS_OP_CONV2D_H
#define DMQ_TESTS_OP_CONV2D_H

#include "check_op.h"

typedef struct conv2d_shape {
    int n, h, wd, c, k, r, s, stride;
    int top, left, bottom, right;
    int bias;
} conv2d_shape;

static inline dmq_conv2d_args conv2d_args(const conv2d_shape *s)
{
    return (dmq_conv2d_args){ .n = s->n,
                              .h = s->h,
                              .wd = s->wd,
                              .c = s->c,
                              .k = s->k,
                              .r = s->r,
                              .s = s->s,
                              .stride = s->stride,
                              .pad_top = s->top,
                              .pad_left = s->left,
                              .ho = (s->h + s->top + s->bottom - s->r) / s->stride + 1,
                              .wo = (s->wd + s->left + s->right - s->s) / s->stride + 1 };
}

static inline void conv2d_forward(const check_op *op, const check_on *on, dmq_real *const in[],
                                  dmq_real *out, bool add)
{
    dmq_conv2d_args a = conv2d_args(op->shape);

    a.x = check_up_real(on, in[0], op->count_in[0]);
    a.w = check_up_real(on, in[1], op->count_in[1]);
    a.bias = check_up_real(on, in[2], op->count_in[2]);
    a.y = check_op_room(on, out, op->count_out, add);
    a.add = add;
    CHECK_RUN(on, conv2d_forward, &a);
    check_down_real(on, out, a.y, op->count_out);
}

/* y' = conv(x', w) + bias', then + conv(x, w') */
static inline void conv2d_jvp(const check_op *op, const check_on *on, dmq_real *const in[],
                              dmq_real *const tan[], dmq_real *out_tan)
{
    dmq_conv2d_args a = conv2d_args(op->shape);

    a.x = check_up_real(on, tan[0], op->count_in[0]);
    a.w = check_up_real(on, in[1], op->count_in[1]);
    a.bias = check_up_real(on, tan[2], op->count_in[2]);
    a.y = check_room(on, NULL, op->count_out);
    CHECK_RUN(on, conv2d_forward, &a);
    a.x = check_up_real(on, in[0], op->count_in[0]);
    a.w = check_up_real(on, tan[1], op->count_in[1]);
    a.bias = NULL;
    a.add = 1;
    CHECK_RUN(on, conv2d_forward, &a);
    check_down_real(on, out_tan, a.y, op->count_out);
}

static inline void conv2d_backward(const check_op *op, const check_on *on, dmq_real *const in[],
                                   const dmq_real *dout, dmq_real *const din[], bool add)
{
    dmq_conv2d_args a = conv2d_args(op->shape);

    a.x = check_up_real(on, in[0], op->count_in[0]);
    a.w = check_up_real(on, in[1], op->count_in[1]);
    a.dy = check_up_real(on, dout, op->count_out);
    a.dx = check_op_room(on, din[0], op->count_in[0], add);
    a.dw = check_op_room(on, din[1], op->count_in[1], add);
    a.dbias = check_op_room(on, din[2], op->count_in[2], add);
    a.add = add;
    CHECK_RUN(on, conv2d_backward_data, &a);
    CHECK_RUN(on, conv2d_backward_weights, &a);
    check_down_real(on, din[0], a.dx, op->count_in[0]);
    check_down_real(on, din[1], a.dw, op->count_in[1]);
    if (a.dbias)
        check_down_real(on, din[2], a.dbias, op->count_in[2]);
}

static inline check_op conv2d_op(const void *shape)
{
    const conv2d_shape *s = shape;
    dmq_conv2d_args a = conv2d_args(s);

    return (check_op){ .name = "conv2d",
                       .n_in = 3,
                       .count_in = { CHECK_COUNT(s->n, s->h, s->wd, s->c),
                                     CHECK_COUNT(s->k, s->r, s->s, s->c),
                                     s->bias ? (size_t)s->k : 0 },
                       .count_out = CHECK_COUNT(s->n, a.ho, a.wo, s->k),
                       .smooth = true,
                       .add_out = true,
                       .add_in = true,
                       .terms = 16 * s->r * s->s * s->c, /* Winograd's transforms */
                       .terms_in = 16 * fmax(s->n * a.ho * a.wo, s->r * s->s * s->k),
                       .shape = s,
                       .forward = conv2d_forward,
                       .jvp = conv2d_jvp,
                       .backward = conv2d_backward };
}

static inline void conv2d_goldens(void)
{
    CHECK_GOLDENS("conv2d", conv2d, "image", "down", "shortcut", "symmetric_down", "patches",
                  "wide");
}

/* The kinds of the networks, then anything. */
static inline void conv2d_shapes(void)
{
    static const conv2d_shape known[] = {
        { 2, 9, 7, 3, 17, 3, 3, 1, 1, 1, 1, 1, 1 }, { 3, 8, 8, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1 },
        { 1, 5, 7, 33, 3, 3, 3, 1, 1, 1, 1, 1, 1 }, { 2, 7, 9, 5, 12, 3, 3, 2, 0, 0, 1, 1, 1 },
        { 2, 8, 6, 8, 24, 3, 3, 2, 0, 0, 1, 1, 0 }, { 3, 5, 5, 24, 40, 1, 1, 1, 0, 0, 0, 0, 1 },
        { 1, 1, 1, 7, 5, 1, 1, 1, 0, 0, 0, 0, 1 },  { 2, 2, 2, 6, 5, 3, 3, 1, 1, 1, 1, 1, 0 },
        { 1, 6, 6, 8, 8, 1, 1, 2, 0, 0, 0, 0, 1 },  { 1, 4, 3, 70, 66, 2, 1, 1, 1, 0, 0, 0, 1 },
    };
    uint64_t stream = check_stream(201);

    CHECK_SHAPES(conv2d, known);
    for (unsigned i = 0; i < 24; i++) {
        conv2d_shape s = { 0 };
        check_op op;

        s.n = check_whole(&stream, 1, 3);
        s.c = check_whole(&stream, 1, 20);
        s.k = check_whole(&stream, 1, 20);
        s.r = check_whole(&stream, 1, 4);
        s.s = check_whole(&stream, 1, 4);
        s.stride = check_whole(&stream, 1, 3);
        s.top = check_whole(&stream, 0, s.r - 1);
        s.left = check_whole(&stream, 0, s.s - 1);
        s.bottom = check_whole(&stream, 0, s.r - 1);
        s.right = check_whole(&stream, 0, s.s - 1);
        s.h = check_whole(&stream, s.r, 11);
        s.wd = check_whole(&stream, s.s, 11);
        s.bias = check_whole(&stream, 0, 1);
        op = conv2d_op(&s);
        check_op_shape(&op, 300 + i);
    }
    check_report("conv2d");
}

#endif
