/* Passes of a block over samples: losses, gradients, gradients of each sample, tangents. */
#include "recon/block_inner.h"

#include "base/memory.h"

#include <assert.h>

/* ------------------------------------------------------------------ rows of a call */

static dmq_status make_room(dmq_block *b, int places)
{
    dmq_block_batch *k = &b->inner->batch;
    const dmq_backend *be = b->inner->space.be;
    size_t n = (size_t)places;
    dmq_status st = DMQ_OK;

    if (places <= k->room)
        return DMQ_OK;
    dmq_block_batch_release(b);
    DMQ_TRY(dmq_alloc((void **)&k->index, DMQ_BLOCK_INDICES * n, sizeof *k->index));
    DMQ_TRY(
        dmq_mirror_init(&k->index_place, be, k->index, DMQ_BLOCK_INDICES * n * sizeof *k->index));
    DMQ_TRY(dmq_alloc((void **)&k->weight, n, sizeof *k->weight));
    DMQ_TRY(dmq_mirror_init(&k->weight_place, be, k->weight, n * sizeof *k->weight));
    DMQ_TRY(be->alloc((void **)&k->result, n * sizeof *k->result));
    k->room = places;
done:
    return st;
}

void dmq_block_batch_release(dmq_block *b)
{
    dmq_block_batch *k = &b->inner->batch;

    dmq_mirror_release(&k->index_place);
    dmq_mirror_release(&k->weight_place);
    dmq_free(k->index);
    dmq_free(k->weight);
    dmq_space_free(&b->inner->space, k->result);
    *k = (dmq_block_batch){ 0 };
}

void dmq_block_index_row(const dmq_block *b, int *index, size_t stride, const int *sample, int n,
                         int places, int batch, int first)
{
    const dmq_slots *slots = b->inner->slots;
    const dmq_prefetch *brought = b->inner->prefetch;

    for (int i = 0; i < places; i++) {
        int k = i < n ? i : n - 1, s = sample[k];
        int *row = index + i;

        row[0] = s;
        row[stride] = b->temporal ? s : slots ? slots->of[s] : 0;
        row[2 * stride] = b->temporal ? slots->step[s] : dmq_calib_step(b->calib, s);
        row[3 * stride] =
            brought && batch ? dmq_prefetch_row(brought, first + k / batch, k % batch) : 0;
    }
}

dmq_status dmq_block_rows_set(dmq_block *b, dmq_block_rows *out, const int *sample,
                              const dmq_real *weight, int n, int size)
{
    const dmq_block_batch *k = &b->inner->batch;
    dmq_queue *queue = b->inner->space.queue;
    int places = (n + size - 1) / size * size;
    size_t count = (size_t)places;
    dmq_status st = DMQ_OK;

    if (b->inner->prefetch)
        dmq_prefetch_end(b->inner->prefetch); /* it reads the index of the call before */
    DMQ_TRY(make_room(b, places));
    out->batch = dmq_block_bring_batch(b, size);
    dmq_block_index_row(b, k->index, count, sample, n, places, out->batch, 0);
    for (int i = 0; i < places; i++)
        k->weight[i] = i >= n ? 0 : weight ? weight[i] : 1;
    DMQ_TRY(dmq_mirror_push(&k->index_place, queue, k->index,
                            DMQ_BLOCK_INDICES * count * sizeof *k->index));
    DMQ_TRY(dmq_mirror_push(&k->weight_place, queue, k->weight, count * sizeof *k->weight));
    out->sample = dmq_mirror_device(&k->index_place, k->index);
    out->slot = out->sample + places;
    out->step = out->slot + places;
    out->brought = out->step + places;
    out->weight = dmq_mirror_device(&k->weight_place, k->weight);
    out->result = k->result;
    if (out->batch)
        dmq_block_bring_begin(b, k->index, n, out->batch);
done:
    return st;
}

