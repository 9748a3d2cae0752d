#include "quant/tables.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/signal.h"
#include "kernels/noise.h"
#include "quant/hooks.h"
#include "quant/ranges.h"

#include <math.h>
#include <string.h>

enum { SINGLE_PASSES = 64 };

/* A row under way on one lane. */
typedef struct row {
    int number;
    int first;    /* 1: this pass begins the running values */
    int search;   /* 1: by mse */
    int extremes; /* 1: nothing is forgotten */
    double momentum;
} row;

/* What is known of one layer's input on one lane. */
typedef struct observer {
    const dmq_qmodel *q;
    dmq_qlayer *layer;
    int number; /* of the layer */
    const char *name;
    const row *row;
    double *lo, *hi;     /* (table_cols) running values of a range, at its first channel */
    dmq_real *min, *max; /* (table_cols) of this pass */
    dmq_mirror seen;     /* of the block with min and max, one behind the other */
    dmq_real *half;      /* on the device: mse of a split layer: its halves, gathered */
} observer;

typedef struct lane {
    dmq_tape *tape;
    dmq_var *x, *t;
    dmq_index *label;   /* NULL: the network knows no classes */
    observer *observer; /* (n_layers) */
    row row;
    int *order;      /* (samples of a row) */
    dmq_real *times; /* (batch) */
    int *labels;     /* (batch) */
} lane;

typedef struct job {
    dmq_qmodel *q;
    const dmq_calib *calib;
    const dmq_tables_config *config;
    lane *lane;
    int n_lanes, batch, per_step, samples, passes;
} job;

void dmq_tables_defaults(dmq_tables_config *config)
{
    *config = (dmq_tables_config){ .batch = 16, .momentum = 0.95 };
}

/* The table's entries of channels from..to from what this pass saw there. */
static dmq_status update(observer *o, int from, int to)
{
    dmq_qlayer *l = o->layer;
    size_t at = (size_t)o->row->number * (size_t)l->table_cols;
    double lo = (double)o->min[from], hi = (double)o->max[from], keep = o->row->momentum;
    dmq_real low, high, s;

    for (int c = from; c < to; c++) {
        if (!isfinite(o->min[c]) || !isfinite(o->max[c])) {
            return dmq_fail(DMQ_EDIVERGE, "tables: the input of layer %s at step %d is not finite",
                            o->name, o->row->number);
        }
        lo = (double)o->min[c] < lo ? (double)o->min[c] : lo;
        hi = (double)o->max[c] > hi ? (double)o->max[c] : hi;
    }
    if (o->row->first) {
        o->lo[from] = lo;
        o->hi[from] = hi;
    } else if (o->row->extremes) {
        o->lo[from] = lo < o->lo[from] ? lo : o->lo[from];
        o->hi[from] = hi > o->hi[from] ? hi : o->hi[from];
    } else {
        o->lo[from] = keep * o->lo[from] + (1 - keep) * lo;
        o->hi[from] = keep * o->hi[from] + (1 - keep) * hi;
    }
    low = (dmq_real)(o->lo[from] < 0 ? o->lo[from] : 0);
    high = (dmq_real)(o->hi[from] > 0 ? o->hi[from] : 0);
    s = (high - low) / (dmq_real)((1 << l->act_bits) - 1);
    if (!(s >= (dmq_real)DMQ_MIN_SCALE))
        s = (dmq_real)DMQ_MIN_SCALE;
    for (int c = from; c < to; c++) {
        l->act_scale[at + (size_t)c] = s;
        l->act_zero[at + (size_t)c] = dmq_rint(-low / s);
    }
    return DMQ_OK;
}

static dmq_status by_extremes(observer *o, const dmq_backend *be, dmq_queue *queue,
                              const dmq_real *x, int outer)
{
    const dmq_qlayer *l = o->layer;
    int c = l->table_cols, step = l->act_channels ? 1 : l->split_at > 0 ? l->split_at : c;
    dmq_minmax_args look = { .x = x,
                             .lo = dmq_mirror_device(&o->seen, o->min),
                             .hi = dmq_mirror_device(&o->seen, o->max),
                             .outer = outer,
                             .c = c,
                             .inner = 1 };
    dmq_status st = DMQ_OK;

    if (c == 1) {
        look.outer = 1;
        look.inner = outer;
    }
    DMQ_TRY(be->minmax(queue, &look));
    DMQ_TRY(dmq_mirror_pull(&o->seen, queue, o->min, o->seen.bytes));
    DMQ_TRY(be->sync(queue));
    for (int from = 0; from < c; from += step) {
        if (l->split_at > 0 && !l->act_channels && from > 0)
            step = c - from;
        DMQ_TRY(update(o, from, from + step));
    }
    DMQ_TRY(dmq_qmodel_push_row(o->q, queue, o->number, o->row->number));
done:
    return st;
}

