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
        n += q->layer[u->layer[i]].weight_bits > 0;
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

        if (b->q->layer[l].weight_bits == 0)
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
        if (model->value[v].is_emb)
            in->target_value[in->n_targets++] = v;
    }
    return DMQ_OK;
}

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
    for (int k = 0; k < in->n_targets; k++) {
        int value = in->target_value[k];
        dmq_var *f = b->temporal ? t->u.embs[value] : t->u.out, *loss;
        dmq_shape s = model->value[value].shape;

        if (!b->temporal)
            f = dmq_tape_split_sum(t->u.tape, f, &t->rest);
        s.dim[0] = batch;
        t->target[k] = dmq_tape_input(t->u.tape, "target", s);
        loss = dmq_record_loss(t->u.tape, f, t->target[k], 2);
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

static dmq_var *leaf_of(const dmq_block_tape *t, int leaf)
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

        t->to[k] = leaf < 0 ? cut[k] : leaf == 3 ? t->target[n_targets++] : leaf_of(t, leaf);
        assert(dmq_shape_count(t->to[k]->shape) == (size_t)t->u.batch * in->source[k].rows.per);
    }
    return st;
}

dmq_status dmq_block_tapes(dmq_block *b, dmq_block_pass pass)
{
    static const unsigned passes[] = { DMQ_TAPE_BACKWARD, DMQ_TAPE_BACKWARD, DMQ_TAPE_BACKWARD,
                                       DMQ_TAPE_JVP };
    static const int batch[] = { DMQ_SHARD, DMQ_SHARD / 2, 1, DMQ_SHARD };
    dmq_block_tape *t;
    dmq_status st = DMQ_OK;

    if (b->inner->tape[pass])
        return DMQ_OK;
    if (pass == DMQ_BLOCK_JVP && !b->inner->w_tan)
        DMQ_TRY(dmq_alloc((void **)&b->inner->w_tan, b->problem.n_theta, sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&t, (size_t)dmq_lanes_count(b->lanes), sizeof *t));
    b->inner->tape[pass] = t;
    for (int i = 0; i < dmq_lanes_count(b->lanes); i++) {
        DMQ_TRY(make_tape(b, &t[i], passes[pass], batch[pass]));
        if (b->inner->source)
            DMQ_TRY(bind_sources(b, &t[i]));
    }
done:
    return st;
}

static void add_source(dmq_block_inner *in, int leaf, size_t per)
{
    in->source[in->n_sources++] = (dmq_block_source){ .rows = { .per = per }, .leaf = leaf };
}

/* What has to be gathered: the cut, inputs that live nodes read themselves, targets. */
static dmq_status list_sources(dmq_block *b)
{
    dmq_block_inner *in = b->inner;
    const dmq_block_tape *t = &in->tape[DMQ_BLOCK_TRAIN][0];
    dmq_var *const *cut = dmq_tape_cut(t->u.tape, &in->n_cut);
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&in->source, (size_t)(in->n_cut + 3 + in->n_targets),
                      sizeof *in->source));
    for (int k = 0; k < in->n_cut; k++)
        add_source(in, -1, dmq_shape_count(cut[k]->shape) / DMQ_SHARD);
    for (int leaf = 0; leaf < 3; leaf++) {
        const dmq_var *v = leaf_of(t, leaf);

        if (v && dmq_tape_feeds_live(t->u.tape, v))
            add_source(in, leaf, dmq_shape_count(v->shape) / DMQ_SHARD);
    }
    for (int k = 0; k < in->n_targets; k++)
        add_source(in, 3, dmq_value_per(b->q->model, in->target_value[k]));
    for (int i = 0; i < dmq_lanes_count(b->lanes); i++)
        DMQ_TRY(bind_sources(b, &in->tape[DMQ_BLOCK_TRAIN][i]));
done:
    return st;
}

/* Memory of the sources, or where else their rows are. */
static dmq_status place_sources(dmq_block *b)
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
            s->rows.by_slot = 0; /* samples are slots here */
        } else if (s->leaf == 3 && in->tape[DMQ_BLOCK_TRAIN][0].rest) {
            s->whole = dmq_cache_target(b->cache);
        } else if (s->leaf == 3) {
            s->rows = dmq_cache_target(b->cache);
        } else if (s->leaf == 2) {
            DMQ_TRY(dmq_cache_embedding(b->cache, DMQ_PATH_QUANT, b->q->model->unit[b->unit].emb,
                                        &s->rows));
        } else if (s->leaf >= 0 && !b->temporal) {
            s->rows = dmq_cache_resident(b->cache, s->leaf);
        }
        assert(!s->rows.data || s->rows.per == per);
        assert(!s->whole.data || s->whole.per == per);
        s->rows.per = per;
        if (!s->rows.data) {
            DMQ_TRY(dmq_alloc((void **)&s->owned, (size_t)b->problem.n_samples,
                              per * sizeof *s->owned));
            s->rows.data = s->owned;
        }
    }
done:
    return st;
}

/* y - rest for a shard. */
static void keep_target(const dmq_block_source *s, const dmq_real *rest, int first, int count)
{
    size_t per = s->rows.per, n = (size_t)count * per;
    const dmq_real *y = s->whole.data + (size_t)(first - s->whole.first) * per;
    dmq_real *to = s->owned + (size_t)first * per;

    for (size_t i = 0; i < n; i++)
        to[i] = y[i] - rest[i];
}