dmq_status dmq_block_fill(const dmq_block *b, dmq_block_tape *t, const dmq_block_rows *rows,
                          int from, dmq_queue *queue)
{
    const dmq_block_inner *in = b->inner;
    dmq_gather_args g = { .n = t->u.batch };
    int n_targets = 0;
    dmq_status st = DMQ_OK;

    for (int k = 0; k < in->n_sources; k++) {
        const dmq_rows *r = &in->source[k].rows;
        const int *index = from + (r->slot                    ? rows->slot
                                   : in->source[k].is_brought ? rows->brought
                                                              : rows->sample);

        assert(r->first == 0);
        if (in->source[k].leaf == 3) {
            dmq_loss_rows(t->term[n_targets++], r->data, r->count, index);
            continue;
        }
        g.part[g.n_parts++] = (dmq_gather_part){ .table = r->data,
                                                 .index = index,
                                                 .y = t->to[k]->value,
                                                 .d = (int)r->per,
                                                 .rows = r->count };
        if (g.n_parts == DMQ_GATHER_PARTS) {
            DMQ_TRY(in->space.be->gather(queue, &g));
            g.n_parts = 0;
        }
    }
    if (g.n_parts > 0)
        DMQ_TRY(in->space.be->gather(queue, &g));
    dmq_unit_tape_steps(&t->u, rows->step + from);
done:
    return st;
}

dmq_status dmq_block_fill_to_learn(const dmq_block *b, dmq_block_tape *t,
                                   const dmq_block_rows *rows, int from, dmq_queue *queue)
{
    dmq_tape_bind_output(t->u.tape, t->loss,
                         &(dmq_output){ .value = rows->result ? rows->result + from : NULL,
                                        .seed = rows->weight + from,
                                        .unread = !rows->result });
    return dmq_block_fill(b, t, rows, from, queue);
}

/* ------------------------------------------------------------------ shards */

/* Shards of the rows of a call as pieces of work. */
typedef struct pass {
    const dmq_block *b;
    const dmq_block_tapes *tapes;
    dmq_block_rows rows;
    dmq_real *dw; /* a block of theta's length for each piece; NULL: no backward pass */
    int first_shard;
    const dmq_real *d; /* of single gradients: D */
    int n, per;        /* samples; of a gradient */
} pass;

static int shards(int n, int size)
{
    return (n + size - 1) / size;
}

static dmq_status shard_piece(void *context, int piece, int lane, dmq_queue *queue)
{
    const pass *p = context;
    dmq_block_tape *t = &p->tapes->lane[lane];
    int from = (p->first_shard + piece) * p->tapes->size;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_block_fill_to_learn(p->b, t, &p->rows, from, queue));
    if (!p->dw)
        return dmq_tape_forward(t->u.tape, queue, DMQ_PART_LIVE);
    dmq_tape_bind(t->u.tape, p->dw + (size_t)piece * p->b->problem.n_theta, NULL);
    DMQ_TRY(dmq_tape_learn(t->u.tape, queue));
done:
    return st;
}

dmq_status dmq_block_losses(dmq_block *b, const int *sample, int n, dmq_real *loss)
{
    int size = dmq_shard_size(b->inner->space.be, n);
    pass p = { .b = b };
    dmq_block_tapes *tapes;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_block_tapes_get(&tapes, b, DMQ_TAPE_BACKWARD, size));
    DMQ_TRY(dmq_block_rows_set(b, &p.rows, sample, NULL, n, size));
    p.tapes = tapes;
    DMQ_TRY(dmq_block_run_shards(b, &p.rows, size, 0, shards(n, size), shard_piece, &p));
    DMQ_TRY(dmq_space_get(&b->inner->space, loss, p.rows.result, (size_t)n * sizeof *loss));
done:
    return st;
}

/* ------------------------------------------------------------------ gradients */

/* dw (+)= sum over the shards of a wave, in their order, a run of numbers a piece; and the step. */
typedef struct join {
    const dmq_block *b;
    int n_shards, add;
    const dmq_block_update *update; /* NULL: join only */
} join;

static dmq_status join_piece(void *context, int piece, int lane, dmq_queue *queue)
{
    const join *j = context;
    const dmq_block_inner *in = j->b->inner;
    const dmq_block_update *u = j->update;
    dmq_round_job job = { .block = j->b, .dw = in->dw };
    const dmq_adaround_layer *layers;
    const dmq_real *x[DMQ_WAVE];
    size_t at, count;
    int n_layers;
    dmq_status st = DMQ_OK;

    (void)lane;
    if (u)
        job.init = u->alpha; /* it is written */
    n_layers = dmq_block_piece(j->b, piece, &job, &layers, &at, &count);
    for (int k = 0; k < j->n_shards; k++)
        x[k] = in->dw_shard + (size_t)k * j->b->problem.n_theta + at;
    if (j->n_shards > 0) {
        DMQ_TRY(in->space.be->sum_blocks(queue, &(dmq_sum_blocks_args){ .x = x,
                                                                        .y = in->dw + at,
                                                                        .n_blocks = j->n_shards,
                                                                        .count = count,
                                                                        .alpha = 1,
                                                                        .add = j->add }));
    }
    if (!u)
        return DMQ_OK;
    DMQ_TRY(in->space.be->adaround_step(
        queue, &(dmq_adaround_step_args){
                   .round = { .layer = layers,
                              .n_layers = n_layers,
                              .reg_value = u->regularizer ? in->reg + piece : NULL },
                   .m = u->m + at,
                   .v = u->v + at,
                   .scalars = u->scalars }));
done:
    return st;
}

