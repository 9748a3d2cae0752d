/* Fake quantization with its table of steps, and the soft weight of AdaRound. */
#include "tape/node.h"

enum { X, SCALE, ZERO };
enum { ALPHA, W, ROUND_SCALE, ROUND_ZERO };

/* How the kernel sees x: (n, outer, c, inner). */
typedef struct view {
    int n, outer, c, inner;
} view;

static view view_of(const dmq_node *node)
{
    dmq_shape x = node->in[X]->shape;
    int per = (int)dmq_shape_per(x), cols = dmq_shape_cols(x);

    if (node->attr.quant.weight) {
        return node->attr.quant.per_channel ? (view){ 1, 1, x.dim[0], per }
                                            : (view){ 1, 1, 1, x.dim[0] * per };
    }
    if (node->attr.quant.per_channel)
        return (view){ x.dim[0], per / cols, cols, 1 };
    return (view){ x.dim[0], 1, 1, per };
}

/* Rows and columns of the table: (rows, c), or (c) for a single row. */
static int table_rows(dmq_shape s)
{
    return s.rank == 1 ? 1 : s.dim[0];
}

static dmq_status quant_infer(dmq_node *node)
{
    const dmq_var *x = node->in[X], *scale = node->in[SCALE], *zero = node->in[ZERO];
    const dmq_index *row = node->attr.quant.row;
    view v = view_of(node);

    if (scale->shape.rank > 2 || dmq_shape_cols(scale->shape) != v.c) {
        return dmq_fail(DMQ_ESHAPE, "fake_quant: the scales %s do not fit the %d channels of %s",
                        dmq_var_text(scale), v.c, dmq_var_text(x));
    }
    if (!dmq_shape_equal(scale->shape, zero->shape)) {
        return dmq_fail(DMQ_ESHAPE, "fake_quant: scales %s, zeros %s", dmq_var_text(scale),
                        dmq_var_text(zero));
    }
    if (row && (node->attr.quant.weight || row->count != v.n)) {
        return dmq_fail(DMQ_ESHAPE, "fake_quant: %d row numbers, %s has %d samples", row->count,
                        dmq_var_text(x), node->attr.quant.weight ? 0 : v.n);
    }
    if (!row && table_rows(scale->shape) != 1) {
        return dmq_fail(DMQ_ESHAPE,
                        "fake_quant: the scales %s have %d rows, and no row number says "
                        "which of them is meant",
                        dmq_var_text(scale), table_rows(scale->shape));
    }
    node->out->shape = x->shape;
    return DMQ_OK;
}

static dmq_fake_quant_args quant_args(const dmq_node *node)
{
    view v = view_of(node);
    const dmq_index *row = node->attr.quant.row;

    return (dmq_fake_quant_args){ .x = node->in[X]->value,
                                  .scale = node->in[SCALE]->value,
                                  .zero = node->in[ZERO]->value,
                                  .row = row ? row->value : NULL,
                                  .n = v.n,
                                  .outer = v.outer,
                                  .c = v.c,
                                  .inner = v.inner,
                                  .rows = table_rows(node->in[SCALE]->shape),
                                  .lo = (dmq_real)node->attr.quant.lo,
                                  .hi = (dmq_real)node->attr.quant.hi,
                                  .lsq_gain = (dmq_real)node->attr.quant.lsq_gain };
}

static dmq_status quant_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_fake_quant_args a = quant_args(node);

    a.y = node->out->value;
    return be->fake_quant_forward(queue, &a);
}

static dmq_status quant_backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_fake_quant_args a = quant_args(node);
    size_t count = dmq_shape_count(node->in[SCALE]->shape);
    dmq_status st = DMQ_OK;

    a.dy = node->out->grad;
    a.add = dmq_grad_take(&a.dx, node->in[X]);
    if (!dmq_grad_take(&a.dscale, node->in[SCALE]) && a.dscale) /* the kernel always adds */
        DMQ_TRY(dmq_node_zero(node, be, queue, a.dscale, 1, count, count));
    if (a.dx || a.dscale)
        DMQ_TRY(be->fake_quant_backward(queue, &a));
done:
    return st;
}

