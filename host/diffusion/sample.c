#include "diffusion/sample.h"

#include "backend/replay.h"
#include "base/memory.h"
#include "base/signal.h"
#include "diffusion/moves.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/** What one lane has. */
typedef struct lane {
    dmq_tape *tape;
    dmq_index *row; /**< (group) step of each image: all the same */
    dmq_var *x, *eps;
    dmq_index *label; /**< (places); NULL: the network knows no classes */
    int *labels;      /**< (places) for label */
    dmq_mover mover;
    dmq_gather_args
        *lookup; /**< (n_lookups) the embeddings of the call under way, from the tables */
    int n_lookups;
    dmq_real *host;    /**< (group, per) */
    dmq_replay replay; /**< of a call of the network and the move after it */
    uint64_t seed;     /**< that it was recorded with */
} lane;

struct dmq_sample {
    const dmq_model *model;
    const dmq_sampler *sampler;
    dmq_lanes *lanes;
    const dmq_backend *be;
    int group;       /**< images of one pass */
    size_t per;      /**< numbers an image */
    dmq_tape *times; /**< the temporal unit over all steps; NULL with classes */
    dmq_var *t;      /**< (n_steps) */
    dmq_index *times_row;
    dmq_var **emb; /**< (n_values) of times; NULL where there is none */
    dmq_moves *moves;
    lane *lane;
    int n_lanes;
};

/** One dmq_sample_run. */
typedef struct job {
    dmq_sample *s;
    dmq_real *out;
    uint64_t seed, first, end;
    const int *label;
    const dmq_sample_watch *watch;
} job;

/* ------------------------------------------------------------------ tapes */

static dmq_status record_times(dmq_sample *s, const dmq_hook_source *source)
{
    dmq_status st = DMQ_OK;
    int n = s->sampler->n_steps;
    void *memory = NULL;
    dmq_hooks hooks;

    DMQ_TRY(dmq_alloc(&memory, (size_t)s->model->n_values, sizeof *s->emb));
    s->emb = memory;
    DMQ_TRY(dmq_tape_create(&s->times, s->be, DMQ_TAPE_FORWARD));
    s->t = dmq_tape_input(s->times, "t", dmq_shape1(n));
    s->times_row = dmq_tape_index(s->times, "step", n);
    hooks = dmq_hooks_for(source, s->times, s->times_row);
    DMQ_TRY(dmq_model_record_temporal(s->model, s->times, &hooks, s->t, NULL, s->emb));
    for (int v = 0; v < s->model->n_values; v++) {
        if (s->emb[v])
            dmq_tape_output(s->times, s->emb[v]);
    }
    DMQ_TRY(dmq_tape_plan(s->times));
done:
    return st;
}

/** The network without its temporal unit; embeddings are inputs: rows of the tables that `times` makes. */
static dmq_var *record_network(dmq_sample *s, lane *l, const dmq_hooks *hooks, dmq_var **value)
{
    const dmq_model *m = s->model;

    memset(value, 0, (size_t)m->n_values * sizeof(dmq_var *));
    value[0] = l->x;
    for (int v = 0; v < m->n_values; v++) {
        if (s->emb[v]) {
            dmq_shape shape = s->emb[v]->shape;

            shape.dim[0] = s->moves->places;
            value[v] = dmq_tape_input(l->tape, "embedding", shape);
        }
    }
    for (int i = 0; i < m->n_units; i++) {
        const dmq_unit *u = &m->unit[i];
        if (u->kind != DMQ_UNIT_TEMPORAL) {
            value[u->out] = dmq_model_record_unit(m, i, l->tape, hooks, value[u->in[0]],
                                                  u->in[1] < 0 ? NULL : value[u->in[1]],
                                                  u->emb < 0 ? NULL : value[u->emb]);
        }
    }
    return value[m->output];
}

