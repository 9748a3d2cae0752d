/*
 * What is live, the order of execution, and one slab.
 *
 * The slab: constants of ours, then everything that has to outlive a pass side by side, then scratch.
 * A block of scratch is alive from one position in the order of execution to another, and blocks whose
 * lives do not meet may lie on the same memory. The three passes lay out their scratch independently on
 * the same memory, since none of it is read after its pass.
 *
 * Two variables lie on one block on purpose (the later one is a tenant in the home of the earlier one)
 *   value: where an operation may write over its first input, and nobody reads that input any more
 *   grad:  where y = p + q, of p or q with that of y: it begins as a copy of it, and y's is done with
 */
#include "tape/node.h"

#include "base/memory.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>

enum { ALIGN = 16, FOREVER = INT_MAX };

typedef enum region { KEPT, FORWARD, BACKWARD, TANGENT, REGIONS } region;

typedef struct block {
    size_t count, offset;
    int first, last; /* positions, both included */
    int number;      /* for a definite order among equals */
    region region;
    dmq_real **target;
} block;

typedef struct layout {
    block *block;
    int n, room;
    size_t size[REGIONS];
} layout;

/* What depends on what is learned, and what a tangent can reach. */
static dmq_status spread_life(dmq_tape *tape)
{
    for (int i = 0; i < tape->n_cells; i++) {
        dmq_cell *cell = tape->cell[i];
        dmq_node *node = cell->var.maker;

        if (!node) {
            cell->var.live = cell->var.is_param || cell->var.wants_grad;
            cell->moves = cell->var.is_param || cell->var.wants_tan;
            continue;
        }
        for (int k = 0; k < node->n_in && !node->fused_away; k++) {
            const dmq_var *in = node->in[k];

            if (!in || !(in->live || dmq_cell_of(in)->moves))
                continue;
            if (node->op->fixed >> k & 1U) {
                return dmq_fail(DMQ_EINVAL,
                                "%s: input %d, %s, depends on a parameter (or wants a gradient or "
                                "tangent), and the operation has no derivative in it",
                                node->op->name, k, dmq_var_text(in));
            }
            cell->var.live |= in->live;
            cell->moves |= dmq_cell_of(in)->moves;
        }
        node->live = cell->var.live;
        node->moves = cell->moves;
    }
    return DMQ_OK;
}

/* Frozen nodes first: the order is the same whether the parts run together or one by one. */
static dmq_status make_order(dmq_tape *tape)
{
    dmq_status st = dmq_alloc((void **)&tape->order, (size_t)tape->n_nodes, sizeof(dmq_node *));

    if (st != DMQ_OK)
        return st;
    for (int live = 0; live < 2; live++) {
        for (int i = 0; i < tape->n_nodes; i++) {
            dmq_node *node = tape->node[i];

            if (node->fused_away || node->live != live)
                continue;
            node->position = tape->n_order;
            tape->order[tape->n_order++] = node;
        }
        if (!live)
            tape->n_frozen = tape->n_order;
    }
    return DMQ_OK;
}

static void touch(dmq_cell *cell, int position)
{
    dmq_cell *root = cell->root;

    root->first = position < root->first ? position : root->first;
    root->last = position > root->last ? position : root->last;
}

/* Roots, the span of each root's life, and which values a later pass reads. */
static dmq_status measure_lives(dmq_tape *tape)
{
    for (int i = 0; i < tape->n_cells; i++) {
        dmq_cell *cell = tape->cell[i];
        dmq_node *maker = cell->var.maker;

        cell->first = INT_MAX;
        cell->last = -1;
        if (maker && maker->op == &dmq_op_reshape && !maker->fused_away)
            cell->root = dmq_cell_of(maker->in[0])->root;
        if (!cell->var.is_output)
            continue;
        cell->root->keep = 1;
        if (cell->var.live && cell->root->seeded && (tape->passes & DMQ_TAPE_BACKWARD)) {
            return dmq_fail(DMQ_EINVAL,
                            "tape: %s and its reshaped form are both outputs, and their "
                            "gradients would share memory",
                            dmq_var_text(&cell->root->var));
        }
        cell->root->seeded |= cell->var.live;
    }
    for (int i = 0; i < tape->n_order; i++) {
        const dmq_node *node = tape->order[i];
        int later = (node->live && (tape->passes & DMQ_TAPE_BACKWARD)) ||
                    (node->moves && (tape->passes & DMQ_TAPE_JVP));

        touch(dmq_cell_of(node->out), i);
        dmq_cell_of(node->out)->root->keep |= later;
        for (int k = 0; k < node->n_in; k++) {
            if (!node->in[k])
                continue;
            touch(dmq_cell_of(node->in[k]), i);
            dmq_cell_of(node->in[k])->root->keep |= later;
        }
    }
    return DMQ_OK;
}