/* Copy what a shard of a frozen pass left into the sources that the block owns. */
static void keep_shard(const dmq_block *b, const dmq_block_tape *t, int first, int count)
{
    for (int k = 0; k < b->inner->n_sources; k++) {
        const dmq_block_source *s = &b->inner->source[k];
        size_t per = s->rows.per;

        if (s->whole.data) {
            keep_target(s, t->rest->value, first, count);
        } else if (s->owned) {
            memcpy(s->owned + (size_t)first * per, t->to[k]->value,
                   (size_t)count * per * sizeof *s->owned);
        }
    }
}

static int step_of(const dmq_block *b, int sample)
{
    return b->temporal ? b->calib->weight_step[sample] : dmq_calib_step(b->calib, sample);
}

static void fill_steps(const dmq_block *b, const dmq_block_tape *t, const int *sample, int n)
{
    for (int i = 0; t->u.step && i < t->u.batch; i++)
        t->u.step->value[i] = step_of(b, sample[i < n ? i : n - 1]);
}

static dmq_status freeze_shard(void *context, int first, int count, const dmq_rows rows[3],
                               int lane, dmq_queue *queue)
{
    const dmq_block *b = context;
    const dmq_block_tape *t = &b->inner->tape[DMQ_BLOCK_TRAIN][lane];
    int sample[DMQ_SHARD];
    dmq_status st = DMQ_OK;

    for (int i = 0; i < count; i++)
        sample[i] = first + i;
    for (int leaf = 0; leaf < 3; leaf++) {
        if (leaf_of(t, leaf) && !b->temporal)
            dmq_rows_fill(leaf_of(t, leaf)->value, DMQ_SHARD, &rows[leaf], b->calib, sample, count);
    }
    for (int i = 0; i < DMQ_SHARD && b->temporal; i++)
        t->u.in[0]->value[i] = (dmq_real)b->calib->t[step_of(b, sample[i < count ? i : count - 1])];
    fill_steps(b, t, sample, count);
    DMQ_TRY(dmq_tape_forward(t->u.tape, queue, DMQ_PART_FROZEN));
    keep_shard(b, t, first, count);
done:
    return st;
}

/* Run the part that does not depend on theta once for every sample. */
static dmq_status freeze(dmq_block *b)
{
    dmq_status st = DMQ_OK;
    int n = b->problem.n_samples, needed = 0;

    for (int k = 0; k < b->inner->n_sources; k++)
        needed += b->inner->source[k].owned != NULL;
    if (needed == 0)
        return DMQ_OK;
    if (!b->temporal)
        return dmq_cache_visit(b->cache, freeze_shard, b);
    for (int from = 0; from < n && st == DMQ_OK; from += DMQ_SHARD) {
        st = freeze_shard(b, from, n - from < DMQ_SHARD ? n - from : DMQ_SHARD, NULL, 0,
                          dmq_lanes_queue(b->lanes, 0));
    }
    return st;
}

void dmq_block_fill(const dmq_block *b, const dmq_block_tape *t, const int *sample, int n)
{
    for (int k = 0; k < b->inner->n_sources; k++)
        dmq_rows_fill(t->to[k]->value, t->u.batch, &b->inner->source[k].rows, b->calib, sample, n);
    fill_steps(b, t, sample, n);
}

dmq_status dmq_block_create(dmq_block **out, dmq_qmodel *q, const dmq_calib *calib,
                            dmq_cache *cache, dmq_lanes *lanes, int unit, int acts)
{
    dmq_block *b = NULL;
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
    b->problem = (dmq_problem){ .context = b,
                                .n_samples = b->temporal ? calib->n_weight_steps : calib->n,
                                .grad = dmq_block_grad,
                                .grad_each = dmq_block_grad_each,
                                .jvp = dmq_block_jvp,
                                .loss = dmq_block_loss,
                                .each = dmq_block_each };
    DMQ_TRY(dmq_alloc((void **)&b->inner, 1, sizeof *b->inner));
    DMQ_TRY(list_layers(b));
    DMQ_TRY(list_targets(b));
    DMQ_TRY(dmq_block_round_create(b));
    DMQ_TRY(dmq_block_tapes(b, DMQ_BLOCK_TRAIN));
    DMQ_TRY(list_sources(b));
    DMQ_TRY(place_sources(b));
    DMQ_TRY(freeze(b));
    *out = b;
    b = NULL;
done:
    dmq_block_destroy(b);
    return st;
}

static void destroy_tapes(dmq_block_tape *t, int n)
{
    for (int i = 0; t && i < n; i++) {
        dmq_unit_tape_release(&t[i].u);
        dmq_free(t[i].target);
        dmq_free(t[i].to);
    }
    dmq_free(t);
}

void dmq_block_destroy(dmq_block *b)
{
    dmq_block_inner *in;

    if (!b)
        return;
    in = b->inner;
    for (int p = 0; in && p < DMQ_BLOCK_PASSES; p++)
        destroy_tapes(in->tape[p], dmq_lanes_count(b->lanes));
    for (int k = 0; in && in->source && k < in->n_sources; k++)
        dmq_free(in->source[k].owned);
    if (in) {
        dmq_free(in->source);
        dmq_free(in->target_value);
        dmq_free(in->w_soft);
        dmq_free(in->w_tan);
        dmq_free(in->dw);
        dmq_free(in->dw_shard);
        dmq_free(in->chunk);
        dmq_free(in->chunk_at);
        dmq_free(in->chunk_reg);
    }
    dmq_free(in);
    dmq_free(b->layer);
    dmq_free(b->place);
    dmq_free(b);
}

double dmq_block_bytes(const dmq_block *b)
{
    double numbers = 0;

    for (int k = 0; k < b->inner->n_sources; k++) {
        if (b->inner->source[k].owned)
            numbers += (double)b->inner->source[k].rows.per * b->problem.n_samples;
    }
    return numbers * sizeof(dmq_real);
}