/* dw = the weighted sum of gradients of the rows' n samples. The last wave is joined with the step. */
static dmq_status sum_gradients(dmq_block *b, pass *p, int n, const dmq_block_update *update)
{
    int n_shards = shards(n, p->tapes->size);
    join j = { .b = b, .update = update };
    dmq_status st = DMQ_OK;

    if (n_shards == 1) { /* nothing to join */
        p->dw = b->inner->dw;
        DMQ_TRY(dmq_block_run_shards(b, &p->rows, p->tapes->size, 0, 1, shard_piece, p));
        if (update)
            DMQ_TRY(dmq_lanes_run(b->lanes, b->inner->n_pieces, join_piece, &j));
        goto done;
    }
    assert(!update || n_shards <= DMQ_WAVE);
    p->dw = b->inner->dw_shard;
    for (; p->first_shard < n_shards; p->first_shard += DMQ_WAVE) {
        int left = n_shards - p->first_shard;

        j.n_shards = left < DMQ_WAVE ? left : DMQ_WAVE;
        j.add = p->first_shard > 0;
        DMQ_TRY(dmq_block_run_shards(b, &p->rows, p->tapes->size, p->first_shard, j.n_shards,
                                     shard_piece, p));
        DMQ_TRY(dmq_lanes_run(b->lanes, b->inner->n_pieces, join_piece, &j));
    }
done:
    return st;
}

dmq_status dmq_block_learn(dmq_block *b, const dmq_block_tapes *tapes, const dmq_block_rows *rows,
                           int n, const dmq_block_update *update)
{
    pass p = { .b = b, .tapes = tapes, .rows = *rows };

    return sum_gradients(b, &p, n, update);
}

/* ------------------------------------------------------------------ draws */

int dmq_block_recordable(const void *context)
{
    const dmq_block *b = context;

    return !b->inner->prefetch && dmq_lanes_count(b->lanes) == 1;
}

int dmq_block_places(const void *context, int n)
{
    const dmq_block *b = context;
    int size = dmq_shard_size(b->inner->space.be, n);

    return (n + size - 1) / size * size;
}

void dmq_block_index(const void *context, int *index, size_t stride, const int *sample, int n,
                     int places)
{
    dmq_block_index_row(context, index, stride, sample, n, places, 0, 0);
}

/* The rows of a draw for passes of `size`. What is brought is brought by its samples. */
static dmq_status rows_of(dmq_block_rows *out, dmq_block *b, const dmq_draw *d, int size)
{
    dmq_status st = DMQ_OK;

    if (b->inner->prefetch)
        DMQ_TRY(dmq_block_rows_set(b, out, d->sample, NULL, d->n, size));
    else
        *out = (dmq_block_rows){ .sample = d->index,
                                 .slot = d->index + d->stride,
                                 .step = d->index + 2 * d->stride,
                                 .brought = d->index + 3 * d->stride };
    out->weight = d->weight;
    out->result = d->loss;
done:
    return st;
}

/* Losses or dots of the n samples of a call. */
static dmq_status results(const dmq_block *b, const dmq_block_rows *rows, dmq_real *out, int n)
{
    return out ? dmq_space_get(&b->inner->space, out, rows->result, (size_t)n * sizeof *out)
               : DMQ_OK;
}

static int grad_size(const dmq_backend *be, int n)
{
    if (be->shard <= DMQ_SMALL_SHARD && n <= be->shard)
        return be->shard / 2; /* two lanes have work */
    return dmq_shard_size(be, n);
}

/* The weighted sum over the n samples of the rows. */
static dmq_status gradient(dmq_block *b, pass *p, const dmq_real *theta, int n, dmq_real *grad)
{
    const dmq_backend *be = b->inner->space.be;
    dmq_block_tapes *tapes;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_block_tapes_get(&tapes, b, DMQ_TAPE_BACKWARD, grad_size(be, n)));
    DMQ_TRY(dmq_block_soften(b, theta));
    p->tapes = tapes;
    DMQ_TRY(sum_gradients(b, p, n, NULL));
    DMQ_TRY(dmq_block_round(&(dmq_round_job){ .block = b,
                                              .slot = be->adaround_backward,
                                              .alpha = theta,
                                              .dw = b->inner->dw,
                                              .dalpha = grad }));
