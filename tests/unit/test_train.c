/* Training: the loss falls, and neither lanes nor interruptions change a bit. */
#include "base/memory.h"
#include "base/progress.h"
#include "base/signal.h"
#include "base/status.h"
#include "io/file.h"
#include "model/ddpm_unet.h"
#include "model/init.h"
#include "model/model_file.h"
#include "train/train_diffusion.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const dmq_ddpm_unet_config small = {
    .in_channels = 3,
    .out_channels = 3,
    .resolution = 16,
    .ch = 8,
    .ch_mult = { 1, 2 },
    .n_levels = 2,
    .num_res_blocks = 1,
    .attention = { 8 },
    .n_attention = 1,
    .norm_groups = 4,
    .norm_eps = 1e-6,
};

static dmq_schedule *schedule;
static dmq_dataset *set;
static char checkpoint[256];

#define OK(call)                                      \
    do {                                              \
        dmq_status status_of_call = (call);           \
        if (status_of_call != DMQ_OK)                 \
            fail_msg("%s: %s", #call, dmq_message()); \
    } while (0)

static int set_up(void **state)
{
    (void)state;
    snprintf(checkpoint, sizeof checkpoint, "/tmp/dmq-test-train-%d.h5", (int)getpid());
    dmq_progress_form_set(DMQ_PROGRESS_NONE);
    OK(dmq_schedule_create(&schedule, 1000, 1e-4, 0.02));
    OK(dmq_dataset_open(&set, "shapes16", 4));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dmq_schedule_destroy(schedule);
    dmq_dataset_close(set);
    return dmq_file_remove(checkpoint) == DMQ_OK ? 0 : 1;
}

static dmq_model *fresh(void)
{
    dmq_model *m = NULL;
    OK(dmq_ddpm_unet_create(&m, &small));
    dmq_model_init(m, 2);
    return m;
}

/** batch 8 in shards of 3: the last one is padded. */
static dmq_train_diffusion_config config_of(int iterations)
{
    dmq_train_diffusion_config c;

    dmq_train_diffusion_defaults(&c);
    c.train.optim.iterations = iterations;
    c.train.optim.warmup = 3;
    c.train.optim.lr = 5e-3;
    c.train.batch = 8;
    c.train.shard = 3;
    c.train.seed = 11;
    c.train.checkpoint_every = 0;
    return c;
}

static dmq_status train(dmq_model *m, const char *backend, int lanes_count,
                        const dmq_train_diffusion_config *config, const dmq_train_place *place,
                        const dmq_train_watch *watch, dmq_train_result *result)
{
    dmq_status st = DMQ_OK;
    const dmq_train_place nowhere = { 0 };
    const dmq_backend *be = NULL;
    dmq_lanes *lanes = NULL;

    DMQ_TRY(dmq_backend_open(&be, backend));
    DMQ_TRY(dmq_lanes_create(&lanes, be, lanes_count));
    DMQ_TRY(dmq_train_diffusion(m, NULL, schedule, set, config, lanes, place ? place : &nowhere,
                                watch, result));
done:
    dmq_lanes_destroy(lanes);
    return st;
}

typedef struct log {
    double loss[200];
    long allocations[200];
    int n, stop_after;
} log_of;

static void note(void *context, int iteration, double loss, double rate)
{
    log_of *l = context;
    (void)rate;
    l->loss[iteration] = loss;
    l->allocations[iteration] = dmq_alloc_count();
    l->n = iteration + 1;
    if (l->n == l->stop_after)
        dmq_stop_request(15);
}

static double mean(const double *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i];
    return sum / n;
}

static void the_loss_falls_and_nothing_is_allocated(void **state)
{
    (void)state;
    dmq_train_diffusion_config c = config_of(150);
    dmq_train_result result;
    dmq_model *m = fresh();
    log_of l = { .n = 0 };
    const dmq_train_watch watch = { &l, note };

    OK(train(m, "cpu", 2, &c, NULL, &watch, &result));
    assert_int_equal(l.n, 150);
    assert_int_equal(result.iterations, 150);
    assert_true(fabs(l.loss[0] - 1) < 0.1); /* the network begins as zero, noise has variance 1 */
    assert_true(mean(l.loss + 130, 20) < 0.5);
    assert_true(fabs(result.loss - mean(l.loss + 135, 15)) < 1e-12);
    for (int i = 2; i < 150; i++)
        assert_int_equal(l.allocations[i], l.allocations[1]);
    for (size_t i = 0; i < m->n_params; i++)
        assert_true(isfinite(m->params[i]));
    dmq_model_destroy(m);
}

