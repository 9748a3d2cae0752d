#include "train/train_diffusion.h"

#include "train/feed.h"

#include <math.h>
#include <stdio.h>

void dmq_train_diffusion_defaults(dmq_train_diffusion_config *config)
{
    *config = (dmq_train_diffusion_config){ .even = 1 };
    dmq_train_defaults(&config->train);
}

typedef struct task {
    const dmq_model *model;
    const dmq_schedule *schedule;
    const dmq_train_diffusion_config *config;
    dmq_feed feed;
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
    found = dmq_model_record(k->model, tape, NULL, s->x, s->t, NULL);
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

/** x = sqrt(alpha-bar) image + sqrt(1 - alpha-bar) eps, on the device, where eps is made. */
static dmq_status add_noise(const task *k, const dmq_shard *shard, const dmq_real *share,
                            uint32_t i)
{
    dmq_status st = DMQ_OK;
    const dmq_backend *be = dmq_tape_backend(shard->tape);
    const state *s = shard->state;
    size_t per = k->feed.per;

    DMQ_TRY(be->noise_normal(shard->queue, &(dmq_noise_args){ .out = s->eps->value,
                                                              .n = shard->size,
                                                              .per = per,
                                                              .seed = k->config->train.seed,
                                                              .purpose = DMQ_FOR_TRAIN_NOISE,
                                                              .first = (uint64_t)shard->first,
                                                              .step = i,
                                                              .channels = k->feed.set->channels }));
    for (int r = 0; r < shard->size; r++) {
        DMQ_TRY(be->axpby(shard->queue, &(dmq_axpby_args){ .x = s->eps->value + (size_t)r * per,
                                                           .y = s->x->value + (size_t)r * per,
                                                           .alpha = share[r],
                                                           .beta = 1,
                                                           .count = per }));
    }
done:
    return st;
}

static dmq_status fill(void *context, const dmq_shard *shard, uint32_t i)
{
    dmq_status st = DMQ_OK;
    task *k = context;
    const dmq_backend *be = dmq_tape_backend(shard->tape);
    const state *s = shard->state;
    dmq_feed_lane *l = &k->feed.lane[shard->lane];
    dmq_real *t = l->row, *share = l->row + shard->size;
    size_t per = k->feed.per, rows = (size_t)shard->size;

    DMQ_TRY(dmq_feed_fill(&k->feed, shard, i, NULL));
    for (int r = 0; r < shard->size; r++) {
        int time = time_of(k, l->sample[r], i);
        double a = dmq_schedule_alpha_bar(k->schedule, time);
        dmq_real keep = (dmq_real)sqrt(a);

        t[r] = (dmq_real)time;
        share[r] = (dmq_real)sqrt(1 - a);
        for (size_t n = 0; n < per; n++)
            l->x[(size_t)r * per + n] *= keep;
    }
    DMQ_TRY(be->upload(shard->queue, s->x->value, l->x, rows * per * sizeof *l->x));
    DMQ_TRY(be->upload(shard->queue, s->t->value, t, rows * sizeof *t));
    DMQ_TRY(add_noise(k, shard, share, i));
done:
    return st;
}

static dmq_status check_fit(const dmq_model *model, const dmq_dataset *set)
{
    const dmq_shape image = dmq_shape4(1, set->size, set->size, set->channels);
    dmq_shape result;

    if (model->n_values == 0) {
        return dmq_fail(DMQ_EINVAL, "train: a network of kind %s makes no noise prediction",
                        model->arch->kind);
    }
    if (model->n_labels > 0) {
        return dmq_fail(DMQ_EINVAL,
                        "train: the network knows %d classes: only unconditional ones are trained\n"
                        "  hint: without model.n_classes and model.context_dim",
                        model->n_classes);
    }
    result = model->value[model->output].shape;
    if (!dmq_shape_equal(model->input, image) || !dmq_shape_equal(result, image)) {
        return dmq_fail(
            DMQ_EINVAL, "train: the images of %s are %s, the network takes %s, gives %s", set->name,
            dmq_shape_text(image), dmq_shape_text(model->input), dmq_shape_text(result));
    }
    return DMQ_OK;
}

dmq_status dmq_train_diffusion(dmq_model *model, char settings[DMQ_TRAIN_TEXT],
                               const dmq_schedule *schedule, const dmq_dataset *set,
                               const dmq_train_diffusion_config *config, dmq_lanes *lanes,
                               const dmq_train_place *place, const dmq_train_watch *watch,
                               dmq_train_result *result)
{
    dmq_status st = DMQ_OK;
    task k = { .model = model, .schedule = schedule, .config = config };
    char own[256];
    const dmq_train_task train = {
        .stage = "train",
        .context = &k,
        .state_bytes = sizeof(state),
        .record = record,
        .fill = fill,
        /* The recorded loss sums over channels, and means over pixels. */
        .scale = 1.0 / config->train.batch / set->channels,
        .settings = own
    };

    snprintf(own, sizeof own,
             "data: %s\ndata_seed: %llu\nimages: %llu\nT: %d\nbeta: %.9g..%.9g\neven: %d\n",
             set->name, (unsigned long long)set->seed, (unsigned long long)config->images,
             schedule->T, schedule->beta[0], schedule->beta[schedule->T - 1], config->even);
    DMQ_TRY(dmq_train_check(&config->train));
    DMQ_TRY(check_fit(model, set));
    DMQ_TRY(dmq_feed_init(&k.feed, set, config->images, config->train.batch, config->train.shard,
                          lanes));
    if (settings)
        dmq_train_text(settings, &train, &config->train, model);
    DMQ_TRY(dmq_train_run(model, &train, &config->train, lanes, place, watch, result));
done:
    dmq_feed_release(&k.feed);
    return st;
}
