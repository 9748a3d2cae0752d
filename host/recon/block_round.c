/* Theta and the weights that it stands for, in pieces of work. */
#include "recon/block_inner.h"

#include "base/memory.h"
#include "kernels/adaround_math.h"

#include <assert.h>
#include <string.h>

/* Numbers of theta in a piece of work that lanes share out, about. */
#define CHUNK 8192

/* Rows of a piece of a layer; a device takes all layers at once. */
static int chunk_rows(const dmq_block *b, const dmq_qlayer *l)
{
    int rows = b->inner->space.be->host_memory ? CHUNK / l->per : l->rows;

    return rows < 1 ? 1 : rows < l->rows ? rows : l->rows;
}

static void add_chunks(dmq_block *b, int layer, size_t row)
{
    dmq_block_inner *in = b->inner;
    const dmq_model *model = b->q->model;
    const dmq_qlayer *l = &b->q->layer[layer];
    const dmq_real *w = dmq_mirror_device(
        &model->place, model->params + model->entry[model->layer[layer].weight].offset);
    int step = chunk_rows(b, l);

    for (int r = 0; r < l->rows; r += step) {
        size_t in_layer = (size_t)r * (size_t)l->per, at = b->place[layer] + in_layer;

        in->chunk_at[in->n_chunks] = at;
        in->chunk[in->n_chunks++] =
            (dmq_adaround_layer){ .w = w + in_layer,
                                  .scale = in->scale + row + r,
                                  .zero = in->zero + row + r,
                                  .w_soft = in->w_soft + at,
                                  .code = in->code + at,
                                  .k = l->rows - r < step ? l->rows - r : step,
                                  .per = l->per,
                                  .hi = (dmq_real)((1 << l->weight_bits) - 1) };
    }
}

/* Ranges of a layer, to backend memory. */
static dmq_status put_ranges(dmq_block *b, int layer, size_t row)
{
    const dmq_block_inner *in = b->inner;
    const dmq_qlayer *l = &b->q->layer[layer];
    size_t rows = (size_t)l->rows;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_space_put(&in->space, in->scale + row, l->scale, rows * sizeof *in->scale));
    DMQ_TRY(dmq_space_put(&in->space, in->zero + row, l->zero, rows * sizeof *in->zero));
done:
    return st;
}

dmq_status dmq_block_round_create(dmq_block *b)
{
    dmq_block_inner *in = b->inner;
    const dmq_space *space = &in->space;
    size_t p = b->problem.n_theta, rows = 0, n = 0;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < b->n_layers; i++) {
        const dmq_qlayer *l = &b->q->layer[b->layer[i]];

        n += (size_t)((l->rows + chunk_rows(b, l) - 1) / chunk_rows(b, l));
        rows += (size_t)l->rows;
    }
    in->per_piece = space->be->host_memory ? 1 : (int)n;
    in->n_pieces = space->be->host_memory ? (int)n : 1;
    DMQ_TRY(dmq_space_alloc(&in->scale, space, rows));
    DMQ_TRY(dmq_space_alloc(&in->zero, space, rows));
    DMQ_TRY(space->be->alloc((void **)&in->code, p * sizeof *in->code));
    DMQ_TRY(dmq_space_alloc(&in->w_soft, space, p));
    DMQ_TRY(dmq_space_alloc(&in->dw, space, p));
    DMQ_TRY(dmq_space_alloc(&in->dw_shard, space, p * DMQ_WAVE));
    DMQ_TRY(space->be->alloc((void **)&in->reg, (size_t)in->n_pieces * sizeof *in->reg));
    DMQ_TRY(dmq_alloc((void **)&in->host_reg, (size_t)in->n_pieces, sizeof *in->host_reg));
    DMQ_TRY(dmq_alloc((void **)&in->chunk, n, sizeof *in->chunk));
    DMQ_TRY(dmq_alloc((void **)&in->chunk_at, n, sizeof *in->chunk_at));
    DMQ_TRY(dmq_alloc((void **)&in->work, n, sizeof *in->work));
    rows = 0;
    for (int i = 0; i < b->n_layers; i++) {
        DMQ_TRY(put_ranges(b, b->layer[i], rows));
        add_chunks(b, b->layer[i], rows);
        rows += (size_t)b->q->layer[b->layer[i]].rows;
    }
    assert((size_t)in->n_chunks == n);
    DMQ_TRY(dmq_block_take_quantized(b));
done:
    return st;
}

