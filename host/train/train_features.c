#include "train/train_features.h"

#include "base/memory.h"
#include "model/features.h"
#include "train/feed.h"

#include <stdio.h>

void dmq_train_features_defaults(dmq_train_features_config *config)
{
    *config = (dmq_train_features_config){ .noise = 0.05 };
    dmq_train_defaults(&config->train);
}

typedef struct task {
    const dmq_model *model;
    const dmq_train_features_config *config;
    dmq_feed feed;
} task;

typedef struct state {
    dmq_train_state base;
    dmq_var *image, *noise;
    dmq_index *label;
} state;

static dmq_status record(void *context, dmq_tape *tape, int size, void *memory)
{
    const task *k = context;
    state *s = memory;
    dmq_shape shape = k->model->input;
    dmq_var *features, *logits;

    shape.dim[0] = size;
    s->image = dmq_tape_input(tape, "image", shape);
    s->noise = dmq_tape_input(tape, "noise", shape);
    s->label = dmq_tape_index(tape, "label", size);
    dmq_features_record(&features, &logits, k->model, tape,
                        dmq_record_binary(tape, DMQ_ADD, s->image, s->noise));
    s->base.loss = dmq_record_xent(tape, logits, s->label);
    dmq_tape_output(tape, s->base.loss);
    return DMQ_OK;
}

static dmq_status fill(void *context, const dmq_shard *shard, uint32_t i)
{
    dmq_status st = DMQ_OK;
    task *k = context;
    const dmq_backend *be = dmq_tape_backend(shard->tape);
    const state *s = shard->state;
    dmq_feed_lane *l = &k->feed.lane[shard->lane];
    size_t count = (size_t)shard->size * k->feed.per;

    DMQ_TRY(dmq_feed_fill(&k->feed, shard, i, l->label));
    DMQ_TRY(dmq_tape_index_set(shard->tape, s->label, shard->queue, l->label));
    DMQ_TRY(be->upload(shard->queue, s->image->value, l->x, count * sizeof *l->x));
    DMQ_TRY(be->noise_normal(shard->queue, &(dmq_noise_args){ .out = s->noise->value,
                                                              .n = shard->size,
                                                              .per = k->feed.per,
                                                              .seed = k->config->train.seed,
                                                              .purpose = DMQ_FOR_TRAIN_NOISE,
                                                              .first = (uint64_t)shard->first,
                                                              .step = i,
                                                              .channels = k->feed.set->channels }));
    DMQ_TRY(be->axpby(shard->queue, &(dmq_axpby_args){ .x = s->noise->value,
                                                       .y = s->noise->value,
                                                       .alpha = (dmq_real)k->config->noise,
                                                       .beta = 0,
                                                       .count = count }));
done:
    return st;
}

static dmq_status check_fit(const dmq_model *model, const dmq_dataset *set)
{
    const dmq_shape image = dmq_shape4(1, set->size, set->size, set->channels);

    if (!dmq_features_is(model)) {
        return dmq_fail(DMQ_EINVAL, "train: the network is of kind %s, not features",
                        model->arch->kind);
    }
    if (!dmq_shape_equal(model->input, image) ||
        dmq_features_config_of(model)->classes != set->n_classes) {
        return dmq_fail(DMQ_EINVAL,
                        "train: the images of %s are %s in %d classes, the network takes %s in %d",
                        set->name, dmq_shape_text(image), set->n_classes,
                        dmq_shape_text(model->input), dmq_features_config_of(model)->classes);
    }
    return DMQ_OK;
}

dmq_status dmq_train_features(dmq_model *model, char settings[DMQ_TRAIN_TEXT],
                              const dmq_dataset *set, const dmq_train_features_config *config,
                              dmq_lanes *lanes, const dmq_train_place *place,
                              const dmq_train_watch *watch, dmq_train_result *result)
{
    dmq_status st = DMQ_OK;
    task k = { .model = model, .config = config };
    char own[256];
    const dmq_train_task train = { .stage = "train features",
                                   .context = &k,
                                   .state_bytes = sizeof(state),
                                   .record = record,
                                   .fill = fill,
                                   .scale = 1.0 / config->train.batch,
                                   .settings = own };

    snprintf(own, sizeof own, "data: %s\ndata_seed: %llu\nimages: %llu\nnoise: %.9g\n", set->name,
             (unsigned long long)set->seed, (unsigned long long)config->images, config->noise);
    DMQ_TRY(dmq_train_check(&config->train));
    DMQ_TRY(check_fit(model, set));
    if (!(config->noise >= 0 && config->noise <= 1))
        return dmq_fail(DMQ_EINVAL, "train: noise = %g: must be 0..1", config->noise);
    DMQ_TRY(dmq_feed_init(&k.feed, set, config->images, config->train.batch, config->train.shard,
                          lanes));
    if (settings)
        dmq_train_text(settings, &train, &config->train, model);
    DMQ_TRY(dmq_train_run(model, &train, &config->train, lanes, place, watch, result));
done:
    dmq_feed_release(&k.feed);
    return st;
}

static int largest(const dmq_real *x, int n)
{
    int best = 0;

    for (int i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

dmq_status dmq_features_accuracy(double *out, const dmq_model *model, const dmq_dataset *set,
                                 uint64_t first, int n, dmq_lanes *lanes)
{
    dmq_status st = DMQ_OK;
    size_t per = dmq_shape_count(model->input);
    int classes = set->n_classes, right = 0, *label = NULL;
    float *image = NULL;
    dmq_real *x = NULL, *logits = NULL;

    DMQ_TRY(check_fit(model, set));
    DMQ_TRY(dmq_alloc((void **)&label, (size_t)n, sizeof *label));
    DMQ_TRY(dmq_alloc((void **)&image, (size_t)n * per, sizeof *image));
    DMQ_TRY(dmq_alloc((void **)&x, (size_t)n * per, sizeof *x));
    DMQ_TRY(dmq_alloc((void **)&logits, (size_t)(n * classes), sizeof *logits));
    DMQ_TRY(dmq_dataset_range(set, image, label, first, n));
    for (size_t i = 0; i < (size_t)n * per; i++)
        x[i] = (dmq_real)image[i];
    DMQ_TRY(dmq_features_run(NULL, logits, model, lanes, x, n));
    for (int i = 0; i < n; i++)
        right += largest(logits + (size_t)(i * classes), classes) == label[i];
    *out = (double)right / n;
done:
    dmq_free(label);
    dmq_free(image);
    dmq_free(x);
    dmq_free(logits);
    return st;
}
