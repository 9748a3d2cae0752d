/* concat, slice, reshape, permute: numbers move, none is computed. */
#include "tape/node.h"

#include <assert.h>

static dmq_status copy2d(const dmq_backend *be, dmq_queue *queue, dmq_real *dst, size_t dst_ld,
                         const dmq_real *src, size_t src_ld, size_t rows, size_t cols, int add)
{
    return be->copy2d(queue, &(dmq_copy2d_args){ .src = src,
                                                 .dst = dst,
                                                 .rows = rows,
                                                 .cols = cols,
                                                 .src_ld = src_ld,
                                                 .dst_ld = dst_ld,
                                                 .add = add });
}

static dmq_status concat_infer(dmq_node *node)
{
    dmq_shape a = node->in[0]->shape;
    int last = a.rank - 1, channels = 0;

    for (int i = 0; i < node->n_in; i++) {
        dmq_shape b = node->in[i]->shape;

        for (int d = 0; d < last || a.rank != b.rank; d++) {
            if (a.rank != b.rank || a.dim[d] != b.dim[d]) {
                return dmq_fail(DMQ_ESHAPE, "concat: %s and %s differ in more than the channels",
                                dmq_var_text(node->in[0]), dmq_var_text(node->in[i]));
            }
        }
        channels += b.dim[last];
    }
    a.dim[last] = channels;
    node->out->shape = a;
    return DMQ_OK;
}

/* Some columns of rows of ld numbers. */
typedef struct columns {
    size_t rows, cols, from, ld;
} columns;

/* Those of out that belong to an input. */
static columns part_of(const dmq_node *node, int part)
{
    columns h = { .rows = (size_t)dmq_shape_rows(node->out->shape),
                  .cols = (size_t)dmq_shape_cols(node->in[part]->shape),
                  .ld = (size_t)dmq_shape_cols(node->out->shape) };

    for (int i = 0; i < part; i++)
        h.from += (size_t)dmq_shape_cols(node->in[i]->shape);
    return h;
}

static dmq_status concat_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_status st = DMQ_OK;

    for (int i = 0; i < node->n_in; i++) {
        columns h = part_of(node, i);

        DMQ_TRY(copy2d(be, queue, node->out->value + h.from, h.ld, node->in[i]->value, h.cols,
                       h.rows, h.cols, 0));
    }
done:
    return st;
}

static dmq_status concat_backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_status st = DMQ_OK;

    for (int i = 0; i < node->n_in; i++) {
        columns h = part_of(node, i);
        dmq_real *dx;
        int add = dmq_grad_take(&dx, node->in[i]);

        if (dx) {
            DMQ_TRY(
                copy2d(be, queue, dx, h.cols, node->out->grad + h.from, h.ld, h.rows, h.cols, add));
        }
    }
done:
    return st;
}

static dmq_status concat_jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_status st = DMQ_OK;

    for (int i = 0; i < node->n_in; i++) {
        columns h = part_of(node, i);
        dmq_real *dst = node->out->tan + h.from;
        const dmq_real *tan = node->in[i]->tan;

        if (tan) {
            DMQ_TRY(copy2d(be, queue, dst, h.ld, tan, h.cols, h.rows, h.cols, 0));
        } else {
            DMQ_TRY(dmq_node_zero(node, be, queue, dst, h.rows, h.cols, h.ld));
        }
    }
done:
    return st;
}

static const dmq_op concat_op = { .name = "concat",
                                  .infer = concat_infer,
                                  .forward = concat_forward,
                                  .backward = concat_backward,
                                  .jvp = concat_jvp };

dmq_var *dmq_record_concat_all(dmq_tape *tape, dmq_var *const *part, int n)
{
    assert(n >= 1 && n <= DMQ_NODE_INPUTS);
    return dmq_node_record(tape, &concat_op, NULL, n, n, part);
}

dmq_var *dmq_record_concat(dmq_tape *tape, dmq_var *a, dmq_var *b)
{
    return dmq_record_concat_all(tape, (dmq_var *[]){ a, b }, 2);
}

static dmq_status slice_infer(dmq_node *node)
{
    dmq_shape x = node->in[0]->shape;
    int axis = node->attr.slice.axis, from = node->attr.slice.from, count = node->attr.slice.count;

    if (axis < 0 || axis >= x.rank || from < 0 || count < 1 || from > x.dim[axis] - count) {
        return dmq_fail(DMQ_ESHAPE, "slice: %d positions from %d along memory axis %d of %s", count,
                        from, axis, dmq_var_text(node->in[0]));
    }
    x.dim[axis] = count;
    node->out->shape = x;
    return DMQ_OK;
}

/* x as rows of ld numbers, of which cols from `from` are taken */
static columns slice_of(const dmq_node *node)
{
    dmq_shape x = node->in[0]->shape;
    size_t inner = 1;

    for (int d = node->attr.slice.axis + 1; d < x.rank; d++)
        inner *= (size_t)x.dim[d];
    return (columns){ .rows = dmq_shape_count(x) / inner / (size_t)x.dim[node->attr.slice.axis],
                      .cols = (size_t)node->attr.slice.count * inner,
                      .from = (size_t)node->attr.slice.from * inner,
                      .ld = (size_t)x.dim[node->attr.slice.axis] * inner };
}

static dmq_status slice_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    columns h = slice_of(node);

    return copy2d(be, queue, node->out->value, h.cols, node->in[0]->value + h.from, h.ld, h.rows,
                  h.cols, 0);
}

