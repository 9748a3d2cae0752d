#include "train/train_diffusion.h"

#include "base/memory.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void dmq_train_diffusion_defaults(dmq_train_diffusion_config *config)
{
    *config = (dmq_train_diffusion_config){ .even = 1 };
    dmq_train_defaults(&config->train);
}

/** What one lane fills shards with. */
typedef struct scratch {
    float *image;       /**< (shard, H, W, C) */
    dmq_real *x, *t;    /**< (shard, H, W, C), (shard) */
    uint64_t *index;    /**< (shard) numbers in the data set */
    uint64_t *sample;   /**< (shard) numbers in the batch */
    dmq_real *noise_of; /**< (shard) sqrt(1 - alpha-bar) */
} scratch;

typedef struct task {
    const dmq_model *model;
    const dmq_schedule *schedule;
    const dmq_dataset *set;
    const dmq_train_diffusion_config *config;
    size_t per;
    scratch *lane;
    int n_lanes;
} task;

typedef struct state {
    dmq_train_state base;
    dmq_var *x, *t, *eps;
} state;

static dmq_status record(void *context, dmq_tape *tape, int size, void *memory)
{
    const task *k = context;
    state *s = memory;
    dmq_shape shape = k->model->input;
    dmq_var *found;

    shape.dim[0] = size;
    s->x = dmq_tape_input(tape, "x", shape);
    s->t = dmq_tape_input(tape, "t", dmq_shape1(size));
    s->eps = dmq_tape_input(tape, "eps", shape);
    found = dmq_model_record(k->model, tape, NULL, s->x, s->t);
    s->base.loss = dmq_record_loss(tape, found, s->eps, 2);
    dmq_tape_output(tape, s->base.loss);
    return DMQ_OK;
}

/** Time of sample b. */
static int time_of(const task *k, uint64_t b, uint32_t i)
{
    const dmq_train_config *c = &k->config->train;
    double u = dmq_uniform(c->seed, DMQ_FOR_TRAIN_TIME, b, i, 0);
    int t;

    if (k->config->even)
        u = ((double)b + u) / c->batch;
    t = (int)(u * k->schedule->T);
    return t < k->schedule->T ? t : k->schedule->T - 1;
}

static dmq_status fill(void *context, const dmq_shard *shard, uint32_t i)
{
    dmq_status st = DMQ_OK;
    const task *k = context;
    const dmq_train_config *c = &k->config->train;
    const dmq_backend *be = dmq_tape_backend(shard->tape);
    uint64_t count = k->config->images ? k->config->images : k->set->count;
    size_t all = (size_t)shard->size * k->per;
    scratch *s = &k->lane[shard->lane];
    state *v = shard->state;

    for (int r = 0; r < shard->size; r++) {
        s->sample[r] = (uint64_t)dmq_shard_sample(shard, r);
        s->index[r] = ((uint64_t)i * (uint64_t)c->batch + s->sample[r]) % count;
    }
    DMQ_TRY(dmq_dataset_fill(k->set, s->image, NULL, s->index, shard->size));
    for (int r = 0; r < shard->size; r++) {
        int t = time_of(k, s->sample[r], i);
        double a = dmq_schedule_alpha_bar(k->schedule, t);
        dmq_real keep = (dmq_real)sqrt(a);
        size_t at = (size_t)r * k->per;

        s->t[r] = (dmq_real)t;
        s->noise_of[r] = (dmq_real)sqrt(1 - a);
        for (size_t n = 0; n < k->per; n++)
            s->x[at + n] = keep * (dmq_real)s->image[at + n];
    }
    DMQ_TRY(be->upload(shard->queue, v->x->value, s->x, all * sizeof *s->x));
    DMQ_TRY(be->upload(shard->queue, v->t->value, s->t, (size_t)shard->size * sizeof *s->t));
    DMQ_TRY(be->noise_normal(shard->queue, &(dmq_noise_args){ .out = v->eps->value,
                                                              .n = shard->size,
                                                              .per = k->per,
                                                              .seed = c->seed,
                                                              .purpose = DMQ_FOR_TRAIN_NOISE,
                                                              .sample = s->sample,
                                                              .step = i,
                                                              .channels = k->set->channels }));
    for (int r = 0; r < shard->size; r++)
        DMQ_TRY(be->axpby(shard->queue, &(dmq_axpby_args){ .x = v->eps->value + (size_t)r * k->per,
                                                           .y = v->x->value + (size_t)r * k->per,
                                                           .alpha = s->noise_of[r],
                                                           .beta = 1,
                                                           .count = k->per }));
done:
    return st;
}