void dmq_block_round_release(dmq_block *b)
{
    dmq_block_inner *in = b->inner;
    void *const memory[] = { in->scale, in->zero, in->code,     in->w_soft,
                             in->w_tan, in->dw,   in->dw_shard, in->reg };

    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        dmq_space_free(&in->space, memory[i]);
    dmq_free(in->host_reg);
    dmq_free(in->chunk);
    dmq_free(in->chunk_at);
    dmq_free(in->work);
}

dmq_status dmq_block_need_tan(dmq_block *b)
{
    if (b->inner->w_tan)
        return DMQ_OK;
    return dmq_space_alloc(&b->inner->w_tan, &b->inner->space, b->problem.n_theta);
}

int dmq_block_piece(const dmq_block *b, int piece, const dmq_round_job *j,
                    const dmq_adaround_layer **layers, size_t *at, size_t *count)
{
    const dmq_block_inner *in = b->inner;
    int first = piece * in->per_piece;

    *layers = in->work + first;
    *at = in->chunk_at[first];
    *count = 0;
    for (int i = first; i < first + in->per_piece; i++) {
        dmq_adaround_layer *l = &in->work[i];
        size_t place = in->chunk_at[i];

        *l = in->chunk[i];
        /* Only init and steps write alpha, and they are given their own. */
        l->alpha = j->init ? j->init + place : (dmq_real *)j->alpha + place;
        l->dw = j->dw ? j->dw + place : NULL;
        l->alpha_tan = j->alpha_tan ? j->alpha_tan + place : NULL;
        l->dalpha = j->dalpha ? j->dalpha + place : NULL;
        l->w_tan = in->w_tan ? in->w_tan + place : NULL;
        *count += (size_t)l->k * (size_t)l->per;
    }
    return in->per_piece;
}

static dmq_status round_piece(void *context, int piece, int lane, dmq_queue *queue)
{
    const dmq_round_job *j = context;
    dmq_adaround_args a = { .hard = j->hard };
    size_t at, count;

    (void)lane;
    a.n_layers = dmq_block_piece(j->block, piece, j, &a.layer, &at, &count);
    return j->slot(queue, &a);
}

dmq_status dmq_block_round(const dmq_round_job *job)
{
    return dmq_lanes_run(job->block->lanes, job->block->inner->n_pieces, round_piece, (void *)job);
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

dmq_status dmq_block_take_quantized(dmq_block *b)
{
    dmq_status st = DMQ_OK;

    for (int i = 0; i < b->n_layers; i++) {
        const dmq_qlayer *l = &b->q->layer[b->layer[i]];
        const dmq_real *w = dmq_mirror_device(&b->q->w_place, dmq_qmodel_weight(b->q, b->layer[i]));

        DMQ_TRY(dmq_space_copy(&b->inner->space, b->inner->w_soft + b->place[b->layer[i]], w,
                               (size_t)l->rows * (size_t)l->per));
    }
done:
    return st;
}

dmq_status dmq_block_harden(dmq_block *b, const dmq_real *alpha)
{
    const dmq_block_inner *in = b->inner;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_block_round(&(dmq_round_job){
        .block = b, .slot = in->space.be->adaround_forward, .alpha = alpha, .hard = 1 }));
    for (int i = 0; i < b->n_layers; i++) {
        dmq_qlayer *l = &b->q->layer[b->layer[i]];
        size_t place = b->place[b->layer[i]], n = (size_t)l->rows * (size_t)l->per;

        DMQ_TRY(dmq_space_get(&in->space, l->code, in->code + place, n * sizeof *l->code));
        DMQ_TRY(dmq_space_get(&in->space, dmq_qmodel_weight(b->q, b->layer[i]), in->w_soft + place,
                              n * sizeof(dmq_real)));
        DMQ_TRY(dmq_qmodel_push_weight(b->q, in->space.queue, b->layer[i]));
        l->learned = 1;
    }
done:
    return st;
}

dmq_status dmq_block_undecided(double *share, const dmq_block *b, const dmq_real *alpha)
{
    size_t n = 0, p = b->problem.n_theta;
    dmq_real *host = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&host, p, sizeof *host));
    DMQ_TRY(dmq_space_get(&b->inner->space, host, alpha, p * sizeof *host));
    for (size_t i = 0; i < p; i++) {
        dmq_real h = dmq_ada_h(host[i]);

        n += h > (dmq_real)1e-3 && h < (dmq_real)(1 - 1e-3);
    }
    *share = (double)n / (double)p;
done:
    dmq_free(host);
    return st;
}
