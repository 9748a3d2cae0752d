/** softmax and cross entropy for check_op.h: input x. */
#ifndef DMQ_TESTS_OP_SOFTMAX_H
#define DMQ_TESTS_OP_SOFTMAX_H

#include "check_op.h"

typedef struct softmax_shape {
    int rows, cols;
} softmax_shape;

static inline dmq_softmax_args softmax_run(const check_op *op, const check_on *on,
                                           const dmq_real *x)
{
    const softmax_shape *s = op->shape;
    dmq_softmax_args a = { .rows = s->rows, .cols = s->cols };

    a.x = check_up_real(on, x, op->count_out);
    a.y = check_room(on, NULL, op->count_out);
    CHECK_RUN(on, softmax_forward, &a);
    return a;
}

static inline void softmax_forward(const check_op *op, const check_on *on, dmq_real *const in[],
                                   dmq_real *out, bool add)
{
    (void)add;
    check_down_real(on, out, softmax_run(op, on, in[0]).y, op->count_out);
}

static inline void softmax_derive(const check_op *op, const check_on *on, const dmq_real *x,
                                  const dmq_real *v, dmq_real *out, bool add)
{
    dmq_softmax_args a = softmax_run(op, on, x);

    a.v = check_up_real(on, v, op->count_out);
    a.out = check_op_room(on, out, op->count_out, add);
    a.add = add;
    CHECK_RUN(on, softmax_derive, &a);
    check_down_real(on, out, a.out, op->count_out);
}

static inline check_op softmax_op(const void *shape)
{
    const softmax_shape *s = shape;
    size_t count = CHECK_COUNT(s->rows, s->cols);

    return (check_op){ .name = "softmax",
                       .n_in = 1,
                       .count_in = { count },
                       .count_out = count,
                       .smooth = true,
                       .add_in = true,
                       .terms = 4,
                       .terms_in = 4,
                       .shape = s,
                       .forward = softmax_forward,
                       .jvp = check_op_derive_jvp,
                       .backward = check_op_derive_backward,
                       .derive = softmax_derive };
}

/* The label of row i is (5 i + 2) mod cols. */
static inline dmq_xent_args xent_args(const check_op *op, const check_on *on, const dmq_real *x)
{
    const softmax_shape *s = op->shape;
    int *label = check_bytes((size_t)s->rows, sizeof *label);

    for (int i = 0; i < s->rows; i++)
        label[i] = (5 * i + 2) % s->cols;
    return (dmq_xent_args){ .x = check_up_real(on, x, op->count_in[0]),
                            .label = check_up(on, label, (size_t)s->rows, sizeof *label),
                            .n = s->rows,
                            .classes = s->cols };
}

static inline void xent_forward(const check_op *op, const check_on *on, dmq_real *const in[],
                                dmq_real *out, bool add)
{
    dmq_xent_args a = xent_args(op, on, in[0]);

    (void)add;
    a.loss = check_room(on, NULL, op->count_out);
    CHECK_RUN(on, xent_forward, &a);
    check_down_real(on, out, a.loss, op->count_out);
}

static inline void xent_backward(const check_op *op, const check_on *on, dmq_real *const in[],
                                 const dmq_real *dout, dmq_real *const din[], bool add)
{
    dmq_xent_args a = xent_args(op, on, in[0]);

    a.dloss = check_up_real(on, dout, op->count_out);
    a.dx = check_op_room(on, din[0], op->count_in[0], add);
    a.add = add;
    CHECK_RUN(on, xent_backward, &a);
    check_down_real(on, din[0], a.dx, op->count_in[0]);
}

static inline check_op xent_op(const void *shape)
{
    const softmax_shape *s = shape;
    return (check_op){ .name = "xent",
                       .n_in = 1,
                       .count_in = { CHECK_COUNT(s->rows, s->cols) },
                       .count_out = (size_t)s->rows,
                       .smooth = true,
                       .add_in = true,
                       .terms = 4,
                       .terms_in = 4,
                       .shape = s,
                       .forward = xent_forward,
                       .backward = xent_backward };
}

static inline void softmax_goldens(void)
{
    CHECK_GOLDENS("softmax", softmax, "square", "long", "short", "large");
}

typedef softmax_shape xent_shape;

static inline void xent_goldens(void)
{
    CHECK_GOLDENS("softmax", xent, "xent_classes", "xent_pairs", "xent_many");
}

static inline void softmax_shapes(void)
{
    static const softmax_shape shapes[] = { { 5, 7 },  { 1, 64 }, { 17, 3 },
                                            { 3, 61 }, { 2, 16 }, { 7, 256 } };

    CHECK_SHAPES(softmax, shapes);
    CHECK_SHAPES(xent, shapes);
    check_report("softmax, xent");
}

#endif
