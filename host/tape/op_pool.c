#include "tape/node.h"

static dmq_status pool_infer(dmq_node *node)
{
    dmq_shape x = node->in[0]->shape;
    int k = node->attr.pool.k, stride = node->attr.pool.stride, pad = node->attr.pool.pad;

    if (x.rank != 4 || k < 1 || stride < 1 || pad < 0 || pad >= k) {
        return dmq_fail(DMQ_ESHAPE,
                        "pool2d: %s by windows of %d, stride %d, padding %d: needs an image and a "
                        "padding of less than a window",
                        dmq_var_text(node->in[0]), k, stride, pad);
    }
    if (x.dim[1] + 2 * pad < k || x.dim[2] + 2 * pad < k) {
        return dmq_fail(DMQ_ESHAPE,
                        "pool2d: %s with padding %d is smaller than a window of %d x %d",
                        dmq_var_text(node->in[0]), pad, k, k);
    }
    node->out->shape = dmq_shape4(x.dim[0], (x.dim[1] + 2 * pad - k) / stride + 1,
                                  (x.dim[2] + 2 * pad - k) / stride + 1, x.dim[3]);
    return DMQ_OK;
}

static dmq_pool2d_args args_of(const dmq_node *node)
{
    dmq_shape x = node->in[0]->shape, y = node->out->shape;

    return (dmq_pool2d_args){ .kind = node->attr.pool.kind,
                              .x = node->in[0]->value,
                              .n = x.dim[0],
                              .h = x.dim[1],
                              .wd = x.dim[2],
                              .c = x.dim[3],
                              .k = node->attr.pool.k,
                              .stride = node->attr.pool.stride,
                              .pad = node->attr.pool.pad,
                              .ho = y.dim[1],
                              .wo = y.dim[2] };
}

static dmq_status pool_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_pool2d_args a = args_of(node);

    a.y = node->out->value;
    return be->pool2d_forward(queue, &a);
}

static dmq_status pool_backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_pool2d_args a = args_of(node);

    a.dy = node->out->grad;
    a.add = dmq_grad_take(&a.dx, node->in[0]);
    return a.dx ? be->pool2d_backward(queue, &a) : DMQ_OK;
}

static dmq_status pool_jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_pool2d_args a = args_of(node);

    if (a.kind == DMQ_POOL_MEAN) { /* linear: the tangent is the forward pass */
        a.x = node->in[0]->tan;
        a.y = node->out->tan;
        return be->pool2d_forward(queue, &a);
    }
    a.x_tan = node->in[0]->tan;
    a.y_tan = node->out->tan;
    return be->pool2d_jvp(queue, &a);
}

static const dmq_op pool_op = { .name = "pool2d",
                                .infer = pool_infer,
                                .forward = pool_forward,
                                .backward = pool_backward,
                                .jvp = pool_jvp };

dmq_var *dmq_record_pool2d(dmq_tape *tape, dmq_pool_kind kind, dmq_var *x, int k, int stride,
                           int pad)
{
    dmq_attr attr = { .pool = { kind, k, stride, pad } };

    return dmq_node_record(tape, &pool_op, &attr, 1, 1, &x);
}