/* All tables are looked up at once, as far as a call of gather goes. `value` as record_network left it. */
static dmq_status make_lookups(const dmq_sample *s, lane *l, dmq_var *const *value)
{
    int n = 0;
    dmq_status st = DMQ_OK;

    for (int v = 0; v < s->model->n_values; v++)
        n += s->emb[v] != NULL;
    l->n_lookups = (n + DMQ_GATHER_PARTS - 1) / DMQ_GATHER_PARTS;
    DMQ_TRY(dmq_alloc((void **)&l->lookup, (size_t)l->n_lookups, sizeof *l->lookup));
    n = 0;
    for (int v = 0; v < s->model->n_values; v++) {
        dmq_gather_args *g;

        if (!s->emb[v])
            continue;
        g = &l->lookup[n++ / DMQ_GATHER_PARTS];
        g->n = s->moves->places;
        g->part[g->n_parts++] = (dmq_gather_part){ .table = s->emb[v]->value,
                                                   .index = l->mover.row,
                                                   .y = value[v]->value,
                                                   .d = s->emb[v]->shape.dim[1],
                                                   .rows = s->emb[v]->shape.dim[0] };
    }
done:
    return st;
}

static dmq_status lane_create(dmq_sample *s, lane *l, const dmq_hook_source *source)
{
    dmq_status st = DMQ_OK;
    dmq_shape shape = s->model->input;
    void *memory = NULL;
    dmq_hooks hooks;

    shape.dim[0] = s->moves->places;
    DMQ_TRY(dmq_alloc(&memory, (size_t)s->model->n_values, sizeof(dmq_var *)));
    DMQ_TRY(dmq_mover_init(&l->mover, s->moves));
    DMQ_TRY(dmq_tape_create(&l->tape, s->be, DMQ_TAPE_FORWARD));
    l->x = dmq_tape_input(l->tape, "x", shape);
    l->row = dmq_tape_index(l->tape, "step", s->moves->places);
    hooks = dmq_hooks_for(source, l->tape, l->row);
    if (s->times) {
        l->eps = record_network(s, l, &hooks, memory);
    } else {
        DMQ_TRY(dmq_alloc((void **)&l->labels, (size_t)s->moves->places, sizeof *l->labels));
        l->label = dmq_tape_index(l->tape, "label", s->moves->places);
        l->eps = dmq_model_record(
            s->model, l->tape, &hooks, l->x,
            dmq_tape_constant(l->tape, "t", dmq_shape1(s->moves->places), l->mover.t), l->label);
    }
    dmq_tape_output(l->tape, l->eps);
    DMQ_TRY(dmq_tape_plan(l->tape));
    l->row->value = l->mover.row;
    if (s->times)
        DMQ_TRY(make_lookups(s, l, memory));
    DMQ_TRY(dmq_alloc((void **)&l->host, (size_t)s->group * s->per, sizeof *l->host));
done:
    dmq_free(memory);
    return st;
}

dmq_status dmq_sample_create(dmq_sample **out, const dmq_model *model, const dmq_sampler *sampler,
                             const dmq_hook_source *source, dmq_lanes *lanes)
{
    dmq_status st = DMQ_OK;
    void *memory = NULL;
    dmq_sample *s = NULL;

    if (model->n_values == 0)
        return dmq_fail(DMQ_EDATA, "sample: a model of kind %s has no x and t", model->arch->kind);
    DMQ_TRY(dmq_moves_check_model(sampler, model));
    DMQ_TRY(dmq_alloc(&memory, 1, sizeof *s));
    s = memory;
    s->model = model;
    s->sampler = sampler;
    s->lanes = lanes;
    s->be = dmq_lanes_backend(lanes);
    s->group = s->be->shard;
    s->per = dmq_shape_count(model->input);
    if (model->n_labels == 0)
        DMQ_TRY(record_times(s, source));
    DMQ_TRY(dmq_moves_create(&s->moves, sampler, s->be, s->group, model->input,
                             model->value[model->output].shape.dim[3]));
    DMQ_TRY(dmq_alloc(&memory, (size_t)dmq_lanes_count(lanes), sizeof *s->lane));
    s->lane = memory;
    s->n_lanes = dmq_lanes_count(lanes);
    for (int i = 0; i < s->n_lanes; i++)
        DMQ_TRY(lane_create(s, &s->lane[i], source));
    *out = s;
    s = NULL;
done:
    dmq_sample_destroy(s);
    return st;
}

