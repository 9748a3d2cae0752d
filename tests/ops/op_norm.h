/** group norm (inputs x, shift, gamma, beta) and layer norm (x, gamma, beta) for check_op.h. */
#ifndef DMQ_TESTS_OP_NORM_H
#define DMQ_TESTS_OP_NORM_H

#include "check_op.h"

enum { NORM_ROWS = 3 }; /* of the table of quantizers */

typedef struct group_norm_shape {
    int n, hw, c, groups;
    int shift, silu;
    int quant;    /* 0, or number of levels */
    int step1024; /* smallest step of the quantizer in 1/1024, exact; row r has (1 + r/2) times it */
} group_norm_shape;

/* The step of image i is scale[(i + 1) mod 3]; zero is a third of the range. */
static inline dmq_group_norm_args group_norm_run(const check_op *op, const check_on *on,
                                                 dmq_real *const in[])
{
    const group_norm_shape *s = op->shape;
    dmq_group_norm_args a = { .n = s->n,
                              .hw = s->hw,
                              .c = s->c,
                              .groups = s->groups,
                              .eps = (dmq_real)1e-6,
                              .silu = s->silu,
                              .quant = s->quant > 0 };
    dmq_real scale[NORM_ROWS], zero[NORM_ROWS];
    int *row = check_bytes((size_t)s->n, sizeof *row);
    size_t groups = CHECK_COUNT(s->n, s->groups);
    int third = s->quant / 3;

    for (int r = 0; r < NORM_ROWS; r++) {
        scale[r] = (dmq_real)(s->step1024 * (1 + 0.5 * r) / 1024);
        zero[r] = (dmq_real)third;
    }
    for (int i = 0; i < s->n; i++)
        row[i] = (i + 1) % NORM_ROWS;
    if (a.quant) {
        a.scale = check_up_real(on, scale, NORM_ROWS);
        a.zero = check_up_real(on, zero, NORM_ROWS);
        a.row = check_up(on, row, (size_t)s->n, sizeof *row);
        a.rows = NORM_ROWS;
        a.hi = (dmq_real)(s->quant - 1);
    }
    a.x = check_up_real(on, in[0], op->count_in[0]);
    a.shift = check_up_real(on, in[1], op->count_in[1]);
    a.gamma = check_up_real(on, in[2], op->count_in[2]);
    a.beta = check_up_real(on, in[3], op->count_in[3]);
    a.y = check_room(on, NULL, op->count_out);
    a.mean = check_room(on, NULL, groups);
    a.rstd = check_room(on, NULL, groups);
    CHECK_RUN(on, group_norm_forward, &a);
    return a;
}

static inline void group_norm_forward(const check_op *op, const check_on *on, dmq_real *const in[],
                                      dmq_real *out, bool add)
{
    (void)add;
    check_down_real(on, out, group_norm_run(op, on, in).y, op->count_out);
}

static inline void group_norm_jvp(const check_op *op, const check_on *on, dmq_real *const in[],
                                  dmq_real *const tan[], dmq_real *out_tan)
{
    dmq_group_norm_args a = group_norm_run(op, on, in);

    a.x_tan = check_up_real(on, tan[0], op->count_in[0]);
    a.shift_tan = check_up_real(on, tan[1], op->count_in[1]);
    a.gamma_tan = check_up_real(on, tan[2], op->count_in[2]);
    a.beta_tan = check_up_real(on, tan[3], op->count_in[3]);
    a.y_tan = check_room(on, NULL, op->count_out);
    CHECK_RUN(on, group_norm_jvp, &a);
    check_down_real(on, out_tan, a.y_tan, op->count_out);
}

static inline void group_norm_backward(const check_op *op, const check_on *on, dmq_real *const in[],
                                       const dmq_real *dout, dmq_real *const din[], bool add)
{
    dmq_group_norm_args a = group_norm_run(op, on, in);
    dmq_real *out[CHECK_IN] = { NULL };

    for (int k = 0; k < CHECK_IN; k++)
        out[k] = check_op_room(on, din[k], op->count_in[k], add);
    a.dy = check_up_real(on, dout, op->count_out);
    a.dx = out[0];
    a.dshift = out[1];
    a.dgamma = out[2];
    a.dbeta = out[3];
    a.add = a.add_param = a.add_shift = add;
    CHECK_RUN(on, group_norm_backward, &a);
    for (int k = 0; k < CHECK_IN; k++) {
        if (out[k])
            check_down_real(on, din[k], out[k], op->count_in[k]);
    }
}

static inline check_op group_norm_op(const void *shape)
{
    const group_norm_shape *s = shape;
    size_t count = CHECK_COUNT(s->n, s->hw, s->c);

    return (check_op){ .name = "group_norm",
                       .n_in = 4,
                       .count_in = { count, s->shift ? CHECK_COUNT(s->n, s->c) : 0, (size_t)s->c,
                                     (size_t)s->c },
                       .count_out = count,
                       .smooth = s->quant == 0,
                       .add_in = true,
                       .terms = 16,
                       .terms_in = fmax(s->n * s->hw, 16),
                       .shape = s,
                       .forward = group_norm_forward,
                       .jvp = group_norm_jvp,
                       .backward = group_norm_backward };
}

