#include "quant/ranges.h"

#include "base/log.h"
#include "base/memory.h"

#include <string.h>

/* Numbers that a piece of work searches, about. */
#define PIECE_NUMBERS 16384

/* Output channels from..from+count of a layer. */
typedef struct piece {
    int layer, from, count;
} piece;

typedef struct job {
    dmq_qmodel *q;
    const dmq_backend *be;
    const dmq_ranges_config *config;
    piece *piece;
    int n_pieces;
} job;

dmq_status dmq_range_init_parse(dmq_range_init *out, const char *text)
{
    if (strcmp(text, "mse") == 0) {
        *out = DMQ_RANGE_MSE;
    } else if (strcmp(text, "max") == 0) {
        *out = DMQ_RANGE_MAX;
    } else {
        return dmq_fail(DMQ_EINVAL, "weight range \"%s\": must be mse or max", text);
    }
    return DMQ_OK;
}

void dmq_ranges_defaults(dmq_ranges_config *config)
{
    *config = (dmq_ranges_config){ .candidates = 80, .power = 2.4 };
}

/* scale and zero (c) of x (c, inner). */
static dmq_status search(const job *j, dmq_queue *queue, const dmq_real *x, int c, int inner,
                         int bits, dmq_real *scale, dmq_real *zero)
{
    dmq_status st;

    if (j->config->init == DMQ_RANGE_MSE) {
        return j->be->range_search(queue,
                                   &(dmq_range_search_args){ .x = x,
                                                             .scale = scale,
                                                             .zero = zero,
                                                             .outer = 1,
                                                             .c = c,
                                                             .inner = inner,
                                                             .bits = bits,
                                                             .candidates = j->config->candidates,
                                                             .power = (dmq_real)j->config->power });
    }
    /* The ends are first written where scale and zero go. */
    st = j->be->minmax(
        queue,
        &(dmq_minmax_args){ .x = x, .lo = zero, .hi = scale, .outer = 1, .c = c, .inner = inner });
    for (int i = 0; i < c && st == DMQ_OK; i++) {
        dmq_real lo = zero[i] < 0 ? zero[i] : 0, hi = scale[i] > 0 ? scale[i] : 0;

        scale[i] = (hi - lo) / (dmq_real)((1 << bits) - 1);
        if (!(scale[i] >= (dmq_real)DMQ_MIN_SCALE))
            scale[i] = (dmq_real)DMQ_MIN_SCALE;
        zero[i] = dmq_rint(-lo / scale[i]);
    }
    return st;
}

/*
 * Channels from..from+count of a split layer: each half is gathered over all of them and all taps,
 * searched as one channel, and told to its rows.
 */
static dmq_status search_halves(const job *j, dmq_queue *queue, int layer, int from, int count)
{
    const dmq_layer *l = &j->q->model->layer[layer];
    dmq_qlayer *q = &j->q->layer[layer];
    int runs = q->rows / l->out, in_runs = l->in / q->per;
    size_t first = (size_t)from * (size_t)runs, rows = (size_t)count * (size_t)runs,
           n[2] = { 0, 0 };
    const dmq_real *w =
        j->q->model->params + j->q->model->entry[l->weight].offset + first * (size_t)q->per;
    dmq_real *half[2] = { NULL, NULL }, scale[2], zero[2];
    dmq_status st = DMQ_OK;

    for (int h = 0; h < 2; h++)
        DMQ_TRY(dmq_alloc((void **)&half[h], rows * (size_t)q->per, sizeof **half));
    for (size_t i = 0; i < rows * (size_t)q->per; i++) {
        int h = (int)(i % (size_t)l->in) >= q->split_at;

        half[h][n[h]++] = w[i];
    }
    for (int h = 0; h < 2; h++)
        DMQ_TRY(search(j, queue, half[h], 1, (int)n[h], q->weight_bits, &scale[h], &zero[h]));
    for (size_t r = 0; r < rows; r++) {
        int h = (int)(r % (size_t)in_runs) * q->per >= q->split_at;

        q->scale[first + r] = scale[h];
        q->zero[first + r] = zero[h];
    }
done:
    dmq_free(half[0]);
    dmq_free(half[1]);
    return st;
}

/* All of a layer as one channel. */
static dmq_status search_tensor(const job *j, dmq_queue *queue, int layer)
{
    dmq_qlayer *q = &j->q->layer[layer];
    const dmq_real *w =
        j->q->model->params + j->q->model->entry[j->q->model->layer[layer].weight].offset;
    dmq_status st = search(j, queue, w, 1, q->rows * q->per, q->weight_bits, q->scale, q->zero);

    for (int r = 1; r < q->rows && st == DMQ_OK; r++) {
        q->scale[r] = q->scale[0];
        q->zero[r] = q->zero[0];
    }
    return st;
}

