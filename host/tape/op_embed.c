#include "tape/node.h"

static dmq_status embed_infer(dmq_node *node)
{
    dmq_shape table = node->in[0]->shape;

    if (table.rank != 2) {
        return dmq_fail(DMQ_ESHAPE, "embed: the table %s must have 2 axes",
                        dmq_var_text(node->in[0]));
    }
    node->out->shape = dmq_shape2(node->attr.index->count, table.dim[1]);
    return DMQ_OK;
}

static dmq_embed_args embed_args(const dmq_node *node)
{
    return (dmq_embed_args){ .index = node->attr.index->value,
                             .n = node->attr.index->count,
                             .d = node->in[0]->shape.dim[1],
                             .rows = node->in[0]->shape.dim[0] };
}

static dmq_status embed_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_embed_args a = embed_args(node);

    a.table = node->in[0]->value;
    a.y = node->out->value;
    return be->embed_forward(queue, &a);
}

static dmq_status embed_backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_embed_args a = embed_args(node);

    a.dy = node->out->grad;
    a.add = dmq_grad_take(&a.dtable, node->in[0]);
    return a.dtable ? be->embed_backward(queue, &a) : DMQ_OK;
}

static dmq_status embed_jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_embed_args a = embed_args(node);

    a.table = node->in[0]->tan;
    a.y = node->out->tan;
    return be->embed_forward(queue, &a);
}

static const dmq_op embed_op = { .name = "embed",
                                 .infer = embed_infer,
                                 .forward = embed_forward,
                                 .backward = embed_backward,
                                 .jvp = embed_jvp };

dmq_var *dmq_record_embed(dmq_tape *tape, dmq_var *table, const dmq_index *index)
{
    dmq_attr attr = { .index = index };

    return index ? dmq_node_record(tape, &embed_op, &attr, 1, 1, &table) : NULL;
}

static dmq_status time_infer(dmq_node *node)
{
    if (node->in[0]->shape.rank != 1 || node->attr.time.d < 2 || node->attr.time.d % 2 != 0) {
        return dmq_fail(DMQ_ESHAPE,
                        "time_embed: %s into %d features: needs one axis and an even number",
                        dmq_var_text(node->in[0]), node->attr.time.d);
    }
    node->out->shape = dmq_shape2(node->in[0]->shape.dim[0], node->attr.time.d);
    return DMQ_OK;
}

static dmq_status time_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    return be->time_embed(queue,
                          &(dmq_time_embed_args){ .t = node->in[0]->value,
                                                  .y = node->out->value,
                                                  .n = node->in[0]->shape.dim[0],
                                                  .d = node->attr.time.d,
                                                  .divisor = (dmq_real)node->attr.time.divisor,
                                                  .cos_first = node->attr.time.cos_first });
}

static const dmq_op time_op = {
    .name = "time_embed", .fixed = 1, .infer = time_infer, .forward = time_forward
};

dmq_var *dmq_record_time_embed(dmq_tape *tape, dmq_var *t, int d, double divisor, int cos_first)
{
    dmq_attr attr = { .time = { .d = d, .cos_first = cos_first, .divisor = divisor } };

    return dmq_node_record(tape, &time_op, &attr, 1, 1, &t);
}