typedef struct layer_norm_shape {
    int rows, d;
} layer_norm_shape;

static inline dmq_layer_norm_args layer_norm_run(const check_op *op, const check_on *on,
                                                 dmq_real *const in[])
{
    const layer_norm_shape *s = op->shape;
    dmq_layer_norm_args a = { .rows = s->rows, .d = s->d, .eps = (dmq_real)1e-5 };

    a.x = check_up_real(on, in[0], op->count_in[0]);
    a.gamma = check_up_real(on, in[1], op->count_in[1]);
    a.beta = check_up_real(on, in[2], op->count_in[2]);
    a.y = check_room(on, NULL, op->count_out);
    a.mean = check_room(on, NULL, (size_t)s->rows);
    a.rstd = check_room(on, NULL, (size_t)s->rows);
    CHECK_RUN(on, layer_norm_forward, &a);
    return a;
}

static inline void layer_norm_forward(const check_op *op, const check_on *on, dmq_real *const in[],
                                      dmq_real *out, bool add)
{
    (void)add;
    check_down_real(on, out, layer_norm_run(op, on, in).y, op->count_out);
}

static inline void layer_norm_jvp(const check_op *op, const check_on *on, dmq_real *const in[],
                                  dmq_real *const tan[], dmq_real *out_tan)
{
    dmq_layer_norm_args a = layer_norm_run(op, on, in);

    a.x_tan = check_up_real(on, tan[0], op->count_in[0]);
    a.gamma_tan = check_up_real(on, tan[1], op->count_in[1]);
    a.beta_tan = check_up_real(on, tan[2], op->count_in[2]);
    a.y_tan = check_room(on, NULL, op->count_out);
    CHECK_RUN(on, layer_norm_jvp, &a);
    check_down_real(on, out_tan, a.y_tan, op->count_out);
}

static inline void layer_norm_backward(const check_op *op, const check_on *on, dmq_real *const in[],
                                       const dmq_real *dout, dmq_real *const din[], bool add)
{
    dmq_layer_norm_args a = layer_norm_run(op, on, in);

    a.dy = check_up_real(on, dout, op->count_out);
    a.dx = check_op_room(on, din[0], op->count_in[0], add);
    a.dgamma = check_op_room(on, din[1], op->count_in[1], add);
    a.dbeta = check_op_room(on, din[2], op->count_in[2], add);
    a.add = a.add_param = add;
    CHECK_RUN(on, layer_norm_backward, &a);
    check_down_real(on, din[0], a.dx, op->count_in[0]);
    check_down_real(on, din[1], a.dgamma, op->count_in[1]);
    check_down_real(on, din[2], a.dbeta, op->count_in[2]);
}

static inline check_op layer_norm_op(const void *shape)
{
    const layer_norm_shape *s = shape;
    size_t count = CHECK_COUNT(s->rows, s->d);

    return (check_op){ .name = "layer_norm",
                       .n_in = 3,
                       .count_in = { count, (size_t)s->d, (size_t)s->d },
                       .count_out = count,
                       .smooth = true,
                       .add_in = true,
                       .terms = 16,
                       .terms_in = fmax(s->rows, 16),
                       .shape = s,
                       .forward = layer_norm_forward,
                       .jvp = layer_norm_jvp,
                       .backward = layer_norm_backward };
}

static inline void group_norm_goldens(void)
{
    CHECK_GOLDENS("group_norm", group_norm, "plain", "one_group", "groups32", "channels", "shifted",
                  "quant", "fused", "fused_clipped");
}

static inline void layer_norm_goldens(void)
{
    CHECK_GOLDENS("layer_norm", layer_norm, "tokens", "odd", "pair");
}

/* Every part alone and together. */
static inline void group_norm_shapes(void)
{
    static const group_norm_shape sizes[] = {
        { .n = 2, .hw = 9, .c = 32, .groups = 32 },  { .n = 3, .hw = 25, .c = 24, .groups = 8 },
        { .n = 1, .hw = 64, .c = 64, .groups = 32 }, { .n = 3, .hw = 7, .c = 5, .groups = 1 },
        { .n = 2, .hw = 15, .c = 48, .groups = 8 },  { .n = 2, .hw = 33, .c = 21, .groups = 3 },
        { .n = 2, .hw = 300, .c = 16, .groups = 2 },
    };

    for (unsigned i = 0; i < 8 * sizeof sizes / sizeof sizes[0]; i++) {
        group_norm_shape s = sizes[i / 8];
        check_op op;

        s.shift = (int)(i & 1);
        s.silu = (int)(i >> 1 & 1);
        s.quant = (i & 4) ? i / 8 % 2 ? 256 : 16 : 0;
        s.step1024 = s.quant == 16 ? 150 : 20;
        op = group_norm_op(&s);
        check_op_shape(&op, i);
    }
    check_report("group_norm");
}

static inline void layer_norm_shapes(void)
{
    static const layer_norm_shape shapes[] = { { 5, 32 }, { 3, 17 }, { 11, 5 }, { 2, 320 } };

    CHECK_SHAPES(layer_norm, shapes);
    check_report("layer_norm");
}

#endif
