/* Theta and the weights that it stands for, in pieces that lanes take. */
#include "recon/block_inner.h"

#include "base/memory.h"
#include "kernels/adaround_math.h"

#include <assert.h>
#include <string.h>

/* Numbers of theta in a piece of work, about. */
#define CHUNK 8192

/* Rows of a piece of a layer. */
static int chunk_rows(const dmq_qlayer *l)
{
    int rows = CHUNK / l->per;

    return rows < 1 ? 1 : rows < l->rows ? rows : l->rows;
}

static void add_chunks(dmq_block *b, int layer)
{
    dmq_block_inner *in = b->inner;
    const dmq_model *model = b->q->model;
    const dmq_qlayer *l = &b->q->layer[layer];
    const dmq_real *w = model->params + model->entry[model->layer[layer].weight].offset;
    int step = chunk_rows(l);

    for (int r = 0; r < l->rows; r += step) {
        size_t at = (size_t)r * (size_t)l->per;

        in->chunk_at[in->n_chunks] = b->place[layer] + at;
        in->chunk[in->n_chunks++] =
            (dmq_adaround_layer){ .w = w + at,
                                  .scale = l->scale + r,
                                  .zero = l->zero + r,
                                  .w_soft = in->w_soft + b->place[layer] + at,
                                  .code = l->code + at,
                                  .k = l->rows - r < step ? l->rows - r : step,
                                  .per = l->per,
                                  .hi = (dmq_real)((1 << l->weight_bits) - 1) };
    }
}

dmq_status dmq_block_round_create(dmq_block *b)
{
    dmq_block_inner *in = b->inner;
    size_t p = b->problem.n_theta, n = 0;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < b->n_layers; i++) {
        const dmq_qlayer *l = &b->q->layer[b->layer[i]];

        n += (size_t)((l->rows + chunk_rows(l) - 1) / chunk_rows(l));
    }
    DMQ_TRY(dmq_alloc((void **)&in->w_soft, p, sizeof *in->w_soft));
    DMQ_TRY(dmq_alloc((void **)&in->dw, p, sizeof *in->dw));
    DMQ_TRY(dmq_alloc((void **)&in->dw_shard, p * DMQ_WAVE, sizeof *in->dw_shard));
    DMQ_TRY(dmq_alloc((void **)&in->chunk, n, sizeof *in->chunk));
    DMQ_TRY(dmq_alloc((void **)&in->chunk_at, n, sizeof *in->chunk_at));
    DMQ_TRY(dmq_alloc((void **)&in->chunk_reg, n, sizeof *in->chunk_reg));
    for (int i = 0; i < b->n_layers; i++)
        add_chunks(b, b->layer[i]);
    assert((size_t)in->n_chunks == n);
    dmq_block_take_quantized(b);
done:
    return st;
}

static dmq_status round_piece(void *context, int piece, int lane, dmq_queue *queue)
{
    const dmq_round_job *j = context;
    dmq_adaround_layer l = j->block->inner->chunk[piece];
    size_t at = j->block->inner->chunk_at[piece];

    (void)lane;
    /* Only init writes alpha, and it is given its own. */
    l.alpha = j->init ? j->init + at : (dmq_real *)j->alpha + at;
    l.dw = j->dw ? j->dw + at : NULL;
    l.alpha_tan = j->alpha_tan ? j->alpha_tan + at : NULL;
    l.dalpha = j->dalpha ? j->dalpha + at : NULL;
    l.w_tan = j->block->inner->w_tan ? j->block->inner->w_tan + at : NULL;
    return j->slot(queue, &(dmq_adaround_args){ .layer = &l, .n_layers = 1, .hard = j->hard });
}

dmq_status dmq_block_round(const dmq_round_job *job)
{
    return dmq_lanes_run(job->block->lanes, job->block->inner->n_chunks, round_piece, (void *)job);
}

dmq_status dmq_block_init(dmq_block *b, dmq_real *alpha)
{
    return dmq_block_round(&(dmq_round_job){
        .block = b, .slot = dmq_lanes_backend(b->lanes)->adaround_init, .init = alpha });
}

dmq_status dmq_block_soften(dmq_block *b, const dmq_real *theta)
{
    return dmq_block_round(&(dmq_round_job){
        .block = b, .slot = dmq_lanes_backend(b->lanes)->adaround_forward, .alpha = theta });
}

void dmq_block_take_quantized(dmq_block *b)
{
    for (int i = 0; i < b->n_layers; i++) {
        const dmq_qlayer *l = &b->q->layer[b->layer[i]];

        memcpy(b->inner->w_soft + b->place[b->layer[i]], dmq_qmodel_weight(b->q, b->layer[i]),
               (size_t)l->rows * (size_t)l->per * sizeof(dmq_real));
    }
}

dmq_status dmq_block_harden(dmq_block *b, const dmq_real *alpha)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_block_round(&(dmq_round_job){ .block = b,
                                              .slot = dmq_lanes_backend(b->lanes)->adaround_forward,
                                              .alpha = alpha,
                                              .hard = 1 }));
    for (int i = 0; i < b->n_layers; i++) {
        dmq_qlayer *l = &b->q->layer[b->layer[i]];

        memcpy(dmq_qmodel_weight(b->q, b->layer[i]), b->inner->w_soft + b->place[b->layer[i]],
               (size_t)l->rows * (size_t)l->per * sizeof(dmq_real));
        l->learned = 1;
    }
done:
    return st;
}

double dmq_block_undecided(const dmq_block *b, const dmq_real *alpha)
{
    size_t n = 0;

    for (size_t i = 0; i < b->problem.n_theta; i++) {
        dmq_real h = dmq_ada_h(alpha[i]);

        n += h > (dmq_real)1e-3 && h < (dmq_real)(1 - 1e-3);
    }
    return (double)n / (double)b->problem.n_theta;
}
