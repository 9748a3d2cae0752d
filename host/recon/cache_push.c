/* Running units over the samples of a cache. */
#include "recon/cache_inner.h"

#include "base/memory.h"
#include "base/signal.h"
#include "recon/prefetch.h"

#include <assert.h>
#include <string.h>

dmq_rows dmq_rows_of(const dmq_store *store, int first)
{
    return (dmq_rows){ .data = store->tier == DMQ_ON_DEVICE ? store->data : NULL,
                       .store = store,
                       .per = store->per,
                       .count = store->count,
                       .first = first };
}

dmq_rows dmq_cache_rows(const dmq_cache *c, dmq_path path, int value, int first)
{
    int of = c->model->value[value].emb_of;

    if (of) {
        assert(c->emb[path][value]);
        return (dmq_rows){ .data = c->emb[path][value],
                           .per = dmq_value_per(c->model, value),
                           .count = c->slots[of]->n,
                           .slot = c->slot[of] };
    }
    if (value == 0)
        return dmq_rows_of(c->x, 0);
    assert(c->value[path][value]);
    return dmq_rows_of(c->value[path][value], first);
}

/* A shard is a piece: fn on its samples. */
typedef struct show {
    dmq_cache *c;
    dmq_visit_fn *fn;
    void *context;
    dmq_rows in[DMQ_VISITS];
    int first, count;
} show;

static dmq_status show_piece(void *context, int piece, int lane, dmq_queue *queue)
{
    const show *s = context;
    int from = piece * s->c->shard;
    int n = s->count - from < s->c->shard ? s->count - from : s->c->shard;

    if (dmq_stop_requested())
        return dmq_fail(DMQ_ESTOP, "caching: stopped by signal %d", dmq_stop_signal());
    return s->fn(s->context, s->first + from, n, s->in, lane, queue);
}

static dmq_status show_all(show *s)
{
    return dmq_lanes_run(s->c->lanes, (s->count + s->c->shard - 1) / s->c->shard, show_piece, s);
}

/* Rows of samples first..first+count-1 that a batch left in its half of a table. */
static dmq_rows brought(const dmq_prefetch *p, int k, int batch, const dmq_rows *from, int first,
                        int count)
{
    return (dmq_rows){ .data = dmq_prefetch_table(p, k) +
                               (size_t)dmq_prefetch_row(p, batch, 0) * from->per,
                       .per = from->per,
                       .count = count,
                       .first = first };
}

/* Some of the rows are not on the device: a few shards at a time, the next ones under way. */
static dmq_status show_in_batches(show *s)
{
    const dmq_store *store[DMQ_VISITS];
    const dmq_rows from[DMQ_VISITS] = { s->in[0], s->in[1], s->in[2], s->in[3] };
    int place[DMQ_VISITS], n = 0, first = s->first, count = s->count, moved;
    int rows = dmq_lanes_count(s->c->lanes) * s->c->shard;
    dmq_queue *queue = s->c->space.queue;
    dmq_prefetch *p = NULL;
    dmq_status st = DMQ_OK;

    for (int k = 0; k < DMQ_VISITS; k++) {
        if (from[k].data || !from[k].store)
            continue;
        assert(from[k].first == 0); /* what is made run by run is on the device */
        store[n] = from[k].store;
        place[n++] = k;
    }
    DMQ_TRY(dmq_prefetch_create(&p, s->c->space.be, store, n));
    DMQ_TRY(dmq_prefetch_reserve(p, rows, &moved));
    (void)dmq_prefetch_begin(p, &(dmq_trip){ .first = first, .rows = rows, .count = count }, 0);
    for (int batch = 0; batch * rows < count; batch++) {
        s->first = first + batch * rows;
        s->count = count - batch * rows < rows ? count - batch * rows : rows;
        DMQ_TRY(dmq_prefetch_take(p, batch, queue));
        for (int k = 0; k < n; k++)
            s->in[place[k]] = brought(p, k, batch, &from[place[k]], s->first, s->count);
        DMQ_TRY(show_all(s));
        DMQ_TRY(dmq_prefetch_leave(p, batch, queue));
    }
done:
    dmq_prefetch_destroy(p);
    return st;
}

