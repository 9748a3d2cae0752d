#include "eval/noise_error.h"

#include "base/memory.h"

#include <string.h>

/* Both networks on one tape of a lane: the same x and t, two results. */
typedef struct lane_pair {
    dmq_tape *tape;
    dmq_var *x, *t, *fp, *q;
    dmq_index *row, *label; /* label NULL: the network knows no classes */
    dmq_real *host;         /* (2, shard, pixels, said) */
    dmq_real *times;        /* (shard) */
    int *steps;             /* (2, shard): steps, labels */
} lane_pair;

typedef struct measuring {
    const dmq_backend *be;
    lane_pair *lane;
    const dmq_real *const *x;
    const dmq_real *t;
    const int *row, *label;
    size_t per, pixels;
    int said; /* channels of the network's result */
    int n, shard;
    double *error;
} measuring;

static dmq_status open_pair(lane_pair *p, const dmq_backend *be, const dmq_model *model,
                            const dmq_hook_source *source)
{
    dmq_shape in = model->input;
    size_t shard = (size_t)be->shard;
    dmq_hooks hooks;
    dmq_status st = DMQ_OK;

    in.dim[0] = be->shard;
    DMQ_TRY(dmq_tape_create(&p->tape, be, DMQ_TAPE_FORWARD));
    p->x = dmq_tape_input(p->tape, "x", in);
    p->t = dmq_tape_input(p->tape, "t", dmq_shape1(be->shard));
    p->row = dmq_tape_index(p->tape, "step", be->shard);
    if (model->n_labels > 0)
        p->label = dmq_tape_index(p->tape, "label", be->shard);
    p->fp = dmq_model_record(model, p->tape, NULL, p->x, p->t, p->label);
    hooks = dmq_hooks_for(source, p->tape, p->row);
    p->q = dmq_model_record(model, p->tape, &hooks, p->x, p->t, p->label);
    dmq_tape_output(p->tape, p->fp);
    dmq_tape_output(p->tape, p->q);
    DMQ_TRY(dmq_tape_plan(p->tape));
    DMQ_TRY(dmq_alloc((void **)&p->host,
                      2 * shard * dmq_shape_count(model->value[model->output].shape),
                      sizeof(dmq_real)));
    DMQ_TRY(dmq_alloc((void **)&p->times, shard, sizeof *p->times));
    DMQ_TRY(dmq_alloc((void **)&p->steps, 2 * shard, sizeof *p->steps));
done:
    return st;
}

static dmq_status measure(void *context, int piece, int lane, dmq_queue *queue)
{
    measuring *m = context;
    lane_pair *p = &m->lane[lane];
    size_t shard = (size_t)m->shard, bytes = shard * m->per * sizeof(dmq_real);
    size_t said = (size_t)m->said, c = m->per / m->pixels, result = shard * m->pixels * said;
    dmq_status st = DMQ_OK;
    int first = piece * m->shard;

    for (int i = 0; i < m->shard; i++) { /* past the end the last sample stands in */
        int s = first + i < m->n ? first + i : m->n - 1;

        memcpy(p->host + (size_t)i * m->per, m->x[s], m->per * sizeof(dmq_real));
        p->times[i] = m->t[s];
        p->steps[i] = m->row[s];
        p->steps[m->shard + i] = m->label ? m->label[s] : 0;
    }
    DMQ_TRY(m->be->upload(queue, p->x->value, p->host, bytes));
    DMQ_TRY(m->be->upload(queue, p->t->value, p->times, shard * sizeof *p->times));
    DMQ_TRY(dmq_tape_index_set(p->tape, p->row, queue, p->steps));
    if (p->label)
        DMQ_TRY(dmq_tape_index_set(p->tape, p->label, queue, p->steps + m->shard));
    DMQ_TRY(dmq_tape_forward(p->tape, queue, DMQ_PART_ALL));
    DMQ_TRY(m->be->download(queue, p->host, p->fp->value, result * sizeof(dmq_real)));
    DMQ_TRY(m->be->download(queue, p->host + result, p->q->value, result * sizeof(dmq_real)));
    DMQ_TRY(m->be->sync(queue));
    for (int i = 0; i < m->shard && first + i < m->n; i++) {
        const dmq_real *f = p->host + (size_t)i * m->pixels * said, *q = f + result;
        double sum = 0;

        for (size_t j = 0; j < m->pixels * said; j++) {
            if (j % said < c)
                sum += ((double)q[j] - (double)f[j]) * ((double)q[j] - (double)f[j]);
        }
        m->error[first + i] = sum / (double)m->per;
    }
done:
    return st;
}

dmq_status dmq_noise_error(double *error, const dmq_model *model, const dmq_hook_source *source,
                           dmq_lanes *lanes, const dmq_real *const *x, const dmq_real *t,
                           const int *row, const int *label, int n)
{
    int n_lanes = dmq_lanes_count(lanes);
    measuring m = { .be = dmq_lanes_backend(lanes),
                    .x = x,
                    .t = t,
                    .row = row,
                    .label = label,
                    .per = dmq_shape_count(model->input),
                    .pixels = dmq_shape_count(model->input) / (size_t)model->input.dim[3],
                    .said = model->value[model->output].shape.dim[3],
                    .n = n,
                    .shard = dmq_lanes_backend(lanes)->shard,
                    .error = error };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&m.lane, (size_t)n_lanes, sizeof *m.lane));
    for (int i = 0; i < n_lanes; i++)
        DMQ_TRY(open_pair(&m.lane[i], m.be, model, source));
    DMQ_TRY(dmq_lanes_run(lanes, (n + m.shard - 1) / m.shard, measure, &m));
done:
    for (int i = 0; m.lane && i < n_lanes; i++) {
        dmq_tape_destroy(m.lane[i].tape);
        dmq_free(m.lane[i].host);
        dmq_free(m.lane[i].times);
        dmq_free(m.lane[i].steps);
    }
    dmq_free(m.lane);
    return st;
}
