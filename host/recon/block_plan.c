/* Iterations whose numbers are all on the device: a plan of the coming ones, and running them. */
#include "recon/block_inner.h"

#include "base/memory.h"

#include <assert.h>

void dmq_block_plan_release(dmq_block *b)
{
    dmq_block_plan_room *k = &b->inner->plan;
    void *const memory[] = { k->counter, k->index_now,   k->weight_now,
                             k->result,  k->scalars_now, k->results };

    if (!b->inner->space.be)
        return;
    dmq_replay_drop(&k->replay, b->inner->space.be);
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        dmq_space_free(&b->inner->space, memory[i]);
    dmq_mirror_release(&k->index_place);
    dmq_mirror_release(&k->weight_place);
    dmq_mirror_release(&k->scalars_place);
    dmq_free(k->index);
    dmq_free(k->weight);
    dmq_free(k->scalars);
    *k = (dmq_block_plan_room){ 0 };
}

/* Memory for plans of as many rows of as many places; addresses stay while it is enough. */
static dmq_status make_room(dmq_block *b, int rows, int places)
{
    dmq_block_plan_room *k = &b->inner->plan;
    const dmq_backend *be = b->inner->space.be;
    size_t r = (size_t)rows, p = (size_t)places, n = r * p;
    dmq_status st = DMQ_OK;

    if (rows <= k->room && places == k->places)
        return DMQ_OK;
    dmq_block_plan_release(b);
    DMQ_TRY(dmq_alloc((void **)&k->index, DMQ_BLOCK_INDICES * n, sizeof *k->index));
    DMQ_TRY(
        dmq_mirror_init(&k->index_place, be, k->index, DMQ_BLOCK_INDICES * n * sizeof *k->index));
    DMQ_TRY(dmq_alloc((void **)&k->weight, n, sizeof *k->weight));
    DMQ_TRY(dmq_mirror_init(&k->weight_place, be, k->weight, n * sizeof *k->weight));
    DMQ_TRY(dmq_alloc((void **)&k->scalars, r, sizeof *k->scalars));
    DMQ_TRY(dmq_mirror_init(&k->scalars_place, be, k->scalars, r * sizeof *k->scalars));
    DMQ_TRY(be->alloc((void **)&k->counter, DMQ_SCHEDULE_COUNTERS * sizeof *k->counter));
    DMQ_TRY(be->alloc((void **)&k->index_now, DMQ_BLOCK_INDICES * p * sizeof *k->index_now));
    DMQ_TRY(be->alloc((void **)&k->weight_now, p * sizeof *k->weight_now));
    DMQ_TRY(be->alloc((void **)&k->scalars_now, sizeof *k->scalars_now));
    DMQ_TRY(be->alloc((void **)&k->result, p * sizeof *k->result));
    DMQ_TRY(be->alloc((void **)&k->results, n * sizeof *k->results));
    k->room = rows;
    k->places = places;
done:
    return st;
}

dmq_status dmq_block_plan_set(dmq_block *b, const dmq_block_plan *plan)
{
    static const int zeros[DMQ_SCHEDULE_COUNTERS] = { 0 };
    dmq_block_plan_room *k = &b->inner->plan;
    const dmq_space *space = &b->inner->space;
    int size = dmq_shard_size(space->be, plan->n), places = (plan->n + size - 1) / size * size;
    size_t n = (size_t)plan->rows * (size_t)places;
    int moved;
    dmq_status st = DMQ_OK;

    assert(plan->n >= 1 && plan->n <= DMQ_BATCH_MAX && plan->rows >= 1);
    if (b->inner->prefetch)
        dmq_prefetch_end(b->inner->prefetch); /* it reads the index of the plan before */
    DMQ_TRY(make_room(b, plan->rows, places));
    DMQ_TRY(dmq_block_bring_reserve(b, plan->n, &moved));
    if (moved || plan->n != k->n || plan->alpha != k->alpha || plan->m != k->m || plan->v != k->v ||
        plan->regularizer != k->regularizer)
        dmq_replay_drop(&k->replay, space->be);
    k->regularizer = plan->regularizer;
    k->n = plan->n;
    k->rows = plan->rows;
    k->next = 0;
    k->trip = 0;
    k->alpha = plan->alpha;
    k->m = plan->m;
    k->v = plan->v;
    DMQ_TRY(dmq_block_tapes_get(&k->tapes, b, DMQ_TAPE_BACKWARD, size));
    for (int r = 0; r < plan->rows; r++) {
        int from = r * plan->n;

        dmq_block_index_row(b, k->index + DMQ_BLOCK_INDICES * r * places, (size_t)places,
                            plan->sample + from, plan->n, places, plan->n, r);
        for (int i = 0; i < places; i++) {
            k->weight[r * places + i] = i >= plan->n   ? 0
                                        : plan->weight ? plan->weight[from + i]
                                                       : 1;
        }
        k->scalars[r] = plan->scalars[r];
    }
    DMQ_TRY(dmq_mirror_push(&k->index_place, space->queue, k->index,
                            DMQ_BLOCK_INDICES * n * sizeof *k->index));
    DMQ_TRY(dmq_mirror_push(&k->weight_place, space->queue, k->weight, n * sizeof *k->weight));
    DMQ_TRY(dmq_mirror_push(&k->scalars_place, space->queue, k->scalars,
                            (size_t)plan->rows * sizeof *k->scalars));
    DMQ_TRY(dmq_space_put(space, k->counter, zeros, sizeof zeros));
done:
    return st;
}

