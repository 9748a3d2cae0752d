/** Moving and resampling for check_op.h: copy2d, permute, up-sampling, pooling, table lookup. Linear. */
#ifndef DMQ_TESTS_OP_LAYOUT_H
#define DMQ_TESTS_OP_LAYOUT_H

#include "check_op.h"

/* The tangent of a linear operation is its forward pass. */
static inline void linear_jvp(const check_op *op, const check_on *on, dmq_real *const in[],
                              dmq_real *const tan[], dmq_real *out_tan)
{
    (void)in;
    op->forward(op, on, tan, out_tan, false);
}

typedef struct copy2d_shape {
    int rows, cols, first; /* a slice of cols numbers from column first of rows of 2 cols + first */
} copy2d_shape;

static inline void copy2d_forward(const check_op *op, const check_on *on, dmq_real *const in[],
                                  dmq_real *out, bool add)
{
    const copy2d_shape *s = op->shape;
    dmq_copy2d_args a = { .rows = (size_t)s->rows, .cols = (size_t)s->cols, .add = add };

    a.src_ld = 2 * (size_t)s->cols + (size_t)s->first;
    a.dst_ld = a.cols;
    a.src = check_up_real(on, in[0], op->count_in[0]) + s->first;
    a.dst = check_op_room(on, out, op->count_out, add);
    CHECK_RUN(on, copy2d, &a);
    check_down_real(on, out, a.dst, op->count_out);
}

static inline void copy2d_backward(const check_op *op, const check_on *on, dmq_real *const in[],
                                   const dmq_real *dout, dmq_real *const din[], bool add)
{
    const copy2d_shape *s = op->shape;
    dmq_copy2d_args a = { .rows = (size_t)s->rows, .cols = (size_t)s->cols, .add = add };
    dmq_real *start = check_reals(op->count_in[0]), *dx;

    (void)in;
    if (add)
        memcpy(start, din[0], op->count_in[0] * sizeof *start);
    dx = check_up_real(on, start, op->count_in[0]); /* zeros around the slice */
    a.dst_ld = 2 * (size_t)s->cols + (size_t)s->first;
    a.src_ld = a.cols;
    a.src = check_up_real(on, dout, op->count_out);
    a.dst = dx + s->first;
    CHECK_RUN(on, copy2d, &a);
    check_down_real(on, din[0], dx, op->count_in[0]);
}

static inline check_op copy2d_op(const void *shape)
{
    const copy2d_shape *s = shape;
    return (check_op){ .name = "copy2d",
                       .n_in = 1,
                       .count_in = { CHECK_COUNT(s->rows, 2 * s->cols + s->first) },
                       .count_out = CHECK_COUNT(s->rows, s->cols),
                       .smooth = true,
                       .add_out = true,
                       .add_in = true,
                       .quiet_nan = s->first > 0,
                       .shape = s,
                       .forward = copy2d_forward,
                       .jvp = linear_jvp,
                       .backward = copy2d_backward };
}

typedef struct permute_shape {
    int dim[4], perm[4];
} permute_shape;

static inline void permute_apply(const check_op *op, const check_on *on, const dmq_real *x,
                                 dmq_real *y, const permute_shape *s, bool add)
{
    dmq_permute_args a = { .add = add };

    memcpy(a.dim, s->dim, sizeof a.dim);
    memcpy(a.perm, s->perm, sizeof a.perm);
    a.x = check_up_real(on, x, op->count_out);
    a.y = check_op_room(on, y, op->count_out, add);
    CHECK_RUN(on, permute, &a);
    check_down_real(on, y, a.y, op->count_out);
}

static inline void permute_forward(const check_op *op, const check_on *on, dmq_real *const in[],
                                   dmq_real *out, bool add)
{
    permute_apply(op, on, in[0], out, op->shape, add);
}

