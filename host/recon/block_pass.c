/* Passes of a block over samples: losses, gradients, gradients of each sample, tangents, iterations. */
#include "recon/block_inner.h"

#include "base/memory.h"

#include <assert.h>
#include <string.h>

/* Shards of n samples as pieces of work. */
typedef struct pass {
    dmq_block *b;
    const int *sample;
    const dmq_real *weight; /* NULL: 1 */
    dmq_real *out;          /* (n) losses or dots; NULL: not wanted */
    dmq_real *rows;         /* each: (n, P) */
    const dmq_real *d;      /* each: D */
    int n, first_shard, backward;
    int few; /* 1: in half shards */
} pass;

static int shard_size(int few)
{
    return few ? DMQ_SHARD / 2 : DMQ_SHARD;
}

static int shards(int n, int few)
{
    return (n + shard_size(few) - 1) / shard_size(few);
}

static dmq_status shard_piece(void *context, int piece, int lane, dmq_queue *queue)
{
    const pass *p = context;
    dmq_block_inner *in = p->b->inner;
    const dmq_block_tape *t = &in->tape[p->few ? DMQ_BLOCK_FEW : DMQ_BLOCK_TRAIN][lane];
    int size = shard_size(p->few), from = (p->first_shard + piece) * size;
    int n = p->n - from < size ? p->n - from : size;
    dmq_status st = DMQ_OK;

    dmq_block_fill(p->b, t, p->sample + from, n);
    DMQ_TRY(dmq_tape_forward(t->u.tape, queue, DMQ_PART_LIVE));
    if (p->out)
        memcpy(p->out + from, t->loss->value, (size_t)n * sizeof *p->out);
    if (!p->backward)
        return DMQ_OK;
    dmq_tape_bind(t->u.tape, in->dw_shard + (size_t)piece * p->b->problem.n_theta, NULL);
    for (int i = 0; i < size; i++)
        t->loss->grad[i] = i >= n ? 0 : p->weight ? p->weight[from + i] : 1;
    DMQ_TRY(dmq_tape_backward(t->u.tape, queue));
done:
    return st;
}

dmq_status dmq_block_losses(dmq_block *b, const int *sample, int n, dmq_real *loss)
{
    pass p = { .b = b, .sample = sample, .out = loss, .n = n };

    return dmq_lanes_run(b->lanes, shards(n, 0), shard_piece, &p);
}

/* dw (+)= sum over the shards of a wave, in their order, a run of numbers a piece. */
typedef struct join {
    dmq_block *b;
    int n_shards, add;
    const dmq_block_step *step; /* NULL: join only */
} join;

static dmq_status join_piece(void *context, int piece, int lane, dmq_queue *queue)
{
    const join *j = context;
    const dmq_block_inner *in = j->b->inner;
    const dmq_backend *be = dmq_lanes_backend(j->b->lanes);
    dmq_adaround_layer l = in->chunk[piece];
    const dmq_real *x[DMQ_WAVE];
    size_t at = in->chunk_at[piece];
    const dmq_block_step *s = j->step;
    dmq_status st = DMQ_OK;

    (void)lane;
    for (int k = 0; k < j->n_shards; k++)
        x[k] = in->dw_shard + (size_t)k * j->b->problem.n_theta + at;
    DMQ_TRY(be->sum_blocks(queue, &(dmq_sum_blocks_args){ .x = x,
                                                          .y = in->dw + at,
                                                          .n_blocks = j->n_shards,
                                                          .count = (size_t)l.k * (size_t)l.per,
                                                          .alpha = 1,
                                                          .add = j->add }));
    if (!s)
        return DMQ_OK;
    l.alpha = s->alpha + at;
    l.dw = in->dw + at;
    DMQ_TRY(be->adaround_step(
        queue, &(dmq_adaround_step_args){ .round = { .layer = &l,
                                                     .n_layers = 1,
                                                     .reg_weight = (dmq_real)s->reg_weight,
                                                     .reg_beta = (dmq_real)s->reg_beta,
                                                     .reg_value = &in->chunk_reg[piece] },
                                          .m = s->m + at,
                                          .v = s->v + at,
                                          .lr = (dmq_real)s->lr,
                                          .beta1 = (dmq_real)s->beta1,
                                          .beta2 = (dmq_real)s->beta2,
                                          .eps = (dmq_real)s->eps,
                                          .step = s->step }));
done:
    return st;
}

dmq_status dmq_block_iterate(dmq_block *b, const int *sample, const dmq_real *weight, int n,
                             const dmq_block_step *step, dmq_real *loss)
{
    pass p = { .b = b, .sample = sample, .weight = weight, .out = loss, .n = n, .backward = 1 };
    join j = { .b = b, .n_shards = shards(n, 0), .step = step };
    dmq_status st = DMQ_OK;

    assert(n >= 1 && n <= DMQ_SHARD * DMQ_WAVE);
    DMQ_TRY(dmq_lanes_run(b->lanes, j.n_shards, shard_piece, &p));
    DMQ_TRY(dmq_lanes_run(b->lanes, b->inner->n_chunks, join_piece, &j));
    if (step->reg_value) {
        *step->reg_value = 0;
        for (int i = 0; i < b->inner->n_chunks; i++)
            *step->reg_value += b->inner->chunk_reg[i];
    }
done:
    return st;
}