/* The table's entry of a channel in this row, on the device. */
static dmq_real *on_device(const observer *o, dmq_real *table, int c)
{
    size_t at = (size_t)o->row->number * (size_t)o->layer->table_cols + (size_t)c;

    return dmq_mirror_device(&o->q->tables_place, table + at);
}

/* Channels from..to of x (outer, c), one behind the other. */
static dmq_status search(observer *o, const dmq_backend *be, dmq_queue *queue, const dmq_real *x,
                         int outer, int from, int to)
{
    dmq_qlayer *l = o->layer;
    int cols = l->table_cols, width = to - from;
    size_t at = (size_t)o->row->number * (size_t)cols + (size_t)from;
    dmq_range_search_args a = { .x = x,
                                .scale = on_device(o, l->act_scale, from),
                                .zero = on_device(o, l->act_zero, from),
                                .outer = 1,
                                .c = 1,
                                .inner = outer * width,
                                .bits = l->act_bits,
                                .candidates = 80,
                                .power = (dmq_real)2.4 };
    dmq_status st = DMQ_OK;

    if (width < cols) {
        DMQ_TRY(be->copy2d(queue, &(dmq_copy2d_args){ .src = x + from,
                                                      .dst = o->half,
                                                      .rows = (size_t)outer,
                                                      .cols = (size_t)width,
                                                      .src_ld = (size_t)cols,
                                                      .dst_ld = (size_t)width }));
        a.x = o->half;
    }
    DMQ_TRY(be->range_search(queue, &a));
    DMQ_TRY(dmq_mirror_pull(&o->q->tables_place, queue, l->act_scale + at, sizeof *a.scale));
    DMQ_TRY(dmq_mirror_pull(&o->q->tables_place, queue, l->act_zero + at, sizeof *a.zero));
    DMQ_TRY(be->sync(queue));
    for (size_t c = 1; c < (size_t)width; c++) {
        l->act_scale[at + c] = l->act_scale[at];
        l->act_zero[at + c] = l->act_zero[at];
    }
done:
    return st;
}

static dmq_status by_search(observer *o, const dmq_backend *be, dmq_queue *queue, const dmq_real *x,
                            int outer)
{
    dmq_qlayer *l = o->layer;
    dmq_range_search_args a = { .x = x,
                                .scale = on_device(o, l->act_scale, 0),
                                .zero = on_device(o, l->act_zero, 0),
                                .outer = outer,
                                .c = l->table_cols,
                                .inner = 1,
                                .bits = l->act_bits,
                                .candidates = 80,
                                .power = (dmq_real)2.4 };
    dmq_status st = DMQ_OK;

    if (l->act_channels) {
        DMQ_TRY(be->range_search(queue, &a));
        DMQ_TRY(dmq_qmodel_pull_row(o->q, queue, o->number, o->row->number));
        goto done;
    }
    if (l->split_at > 0 && !o->half) {
        size_t bytes = (size_t)outer * (size_t)l->table_cols * sizeof *o->half;

        DMQ_TRY(be->alloc((void **)&o->half, bytes));
    }
    DMQ_TRY(search(o, be, queue, x, outer, 0, l->split_at > 0 ? l->split_at : l->table_cols));
    if (l->split_at > 0)
        DMQ_TRY(search(o, be, queue, x, outer, l->split_at, l->table_cols));
    DMQ_TRY(dmq_qmodel_push_row(o->q, queue, o->number, o->row->number));
done:
    return st;
}

/* The input of a layer: look, set the table, quantize. */
static dmq_status observe(void *context, const dmq_backend *be, dmq_queue *queue, dmq_shape shape,
                          const dmq_real *x, dmq_real *y)
{
    observer *o = context;
    const dmq_qlayer *l = o->layer;
    int c = l->table_cols, outer = (int)(dmq_shape_count(shape) / (size_t)c);
    dmq_fake_quant_args quantize = { .x = x,
                                     .scale = on_device(o, l->act_scale, 0),
                                     .zero = on_device(o, l->act_zero, 0),
                                     .y = y,
                                     .n = 1,
                                     .outer = c == 1 ? 1 : outer,
                                     .c = c,
                                     .inner = c == 1 ? outer : 1,
                                     .rows = 1,
                                     .hi = (dmq_real)((1 << l->act_bits) - 1) };
    dmq_status st = DMQ_OK;

    if (o->row->search && !o->q->model->layer[o->number].from_zero) {
        DMQ_TRY(by_search(o, be, queue, x, outer));
    } else {
        DMQ_TRY(by_extremes(o, be, queue, x, outer));
    }
    DMQ_TRY(be->fake_quant_forward(queue, &quantize));
done:
    return st;
}

