/* Gradients at several points of theta by one pass: the tape has the samples of all of them, and a set of
   weights for each. What a device is given once costs it as much as what it would be given for one. */
#include "recon/block_inner.h"

#include "base/memory.h"

#include <assert.h>

/* Samples of a pass over several points: beyond some shards there is nothing to win, and memory to lose. */
#define SAMPLES_MOST (4 * DMQ_BATCH_MAX)

/* From one point's weights to the next: whole packs, whatever the length of theta. */
static size_t apart_of(const dmq_block *b)
{
    return (b->problem.n_theta + 63) / 64 * 64;
}

/* Bytes that a point takes here and of the caller: theta, weights, gradients, and its samples on a tape. */
static double bytes_of_point(const dmq_block *b, int places)
{
    const dmq_block_tapes *t = b->inner->tapes;

    while (t->next)
        t = t->next; /* the one that every block has */
    return 3.0 * (double)apart_of(b) * sizeof(dmq_real) +
           (double)places / t->size * (double)dmq_tape_bytes(t->lane[0].u.tape);
}

/* A host's lanes share passes out, and samples of more than a shard fill a device by themselves. */
static int by_one_pass(const dmq_block *b, int n)
{
    const dmq_backend *be = b->inner->space.be;

    return be->shard > DMQ_SMALL_SHARD && !b->inner->prefetch && n <= dmq_shard_size(be, n);
}

int dmq_block_points(const void *context, int n, int most)
{
    const dmq_block *b = context;
    const dmq_backend *be = b->inner->space.be;
    int places = dmq_block_places(b, n), points = SAMPLES_MOST / places;
    double room;

    if (!by_one_pass(b, n))
        return 1;
    if (be->memory_free) {
        room = be->memory_free() / 2 / bytes_of_point(b, places); /* the rest is for others */
        points = room < points ? (int)room : points;
    }
    points = points < most ? points : most;
    return points < 1 ? 1 : points;
}

static dmq_status make_room(dmq_block *b, int points)
{
    dmq_block_points_room *r = &b->inner->points;
    dmq_status st = DMQ_OK;

    if (points <= r->room)
        return DMQ_OK;
    dmq_block_points_release(b);
    DMQ_TRY(dmq_space_alloc(&r->w_soft, &b->inner->space, (size_t)points * apart_of(b)));
    DMQ_TRY(
        dmq_alloc((void **)&r->work, (size_t)points * (size_t)b->inner->n_chunks, sizeof *r->work));
    r->room = points;
done:
    return st;
}

void dmq_block_points_release(dmq_block *b)
{
    dmq_block_points_room *r = &b->inner->points;

    dmq_space_free(&b->inner->space, r->w_soft);
    dmq_free(r->work);
    *r = (dmq_block_points_room){ 0 };
}

/* A slot over the layers of all points at once. grads (points, P): weight gradients, which become theta's. */
static dmq_status round_points(const dmq_block *b,
                               dmq_status (*slot)(dmq_queue *queue, const dmq_adaround_args *a),
                               const dmq_real *theta, int points, dmq_real *grads)
{
    const dmq_block_inner *in = b->inner;
    dmq_adaround_layer *l = in->points.work;

    for (int s = 0; s < points; s++) {
        size_t to = (size_t)s * b->problem.n_theta, soft = (size_t)s * apart_of(b);

        for (int c = 0; c < in->n_chunks; c++, l++) {
            size_t at = in->chunk_at[c];

            *l = in->chunk[c];
            l->alpha = (dmq_real *)theta + to + at; /* only init and steps write it */
            l->w_soft = in->points.w_soft + soft + at;
            l->code = NULL;
            l->dw = l->dalpha = grads + to + at;
        }
    }
    return slot(in->space.queue, &(dmq_adaround_args){ .layer = in->points.work,
                                                       .n_layers = points * in->n_chunks });
}

/* ENOTSUP: an operation of the unit has one set of parameters for all samples of a pass. */
static dmq_status one_pass(dmq_block *b, const dmq_real *theta, const dmq_draw *draw, int points,
                           dmq_real *grads)
{
    dmq_block_inner *in = b->inner;
    const dmq_space *space = &in->space;
    int places = dmq_block_places(b, draw->n), size = points * places;
    dmq_block_rows rows = { .sample = draw->index,
                            .slot = draw->index + draw->stride,
                            .step = draw->index + 2 * draw->stride,
                            .weight = draw->weight,
                            .result = draw->loss };
    dmq_block_tapes *tapes;
    dmq_block_tape *t = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(make_room(b, points));
    DMQ_TRY(dmq_block_tapes_get(&tapes, b, DMQ_TAPE_BACKWARD, size));
    t = &tapes->lane[0];
    DMQ_TRY(dmq_tape_bind_each(t->u.tape, &(dmq_each){ .grads = grads,
                                                       .apart = b->problem.n_theta,
                                                       .samples = size,
                                                       .count = size,
                                                       .per = places,
                                                       .values_apart = apart_of(b) }));
    dmq_tape_bind_values(t->u.tape, in->points.w_soft);
    DMQ_TRY(round_points(b, space->be->adaround_forward, theta, points, grads));
    DMQ_TRY(dmq_block_fill_to_learn(b, t, &rows, 0, space->queue));
    DMQ_TRY(dmq_tape_learn(t->u.tape, space->queue));
    DMQ_TRY(round_points(b, space->be->adaround_backward, theta, points, grads));
done:
    if (t) { /* as the others know it */
        dmq_tape_bind_values(t->u.tape, in->w_soft);
        dmq_tape_bind(t->u.tape, NULL, NULL);
    }
    return st;
}

dmq_status dmq_block_grad_points_of(void *context, const dmq_real *theta, const dmq_draw *draw,
                                    int points, dmq_real *grads)
{
    dmq_block *b = context;
    size_t n_theta = b->problem.n_theta;
    dmq_status st = DMQ_ENOTSUP;

    if (points > 1 && by_one_pass(b, draw->n))
        st = one_pass(b, theta, draw, points, grads);
    if (st != DMQ_ENOTSUP)
        return st;
    st = DMQ_OK;
    for (int s = 0; s < points; s++) {
        dmq_draw run = dmq_draw_run(draw, s, dmq_block_places(b, draw->n));

        DMQ_TRY(
            dmq_block_grad_of(b, theta + (size_t)s * n_theta, &run, grads + (size_t)s * n_theta));
    }
done:
    return st;
}
