#include "quant/ranges.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/signal.h"

#include <string.h>

/* Numbers that a piece of work searches, about. */
#define PIECE_NUMBERS 16384

/* Output channels from..from+count of a layer. */
typedef struct piece {
    int layer, from, count;
} piece;

/* What slots write of a layer. */
typedef struct places {
    dmq_mirror scale, zero, code;
} places;

typedef struct job {
    dmq_qmodel *q;
    places *place; /* (n_layers) */
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

/* scale and zero (c) of x (c, inner), which is on the device; the result is on both sides. */
static dmq_status search(const job *j, dmq_queue *queue, const dmq_real *x, int c, int inner,
                         int bits, const places *to, dmq_real *scale, dmq_real *zero)
{
    int by_error = j->config->init == DMQ_RANGE_MSE;
    dmq_range_search_args a = { .x = x,
                                .scale = dmq_mirror_device(&to->scale, scale),
                                .zero = dmq_mirror_device(&to->zero, zero),
                                .outer = 1,
                                .c = c,
                                .inner = inner,
                                .bits = bits,
                                .candidates = j->config->candidates,
                                .power = (dmq_real)j->config->power };
    /* The ends are first written where scale and zero go. */
    dmq_minmax_args ends = {
        .x = x, .lo = a.zero, .hi = a.scale, .outer = 1, .c = c, .inner = inner
    };
    size_t bytes = (size_t)c * sizeof *scale;
    dmq_status st = DMQ_OK;

    DMQ_TRY(by_error ? j->be->range_search(queue, &a) : j->be->minmax(queue, &ends));
    DMQ_TRY(dmq_mirror_pull(&to->scale, queue, scale, bytes));
    DMQ_TRY(dmq_mirror_pull(&to->zero, queue, zero, bytes));
    DMQ_TRY(j->be->sync(queue));
    for (int i = 0; i < c && !by_error; i++) {
        dmq_real lo = zero[i] < 0 ? zero[i] : 0, hi = scale[i] > 0 ? scale[i] : 0;

        scale[i] = (hi - lo) / (dmq_real)((1 << bits) - 1);
        if (!(scale[i] >= (dmq_real)DMQ_MIN_SCALE))
            scale[i] = (dmq_real)DMQ_MIN_SCALE;
        zero[i] = dmq_rint(-lo / scale[i]);
    }
    if (!by_error) {
        DMQ_TRY(dmq_mirror_push(&to->scale, queue, scale, bytes));
        DMQ_TRY(dmq_mirror_push(&to->zero, queue, zero, bytes));
    }
done:
    return st;
}

/* The weight of a layer on the device, from row `row` of the quantizer on. */
static const dmq_real *weight_rows(const job *j, int layer, size_t row)
{
    const dmq_model *m = j->q->model;
    size_t at = m->entry[m->layer[layer].weight].offset + row * (size_t)j->q->layer[layer].per;

    return dmq_mirror_device(&m->place, m->params + at);
}

/* To the device: scale and zero of rows that were told what one search found. */
static dmq_status push_rows(const job *j, dmq_queue *queue, int layer, size_t row, size_t count)
{
    const dmq_qlayer *q = &j->q->layer[layer];
    const places *p = &j->place[layer];
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_mirror_push(&p->scale, queue, q->scale + row, count * sizeof *q->scale));
    DMQ_TRY(dmq_mirror_push(&p->zero, queue, q->zero + row, count * sizeof *q->zero));
done:
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
    dmq_mirror place[2] = { { 0 } };
    places to = { .scale = { 0 } };
    dmq_status st = DMQ_OK;

    for (int h = 0; h < 2; h++)
        DMQ_TRY(dmq_alloc((void **)&half[h], rows * (size_t)q->per, sizeof **half));
    DMQ_TRY(dmq_mirror_init(&to.scale, j->be, scale, sizeof scale));
    DMQ_TRY(dmq_mirror_init(&to.zero, j->be, zero, sizeof zero));
    for (size_t i = 0; i < rows * (size_t)q->per; i++) {
        int h = (int)(i % (size_t)l->in) >= q->split_at;

        half[h][n[h]++] = w[i];
    }
    for (int h = 0; h < 2; h++) {
        DMQ_TRY(dmq_mirror_init(&place[h], j->be, half[h], n[h] * sizeof **half));
        DMQ_TRY(dmq_mirror_push(&place[h], queue, half[h], n[h] * sizeof **half));
        DMQ_TRY(search(j, queue, dmq_mirror_device(&place[h], half[h]), 1, (int)n[h],
                       q->weight_bits, &to, &scale[h], &zero[h]));
    }
    for (size_t r = 0; r < rows; r++) {
        int h = (int)(r % (size_t)in_runs) * q->per >= q->split_at;

        q->scale[first + r] = scale[h];
        q->zero[first + r] = zero[h];
    }
    DMQ_TRY(push_rows(j, queue, layer, first, rows));
done:
    dmq_mirror_release(&place[0]);
    dmq_mirror_release(&place[1]);
    dmq_mirror_release(&to.scale);
    dmq_mirror_release(&to.zero);
    dmq_free(half[0]);
    dmq_free(half[1]);
    return st;
}

