#include "tape/node.h"

#include "base/memory.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

dmq_status dmq_tape_create(dmq_tape **out, const dmq_backend *backend, unsigned passes)
{
    dmq_tape *tape = NULL;
    dmq_status st = dmq_alloc((void **)&tape, 1, sizeof *tape);

    *out = tape;
    if (st != DMQ_OK)
        return st;
    tape->backend = backend;
    tape->passes = passes;
    tape->n_zeros = DMQ_ZEROS;
    tape->poison = strcmp(backend->name, "check") == 0;
    return DMQ_OK;
}

void dmq_tape_destroy(dmq_tape *tape)
{
    if (!tape)
        return;
    if (tape->slab)
        tape->backend->free(tape->slab);
    dmq_free(tape->cut);
    dmq_free(tape->order);
    dmq_free(tape->index);
    dmq_free(tape->node);
    dmq_free(tape->cell);
    dmq_arena_release(&tape->arena);
    dmq_free(tape);
}

const dmq_backend *dmq_tape_backend(const dmq_tape *tape)
{
    return tape->backend;
}

dmq_var *dmq_tape_refuse(dmq_tape *tape, dmq_status status)
{
    assert(status != DMQ_OK);
    if (tape->status == DMQ_OK) {
        tape->status = status;
        (void)snprintf(tape->message, sizeof tape->message, "%s", dmq_message());
    }
    return NULL;
}

/* Room for one more pointer in a growing array. */
static dmq_status make_room(void **array, int count, int *room)
{
    int more = *room ? 2 * *room : 32;
    dmq_status st;

    if (count < *room)
        return DMQ_OK;
    st = dmq_grow(array, (size_t)*room, (size_t)more, sizeof(void *));
    if (st == DMQ_OK)
        *room = more;
    return st;
}

static dmq_status add_cell(dmq_cell **out, dmq_tape *tape, const char *name, dmq_shape shape)
{
    dmq_cell *cell = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(make_room((void **)&tape->cell, tape->n_cells, &tape->room_cells));
    DMQ_TRY(dmq_arena_alloc((void **)&cell, &tape->arena, sizeof *cell));
    DMQ_TRY(dmq_arena_strdup(&cell->var.name, &tape->arena, name));
    cell->var.shape = shape;
    cell->var.id = tape->n_cells;
    cell->root = cell;
    tape->cell[tape->n_cells++] = cell;
    *out = cell;
done:
    return st;
}

static dmq_cell *add_leaf(dmq_tape *tape, const char *name, dmq_shape shape)
{
    dmq_cell *cell = NULL;
    dmq_status st = DMQ_OK;

    assert(!tape->planned);
    if (tape->status != DMQ_OK)
        return NULL;
    for (int d = 0; d < 4; d++) {
        if (shape.dim[d] < 1) {
            st = dmq_fail(DMQ_ESHAPE, "tape: %s has the shape %s: every axis must be at least 1",
                          name ? name : "a leaf", dmq_shape_text(shape));
        }
    }
    if (st == DMQ_OK)
        st = add_cell(&cell, tape, name, shape);
    if (st != DMQ_OK)
        (void)dmq_tape_refuse(tape, st);
    return cell;
}

dmq_var *dmq_tape_input(dmq_tape *tape, const char *name, dmq_shape shape)
{
    dmq_cell *cell = add_leaf(tape, name, shape);

    return cell ? &cell->var : NULL;
}

void dmq_tape_want_grad(dmq_tape *tape, dmq_var *input)
{
    assert(!tape->planned);
    (void)tape;
    if (!input)
        return;
    assert(!input->maker && !input->is_param && !dmq_cell_of(input)->is_const);
    input->wants_grad = 1;
}

void dmq_tape_want_tan(dmq_tape *tape, dmq_var *input)
{
    assert(!tape->planned);
    (void)tape;
    if (!input)
        return;
    assert(!input->maker && !input->is_param && !dmq_cell_of(input)->is_const);
    input->wants_tan = 1;
}

