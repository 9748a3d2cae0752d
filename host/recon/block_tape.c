/* The tapes of a block: one of each kind and batch for every lane, recorded alike. */
#include "recon/block_inner.h"

#include "base/memory.h"

#include <assert.h>

/* Record unit, targets and loss on one tape. */
static dmq_status make_tape(const dmq_block *b, dmq_block_tape *t, unsigned passes, int batch)
{
    const dmq_model *model = b->q->model;
    dmq_block_inner *in = b->inner;
    dmq_attach attach;
    dmq_status st = DMQ_OK;

    dmq_attach_init(&attach, b->q);
    attach.acts = b->acts;
    attach.w_soft = in->w_soft;
    attach.place = b->place;
    DMQ_TRY(dmq_unit_tape_record(&t->u, model, b->unit, dmq_lanes_backend(b->lanes), passes, batch,
                                 &attach));
    DMQ_TRY(dmq_alloc((void **)&t->target, (size_t)in->n_targets, sizeof(dmq_var *)));
    DMQ_TRY(dmq_alloc((void **)&t->term, (size_t)in->n_targets, sizeof(dmq_var *)));
    for (int k = 0; k < in->n_targets; k++) {
        int value = in->target_value[k];
        dmq_var *f = b->temporal ? t->u.embs[value] : t->u.out, *loss;
        dmq_shape s = model->value[value].shape;

        if (!b->temporal)
            f = dmq_tape_split_sum(t->u.tape, f, &t->rest);
        s.dim[0] = batch;
        t->target[k] = dmq_tape_input(t->u.tape, "target", s);
        loss = t->term[k] = dmq_record_loss(t->u.tape, f, t->target[k], 2);
        t->loss = k == 0 ? loss : dmq_record_binary(t->u.tape, DMQ_ADD, t->loss, loss);
    }
    dmq_tape_output(t->u.tape, t->loss);
    if (t->rest && t->rest->maker) /* it must outlive the frozen part, and no live node reads it */
        dmq_tape_output(t->u.tape, t->rest);
    DMQ_TRY(dmq_tape_plan(t->u.tape));
    if (passes & DMQ_TAPE_JVP)
        dmq_tape_bind(t->u.tape, NULL, in->w_tan);
done:
    return st;
}

dmq_var *dmq_block_leaf(const dmq_block_tape *t, int leaf)
{
    return leaf == 2 ? t->u.emb : t->u.in[leaf];
}

/* Where each source goes on this tape. Sources are found on the first tape; all are recorded alike. */
static dmq_status bind_sources(const dmq_block *b, dmq_block_tape *t)
{
    const dmq_block_inner *in = b->inner;
    int n_cut, n_targets = 0;
    dmq_var *const *cut = dmq_tape_cut(t->u.tape, &n_cut);
    dmq_status st = dmq_alloc((void **)&t->to, (size_t)in->n_sources, sizeof(dmq_var *));

    assert(n_cut == in->n_cut);
    for (int k = 0; k < in->n_sources && st == DMQ_OK; k++) {
        int leaf = in->source[k].leaf;

        t->to[k] = leaf < 0 ? cut[k] : leaf == 3 ? t->target[n_targets++] : dmq_block_leaf(t, leaf);
        assert(dmq_shape_count(t->to[k]->shape) == (size_t)t->u.batch * in->source[k].rows.per);
    }
    return st;
}

dmq_status dmq_block_tapes_bind(const dmq_block *b, const dmq_block_tapes *tapes)
{
    dmq_status st = DMQ_OK;

    for (int i = 0; i < dmq_lanes_count(b->lanes); i++)
        DMQ_TRY(bind_sources(b, &tapes->lane[i]));
done:
    return st;
}

dmq_status dmq_block_tapes_get(dmq_block_tapes **out, dmq_block *b, unsigned passes, int size)
{
    dmq_block_tapes *t = b->inner->tapes;
    dmq_status st = DMQ_OK;

    while (t && (t->passes != passes || t->size != size))
        t = t->next;
    *out = t;
    if (t)
        return DMQ_OK;
    if (passes & DMQ_TAPE_JVP)
        DMQ_TRY(dmq_block_need_tan(b));
    DMQ_TRY(dmq_alloc((void **)&t, 1, sizeof *t));
    *t = (dmq_block_tapes){ .passes = passes, .size = size, .next = b->inner->tapes };
    b->inner->tapes = t;
    DMQ_TRY(dmq_alloc((void **)&t->lane, (size_t)dmq_lanes_count(b->lanes), sizeof *t->lane));
    for (int i = 0; i < dmq_lanes_count(b->lanes); i++)
        DMQ_TRY(make_tape(b, &t->lane[i], passes, size));
    if (b->inner->source)
        DMQ_TRY(dmq_block_tapes_bind(b, t));
    *out = t;
done:
    if (st != DMQ_OK && t)
        t->size = 0; /* half made: nobody finds it */
    return st;
}

void dmq_block_tapes_destroy(dmq_block *b)
{
    dmq_block_tapes *next;

    for (dmq_block_tapes *t = b->inner->tapes; t; t = next) {
        next = t->next;
        for (int i = 0; t->lane && i < dmq_lanes_count(b->lanes); i++) {
            dmq_unit_tape_release(&t->lane[i].u);
            dmq_free(t->lane[i].target);
            dmq_free(t->lane[i].term);
            dmq_free(t->lane[i].to);
        }
        dmq_free(t->lane);
        dmq_free(t);
    }
    b->inner->tapes = NULL;
}
