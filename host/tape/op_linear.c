/* linear and batched matmul: both are one slot of the backend. */
#include "tape/node.h"

enum { X, W, BIAS };
enum { A, B };

int dmq_shape_cols(dmq_shape s)
{
    return s.dim[s.rank - 1];
}

int dmq_shape_rows(dmq_shape s)
{
    return (int)(dmq_shape_count(s) / (size_t)dmq_shape_cols(s));
}

size_t dmq_shape_per(dmq_shape s)
{
    return dmq_shape_count(s) / (size_t)s.dim[0];
}

static dmq_status linear_infer(dmq_node *node)
{
    dmq_shape x = node->in[X]->shape, w = node->in[W]->shape;
    const dmq_var *bias = node->in[BIAS];

    if (w.rank != 2 || x.rank < 2 || dmq_shape_cols(x) != w.dim[1]) {
        return dmq_fail(DMQ_ESHAPE, "linear: input %s has %d features, weight %s must be (out, %d)",
                        dmq_var_text(node->in[X]), dmq_shape_cols(x), dmq_var_text(node->in[W]),
                        dmq_shape_cols(x));
    }
    if (bias && (bias->shape.rank != 1 || bias->shape.dim[0] != w.dim[0])) {
        return dmq_fail(DMQ_ESHAPE, "linear: bias %s does not fit the %d features out of weight %s",
                        dmq_var_text(bias), w.dim[0], dmq_var_text(node->in[W]));
    }
    node->out->shape = x;
    node->out->shape.dim[x.rank - 1] = w.dim[0];
    return DMQ_OK;
}

/* c (m, n) = op(a) op(b) + bias, all contiguous */
static dmq_matmul_args product(dmq_real *c, const dmq_real *a, int trans_a, const dmq_real *b,
                               int trans_b, int m, int n, int k)
{
    return (dmq_matmul_args){ .a = a,
                              .b = b,
                              .c = c,
                              .batch = 1,
                              .m = m,
                              .n = n,
                              .k = k,
                              .trans_a = trans_a,
                              .trans_b = trans_b,
                              .lda = trans_a ? m : k,
                              .ldb = trans_b ? k : n,
                              .ldc = n,
                              .alpha = 1 };
}

/* y = x w^T + bias */
static dmq_matmul_args linear_args(const dmq_node *node, dmq_real *y, const dmq_real *x,
                                   const dmq_real *w)
{
    dmq_shape in = node->in[X]->shape;

    return product(y, x, 0, w, 1, dmq_shape_rows(in), node->in[W]->shape.dim[0],
                   dmq_shape_cols(in));
}

/* The rows of each run of samples with its own weights: a product of the batch for each run. */
static dmq_matmul_args by_runs(const dmq_node *node, dmq_matmul_args a)
{
    const dmq_each *each = &node->tape->each;
    size_t apart = dmq_node_apart(node, W);

    if (!apart)
        return a;
    a.batch = each->samples / each->per;
    a.m /= a.batch;
    a.stride_a = (ptrdiff_t)a.m * a.k;
    a.stride_b = (ptrdiff_t)apart;
    a.stride_c = (ptrdiff_t)a.m * a.n;
    return a;
}

static dmq_status linear_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_matmul_args a = linear_args(node, node->out->value, node->in[X]->value, node->in[W]->value);

    a.bias = node->in[BIAS] ? node->in[BIAS]->value : NULL;
    a = by_runs(node, a);
    return be->matmul(queue, &a);
}