static void any_lanes_give_the_same_bits(void **state)
{
    (void)state;
    static const char *const backends[] = { "ref", "cpu" };
    dmq_train_diffusion_config c = config_of(4);

    for (size_t b = 0; b < sizeof backends / sizeof *backends; b++) {
        dmq_model *one = fresh();
        OK(train(one, backends[b], 1, &c, NULL, NULL, NULL));
        for (int lanes = 2; lanes <= 3; lanes++) {
            dmq_model *m = fresh();
            OK(train(m, backends[b], lanes, &c, NULL, NULL, NULL));
            assert_memory_equal(m->params, one->params, one->n_params * sizeof *one->params);
            dmq_model_destroy(m);
        }
        dmq_model_destroy(one);
    }
}

/* Another shard size sums in another order: close, and it tells that padding rows count for nothing. */
static void shards_only_change_the_last_bits(void **state)
{
    (void)state;
    dmq_train_diffusion_config c = config_of(1);
    dmq_model *a = fresh(), *b = fresh();
    log_of with = { .n = 0 }, without = { .n = 0 };
    const dmq_train_watch watch_a = { &with, note }, watch_b = { &without, note };

    OK(train(a, "ref", 2, &c, NULL, &watch_a, NULL));
    c.train.shard = 8;
    OK(train(b, "ref", 1, &c, NULL, &watch_b, NULL));
    assert_true(fabs(with.loss[0] - without.loss[0]) < 1e-6);
    dmq_model_destroy(a);
    dmq_model_destroy(b);
}

static void a_stopped_run_continues_with_the_same_bits(void **state)
{
    (void)state;
    dmq_train_diffusion_config c = config_of(9);
    const dmq_train_place place = { checkpoint, 1 };
    dmq_model *whole = fresh(), *parts = fresh();
    log_of straight = { .n = 0 }, first = { .stop_after = 4 }, second = { .n = 0 };
    const dmq_train_watch w0 = { &straight, note }, w1 = { &first, note }, w2 = { &second, note };
    dmq_train_result result;

    OK(train(whole, "cpu", 2, &c, NULL, &w0, NULL));
    assert_int_equal(train(parts, "cpu", 2, &c, &place, &w1, NULL), DMQ_ESTOP);
    dmq_stop_request(0);
    assert_true(dmq_file_exists(checkpoint));
    dmq_model_destroy(parts);
    parts = fresh();
    dmq_model_init(parts, 99); /* the checkpoint decides, not what the model held */
    OK(train(parts, "cpu", 1, &c, &place, &w2, &result));
    assert_int_equal(result.iterations, 5);
    for (int i = 0; i < 9; i++)
        assert_true(straight.loss[i] == (i < 4 ? first : second).loss[i]);
    assert_memory_equal(parts->params, whole->params, whole->n_params * sizeof *whole->params);
    dmq_model_destroy(whole);
    dmq_model_destroy(parts);
}

static void a_checkpoint_of_other_settings_is_refused(void **state)
{
    (void)state;
    dmq_train_diffusion_config c = config_of(4);
    dmq_train_place place = { checkpoint, 1 };
    dmq_model *m = fresh();

    OK(dmq_file_remove(checkpoint));
    c.train.checkpoint_every = 2;
    OK(train(m, "ref", 1, &c, &place, NULL, NULL));
    assert_true(dmq_file_exists(checkpoint));
    c.train.optim.lr = 1e-3;
    assert_int_equal(train(m, "ref", 1, &c, &place, NULL, NULL), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "\"lr: 0.005\" there, \"lr: 0.001\" here"));
    place.resume = 0;
    OK(train(m, "ref", 1, &c, &place, NULL, NULL));
    dmq_model_destroy(m);
}

