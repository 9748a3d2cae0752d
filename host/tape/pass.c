/* The loops over the nodes, and what their backward passes share. */
#include "tape/node.h"

#include <assert.h>

int dmq_grad_take(dmq_real **out, dmq_var *v)
{
    dmq_cell *root;
    int add;

    *out = v ? v->grad : NULL;
    if (!*out)
        return 0;
    root = dmq_cell_of(v)->root;
    add = root->var.grad_written;
    root->var.grad_written = 1;
    return add;
}

dmq_status dmq_node_zero(const dmq_node *node, const dmq_backend *be, dmq_queue *queue,
                         dmq_real *dst, size_t rows, size_t cols, size_t ld)
{
    dmq_status st = DMQ_OK;

    for (size_t from = 0; from < cols && st == DMQ_OK; from += DMQ_ZEROS) {
        size_t n = cols - from < DMQ_ZEROS ? cols - from : DMQ_ZEROS;

        st = be->copy2d(queue, &(dmq_copy2d_args){ .src = node->tape->zeros,
                                                   .dst = dst + from,
                                                   .rows = rows,
                                                   .cols = n,
                                                   .src_ld = 0,
                                                   .dst_ld = ld });
    }
    return st;
}

dmq_status dmq_node_spread(const dmq_node *node, const dmq_backend *be, dmq_queue *queue,
                           dmq_real *dst, const dmq_real *v, int rows, int cols)
{
    return be->binary_forward(queue, &(dmq_binary_args){ .kind = DMQ_ADD,
                                                         .p = node->tape->zeros,
                                                         .q = v,
                                                         .y = dst,
                                                         .dim = { 1, rows, cols },
                                                         .stride_q = { 0, 0, 1 } });
}

dmq_status dmq_node_copy(const dmq_backend *be, dmq_queue *queue, dmq_real *dst,
                         const dmq_real *src, size_t count, int add)
{
    return be->copy2d(queue, &(dmq_copy2d_args){ .src = src,
                                                 .dst = dst,
                                                 .rows = 1,
                                                 .cols = count,
                                                 .src_ld = count,
                                                 .dst_ld = count,
                                                 .add = add });
}

/* Memory of the check backend is host memory. */
static void poison(dmq_real *memory, size_t count)
{
    for (size_t i = 0; memory && i < count; i++)
        memory[i] = (dmq_real)NAN;
}

static int owns_memory(const dmq_var *v)
{
    return dmq_cell_of(v)->root == dmq_cell_of(v);
}

dmq_status dmq_tape_forward(dmq_tape *tape, dmq_queue *queue, dmq_part part)
{
    int from = part == DMQ_PART_LIVE ? tape->n_frozen : 0;
    int to = part == DMQ_PART_FROZEN ? tape->n_frozen : tape->n_order;
    dmq_status st = DMQ_OK;

    assert(tape->planned);
    for (int i = from; i < to && tape->poison; i++) {
        if (owns_memory(tape->order[i]->out))
            poison(tape->order[i]->out->value, dmq_shape_count(tape->order[i]->out->shape));
        poison(tape->order[i]->aux, tape->order[i]->aux_count);
    }
    for (int i = from; i < to && st == DMQ_OK; i++)
        st = tape->order[i]->op->forward(tape->order[i], tape->backend, queue);
    return st;
}

/* Seeds are the caller's; all else is unwritten. */
static void begin_backward(dmq_tape *tape)
{
    for (int i = 0; i < tape->n_cells; i++) {
        dmq_cell *cell = tape->cell[i];

        cell->var.grad_written = cell->seeded;
        if (tape->poison && !cell->seeded && cell->root == cell)
            poison(cell->var.grad, dmq_shape_count(cell->var.shape));
    }
}

dmq_status dmq_tape_backward(dmq_tape *tape, dmq_queue *queue)
{
    dmq_status st = DMQ_OK;

    assert(tape->planned && (tape->passes & DMQ_TAPE_BACKWARD));
    begin_backward(tape);
    for (int i = tape->n_order - 1; i >= tape->n_frozen && st == DMQ_OK; i--) {
        const dmq_node *node = tape->order[i];

        if (node->out->grad && dmq_cell_of(node->out)->root->var.grad_written)
            st = node->op->backward(node, tape->backend, queue);
    }
    for (int i = 0; i < tape->n_cells && st == DMQ_OK; i++) {
        const dmq_var *v = &tape->cell[i]->var;

        if (!v->maker && v->grad && !v->grad_written) {
            size_t count = dmq_shape_count(v->shape);
            const dmq_node here = { .tape = tape };

            st = dmq_node_zero(&here, tape->backend, queue, v->grad, 1, count, count);
        }
    }
    return st;
}

dmq_status dmq_tape_jvp(dmq_tape *tape, dmq_queue *queue)
{
    dmq_status st = DMQ_OK;

    assert(tape->planned && (tape->passes & DMQ_TAPE_JVP));
    for (int i = 0; i < tape->n_order && st == DMQ_OK; i++) {
        const dmq_node *node = tape->order[i];
        int any = 0;

        for (int k = 0; k < node->n_in; k++)
            any = any || (node->in[k] && node->in[k]->tan);
        node->out->tan = any ? dmq_cell_of(node->out)->tan_slot : NULL;
        if (!any)
            continue;
        if (tape->poison && owns_memory(node->out))
            poison(node->out->tan, dmq_shape_count(node->out->shape));
        st = node->op->jvp(node, tape->backend, queue);
    }
    return st;
}
