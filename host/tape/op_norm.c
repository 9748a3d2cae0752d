#include "tape/node.h"

#include <assert.h>

static dmq_status check_affine(const dmq_node *node, int c)
{
    for (int i = NORM_GAMMA; i <= NORM_BETA; i++) {
        if (!node->in[i])
            continue;
        if (node->in[i]->shape.rank != 1 || node->in[i]->shape.dim[0] != c) {
            return dmq_fail(DMQ_ESHAPE, "%s: %s does not fit the %d channels of %s", node->op->name,
                            dmq_var_text(node->in[i]), c, dmq_var_text(node->in[NORM_X]));
        }
    }
    return DMQ_OK;
}

static dmq_status group_infer(dmq_node *node)
{
    dmq_shape x = node->in[NORM_X]->shape;
    int groups = node->attr.norm.groups;

    if (x.rank < 3 || groups < 1 || dmq_shape_cols(x) % groups != 0) {
        return dmq_fail(DMQ_ESHAPE, "group_norm: %s cannot be cut into %d groups of channels",
                        dmq_var_text(node->in[NORM_X]), groups);
    }
    node->out->shape = x;
    node->aux_count = 2 * (size_t)x.dim[0] * (size_t)groups;
    return check_affine(node, dmq_shape_cols(x));
}

static const dmq_real *value_of(const dmq_var *v)
{
    return v ? v->value : NULL;
}

static const dmq_real *tan_of(const dmq_var *v)
{
    return v ? v->tan : NULL;
}

static dmq_group_norm_args group_args(const dmq_node *node)
{
    dmq_shape x = node->in[NORM_X]->shape;
    int n = x.dim[0], c = dmq_shape_cols(x), groups = node->attr.norm.groups;
    const dmq_var *scale = node->in[NORM_SCALE];
    const dmq_index *row = node->attr.norm.row;

    return (dmq_group_norm_args){ .x = node->in[NORM_X]->value,
                                  .shift = value_of(node->in[NORM_SHIFT]),
                                  .gamma = node->in[NORM_GAMMA]->value,
                                  .beta = node->in[NORM_BETA]->value,
                                  .y = node->out->value,
                                  .mean = node->aux,
                                  .rstd = node->aux + (size_t)n * (size_t)groups,
                                  .n = n,
                                  .hw = dmq_shape_rows(x) / n,
                                  .c = c,
                                  .groups = groups,
                                  .eps = (dmq_real)node->attr.norm.eps,
                                  .silu = node->attr.norm.silu,
                                  .quant = node->attr.norm.quant,
                                  .scale = value_of(scale),
                                  .zero = value_of(node->in[NORM_ZERO]),
                                  .row = row ? row->value : NULL,
                                  .rows = scale ? scale->shape.dim[0] : 0,
                                  .lo = (dmq_real)node->attr.norm.lo,
                                  .hi = (dmq_real)node->attr.norm.hi };
}

static dmq_status group_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_group_norm_args a = group_args(node);

    return be->group_norm_forward(queue, &a);
}

static dmq_status group_backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_group_norm_args a = group_args(node);
    dmq_real *dbeta;
    dmq_status st = DMQ_OK;
    int add_beta;

    a.dy = node->out->grad;
    a.add = dmq_grad_take(&a.dx, node->in[NORM_X]);
    a.add_shift = dmq_grad_take(&a.dshift, node->in[NORM_SHIFT]);
    a.add_param = dmq_grad_take(&a.dgamma, node->in[NORM_GAMMA]);
    add_beta = dmq_grad_take(&dbeta, node->in[NORM_BETA]);
    if (!a.dgamma)
        a.add_param = add_beta;
    /* gamma and beta have one flag between them; where they differ beta goes by itself */
    if (add_beta == a.add_param) {
        a.dbeta = dbeta;
        dbeta = NULL;
    }
    if (a.dx || a.dshift || a.dgamma || a.dbeta)
        DMQ_TRY(be->group_norm_backward(queue, &a));
    if (dbeta) {
        a.dx = a.dshift = a.dgamma = NULL;
        a.dbeta = dbeta;
        a.add_param = add_beta;
        DMQ_TRY(be->group_norm_backward(queue, &a));
    }
done:
    return st;
}