/* All of a layer as one channel. */
static dmq_status search_tensor(const job *j, dmq_queue *queue, int layer)
{
    dmq_qlayer *q = &j->q->layer[layer];
    dmq_status st = DMQ_OK;

    DMQ_TRY(search(j, queue, weight_rows(j, layer, 0), 1, q->rows * q->per, q->weight_bits,
                   &j->place[layer], q->scale, q->zero));
    for (int r = 1; r < q->rows; r++) {
        q->scale[r] = q->scale[0];
        q->zero[r] = q->zero[0];
    }
    DMQ_TRY(push_rows(j, queue, layer, 0, (size_t)q->rows));
done:
    return st;
}

static dmq_status round_rows(const job *j, dmq_queue *queue, int layer, int from, int count)
{
    dmq_qmodel *q = j->q;
    dmq_qlayer *l = &q->layer[layer];
    const places *p = &j->place[layer];
    size_t at = (size_t)from * (size_t)l->per, n = (size_t)count * (size_t)l->per;
    dmq_real *w = dmq_qmodel_weight(q, layer) + at;
    dmq_fake_quant_args a = { .x = weight_rows(j, layer, (size_t)from),
                              .scale = dmq_mirror_device(&p->scale, l->scale + from),
                              .zero = dmq_mirror_device(&p->zero, l->zero + from),
                              .y = dmq_mirror_device(&q->w_place, w),
                              .code = dmq_mirror_device(&p->code, l->code + at),
                              .n = 1,
                              .outer = 1,
                              .c = count,
                              .inner = l->per,
                              .rows = 1,
                              .hi = (dmq_real)((1 << l->weight_bits) - 1) };
    dmq_status st = DMQ_OK;

    DMQ_TRY(j->be->fake_quant_forward(queue, &a));
    DMQ_TRY(dmq_mirror_pull(&q->w_place, queue, w, n * sizeof *w));
    DMQ_TRY(dmq_mirror_pull(&p->code, queue, l->code + at, n * sizeof *l->code));
done:
    return st;
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
    if (dmq_stop_requested())
        return dmq_fail(DMQ_ESTOP, "weight ranges: stopped by signal %d", dmq_stop_signal());
    if (q->split_at > 0 && j->config->per_tensor) {
        DMQ_TRY(search_halves(j, queue, p->layer, 0, l->out));
    } else if (q->split_at > 0) {
        for (int k = p->from; k < p->from + p->count; k++)
            DMQ_TRY(search_halves(j, queue, p->layer, k, 1));
    } else if (j->config->per_tensor) {
        DMQ_TRY(search_tensor(j, queue, p->layer));
    } else {
        DMQ_TRY(search(j, queue, weight_rows(j, p->layer, (size_t)p->from), p->count, q->per,
                       q->weight_bits, &j->place[p->layer], q->scale + p->from, q->zero + p->from));
    }
    DMQ_TRY(round_rows(j, queue, p->layer, p->from * runs, p->count * runs));
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
        int step;

        if (j->q->layer[i].weight_bits == 0)
            continue;
        step = (int)(PIECE_NUMBERS /
                     (dmq_shape_count(model->entry[l->weight].shape) / (size_t)l->out));
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

static dmq_status make_places(job *j)
{
    int n_layers = j->q->model->n_layers;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&j->place, (size_t)n_layers, sizeof *j->place));
    for (int i = 0; i < n_layers; i++) {
        dmq_qlayer *l = &j->q->layer[i];
        places *p = &j->place[i];
        size_t rows = (size_t)l->rows, count = rows * (size_t)l->per;

        if (l->weight_bits == 0)
            continue;
        DMQ_TRY(dmq_mirror_init(&p->scale, j->be, l->scale, rows * sizeof *l->scale));
        DMQ_TRY(dmq_mirror_init(&p->zero, j->be, l->zero, rows * sizeof *l->zero));
        DMQ_TRY(dmq_mirror_init(&p->code, j->be, l->code, count * sizeof *l->code));
    }
done:
    return st;
}

static void release_places(job *j)
{
    for (int i = 0; j->place && i < j->q->model->n_layers; i++) {
        dmq_mirror_release(&j->place[i].scale);
        dmq_mirror_release(&j->place[i].zero);
        dmq_mirror_release(&j->place[i].code);
    }
    dmq_free(j->place);
}

dmq_status dmq_ranges_run(dmq_qmodel *q, dmq_lanes *lanes, const dmq_ranges_config *config)
{
    dmq_ranges_config defaults;
    job j = { .q = q, .be = dmq_lanes_backend(lanes), .config = config ? config : &defaults };
    dmq_status st = DMQ_OK;

    dmq_ranges_defaults(&defaults);
    DMQ_TRY(make_pieces(&j));
    DMQ_TRY(make_places(&j));
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
    release_places(&j);
    dmq_free(j.piece);
    return st;
}
