#include "bilevel/meta.h"

#include "backend/replay.h"
#include "base/memory.h"
#include "bilevel/hyper_inner.h"

#include <assert.h>
#include <string.h>

/* All memory but the host's side of the index is the problem's. */
struct dmq_meta {
    dmq_hyper *hyper;
    dmq_space *space;
    dmq_meta_config config;
    dmq_real *s, *m, *v; /* (n_train) */
    int *visited;
    dmq_logits_state *state;
    int steps; /* iterations of all plans before the present one */
    /* of plans with as many samples; addresses stay while there are no more rows */
    int room, n; /* rows; samples of a batch */
    size_t
        index_count; /* numbers of a row: the hypergradient's samples, then where they are among the logits */
    int *index;       /* (room, index_count) host memory, and its counterpart */
    dmq_real *weight; /* (room, places), likewise */
    dmq_mirror index_place, weight_place;
    int *counter, *index_now;
    dmq_real *weight_now;
    dmq_real *w, *d, *s_old; /* (places_n), zeros on padding; (n) */
    double *kept;            /* (room) outcomes */
    const dmq_real *theta;
    int rows, next;    /* of the plan; row to run */
    dmq_replay replay; /* of an iteration with these addresses */
};

static void release_tables(dmq_meta *k)
{
    void *const memory[] = {
        k->counter, k->index_now, k->weight_now, k->w, k->d, k->s_old, k->kept
    };

    dmq_replay_drop(&k->replay, k->space->be);
    dmq_mirror_release(&k->index_place);
    dmq_mirror_release(&k->weight_place);
    dmq_free(k->index);
    dmq_free(k->weight);
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        dmq_space_free(k->space, memory[i]);
    k->index = k->counter = k->index_now = NULL;
    k->weight = k->weight_now = k->w = k->d = k->s_old = NULL;
    k->kept = NULL;
    k->room = k->n = 0;
}

dmq_status dmq_meta_create(dmq_meta **out, dmq_hyper *hyper, const dmq_meta_config *config)
{
    size_t n = (size_t)config->n_train;
    const dmq_backend *be = hyper->space->be;
    dmq_meta *k = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&k, 1, sizeof *k));
    k->hyper = hyper;
    k->space = hyper->space;
    k->config = *config;
    DMQ_TRY(dmq_space_alloc(&k->s, k->space, n));
    DMQ_TRY(dmq_space_alloc(&k->m, k->space, n));
    DMQ_TRY(dmq_space_alloc(&k->v, k->space, n));
    DMQ_TRY(be->alloc((void **)&k->visited, n * sizeof *k->visited));
    DMQ_TRY(be->alloc((void **)&k->state, sizeof *k->state));
    *out = k;
    k = NULL;
done:
    dmq_meta_destroy(k);
    return st;
}

void dmq_meta_destroy(dmq_meta *k)
{
    if (!k)
        return;
    release_tables(k);
    dmq_space_free(k->space, k->s);
    dmq_space_free(k->space, k->m);
    dmq_space_free(k->space, k->v);
    dmq_space_free(k->space, k->visited);
    dmq_space_free(k->space, k->state);
    dmq_free(k);
}

dmq_status dmq_meta_logits_set(dmq_meta *k, const dmq_real *s)
{
    const dmq_logits_state none = { 0 };
    size_t n = (size_t)k->config.n_train;
    int *zeros = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&zeros, n, sizeof *zeros));
    DMQ_TRY(dmq_space_put(k->space, k->s, s, n * sizeof *s));
    DMQ_TRY(dmq_space_fill(k->space, k->m, 0, n));
    DMQ_TRY(dmq_space_fill(k->space, k->v, 0, n));
    DMQ_TRY(dmq_space_put(k->space, k->visited, zeros, n * sizeof *zeros));
    DMQ_TRY(dmq_space_put(k->space, k->state, &none, sizeof none));
    k->steps = k->rows = k->next = 0;
done:
    dmq_free(zeros);
    return st;
}

dmq_status dmq_meta_logits(dmq_meta *k, dmq_real *s)
{
    return dmq_space_get(k->space, s, k->s, (size_t)k->config.n_train * sizeof *s);
}