done:
    return st;
}

dmq_status dmq_block_grad(void *context, const dmq_real *theta, const int *sample,
                          const dmq_real *weight, int n, dmq_real *grad, dmq_real *loss)
{
    dmq_block *b = context;
    pass p = { .b = b };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_block_rows_set(b, &p.rows, sample, weight, n, grad_size(b->inner->space.be, n)));
    DMQ_TRY(gradient(b, &p, theta, n, grad));
    DMQ_TRY(results(b, &p.rows, loss, n));
done:
    return st;
}

dmq_status dmq_block_grad_of(void *context, const dmq_real *theta, const dmq_draw *draw,
                             dmq_real *grad)
{
    dmq_block *b = context;
    pass p = { .b = b };
    dmq_status st = DMQ_OK;

    DMQ_TRY(rows_of(&p.rows, b, draw, grad_size(b->inner->space.be, draw->n)));
    DMQ_TRY(gradient(b, &p, theta, draw->n, grad));
done:
    return st;
}

/* ------------------------------------------------------------------ gradients of single samples, or of runs */

/* A shard's gradients, each of `per` samples: dw times D. */
static dmq_status each_piece(void *context, int piece, int lane, dmq_queue *queue)
{
    const pass *p = context;
    const dmq_space *space = &p->b->inner->space;
    dmq_block_tape *t = &p->tapes->lane[lane];
    size_t n_theta = p->b->problem.n_theta;
    int size = p->tapes->size, from = piece * size, left = p->n - from;
    int count = left < size ? left : size;
    dmq_real *rows = p->dw + (size_t)(from / p->per) * n_theta;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_block_fill_to_learn(p->b, t, &p->rows, from, queue));
    DMQ_TRY(dmq_tape_bind_each(
        t->u.tape,
        &(dmq_each){
            .grads = rows, .apart = n_theta, .samples = size, .count = count, .per = p->per }));
    DMQ_TRY(dmq_tape_learn(t->u.tape, queue));
    DMQ_TRY(space->be->binary_forward(
        queue, &(dmq_binary_args){ .kind = DMQ_MUL,
                                   .p = rows,
                                   .q = p->d,
                                   .y = rows,
                                   .dim = { 1, count / p->per, (int)n_theta },
                                   .stride_p = { 0, (ptrdiff_t)n_theta, 1 },
                                   .stride_q = { 0, 0, 1 } }));
done:
    return st;
}

/* Passes of `size` samples over the n of the pass. */
static dmq_status each_gradient(dmq_block *b, pass *p, const dmq_real *theta, int size)
{
    dmq_block_inner *in = b->inner;
    dmq_block_tapes *tapes;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_block_tapes_get(&tapes, b, DMQ_TAPE_BACKWARD, size));
    DMQ_TRY(dmq_block_need_tan(b));
    DMQ_TRY(dmq_block_soften(b, theta));
    DMQ_TRY(dmq_block_round(&(dmq_round_job){ /* w_tan = D */
                                              .block = b,
                                              .slot = in->space.be->adaround_jvp,
                                              .alpha = theta }));
    p->tapes = tapes;
    p->d = in->w_tan;
    DMQ_TRY(dmq_block_run_shards(b, &p->rows, size, 0, shards(p->n, size), each_piece, p));
done:
    return st;
}

/* Samples of a pass for J. A device takes a shard at once; on a host, where a pass costs the same a sample
   for any number of them, lanes share single samples out. */
static int each_size(const dmq_backend *be, int n)
{
    return be->host_memory ? 1 : dmq_shard_size(be, n);
}

dmq_status dmq_block_grad_each(void *context, const dmq_real *theta, const int *sample, int n,
                               dmq_real *jacobian, dmq_real *loss)
{
    dmq_block *b = context;
    pass p = { .b = b, .dw = jacobian, .n = n, .per = 1 };
    int size = each_size(b->inner->space.be, n);
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_block_rows_set(b, &p.rows, sample, NULL, n, size));
    DMQ_TRY(each_gradient(b, &p, theta, size));
    DMQ_TRY(results(b, &p.rows, loss, n));
done:
    return st;
}