static dmq_status linear_backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    int rows = dmq_shape_rows(node->in[X]->shape), d = dmq_shape_cols(node->in[X]->shape);
    int k = node->in[W]->shape.dim[0], blocks = 1;
    const dmq_each *each = &node->tape->each;
    const dmq_real *dy = node->out->grad;
    dmq_real *dx, *dw, *dbias;
    dmq_matmul_args a;
    dmq_status st = DMQ_OK;
    int add = dmq_grad_take(&dx, node->in[X]);

    if (dx) {
        a = by_runs(node, product(dx, dy, 0, node->in[W]->value, 0, rows, d, k));
        a.add = add;
        DMQ_TRY(be->matmul(queue, &a));
    }
    if (each->per) {
        blocks = each->count / each->per;
        rows = rows / each->samples * each->per;
    }
    add = dmq_grad_take(&dw, node->in[W]);
    if (dw) {
        a = product(dw, dy, 1, node->in[X]->value, 0, k, d, rows);
        a.add = add;
        if (each->per) {
            a.batch = blocks;
            a.stride_a = (ptrdiff_t)rows * k;
            a.stride_b = (ptrdiff_t)rows * d;
            a.stride_c = (ptrdiff_t)each->apart;
        }
        DMQ_TRY(be->matmul(queue, &a));
    }
    add = dmq_grad_take(&dbias, node->in[BIAS]);
    for (int g = 0; dbias && g < blocks; g++) {
        DMQ_TRY(be->col_sum(queue, &(dmq_col_sum_args){ .x = dy + (ptrdiff_t)g * rows * k,
                                                        .y = dbias + (size_t)g * each->apart,
                                                        .rows = rows,
                                                        .cols = k,
                                                        .add = add }));
    }
done:
    return st;
}

/* y' = x' w^T + x w'^T + b' */
static dmq_status linear_jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    const dmq_real *x_tan = node->in[X]->tan, *w_tan = node->in[W]->tan;
    const dmq_real *bias_tan = node->in[BIAS] ? node->in[BIAS]->tan : NULL;
    dmq_matmul_args a;
    dmq_status st = DMQ_OK;

    if (x_tan) {
        a = linear_args(node, node->out->tan, x_tan, node->in[W]->value);
        a.bias = bias_tan;
        DMQ_TRY(be->matmul(queue, &a));
    }
    if (w_tan) {
        a = linear_args(node, node->out->tan, node->in[X]->value, w_tan);
        a.add = x_tan != NULL;
        a.bias = x_tan ? NULL : bias_tan;
        DMQ_TRY(be->matmul(queue, &a));
    }
    if (!x_tan && !w_tan) {
        DMQ_TRY(dmq_node_spread(node, be, queue, node->out->tan, bias_tan,
                                dmq_shape_rows(node->out->shape),
                                dmq_shape_cols(node->out->shape)));
    }
done:
    return st;
}

static double linear_macs(const dmq_node *node)
{
    return (double)dmq_shape_count(node->out->shape) * dmq_shape_cols(node->in[X]->shape);
}

static const dmq_op linear_op = { .name = "linear",
                                  .each = 1U << W | 1U << BIAS,
                                  .sets = 1U << W,
                                  .infer = linear_infer,
                                  .forward = linear_forward,
                                  .backward = linear_backward,
                                  .jvp = linear_jvp,
                                  .macs = linear_macs };

dmq_var *dmq_record_linear(dmq_tape *tape, dmq_var *x, dmq_var *w, dmq_var *bias)
{
    return dmq_node_record(tape, &linear_op, NULL, 2, 3, (dmq_var *[]){ x, w, bias });
}

/* Rows and columns of op(v). */
static int rows_of(const dmq_var *v, int trans)
{
    return v->shape.dim[trans ? 2 : 1];
}

static int cols_of(const dmq_var *v, int trans)
{
    return v->shape.dim[trans ? 1 : 2];
}

static dmq_status matmul_infer(dmq_node *node)
{
    const dmq_var *a = node->in[A], *b = node->in[B];
    int ta = node->attr.matmul.trans_a, tb = node->attr.matmul.trans_b;

    if (a->shape.rank != 3 || b->shape.rank != 3 || a->shape.dim[0] != b->shape.dim[0]) {
        return dmq_fail(DMQ_ESHAPE, "matmul: %s and %s must have 3 axes and the same first one",
                        dmq_var_text(a), dmq_var_text(b));
    }
    if (cols_of(a, ta) != rows_of(b, tb)) {
        return dmq_fail(DMQ_ESHAPE, "matmul: %s%s has %d columns, %s%s has %d rows",
                        dmq_var_text(a), ta ? "^T" : "", cols_of(a, ta), dmq_var_text(b),
                        tb ? "^T" : "", rows_of(b, tb));
    }
    node->out->shape = dmq_shape3(a->shape.dim[0], rows_of(a, ta), cols_of(b, tb));
    return DMQ_OK;
}

