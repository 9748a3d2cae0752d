/* The feature network: its shape, its files, training it, and rows that do not depend on each other. */
#include "base/memory.h"
#include "base/progress.h"
#include "base/status.h"
#include "io/file.h"
#include "model/features.h"
#include "model/init.h"
#include "model/model_file.h"
#include "train/train_features.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const dmq_features_config small = {
    .resolution = 16,
    .channels = 3,
    .classes = 10,
    .width = { 16, 32 },
    .n_stages = 2,
    .norm_groups = 4,
};

#define OK(call)                                      \
    do {                                              \
        dmq_status status_of_call = (call);           \
        if (status_of_call != DMQ_OK)                 \
            fail_msg("%s: %s", #call, dmq_message()); \
    } while (0)

static dmq_model *fresh(void)
{
    dmq_model *m = NULL;
    OK(dmq_features_create(&m, &small));
    dmq_model_init(m, 2);
    return m;
}

static dmq_lanes *lanes_of(int count)
{
    const dmq_backend *be = NULL;
    dmq_lanes *lanes = NULL;
    OK(dmq_backend_open(&be, "cpu"));
    OK(dmq_lanes_create(&lanes, be, count));
    return lanes;
}

static dmq_dataset *shapes(void)
{
    dmq_dataset *set = NULL;
    OK(dmq_dataset_open(&set, "shapes16", 1));
    return set;
}

static void it_is_a_model_with_named_parameters(void **state)
{
    (void)state;
    dmq_model *m = fresh(), *again = NULL;
    dmq_features_config wrong = small;

    assert_int_equal(dmq_model_count(m), 3 * 16 * 9 + 16 * 16 * 9 + 16 * 32 * 9 + 32 * 32 * 9 +
                                             3 * (16 * 2 + 32 * 2) + 32 * 10 + 10);
    assert_true(dmq_features_is(m));
    assert_int_equal(dmq_features_width(m), 32);
    assert_non_null(dmq_model_entry(m, "stage.1.conv_0.weight"));
    assert_non_null(dmq_model_entry(m, "stage.0.norm_1.bias"));
    assert_non_null(dmq_model_entry(m, "classify.weight"));
    OK(dmq_model_create(&again, "features", m->config_text));
    assert_string_equal(again->config_text, m->config_text);
    dmq_model_destroy(again);
    dmq_model_destroy(m);
    wrong.width[1] = 30;
    again = NULL;
    assert_int_equal(dmq_features_create(&again, &wrong), DMQ_EINVAL);
    wrong = small;
    wrong.classes = 1;
    assert_int_equal(dmq_features_create(&again, &wrong), DMQ_EINVAL);
    wrong = small;
    wrong.resolution = 15;
    assert_int_equal(dmq_features_create(&again, &wrong), DMQ_EINVAL);
    assert_null(again);
}

static void training_makes_it_tell_the_classes(void **state)
{
    (void)state;
    dmq_train_features_config c;
    const dmq_train_place nowhere = { 0 };
    dmq_dataset *set = shapes();
    dmq_lanes *lanes = lanes_of(2);
    dmq_model *m = fresh();
    char settings[DMQ_TRAIN_TEXT];
    double before, after;

    dmq_progress_form_set(DMQ_PROGRESS_NONE);
    dmq_train_features_defaults(&c);
    c.train.optim.iterations = 150;
    c.train.optim.lr = 5e-3;
    c.train.optim.warmup = 10;
    c.train.optim.ema = 0.9;
    c.train.batch = 32;
    OK(dmq_features_accuracy(&before, m, set, DMQ_DATASET_HELD_OUT, 200, lanes));
    OK(dmq_train_features(m, settings, set, &c, lanes, &nowhere, NULL, NULL));
    OK(dmq_features_accuracy(&after, m, set, DMQ_DATASET_HELD_OUT, 200, lanes));
    assert_true(before < 0.25); /* a guess is right one time in ten */
    if (!(after > 0.35))
        fail_msg("accuracy %g", after);
    assert_non_null(strstr(settings, "kind: features\n"));
    assert_non_null(strstr(settings, "data: shapes16\n"));
    dmq_model_destroy(m);
    dmq_lanes_destroy(lanes);
    dmq_dataset_close(set);
}

static void a_row_depends_on_its_image_alone(void **state)
{
    (void)state;
    enum { N = 21, PER = 16 * 16 * 3, F = 32 };
    dmq_dataset *set = shapes();
    dmq_lanes *one = lanes_of(1), *three = lanes_of(3);
    dmq_model *m = fresh();
    static float image[N * PER];
    static dmq_real x[N * PER], turned[N * PER], a[N * F], b[N * F], logits[N * 10];

    OK(dmq_dataset_range(set, image, NULL, 0, N));
    for (int i = 0; i < N * PER; i++)
        x[i] = (dmq_real)image[i];
    for (int i = 0; i < N; i++)
        memcpy(turned + i * PER, x + (N - 1 - i) * PER, PER * sizeof *x);
    OK(dmq_features_run(a, logits, m, one, x, N));
    OK(dmq_features_run(b, NULL, m, three, x, N));
    assert_memory_equal(a, b, sizeof a);
    OK(dmq_features_run(b, NULL, m, three, turned, N));
    for (int i = 0; i < N; i++)
        assert_memory_equal(a + i * F, b + (N - 1 - i) * F, F * sizeof *a);
    assert_memory_not_equal(a, a + F, F * sizeof *a);
    x[3 * PER] = INFINITY;
    assert_int_equal(dmq_features_run(a, NULL, m, one, x, N), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "image 3"));
    dmq_model_destroy(m);
    dmq_lanes_destroy(one);
    dmq_lanes_destroy(three);
    dmq_dataset_close(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_a_model_with_named_parameters),
        cmocka_unit_test(training_makes_it_tell_the_classes),
        cmocka_unit_test(a_row_depends_on_its_image_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
