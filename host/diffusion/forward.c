#include "diffusion/forward.h"

#include "base/memory.h"
#include "base/signal.h"
#include "tensor/layout.h"

#include <assert.h>
#include <math.h>
#include <string.h>

typedef struct lane {
    dmq_tape *tape;
    dmq_index *row, *label; /**< label NULL: the network knows no classes */
    dmq_var *x, *t, *y;
    dmq_real *host;  /**< (group, pixels, said) in memory order */
    dmq_real *times; /**< (group) */
    int *steps;      /**< (2, group): steps, labels */
} lane;

typedef struct job {
    const dmq_model *model;
    const dmq_forward_args *a;
    const dmq_backend *be;
    size_t per;
    size_t pixels; /**< of a sample */
    int said;      /**< channels of the network's result */
    int group;     /**< samples of one pass */
    lane *lane;
} job;

static dmq_status lane_create(job *j, lane *l, const dmq_hook_source *source)
{
    dmq_status st = DMQ_OK;
    dmq_shape shape = j->model->input;
    dmq_hooks hooks;

    shape.dim[0] = j->group;
    DMQ_TRY(dmq_tape_create(&l->tape, j->be, DMQ_TAPE_FORWARD));
    l->x = dmq_tape_input(l->tape, "x", shape);
    l->t = dmq_tape_input(l->tape, "t", dmq_shape1(j->group));
    l->row = dmq_tape_index(l->tape, "step", j->group);
    hooks = dmq_hooks_for(source, l->tape, l->row);
    if (j->model->n_labels > 0)
        l->label = dmq_tape_index(l->tape, "label", j->group);
    l->y = dmq_model_record(j->model, l->tape, &hooks, l->x, l->t, l->label);
    dmq_tape_output(l->tape, l->y);
    DMQ_TRY(dmq_tape_plan(l->tape));
    DMQ_TRY(dmq_alloc((void **)&l->host, (size_t)j->group * j->pixels * (size_t)j->said,
                      sizeof *l->host));
    DMQ_TRY(dmq_alloc((void **)&l->times, (size_t)j->group, sizeof *l->times));
    DMQ_TRY(dmq_alloc((void **)&l->steps, 2 * (size_t)j->group, sizeof *l->steps));
done:
    return st;
}

static dmq_status check_input(const job *j)
{
    const dmq_forward_args *a = j->a;

    if ((j->model->n_labels > 0) != (a->label != NULL)) {
        return dmq_fail(DMQ_EDATA, "forward: %s",
                        a->label ? "the network knows no classes, but labels are given"
                                 : "the network needs a label for every sample");
    }
    if (a->label && dmq_model_check_labels(j->model, a->label, a->n, "forward") != DMQ_OK)
        return DMQ_EDATA;
    for (int n = 0; n < a->n; n++) {
        if (!isfinite(a->t[n]))
            return dmq_fail(DMQ_EDATA, "forward: t of sample %d is not finite", n);
        for (size_t i = 0; i < j->per; i++) {
            if (!isfinite(a->x[(size_t)n * j->per + i]))
                return dmq_fail(DMQ_EDATA, "forward: x of sample %d is not finite", n);
        }
    }
    return DMQ_OK;
}

/** Number of the sample at a place of a group: padded by the group's first. */
static int sample_at(const job *j, int piece, int place)
{
    int n = piece * j->group + place;
    return n < j->a->n ? n : piece * j->group;
}

static dmq_status load(const job *j, lane *l, dmq_queue *queue, int piece)
{
    dmq_status st = DMQ_OK;
    const dmq_forward_args *a = j->a;
    const int *d = j->model->input.dim;
    size_t group = (size_t)j->group;

    for (int i = 0; i < j->group; i++) {
        int n = sample_at(j, piece, i);
        const dmq_real *x = a->x + (size_t)n * j->per;
        if (a->nhwc) {
            memcpy(l->host + (size_t)i * j->per, x, j->per * sizeof *x);
        } else {
            dmq_nhwc_from_nchw(l->host + (size_t)i * j->per, x, 1, d[3], d[1], d[2]);
        }
        l->times[i] = a->t[n];
        l->steps[i] = a->step ? a->step[n] : 0;
        l->steps[j->group + i] = a->label ? a->label[n] : 0;
    }
    DMQ_TRY(j->be->upload(queue, l->x->value, l->host, group * j->per * sizeof *l->host));
    DMQ_TRY(j->be->upload(queue, l->t->value, l->times, group * sizeof *l->times));
    DMQ_TRY(dmq_tape_index_set(l->tape, l->row, queue, l->steps));
    if (l->label)
        DMQ_TRY(dmq_tape_index_set(l->tape, l->label, queue, l->steps + j->group));
done:
    return st;
}