static inline void permute_backward(const check_op *op, const check_on *on, dmq_real *const in[],
                                    const dmq_real *dout, dmq_real *const din[], bool add)
{
    const permute_shape *s = op->shape;
    permute_shape back;

    (void)in;
    for (int d = 0; d < 4; d++) {
        back.dim[d] = s->dim[s->perm[d]];
        back.perm[s->perm[d]] = d;
    }
    permute_apply(op, on, dout, din[0], &back, add);
}

static inline check_op permute_op(const void *shape)
{
    const permute_shape *s = shape;
    size_t count = CHECK_COUNT(s->dim[0], s->dim[1], s->dim[2], s->dim[3]);

    return (check_op){ .name = "permute",
                       .n_in = 1,
                       .count_in = { count },
                       .count_out = count,
                       .smooth = true,
                       .add_out = true,
                       .add_in = true,
                       .shape = s,
                       .forward = permute_forward,
                       .jvp = linear_jvp,
                       .backward = permute_backward };
}

typedef struct resample_shape {
    int pool; /* 0: up */
    int n, h, wd, c, factor;
} resample_shape;

static inline dmq_resample_args resample_args(const resample_shape *s)
{
    return (dmq_resample_args){ .n = s->n, .h = s->h, .wd = s->wd, .c = s->c, .factor = s->factor };
}

static inline void resample_forward(const check_op *op, const check_on *on, dmq_real *const in[],
                                    dmq_real *out, bool add)
{
    const resample_shape *s = op->shape;
    dmq_resample_args a = resample_args(s);

    a.x = check_up_real(on, in[0], op->count_in[0]);
    a.y = check_op_room(on, out, op->count_out, add);
    a.add = add;
    if (s->pool) {
        CHECK_RUN(on, avg_pool_forward, &a);
    } else {
        CHECK_RUN(on, upsample_forward, &a);
    }
    check_down_real(on, out, a.y, op->count_out);
}

static inline void resample_backward(const check_op *op, const check_on *on, dmq_real *const in[],
                                     const dmq_real *dout, dmq_real *const din[], bool add)
{
    const resample_shape *s = op->shape;
    dmq_resample_args a = resample_args(s);

    (void)in;
    a.dy = check_up_real(on, dout, op->count_out);
    a.dx = check_op_room(on, din[0], op->count_in[0], add);
    a.add = add;
    if (s->pool) {
        CHECK_RUN(on, avg_pool_backward, &a);
    } else {
        CHECK_RUN(on, upsample_backward, &a);
    }
    check_down_real(on, din[0], a.dx, op->count_in[0]);
}

static inline check_op resample_op(const void *shape)
{
    const resample_shape *s = shape;
    size_t count = CHECK_COUNT(s->n, s->h, s->wd, s->c), area = CHECK_COUNT(s->factor, s->factor);

    return (check_op){ .name = s->pool ? "avg_pool" : "upsample",
                       .n_in = 1,
                       .count_in = { count },
                       .count_out = s->pool ? count / area : count * area,
                       .smooth = true,
                       .add_out = true,
                       .add_in = true,
                       .terms = (double)area,
                       .terms_in = (double)area,
                       .shape = s,
                       .forward = resample_forward,
                       .jvp = linear_jvp,
                       .backward = resample_backward };
}

typedef struct embed_shape {
    int rows, d, n; /* index[i] = i^2 mod rows: some rows twice, some never */
} embed_shape;

static inline dmq_embed_args embed_args(const embed_shape *s, const check_on *on)
{
    int *index = check_bytes((size_t)s->n, sizeof *index);

    for (int i = 0; i < s->n; i++)
        index[i] = i * i % s->rows;
    return (dmq_embed_args){ .index = check_up(on, index, (size_t)s->n, sizeof *index),
                             .n = s->n,
                             .d = s->d,
                             .rows = s->rows };
}