/* Writing in place: both are scratch, and the input is not read again. */
static void share_values(dmq_tape *tape)
{
    for (int i = 0; i < tape->n_order; i++) {
        const dmq_node *node = tape->order[i];
        dmq_cell *out = dmq_cell_of(node->out), *in = dmq_cell_of(node->in[0])->root;

        if (!node->op->in_place || out->keep || in->keep || !in->var.maker || in->last != i)
            continue;
        if (dmq_shape_count(in->var.shape) != dmq_shape_count(out->var.shape))
            continue;
        out->value_home = in->value_home;
        out->value_home->value_last = out->last;
    }
}

/* Whether the gradient of node->in[k] may be that of the sum, from the sum's backward pass on. */
static int takes_over(const dmq_node *node, int k)
{
    const dmq_cell *v = dmq_cell_of(node->in[k])->root, *other = dmq_cell_of(node->in[1 - k])->root;

    return v->var.live && v->var.maker && !v->seeded && v->last == node->position && v != other &&
           dmq_shape_equal(node->in[k]->shape, node->out->shape);
}

static void share_grads(dmq_tape *tape)
{
    for (int i = tape->n_order - 1; i >= tape->n_frozen; i--) {
        const dmq_node *node = tape->order[i];
        const dmq_cell *sum = dmq_cell_of(node->out);
        int k = 1;

        if (node->op != &dmq_op_binary || node->attr.binary.kind != DMQ_ADD || sum->seeded)
            continue;
        if (!takes_over(node, k))
            k = 0;
        if (takes_over(node, k)) {
            dmq_cell *v = dmq_cell_of(node->in[k])->root;

            v->grad_home = sum->grad_home;
            v->grad_home->grad_first = v->first;
        }
    }
}

/* Frozen results that live nodes read: by their roots, each once. */
static dmq_status find_cut(dmq_tape *tape)
{
    char *in_cut = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&in_cut, (size_t)tape->n_cells, 1));
    DMQ_TRY(dmq_alloc((void **)&tape->cut, (size_t)tape->n_cells, sizeof(dmq_var *)));
    for (int i = tape->n_frozen; i < tape->n_order; i++) {
        for (int k = 0; k < tape->order[i]->n_in; k++) {
            const dmq_var *in = tape->order[i]->in[k];

            if (in && !in->live && dmq_cell_of(in)->root->var.maker)
                in_cut[dmq_cell_of(in)->root->var.id] = 1;
        }
    }
    for (int i = 0; i < tape->n_cells; i++) {
        if (in_cut[i]) {
            tape->cell[i]->keep = 1;
            tape->cut[tape->n_cut++] = &tape->cell[i]->var;
        }
    }
done:
    dmq_free(in_cut);
    return st;
}

static void find_homes(dmq_tape *tape)
{
    for (int i = 0; i < tape->n_cells; i++) {
        dmq_cell *cell = tape->cell[i];

        cell->value_home = cell->grad_home = cell;
        cell->value_last = cell->last;
        cell->grad_first = cell->first;
    }
    share_values(tape);
    if (tape->passes & DMQ_TAPE_BACKWARD)
        share_grads(tape);
}

/* Two leaves for one parameter would overwrite each other's gradient. */
static dmq_status check_params(const dmq_tape *tape)
{
    for (int i = 0; i < tape->n_cells; i++) {
        for (int k = 0; k < i && tape->cell[i]->var.is_param; k++) {
            const dmq_var *a = &tape->cell[k]->var, *b = &tape->cell[i]->var;

            if (a->is_param && a->offset < b->offset + dmq_shape_count(b->shape) &&
                b->offset < a->offset + dmq_shape_count(a->shape)) {
                return dmq_fail(DMQ_EINVAL,
                                "tape: parameters %s at %zu and %s at %zu overlap in the gradient "
                                "block; record a shared parameter once",
                                dmq_var_text(a), a->offset, dmq_var_text(b), b->offset);
            }
        }
    }
    return DMQ_OK;
}

