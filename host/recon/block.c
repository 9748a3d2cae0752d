#include "recon/block.h"

#include "base/memory.h"
#include "recon/block_inner.h"

#include <assert.h>
#include <string.h>

int dmq_block_learnable(const dmq_qmodel *q, int unit)
{
    const dmq_unit *u = &q->model->unit[unit];
    int n = 0;

    for (int i = 0; i < u->n_layers; i++)
        n += dmq_qmodel_learns(q, u->layer[i]);
    return n;
}

static dmq_status list_layers(dmq_block *b)
{
    const dmq_model *model = b->q->model;
    const dmq_unit *u = &model->unit[b->unit];
    dmq_status st = DMQ_OK;

    if (dmq_block_learnable(b->q, b->unit) == 0) {
        return dmq_fail(DMQ_EINVAL, "block %s: none of its %d layers is quantized", u->name,
                        u->n_layers);
    }
    DMQ_TRY(dmq_alloc((void **)&b->layer, (size_t)u->n_layers, sizeof *b->layer));
    DMQ_TRY(dmq_alloc((void **)&b->place, (size_t)model->n_layers, sizeof *b->place));
    for (int i = 0; i < model->n_layers; i++)
        b->place[i] = DMQ_NOT_LEARNED;
    for (int i = 0; i < u->n_layers; i++) {
        int l = u->layer[i];

        if (!dmq_qmodel_learns(b->q, l))
            continue;
        b->layer[b->n_layers++] = l;
        b->place[l] = b->problem.n_theta;
        b->problem.n_theta += dmq_shape_count(model->entry[model->layer[l].weight].shape);
    }
done:
    return st;
}

static dmq_status list_targets(dmq_block *b)
{
    const dmq_model *model = b->q->model;
    dmq_block_inner *in = b->inner;
    dmq_status st = dmq_alloc((void **)&in->target_value, (size_t)model->n_values, sizeof(int));

    if (st != DMQ_OK)
        return st;
    if (!b->temporal) {
        in->target_value[in->n_targets++] = model->unit[b->unit].out;
        return DMQ_OK;
    }
    for (int v = 0; v < model->n_values; v++) {
        if (model->value[v].emb_of & DMQ_OF_T)
            in->target_value[in->n_targets++] = v;
    }
    return DMQ_OK;
}

static void add_source(dmq_block_inner *in, int leaf, size_t per)
{
    in->source[in->n_sources++] = (dmq_block_source){ .rows = { .per = per }, .leaf = leaf };
}

/* What has to be gathered: the cut, inputs that live nodes read themselves, targets. */
static dmq_status list_sources(dmq_block *b, const dmq_block_tapes *tapes)
{
    dmq_block_inner *in = b->inner;
    const dmq_block_tape *t = &tapes->lane[0];
    size_t size = (size_t)tapes->size;
    dmq_var *const *cut = dmq_tape_cut(t->u.tape, &in->n_cut);
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&in->source, (size_t)(in->n_cut + 3 + in->n_targets),
                      sizeof *in->source));
    for (int k = 0; k < in->n_cut; k++)
        add_source(in, -1, dmq_shape_count(cut[k]->shape) / size);
    for (int leaf = 0; leaf < 3; leaf++) {
        const dmq_var *v = dmq_block_leaf(t, leaf);

        if (v && dmq_tape_feeds_live(t->u.tape, v))
            add_source(in, leaf, dmq_shape_count(v->shape) / size);
    }
    for (int k = 0; k < in->n_targets; k++)
        add_source(in, 3, dmq_value_per(b->q->model, in->target_value[k]));
    DMQ_TRY(dmq_block_tapes_bind(b, tapes));
done:
    return st;
}

/* Rows of the cache that every iteration reads, and that lie further away than a copy would. */
static int is_better_copied(const dmq_block *b, const dmq_rows *rows)
{
    return !rows->data && rows->store &&
           dmq_tiers_faster(dmq_cache_tiers(b->cache), rows->store->tier,
                            dmq_store_bytes(rows->store));
}