static inline void embed_forward(const check_op *op, const check_on *on, dmq_real *const in[],
                                 dmq_real *out, bool add)
{
    dmq_embed_args a = embed_args(op->shape, on);

    a.table = check_up_real(on, in[0], op->count_in[0]);
    a.y = check_op_room(on, out, op->count_out, add);
    a.add = add;
    CHECK_RUN(on, embed_forward, &a);
    check_down_real(on, out, a.y, op->count_out);
}

static inline void embed_backward(const check_op *op, const check_on *on, dmq_real *const in[],
                                  const dmq_real *dout, dmq_real *const din[], bool add)
{
    dmq_embed_args a = embed_args(op->shape, on);

    (void)in;
    a.dy = check_up_real(on, dout, op->count_out);
    a.dtable = check_op_room(on, din[0], op->count_in[0], add);
    a.add = add;
    CHECK_RUN(on, embed_backward, &a);
    check_down_real(on, din[0], a.dtable, op->count_in[0]);
}

static inline check_op embed_op(const void *shape)
{
    const embed_shape *s = shape;
    return (check_op){ .name = "embed",
                       .n_in = 1,
                       .count_in = { CHECK_COUNT(s->rows, s->d) },
                       .count_out = CHECK_COUNT(s->n, s->d),
                       .smooth = true,
                       .add_out = true,
                       .add_in = true,
                       .terms_in = s->n,
                       .shape = s,
                       .forward = embed_forward,
                       .jvp = linear_jvp,
                       .backward = embed_backward };
}

static inline void layout_goldens(void)
{
    CHECK_GOLDENS("layout", copy2d, "slice_head", "slice_middle", "slice_column");
    CHECK_GOLDENS("layout", permute, "permute_transpose", "permute_to_nchw", "permute_heads",
                  "permute_reverse");
}

static inline void resample_goldens(void)
{
    CHECK_GOLDENS("resample", resample, "up_2", "up_3", "up_line", "pool_2", "pool_3", "pool_line");
}

static inline void embed_goldens(void)
{
    CHECK_GOLDENS("embed", embed, "classes", "few", "row");
}

static inline void layout_shapes(void)
{
    static const copy2d_shape slices[] = { { 5, 7, 0 }, { 3, 16, 3 }, { 17, 1, 1 }, { 1, 33, 5 } };
    uint64_t stream = check_stream(204);

    CHECK_SHAPES(copy2d, slices);
    for (unsigned i = 0; i < 24; i++) { /* all orders of four axes */
        permute_shape s = { .perm = { 0, 1, 2, 3 } };
        unsigned rest = i;
        check_op op;

        for (int d = 3; d > 0; d--) {
            int other = (int)(rest % (unsigned)(d + 1)), swap = s.perm[d];

            rest /= (unsigned)(d + 1);
            s.perm[d] = s.perm[other];
            s.perm[other] = swap;
        }
        for (int d = 0; d < 4; d++)
            s.dim[d] = check_whole(&stream, 1, 9);
        op = permute_op(&s);
        check_op_shape(&op, i);
    }
    check_report("layout");
}

static inline void resample_shapes(void)
{
    static const resample_shape shapes[] = { { 0, 2, 3, 5, 7, 2 },  { 0, 1, 2, 3, 17, 3 },
                                             { 0, 3, 1, 1, 5, 4 },  { 0, 1, 4, 4, 32, 2 },
                                             { 1, 2, 6, 10, 7, 2 }, { 1, 1, 6, 9, 17, 3 },
                                             { 1, 3, 4, 4, 5, 4 },  { 1, 1, 8, 8, 32, 2 } };

    CHECK_SHAPES(resample, shapes);
    check_report("resample");
}

static inline void embed_shapes(void)
{
    static const embed_shape shapes[] = { { 5, 7, 9 }, { 10, 32, 3 }, { 2, 3, 17 }, { 1, 5, 2 } };

    CHECK_SHAPES(embed, shapes);
    check_report("embed");
}

#endif