static dmq_status scratch_create(task *k, dmq_lanes *lanes)
{
    dmq_status st = DMQ_OK;
    size_t n = (size_t)k->config->train.shard;

    DMQ_TRY(dmq_alloc((void **)&k->lane, (size_t)dmq_lanes_count(lanes), sizeof *k->lane));
    k->n_lanes = dmq_lanes_count(lanes);
    for (int i = 0; i < k->n_lanes; i++) {
        scratch *s = &k->lane[i];
        DMQ_TRY(dmq_alloc((void **)&s->image, n * k->per, sizeof *s->image));
        DMQ_TRY(dmq_alloc((void **)&s->x, n * k->per, sizeof *s->x));
        DMQ_TRY(dmq_alloc((void **)&s->t, n, sizeof *s->t));
        DMQ_TRY(dmq_alloc((void **)&s->index, n, sizeof *s->index));
        DMQ_TRY(dmq_alloc((void **)&s->sample, n, sizeof *s->sample));
        DMQ_TRY(dmq_alloc((void **)&s->noise_of, n, sizeof *s->noise_of));
    }
done:
    return st;
}

static void scratch_destroy(task *k)
{
    for (int i = 0; k->lane && i < k->n_lanes; i++) {
        scratch *s = &k->lane[i];
        dmq_free(s->image);
        dmq_free(s->x);
        dmq_free(s->t);
        dmq_free(s->index);
        dmq_free(s->sample);
        dmq_free(s->noise_of);
    }
    dmq_free(k->lane);
}

static dmq_status check_fit(const dmq_model *model, const dmq_dataset *set,
                            const dmq_train_diffusion_config *config)
{
    const dmq_shape image = dmq_shape4(1, set->size, set->size, set->channels);

    if (!dmq_shape_equal(model->input, image) ||
        !dmq_shape_equal(model->value[model->output].shape, image))
        return dmq_fail(DMQ_EINVAL,
                        "train: the images of %s are %s, the network takes %s, gives %s", set->name,
                        dmq_shape_text(image), dmq_shape_text(model->input),
                        dmq_shape_text(model->value[model->output].shape));
    if (config->images > set->count)
        return dmq_fail(DMQ_EINVAL, "train: images = %llu: %s has %llu",
                        (unsigned long long)config->images, set->name,
                        (unsigned long long)set->count);
    return DMQ_OK;
}

dmq_status dmq_train_diffusion(dmq_model *model, char settings[DMQ_TRAIN_TEXT],
                               const dmq_schedule *schedule, const dmq_dataset *set,
                               const dmq_train_diffusion_config *config, dmq_lanes *lanes,
                               const dmq_train_place *place, const dmq_train_watch *watch,
                               dmq_train_result *result)
{
    dmq_status st = DMQ_OK;
    task k = { model, schedule, set, config, dmq_shape_count(model->input), NULL, 0 };
    char own[256];
    dmq_train_task train = { .stage = "train",
                             .context = &k,
                             .state_bytes = sizeof(state),
                             .record = record,
                             .fill = fill,
                             .settings = own };

    snprintf(own, sizeof own,
             "data: %s\ndata_seed: %llu\nimages: %llu\nT: %d\nbeta: %.9g..%.9g\neven: %d\n",
             set->name, (unsigned long long)set->seed, (unsigned long long)config->images,
             schedule->T, schedule->beta[0], schedule->beta[schedule->T - 1], config->even);
    /* The recorded loss is a sum over channels of means over pixels. */
    train.scale = 1.0 / config->train.batch / set->channels;
    DMQ_TRY(dmq_train_check(&config->train));
    DMQ_TRY(check_fit(model, set, config));
    DMQ_TRY(scratch_create(&k, lanes));
    if (settings)
        dmq_train_text(settings, &train, &config->train, model);
    DMQ_TRY(dmq_train_run(model, &train, &config->train, lanes, place, watch, result));
done:
    scratch_destroy(&k);
    return st;
}
