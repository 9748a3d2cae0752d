/* The loops over the nodes, and what their backward passes share. */
#include "tape/node.h"

#include <assert.h>
#include <stdatomic.h>

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

/* Rows of cols numbers from the DMQ_ZEROS equal ones at `same`. */
static dmq_status fill(const dmq_backend *be, dmq_queue *queue, const dmq_real *same, dmq_real *dst,
                       size_t rows, size_t cols, size_t ld)
{
    dmq_status st = DMQ_OK;

    for (size_t from = 0; from < cols && st == DMQ_OK; from += DMQ_ZEROS) {
        size_t n = cols - from < DMQ_ZEROS ? cols - from : DMQ_ZEROS;

        st = be->copy2d(queue, &(dmq_copy2d_args){ .src = same,
                                                   .dst = dst + from,
                                                   .rows = rows,
                                                   .cols = n,
                                                   .src_ld = 0,
                                                   .dst_ld = ld });
    }
    return st;
}

dmq_status dmq_node_zero(const dmq_node *node, const dmq_backend *be, dmq_queue *queue,
                         dmq_real *dst, size_t rows, size_t cols, size_t ld)
{
    return fill(be, queue, node->tape->zeros, dst, rows, cols, ld);
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

static dmq_status poison(const dmq_tape *tape, dmq_queue *queue, dmq_real *memory, size_t count)
{
    return memory ? fill(tape->backend, queue, tape->nans, memory, 1, count, count) : DMQ_OK;
}

static int owns_memory(const dmq_var *v)
{
    return dmq_cell_of(v)->root == dmq_cell_of(v);
}

/* What nodes from..to-1 of the order write is NaN before. */
static dmq_status poison_results(const dmq_tape *tape, dmq_queue *queue, int from, int to)
{
    dmq_status st = DMQ_OK;

    for (int i = from; i < to && tape->poison; i++) {
        const dmq_node *node = tape->order[i];

        if (owns_memory(node->out)) {
            DMQ_TRY(poison(tape, queue, node->out->value, dmq_shape_count(node->out->shape)));
        }
        DMQ_TRY(poison(tape, queue, node->aux, node->aux_count));
    }
    if (tape->poison)
        DMQ_TRY(poison(tape, queue, tape->scratch, tape->scratch_count));
done:
    return st;
}

/* A loss that nobody wants: its derivatives are made of its inputs. */
static int is_left_out(const dmq_node *node)
{
    return node->op->both && dmq_cell_of(node->out)->unread;
}

uint64_t dmq_tape_number(void)
{
    static atomic_uint_fast64_t last;

    return (uint64_t)atomic_fetch_add(&last, 1) + 1;
}

dmq_status dmq_tape_forward(dmq_tape *tape, dmq_queue *queue, dmq_part part)
{
    int from = part == DMQ_PART_LIVE ? tape->n_frozen : 0;
    int to = part == DMQ_PART_FROZEN ? tape->n_frozen : tape->n_order;
    dmq_status st = DMQ_OK;

    assert(tape->planned);
    tape->pass = dmq_tape_number();
    DMQ_TRY(poison_results(tape, queue, from, to));
    for (int i = from; i < to; i++) {
        if (!is_left_out(tape->order[i]))
            DMQ_TRY(tape->order[i]->op->forward(tape->order[i], tape->backend, queue));
    }
done:
    return st;
}

/* Gradients of a leaf or result: one, or of a parameter one of each run of samples. */
static int blocks_of(const dmq_tape *tape, const dmq_var *v)
{
    return v->is_param && tape->each.per ? tape->each.count / tape->each.per : 1;
}

/* Seeds are the caller's; all else is unwritten. */
static dmq_status begin_backward(dmq_tape *tape, dmq_queue *queue)
{
    dmq_status st = DMQ_OK;

    for (int i = 0; i < tape->n_cells; i++) {
        dmq_cell *cell = tape->cell[i];

        cell->var.grad_written = cell->seeded;
        if (!tape->poison || cell->seeded || cell->root != cell || !cell->var.grad)
            continue;
        for (int g = 0; g < blocks_of(tape, &cell->var); g++) {
            DMQ_TRY(poison(tape, queue, cell->var.grad + (size_t)g * tape->each.apart,
                           dmq_shape_count(cell->var.shape)));
        }
    }
done:
    return st;
}

/* Backward through the live nodes below `to` of the order, and zeros where no gradient has come. */
static dmq_status go_back(dmq_tape *tape, dmq_queue *queue, int to)
{
    dmq_status st = DMQ_OK;

    for (int i = to - 1; i >= tape->n_frozen && st == DMQ_OK; i--) {
        const dmq_node *node = tape->order[i];

        if (node->out->grad && dmq_cell_of(node->out)->root->var.grad_written)
            st = node->op->backward(node, tape->backend, queue);
    }
    for (int i = 0; i < tape->n_cells && st == DMQ_OK; i++) {
        const dmq_var *v = &tape->cell[i]->var;

        if (!v->maker && v->grad && !v->grad_written) {
            size_t count = dmq_shape_count(v->shape);
            const dmq_node here = { .tape = tape };

            st = dmq_node_zero(&here, tape->backend, queue, v->grad, (size_t)blocks_of(tape, v),
                               count, v->is_param && tape->each.per ? tape->each.apart : count);
        }
    }
    return st;
}

dmq_status dmq_tape_backward(dmq_tape *tape, dmq_queue *queue)
{
    dmq_status st = DMQ_OK;

    assert(tape->planned && (tape->passes & DMQ_TAPE_BACKWARD));
    DMQ_TRY(begin_backward(tape, queue));
    DMQ_TRY(go_back(tape, queue, tape->n_order));
done:
    return st;
}

dmq_status dmq_tape_learn(dmq_tape *tape, dmq_queue *queue)
{
    const dmq_node *last = tape->n_order > tape->n_frozen ? tape->order[tape->n_order - 1] : NULL;
    int joined = last && last->op->both && last->out->grad && dmq_cell_of(last->out)->seeded;
    int to = tape->n_order - joined;
    dmq_status st = DMQ_OK;

    assert(tape->planned && (tape->passes & DMQ_TAPE_BACKWARD));
    tape->pass = dmq_tape_number();
    DMQ_TRY(poison_results(tape, queue, tape->n_frozen, tape->n_order));
    for (int i = tape->n_frozen; i < to; i++)
        DMQ_TRY(tape->order[i]->op->forward(tape->order[i], tape->backend, queue));
    DMQ_TRY(begin_backward(tape, queue)); /* what the last node reads outlives the forward pass */
    if (joined)
        DMQ_TRY(last->op->both(last, tape->backend, queue));
    DMQ_TRY(go_back(tape, queue, to));
done:
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
            st = poison(tape, queue, node->out->tan, dmq_shape_count(node->out->shape));
        if (st == DMQ_OK)
            st = node->op->jvp(node, tape->backend, queue);
    }
    return st;
}
