#include "tape/node.h"

static dmq_status infer(dmq_node *node)
{
    dmq_shape x = node->in[0]->shape, code = node->in[1]->shape;

    if (code.rank != 2 || code.dim[1] != dmq_shape_cols(x)) {
        return dmq_fail(DMQ_ESHAPE, "nearest: %s among codes %s", dmq_var_text(node->in[0]),
                        dmq_var_text(node->in[1]));
    }
    node->out->shape = x;
    return DMQ_OK;
}

static dmq_status forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_shape code = node->in[1]->shape;

    return be->nearest(queue, &(dmq_nearest_args){ .x = node->in[0]->value,
                                                   .code = node->in[1]->value,
                                                   .y = node->out->value,
                                                   .rows = dmq_shape_rows(node->out->shape),
                                                   .d = code.dim[1],
                                                   .n = code.dim[0] });
}

static double macs(const dmq_node *node)
{
    return (double)dmq_shape_count(node->out->shape) * node->in[1]->shape.dim[0];
}

static const dmq_op op = {
    .name = "nearest", .fixed = 3, .infer = infer, .forward = forward, .macs = macs
};

dmq_var *dmq_record_nearest(dmq_tape *tape, dmq_var *x, dmq_var *code)
{
    return dmq_node_record(tape, &op, NULL, 2, 2, (dmq_var *[]){ x, code });
}
