#include "quant/hooks.h"

#include <assert.h>

void dmq_attach_init(dmq_attach *attach, const dmq_qmodel *q)
{
    *attach = (dmq_attach){ .q = q, .weights = 1 };
}

dmq_var *dmq_attach_weight(void *context, dmq_tape *tape, const dmq_layer *layer)
{
    const dmq_attach *a = context;
    const dmq_entry *entry = &a->q->model->entry[layer->weight];

    if (!a->weights || a->q->layer[layer->index].weight_bits == 0)
        return NULL;
    if (a->w_soft && a->place[layer->index] != DMQ_NOT_LEARNED) {
        size_t place = a->place[layer->index];

        return dmq_tape_param(tape, entry->name, entry->shape, a->w_soft + place, place);
    }
    return dmq_tape_constant(
        tape, entry->name, entry->shape,
        dmq_mirror_device(&a->q->w_place, dmq_qmodel_weight(a->q, layer->index)));
}

static dmq_var *quantize_input(void *context, dmq_tape *tape, const dmq_layer *layer, dmq_var *x)
{
    const dmq_attach *a = context;
    const dmq_qlayer *l = &a->q->layer[layer->index];
    dmq_shape shape = dmq_shape2(a->q->table_rows, l->table_cols);
    dmq_quant_spec spec = { .row = a->row, .lsq_gain = 1, .per_channel = l->table_cols > 1 };

    if (!a->acts || l->act_bits == 0)
        return x;
    if (a->q->table_rows == 0) {
        return dmq_tape_refuse(tape,
                               dmq_fail(DMQ_EINVAL,
                                        "layer %s: its input is to be quantized to %d bits, but "
                                        "the activation tables have not been made",
                                        layer->name, l->act_bits));
    }
    assert(a->q->table_rows == 1 || a->row);
    if (a->q->table_rows == 1)
        spec.row = NULL;
    spec.scale = dmq_tape_constant(tape, "act_scale", shape,
                                   dmq_mirror_device(&a->q->tables_place, l->act_scale));
    spec.zero = dmq_tape_constant(tape, "act_zero", shape,
                                  dmq_mirror_device(&a->q->tables_place, l->act_zero));
    spec.hi = (1 << l->act_bits) - 1;
    return dmq_record_fake_quant(tape, x, &spec);
}

static int wants_input(void *context, const dmq_layer *layer)
{
    const dmq_attach *a = context;

    return a->acts && a->q->layer[layer->index].act_bits > 0;
}

dmq_hooks dmq_attach_hooks(dmq_attach *attach)
{
    return (dmq_hooks){ .context = attach,
                        .input = quantize_input,
                        .wants = wants_input,
                        .weight = dmq_attach_weight };
}

static dmq_hooks hooks_of(void *context, dmq_tape *tape, const dmq_index *row)
{
    dmq_attach *attach = context;

    (void)tape;
    attach->row = row;
    return dmq_attach_hooks(attach);
}

dmq_hook_source dmq_attach_source(dmq_attach *attach)
{
    return (dmq_hook_source){ .context = attach, .hooks = hooks_of };
}
