#include "tape/node.h"

#include <assert.h>

enum { X, W, BIAS };

static dmq_status infer(dmq_node *node)
{
    dmq_shape x = node->in[X]->shape, w = node->in[W]->shape;
    const dmq_var *bias = node->in[BIAS];
    int stride = node->attr.conv.stride;
    dmq_pad pad = node->attr.conv.pad;
    int h, wd;

    if (x.rank != 4 || w.rank != 4) {
        return dmq_fail(DMQ_ESHAPE, "conv2d: input %s and weight %s must both have 4 axes",
                        dmq_var_text(node->in[X]), dmq_var_text(node->in[W]));
    }
    if (x.dim[3] != w.dim[3]) {
        return dmq_fail(DMQ_ESHAPE, "conv2d: input %s has %d channels, weight %s takes %d",
                        dmq_var_text(node->in[X]), x.dim[3], dmq_var_text(node->in[W]), w.dim[3]);
    }
    if (bias && (bias->shape.rank != 1 || bias->shape.dim[0] != w.dim[0])) {
        return dmq_fail(DMQ_ESHAPE, "conv2d: bias %s does not fit the %d channels out of weight %s",
                        dmq_var_text(bias), w.dim[0], dmq_var_text(node->in[W]));
    }
    h = x.dim[1] + pad.top + pad.bottom - w.dim[1];
    wd = x.dim[2] + pad.left + pad.right - w.dim[2];
    if (stride < 1 || h < 0 || wd < 0) {
        return dmq_fail(
            DMQ_ESHAPE,
            "conv2d: weight %s with stride %d does not fit input %s padded by %d %d %d %d",
            dmq_var_text(node->in[W]), stride, dmq_var_text(node->in[X]), pad.top, pad.bottom,
            pad.left, pad.right);
    }
    node->out->shape = dmq_shape4(x.dim[0], h / stride + 1, wd / stride + 1, w.dim[0]);
    return DMQ_OK;
}

static dmq_conv2d_args args_of(const dmq_node *node)
{
    dmq_shape x = node->in[X]->shape, w = node->in[W]->shape, y = node->out->shape;
    const dmq_each *each = &node->tape->each;
    size_t apart = dmq_node_apart(node, W);

    return (dmq_conv2d_args){ .x = node->in[X]->value,
                              .w = node->in[W]->value,
                              .n = x.dim[0],
                              .h = x.dim[1],
                              .wd = x.dim[2],
                              .c = x.dim[3],
                              .k = w.dim[0],
                              .r = w.dim[1],
                              .s = w.dim[2],
                              .stride = node->attr.conv.stride,
                              .pad_top = node->attr.conv.pad.top,
                              .pad_left = node->attr.conv.pad.left,
                              .ho = y.dim[1],
                              .wo = y.dim[2],
                              .sets = apart ? each->samples / each->per : 0,
                              .sets_apart = apart };
}

/* Of a node in a pass, 2^20 nodes at most: what backward reads is what forward read, or the gradient would be of
   something else. 0: no backward pass. */
static uint64_t number_of(const dmq_node *node)
{
    const dmq_tape *tape = node->tape;

    return tape->passes & DMQ_TAPE_BACKWARD && node->out->id < 1 << 20
               ? tape->pass << 20 | (uint64_t)node->out->id
               : 0;
}

static dmq_status forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_conv2d_args a = args_of(node);

    a.bias = node->in[BIAS] ? node->in[BIAS]->value : NULL;
    a.y = node->out->value;
    a.relu = node->attr.conv.relu;
    a.same = number_of(node);
    a.again_x = node->in[W]->grad != NULL;
    a.again_w = node->in[X]->grad != NULL;
    return be->conv2d_forward(queue, &a);
}

/* dbias alone, as dw would have been: of all images, or of each run of them. */
static dmq_status bias_alone(const dmq_conv2d_args *a, const dmq_backend *be, dmq_queue *queue,
                             dmq_real *dbias, int add)
{
    size_t pixels = (size_t)a->ho * (size_t)a->wo;
    int images = a->per ? a->per : a->n;
    dmq_status st = DMQ_OK;

    for (int g = 0; g < a->n / images; g++) {
        DMQ_TRY(be->col_sum(
            queue, &(dmq_col_sum_args){ .x = a->dy + (size_t)g * (size_t)(images * a->k) * pixels,
                                        .y = dbias + (size_t)g * a->apart,
                                        .rows = images * (int)pixels,
                                        .cols = a->k,
                                        .add = add }));
    }
done:
    return st;
}

static dmq_status backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    const dmq_each *each = &node->tape->each;
    dmq_conv2d_args a = args_of(node);
    dmq_real *dbias;
    dmq_status st = DMQ_OK;
    int add_bias;

    a.dy = node->out->grad;
    a.same = number_of(node);
    a.same_dy = node->in[W]->grad ? dmq_tape_number() : 0;
    a.add = dmq_grad_take(&a.dx, node->in[X]);
    if (a.dx)
        DMQ_TRY(be->conv2d_backward_data(queue, &a));
    if (each->per) {
        int images = a.n / each->samples; /* of a sample */

        a.n = images * each->count;
        a.per = images * each->per;
        a.apart = each->apart;
    }
    a.add = dmq_grad_take(&a.dw, node->in[W]);
    add_bias = dmq_grad_take(&dbias, node->in[BIAS]);
    /* dw and dbias have one flag between them; a bias used twice, or alone, goes by itself */
    if (a.dw && dbias && add_bias == a.add) {
        a.dbias = dbias;
        dbias = NULL;
    }
    if (a.dw)
        DMQ_TRY(be->conv2d_backward_weights(queue, &a));
    if (dbias)
        DMQ_TRY(bias_alone(&a, be, queue, dbias, add_bias));
done:
    return st;
}

/* y = x w + b:  y' = x' w + x w' + b' */
static dmq_status jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_conv2d_args a = args_of(node);
    const dmq_real *x_tan = node->in[X]->tan, *w_tan = node->in[W]->tan;
    const dmq_real *bias_tan = node->in[BIAS] ? node->in[BIAS]->tan : NULL;
    dmq_status st = DMQ_OK;

    a.y = node->out->tan;
    a.bias = bias_tan;
    if (x_tan) {
        a.x = x_tan;
        DMQ_TRY(be->conv2d_forward(queue, &a));
        a.x = node->in[X]->value;
        a.bias = NULL;
        a.add = 1;
    }
    if (w_tan) {
        a.w = w_tan;
        DMQ_TRY(be->conv2d_forward(queue, &a));
    }
    if (!x_tan && !w_tan)
        DMQ_TRY(dmq_node_spread(node, be, queue, a.y, bias_tan, a.n * a.ho * a.wo, a.k));
done:
    return st;
}

static double macs(const dmq_node *node)
{
    dmq_shape w = node->in[W]->shape;

    return (double)dmq_shape_count(node->out->shape) * w.dim[1] * w.dim[2] * w.dim[3];
}

const dmq_op dmq_op_conv2d = { .name = "conv2d",
                               .each = 1U << W | 1U << BIAS,
                               .sets = 1U << W,
                               .infer = infer,
                               .forward = forward,
                               .backward = backward,
                               .jvp = jvp,
                               .macs = macs };

dmq_var *dmq_record_conv2d(dmq_tape *tape, dmq_var *x, dmq_var *w, dmq_var *bias, int stride,
                           dmq_pad pad)
{
    dmq_attr attr = { .conv = { stride, pad, 0 } };

    return dmq_node_record(tape, &dmq_op_conv2d, &attr, 2, 3, (dmq_var *[]){ x, w, bias });
}