/* The first channels of each pixel, in place. */
static void leave_noise(const job *j, dmq_real *y)
{
    size_t c = j->per / j->pixels;

    for (size_t p = 1; p < j->pixels && (size_t)j->said > c; p++)
        memmove(y + p * c, y + p * (size_t)j->said, c * sizeof *y);
}

static dmq_status keep(const job *j, lane *l, dmq_queue *queue, int piece)
{
    dmq_status st = DMQ_OK;
    const dmq_forward_args *a = j->a;
    const int *d = j->model->input.dim;

    DMQ_TRY(j->be->download(queue, l->host, l->y->value,
                            (size_t)j->group * j->pixels * (size_t)j->said * sizeof *l->host));
    DMQ_TRY(j->be->sync(queue));
    for (int i = 0; i < j->group && piece * j->group + i < a->n; i++) {
        int n = piece * j->group + i;
        dmq_real *y = l->host + (size_t)i * j->pixels * (size_t)j->said;
        dmq_real *out = a->out + (size_t)n * j->per;

        leave_noise(j, y);
        for (size_t k = 0; k < j->per; k++) {
            if (!isfinite(y[k]))
                return dmq_fail(DMQ_EDIVERGE, "forward: the result of sample %d is not finite", n);
        }
        if (a->nhwc) {
            memcpy(out, y, j->per * sizeof *y);
        } else {
            dmq_nchw_from_nhwc(out, y, 1, d[3], d[1], d[2]);
        }
    }
done:
    return st;
}

static dmq_status group_run(void *context, int piece, int lane_number, dmq_queue *queue)
{
    dmq_status st = DMQ_OK;
    const job *j = context;
    lane *l = &j->lane[lane_number];

    if (dmq_stop_requested())
        return dmq_fail(DMQ_ESTOP, "forward: stopped by signal %d", dmq_stop_signal());
    DMQ_TRY(load(j, l, queue, piece));
    DMQ_TRY(dmq_tape_forward(l->tape, queue, DMQ_PART_ALL));
    DMQ_TRY(keep(j, l, queue, piece));
done:
    return st;
}

int dmq_forward_fits(const dmq_model *model)
{
    dmq_shape in = model->input, out;

    if (model->n_values == 0)
        return 0;
    out = model->value[model->output].shape;
    return out.rank == 4 && out.dim[1] == in.dim[1] && out.dim[2] == in.dim[2] &&
           (out.dim[3] == in.dim[3] || out.dim[3] == 2 * in.dim[3]);
}

dmq_status dmq_forward_run(const dmq_model *model, const dmq_hook_source *source, dmq_lanes *lanes,
                           const dmq_forward_args *a)
{
    dmq_status st = DMQ_OK;
    job j = { .model = model,
              .a = a,
              .be = dmq_lanes_backend(lanes),
              .per = dmq_shape_count(model->input),
              .group = dmq_lanes_backend(lanes)->shard };
    int n_lanes = dmq_lanes_count(lanes), pieces = (a->n + j.group - 1) / j.group;
    void *memory = NULL;

    assert(a->n > 0);
    if (model->n_values == 0)
        return dmq_fail(DMQ_EDATA, "forward: a model of kind %s has no x and t", model->arch->kind);
    if (!dmq_forward_fits(model)) {
        return dmq_fail(DMQ_ENOTSUP, "forward: the network's result is %s, its input %s",
                        dmq_shape_text(model->value[model->output].shape),
                        dmq_shape_text(model->input));
    }
    j.said = model->value[model->output].shape.dim[3];
    j.pixels = j.per / (size_t)model->input.dim[3];
    DMQ_TRY(check_input(&j));
    DMQ_TRY(dmq_alloc(&memory, (size_t)n_lanes, sizeof *j.lane));
    j.lane = memory;
    for (int i = 0; i < n_lanes; i++)
        DMQ_TRY(lane_create(&j, &j.lane[i], source));
    DMQ_TRY(dmq_lanes_run(lanes, pieces, group_run, &j));
done:
    for (int i = 0; j.lane && i < n_lanes; i++) {
        dmq_tape_destroy(j.lane[i].tape);
        dmq_free(j.lane[i].host);
        dmq_free(j.lane[i].times);
        dmq_free(j.lane[i].steps);
    }
    dmq_free(memory);
    return st;
}