dmq_status dmq_block_grad(void *context, const dmq_real *theta, const int *sample,
                          const dmq_real *weight, int n, dmq_real *grad, dmq_real *loss)
{
    dmq_block *b = context;
    pass p = { .b = b,
               .sample = sample,
               .weight = weight,
               .out = loss,
               .n = n,
               .backward = 1,
               .few = n <= DMQ_SHARD };
    int n_shards = shards(n, p.few);
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_block_tapes(b, p.few ? DMQ_BLOCK_FEW : DMQ_BLOCK_TRAIN));
    DMQ_TRY(dmq_block_soften(b, theta));
    for (; p.first_shard < n_shards; p.first_shard += DMQ_WAVE) {
        int left = n_shards - p.first_shard;
        join j = { .b = b,
                   .n_shards = left < DMQ_WAVE ? left : DMQ_WAVE,
                   .add = p.first_shard > 0 };

        DMQ_TRY(dmq_lanes_run(b->lanes, j.n_shards, shard_piece, &p));
        DMQ_TRY(dmq_lanes_run(b->lanes, b->inner->n_chunks, join_piece, &j));
    }
    DMQ_TRY(
        dmq_block_round(&(dmq_round_job){ .block = b,
                                          .slot = dmq_lanes_backend(b->lanes)->adaround_backward,
                                          .alpha = theta,
                                          .dw = b->inner->dw,
                                          .dalpha = grad }));
done:
    return st;
}

static dmq_status each_piece(void *context, int i, int lane, dmq_queue *queue)
{
    const pass *p = context;
    const dmq_block_tape *t = &p->b->inner->tape[DMQ_BLOCK_EACH][lane];
    size_t n_theta = p->b->problem.n_theta;
    dmq_real *row = p->rows + (size_t)i * n_theta;
    dmq_status st = DMQ_OK;

    dmq_block_fill(p->b, t, p->sample + i, 1);
    dmq_tape_bind(t->u.tape, row, NULL);
    DMQ_TRY(dmq_tape_forward(t->u.tape, queue, DMQ_PART_LIVE));
    t->loss->grad[0] = 1;
    DMQ_TRY(dmq_tape_backward(t->u.tape, queue));
    for (size_t k = 0; k < n_theta; k++)
        row[k] *= p->d[k];
    if (p->out)
        p->out[i] = t->loss->value[0];
done:
    return st;
}

dmq_status dmq_block_grad_each(void *context, const dmq_real *theta, const int *sample, int n,
                               dmq_real *jacobian, dmq_real *loss)
{
    dmq_block *b = context;
    dmq_real *ones = b->inner->dw_shard; /* free here, and so is dw for D */
    pass p = { .b = b, .sample = sample, .out = loss, .rows = jacobian, .d = b->inner->dw, .n = n };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_block_tapes(b, DMQ_BLOCK_EACH));
    DMQ_TRY(dmq_block_soften(b, theta));
    for (size_t k = 0; k < b->problem.n_theta; k++)
        ones[k] = 1;
    DMQ_TRY(
        dmq_block_round(&(dmq_round_job){ .block = b,
                                          .slot = dmq_lanes_backend(b->lanes)->adaround_backward,
                                          .alpha = theta,
                                          .dw = ones,
                                          .dalpha = b->inner->dw }));
    DMQ_TRY(dmq_lanes_run(b->lanes, n, each_piece, &p));
done:
    return st;
}

static dmq_status jvp_piece(void *context, int piece, int lane, dmq_queue *queue)
{
    const pass *p = context;
    const dmq_block_tape *t = &p->b->inner->tape[DMQ_BLOCK_JVP][lane];
    int from = piece * DMQ_SHARD, n = p->n - from < DMQ_SHARD ? p->n - from : DMQ_SHARD;
    dmq_status st = DMQ_OK;

    dmq_block_fill(p->b, t, p->sample + from, n);
    DMQ_TRY(dmq_tape_forward(t->u.tape, queue, DMQ_PART_LIVE));
    DMQ_TRY(dmq_tape_jvp(t->u.tape, queue));
    memcpy(p->out + from, t->loss->tan, (size_t)n * sizeof *p->out);
done:
    return st;
}

dmq_status dmq_block_jvp(void *context, const dmq_real *theta, const int *sample, int n,
                         const dmq_real *direction, dmq_real *dot)
{
    dmq_block *b = context;
    pass p = { .b = b, .sample = sample, .out = dot, .n = n };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_block_tapes(b, DMQ_BLOCK_JVP));
    DMQ_TRY(dmq_block_soften(b, theta));
    DMQ_TRY(dmq_block_round(&(dmq_round_job){ .block = b,
                                              .slot = dmq_lanes_backend(b->lanes)->adaround_jvp,
                                              .alpha = theta,
                                              .alpha_tan = direction }));
    DMQ_TRY(dmq_lanes_run(b->lanes, shards(n, 0), jvp_piece, &p));
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

/* A piece of somebody else's work, who knows no lanes. */
typedef struct errand {
    dmq_problem_piece *piece;
    void *context;
} errand;

static dmq_status errand_piece(void *context, int piece, int lane, dmq_queue *queue)
{
    const errand *e = context;

    (void)lane;
    (void)queue;
    return e->piece(e->context, piece);
}

dmq_status dmq_block_each(void *context, int n_pieces, dmq_problem_piece *piece,
                          void *piece_context)
{
    dmq_block *b = context;
    errand e = { piece, piece_context };

    return dmq_lanes_run(b->lanes, n_pieces, errand_piece, &e);
}