static dmq_schedule_args schedule_of(const dmq_block_plan_room *k)
{
    return (dmq_schedule_args){ .counter = k->counter,
                                .rows = k->room,
                                .index = dmq_mirror_device(&k->index_place, k->index),
                                .index_now = k->index_now,
                                .real = dmq_mirror_device(&k->weight_place, k->weight),
                                .real_now = k->weight_now,
                                .scalars = dmq_mirror_device(&k->scalars_place, k->scalars),
                                .scalars_now = k->scalars_now,
                                .n_index = DMQ_BLOCK_INDICES * k->places,
                                .n_real = k->places,
                                .result = k->result,
                                .results = k->results,
                                .n_result = k->places };
}

/* The next row of the plan: take it and learn from it. No number of it is the host's. */
static dmq_status iterate(void *context, dmq_queue *queue)
{
    dmq_block *b = context;
    dmq_block_plan_room *k = &b->inner->plan;
    const dmq_schedule_args a = schedule_of(k);
    dmq_block_rows rows = { .sample = k->index_now,
                            .slot = k->index_now + k->places,
                            .step = k->index_now + 2 * k->places,
                            .brought = k->index_now + 3 * k->places,
                            .weight = k->weight_now,
                            .result = k->result };
    dmq_status st = DMQ_OK;

    DMQ_TRY(b->inner->space.be->schedule_take(queue, &a));
    DMQ_TRY(dmq_block_learn(
        b, k->tapes, &rows, k->n,
        &(dmq_block_update){ k->alpha, k->m, k->v, k->scalars_now, k->regularizer }));
done:
    return st;
}

/* The rows of the next iteration are on the device, those of the one behind it under way: outside of what
   is recorded, which finds them by its index. */
static dmq_status take_rows(dmq_block *b)
{
    dmq_block_plan_room *k = &b->inner->plan;
    dmq_prefetch *p = b->inner->prefetch;

    if (!p)
        return DMQ_OK;
    if (!k->trip ||
        dmq_prefetch_trip(p) != k->trip) { /* at first, or another call was in between */
        k->trip = dmq_prefetch_begin(p,
                                     &(dmq_trip){ .index = k->index,
                                                  .stride = DMQ_BLOCK_INDICES * k->places,
                                                  .rows = k->n,
                                                  .count = k->rows * k->n },
                                     k->next);
    }
    return dmq_prefetch_take(p, k->next, b->inner->space.queue);
}

static dmq_status leave_rows(dmq_block *b)
{
    dmq_block_plan_room *k = &b->inner->plan;
    dmq_prefetch *p = b->inner->prefetch;

    return p ? dmq_prefetch_leave(p, k->next, b->inner->space.queue) : DMQ_OK;
}

dmq_status dmq_block_run(dmq_block *b, int count)
{
    dmq_block_plan_room *k = &b->inner->plan;
    const dmq_backend *be = b->inner->space.be;
    const dmq_schedule_args last = schedule_of(k);
    dmq_queue *queue = b->inner->space.queue;
    int one_lane = dmq_lanes_count(b->lanes) == 1;
    dmq_status st = DMQ_OK;

    assert(k->next + count <= k->rows);
    for (int i = 0; i < count; i++) {
        DMQ_TRY(take_rows(b));
        DMQ_TRY(one_lane ? dmq_replay_run(&k->replay, be, queue, b->lanes, iterate, b)
                         : iterate(b, queue));
        DMQ_TRY(leave_rows(b));
        k->next++;
    }
    DMQ_TRY(be->schedule_keep(queue, &last));
done:
    return st;
}

dmq_status dmq_block_plan_losses(dmq_block *b, int first, int count, dmq_real *loss)
{
    const dmq_block_plan_room *k = &b->inner->plan;
    const dmq_space *space = &b->inner->space;
    const dmq_real *from = k->results + (size_t)first * (size_t)k->places;
    size_t n = (size_t)k->n, rows = (size_t)count;
    dmq_status st = DMQ_OK;

    assert(first >= 0 && first + count <= k->rows);
    if (k->places == k->n) { /* nothing is padded: one copy */
        n *= rows;
        rows = 1;
    }
    for (size_t r = 0; r < rows; r++) {
        DMQ_TRY(space->be->download(space->queue, loss + r * n, from + r * (size_t)k->places,
                                    n * sizeof *loss));
    }
    DMQ_TRY(space->be->sync(space->queue));
done:
    return st;
}

dmq_status dmq_block_iterate(dmq_block *b, const int *sample, const dmq_real *weight, int n,
                             const dmq_block_step *s, dmq_real *loss)
{
    dmq_block_inner *in = b->inner;
    dmq_step_scalars scalars = { .reg_weight = (dmq_real)s->reg_weight,
                                 .reg_beta = (dmq_real)s->reg_beta };
    dmq_status st = DMQ_OK;

    scalars.adam = dmq_adam_begin((dmq_real)s->lr, (dmq_real)s->beta1, (dmq_real)s->beta2,
                                  (dmq_real)s->eps, s->step);
    DMQ_TRY(dmq_block_plan_set(b, &(dmq_block_plan){ .rows = 1,
                                                     .n = n,
                                                     .sample = sample,
                                                     .weight = weight,
                                                     .scalars = &scalars,
                                                     .alpha = s->alpha,
                                                     .m = s->m,
                                                     .v = s->v,
                                                     .regularizer = s->reg_value != NULL }));
    DMQ_TRY(dmq_block_run(b, 1));
    DMQ_TRY(dmq_block_plan_losses(b, 0, 1, loss));
    if (s->reg_value) {
        DMQ_TRY(dmq_space_get(&in->space, in->host_reg, in->reg,
                              (size_t)in->n_pieces * sizeof *in->host_reg));
        *s->reg_value = 0;
        for (int i = 0; i < in->n_pieces; i++)
            *s->reg_value += in->host_reg[i];
    }
done:
    return st;
}