dmq_var *dmq_tape_param(dmq_tape *tape, const char *name, dmq_shape shape, dmq_real *value,
                        size_t offset)
{
    dmq_cell *cell = add_leaf(tape, name, shape);

    if (!cell)
        return NULL;
    cell->var.value = value;
    cell->var.offset = offset;
    cell->var.is_param = 1;
    return &cell->var;
}

dmq_var *dmq_tape_constant(dmq_tape *tape, const char *name, dmq_shape shape, const dmq_real *value)
{
    dmq_cell *cell = add_leaf(tape, name, shape);

    if (!cell)
        return NULL;
    cell->var.value = (dmq_real *)value; /* no pass writes into a leaf */
    cell->is_const = 1;
    return &cell->var;
}

dmq_index *dmq_tape_index(dmq_tape *tape, const char *name, int count)
{
    dmq_index *index = NULL;
    dmq_status st = DMQ_OK;

    assert(!tape->planned);
    if (tape->status != DMQ_OK)
        return NULL;
    if (count < 1)
        st = dmq_fail(DMQ_ESHAPE, "tape: index %s has %d entries, must be at least 1", name, count);
    if (st != DMQ_OK)
        goto done;
    DMQ_TRY(make_room((void **)&tape->index, tape->n_indices, &tape->room_indices));
    DMQ_TRY(dmq_arena_alloc((void **)&index, &tape->arena, sizeof *index));
    index->count = count;
    tape->index[tape->n_indices++] = index;
done:
    if (st == DMQ_OK)
        return index;
    (void)dmq_tape_refuse(tape, st);
    return NULL;
}

dmq_status dmq_tape_index_set(dmq_tape *tape, dmq_index *index, dmq_queue *queue, const int *values)
{
    assert(tape->planned);
    return tape->backend->upload(queue, index->value, values,
                                 (size_t)index->count * sizeof *values);
}

void dmq_tape_output(dmq_tape *tape, dmq_var *result)
{
    assert(!tape->planned);
    (void)tape;
    if (result)
        result->is_output = 1;
}

dmq_var *dmq_node_record(dmq_tape *tape, const dmq_op *op, const dmq_attr *attr, int needed,
                         int n_in, dmq_var *const *in)
{
    dmq_cell *cell = NULL;
    dmq_node *node = NULL;
    dmq_status st = DMQ_OK;

    assert(!tape->planned && n_in <= DMQ_NODE_INPUTS);
    if (tape->status != DMQ_OK)
        return NULL;
    for (int i = 0; i < n_in; i++) {
        if (i < needed && !in[i])
            return NULL;
        assert(!in[i] || tape->cell[in[i]->id] == dmq_cell_of(in[i])); /* of this tape */
    }
    DMQ_TRY(make_room((void **)&tape->node, tape->n_nodes, &tape->room_nodes));
    DMQ_TRY(dmq_arena_alloc((void **)&node, &tape->arena, sizeof *node));
    DMQ_TRY(add_cell(&cell, tape, NULL, dmq_shape1(1)));
    node->op = op;
    node->tape = tape;
    node->n_in = n_in;
    for (int i = 0; i < n_in; i++)
        node->in[i] = in[i];
    node->out = &cell->var;
    if (attr)
        node->attr = *attr;
    cell->var.maker = node;
    DMQ_TRY(op->infer(node));
    tape->node[tape->n_nodes++] = node;
done:
    return st == DMQ_OK ? &cell->var : dmq_tape_refuse(tape, st);
}

void dmq_tape_constants(dmq_tape *tape, size_t count)
{
    count = (count + DMQ_ZEROS - 1) / DMQ_ZEROS * DMQ_ZEROS;
    if (tape->n_zeros < count)
        tape->n_zeros = count;
    if (tape->n_ones < count)
        tape->n_ones = count;
}

/* Whether a parameter, or an input that wants a gradient, reaches v. */
static int is_learned(const dmq_var *v)
{
    if (!v->maker)
        return v->is_param || v->wants_grad;
    for (int i = 0; i < v->maker->n_in; i++) {
        if (v->maker->in[i] && is_learned(v->maker->in[i]))
            return 1;
    }
    return 0;
}

