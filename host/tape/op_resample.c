#include "tape/node.h"

static dmq_resample_args args_of(const dmq_node *node)
{
    dmq_shape x = node->in[0]->shape;

    return (dmq_resample_args){
        .n = x.dim[0], .h = x.dim[1], .wd = x.dim[2], .c = x.dim[3], .factor = node->attr.factor
    };
}

static dmq_status check(const dmq_node *node)
{
    if (node->in[0]->shape.rank != 4 || node->attr.factor < 1) {
        return dmq_fail(DMQ_ESHAPE, "%s: %s by a factor of %d: needs an image and at least 1",
                        node->op->name, dmq_var_text(node->in[0]), node->attr.factor);
    }
    return DMQ_OK;
}

static dmq_status up_infer(dmq_node *node)
{
    dmq_shape x = node->in[0]->shape;
    int f = node->attr.factor;

    node->out->shape = dmq_shape4(x.dim[0], x.dim[1] * f, x.dim[2] * f, x.dim[3]);
    return check(node);
}

static dmq_status pool_infer(dmq_node *node)
{
    dmq_shape x = node->in[0]->shape;
    int f = node->attr.factor;
    dmq_status st = check(node);

    if (st != DMQ_OK)
        return st;
    if (x.dim[1] % f != 0 || x.dim[2] % f != 0) {
        return dmq_fail(DMQ_ESHAPE, "avg_pool: %s cannot be cut into windows of %d x %d",
                        dmq_var_text(node->in[0]), f, f);
    }
    node->out->shape = dmq_shape4(x.dim[0], x.dim[1] / f, x.dim[2] / f, x.dim[3]);
    return DMQ_OK;
}

static dmq_status up_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_resample_args a = args_of(node);

    a.x = node->in[0]->value;
    a.y = node->out->value;
    return be->upsample_forward(queue, &a);
}

static dmq_status up_backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_resample_args a = args_of(node);

    a.dy = node->out->grad;
    a.add = dmq_grad_take(&a.dx, node->in[0]);
    return a.dx ? be->upsample_backward(queue, &a) : DMQ_OK;
}

static dmq_status up_jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_resample_args a = args_of(node);

    a.x = node->in[0]->tan;
    a.y = node->out->tan;
    return be->upsample_forward(queue, &a);
}

static dmq_status pool_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_resample_args a = args_of(node);

    a.x = node->in[0]->value;
    a.y = node->out->value;
    return be->avg_pool_forward(queue, &a);
}

static dmq_status pool_backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_resample_args a = args_of(node);

    a.dy = node->out->grad;
    a.add = dmq_grad_take(&a.dx, node->in[0]);
    return a.dx ? be->avg_pool_backward(queue, &a) : DMQ_OK;
}

static dmq_status pool_jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_resample_args a = args_of(node);

    a.x = node->in[0]->tan;
    a.y = node->out->tan;
    return be->avg_pool_forward(queue, &a);
}

static const dmq_op up_op = { .name = "upsample",
                              .infer = up_infer,
                              .forward = up_forward,
                              .backward = up_backward,
                              .jvp = up_jvp };
static const dmq_op pool_op = { .name = "avg_pool",
                                .infer = pool_infer,
                                .forward = pool_forward,
                                .backward = pool_backward,
                                .jvp = pool_jvp };

dmq_var *dmq_record_upsample(dmq_tape *tape, dmq_var *x, int factor)
{
    dmq_attr attr = { .factor = factor };

    return dmq_node_record(tape, &up_op, &attr, 1, 1, &x);
}

dmq_var *dmq_record_avg_pool(dmq_tape *tape, dmq_var *x, int factor)
{
    dmq_attr attr = { .factor = factor };

    return dmq_node_record(tape, &pool_op, &attr, 1, 1, &x);
}
