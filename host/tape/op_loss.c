/* Losses of each sample: reconstruction and cross entropy. */
#include "tape/node.h"

#include <assert.h>

enum { F, Y };

static dmq_status loss_infer(dmq_node *node)
{
    if (!dmq_shape_equal(node->in[F]->shape, node->in[Y]->shape)) {
        return dmq_fail(DMQ_ESHAPE, "loss: output %s and target %s differ",
                        dmq_var_text(node->in[F]), dmq_var_text(node->in[Y]));
    }
    node->out->shape = dmq_shape1(node->in[F]->shape.dim[0]);
    return DMQ_OK;
}

/* Sum over axis 1 of NCHW or (N, L, D), mean over the rest. */
static double reduction(dmq_shape s)
{
    if (s.rank == 4)
        return 1.0 / ((double)s.dim[1] * s.dim[2]);
    return s.rank == 3 ? 1.0 / s.dim[2] : 1.0;
}

static dmq_loss_args loss_args(const dmq_node *node)
{
    dmq_shape f = node->in[F]->shape;
    int by_row = node->attr.loss.rows != NULL;

    return (dmq_loss_args){ .f = node->in[F]->value,
                            .y = by_row ? node->attr.loss.rows : node->in[Y]->value,
                            .index = by_row ? node->attr.loss.index : NULL,
                            .rows = node->attr.loss.n_rows,
                            .n = f.dim[0],
                            .per = dmq_shape_per(f),
                            .coef = (dmq_real)reduction(f),
                            .power = (dmq_real)node->attr.loss.power };
}

static dmq_status loss_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_loss_args a = loss_args(node);

    a.loss = node->out->value;
    return be->loss_forward(queue, &a);
}

static dmq_status loss_backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_loss_args a = loss_args(node);

    a.dloss = node->out->grad;
    a.add = dmq_grad_take(&a.df, node->in[F]);
    return a.df ? be->loss_backward(queue, &a) : DMQ_OK;
}

static dmq_status loss_both(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_loss_args a = loss_args(node);

    a.loss = node->out->value;
    a.dloss = node->out->grad;
    a.add = dmq_grad_take(&a.df, node->in[F]);
    if (dmq_cell_of(node->out)->unread)
        return a.df ? be->loss_backward(queue, &a) : DMQ_OK;
    return a.df ? be->loss_both(queue, &a) : be->loss_forward(queue, &a);
}

static dmq_status loss_jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_loss_args a = loss_args(node);

    a.f_tan = node->in[F]->tan;
    a.loss_tan = node->out->tan;
    return be->loss_jvp(queue, &a);
}

static const dmq_op loss_op = { .name = "loss",
                                .fixed = 1U << Y,
                                .infer = loss_infer,
                                .forward = loss_forward,
                                .backward = loss_backward,
                                .jvp = loss_jvp,
                                .both = loss_both };

dmq_var *dmq_record_loss(dmq_tape *tape, dmq_var *f, dmq_var *y, double power)
{
    dmq_attr attr = { .loss = { .power = power } };

    return dmq_node_record(tape, &loss_op, &attr, 2, 2, (dmq_var *[]){ f, y });
}

void dmq_loss_rows(dmq_var *loss, const dmq_real *rows, int count, const int *index)
{
    assert(loss->maker && loss->maker->op == &loss_op);
    loss->maker->attr.loss.rows = rows;
    loss->maker->attr.loss.n_rows = count;
    loss->maker->attr.loss.index = index;
}

static dmq_status xent_infer(dmq_node *node)
{
    dmq_shape x = node->in[0]->shape;
    const dmq_index *label = node->attr.index;

    if (x.rank != 2 || label->count != x.dim[0]) {
        return dmq_fail(DMQ_ESHAPE, "xent: %d labels, logits %s", label->count,
                        dmq_var_text(node->in[0]));
    }
    node->out->shape = dmq_shape1(x.dim[0]);
    if (node->tape->passes & DMQ_TAPE_JVP) {
        node->aux_count = dmq_shape_count(x);
        dmq_tape_constants(node->tape, (size_t)x.dim[0]);
    }
    return DMQ_OK;
}

static dmq_xent_args xent_args(const dmq_node *node)
{
    return (dmq_xent_args){ .x = node->in[0]->value,
                            .label = node->attr.index->value,
                            .n = node->in[0]->shape.dim[0],
                            .classes = node->in[0]->shape.dim[1] };
}

static dmq_status xent_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_xent_args a = xent_args(node);

    a.loss = node->out->value;
    return be->xent_forward(queue, &a);
}

static dmq_status xent_backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_xent_args a = xent_args(node);

    a.dloss = node->out->grad;
    a.add = dmq_grad_take(&a.dx, node->in[0]);
    return a.dx ? be->xent_backward(queue, &a) : DMQ_OK;
}

/* loss' = <dloss/dx, x'> sample by sample: the gradient for a seed of ones, then n products of rows */
static dmq_status xent_jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_xent_args a = xent_args(node);
    dmq_status st = DMQ_OK;

    a.dloss = node->tape->ones;
    a.dx = node->aux;
    DMQ_TRY(be->xent_backward(queue, &a));
    DMQ_TRY(be->matmul(queue, &(dmq_matmul_args){ .a = node->aux,
                                                  .b = node->in[0]->tan,
                                                  .c = node->out->tan,
                                                  .batch = a.n,
                                                  .m = 1,
                                                  .n = 1,
                                                  .k = a.classes,
                                                  .lda = a.classes,
                                                  .ldb = 1,
                                                  .ldc = 1,
                                                  .stride_a = a.classes,
                                                  .stride_b = a.classes,
                                                  .stride_c = 1,
                                                  .alpha = 1 }));
done:
    return st;
}

static const dmq_op xent_op = { .name = "xent",
                                .infer = xent_infer,
                                .forward = xent_forward,
                                .backward = xent_backward,
                                .jvp = xent_jvp };

dmq_var *dmq_record_xent(dmq_tape *tape, dmq_var *x, const dmq_index *label)
{
    dmq_attr attr = { .index = label };

    return label ? dmq_node_record(tape, &xent_op, &attr, 1, 1, &x) : NULL;
}