static dmq_status group_jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_group_norm_args a = group_args(node);

    a.x_tan = node->in[NORM_X]->tan;
    a.shift_tan = tan_of(node->in[NORM_SHIFT]);
    a.gamma_tan = node->in[NORM_GAMMA]->tan;
    a.beta_tan = node->in[NORM_BETA]->tan;
    a.y_tan = node->out->tan;
    return be->group_norm_jvp(queue, &a);
}

const dmq_op dmq_op_group_norm = { .name = "group_norm",
                                   .fixed = 1U << NORM_SCALE | 1U << NORM_ZERO,
                                   .infer = group_infer,
                                   .forward = group_forward,
                                   .backward = group_backward,
                                   .jvp = group_jvp };

dmq_var *dmq_record_group_norm(dmq_tape *tape, dmq_var *x, dmq_var *gamma, dmq_var *beta,
                               int groups, double eps)
{
    dmq_attr attr = { .norm = { .groups = groups, .eps = eps } };

    return dmq_node_record(tape, &dmq_op_group_norm, &attr, 3, 3, (dmq_var *[]){ x, gamma, beta });
}

static dmq_status layer_infer(dmq_node *node)
{
    node->out->shape = node->in[NORM_X]->shape;
    node->aux_count = 2 * (size_t)dmq_shape_rows(node->out->shape);
    if (!node->in[NORM_GAMMA])
        dmq_tape_constants(node->tape, (size_t)dmq_shape_cols(node->out->shape));
    return check_affine(node, dmq_shape_cols(node->out->shape));
}

static dmq_layer_norm_args layer_args(const dmq_node *node)
{
    const dmq_var *gamma = node->in[NORM_GAMMA], *beta = node->in[NORM_BETA];
    int rows = dmq_shape_rows(node->out->shape);

    return (dmq_layer_norm_args){ .x = node->in[NORM_X]->value,
                                  .gamma = gamma ? gamma->value : node->tape->ones,
                                  .beta = beta ? beta->value : node->tape->zeros,
                                  .y = node->out->value,
                                  .mean = node->aux,
                                  .rstd = node->aux + rows,
                                  .rows = rows,
                                  .d = dmq_shape_cols(node->out->shape),
                                  .eps = (dmq_real)node->attr.norm.eps };
}

static dmq_status layer_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_layer_norm_args a = layer_args(node);

    return be->layer_norm_forward(queue, &a);
}

static dmq_status layer_backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_layer_norm_args a = layer_args(node);
    dmq_real *dbeta;
    dmq_status st = DMQ_OK;
    int add_beta;

    a.dy = node->out->grad;
    a.add = dmq_grad_take(&a.dx, node->in[NORM_X]);
    a.add_param = dmq_grad_take(&a.dgamma, node->in[NORM_GAMMA]);
    add_beta = dmq_grad_take(&dbeta, node->in[NORM_BETA]);
    if (!a.dgamma)
        a.add_param = add_beta;
    if (add_beta == a.add_param) { /* as in group_backward */
        a.dbeta = dbeta;
        dbeta = NULL;
    }
    if (a.dx || a.dgamma || a.dbeta)
        DMQ_TRY(be->layer_norm_backward(queue, &a));
    if (dbeta) {
        a.dx = a.dgamma = NULL;
        a.dbeta = dbeta;
        a.add_param = add_beta;
        DMQ_TRY(be->layer_norm_backward(queue, &a));
    }
done:
    return st;
}

static dmq_status layer_jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_layer_norm_args a = layer_args(node);

    a.x_tan = node->in[NORM_X]->tan;
    a.gamma_tan = tan_of(node->in[NORM_GAMMA]);
    a.beta_tan = tan_of(node->in[NORM_BETA]);
    a.y_tan = node->out->tan;
    return be->layer_norm_jvp(queue, &a);
}

static const dmq_op layer_op = { .name = "layer_norm",
                                 .infer = layer_infer,
                                 .forward = layer_forward,
                                 .backward = layer_backward,
                                 .jvp = layer_jvp };

dmq_var *dmq_record_layer_norm(dmq_tape *tape, dmq_var *x, dmq_var *gamma, dmq_var *beta,
                               double eps)
{
    dmq_attr attr = { .norm = { .eps = eps } };

    return dmq_node_record(tape, &layer_op, &attr, gamma || beta ? 3 : 1, 3,
                           (dmq_var *[]){ x, gamma, beta });
}