static void add_block(layout *l, region r, dmq_real **target, size_t count, int first, int last)
{
    assert(l->n < l->room);
    l->block[l->n] = (block){ .count = (count + ALIGN - 1) / ALIGN * ALIGN,
                              .first = first,
                              .last = last,
                              .number = l->n,
                              .region = r,
                              .target = target };
    l->n++;
}

/* The blocks of one root. Leaves that are the caller's have no memory here. */
static void add_cell_blocks(layout *l, const dmq_tape *tape, dmq_cell *cell)
{
    size_t count = dmq_shape_count(cell->var.shape);
    dmq_node *maker = cell->var.maker;
    int own = maker != NULL, input = !maker && !cell->var.is_param && !cell->is_const;

    if ((maker && maker->fused_away) || cell->root != cell || !(own || input))
        return;
    if (cell->value_home == cell) {
        add_block(l, cell->keep || input ? KEPT : FORWARD, &cell->var.value, count, cell->first,
                  cell->value_last);
    }
    if (cell->grad_home == cell && cell->var.live && (tape->passes & DMQ_TAPE_BACKWARD)) {
        add_block(l, cell->seeded || input ? KEPT : BACKWARD, &cell->var.grad, count,
                  cell->grad_first, cell->last);
    }
    if (cell->moves && (tape->passes & DMQ_TAPE_JVP)) {
        add_block(l, cell->var.is_output || cell->seeded || input ? KEPT : TANGENT, &cell->tan_slot,
                  count, cell->first, cell->last);
    }
}

static void add_node_block(layout *l, const dmq_tape *tape, dmq_node *node)
{
    int keep = (node->live && (tape->passes & DMQ_TAPE_BACKWARD)) ||
               (node->moves && (tape->passes & DMQ_TAPE_JVP));

    if (node->aux_count > 0) {
        add_block(l, keep ? KEPT : FORWARD, &node->aux, node->aux_count, node->position,
                  node->position);
    }
}

/* What any node needs while it runs, of which only one does at a time. */
static void add_scratch_block(layout *l, dmq_tape *tape)
{
    for (int i = 0; i < tape->n_order; i++) {
        size_t need = tape->order[i]->scratch_count;
        tape->scratch_count = need > tape->scratch_count ? need : tape->scratch_count;
    }
    if (tape->scratch_count > 0)
        add_block(l, KEPT, &tape->scratch, tape->scratch_count, 0, FOREVER);
}

static int by_size(const void *a, const void *b)
{
    const block *x = a, *y = b;

    if (x->region != y->region)
        return x->region < y->region ? -1 : 1;
    if (x->region != KEPT && x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

/*
 * Largest first, each at the lowest place that is free during its life. `placed` holds the blocks of the
 * region placed so far, by offset.
 */
static void place(layout *l, block *b, block **placed, int n_placed)
{
    size_t offset = 0;
    int at = n_placed;

    for (int i = 0; i < n_placed; i++) {
        const block *p = placed[i];

        if (p->last < b->first || b->last < p->first)
            continue;
        if (p->offset >= offset + b->count)
            break;
        if (p->offset + p->count > offset)
            offset = p->offset + p->count;
    }
    b->offset = offset;
    while (at > 0 && placed[at - 1]->offset > offset) {
        placed[at] = placed[at - 1];
        at--;
    }
    placed[at] = b;
    if (offset + b->count > l->size[b->region])
        l->size[b->region] = offset + b->count;
}

static dmq_status place_all(layout *l)
{
    block **placed = NULL;
    int n_placed = 0;
    dmq_status st = dmq_alloc((void **)&placed, (size_t)l->n, sizeof(block *));

    if (st != DMQ_OK)
        return st;
    qsort(l->block, (size_t)l->n, sizeof *l->block, by_size);
    for (int i = 0; i < l->n; i++) {
        block *b = &l->block[i];

        if (b->region == KEPT) {
            b->offset = l->size[KEPT];
            l->size[KEPT] += b->count;
            continue;
        }
        if (i > 0 && l->block[i - 1].region != b->region)
            n_placed = 0;
        place(l, b, placed, n_placed++);
    }
    dmq_free(placed);
    return DMQ_OK;
}

static size_t index_room(const dmq_index *index)
{
    size_t reals = ((size_t)index->count * sizeof(int) + sizeof(dmq_real) - 1) / sizeof(dmq_real);

    return (reals + ALIGN - 1) / ALIGN * ALIGN;
}

/* At the front of the slab: zeros, indices, ones, NaNs. */
static size_t count_constants(const dmq_tape *tape)
{
    size_t n = tape->n_zeros + tape->n_ones + (tape->poison ? DMQ_ZEROS : 0);

    n = (n + ALIGN - 1) / ALIGN * ALIGN;
    for (int i = 0; i < tape->n_indices; i++)
        n += index_room(tape->index[i]);
    return n;
}

static dmq_status fill_constants(dmq_tape *tape, size_t count)
{
    dmq_queue *queue = NULL;
    dmq_real *host = NULL;
    const dmq_backend *be = tape->backend;
    size_t at = tape->n_zeros;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&host, count, sizeof *host));
    tape->zeros = tape->slab;
    for (int i = 0; i < tape->n_indices; i++) {
        tape->index[i]->value = (int *)(tape->slab + at);
        at += index_room(tape->index[i]);
    }
    tape->ones = tape->slab + at;
    for (size_t i = 0; i < tape->n_ones; i++)
        host[at++] = 1;
    tape->nans = tape->slab + at;
    for (size_t i = 0; i < DMQ_ZEROS && tape->poison; i++)
        host[at++] = (dmq_real)NAN;
    DMQ_TRY(be->queue_create(&queue, 0));
    DMQ_TRY(be->upload(queue, tape->slab, host, count * sizeof *host));
    DMQ_TRY(be->sync(queue));
done:
    be->queue_destroy(queue);
    dmq_free(host);
    return st;
}