void dmq_sample_destroy(dmq_sample *sample)
{
    if (!sample)
        return;
    for (int i = 0; i < sample->n_lanes; i++) {
        dmq_replay_drop(&sample->lane[i].replay, sample->be);
        dmq_tape_destroy(sample->lane[i].tape);
        dmq_mover_release(&sample->lane[i].mover);
        dmq_free(sample->lane[i].lookup);
        dmq_free(sample->lane[i].labels);
        dmq_free(sample->lane[i].host);
    }
    dmq_free(sample->lane);
    dmq_moves_destroy(sample->moves);
    dmq_tape_destroy(sample->times);
    dmq_free(sample->emb);
    dmq_free(sample);
}

size_t dmq_sample_bytes(const dmq_sample *sample)
{
    size_t bytes = sample->times ? dmq_tape_bytes(sample->times) : 0;

    for (int i = 0; i < sample->n_lanes; i++)
        bytes += dmq_tape_bytes(sample->lane[i].tape);
    return bytes;
}

/* ------------------------------------------------------------------ running */

/** The embeddings of all steps, from the parameters as they are now. */
static dmq_status run_times(dmq_sample *s)
{
    dmq_status st = DMQ_OK;
    dmq_queue *queue = dmq_lanes_queue(s->lanes, 0);
    int n = s->sampler->n_steps, *row = NULL;
    dmq_real *t = NULL;

    DMQ_TRY(dmq_alloc((void **)&t, (size_t)n, sizeof *t));
    DMQ_TRY(dmq_alloc((void **)&row, (size_t)n, sizeof *row));
    for (int i = 0; i < n; i++) {
        t[i] = (dmq_real)s->sampler->step[i].t;
        row[i] = i;
    }
    DMQ_TRY(s->be->upload(queue, s->t->value, t, (size_t)n * sizeof *t));
    DMQ_TRY(dmq_tape_index_set(s->times, s->times_row, queue, row));
    DMQ_TRY(dmq_tape_forward(s->times, queue, DMQ_PART_ALL));
done:
    dmq_free(t);
    dmq_free(row);
    return st;
}

/* The next call of the network. No number of it is the host's. */
static dmq_status call(const lane *l, dmq_queue *queue)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_mover_take(&l->mover, queue));
    for (int i = 0; i < l->n_lookups; i++)
        DMQ_TRY(dmq_tape_backend(l->tape)->gather(queue, &l->lookup[i]));
    DMQ_TRY(dmq_tape_forward(l->tape, queue, DMQ_PART_ALL));
done:
    return st;
}

/* And the move after it. */
static dmq_status advance(void *context, dmq_queue *queue)
{
    const lane *l = context;
    dmq_status st = DMQ_OK;

    DMQ_TRY(call(l, queue));
    DMQ_TRY(dmq_mover_move(&l->mover, queue, l->x->value, l->eps->value));
done:
    return st;
}

/* The same for who watches. */
static dmq_status advance_watched(const job *j, lane *l, dmq_queue *queue, uint64_t first, int step)
{
    dmq_status st = DMQ_OK;
    dmq_real *x = l->x->value;

    DMQ_TRY(call(l, queue));
    DMQ_TRY(j->watch->step(j->watch->context, queue, step, first, x, l->eps->value));
    DMQ_TRY(dmq_mover_move(&l->mover, queue, x, l->eps->value));
done:
    return st;
}

/* All calls of a group, recorded once where the device can and nobody watches. */
static dmq_status trajectory(const job *j, lane *l, dmq_queue *queue, uint64_t first)
{
    const dmq_sample *s = j->s;
    int one_lane = dmq_lanes_count(s->lanes) == 1, watched = j->watch && j->watch->step;
    dmq_status st = DMQ_OK;

    if (l->seed != j->seed)
        dmq_replay_drop(&l->replay, s->be);
    l->seed = j->seed;
    for (int i = 0; i < s->moves->rows; i++) {
        if (dmq_stop_requested())
            return dmq_fail(DMQ_ESTOP, "sample: stopped by signal %d", dmq_stop_signal());
        DMQ_TRY(watched    ? advance_watched(j, l, queue, first, s->moves->call[i])
                : one_lane ? dmq_replay_run(&l->replay, s->be, queue, NULL, advance, l)
                           : advance(l, queue));
    }
done:
    return st;
}

