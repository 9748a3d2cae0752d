/* The trajectories of the full-precision model from which a calibration set is collected. */
#include "calib/calib_inner.h"

#include "base/memory.h"
#include "base/progress.h"
#include "base/signal.h"
#include "kernels/noise.h"
#include "model/fingerprint.h"

#include <math.h>
#include <string.h>

/* Trajectories that one pass of the network moves: fixed, so that nothing depends on a setting. */
#define SHARD 8

/* What one lane has: the network on a tape, and the sampler's state. */
typedef struct walker {
    dmq_tape *tape;
    dmq_var *x, *t, *eps;
    dmq_real *z; /* (SHARD, per) */
} walker;

typedef struct collection {
    dmq_calib *calib;
    const dmq_sampler *sampler;
    const dmq_backend *be;
    walker *walker; /* one a lane */
    int n_lanes, n_shards;
    size_t per;
} collection;

static dmq_status make_walker(walker *w, const dmq_model *model, const dmq_backend *be)
{
    dmq_shape s = model->input;
    dmq_status st = DMQ_OK;

    s.dim[0] = SHARD;
    DMQ_TRY(dmq_tape_create(&w->tape, be, DMQ_TAPE_FORWARD));
    w->x = dmq_tape_input(w->tape, "x", s);
    w->t = dmq_tape_input(w->tape, "t", dmq_shape1(SHARD));
    w->eps = dmq_model_record(model, w->tape, NULL, w->x, w->t);
    dmq_tape_output(w->tape, w->eps);
    DMQ_TRY(dmq_tape_plan(w->tape));
    DMQ_TRY(dmq_alloc((void **)&w->z, dmq_shape_count(s), sizeof *w->z));
done:
    return st;
}

/* Rows `sample` of normal noise for a purpose and step. */
static dmq_status fill_noise(const collection *c, dmq_queue *queue, dmq_real *out,
                             const uint64_t *sample, dmq_purpose purpose, int step)
{
    return c->be->noise_normal(queue, &(dmq_noise_args){ .out = out,
                                                         .n = SHARD,
                                                         .per = c->per,
                                                         .seed = c->calib->config.seed,
                                                         .purpose = purpose,
                                                         .sample = sample,
                                                         .step = (uint32_t)step,
                                                         .channels = c->calib->image.dim[3] });
}

/* x of step k + 1 from x of step k. */
static dmq_status move(const collection *c, walker *w, dmq_queue *queue, const uint64_t *sample,
                       int k)
{
    const dmq_sampler_step *s = &c->sampler->step[k];
    dmq_sampler_args a = { .x = w->x->value, .eps = w->eps->value, .out = w->x->value };
    dmq_status st = DMQ_OK;

    for (int i = 0; i < SHARD; i++)
        w->t->value[i] = (dmq_real)s->t;
    DMQ_TRY(dmq_tape_forward(w->tape, queue, DMQ_PART_ALL));
    a.count = SHARD * c->per;
    a.r = (dmq_real)s->r;
    a.c = (dmq_real)s->c;
    a.d = (dmq_real)s->d;
    a.sigma = (dmq_real)s->sigma;
    a.clip = c->sampler->config.clip_x0;
    a.sqrt_a = (dmq_real)sqrt(s->a);
    a.sqrt_1ma = (dmq_real)sqrt(1 - s->a);
    a.sqrt_an = (dmq_real)sqrt(s->a_next);
    if (s->sigma != 0) {
        DMQ_TRY(fill_noise(c, queue, w->z, sample, DMQ_FOR_CALIB_STEP, k));
        a.z = w->z;
    }
    DMQ_TRY(c->be->sampler_update(queue, &a));
done:
    return st;
}

static dmq_status keep(const collection *c, const walker *w, int k, int from)
{
    int n = c->calib->per_step - from < SHARD ? c->calib->per_step - from : SHARD;
    dmq_real *to = c->calib->x + ((size_t)k * (size_t)c->calib->per_step + (size_t)from) * c->per;

    for (size_t i = 0; i < (size_t)n * c->per; i++) {
        if (!isfinite(w->x->value[i])) {
            return dmq_fail(DMQ_EDIVERGE,
                            "calibration: state of step %d (t = %d), sample %d is not finite", k,
                            c->calib->t[k], from + (int)(i / c->per));
        }
    }
    memcpy(to, w->x->value, (size_t)n * c->per * sizeof *to);
    return DMQ_OK;
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
    int fresh = calib->config.fresh, from = piece % c->n_shards * SHARD;
    int last = fresh ? calib->n_steps - 1 - piece / c->n_shards : calib->n_steps - 1;
    uint64_t sample[SHARD], first = fresh ? (uint64_t)last * (uint64_t)calib->per_step : 0;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < SHARD; i++)
        sample[i] = first + (uint64_t)from + (uint64_t)i;
    DMQ_TRY(fill_noise(c, queue, w->x->value, sample, DMQ_FOR_CALIB, 0));
    for (int k = 0; k <= last; k++) {
        if (dmq_stop_requested())
            return dmq_fail(DMQ_ESTOP, "calibration: stopped by signal %d", dmq_stop_signal());
        if (!fresh || k == last)
            DMQ_TRY(keep(c, w, k, from));
        if (k < last)
            DMQ_TRY(move(c, w, queue, sample, k));
    }
    dmq_progress_add(calib->per_step - from < SHARD ? calib->per_step - from : SHARD, NULL);
done:
    return st;
}

dmq_status dmq_calib_run(dmq_calib **out, const dmq_model *model, const dmq_sampler *sampler,
                         const dmq_calib_config *config, dmq_lanes *lanes)
{
    collection c = { .sampler = sampler, .be = dmq_lanes_backend(lanes) };
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_calib_check(config, sampler));
    DMQ_TRY(dmq_calib_create(&c.calib, config, model->input, sampler->n_steps));
    DMQ_TRY(dmq_sampler_text(&c.calib->sampler, sampler));
    DMQ_TRY(dmq_model_fingerprint(c.calib->model_hash, model));
    for (int k = 0; k < sampler->n_steps; k++)
        c.calib->t[k] = sampler->step[k].t;
    c.n_lanes = dmq_lanes_count(lanes);
    c.n_shards = (c.calib->per_step + SHARD - 1) / SHARD;
    c.per = dmq_shape_count(model->input);
    DMQ_TRY(dmq_alloc((void **)&c.walker, (size_t)c.n_lanes, sizeof *c.walker));
    for (int i = 0; i < c.n_lanes; i++)
        DMQ_TRY(make_walker(&c.walker[i], model, c.be));
    DMQ_TRY(dmq_lanes_run(lanes, c.n_shards * (config->fresh ? sampler->n_steps : 1), collect_piece,
                          &c));
    *out = c.calib;
    c.calib = NULL;
done:
    for (int i = 0; c.walker && i < c.n_lanes; i++) {
        dmq_tape_destroy(c.walker[i].tape);
        dmq_free(c.walker[i].z);
    }
    dmq_free(c.walker);
    dmq_calib_destroy(c.calib);
    return st;
}