static void wrong_settings_are_refused(void **state)
{
    (void)state;
    dmq_train_diffusion_config c = config_of(4);
    dmq_dataset *good = set, *large = NULL;
    dmq_model *m = fresh();

    c.train.shard = 9;
    assert_int_equal(train(m, "ref", 1, &c, NULL, NULL, NULL), DMQ_EINVAL);
    assert_non_null(strstr(dmq_message(), "shard = 9: must be 1..8"));
    c = config_of(4);
    c.train.optim.lr = 0;
    assert_int_equal(train(m, "ref", 1, &c, NULL, NULL, NULL), DMQ_EINVAL);
    c = config_of(4);
    c.train.optim.ema = NAN;
    assert_int_equal(train(m, "ref", 1, &c, NULL, NULL, NULL), DMQ_EINVAL);
    c = config_of(4);
    OK(dmq_dataset_open(&large, "shapes32", 4));
    set = large;
    assert_int_equal(train(m, "ref", 1, &c, NULL, NULL, NULL), DMQ_EINVAL);
    assert_non_null(strstr(dmq_message(), "(1, 3, 32, 32)"));
    set = good;
    dmq_dataset_close(large);
    m->params[0] = NAN;
    assert_int_equal(train(m, "ref", 1, &c, NULL, NULL, NULL), DMQ_EDIVERGE);
    dmq_model_destroy(m);
}

static void the_rate_warms_up_and_decays(void **state)
{
    (void)state;
    const dmq_optim_config c = { .iterations = 100, .lr = 2, .lr_end = 0.1, .warmup = 10 };

    assert_true(fabs(dmq_optim_rate(&c, 5) -
                     2 * 0.5 * (0.1 + 0.9 * (1 + cos(3.14159265358979 * 0.05)) / 2)) < 1e-12);
    assert_true(fabs(dmq_optim_rate(&c, 50) - 2 * 0.55) < 1e-12);
    assert_true(fabs(dmq_optim_rate(&c, 100) - 0.2) < 1e-12);
}

/* One number, by hand: Adam's first step is lr long, the average moves by 1 - 2/11 of it. */
static void a_step_is_adam_with_an_average(void **state)
{
    (void)state;
    dmq_optim_config c;
    const dmq_backend *be = NULL;
    dmq_lanes *lanes = NULL;
    dmq_optim *o = NULL;
    dmq_model *m = fresh();
    dmq_real before = m->params[0], *after = NULL;

    dmq_optim_defaults(&c);
    c.warmup = 0;
    c.lr_end = 1;
    c.lr = 0.01;
    OK(dmq_backend_open(&be, "ref"));
    OK(dmq_lanes_create(&lanes, be, 2));
    OK(dmq_optim_create(&o, m, &c, lanes));
    OK(dmq_alloc((void **)&after, m->n_params, sizeof *after));
    o->g[0] = (dmq_real)-30; /* longer than the clip of 1: the direction stays */
    OK(dmq_optim_step(o));
    OK(dmq_optim_take(after, o, 0));
    assert_true(fabs((double)(after[0] - before) - 0.01) < 1e-6);
    assert_true(after[1] == m->params[1]);
    assert_true(fabs((double)o->m[0] + 0.1) < 1e-6); /* 0.1 of the clipped gradient -1 */
    OK(dmq_optim_take(after, o, 1));
    assert_true(fabs((double)(after[0] - before) - 0.01 * (1 - 2.0 / 11)) < 1e-6);
    dmq_free(after);
    dmq_optim_destroy(o);
    dmq_optim_destroy(NULL);
    dmq_lanes_destroy(lanes);
    dmq_model_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loss_falls_and_nothing_is_allocated),
        cmocka_unit_test(any_lanes_give_the_same_bits),
        cmocka_unit_test(shards_only_change_the_last_bits),
        cmocka_unit_test(a_stopped_run_continues_with_the_same_bits),
        cmocka_unit_test(a_checkpoint_of_other_settings_is_refused),
        cmocka_unit_test(wrong_settings_are_refused),
        cmocka_unit_test(the_rate_warms_up_and_decays),
        cmocka_unit_test(a_step_is_adam_with_an_average),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