/* Memory of the sources, or where else their rows are. */
static dmq_status place_sources(dmq_block *b, const dmq_block_tapes *tapes)
{
    dmq_block_inner *in = b->inner;
    int n_targets = 0;
    dmq_status st = DMQ_OK;

    for (int k = 0; k < in->n_sources; k++) {
        dmq_block_source *s = &in->source[k];
        size_t per = s->rows.per;

        if (s->leaf == 3 && b->temporal) {
            DMQ_TRY(dmq_cache_embedding(b->cache, DMQ_PATH_FP, in->target_value[n_targets++],
                                        &s->rows));
            s->rows.slot = NULL; /* samples are slots here */
        } else if (s->leaf == 3 && tapes->lane[0].rest) {
            s->less_rest = 1;
        } else if (s->leaf == 3) {
            s->rows = dmq_cache_target(b->cache);
        } else if (s->leaf == 2) {
            DMQ_TRY(dmq_cache_embedding(b->cache, DMQ_PATH_QUANT, b->q->model->unit[b->unit].emb,
                                        &s->rows));
        } else if (s->leaf >= 0 && !b->temporal) {
            s->rows = dmq_cache_resident(b->cache, s->leaf);
        }
        assert((!s->rows.data && !s->rows.store) || s->rows.per == per);
        if (is_better_copied(b, &s->rows))
            s->rows = (dmq_rows){ 0 };
        if (!s->rows.data && !s->rows.store) {
            DMQ_TRY(dmq_store_create(&s->owned, dmq_cache_tiers(b->cache), per,
                                     b->problem.n_samples, DMQ_HOT));
            s->rows = dmq_rows_of(s->owned, 0);
        }
    }
done:
    return st;
}

/* Copy what a shard of a frozen pass left into the sources that the block owns; targets, less the rest if
   there is one, by way of the variable that their rows will go to. */
static dmq_status keep_shard(const dmq_block *b, const dmq_block_tape *t, int first, int count,
                             const dmq_rows *target, dmq_queue *queue)
{
    const dmq_backend *be = b->inner->space.be;
    dmq_status st = DMQ_OK;

    for (int k = 0; k < b->inner->n_sources; k++) {
        const dmq_block_source *s = &b->inner->source[k];
        dmq_real *value = t->to[k]->value;

        if (!s->owned)
            continue;
        if (s->leaf == 3)
            DMQ_TRY(dmq_rows_run(be, queue, value, t->u.batch, target, first, count));
        if (s->less_rest) {
            DMQ_TRY(be->axpby(queue, &(dmq_axpby_args){ .x = t->rest->value,
                                                        .y = value,
                                                        .alpha = -1,
                                                        .beta = 1,
                                                        .count = (size_t)count * s->rows.per }));
        }
        DMQ_TRY(dmq_store_write(s->owned, queue, first, count, value));
    }
done:
    return st;
}

/* What the frozen pass of one shard reads. */
typedef struct freezing {
    dmq_block *b;
    dmq_block_tapes *tapes;
    dmq_rows t; /* of the temporal unit: t of each slot, and its label */
    const int *label;
} freezing;

static dmq_status freeze_shard(void *context, int first, int count, const dmq_rows rows[DMQ_VISITS],
                               int lane, dmq_queue *queue)
{
    const freezing *f = context;
    const dmq_block *b = f->b;
    const dmq_backend *be = b->inner->space.be;
    dmq_block_tape *t = &f->tapes->lane[lane];
    dmq_status st = DMQ_OK;

    for (int leaf = 0; leaf < 3 && !b->temporal; leaf++) {
        const dmq_var *to = dmq_block_leaf(t, leaf);

        if (to)
            DMQ_TRY(dmq_rows_run(be, queue, to->value, t->u.batch, &rows[leaf], first, count));
    }
    if (b->temporal)
        DMQ_TRY(dmq_rows_run(be, queue, t->u.in[0]->value, t->u.batch, &f->t, first, count));
    dmq_unit_tape_steps(&t->u, b->inner->frozen.step + first);
    if (f->label)
        dmq_unit_tape_labels(&t->u, f->label + first);
    DMQ_TRY(dmq_tape_forward(t->u.tape, queue, DMQ_PART_FROZEN));
    DMQ_TRY(keep_shard(b, t, first, count, rows ? &rows[DMQ_VISIT_TARGET] : NULL, queue));
done:
    return st;
}

/* The frozen part of the temporal unit, whose samples are slots. */
static dmq_status freeze_temporal(freezing *f)
{
    const dmq_block *b = f->b;
    dmq_space *space = &b->inner->space;
    int n = b->problem.n_samples, size = f->tapes->size;
    dmq_slot_rows rows = { 0 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_slot_rows_init(&rows, space, b->calib, b->inner->slots, size));
    f->t = (dmq_rows){ .data = rows.t, .per = 1, .count = n };
    f->label = rows.label;
    for (int from = 0; from < n; from += size)
        DMQ_TRY(freeze_shard(f, from, n - from < size ? n - from : size, NULL, 0, space->queue));
    DMQ_TRY(space->be->sync(space->queue));
done:
    dmq_slot_rows_release(&rows, space);
    return st;
}