/** The part of a finished group that lies in the range. */
static dmq_status keep(const job *j, lane *l, dmq_queue *queue, uint64_t first)
{
    dmq_status st = DMQ_OK;
    dmq_sample *s = j->s;
    uint64_t from = first < j->first ? j->first : first;
    uint64_t to = first + (uint64_t)s->group > j->end ? j->end : first + (uint64_t)s->group;

    DMQ_TRY(
        s->be->download(queue, l->host, l->x->value, (size_t)s->group * s->per * sizeof *l->host));
    DMQ_TRY(s->be->sync(queue));
    for (uint64_t n = from; n < to; n++) {
        const dmq_real *image = l->host + (n - first) * s->per;
        for (size_t i = 0; i < s->per; i++) {
            if (!isfinite(image[i])) {
                return dmq_fail(DMQ_EDIVERGE, "sample: image %llu is not finite",
                                (unsigned long long)n);
            }
        }
        memcpy(j->out + (n - j->first) * s->per, image, s->per * sizeof *image);
    }
    if (j->watch && j->watch->done)
        j->watch->done(j->watch->context, from, (int)(to - from));
done:
    return st;
}

/**
 * Labels of a group; a place outside of the range, whose image is not kept, takes the nearest one's. With
 * guidance the rows without a condition have the null label.
 */
static dmq_status set_labels(const job *j, lane *l, dmq_queue *queue, uint64_t first)
{
    const dmq_moves *moves = j->s->moves;

    for (int i = 0; i < moves->places; i++) {
        uint64_t n = first + (uint64_t)(i % moves->group);

        n = n < j->first ? j->first : n >= j->end ? j->end - 1 : n;
        l->labels[i] =
            dmq_moves_is_null(moves, i) ? j->s->model->n_classes : j->label[n - j->first];
    }
    return dmq_tape_index_set(l->tape, l->label, queue, l->labels);
}

static dmq_status group_run(void *context, int piece, int lane_number, dmq_queue *queue)
{
    dmq_status st = DMQ_OK;
    const job *j = context;
    lane *l = &j->s->lane[lane_number];
    uint64_t group = (uint64_t)j->s->group, first = (j->first / group + (uint64_t)piece) * group;

    DMQ_TRY(dmq_mover_begin(
        &l->mover, queue, l->x->value,
        &(dmq_start){ j->seed, first, .latent = DMQ_FOR_LATENT, .noise = DMQ_FOR_SAMPLER }));
    if (l->label)
        DMQ_TRY(set_labels(j, l, queue, first));
    DMQ_TRY(trajectory(j, l, queue, first));
    DMQ_TRY(keep(j, l, queue, first));
done:
    return st;
}

dmq_status dmq_sample_run(dmq_sample *sample, dmq_real *out, uint64_t seed, uint64_t first,
                          uint64_t count, const int *label, const dmq_sample_watch *watch)
{
    dmq_status st = DMQ_OK;
    job j = { .s = sample,
              .out = out,
              .seed = seed,
              .first = first,
              .end = first + count,
              .label = label,
              .watch = watch };
    uint64_t group = (uint64_t)sample->group;
    uint64_t groups = (first + count + group - 1) / group - first / group;

    assert(count > 0 && groups < INT32_MAX && (label != NULL) == (sample->times == NULL));
    if (label)
        DMQ_TRY(dmq_model_check_labels(sample->model, label, (int)count, "sample"));
    DMQ_TRY(dmq_moves_set(sample->moves, dmq_lanes_queue(sample->lanes, 0), watch && watch->step));
    if (sample->times)
        DMQ_TRY(run_times(sample));
    DMQ_TRY(sample->be->sync(dmq_lanes_queue(sample->lanes, 0))); /* the tables are every lane's */
    DMQ_TRY(dmq_lanes_run(sample->lanes, (int)groups, group_run, &j));
done:
    return st;
}
