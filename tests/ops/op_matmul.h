/** matmul for check_op.h: inputs a, b, bias; the gradients are products themselves. */
#ifndef DMQ_TESTS_OP_MATMUL_H
#define DMQ_TESTS_OP_MATMUL_H

#include "check_op.h"

typedef struct matmul_shape {
    int batch, m, n, k, trans_a, trans_b;
    int bias, shared; /**< shared: one b for the batch */
    int slack;        /**< numbers between rows, which nobody may read or write */
    int alpha_num, alpha_den;
} matmul_shape;

/* Rows apart by slack; the gaps are NaN. */
static inline dmq_real *matmul_up(const check_on *on, const dmq_real *x, int rows, int cols,
                                  int slack)
{
    ptrdiff_t ld = cols + slack;
    dmq_real *wide;

    if (!x)
        return NULL;
    wide = check_reals((size_t)(rows * ld));
    for (ptrdiff_t i = 0; i < rows; i++) {
        for (ptrdiff_t j = 0; j < ld; j++)
            wide[i * ld + j] = j < cols ? x[i * cols + j] : (dmq_real)NAN;
    }
    return check_up_real(on, wide, (size_t)(rows * ld));
}

static inline void matmul_down(const check_on *on, dmq_real *x, const dmq_real *from, int rows,
                               int cols, int slack)
{
    ptrdiff_t ld = cols + slack;
    dmq_real *wide = check_reals((size_t)(rows * ld));

    check_down_real(on, wide, from, (size_t)(rows * ld));
    for (ptrdiff_t i = 0; i < rows; i++) {
        for (ptrdiff_t j = 0; j < ld; j++) {
            if (j < cols) {
                x[i * cols + j] = wide[i * ld + j];
            } else if (!isnan(wide[i * ld + j])) {
                fail_msg("matmul: wrote behind row %td", i);
            }
        }
    }
}

typedef struct matmul_sizes {
    int a_rows, a_cols, b_rows, b_cols, b_batch;
} matmul_sizes;

static inline matmul_sizes matmul_sizes_of(const matmul_shape *s)
{
    return (matmul_sizes){ s->trans_a ? s->k : s->m, s->trans_a ? s->m : s->k,
                           s->trans_b ? s->n : s->k, s->trans_b ? s->k : s->n,
                           s->shared ? 1 : s->batch };
}

static inline dmq_matmul_args matmul_args(const matmul_shape *s)
{
    matmul_sizes z = matmul_sizes_of(s);
    dmq_matmul_args a = { .batch = s->batch,
                          .m = s->m,
                          .n = s->n,
                          .k = s->k,
                          .trans_a = s->trans_a,
                          .trans_b = s->trans_b,
                          .lda = z.a_cols + s->slack,
                          .ldb = z.b_cols + s->slack,
                          .ldc = s->n + s->slack,
                          .alpha = (dmq_real)s->alpha_num / (dmq_real)s->alpha_den };

    a.stride_a = (ptrdiff_t)z.a_rows * a.lda;
    a.stride_b = s->shared ? 0 : (ptrdiff_t)z.b_rows * a.ldb;
    a.stride_c = (ptrdiff_t)s->m * a.ldc;
    return a;
}

static inline void matmul_forward(const check_op *op, const check_on *on, dmq_real *const in[],
                                  dmq_real *out, bool add)
{
    const matmul_shape *s = op->shape;
    matmul_sizes z = matmul_sizes_of(s);
    dmq_matmul_args a = matmul_args(s);
    dmq_real *nan = check_reals(op->count_out);

    for (size_t i = 0; i < op->count_out; i++)
        nan[i] = (dmq_real)NAN;
    a.a = matmul_up(on, in[0], s->batch * z.a_rows, z.a_cols, s->slack);
    a.b = matmul_up(on, in[1], z.b_batch * z.b_rows, z.b_cols, s->slack);
    a.bias = check_up_real(on, in[2], op->count_in[2]);
    a.c = matmul_up(on, add ? out : nan, s->batch * s->m, s->n, s->slack);
    a.add = add;
    CHECK_RUN(on, matmul, &a);
    matmul_down(on, out, a.c, s->batch * s->m, s->n, s->slack);
}

static inline void matmul_jvp(const check_op *op, const check_on *on, dmq_real *const in[],
                              dmq_real *const tan[], dmq_real *out_tan)
{
    dmq_real *const left[CHECK_IN] = { tan[0], in[1], tan[2] };
    dmq_real *const right[CHECK_IN] = { in[0], tan[1], NULL };

    matmul_forward(op, on, left, out_tan, false);
    matmul_forward(op, on, right, out_tan, true);
}

