#include "recon/unit_tape.h"

#include "base/memory.h"

#include <assert.h>
#include <string.h>

int dmq_shard_size(const dmq_backend *be, int n)
{
    int most = be->shard < DMQ_BATCH_MAX ? be->shard : DMQ_BATCH_MAX;
    int enough = (n + 7) / 8 * 8;

    return enough < most ? enough : most;
}

size_t dmq_value_per(const dmq_model *model, int value)
{
    return dmq_shape_count(model->value[value].shape);
}

static dmq_var *input(dmq_unit_tape *u, const dmq_model *model, const char *name, int value)
{
    dmq_shape s;

    if (value < 0)
        return NULL;
    s = model->value[value].shape;
    s.dim[0] = u->batch;
    return dmq_tape_input(u->tape, name, s);
}

dmq_status dmq_unit_tape_record(dmq_unit_tape *u, const dmq_model *model, int unit,
                                const dmq_backend *be, unsigned passes, int batch,
                                dmq_attach *attach)
{
    const dmq_unit *n = &model->unit[unit];
    dmq_hooks hooks = { 0 };
    dmq_status st = DMQ_OK;

    assert(!model->as_params);
    memset(u, 0, sizeof *u);
    u->batch = batch;
    DMQ_TRY(dmq_tape_create(&u->tape, be, passes));
    if (attach) {
        if (attach->acts && attach->q->table_rows > 1)
            u->step = dmq_tape_index(u->tape, "step", batch);
        attach->row = u->step;
        hooks = dmq_attach_hooks(attach);
    }
    if (n->kind == DMQ_UNIT_TEMPORAL) {
        DMQ_TRY(dmq_alloc((void **)&u->embs, (size_t)model->n_values, sizeof(dmq_var *)));
        u->in[0] = dmq_tape_input(u->tape, "t", dmq_shape1(batch));
        if (model->n_labels > 0)
            u->label = dmq_tape_index(u->tape, "label", batch);
        DMQ_TRY(dmq_model_record_temporal(model, u->tape, attach ? &hooks : NULL, u->in[0],
                                          u->label, u->embs));
    } else {
        u->in[0] = input(u, model, "in0", n->in[0]);
        u->in[1] = input(u, model, "in1", n->in[1]);
        u->emb = input(u, model, "emb", n->emb);
        u->out = dmq_model_record_unit(model, unit, u->tape, attach ? &hooks : NULL, u->in[0],
                                       u->in[1], u->emb);
    }
done:
    if (st != DMQ_OK)
        dmq_unit_tape_release(u);
    return st;
}

void dmq_unit_tape_steps(dmq_unit_tape *u, const int *step)
{
    if (u->step)
        u->step->value = (int *)step; /* no pass writes to it */
}

void dmq_unit_tape_labels(dmq_unit_tape *u, const int *label)
{
    if (u->label)
        u->label->value = (int *)label; /* no pass writes to it */
}

dmq_status dmq_slot_rows_init(dmq_slot_rows *rows, dmq_space *space, const dmq_calib *calib,
                              const dmq_slots *slots, int batch)
{
    int n = slots->n, padded = n + batch, *step = NULL, *label;
    size_t count = (size_t)padded;
    dmq_real *t = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&step, 2 * count, sizeof *step));
    DMQ_TRY(dmq_alloc((void **)&t, count, sizeof *t));
    label = step + padded;
    for (int i = 0; i < padded; i++) {
        step[i] = slots->step[i < n ? i : n - 1];
        label[i] = slots->label[i < n ? i : n - 1];
        t[i] = calib->t[step[i]];
    }
    DMQ_TRY(dmq_space_alloc(&rows->t, space, count));
    DMQ_TRY(dmq_space_put(space, rows->t, t, count * sizeof *t));
    DMQ_TRY(space->be->alloc((void **)&rows->step, 2 * count * sizeof *step));
    DMQ_TRY(dmq_space_put(space, rows->step, step, 2 * count * sizeof *step));
    rows->label = rows->step + padded;
done:
    dmq_free(step);
    dmq_free(t);
    return st;
}

void dmq_slot_rows_release(dmq_slot_rows *rows, dmq_space *space)
{
    dmq_space_free(space, rows->t);
    dmq_space_free(space, rows->step);
    *rows = (dmq_slot_rows){ 0 };
}

void dmq_unit_tape_release(dmq_unit_tape *u)
{
    dmq_tape_destroy(u->tape);
    dmq_free(u->embs);
    memset(u, 0, sizeof *u);
}
