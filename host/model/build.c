#include "model/build.h"

#include "base/memory.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/** Entries begin at multiples of this many numbers: 64 bytes, so that vector loads are aligned. */
#define ENTRY_ALIGN 16

dmq_status dmq_build_begin(dmq_build *b, const dmq_arch *arch)
{
    void *memory = NULL;

    b->model = NULL;
    b->status = dmq_alloc(&memory, 1, sizeof *b->model);
    if (b->status == DMQ_OK) {
        b->model = memory;
        b->model->arch = arch;
    }
    return b->status;
}

void dmq_build_abandon(dmq_build *b)
{
    dmq_model_destroy(b->model);
    b->model = NULL;
}

/** Room for one more in a list whose capacity is the power of two at or above its count. */
static void *next(dmq_build *b, void **list, int *count, size_t size)
{
    size_t n = (size_t)*count;

    if (b->status != DMQ_OK)
        return NULL;
    if ((n & (n - 1)) == 0) /* 0, 1, 2, 4, 8, ...: full */
        b->status = dmq_grow(list, n, n ? 2 * n : 1, size);
    if (b->status != DMQ_OK)
        return NULL;
    ++*count;
    return (char *)*list + n * size;
}

static void name_set(dmq_build *b, char *out, const char *name, const char *suffix)
{
    int n = snprintf(out, DMQ_NAME_MAX, "%s%s", name, suffix);

    if (n >= DMQ_NAME_MAX && b->status == DMQ_OK) {
        b->status = dmq_fail(DMQ_EINVAL, "model: name %s%s is longer than %d characters", name,
                             suffix, DMQ_NAME_MAX - 1);
    }
}

static int entry_add(dmq_build *b, dmq_shape shape, int rank4, const char *name, const char *suffix)
{
    dmq_model *m = b->model;
    dmq_entry *e = next(b, (void **)&m->entry, &m->n_entries, sizeof *e);

    if (!e)
        return 0;
    name_set(b, e->name, name, suffix);
    e->shape = shape;
    e->rank4 = rank4;
    return m->n_entries - 1;
}

int dmq_build_entry(dmq_build *b, dmq_shape shape, int rank4, const char *name)
{
    return entry_add(b, shape, rank4, name, "");
}

int dmq_build_norm(dmq_build *b, int channels, const char *name)
{
    int weight = entry_add(b, dmq_shape1(channels), 0, name, ".weight");
    entry_add(b, dmq_shape1(channels), 0, name, ".bias");
    return weight;
}

int dmq_build_weights(dmq_build *b, dmq_layer_kind kind, int out, int in, int kernel,
                      const char *name)
{
    int conv = kind == DMQ_LAYER_CONV;
    dmq_shape shape = conv ? dmq_shape4(out, kernel, kernel, in) : dmq_shape2(out, in);
    int weight = entry_add(b, shape, conv, name, ".weight");

    entry_add(b, dmq_shape1(out), 0, name, ".bias");
    return weight;
}

int dmq_build_conv1d(dmq_build *b, int out, int in, const char *name)
{
    int weight = dmq_build_weights(b, DMQ_LAYER_LINEAR, out, in, 1, name);

    if (b->status == DMQ_OK)
        b->model->entry[weight].conv1d = 1;
    return weight;
}

int dmq_build_layer(dmq_build *b, int unit, int weights, const dmq_layer *like, const char *name)
{
    dmq_model *m = b->model;
    dmq_layer *l = next(b, (void **)&m->layer, &m->n_layers, sizeof *l);
    dmq_unit *u;

    if (!l)
        return 0;
    *l = *like;
    name_set(b, l->name, name, "");
    l->index = m->n_layers - 1;
    l->unit = unit;
    l->weight = weights;
    l->bias = like->bias < 0 ? -1 : weights + 1;
    u = &m->unit[unit];
    if (u->n_layers == DMQ_MAX_LAYERS_IN_UNIT) {
        b->status = dmq_fail(DMQ_EINVAL, "model: unit %s has more than %d layers", u->name,
                             DMQ_MAX_LAYERS_IN_UNIT);
        return 0;
    }
    u->layer[u->n_layers++] = l->index;
    return l->index;
}

int dmq_build_operand(dmq_build *b, int unit, int channels, const char *name)
{
    const dmq_layer like = { .kind = DMQ_LAYER_OPERAND,
                             .bias = -1,
                             .out = channels,
                             .in = channels,
                             .kernel = 1,
                             .stride = 1 };

    return dmq_build_layer(b, unit, -1, &like, name);
}

int dmq_build_value(dmq_build *b, dmq_shape shape, int emb_of)
{
    dmq_model *m = b->model;
    dmq_value *v = next(b, (void **)&m->value, &m->n_values, sizeof *v);

    if (!v)
        return 0;
    v->shape = shape;
    v->emb_of = emb_of;
    v->last_reader = -1;
    return m->n_values - 1;
}

int dmq_build_unit(dmq_build *b, dmq_unit_kind kind, int in0, int in1, int emb, int out,
                   const char *name)
{
    dmq_model *m = b->model;
    dmq_unit *u = next(b, (void **)&m->unit, &m->n_units, sizeof *u);

    if (!u)
        return 0;
    name_set(b, u->name, name, "");
    u->kind = kind;
    u->index = m->n_units - 1;
    u->in[0] = in0;
    u->in[1] = in1;
    u->emb = emb;
    u->out = out;
    u->reference_order = u->index;
    return u->index;
}

static void place(dmq_model *m)
{
    size_t at = 0;

    for (int i = 0; i < m->n_entries; i++) {
        m->entry[i].offset = at;
        at += (dmq_shape_count(m->entry[i].shape) + ENTRY_ALIGN - 1) / ENTRY_ALIGN * ENTRY_ALIGN;
    }
    m->n_params = at;
}

static void find_last_readers(dmq_model *m)
{
    for (int u = 0; u < m->n_units; u++) {
        const int reads[3] = { m->unit[u].in[0], m->unit[u].in[1], m->unit[u].emb };
        for (int k = 0; k < 3; k++) {
            if (reads[k] >= 0)
                m->value[reads[k]].last_reader = u;
        }
    }
    if (m->n_values > 0)
        m->value[m->output].last_reader = m->n_units; /* the caller reads it */
}

/** Whether all embedding values of t depend on the same: the slots of the temporal unit. */
static int of_one_kind(const dmq_model *m)
{
    for (int v = 0; v < m->n_values; v++) {
        if (m->value[v].emb_of & DMQ_OF_T && m->value[v].emb_of != dmq_model_temporal_of(m))
            return 0;
    }
    return 1;
}

dmq_status dmq_build_finish(dmq_model **out, dmq_build *b)
{
    void *memory = NULL;

    if (b->status == DMQ_OK) {
        assert(of_one_kind(b->model));
        place(b->model);
        find_last_readers(b->model);
        b->status = dmq_alloc(&memory, b->model->n_params, sizeof(dmq_real));
    }
    if (b->status != DMQ_OK) {
        dmq_build_abandon(b);
        return b->status;
    }
    b->model->params = memory;
    *out = b->model;
    b->model = NULL;
    return DMQ_OK;
}

dmq_status dmq_build_understood(dmq_model **out, dmq_model **model, const char *config_text)
{
    if (strcmp((*model)->config_text, config_text) != 0) {
        return dmq_fail(DMQ_EDATA,
                        "%s: the configuration text holds more than is understood:\n"
                        "%s  understood as:\n%s",
                        (*model)->arch->kind, config_text, (*model)->config_text);
    }
    *out = *model;
    *model = NULL;
    return DMQ_OK;
}