/* da = alpha dc op(b)^T, or its transpose where a is stored so; db likewise. Dense rows. */
static inline void matmul_backward(const check_op *op, const check_on *on, dmq_real *const in[],
                                   const dmq_real *dout, dmq_real *const din[], bool add)
{
    const matmul_shape *s = op->shape;
    matmul_sizes z = matmul_sizes_of(s);
    const dmq_real *a = check_up_real(on, in[0], op->count_in[0]);
    const dmq_real *b = check_up_real(on, in[1], op->count_in[1]);
    const dmq_real *dc = check_up_real(on, dout, op->count_out);
    dmq_real *da = check_op_room(on, din[0], op->count_in[0], add);
    dmq_real *db = check_op_room(on, din[1], op->count_in[1], add);
    dmq_matmul_args p = { .batch = 1, .alpha = matmul_args(s).alpha };

    for (int i = 0; i < s->batch; i++) {
        const dmq_real *ai = a + (ptrdiff_t)i * s->m * s->k, *dci = dc + (ptrdiff_t)i * s->m * s->n;
        ptrdiff_t at_b = s->shared ? 0 : (ptrdiff_t)i * s->k * s->n;
        dmq_matmul_args of_a = p, of_b = p;

        of_a.c = da + (ptrdiff_t)i * s->m * s->k;
        of_a.add = add;
        of_a.m = z.a_rows, of_a.n = of_a.ldc = z.a_cols, of_a.k = s->n;
        of_a.a = s->trans_a ? b + at_b : dci, of_a.b = s->trans_a ? dci : b + at_b;
        of_a.lda = s->trans_a ? z.b_cols : s->n, of_a.ldb = s->trans_a ? s->n : z.b_cols;
        of_a.trans_a = s->trans_a && s->trans_b, of_a.trans_b = s->trans_a || !s->trans_b;
        CHECK_RUN(on, matmul, &of_a);
        of_b.c = db + at_b;
        of_b.add = add || (s->shared && i > 0);
        of_b.m = z.b_rows, of_b.n = of_b.ldc = z.b_cols, of_b.k = s->m;
        of_b.a = s->trans_b ? dci : ai, of_b.b = s->trans_b ? ai : dci;
        of_b.lda = s->trans_b ? s->n : z.a_cols, of_b.ldb = s->trans_b ? z.a_cols : s->n;
        of_b.trans_a = s->trans_b || !s->trans_a, of_b.trans_b = s->trans_b && s->trans_a;
        CHECK_RUN(on, matmul, &of_b);
    }
    check_down_real(on, din[0], da, op->count_in[0]);
    check_down_real(on, din[1], db, op->count_in[1]);
    if (op->count_in[2] > 0) {
        dmq_col_sum_args sum = { .x = dc, .rows = s->batch * s->m, .cols = s->n, .add = add };

        sum.y = check_op_room(on, din[2], op->count_in[2], add);
        CHECK_RUN(on, col_sum, &sum);
        check_down_real(on, din[2], sum.y, op->count_in[2]);
    }
}

static inline check_op matmul_op(const void *shape)
{
    const matmul_shape *s = shape;
    matmul_sizes z = matmul_sizes_of(s);

    return (check_op){ .name = "matmul",
                       .n_in = 3,
                       .count_in = { CHECK_COUNT(s->batch, s->m, s->k),
                                     CHECK_COUNT(z.b_batch, s->k, s->n),
                                     s->bias ? (size_t)s->n : 0 },
                       .count_out = CHECK_COUNT(s->batch, s->m, s->n),
                       .smooth = true,
                       .add_out = true,
                       .add_in = true,
                       .terms = s->k,
                       .terms_in = fmax(s->n, s->batch * s->m),
                       .shape = s,
                       .forward = matmul_forward,
                       .jvp = matmul_jvp,
                       .backward = matmul_backward };
}

static inline void matmul_goldens(void)
{
    CHECK_GOLDENS("matmul", matmul, "linear", "plain", "scores", "left", "both", "shared",
                  "vector");
}

static inline void matmul_shapes(void)
{
    uint64_t stream = check_stream(202);

    for (unsigned i = 0; i < 32; i++) {
        matmul_shape s = { .alpha_num = 1, .alpha_den = 1 };
        check_op op;

        s.batch = check_whole(&stream, 1, 4);
        s.m = check_whole(&stream, 1, 23);
        s.n = check_whole(&stream, 1, 23) + (i % 8 < 4 ? 0 : 60); /* beyond a small tile too */
        s.k = check_whole(&stream, 1, 40);
        s.trans_a = (int)(i & 1);
        s.trans_b = (int)(i >> 1 & 1);
        s.bias = check_whole(&stream, 0, 1);
        s.shared = check_whole(&stream, 0, 3) == 0;
        s.slack = check_whole(&stream, 0, 2) == 0 ? 3 : 0;
        if (check_whole(&stream, 0, 1))
            s.alpha_den = check_whole(&stream, 2, 9);
        op = matmul_op(&s);
        check_op_shape(&op, i);
    }
    check_report("matmul");
}

#endif