static void set_pointers(dmq_tape *tape, const layout *l, size_t kept_from, size_t scratch_from)
{
    for (int i = 0; i < l->n; i++) {
        *l->block[i].target = tape->slab + (l->block[i].region == KEPT ? kept_from : scratch_from) +
                              l->block[i].offset;
    }
    for (int i = 0; i < tape->n_cells; i++) {
        dmq_cell *cell = tape->cell[i];

        if (cell->value_home != cell)
            cell->var.value = cell->value_home->var.value;
        if (cell->grad_home != cell && (tape->passes & DMQ_TAPE_BACKWARD))
            cell->var.grad = cell->grad_home->var.grad;
    }
    for (int i = 0; i < tape->n_cells; i++) {
        dmq_cell *cell = tape->cell[i];

        if (cell->root != cell) {
            cell->var.value = cell->root->var.value;
            cell->var.grad = cell->var.live ? cell->root->var.grad : NULL;
            cell->tan_slot = cell->root->tan_slot;
        }
        if (cell->var.wants_tan)
            cell->var.tan = cell->tan_slot;
        cell->own_value = cell->var.value;
        cell->own_grad = cell->var.grad;
        cell->own_tan = cell->tan_slot;
    }
}

static dmq_status lay_out(dmq_tape *tape)
{
    layout l = { .room = 3 * tape->n_cells + tape->n_nodes + 1 };
    size_t constants = count_constants(tape);
    size_t scratch = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&l.block, (size_t)l.room, sizeof(block)));
    for (int i = 0; i < tape->n_cells; i++) {
        add_cell_blocks(&l, tape, tape->cell[i]);
        if (tape->cell[i]->var.maker && !tape->cell[i]->var.maker->fused_away)
            add_node_block(&l, tape, tape->cell[i]->var.maker);
    }
    add_scratch_block(&l, tape);
    DMQ_TRY(place_all(&l));
    for (region r = FORWARD; r < REGIONS; r++)
        scratch = l.size[r] > scratch ? l.size[r] : scratch;
    tape->slab_count = constants + l.size[KEPT] + scratch;
    DMQ_TRY(tape->backend->alloc((void **)&tape->slab, tape->slab_count * sizeof(dmq_real)));
    DMQ_TRY(fill_constants(tape, constants));
    set_pointers(tape, &l, constants, constants + l.size[KEPT]);
done:
    dmq_free(l.block);
    return st;
}

dmq_status dmq_tape_plan(dmq_tape *tape)
{
    dmq_status st = tape->status;

    assert(!tape->planned);
    if (st != DMQ_OK) {
        dmq_message_set(tape->message);
        return st;
    }
    if (!(tape->passes & DMQ_TAPE_NO_FUSION))
        dmq_tape_fuse(tape);
    DMQ_TRY(check_params(tape));
    DMQ_TRY(spread_life(tape));
    DMQ_TRY(make_order(tape));
    DMQ_TRY(measure_lives(tape));
    DMQ_TRY(find_cut(tape));
    find_homes(tape);
    DMQ_TRY(lay_out(tape));
    tape->planned = 1;
done:
    if (st != DMQ_OK)
        (void)dmq_tape_refuse(tape, st);
    return st;
}