dmq_status dmq_cache_show(dmq_cache *c, dmq_path path, int unit, int first, int count,
                          const dmq_rows *target, dmq_visit_fn *fn, void *context)
{
    const dmq_unit *u = &c->model->unit[unit];
    show s = { .c = c, .fn = fn, .context = context, .first = first, .count = count };
    int elsewhere = 0;
    dmq_status st = DMQ_OK;

    for (int k = 0; k < 2; k++) {
        if (u->in[k] >= 0)
            s.in[k] = dmq_cache_rows(c, path, u->in[k], first);
    }
    if (u->emb >= 0)
        DMQ_TRY(dmq_cache_embedding(c, path, u->emb, &s.in[2]));
    if (target)
        s.in[DMQ_VISIT_TARGET] = *target;
    for (int k = 0; k < DMQ_VISITS; k++)
        elsewhere |= !s.in[k].data && s.in[k].store;
    DMQ_TRY(elsewhere ? show_in_batches(&s) : show_all(&s));
done:
    return st;
}

/* A pass of one unit: a tape on each lane. */
typedef struct pass {
    const dmq_cache *c;
    dmq_unit_tape *tape;
    dmq_store *out;
    int first;
} pass;

static dmq_status push_shard(void *context, int first, int count, const dmq_rows in[DMQ_VISITS],
                             int lane, dmq_queue *queue)
{
    const pass *p = context;
    dmq_unit_tape *u = &p->tape[lane];
    dmq_var *to[3] = { u->in[0], u->in[1], u->emb };
    const dmq_backend *be = p->c->space.be;
    dmq_status st = DMQ_OK;

    for (int k = 0; k < 3; k++) {
        if (to[k])
            DMQ_TRY(dmq_rows_run(be, queue, to[k]->value, p->c->shard, &in[k], first, count));
    }
    dmq_unit_tape_steps(u, p->c->step + first);
    DMQ_TRY(dmq_tape_forward(u->tape, queue, DMQ_PART_ALL));
    DMQ_TRY(dmq_store_write(p->out, queue, first - p->first, count, u->out->value));
done:
    return st;
}

/* The unit on every lane, quantized or not. */
static dmq_status make_tapes(const dmq_cache *c, dmq_unit_tape *tape, dmq_path path, int unit)
{
    dmq_attach attach;
    dmq_status st = DMQ_OK;

    dmq_attach_init(&attach, c->q);
    attach.acts = c->config.acts;
    for (int i = 0; i < dmq_lanes_count(c->lanes); i++) {
        DMQ_TRY(dmq_unit_tape_record(&tape[i], c->model, unit, dmq_lanes_backend(c->lanes),
                                     DMQ_TAPE_FORWARD, c->shard,
                                     path == DMQ_PATH_QUANT ? &attach : NULL));
        dmq_tape_output(tape[i].tape, tape[i].out);
        DMQ_TRY(dmq_tape_plan(tape[i].tape));
    }
done:
    return st;
}

dmq_status dmq_cache_push(dmq_cache *c, dmq_path path, int unit, int first, int count)
{
    int out = c->model->unit[unit].out, n_lanes = dmq_lanes_count(c->lanes);
    pass p = { .c = c, .first = first };
    dmq_status st = DMQ_OK;

    assert(!c->value[path][out]);
    DMQ_TRY(dmq_alloc((void **)&p.tape, (size_t)n_lanes, sizeof *p.tape));
    DMQ_TRY(make_tapes(c, p.tape, path, unit));
    DMQ_TRY(dmq_store_create(&p.out, &c->tiers, dmq_value_per(c->model, out), count,
                             c->recomputes ? DMQ_NOW : DMQ_COLD));
    DMQ_TRY(dmq_cache_show(c, path, unit, first, count, NULL, push_shard, &p));
    c->value[path][out] = p.out;
    p.out = NULL;
done:
    for (int i = 0; p.tape && i < n_lanes; i++)
        dmq_unit_tape_release(&p.tape[i]);
    dmq_free(p.tape);
    dmq_store_destroy(p.out);
    return st;
}

