#include "tape/node.h"

static dmq_status infer(dmq_node *node)
{
    node->out->shape = node->in[0]->shape;
    return DMQ_OK;
}

static dmq_softmax_args args_of(const dmq_node *node)
{
    return (dmq_softmax_args){ .x = node->in[0]->value,
                               .y = node->out->value,
                               .rows = dmq_shape_rows(node->out->shape),
                               .cols = dmq_shape_cols(node->out->shape) };
}

static dmq_status forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_softmax_args a = args_of(node);

    return be->softmax_forward(queue, &a);
}

static dmq_status backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_softmax_args a = args_of(node);

    a.v = node->out->grad;
    a.add = dmq_grad_take(&a.out, node->in[0]);
    return a.out ? be->softmax_derive(queue, &a) : DMQ_OK;
}

static dmq_status jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_softmax_args a = args_of(node);

    a.v = node->in[0]->tan;
    a.out = node->out->tan;
    return be->softmax_derive(queue, &a);
}

static const dmq_op op = { .name = "softmax",
                           .infer = infer,
                           .forward = forward,
                           .backward = backward,
                           .jvp = jvp,
                           .in_place = 1 };

dmq_var *dmq_record_softmax(dmq_tape *tape, dmq_var *x)
{
    return dmq_node_record(tape, &op, NULL, 1, 1, &x);
}
