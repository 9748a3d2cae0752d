#include "quant/qmodel.h"

#include "base/memory.h"
#include "kernels/fake_quant_math.h"

#include <assert.h>
#include <string.h>

static int gcd(int a, int b)
{
    while (b) {
        int r = a % b;

        a = b;
        b = r;
    }
    return a;
}

static dmq_status create_layer(dmq_qlayer *q, const dmq_model *model, const dmq_layer *l,
                               const dmq_choice *choice)
{
    size_t count = l->weight < 0 ? 0 : dmq_shape_count(model->entry[l->weight].shape);
    dmq_status st = DMQ_OK;

    assert(l->weight >= 0 || choice->weight_bits == 0);

    q->weight_bits = choice->weight_bits;
    q->act_bits = choice->act_bits;
    q->rows = l->out;
    q->act_channels = choice->act_channels;
    q->table_cols = choice->act_channels ? l->in : 1;
    if (choice->split) {
        assert(l->split > 0 && l->split < l->in);
        q->split_at = l->split;
        q->table_cols = l->in;
        q->rows = (int)(count / (size_t)gcd(l->split, l->in));
    }
    q->per = (int)(count / (size_t)q->rows);
    if (q->weight_bits == 0)
        return DMQ_OK;
    DMQ_TRY(dmq_alloc((void **)&q->scale, (size_t)q->rows, sizeof *q->scale));
    DMQ_TRY(dmq_alloc((void **)&q->zero, (size_t)q->rows, sizeof *q->zero));
    DMQ_TRY(dmq_alloc((void **)&q->code, count, sizeof *q->code));
done:
    return st;
}

dmq_status dmq_qmodel_create(dmq_qmodel **out, const dmq_model *model, const dmq_choice *choice)
{
    dmq_qmodel *q = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&q, 1, sizeof *q));
    q->model = model;
    DMQ_TRY(dmq_alloc((void **)&q->layer, (size_t)model->n_layers, sizeof *q->layer));
    DMQ_TRY(dmq_alloc((void **)&q->w_quant, model->n_params, sizeof *q->w_quant));
    memcpy(q->w_quant, model->params, model->n_params * sizeof *q->w_quant);
    for (int i = 0; i < model->n_layers; i++)
        DMQ_TRY(create_layer(&q->layer[i], model, &model->layer[i], &choice[i]));
    *out = q;
    q = NULL;
done:
    dmq_qmodel_destroy(q);
    return st;
}

void dmq_qmodel_destroy(dmq_qmodel *q)
{
    if (!q)
        return;
    for (int i = 0; q->layer && i < q->model->n_layers; i++) {
        dmq_free(q->layer[i].scale);
        dmq_free(q->layer[i].zero);
        dmq_free(q->layer[i].code);
    }
    dmq_mirror_release(&q->w_place);
    dmq_mirror_release(&q->tables_place);
    dmq_free(q->tables);
    dmq_free(q->layer);
    dmq_free(q->w_quant);
    dmq_free(q);
}

static dmq_status place_tables(dmq_qmodel *q, dmq_queue *queue)
{
    size_t bytes = q->n_tables * sizeof *q->tables;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_mirror_init(&q->tables_place, q->backend, q->tables, bytes));
    DMQ_TRY(dmq_mirror_push(&q->tables_place, queue, q->tables, bytes));
done:
    return st;
}

dmq_status dmq_qmodel_place(dmq_qmodel *q, dmq_lanes *lanes)
{
    size_t bytes = q->model->n_params * sizeof *q->w_quant;
    dmq_queue *queue = dmq_lanes_queue(lanes, 0);
    dmq_status st = DMQ_OK;

    assert(!q->backend);
    DMQ_TRY(dmq_mirror_init(&q->w_place, dmq_lanes_backend(lanes), q->w_quant, bytes));
    q->backend = dmq_lanes_backend(lanes);
    DMQ_TRY(dmq_mirror_push(&q->w_place, queue, q->w_quant, bytes));
    if (q->tables)
        DMQ_TRY(place_tables(q, queue));
    DMQ_TRY(q->backend->sync(queue));
done:
    return st;
}

typedef dmq_status copy_fn(const dmq_mirror *m, dmq_queue *queue, void *host, size_t bytes);

static dmq_status push(const dmq_mirror *m, dmq_queue *queue, void *host, size_t bytes)
{
    return dmq_mirror_push(m, queue, host, bytes);
}