/* Run the part that does not depend on theta once for every sample. */
static dmq_status freeze(dmq_block *b, dmq_block_tapes *tapes)
{
    freezing f = { .b = b, .tapes = tapes };
    int *sample = NULL, n = b->problem.n_samples, needed = 0, targets = 0;
    dmq_status st = DMQ_OK;

    for (int k = 0; k < b->inner->n_sources; k++) {
        needed += b->inner->source[k].owned != NULL;
        targets |= b->inner->source[k].owned && b->inner->source[k].leaf == 3;
    }
    if (needed == 0)
        return DMQ_OK;
    DMQ_TRY(dmq_alloc((void **)&sample, (size_t)n, sizeof *sample));
    for (int i = 0; i < n; i++)
        sample[i] = i;
    DMQ_TRY(dmq_block_rows_set(b, &b->inner->frozen, sample, NULL, n, tapes->size));
    DMQ_TRY(b->temporal ? freeze_temporal(&f)
                        : dmq_cache_visit(b->cache, freeze_shard, &f, targets));
done:
    dmq_free(sample);
    return st;
}

/* What the numbers of slots in this block refer to. */
static const dmq_slots *slots_of(const dmq_block *b)
{
    const dmq_model *model = b->q->model;
    int emb = model->unit[b->unit].emb;

    if (b->temporal)
        return dmq_cache_slots(b->cache, dmq_model_temporal_of(model));
    return emb < 0 ? NULL : dmq_cache_slots(b->cache, model->value[emb].emb_of);
}

dmq_status dmq_block_create(dmq_block **out, dmq_qmodel *q, const dmq_calib *calib,
                            dmq_cache *cache, dmq_lanes *lanes, int unit, int acts)
{
    dmq_block *b = NULL;
    dmq_block_tapes *tapes;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&b, 1, sizeof *b));
    b->q = q;
    b->calib = calib;
    b->cache = cache;
    b->lanes = lanes;
    b->unit = unit;
    b->acts = acts;
    b->temporal = q->model->unit[unit].kind == DMQ_UNIT_TEMPORAL;
    DMQ_TRY(dmq_alloc((void **)&b->inner, 1, sizeof *b->inner));
    dmq_space_init(&b->inner->space, lanes);
    b->inner->slots = slots_of(b);
    b->problem = (dmq_problem){ .context = b,
                                .n_samples = b->temporal ? b->inner->slots->n : calib->n,
                                .space = &b->inner->space,
                                .grad = dmq_block_grad,
                                .grad_each = dmq_block_grad_each,
                                .jvp = dmq_block_jvp,
                                .loss = dmq_block_loss,
                                .index_rows = DMQ_BLOCK_INDICES,
                                .recordable = dmq_block_recordable,
                                .places = dmq_block_places,
                                .index = dmq_block_index,
                                .grad_of = dmq_block_grad_of,
                                .grad_runs_of = dmq_block_grad_runs_of,
                                .points = dmq_block_points,
                                .grad_points_of = dmq_block_grad_points_of,
                                .grad_each_of = dmq_block_grad_each_of,
                                .jvp_of = dmq_block_jvp_of };
    DMQ_TRY(list_layers(b));
    DMQ_TRY(list_targets(b));
    DMQ_TRY(dmq_block_round_create(b));
    DMQ_TRY(dmq_block_tapes_get(&tapes, b, DMQ_TAPE_BACKWARD,
                                dmq_shard_size(dmq_lanes_backend(lanes), b->problem.n_samples)));
    DMQ_TRY(list_sources(b, tapes));
    DMQ_TRY(place_sources(b, tapes));
    DMQ_TRY(freeze(b, tapes));
    DMQ_TRY(dmq_block_bring_create(b));
    *out = b;
    b = NULL;
done:
    dmq_block_destroy(b);
    return st;
}

void dmq_block_destroy(dmq_block *b)
{
    dmq_block_inner *in;

    if (!b)
        return;
    in = b->inner;
    if (in) {
        dmq_block_tapes_destroy(b);
        dmq_prefetch_destroy(in->prefetch);
        for (int k = 0; in->source && k < in->n_sources; k++)
            dmq_store_destroy(in->source[k].owned);
        dmq_block_plan_release(b);
        dmq_block_points_release(b);
        dmq_block_batch_release(b);
        dmq_block_round_release(b);
        dmq_space_release(&in->space);
        dmq_free(in->source);
        dmq_free(in->target_value);
    }
    dmq_free(in);
    dmq_free(b->layer);
    dmq_free(b->place);
    dmq_free(b);
}

dmq_space *dmq_block_space(const dmq_block *b)
{
    return &b->inner->space;
}

double dmq_block_bytes(const dmq_block *b)
{
    double bytes = 0;

    for (int k = 0; k < b->inner->n_sources; k++) {
        if (b->inner->source[k].owned)
            bytes += dmq_store_bytes(b->inner->source[k].owned);
    }
    return bytes;
}
