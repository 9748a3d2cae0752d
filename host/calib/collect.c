/* The trajectories of the full-precision model from which a calibration set is collected. */
#include "calib/calib_inner.h"

#include "backend/replay.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/signal.h"
#include "diffusion/moves.h"
#include "model/fingerprint.h"

#include <math.h>
#include <string.h>

/* What one lane has: the network on a tape, and the sampler's state. */
typedef struct walker {
    dmq_tape *tape;
    dmq_var *x, *eps;
    dmq_index *label; /* NULL: the network knows no classes */
    int *labels;      /* (shard) on the host */
    dmq_mover mover;
    dmq_replay replay; /* of a move */
} walker;

typedef struct collection {
    dmq_calib *calib;
    const dmq_sampler *sampler;
    const dmq_backend *be;
    dmq_moves *moves;
    walker *walker; /* one a lane */
    int shard; /* trajectories that one pass of the network moves: fixed, whatever the settings are */
    int branches; /* samples of a trajectory at a step */
    int n_lanes, n_shards;
    size_t per;
} collection;

static dmq_status make_walker(walker *w, const dmq_model *model, const dmq_moves *moves)
{
    const dmq_backend *be = moves->be;
    dmq_shape s = model->input;
    dmq_status st = DMQ_OK;

    s.dim[0] = moves->places;
    DMQ_TRY(dmq_mover_init(&w->mover, moves));
    DMQ_TRY(dmq_tape_create(&w->tape, be, DMQ_TAPE_FORWARD));
    w->x = dmq_tape_input(w->tape, "x", s);
    if (model->n_labels > 0)
        w->label = dmq_tape_index(w->tape, "label", moves->places);
    w->eps = dmq_model_record(
        model, w->tape, NULL, w->x,
        dmq_tape_constant(w->tape, "t", dmq_shape1(moves->places), w->mover.t), w->label);
    dmq_tape_output(w->tape, w->eps);
    DMQ_TRY(dmq_tape_plan(w->tape));
    DMQ_TRY(dmq_alloc((void **)&w->labels, (size_t)moves->places, sizeof *w->labels));
done:
    return st;
}

/* x of the next step. No number of it is the host's. */
static dmq_status move(void *context, dmq_queue *queue)
{
    const walker *w = context;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_mover_take(&w->mover, queue));
    DMQ_TRY(dmq_tape_forward(w->tape, queue, DMQ_PART_ALL));
    DMQ_TRY(dmq_mover_move(&w->mover, queue, w->x->value, w->eps->value));
done:
    return st;
}

static int trajectories(const collection *c)
{
    return c->calib->per_step / c->branches;
}

static int shard_count(const collection *c, int from)
{
    return trajectories(c) - from < c->shard ? trajectories(c) - from : c->shard;
}

/* Labels of the shard that ends at step k; behind its last sample that one's again. */
static dmq_status set_labels(const collection *c, walker *w, dmq_queue *queue, int k, int from)
{
    int n = shard_count(c, from);

    if (!w->label)
        return DMQ_OK;
    for (int place = 0; place < c->moves->places; place++) {
        int i = place % c->shard, branch = place / c->shard;

        w->labels[place] =
            dmq_calib_label(c->calib, k, c->branches * (from + (i < n ? i : n - 1)) + branch);
    }
    return dmq_tape_index_set(w->tape, w->label, queue, w->labels);
}

static dmq_status keep(const collection *c, const walker *w, dmq_queue *queue, int k, int from)
{
    size_t n = (size_t)shard_count(c, from) * c->per;
    dmq_status st = DMQ_OK;
    int row = k * c->calib->per_step + c->branches * from;
    dmq_real *to = c->calib->x + (size_t)row * c->per;

    DMQ_TRY(c->be->download(queue, to, w->x->value, n * sizeof *to));
    DMQ_TRY(c->be->sync(queue));
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(to[i])) {
            return dmq_fail(DMQ_EDIVERGE,
                            "calibration: state of step %d (t = %g), sample %d is not finite", k,
                            (double)c->calib->t[k], c->branches * (from + (int)(i / c->per)));
        }
    }
    for (int i = shard_count(c, from) - 1; i >= 0 && c->branches == 2; i--) {
        const dmq_real *x = to + (size_t)i * c->per;

        memcpy(to + (size_t)(2 * i + 1) * c->per, x, c->per * sizeof *to);
        if (i > 0)
            memcpy(to + (size_t)(2 * i) * c->per, x, c->per * sizeof *to);
    }
done:
    return st;
}

/*
 * Shared: a piece is a shard of trajectories, kept at every step. Fresh: a piece is a shard of one step,
 * longest first; only its last state is kept.
 */