/* ------------------------------------------------------------------ plans */

static dmq_status make_room(dmq_meta *k, int rows, int n)
{
    const dmq_hyper_shape *shape = &k->hyper->shape;
    const dmq_backend *be = k->space->be;
    size_t count = shape->index_count + (size_t)n, r = (size_t)rows;
    dmq_status st = DMQ_OK;

    if (rows <= k->room && n == k->n && count == k->index_count)
        return DMQ_OK;
    release_tables(k);
    DMQ_TRY(dmq_alloc((void **)&k->index, r * count, sizeof *k->index));
    DMQ_TRY(dmq_mirror_init(&k->index_place, be, k->index, r * count * sizeof *k->index));
    DMQ_TRY(dmq_alloc((void **)&k->weight, r * shape->places, sizeof *k->weight));
    DMQ_TRY(
        dmq_mirror_init(&k->weight_place, be, k->weight, r * shape->places * sizeof *k->weight));
    DMQ_TRY(be->alloc((void **)&k->counter, DMQ_SCHEDULE_COUNTERS * sizeof *k->counter));
    DMQ_TRY(dmq_space_alloc(&k->weight_now, k->space, shape->places));
    DMQ_TRY(be->alloc((void **)&k->index_now, count * sizeof *k->index_now));
    DMQ_TRY(dmq_space_alloc(&k->w, k->space, (size_t)shape->places_n));
    DMQ_TRY(dmq_space_fill(k->space, k->w, 0, (size_t)shape->places_n));
    DMQ_TRY(dmq_space_alloc(&k->d, k->space, (size_t)n));
    DMQ_TRY(dmq_space_alloc(&k->s_old, k->space, (size_t)n));
    DMQ_TRY(be->alloc((void **)&k->kept, r * shape->outcome_bytes));
    k->room = rows;
    k->n = n;
    k->index_count = count;
done:
    return st;
}

dmq_status dmq_meta_plan_set(dmq_meta *k, const dmq_meta_plan *plan)
{
    static const int zeros[DMQ_SCHEDULE_COUNTERS] = { 0 };
    dmq_hyper *h = k->hyper;
    unsigned shapes = h->shapes;
    dmq_status st = DMQ_OK;

    assert(plan->rows >= 1 && plan->n >= 1 && plan->n <= k->config.n_train);
    DMQ_TRY(dmq_hyper_shape_set(h, plan->n, &plan->groups[0]));
    DMQ_TRY(make_room(k, plan->rows, plan->n));
    if (plan->theta != k->theta || h->shapes != shapes)
        dmq_replay_drop(&k->replay, k->space->be);
    k->theta = plan->theta;
    for (int r = 0; r < plan->rows; r++) {
        int *row = k->index + (size_t)r * k->index_count;

        dmq_hyper_set_order(h, plan->iteration[r]);
        dmq_hyper_row(h, row, k->weight + (size_t)r * h->shape.places, plan->sample + r * plan->n,
                      &plan->groups[r]);
        memcpy(row + h->shape.index_count, plan->pick + r * plan->n, (size_t)plan->n * sizeof *row);
    }
    DMQ_TRY(dmq_mirror_push(&k->index_place, k->space->queue, k->index,
                            (size_t)plan->rows * k->index_count * sizeof *k->index));
    DMQ_TRY(dmq_mirror_push(&k->weight_place, k->space->queue, k->weight,
                            (size_t)plan->rows * h->shape.places * sizeof *k->weight));
    DMQ_TRY(dmq_space_put(k->space, k->counter, zeros, sizeof zeros));
    k->steps += k->next;
    k->rows = plan->rows;
    k->next = 0;
done:
    return st;
}

