#include "model/model.h"

#include "base/memory.h"

#include <assert.h>
#include <string.h>

int dmq_entry_dims(int64_t dims[4], const dmq_entry *e)
{
    static const int kcrs[4] = { 0, 3, 1, 2 };
    int rank = e->shape.rank;

    for (int i = 0; i < rank; i++)
        dims[i] = e->shape.dim[e->rank4 ? kcrs[i] : i];
    if (e->conv1d)
        dims[rank++] = 1;
    return rank;
}

void dmq_model_destroy(dmq_model *model)
{
    if (!model)
        return;
    dmq_free(model->config);
    dmq_free(model->config_text);
    dmq_free(model->entry);
    dmq_free(model->layer);
    dmq_free(model->unit);
    dmq_free(model->value);
    dmq_mirror_release(&model->place);
    dmq_free(model->params);
    dmq_free(model);
}

dmq_status dmq_model_place(dmq_model *model, dmq_lanes *lanes)
{
    const dmq_backend *be = dmq_lanes_backend(lanes);
    dmq_queue *queue = dmq_lanes_queue(lanes, 0);
    size_t bytes = model->n_params * sizeof *model->params;
    dmq_status st = DMQ_OK;

    if (model->place.backend != be) {
        dmq_mirror_release(&model->place);
        DMQ_TRY(dmq_mirror_init(&model->place, be, model->params, bytes));
    }
    DMQ_TRY(dmq_mirror_push(&model->place, queue, model->params, bytes));
    DMQ_TRY(be->sync(queue));
done:
    return st;
}

const dmq_entry *dmq_model_entry(const dmq_model *model, const char *name)
{
    static const char prefix[] = "module."; /* from checkpoints of data-parallel training */

    if (strncmp(name, prefix, sizeof prefix - 1) == 0)
        name += sizeof prefix - 1;
    for (int i = 0; i < model->n_entries; i++) {
        if (strcmp(model->entry[i].name, name) == 0)
            return &model->entry[i];
    }
    return NULL;
}

const dmq_layer *dmq_model_layer(const dmq_model *model, const char *name)
{
    for (int i = 0; i < model->n_layers; i++) {
        if (strcmp(model->layer[i].name, name) == 0)
            return &model->layer[i];
    }
    return NULL;
}

size_t dmq_model_count(const dmq_model *model)
{
    size_t n = 0;

    for (int i = 0; i < model->n_entries; i++)
        n += dmq_shape_count(model->entry[i].shape);
    return n;
}

int dmq_model_temporal_of(const dmq_model *model)
{
    for (int v = 0; v < model->n_values; v++) {
        if (model->value[v].emb_of & DMQ_OF_T)
            return model->value[v].emb_of;
    }
    return DMQ_OF_T;
}

int dmq_model_draw_label(const dmq_model *model, uint64_t seed, dmq_purpose purpose,
                         uint64_t sample)
{
    return (int)(dmq_uniform(seed, purpose, sample, 0, 0) * model->n_classes);
}

dmq_status dmq_model_check_labels(const dmq_model *model, const int *label, int n, const char *what)
{
    for (int i = 0; i < n; i++) {
        if (label[i] < 0 || label[i] >= model->n_labels) {
            return dmq_fail(DMQ_EDATA, "%s: label of sample %d is %d: must be 0..%d", what, i,
                            label[i], model->n_labels - 1);
        }
    }
    return DMQ_OK;
}

dmq_var *dmq_model_leaf(const dmq_model *model, dmq_tape *tape, int entry)
{
    const dmq_entry *e = &model->entry[entry];
    dmq_real *value = dmq_mirror_device(&model->place, model->params + e->offset);

    assert(entry >= 0 && entry < model->n_entries);
    if (model->as_params)
        return dmq_tape_param(tape, e->name, e->shape, value, e->offset);
    return dmq_tape_constant(tape, e->name, e->shape, value);
}

dmq_var *dmq_model_record_layer(const dmq_model *model, dmq_tape *tape, const dmq_hooks *hooks,
                                int layer, dmq_var *x)
{
    const dmq_layer *l = &model->layer[layer];
    dmq_var *w = NULL, *bias = NULL;

    assert(layer >= 0 && layer < model->n_layers);
    if (!x)
        return NULL;
    if (hooks && hooks->input)
        x = hooks->input(hooks->context, tape, l, x);
    if (hooks && hooks->weight)
        w = hooks->weight(hooks->context, tape, l);
    if (!w)
        w = dmq_model_leaf(model, tape, l->weight);
    if (l->bias >= 0)
        bias = dmq_model_leaf(model, tape, l->bias);
    if (l->kind == DMQ_LAYER_LINEAR)
        return dmq_record_linear(tape, x, w, bias);
    return dmq_record_conv2d(tape, x, w, bias, l->stride, l->pad);
}

dmq_var *dmq_model_record_unit(const dmq_model *model, int unit, dmq_tape *tape,
                               const dmq_hooks *hooks, dmq_var *in0, dmq_var *in1, dmq_var *emb)
{
    assert(unit >= 0 && unit < model->n_units && model->unit[unit].kind != DMQ_UNIT_TEMPORAL);
    return model->arch->record(model, &model->unit[unit], tape, hooks, in0, in1, emb);
}

dmq_status dmq_model_record_temporal(const dmq_model *model, dmq_tape *tape, const dmq_hooks *hooks,
                                     dmq_var *t, const dmq_index *label, dmq_var **emb)
{
    if ((model->n_labels > 0) != (label != NULL)) {
        return dmq_fail(DMQ_EINVAL, "model of kind %s: %s", model->arch->kind,
                        label ? "it takes no labels" : "it needs a label for every sample");
    }
    return model->arch->record_temporal(model, tape, hooks, t, label, emb);
}

dmq_var *dmq_model_record(const dmq_model *model, dmq_tape *tape, const dmq_hooks *hooks,
                          dmq_var *x, dmq_var *t, const dmq_index *label)
{
    dmq_status st = DMQ_OK;
    void *memory = NULL;
    dmq_var **value, *result = NULL;

    DMQ_TRY(dmq_alloc(&memory, (size_t)model->n_values, sizeof(dmq_var *)));
    value = memory;
    value[0] = x;
    DMQ_TRY(dmq_model_record_temporal(model, tape, hooks, t, label, value));
    for (int i = 0; i < model->n_units; i++) {
        const dmq_unit *u = &model->unit[i];
        if (u->kind != DMQ_UNIT_TEMPORAL) {
            value[u->out] = dmq_model_record_unit(model, i, tape, hooks, value[u->in[0]],
                                                  u->in[1] < 0 ? NULL : value[u->in[1]],
                                                  u->emb < 0 ? NULL : value[u->emb]);
        }
    }
    result = value[model->output];
done:
    dmq_free(memory);
    return st == DMQ_OK ? result : dmq_tape_refuse(tape, st);
}