/* c = alpha op(a) op(b) for the whole batch; c is (batch, m, n) */
static dmq_status batched(const dmq_node *node, const dmq_backend *be, dmq_queue *queue,
                          dmq_matmul_args a)
{
    a.batch = node->out->shape.dim[0];
    a.stride_a = (ptrdiff_t)a.m * a.k;
    a.stride_b = (ptrdiff_t)a.k * a.n;
    a.stride_c = (ptrdiff_t)a.m * a.n;
    a.alpha = (dmq_real)node->attr.matmul.alpha;
    return be->matmul(queue, &a);
}

/* c = alpha op(a) op(b) with numbers of a and b replaced by their tangents */
static dmq_status matmul_of(const dmq_node *node, const dmq_backend *be, dmq_queue *queue,
                            dmq_real *c, const dmq_real *a, const dmq_real *b, int add)
{
    int ta = node->attr.matmul.trans_a, tb = node->attr.matmul.trans_b;
    dmq_matmul_args args = product(c, a, ta, b, tb, rows_of(node->in[A], ta),
                                   cols_of(node->in[B], tb), cols_of(node->in[A], ta));

    args.add = add;
    return batched(node, be, queue, args);
}

static dmq_status matmul_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    return matmul_of(node, be, queue, node->out->value, node->in[A]->value, node->in[B]->value, 0);
}

/* c = op(a) op(b):  d op(a) = dc op(b)^T,  d op(b) = op(a)^T dc,  transposed once more if stored so */
static dmq_status matmul_backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    int ta = node->attr.matmul.trans_a, tb = node->attr.matmul.trans_b;
    int m = rows_of(node->in[A], ta), n = cols_of(node->in[B], tb), k = cols_of(node->in[A], ta);
    const dmq_real *dc = node->out->grad;
    const dmq_real *a = node->in[A]->value, *b = node->in[B]->value;
    dmq_real *da, *db;
    dmq_matmul_args args;
    dmq_status st = DMQ_OK;
    int add = dmq_grad_take(&da, node->in[A]);

    if (da) {
        args = ta ? product(da, b, tb, dc, 1, k, m, n) : product(da, dc, 0, b, !tb, m, k, n);
        args.add = add;
        DMQ_TRY(batched(node, be, queue, args));
    }
    add = dmq_grad_take(&db, node->in[B]);
    if (db) {
        args = tb ? product(db, dc, 1, a, ta, n, k, m) : product(db, a, !ta, dc, 0, k, n, m);
        args.add = add;
        DMQ_TRY(batched(node, be, queue, args));
    }
done:
    return st;
}

static dmq_status matmul_jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    const dmq_var *a = node->in[A], *b = node->in[B];
    dmq_status st = DMQ_OK;

    if (a->tan)
        DMQ_TRY(matmul_of(node, be, queue, node->out->tan, a->tan, b->value, 0));
    if (b->tan)
        DMQ_TRY(matmul_of(node, be, queue, node->out->tan, a->value, b->tan, a->tan != NULL));
done:
    return st;
}

static double matmul_macs(const dmq_node *node)
{
    return (double)dmq_shape_count(node->out->shape) *
           cols_of(node->in[A], node->attr.matmul.trans_a);
}

static const dmq_op matmul_op = { .name = "matmul",
                                  .infer = matmul_infer,
                                  .forward = matmul_forward,
                                  .backward = matmul_backward,
                                  .jvp = matmul_jvp,
                                  .macs = matmul_macs };

dmq_var *dmq_record_matmul(dmq_tape *tape, dmq_var *a, int trans_a, dmq_var *b, int trans_b,
                           double alpha)
{
    dmq_attr attr = { .matmul = { trans_a, trans_b, alpha } };

    return dmq_node_record(tape, &matmul_op, &attr, 2, 2, (dmq_var *[]){ a, b });
}