static dmq_schedule_args schedule_of(const dmq_meta *k)
{
    const dmq_hyper *h = k->hyper;
    size_t words = h->shape.outcome_bytes / sizeof(dmq_real);

    return (dmq_schedule_args){ .counter = k->counter,
                                .rows = k->room,
                                .index = dmq_mirror_device(&k->index_place, k->index),
                                .index_now = k->index_now,
                                .n_index = (int)k->index_count,
                                .real = dmq_mirror_device(&k->weight_place, k->weight),
                                .real_now = k->weight_now,
                                .n_real = (int)h->shape.places,
                                .result = (const dmq_real *)h->outcome, /* copied as it is */
                                .results = (dmq_real *)k->kept,
                                .n_result = (int)words };
}

/* The next row of the plan. No number of it is the host's, if the problem is recordable. */
static dmq_status iterate(void *context, dmq_queue *queue)
{
    dmq_meta *k = context;
    dmq_hyper *h = k->hyper;
    const dmq_backend *be = k->space->be;
    const dmq_hyper_samples samples = { .index = k->index_now,
                                        .weight = k->weight_now,
                                        .host = k->index + (size_t)k->next * k->index_count };
    const dmq_schedule_args row = schedule_of(k);
    dmq_logits_args logits = { .s = k->s,
                               .pick = k->index_now + h->shape.index_count,
                               .w = k->w,
                               .n = k->n,
                               .total = k->config.n_train,
                               .tau = k->config.tau,
                               .m = k->m,
                               .v = k->v,
                               .visited = k->visited,
                               .d_mse = h->args.d_mse,
                               .d_gm = h->args.d_gm,
                               .d = k->d,
                               .s_old = k->s_old,
                               .state = k->state,
                               .policy = k->config.gm_weight,
                               .rho_0 = k->config.rho_0,
                               .lr = k->config.lr,
                               .ess_stop = k->config.ess_stop };
    dmq_status st = DMQ_OK;

    DMQ_TRY(be->schedule_take(queue, &row));
    DMQ_TRY(be->logits_take(queue, &logits));
    DMQ_TRY(dmq_hyper_enqueue(h, k->theta, &samples, k->w));
    DMQ_TRY(be->logits_step(queue, &logits));
done:
    return st;
}

dmq_status dmq_meta_run(dmq_meta *k, int count)
{
    const dmq_backend *be = k->space->be;
    const dmq_problem *p = k->hyper->problem;
    dmq_queue *queue = k->space->queue;
    int may_record = p->recordable(p->context);
    const dmq_schedule_args last = schedule_of(k);
    dmq_status st = DMQ_OK;

    assert(k->next + count <= k->rows);
    for (int i = 0; i < count; i++) {
        DMQ_TRY(may_record ? dmq_replay_run(&k->replay, be, queue, k->space->lanes, iterate, k)
                           : iterate(k, queue));
        k->next++;
    }
    DMQ_TRY(be->schedule_keep(queue, &last)); /* others may use the outcome now */
done:
    return st;
}

dmq_status dmq_meta_look_at(dmq_meta *k, dmq_meta_look *look)
{
    size_t bytes = k->hyper->shape.outcome_bytes;
    dmq_logits_state state;
    double *outcome = NULL;
    dmq_status st = DMQ_OK;
    int row;

    *look = (dmq_meta_look){ 0 };
    DMQ_TRY(dmq_space_get(k->space, &state, k->state, sizeof state));
    look->steps = state.steps;
    look->stopped = state.stopped;
    look->gm = (dmq_gm_stats){ .rho = state.rho, .cosine = state.cosine, .lambda = state.used };
    row = state.steps - 1 - k->steps;
    if (row < 0) /* the stop was before this plan, or nothing has been run */
        goto done;
    assert(row < k->rows);
    DMQ_TRY(dmq_alloc((void **)&outcome, bytes, 1));
    DMQ_TRY(dmq_space_get(k->space, outcome, (const char *)k->kept + (size_t)row * bytes, bytes));
    dmq_hyper_result_of(k->hyper, &look->hyper, outcome,
                        k->weight + (size_t)row * k->hyper->shape.places);
    if (!isfinite(state.ess) || !isfinite(look->hyper.loss_mse)) {
        DMQ_TRY(dmq_fail(DMQ_EDIVERGE, "meta-iteration %d: the weights or losses are not finite",
                         state.steps));
    }
done:
    dmq_free(outcome);
    return st;
}