static dmq_status round_rows(dmq_qmodel *q, int layer, int from, int count, const dmq_backend *be,
                             dmq_queue *queue)
{
    const dmq_layer *l = &q->model->layer[layer];
    dmq_qlayer *ql = &q->layer[layer];
    size_t at = (size_t)from * (size_t)ql->per;

    return be->fake_quant_forward(
        queue,
        &(dmq_fake_quant_args){ .x = q->model->params + q->model->entry[l->weight].offset + at,
                                .scale = ql->scale + from,
                                .zero = ql->zero + from,
                                .y = dmq_qmodel_weight(q, layer) + at,
                                .code = ql->code + at,
                                .n = 1,
                                .outer = 1,
                                .c = count,
                                .inner = ql->per,
                                .rows = 1,
                                .hi = (dmq_real)((1 << ql->weight_bits) - 1) });
}

dmq_status dmq_ranges_round(dmq_qmodel *q, int layer, const dmq_backend *be, dmq_queue *queue)
{
    q->layer[layer].learned = 0;
    return round_rows(q, layer, 0, q->layer[layer].rows, be, queue);
}

static dmq_status run_piece(void *context, int number, int lane, dmq_queue *queue)
{
    const job *j = context;
    const piece *p = &j->piece[number];
    const dmq_layer *l = &j->q->model->layer[p->layer];
    dmq_qlayer *q = &j->q->layer[p->layer];
    int runs = q->rows / l->out;
    dmq_status st = DMQ_OK;

    (void)lane;
    if (q->split_at > 0 && j->config->per_tensor) {
        DMQ_TRY(search_halves(j, queue, p->layer, 0, l->out));
    } else if (q->split_at > 0) {
        for (int k = p->from; k < p->from + p->count; k++)
            DMQ_TRY(search_halves(j, queue, p->layer, k, 1));
    } else if (j->config->per_tensor) {
        DMQ_TRY(search_tensor(j, queue, p->layer));
    } else {
        const dmq_real *w = j->q->model->params + j->q->model->entry[l->weight].offset;

        DMQ_TRY(search(j, queue, w + (size_t)p->from * (size_t)q->per, p->count, q->per,
                       q->weight_bits, q->scale + p->from, q->zero + p->from));
    }
    st = round_rows(j->q, p->layer, p->from * runs, p->count * runs, j->be, queue);
done:
    return st;
}

/* Cut all layers with weight bits into pieces of about equal work. */
static dmq_status make_pieces(job *j)
{
    const dmq_model *model = j->q->model;
    int n = 0;
    dmq_status st;

    for (int i = 0; i < model->n_layers; i++)
        n += model->layer[i].out;
    st = dmq_alloc((void **)&j->piece, (size_t)n, sizeof *j->piece);
    for (int i = 0; i < model->n_layers && st == DMQ_OK; i++) {
        const dmq_layer *l = &model->layer[i];
        size_t per = dmq_shape_count(model->entry[l->weight].shape) / (size_t)l->out;
        int step = (int)(PIECE_NUMBERS / per);

        if (j->q->layer[i].weight_bits == 0)
            continue;
        if (step < 1)
            step = 1;
        if (j->config->per_tensor)
            step = l->out;
        for (int from = 0; from < l->out; from += step) {
            j->piece[j->n_pieces++] =
                (piece){ i, from, from + step <= l->out ? step : l->out - from };
        }
    }
    return st;
}

dmq_status dmq_ranges_run(dmq_qmodel *q, dmq_lanes *lanes, const dmq_ranges_config *config)
{
    dmq_ranges_config defaults;
    job j = { .q = q, .be = dmq_lanes_backend(lanes), .config = config ? config : &defaults };
    dmq_status st = DMQ_OK;

    dmq_ranges_defaults(&defaults);
    DMQ_TRY(make_pieces(&j));
    DMQ_TRY(dmq_lanes_run(lanes, j.n_pieces, run_piece, &j));
    for (int i = 0; i < q->model->n_layers; i++) {
        dmq_qlayer *l = &q->layer[i];
        int empty = 0;

        l->learned = 0;
        for (int r = 0; l->scale && r < l->rows; r++)
            empty += l->scale[r] <= (dmq_real)DMQ_MIN_SCALE;
        if (empty > 0) {
            dmq_log_warn("zero-range", "layer %s: %d of %d rows have no extent; their step is %g",
                         q->model->layer[i].name, empty, l->rows, DMQ_MIN_SCALE);
        }
    }
done:
    dmq_free(j.piece);
    return st;
}