static dmq_status copy_weight(const dmq_qmodel *q, dmq_queue *queue, int layer, copy_fn *copy)
{
    int weight = q->model->layer[layer].weight;
    const dmq_entry *entry = &q->model->entry[weight];

    if (weight < 0)
        return DMQ_OK;
    return copy(&q->w_place, queue, dmq_qmodel_weight(q, layer),
                dmq_shape_count(entry->shape) * sizeof *q->w_quant);
}

static dmq_status copy_row(const dmq_qmodel *q, dmq_queue *queue, int layer, int row, copy_fn *copy)
{
    const dmq_qlayer *l = &q->layer[layer];
    size_t cols = (size_t)l->table_cols, at = (size_t)row * cols, bytes = cols * sizeof(dmq_real);
    dmq_status st = DMQ_OK;

    DMQ_TRY(copy(&q->tables_place, queue, l->act_scale + at, bytes));
    DMQ_TRY(copy(&q->tables_place, queue, l->act_zero + at, bytes));
done:
    return st;
}

dmq_status dmq_qmodel_push_weight(const dmq_qmodel *q, dmq_queue *queue, int layer)
{
    return copy_weight(q, queue, layer, push);
}

dmq_status dmq_qmodel_pull_weight(const dmq_qmodel *q, dmq_queue *queue, int layer)
{
    return copy_weight(q, queue, layer, dmq_mirror_pull);
}

dmq_status dmq_qmodel_push_row(const dmq_qmodel *q, dmq_queue *queue, int layer, int row)
{
    return copy_row(q, queue, layer, row, push);
}

dmq_status dmq_qmodel_pull_row(const dmq_qmodel *q, dmq_queue *queue, int layer, int row)
{
    return copy_row(q, queue, layer, row, dmq_mirror_pull);
}

/* Each table at a multiple of 64 bytes. */
static size_t table_room(const dmq_qlayer *l, int rows)
{
    return l->act_bits > 0 ? ((size_t)rows * (size_t)l->table_cols + 15) / 16 * 16 : 0;
}

dmq_status dmq_qmodel_tables(dmq_qmodel *q, int rows)
{
    dmq_queue *queue = NULL;
    size_t n = 0;
    dmq_status st = DMQ_OK;

    assert(rows >= 1 && (q->table_rows == 0 || q->table_rows == rows));
    if (q->table_rows > 0)
        return DMQ_OK;
    for (int i = 0; i < q->model->n_layers; i++)
        n += 2 * table_room(&q->layer[i], rows);
    if (!q->tables)
        DMQ_TRY(dmq_alloc((void **)&q->tables, n, sizeof *q->tables));
    q->n_tables = n;
    n = 0;
    for (int i = 0; i < q->model->n_layers; i++) {
        dmq_qlayer *l = &q->layer[i];
        size_t room = table_room(l, rows);

        if (l->act_bits == 0)
            continue;
        l->act_scale = q->tables + n;
        l->act_zero = q->tables + n + room;
        for (size_t k = 0; k < room; k++)
            l->act_scale[k] = 1;
        n += 2 * room;
    }
    if (q->backend && !q->backend->host_memory) {
        DMQ_TRY(q->backend->queue_create(&queue, 0));
        DMQ_TRY(place_tables(q, queue));
        DMQ_TRY(q->backend->sync(queue));
    }
    q->table_rows = rows;
done:
    if (queue)
        q->backend->queue_destroy(queue);
    return st;
}

int dmq_qmodel_learns(const dmq_qmodel *q, int layer)
{
    return q->layer[layer].weight_bits > 0 && !q->model->layer[layer].idle;
}

dmq_real *dmq_qmodel_weight(const dmq_qmodel *q, int layer)
{
    return q->w_quant + q->model->entry[q->model->layer[layer].weight].offset;
}

void dmq_qmodel_dequantize(dmq_qmodel *q, int layer)
{
    const dmq_qlayer *l = &q->layer[layer];
    dmq_real *w = dmq_qmodel_weight(q, layer);

    for (int r = 0; r < l->rows; r++) {
        const int16_t *code = l->code + (size_t)r * (size_t)l->per;

        for (int j = 0; j < l->per; j++)
            *w++ = dmq_fq_value((dmq_real)code[j], l->scale[r], l->zero[r]);
    }
}

void dmq_qmodel_choice(dmq_choice *out, const dmq_qmodel *q)
{
    for (int i = 0; i < q->model->n_layers; i++) {
        out[i] = (dmq_choice){ .weight_bits = q->layer[i].weight_bits,
                               .act_bits = q->layer[i].act_bits,
                               .split = q->layer[i].split_at > 0,
                               .act_channels = q->layer[i].act_channels };
    }
}