/* Embedding values of all slots of a kind on a path, a shard of slots at a time. */
static dmq_status embed(dmq_cache *c, dmq_path path, dmq_unit_tape *u, int of)
{
    const dmq_slots *slots = c->slots[of];
    dmq_slot_rows rows = { 0 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_slot_rows_init(&rows, &c->space, c->calib, slots, u->batch));
    for (int v = 0; v < c->model->n_values; v++) {
        if (c->model->value[v].emb_of == of && !c->emb[path][v]) {
            DMQ_TRY(dmq_space_alloc(&c->emb[path][v], &c->space,
                                    (size_t)slots->n * dmq_value_per(c->model, v)));
        }
    }
    for (int from = 0; from < slots->n; from += u->batch) {
        int count = slots->n - from < u->batch ? slots->n - from : u->batch;

        DMQ_TRY(dmq_space_copy(&c->space, u->in[0]->value, rows.t + from, (size_t)u->batch));
        dmq_unit_tape_steps(u, rows.step + from);
        dmq_unit_tape_labels(u, rows.label + from);
        DMQ_TRY(dmq_tape_forward(u->tape, c->space.queue, DMQ_PART_ALL));
        for (int v = 0; v < c->model->n_values; v++) {
            size_t per = dmq_value_per(c->model, v);

            if (c->model->value[v].emb_of == of) {
                DMQ_TRY(dmq_space_copy(&c->space, c->emb[path][v] + (size_t)from * per,
                                       u->embs[v]->value, (size_t)count * per));
            }
        }
    }
    DMQ_TRY(c->space.be->sync(c->space.queue)); /* the rows are in use until then */
done:
    dmq_slot_rows_release(&rows, &c->space);
    return st;
}

static int temporal_unit(const dmq_model *model)
{
    for (int u = 0; u < model->n_units; u++) {
        if (model->unit[u].kind == DMQ_UNIT_TEMPORAL)
            return u;
    }
    return -1;
}

dmq_status dmq_cache_embedding(dmq_cache *c, dmq_path path, int value, dmq_rows *out)
{
    dmq_unit_tape u = { 0 };
    dmq_attach attach;
    int of = c->model->value[value].emb_of;
    dmq_status st = DMQ_OK;

    if (!c->emb[path][value]) {
        dmq_attach_init(&attach, c->q);
        attach.acts = c->config.acts;
        DMQ_TRY(dmq_unit_tape_record(
            &u, c->model, temporal_unit(c->model), dmq_lanes_backend(c->lanes), DMQ_TAPE_FORWARD,
            dmq_shard_size(c->space.be, c->slots[of]->n), path == DMQ_PATH_QUANT ? &attach : NULL));
        for (int v = 0; v < c->model->n_values; v++) {
            if (c->model->value[v].emb_of == of)
                dmq_tape_output(u.tape, u.embs[v]);
        }
        DMQ_TRY(dmq_tape_plan(u.tape));
        DMQ_TRY(embed(c, path, &u, of));
    }
    *out = dmq_cache_rows(c, path, value, 0);
done:
    for (int v = 0; v < c->model->n_values && st != DMQ_OK; v++) {
        if (c->model->value[v].emb_of != of)
            continue;
        dmq_space_free(&c->space, c->emb[path][v]); /* half made */
        c->emb[path][v] = NULL;
    }
    dmq_unit_tape_release(&u);
    return st;
}