dmq_status dmq_block_grad_each_of(void *context, const dmq_real *theta, const dmq_draw *draw,
                                  dmq_real *jacobian)
{
    dmq_block *b = context;
    pass p = { .b = b, .dw = jacobian, .n = draw->n, .per = 1 };
    int size = each_size(b->inner->space.be, draw->n);
    dmq_status st = DMQ_OK;

    DMQ_TRY(rows_of(&p.rows, b, draw, size));
    DMQ_TRY(each_gradient(b, &p, theta, size));
done:
    return st;
}

/* On a device one pass, where it is not too wide: some samples keep it as busy as one of them. */
dmq_status dmq_block_grad_runs_of(void *context, const dmq_real *theta, const dmq_draw *draw,
                                  int runs, dmq_real *grads)
{
    dmq_block *b = context;
    int places = dmq_block_places(b, draw->n), n = runs * places;
    pass p = { .b = b, .dw = grads, .n = n, .per = places };
    dmq_status st = DMQ_OK;

    if (b->inner->space.be->shard > DMQ_SMALL_SHARD && !b->inner->prefetch && n <= DMQ_BATCH_MAX) {
        DMQ_TRY(rows_of(&p.rows, b, draw, n));
        return each_gradient(b, &p, theta, n);
    }
    for (int g = 0; g < runs; g++) {
        dmq_draw run = dmq_draw_run(draw, g, places);

        DMQ_TRY(dmq_block_grad_of(b, theta, &run, grads + (size_t)g * b->problem.n_theta));
    }
done:
    return st;
}

/* ------------------------------------------------------------------ tangents, losses */

static dmq_status jvp_piece(void *context, int piece, int lane, dmq_queue *queue)
{
    const pass *p = context;
    dmq_block_tape *t = &p->tapes->lane[lane];
    int from = piece * p->tapes->size;
    dmq_status st = DMQ_OK;

    dmq_tape_bind_output(t->u.tape, t->loss,
                         &(dmq_output){ .tan = p->rows.result + from, .unread = 1 });
    DMQ_TRY(dmq_block_fill(p->b, t, &p->rows, from, queue));
    DMQ_TRY(dmq_tape_forward(t->u.tape, queue, DMQ_PART_LIVE));
    DMQ_TRY(dmq_tape_jvp(t->u.tape, queue));
done:
    return st;
}

/* Dots to where the rows' results go. */
static dmq_status tangents(dmq_block *b, pass *p, const dmq_real *theta, int n,
                           const dmq_real *direction)
{
    const dmq_backend *be = b->inner->space.be;
    int size = dmq_shard_size(be, n);
    dmq_block_tapes *tapes;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_block_tapes_get(&tapes, b, DMQ_TAPE_JVP, size));
    DMQ_TRY(dmq_block_soften(b, theta));
    DMQ_TRY(dmq_block_round(&(dmq_round_job){
        .block = b, .slot = be->adaround_jvp, .alpha = theta, .alpha_tan = direction }));
    p->tapes = tapes;
    DMQ_TRY(dmq_block_run_shards(b, &p->rows, size, 0, shards(n, size), jvp_piece, p));
done:
    return st;
}

dmq_status dmq_block_jvp(void *context, const dmq_real *theta, const int *sample, int n,
                         const dmq_real *direction, dmq_real *dot)
{
    dmq_block *b = context;
    pass p = { .b = b };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_block_rows_set(b, &p.rows, sample, NULL, n, dmq_shard_size(b->inner->space.be, n)));
    DMQ_TRY(tangents(b, &p, theta, n, direction));
    DMQ_TRY(results(b, &p.rows, dot, n));
done:
    return st;
}

dmq_status dmq_block_jvp_of(void *context, const dmq_real *theta, const dmq_draw *draw,
                            const dmq_real *direction, dmq_real *dot)
{
    dmq_block *b = context;
    pass p = { .b = b };
    dmq_status st = DMQ_OK;

    DMQ_TRY(rows_of(&p.rows, b, draw, dmq_shard_size(b->inner->space.be, draw->n)));
    p.rows.result = dot;
    DMQ_TRY(tangents(b, &p, theta, draw->n, direction));
done:
    return st;
}

dmq_status dmq_block_loss(void *context, const dmq_real *theta, const int *sample, int n,
                          dmq_real *loss)
{
    dmq_block *b = context;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_block_soften(b, theta));
    DMQ_TRY(dmq_block_losses(b, sample, n, loss));
done:
    return st;
}