static dmq_status quant_jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_fake_quant_args a = quant_args(node);

    a.x_tan = node->in[X]->tan;
    a.scale_tan = node->in[SCALE]->tan;
    a.y_tan = node->out->tan;
    return be->fake_quant_jvp(queue, &a);
}

const dmq_op dmq_op_fake_quant = { .name = "fake_quant",
                                   .fixed = 1U << ZERO,
                                   .infer = quant_infer,
                                   .forward = quant_forward,
                                   .backward = quant_backward,
                                   .jvp = quant_jvp,
                                   .in_place = 1 };

dmq_var *dmq_record_fake_quant(dmq_tape *tape, dmq_var *x, const dmq_quant_spec *spec)
{
    dmq_attr attr = { .quant = { .row = spec->row,
                                 .lo = spec->lo,
                                 .hi = spec->hi,
                                 .lsq_gain = spec->lsq_gain,
                                 .per_channel = spec->per_channel,
                                 .weight = spec->weight } };

    return dmq_node_record(tape, &dmq_op_fake_quant, &attr, 3, 3,
                           (dmq_var *[]){ x, spec->scale, spec->zero });
}

static dmq_status round_infer(dmq_node *node)
{
    const dmq_var *alpha = node->in[ALPHA], *w = node->in[W];

    if (!dmq_shape_equal(alpha->shape, w->shape)) {
        return dmq_fail(DMQ_ESHAPE, "adaround: alpha %s, weight %s", dmq_var_text(alpha),
                        dmq_var_text(w));
    }
    for (int i = ROUND_SCALE; i <= ROUND_ZERO; i++) {
        if (dmq_shape_count(node->in[i]->shape) != (size_t)w->shape.dim[0]) {
            return dmq_fail(DMQ_ESHAPE,
                            "adaround: %s does not fit the %d channels out of weight %s",
                            dmq_var_text(node->in[i]), w->shape.dim[0], dmq_var_text(w));
        }
    }
    node->out->shape = w->shape;
    return DMQ_OK;
}

static dmq_adaround_layer round_layer(const dmq_node *node)
{
    return (dmq_adaround_layer){ .w = node->in[W]->value,
                                 .scale = node->in[ROUND_SCALE]->value,
                                 .zero = node->in[ROUND_ZERO]->value,
                                 .alpha = node->in[ALPHA]->value,
                                 .k = node->in[W]->shape.dim[0],
                                 .per = (int)dmq_shape_per(node->in[W]->shape),
                                 .lo = (dmq_real)node->attr.round.lo,
                                 .hi = (dmq_real)node->attr.round.hi };
}

static dmq_status round_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_adaround_layer layer = round_layer(node);

    layer.w_soft = node->out->value;
    return be->adaround_forward(queue, &(dmq_adaround_args){ .layer = &layer, .n_layers = 1 });
}

static dmq_status round_backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_adaround_layer layer = round_layer(node);
    dmq_adaround_args a = { .layer = &layer, .n_layers = 1 };

    layer.dw = node->out->grad;
    a.add = dmq_grad_take(&layer.dalpha, node->in[ALPHA]);
    return layer.dalpha ? be->adaround_backward(queue, &a) : DMQ_OK;
}

static dmq_status round_jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_adaround_layer layer = round_layer(node);

    layer.alpha_tan = node->in[ALPHA]->tan;
    layer.w_tan = node->out->tan;
    return be->adaround_jvp(queue, &(dmq_adaround_args){ .layer = &layer, .n_layers = 1 });
}

static const dmq_op round_op = { .name = "adaround",
                                 .fixed = 1U << W | 1U << ROUND_SCALE | 1U << ROUND_ZERO,
                                 .infer = round_infer,
                                 .forward = round_forward,
                                 .backward = round_backward,
                                 .jvp = round_jvp };

dmq_var *dmq_record_adaround(dmq_tape *tape, dmq_var *alpha, dmq_var *w, dmq_var *scale,
                             dmq_var *zero, double lo, double hi)
{
    dmq_attr attr = { .round = { lo, hi } };

    return dmq_node_record(tape, &round_op, &attr, 4, 4, (dmq_var *[]){ alpha, w, scale, zero });
}