static dmq_status collect_piece(void *context, int piece, int lane, dmq_queue *queue)
{
    const collection *c = context;
    const dmq_calib *calib = c->calib;
    walker *w = &c->walker[lane];
    int fresh = calib->config.fresh, from = piece % c->n_shards * c->shard;
    int last = fresh ? calib->n_steps - 1 - piece / c->n_shards : calib->n_steps - 1;
    uint64_t first = (fresh ? (uint64_t)last * (uint64_t)trajectories(c) : 0) + (uint64_t)from;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_mover_begin(
        &w->mover, queue, w->x->value,
        &(dmq_start){ calib->config.seed, first, DMQ_FOR_CALIB, DMQ_FOR_CALIB_STEP }));
    DMQ_TRY(set_labels(c, w, queue, last, from));
    for (int k = 0; k <= last; k++) {
        if (dmq_stop_requested())
            return dmq_fail(DMQ_ESTOP, "calibration: stopped by signal %d", dmq_stop_signal());
        if (!fresh || k == last)
            DMQ_TRY(keep(c, w, queue, k, from));
        if (k < last)
            DMQ_TRY(c->n_lanes == 1 ? dmq_replay_run(&w->replay, c->be, queue, NULL, move, w)
                                    : move(w, queue));
    }
    dmq_progress_add(c->branches * shard_count(c, from), NULL);
done:
    return st;
}

/* A class for each trajectory; none where a branch is without. */
static dmq_status draw_labels(dmq_calib *calib, const dmq_model *model, const dmq_sampler *sampler)
{
    int n = calib->per_step, branches = dmq_sampler_branches(sampler);
    dmq_status st = dmq_calib_labels(calib);

    for (int i = 0; st == DMQ_OK && i < calib->n_steps * n; i++) {
        int of = (calib->config.fresh ? i : i % n) / branches;

        calib->label[i] = dmq_sampler_is_null(sampler, i % n % branches)
                              ? model->n_classes
                              : dmq_model_draw_label(model, calib->config.seed, DMQ_FOR_CALIB_LABEL,
                                                     (uint64_t)of);
    }
    return st;
}

dmq_status dmq_calib_run(dmq_calib **out, const dmq_model *model, const dmq_sampler *sampler,
                         const dmq_calib_config *config, dmq_lanes *lanes)
{
    dmq_calib_config branched = *config;
    collection c = { .sampler = sampler,
                     .branches = dmq_sampler_branches(sampler),
                     .be = dmq_lanes_backend(lanes),
                     .shard = dmq_lanes_backend(lanes)->shard };
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_calib_check(config, sampler));
    DMQ_TRY(dmq_moves_check_model(sampler, model));
    branched.branches = c.branches;
    DMQ_TRY(dmq_calib_create(&c.calib, &branched, model->input, sampler->n_steps));
    DMQ_TRY(dmq_sampler_text(&c.calib->sampler, sampler));
    DMQ_TRY(dmq_model_fingerprint(c.calib->model_hash, model));
    for (int k = 0; k < sampler->n_steps; k++)
        c.calib->t[k] = (dmq_real)sampler->step[k].t;
    c.n_lanes = dmq_lanes_count(lanes);
    c.n_shards = (trajectories(&c) + c.shard - 1) / c.shard;
    c.per = dmq_shape_count(model->input);
    DMQ_TRY(dmq_moves_create(&c.moves, sampler, c.be, c.shard, model->input,
                             model->value[model->output].shape.dim[3]));
    if (model->n_labels > 0)
        DMQ_TRY(draw_labels(c.calib, model, sampler));
    DMQ_TRY(dmq_moves_set(c.moves, dmq_lanes_queue(lanes, 0), 1));
    DMQ_TRY(c.be->sync(dmq_lanes_queue(lanes, 0)));
    DMQ_TRY(dmq_alloc((void **)&c.walker, (size_t)c.n_lanes, sizeof *c.walker));
    for (int i = 0; i < c.n_lanes; i++)
        DMQ_TRY(make_walker(&c.walker[i], model, c.moves));
    DMQ_TRY(dmq_lanes_run(lanes, c.n_shards * (config->fresh ? sampler->n_steps : 1), collect_piece,
                          &c));
    *out = c.calib;
    c.calib = NULL;
done:
    for (int i = 0; c.walker && i < c.n_lanes; i++) {
        dmq_replay_drop(&c.walker[i].replay, c.be);
        dmq_tape_destroy(c.walker[i].tape);
        dmq_mover_release(&c.walker[i].mover);
        dmq_free(c.walker[i].labels);
    }
    dmq_free(c.walker);
    dmq_moves_destroy(c.moves);
    dmq_calib_destroy(c.calib);
    return st;
}

dmq_status dmq_calib_noise(dmq_calib **out, const dmq_model *model, const dmq_sampler *sampler,
                           int n_steps, const dmq_calib_config *config)
{
    dmq_calib_config branched = *config;
    dmq_calib *c = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    branched.branches = dmq_sampler_branches(sampler);
    DMQ_TRY(dmq_calib_create(&c, &branched, model->input, n_steps));
    DMQ_TRY(dmq_sampler_text(&c->sampler, sampler));
    DMQ_TRY(dmq_model_fingerprint(c->model_hash, model));
    for (int k = 0; k < n_steps; k++)
        c->t[k] = (dmq_real)sampler->step[k].t;
    if (model->n_labels > 0)
        DMQ_TRY(draw_labels(c, model, sampler));
    DMQ_TRY(dmq_noise_normal_ref(NULL, &(dmq_noise_args){ .out = c->x,
                                                          .n = n_steps * c->per_step,
                                                          .per = dmq_shape_count(model->input),
                                                          .seed = config->seed,
                                                          .purpose = DMQ_FOR_CALIB,
                                                          .channels = c->image.dim[3] }));
    *out = c;
    c = NULL;
done:
    dmq_calib_destroy(c);
    return st;
}