dmq_var *dmq_tape_split_sum(dmq_tape *tape, dmq_var *sum, dmq_var **rest)
{
    const dmq_node *node = sum ? sum->maker : NULL;
    int learned[2];

    assert(!tape->planned);
    *rest = NULL;
    if (!node || node->op != &dmq_op_binary || node->attr.binary.kind != DMQ_ADD ||
        sum->is_output || !dmq_shape_equal(node->in[0]->shape, node->in[1]->shape) ||
        node != tape->node[tape->n_nodes - 1] || sum->id != tape->n_cells - 1) {
        return sum;
    }
    for (int i = 0; i < 2; i++)
        learned[i] = is_learned(node->in[i]);
    if (learned[0] == learned[1])
        return sum;
    tape->n_nodes--;
    tape->n_cells--;
    *rest = node->in[learned[0]];
    return node->in[!learned[0]];
}

size_t dmq_tape_bytes(const dmq_tape *tape)
{
    return tape->slab_count * sizeof(dmq_real);
}

void dmq_tape_bind(dmq_tape *tape, dmq_real *grads, const dmq_real *tangents)
{
    assert(tape->planned);
    tape->each.per = 0;
    for (int i = 0; i < tape->n_cells; i++) {
        dmq_cell *cell = tape->cell[i];
        size_t offset = cell->root->var.offset;

        if (!cell->root->var.is_param)
            continue;
        cell->var.grad = grads && (tape->passes & DMQ_TAPE_BACKWARD) ? grads + offset : NULL;
        cell->tan_slot = tangents ? (dmq_real *)tangents + offset : NULL; /* only read */
        cell->var.tan = cell->tan_slot;
    }
}

/* Whether gradients of samples can be had from this node, if it has any of a parameter; and with `sets` from
   parameters of their own. */
static dmq_status check_each(const dmq_node *node, int samples, int sets)
{
    for (int k = 0; k < node->n_in; k++) {
        const dmq_var *in = node->in[k];

        if (!in || !dmq_cell_of(in)->root->var.is_param)
            continue;
        if (!(node->op->each >> k & 1U) || node->out->shape.dim[0] % samples != 0) {
            return dmq_fail(DMQ_ENOTSUP,
                            "tape: %s has no gradients of single samples in %s (%d samples)\n"
                            "  hint: a pass for each sample",
                            node->op->name, dmq_var_text(in), samples);
        }
        if (sets && !(node->op->sets >> k & 1U)) {
            return dmq_fail(DMQ_ENOTSUP,
                            "tape: %s has one %s for all samples of a pass\n"
                            "  hint: a pass for each set of parameters",
                            node->op->name, dmq_var_text(in));
        }
    }
    return DMQ_OK;
}

dmq_status dmq_tape_bind_each(dmq_tape *tape, const dmq_each *each)
{
    dmq_status st = DMQ_OK;

    assert(tape->planned && (tape->passes & DMQ_TAPE_BACKWARD));
    assert(each->per > 0 && each->count % each->per == 0 && each->count <= each->samples);
    assert(!each->values_apart || each->count == each->samples);
    for (int i = tape->n_frozen; i < tape->n_order; i++) {
        if (tape->order[i]->op != &dmq_op_reshape) /* shares the memory of what it reshapes */
            DMQ_TRY(check_each(tape->order[i], each->samples, each->values_apart > 0));
    }
    dmq_tape_bind(tape, each->grads, NULL);
    tape->each = *each;
done:
    return st;
}

void dmq_tape_bind_output(dmq_tape *tape, dmq_var *output, const dmq_output *p)
{
    dmq_cell *cell = dmq_cell_of(output);

    assert(tape->planned && output->is_output && output->maker);
    assert(cell->root == cell && cell->last == output->maker->position); /* its own, and unread */
    output->value = p->value ? p->value : cell->own_value;
    output->grad = p->seed && cell->own_grad ? (dmq_real *)p->seed : cell->own_grad; /* only read */
    cell->tan_slot = p->tan ? p->tan : cell->own_tan;
    cell->unread = p->unread;
}

