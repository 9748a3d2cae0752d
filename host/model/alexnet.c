#include "model/alexnet.h"

#include "base/memory.h"
#include "model/build.h"
#include "model/config_text.h"
#include "tape/ops.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { STAGES = DMQ_ALEXNET_STAGES };

/* Each convolution, and whether pooling stands before it. */
static const struct {
    int number; /* in torchvision's list of modules */
    int channels, kernel, stride, pad, pooled;
} stages[STAGES] = {
    { 0, 64, 11, 4, 2, 0 }, { 3, 192, 5, 1, 2, 1 },  { 6, 384, 3, 1, 1, 1 },
    { 8, 256, 3, 1, 1, 0 }, { 10, 256, 3, 1, 1, 0 },
};

static const dmq_arch arch = { .kind = "alexnet" };

/* Entries: weight and bias of each stage, then the weights of their channels. */
static int convolution(int stage)
{
    return 2 * stage;
}

static int channel_weights(int stage)
{
    return 2 * STAGES + stage;
}

static dmq_status build(dmq_model **out)
{
    char name[DMQ_NAME_MAX];
    dmq_build b;
    dmq_status st = dmq_build_begin(&b, &arch);
    int in = 3;

    if (st != DMQ_OK)
        return st;
    for (int i = 0; i < STAGES; i++) {
        (void)snprintf(name, sizeof name, "features.%d", stages[i].number);
        (void)dmq_build_weights(&b, DMQ_LAYER_CONV, stages[i].channels, in, stages[i].kernel, name);
        in = stages[i].channels;
    }
    for (int i = 0; i < STAGES; i++) {
        (void)snprintf(name, sizeof name, "lin%d.model.1.weight", i);
        (void)dmq_build_entry(&b, dmq_shape4(1, 1, 1, stages[i].channels), 1, name);
    }
    return dmq_build_finish(out, &b);
}

dmq_status dmq_alexnet_create(dmq_model **out)
{
    char text[DMQ_CONFIG_TEXT];
    dmq_model *m = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(build(&m));
    m->input = dmq_shape4(1, 224, 224, 3);
    (void)snprintf(text, sizeof text, "stages: %d\n", STAGES);
    DMQ_TRY(dmq_strdup(&m->config_text, text));
    *out = m;
    m = NULL;
done:
    dmq_model_destroy(m);
    return st;
}

dmq_status dmq_alexnet_create_text(dmq_model **out, const char *config_text)
{
    dmq_model *m = NULL;
    int n;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_config_text_int(&n, config_text, "stages"));
    DMQ_TRY(dmq_alexnet_create(&m));
    st = dmq_build_understood(out, &m, config_text);
done:
    dmq_model_destroy(m);
    return st;
}

int dmq_alexnet_is(const dmq_model *model)
{
    return model->arch == &arch;
}

const dmq_real *dmq_alexnet_channel_weights(int *channels, const dmq_model *model, int stage)
{
    assert(dmq_alexnet_is(model) && stage >= 0 && stage < STAGES);
    *channels = stages[stage].channels;
    return model->params + model->entry[channel_weights(stage)].offset;
}

void dmq_alexnet_record(dmq_var *stage[DMQ_ALEXNET_STAGES], const dmq_model *model, dmq_tape *tape,
                        dmq_var *x)
{
    dmq_var *h = x;

    assert(dmq_alexnet_is(model));
    for (int i = 0; i < STAGES; i++) {
        int pad = stages[i].pad, entry = convolution(i);

        if (stages[i].pooled)
            h = dmq_record_pool2d(tape, DMQ_POOL_MAX, h, 3, 2, 0);
        h = dmq_record_conv2d(tape, h, dmq_model_leaf(model, tape, entry),
                              dmq_model_leaf(model, tape, entry + 1), stages[i].stride,
                              (dmq_pad){ pad, pad, pad, pad });
        h = dmq_record_unary(tape, DMQ_RELU, h);
        stage[i] = h;
    }
}

bool dmq_alexnet_lpips_name(char out[DMQ_MAP_NAME], const dmq_model *model, const dmq_entry *entry,
                            int variant, int part)
{
    int index = (int)(entry - model->entry);

    if (variant > 0 || part > 0)
        return false;
    if (index >= channel_weights(0)) {
        (void)snprintf(out, DMQ_MAP_NAME, "%s", entry->name);
        return true;
    }
    (void)snprintf(out, DMQ_MAP_NAME, "net.slice%d.%d.%s", index / 2 + 1, stages[index / 2].number,
                   index % 2 ? "bias" : "weight");
    return true;
}