/* Hooks of one lane's tape. */
typedef struct recorder {
    dmq_attach attach; /* first: it is the weight hook's context */
    lane *lane;
} recorder;

static dmq_var *watch_input(void *context, dmq_tape *tape, const dmq_layer *layer, dmq_var *x)
{
    recorder *r = context;

    if (r->attach.q->layer[layer->index].act_bits == 0)
        return x;
    return dmq_record_probe(tape, x, observe, &r->lane->observer[layer->index]);
}

static int watches(void *context, const dmq_layer *layer)
{
    const recorder *r = context;

    return r->attach.q->layer[layer->index].act_bits > 0;
}

static dmq_status make_lane(lane *l, const job *j, const dmq_backend *be)
{
    const dmq_model *model = j->q->model;
    dmq_shape s = model->input;
    recorder r = { .lane = l };
    dmq_hooks hooks = {
        .context = &r, .input = watch_input, .wants = watches, .weight = dmq_attach_weight
    };
    dmq_status st = DMQ_OK;

    dmq_attach_init(&r.attach, j->q);
    l->row.momentum = j->config->momentum;
    l->row.search = j->config->init == DMQ_TABLES_MSE;
    l->row.extremes = j->config->init == DMQ_TABLES_MINMAX;
    DMQ_TRY(dmq_alloc((void **)&l->order, (size_t)j->samples, sizeof *l->order));
    DMQ_TRY(dmq_alloc((void **)&l->times, (size_t)j->batch, sizeof *l->times));
    DMQ_TRY(dmq_alloc((void **)&l->labels, (size_t)j->batch, sizeof *l->labels));
    DMQ_TRY(dmq_alloc((void **)&l->observer, (size_t)model->n_layers, sizeof *l->observer));
    for (int i = 0; i < model->n_layers; i++) {
        observer *o = &l->observer[i];
        size_t cols = (size_t)j->q->layer[i].table_cols;

        o->q = j->q;
        o->layer = &j->q->layer[i];
        o->number = i;
        o->name = model->layer[i].name;
        o->row = &l->row;
        DMQ_TRY(dmq_alloc((void **)&o->lo, cols, sizeof *o->lo));
        DMQ_TRY(dmq_alloc((void **)&o->hi, cols, sizeof *o->hi));
        DMQ_TRY(dmq_alloc((void **)&o->min, 2 * cols, sizeof *o->min));
        o->max = o->min + cols;
        DMQ_TRY(dmq_mirror_init(&o->seen, be, o->min, 2 * cols * sizeof *o->min));
    }
    s.dim[0] = j->batch;
    DMQ_TRY(dmq_tape_create(&l->tape, be, DMQ_TAPE_FORWARD));
    l->x = dmq_tape_input(l->tape, "x", s);
    l->t = dmq_tape_input(l->tape, "t", dmq_shape1(j->batch));
    if (model->n_labels > 0)
        l->label = dmq_tape_index(l->tape, "label", j->batch);
    dmq_tape_output(l->tape, dmq_model_record(model, l->tape, &hooks, l->x, l->t, l->label));
    DMQ_TRY(dmq_tape_plan(l->tape));
done:
    return st;
}

static void destroy_lane(lane *l, int n_layers, const dmq_backend *be)
{
    dmq_tape_destroy(l->tape);
    for (int i = 0; l->observer && i < n_layers; i++) {
        dmq_free(l->observer[i].lo);
        dmq_free(l->observer[i].hi);
        be->free(l->observer[i].half);
        dmq_mirror_release(&l->observer[i].seen);
        dmq_free(l->observer[i].min);
    }
    dmq_free(l->observer);
    dmq_free(l->order);
    dmq_free(l->times);
    dmq_free(l->labels);
}

/* Sample s of a row into place i of the batch: of step k, or of any step. */
static dmq_status fill(const job *j, lane *l, dmq_queue *queue, int i, int s, int k)
{
    size_t per = dmq_shape_count(j->calib->image);

    if (j->config->single) {
        k = s / j->per_step;
        s = s % j->per_step;
    }
    l->times[i] = j->calib->t[k];
    l->labels[i] = dmq_calib_label(j->calib, k, s);
    return dmq_tape_backend(l->tape)->upload(queue, l->x->value + (size_t)i * per,
                                             dmq_calib_state(j->calib, k, s),
                                             per * sizeof *l->x->value);
}

