#include "tape/node.h"

static dmq_status same_shape(dmq_node *node)
{
    node->out->shape = node->in[0]->shape;
    return DMQ_OK;
}

static dmq_status unary_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    return be->unary_forward(queue,
                             &(dmq_unary_args){ .kind = node->attr.unary,
                                                .x = node->in[0]->value,
                                                .y = node->out->value,
                                                .count = dmq_shape_count(node->out->shape) });
}

static dmq_status unary_derive(const dmq_node *node, const dmq_backend *be, dmq_queue *queue,
                               dmq_real *out, const dmq_real *v, int add)
{
    return be->unary_derive(queue, &(dmq_unary_args){ .kind = node->attr.unary,
                                                      .x = node->in[0]->value,
                                                      .v = v,
                                                      .out = out,
                                                      .count = dmq_shape_count(node->out->shape),
                                                      .add = add });
}

static dmq_status unary_backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_real *dx;
    int add = dmq_grad_take(&dx, node->in[0]);

    return dx ? unary_derive(node, be, queue, dx, node->out->grad, add) : DMQ_OK;
}

static dmq_status unary_jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    return unary_derive(node, be, queue, node->out->tan, node->in[0]->tan, 0);
}

const dmq_op dmq_op_unary = { .name = "unary",
                              .infer = same_shape,
                              .forward = unary_forward,
                              .backward = unary_backward,
                              .jvp = unary_jvp,
                              .in_place = 1 };

dmq_var *dmq_record_unary(dmq_tape *tape, dmq_unary_kind kind, dmq_var *x)
{
    dmq_attr attr = { .unary = kind };

    return dmq_node_record(tape, &dmq_op_unary, &attr, 1, 1, &x);
}

static dmq_status geglu_infer(dmq_node *node)
{
    dmq_shape x = node->in[0]->shape;

    if (dmq_shape_cols(x) % 2 != 0) {
        return dmq_fail(DMQ_ESHAPE, "geglu: the last axis of %s has %d entries, must be even",
                        dmq_var_text(node->in[0]), dmq_shape_cols(x));
    }
    x.dim[x.rank - 1] /= 2;
    node->out->shape = x;
    return DMQ_OK;
}

static dmq_geglu_args geglu_args(const dmq_node *node)
{
    return (dmq_geglu_args){ .x = node->in[0]->value,
                             .y = node->out->value,
                             .rows = dmq_shape_rows(node->out->shape),
                             .d = dmq_shape_cols(node->out->shape) };
}

static dmq_status geglu_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_geglu_args a = geglu_args(node);

    return be->geglu_forward(queue, &a);
}

static dmq_status geglu_backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_geglu_args a = geglu_args(node);

    a.dy = node->out->grad;
    a.add = dmq_grad_take(&a.dx, node->in[0]);
    return a.dx ? be->geglu_backward(queue, &a) : DMQ_OK;
}

static dmq_status geglu_jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_geglu_args a = geglu_args(node);

    a.x_tan = node->in[0]->tan;
    a.y_tan = node->out->tan;
    return be->geglu_jvp(queue, &a);
}

static const dmq_op geglu_op = { .name = "geglu",
                                 .infer = geglu_infer,
                                 .forward = geglu_forward,
                                 .backward = geglu_backward,
                                 .jvp = geglu_jvp };

dmq_var *dmq_record_geglu(dmq_tape *tape, dmq_var *x)
{
    return dmq_node_record(tape, &geglu_op, NULL, 1, 1, &x);
}

