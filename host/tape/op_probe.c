/* A function of the caller, called where it was recorded. */
#include "tape/node.h"

static dmq_status probe_infer(dmq_node *node)
{
    node->out->shape = node->in[0]->shape;
    return DMQ_OK;
}

static dmq_status probe_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    return node->attr.probe.fn(node->attr.probe.context, be, queue, node->out->shape,
                               node->in[0]->value, node->out->value);
}

/* No derivative in x: spread_life refuses tapes that would ask for one. */
static const dmq_op probe_op = {
    .name = "probe", .fixed = 1U, .infer = probe_infer, .forward = probe_forward
};

dmq_var *dmq_record_probe(dmq_tape *tape, dmq_var *x, dmq_probe_fn *fn, void *context)
{
    dmq_attr attr = { .probe = { fn, context } };

    return dmq_node_record(tape, &probe_op, &attr, 1, 1, &x);
}