void dmq_tape_bind_values(dmq_tape *tape, dmq_real *values)
{
    for (int i = 0; i < tape->n_cells; i++) {
        if (tape->cell[i]->root->var.is_param)
            tape->cell[i]->var.value = values + tape->cell[i]->root->var.offset;
    }
}

dmq_var *const *dmq_tape_cut(const dmq_tape *tape, int *count)
{
    assert(tape->planned);
    *count = tape->n_cut;
    return tape->cut;
}

int dmq_tape_feeds_live(const dmq_tape *tape, const dmq_var *leaf)
{
    assert(tape->planned);
    for (int i = tape->n_frozen; i < tape->n_order; i++) {
        for (int k = 0; k < tape->order[i]->n_in; k++) {
            if (tape->order[i]->in[k] &&
                dmq_cell_of(tape->order[i]->in[k])->root == dmq_cell_of(leaf))
                return 1;
        }
    }
    return 0;
}

void dmq_tape_cost(const dmq_tape *tape, double *macs, double *bytes)
{
    *macs = *bytes = 0.0;
    for (int i = 0; i < tape->n_nodes; i++) {
        const dmq_node *node = tape->node[i];
        double numbers = (double)dmq_shape_count(node->out->shape);

        if (node->fused_away || node->op == &dmq_op_reshape)
            continue;
        for (int k = 0; k < node->n_in; k++) {
            if (node->in[k])
                numbers += (double)dmq_shape_count(node->in[k]->shape);
        }
        *bytes += numbers * (double)sizeof(dmq_real);
        if (node->op->macs)
            *macs += node->op->macs(node);
    }
}

/* "7 group_norm+silu 3 1 2 -> (2, 32, 8, 8) live": number of the result, operation, its inputs. */
static int node_text(char *line, size_t size, const dmq_node *node)
{
    int is_norm = node->op == &dmq_op_group_norm;
    char ins[DMQ_NODE_INPUTS * 12 + 1] = "";
    int n = 0;

    for (int i = 0; i < node->n_in; i++) {
        if (node->in[i])
            n += snprintf(ins + n, sizeof ins - (size_t)n, " %d", node->in[i]->id);
    }
    return snprintf(line, size, "%d %s%s%s%s%s%s -> %s%s%s\n", node->out->id, node->op->name,
                    is_norm && node->n_in > NORM_SHIFT && node->in[NORM_SHIFT] ? "+shift" : "",
                    is_norm && node->attr.norm.silu ? "+silu" : "",
                    is_norm && node->attr.norm.quant ? "+quant" : "",
                    node->op == &dmq_op_conv2d && node->attr.conv.relu ? "+relu" : "", ins,
                    dmq_shape_text(node->out->shape), node->live ? " live" : "",
                    node->out->is_output ? " output" : "");
}

dmq_status dmq_tape_text(const dmq_tape *tape, char **out)
{
    char line[256];
    size_t size = 1, used = 0;
    char *text = NULL;
    dmq_status st;

    *out = NULL;
    for (int i = 0; i < tape->n_nodes; i++) {
        if (!tape->node[i]->fused_away)
            size += (size_t)node_text(line, sizeof line, tape->node[i]);
    }
    st = dmq_alloc((void **)&text, size, 1);
    if (st != DMQ_OK)
        return st;
    for (int i = 0; i < tape->n_nodes; i++) {
        if (!tape->node[i]->fused_away)
            used += (size_t)node_text(text + used, size - used, tape->node[i]);
    }
    *out = text;
    return DMQ_OK;
}

const char *dmq_var_text(const dmq_var *v)
{
    static _Thread_local char ring[4][160];
    static _Thread_local int turn;
    char *text = ring[turn];

    turn = (turn + 1) % 4;
    if (v->name) {
        (void)snprintf(text, sizeof ring[0], "%.80s %s", v->name, dmq_shape_text(v->shape));
    } else {
        (void)snprintf(text, sizeof ring[0], "%s %s", v->maker ? v->maker->op->name : "a leaf",
                       dmq_shape_text(v->shape));
    }
    return text;
}
