/*
 * Fusion: [x + shift] -> group_norm -> [silu] -> [fake_quant per tensor] becomes one group_norm node, and
 * conv2d -> relu one conv2d node.
 *
 * Only where nobody else reads the results in between and none of them is an output. A quantizer whose
 * step is learned stays by itself: the fused kernel has no gradient of it. So does the ReLU of a tape with
 * derivatives: backward of the convolution knows none.
 */
#include "tape/node.h"

static void count_readers(dmq_tape *tape)
{
    for (int i = 0; i < tape->n_nodes; i++) {
        for (int k = 0; k < tape->node[i]->n_in; k++) {
            if (tape->node[i]->in[k])
                dmq_cell_of(tape->node[i]->in[k])->readers++;
        }
    }
}

/* Nobody but the fused node would miss it. */
static int is_private(const dmq_var *v)
{
    return v->maker && !v->is_output && dmq_cell_of(v)->readers == 1;
}

/* The one node that reads a private result. */
static dmq_node *reader_of(const dmq_tape *tape, const dmq_var *v, int from)
{
    for (int i = from; i < tape->n_nodes; i++) {
        for (int k = 0; k < tape->node[i]->n_in; k++) {
            if (tape->node[i]->in[k] == v)
                return tape->node[i];
        }
    }
    return NULL;
}

/* The fused node takes over the result of the last node of the chain, which runs no more. */
static void take_over(dmq_node *first, dmq_node *last)
{
    first->out->maker =
        last; /* so that every cell still has one maker, and this one is fused away */
    first->out = last->out;
    first->out->maker = first;
    last->fused_away = 1;
}

static void absorb_shift(dmq_node *norm)
{
    dmq_var *x = norm->in[NORM_X];
    dmq_node *add = x->maker;

    if (!is_private(x) || add->op != &dmq_op_binary || add->attr.binary.kind != DMQ_ADD)
        return;
    if (!dmq_shape_equal(add->in[1]->shape, dmq_shape2(x->shape.dim[0], dmq_shape_cols(x->shape))))
        return;
    norm->in[NORM_X] = add->in[0];
    norm->in[NORM_SHIFT] = add->in[1];
    add->fused_away = 1;
}

static int can_quantize(const dmq_node *norm, const dmq_node *quant)
{
    return quant->op == &dmq_op_fake_quant && !quant->attr.quant.per_channel &&
           !quant->attr.quant.weight && quant->in[0] == norm->out && !quant->in[1]->is_param &&
           !quant->in[1]->maker && !quant->in[1]->wants_grad && !quant->in[1]->wants_tan;
}

static void absorb_followers(const dmq_tape *tape, dmq_node *norm, int at)
{
    dmq_node *next = is_private(norm->out) ? reader_of(tape, norm->out, at) : NULL;

    if (next && next->op == &dmq_op_unary && next->attr.unary == DMQ_SILU) {
        norm->attr.norm.silu = 1;
        take_over(norm, next);
        next = is_private(norm->out) ? reader_of(tape, norm->out, at) : NULL;
    }
    if (next && can_quantize(norm, next)) {
        norm->attr.norm.quant = 1;
        norm->attr.norm.row = next->attr.quant.row;
        norm->attr.norm.lo = next->attr.quant.lo;
        norm->attr.norm.hi = next->attr.quant.hi;
        norm->in[NORM_SCALE] = next->in[1];
        norm->in[NORM_ZERO] = next->in[2];
        take_over(norm, next);
    }
}

static void absorb_relu(const dmq_tape *tape, dmq_node *conv, int at)
{
    dmq_node *next = is_private(conv->out) ? reader_of(tape, conv->out, at) : NULL;

    if (next && next->op == &dmq_op_unary && next->attr.unary == DMQ_RELU) {
        conv->attr.conv.relu = 1;
        take_over(conv, next);
    }
}

void dmq_tape_fuse(dmq_tape *tape)
{
    count_readers(tape);
    for (int i = 0; i < tape->n_nodes; i++) {
        dmq_node *node = tape->node[i];

        if (node->op == &dmq_op_group_norm) {
            absorb_shift(node);
            absorb_followers(tape, node, i + 1);
            node->n_in = NORM_ZERO + 1;
        } else if (node->op == &dmq_op_conv2d && tape->passes == DMQ_TAPE_FORWARD) {
            absorb_relu(tape, node, i + 1);
        }
    }
}