static dmq_status row_piece(void *context, int k, int lane_number, dmq_queue *queue)
{
    const job *j = context;
    lane *l = &j->lane[lane_number];
    dmq_status st = DMQ_OK;

    l->row.number = k;
    for (int pass = 0; pass <= j->passes; pass++) {
        if (dmq_stop_requested())
            return dmq_fail(DMQ_ESTOP, "tables: stopped by signal %d", dmq_stop_signal());
        l->row.first = pass == 0;
        if (pass < 2) { /* the first batch, and the order of the others */
            dmq_permutation(l->order, j->samples, j->config->seed, DMQ_FOR_OBSERVE, (uint64_t)k,
                            (uint32_t)pass);
        }
        for (int i = 0; i < j->batch; i++) {
            int at = ((pass > 0 ? pass - 1 : 0) * j->batch + i) % j->samples;

            DMQ_TRY(fill(j, l, queue, i, l->order[at], k));
        }
        DMQ_TRY(dmq_tape_backend(l->tape)->upload(queue, l->t->value, l->times,
                                                  (size_t)j->batch * sizeof *l->times));
        if (l->label)
            DMQ_TRY(dmq_tape_index_set(l->tape, l->label, queue, l->labels));
        DMQ_TRY(dmq_tape_forward(l->tape, queue, DMQ_PART_ALL));
    }
    dmq_progress_add(1, NULL);
done:
    return st;
}

static dmq_status open_job(job *j)
{
    const dmq_tables_config *c = j->config;
    int n = j->calib->config.per_timestep;

    if (c->samples < 0 || c->samples > n) {
        return dmq_fail(DMQ_EINVAL, "tables: %d samples a step: the calibration set has %d",
                        c->samples, n);
    }
    if (c->batch < 1)
        return dmq_fail(DMQ_EINVAL, "tables: batch = %d: must be at least 1", c->batch);
    if (c->passes < 0)
        return dmq_fail(DMQ_EINVAL, "tables: passes = %d: must not be negative", c->passes);
    if (!(c->momentum >= 0 && c->momentum < 1))
        return dmq_fail(DMQ_EINVAL, "tables: momentum = %g: must be 0..1, below 1", c->momentum);
    j->per_step = c->samples > 0 ? c->samples : n;
    j->samples = c->single ? j->per_step * j->calib->n_steps : j->per_step;
    j->batch = c->batch < j->samples ? c->batch : j->samples;
    j->passes = c->passes;
    if (c->init == DMQ_TABLES_MSE) {
        j->passes = 0;
    } else if (j->passes == 0) {
        j->passes = (j->samples + j->batch - 1) / j->batch;
        if (c->single && j->passes > SINGLE_PASSES)
            j->passes = SINGLE_PASSES;
    }
    return DMQ_OK;
}

/* A step whose input has no extent quantizes to nothing: tell it. */
static void warn_empty(const dmq_qmodel *q)
{
    for (int i = 0; i < q->model->n_layers; i++) {
        const dmq_qlayer *l = &q->layer[i];
        int empty = 0;

        for (int k = 0; k < q->table_rows * l->table_cols && l->act_bits > 0; k++)
            empty += l->act_scale[k] <= (dmq_real)DMQ_MIN_SCALE;
        if (empty > 0) {
            dmq_log_warn("zero-range",
                         "the input of layer %s has no extent in %d of %d table entries",
                         q->model->layer[i].name, empty, q->table_rows * l->table_cols);
        }
    }
}

dmq_status dmq_tables_run(dmq_qmodel *q, const dmq_calib *calib, dmq_lanes *lanes,
                          const dmq_tables_config *config)
{
    job j = { .q = q, .calib = calib, .config = config, .n_lanes = dmq_lanes_count(lanes) };
    dmq_status st = DMQ_OK;

    DMQ_TRY(open_job(&j));
    DMQ_TRY(dmq_qmodel_tables(q, config->single ? 1 : calib->n_steps));
    DMQ_TRY(dmq_alloc((void **)&j.lane, (size_t)j.n_lanes, sizeof *j.lane));
    for (int i = 0; i < j.n_lanes; i++)
        DMQ_TRY(make_lane(&j.lane[i], &j, dmq_lanes_backend(lanes)));
    DMQ_TRY(dmq_lanes_run(lanes, q->table_rows, row_piece, &j));
    warn_empty(q);
done:
    for (int i = 0; j.lane && i < j.n_lanes; i++)
        destroy_lane(&j.lane[i], q->model->n_layers, dmq_lanes_backend(lanes));
    dmq_free(j.lane);
    return st;
}