/* The three axes of the broadcast: how q repeats beside p. */
static dmq_status binary_infer(dmq_node *node)
{
    dmq_shape p = node->in[0]->shape, q = node->in[1]->shape;
    int *dim = node->attr.binary.dim;
    ptrdiff_t *sp = node->attr.binary.stride_p, *sq = node->attr.binary.stride_q;
    int cols = dmq_shape_cols(p);

    dim[0] = p.dim[0];
    dim[1] = dmq_shape_rows(p) / p.dim[0];
    dim[2] = cols;
    if (p.rank == 1) {
        dim[0] = dim[1] = 1;
        dim[2] = cols;
    }
    sp[0] = (ptrdiff_t)dim[1] * cols;
    sp[1] = cols;
    sp[2] = 1;
    if (dmq_shape_equal(p, q)) {
        for (int i = 0; i < 3; i++)
            sq[i] = sp[i];
    } else if (p.rank >= 3 && q.rank == 2 && q.dim[0] == p.dim[0] && q.dim[1] == cols) {
        sq[0] = cols;
        sq[2] = 1;
    } else if (q.rank == 1 && q.dim[0] == cols) {
        sq[2] = 1;
    } else if (dmq_shape_count(q) != 1) {
        return dmq_fail(DMQ_ESHAPE, "%s: %s cannot be repeated to fit %s",
                        node->attr.binary.kind == DMQ_ADD ? "add" : "mul",
                        dmq_var_text(node->in[1]), dmq_var_text(node->in[0]));
    }
    node->out->shape = p;
    return DMQ_OK;
}

static dmq_binary_args binary_args(const dmq_node *node)
{
    dmq_binary_args a = { .kind = node->attr.binary.kind,
                          .p = node->in[0]->value,
                          .q = node->in[1]->value,
                          .y = node->out->value };

    for (int i = 0; i < 3; i++) {
        a.dim[i] = node->attr.binary.dim[i];
        a.stride_p[i] = node->attr.binary.stride_p[i];
        a.stride_q[i] = node->attr.binary.stride_q[i];
    }
    return a;
}

static dmq_status binary_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_binary_args a = binary_args(node);

    return be->binary_forward(queue, &a);
}

static dmq_status binary_backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_binary_args a = binary_args(node);
    dmq_status st = DMQ_OK;

    a.dy = node->out->grad;
    a.add_p = dmq_grad_take(&a.dp, node->in[0]);
    a.add_q = dmq_grad_take(&a.dq, node->in[1]);
    /* y = p + q: a gradient that lies where dy lies (plan.c) is there already */
    if (a.dp == a.dy)
        a.dp = NULL;
    if (a.dq == a.dy)
        a.dq = NULL;
    if (a.dp && a.dp == a.dq) { /* x + x, x * x: one after the other */
        dmq_real *dq = a.dq;

        a.dq = NULL;
        DMQ_TRY(be->binary_backward(queue, &a));
        a.dp = NULL;
        a.dq = dq;
    }
    if (a.dp || a.dq)
        DMQ_TRY(be->binary_backward(queue, &a));
done:
    return st;
}

/* y = p + q: y' = p' + q'.   y = p q: y' = p' q + p q' */
static dmq_status binary_jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_binary_args a = binary_args(node);
    const dmq_real *p_tan = node->in[0]->tan, *q_tan = node->in[1]->tan;
    dmq_status st = DMQ_OK;

    a.y = node->out->tan;
    if (a.kind == DMQ_ADD && !q_tan)
        return dmq_node_copy(be, queue, a.y, p_tan, dmq_shape_count(node->out->shape), 0);
    if (a.kind == DMQ_ADD) {
        a.p = p_tan ? p_tan : node->tape->zeros;
        for (int i = 0; i < 3 && !p_tan; i++)
            a.stride_p[i] = 0;
        a.q = q_tan;
        return be->binary_forward(queue, &a);
    }
    if (p_tan) {
        a.p = p_tan;
        DMQ_TRY(be->binary_forward(queue, &a));
        a.p = node->in[0]->value;
        a.add = 1;
    }
    if (q_tan) {
        a.q = q_tan;
        DMQ_TRY(be->binary_forward(queue, &a));
    }
done:
    return st;
}

const dmq_op dmq_op_binary = { .name = "binary",
                               .infer = binary_infer,
                               .forward = binary_forward,
                               .backward = binary_backward,
                               .jvp = binary_jvp,
                               .in_place = 1 };

dmq_var *dmq_record_binary(dmq_tape *tape, dmq_binary_kind kind, dmq_var *p, dmq_var *q)
{
    dmq_attr attr = { .binary = { .kind = kind } };

    return dmq_node_record(tape, &dmq_op_binary, &attr, 2, 2, (dmq_var *[]){ p, q });
}