static dmq_status slice_backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    columns h = slice_of(node);
    size_t after = h.from + h.cols;
    dmq_real *dx;
    dmq_status st = DMQ_OK;
    int add = dmq_grad_take(&dx, node->in[0]);

    if (!dx)
        return DMQ_OK;
    if (!add) { /* the first to write, and what was not sliced has to be zero */
        DMQ_TRY(dmq_node_zero(node, be, queue, dx, h.rows, h.from, h.ld));
        DMQ_TRY(dmq_node_zero(node, be, queue, dx + after, h.rows, h.ld - after, h.ld));
    }
    DMQ_TRY(copy2d(be, queue, dx + h.from, h.ld, node->out->grad, h.cols, h.rows, h.cols, add));
done:
    return st;
}

static dmq_status slice_jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    columns h = slice_of(node);

    return copy2d(be, queue, node->out->tan, h.cols, node->in[0]->tan + h.from, h.ld, h.rows,
                  h.cols, 0);
}

static const dmq_op slice_op = { .name = "slice",
                                 .infer = slice_infer,
                                 .forward = slice_forward,
                                 .backward = slice_backward,
                                 .jvp = slice_jvp };

dmq_var *dmq_record_slice(dmq_tape *tape, dmq_var *x, int axis, int from, int count)
{
    dmq_attr attr = { .slice = { axis, from, count } };

    return dmq_node_record(tape, &slice_op, &attr, 1, 1, &x);
}

static dmq_status reshape_infer(dmq_node *node)
{
    dmq_shape s = node->attr.shape;

    for (int d = 0; d < 4; d++) {
        if (s.dim[d] < 1) {
            return dmq_fail(DMQ_ESHAPE, "reshape: %s cannot become %s", dmq_var_text(node->in[0]),
                            dmq_shape_text(s));
        }
    }
    if (dmq_shape_count(s) != dmq_shape_count(node->in[0]->shape)) {
        return dmq_fail(DMQ_ESHAPE, "reshape: %s has %zu numbers, %s has %zu",
                        dmq_var_text(node->in[0]), dmq_shape_count(node->in[0]->shape),
                        dmq_shape_text(s), dmq_shape_count(s));
    }
    node->out->shape = s;
    return DMQ_OK;
}

/* The memory is shared; only a parameter's may have moved since the last pass. */
static dmq_status reshape_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    (void)be;
    (void)queue;
    node->out->value = node->in[0]->value;
    return DMQ_OK;
}

static dmq_status reshape_backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    (void)node;
    (void)be;
    (void)queue;
    return DMQ_OK;
}

static dmq_status reshape_jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    (void)be;
    (void)queue;
    node->out->tan = node->in[0]->tan;
    return DMQ_OK;
}

const dmq_op dmq_op_reshape = { .name = "reshape",
                                .infer = reshape_infer,
                                .forward = reshape_forward,
                                .backward = reshape_backward,
                                .jvp = reshape_jvp };

dmq_var *dmq_record_reshape(dmq_tape *tape, dmq_var *x, dmq_shape shape)
{
    dmq_attr attr = { .shape = shape };

    return dmq_node_record(tape, &dmq_op_reshape, &attr, 1, 1, &x);
}

static dmq_status permute_infer(dmq_node *node)
{
    dmq_shape x = node->in[0]->shape;
    const int *perm = node->attr.perm;
    unsigned seen = 0;

    node->out->shape = x;
    for (int d = 0; d < 4; d++) {
        if (perm[d] < 0 || perm[d] > 3 || (d >= x.rank && perm[d] != d)) {
            seen = 16;
        } else {
            seen |= 1U << perm[d];
        }
    }
    if (seen != 15) {
        return dmq_fail(DMQ_ESHAPE, "permute: %d %d %d %d is no order of the %d axes of %s",
                        perm[0], perm[1], perm[2], perm[3], x.rank, dmq_var_text(node->in[0]));
    }
    for (int d = 0; d < 4; d++)
        node->out->shape.dim[d] = x.dim[perm[d]];
    return DMQ_OK;
}

static dmq_status permute(const dmq_node *node, const dmq_backend *be, dmq_queue *queue,
                          dmq_real *y, const dmq_real *x)
{
    dmq_permute_args a = { .x = x };

    a.y = y;
    for (int d = 0; d < 4; d++) {
        a.dim[d] = node->in[0]->shape.dim[d];
        a.perm[d] = node->attr.perm[d];
    }
    return be->permute(queue, &a);
}

static dmq_status permute_forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    return permute(node, be, queue, node->out->value, node->in[0]->value);
}

static dmq_status permute_backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    dmq_permute_args a = { .x = node->out->grad };

    a.add = dmq_grad_take(&a.y, node->in[0]);
    for (int d = 0; d < 4; d++) {
        a.dim[d] = node->out->shape.dim[d];
        a.perm[node->attr.perm[d]] = d;
    }
    return a.y ? be->permute(queue, &a) : DMQ_OK;
}

static dmq_status permute_jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    return permute(node, be, queue, node->out->tan, node->in[0]->tan);
}

static const dmq_op permute_op = { .name = "permute",
                                   .infer = permute_infer,
                                   .forward = permute_forward,
                                   .backward = permute_backward,
                                   .jvp = permute_jvp };

dmq_var *dmq_record_permute(dmq_tape *tape, dmq_var *x, const int perm[4])
{
    dmq_attr attr = { .perm = { perm[0], perm[1], perm[2], perm[3] } };

    return dmq_node_record(tape, &permute_op, &attr, 1, 1, &x);
}
