/* Images from a device: recorded and replayed, or call by call, the same bits; those of the reference up to
   rounding. Where nothing can be recorded both are made call by call. */
#include "check.h"

#include "base/log.h"
#include "diffusion/sample.h"
#include "model/ddpm_unet.h"

enum { SIZE = 8, PER = 3 * SIZE * SIZE, SEED = 5, FIRST = 3 };

static const dmq_ddpm_unet_config small = {
    .in_channels = 3,
    .out_channels = 3,
    .resolution = SIZE,
    .ch = 8,
    .ch_mult = { 1, 2 },
    .n_levels = 2,
    .num_res_blocks = 1,
    .attention = { 4 },
    .n_attention = 1,
    .norm_groups = 4,
    .norm_eps = 1e-6,
};

static dmq_model *model_on(dmq_lanes *lanes)
{
    dmq_model *model = NULL;

    CHECK_OK(dmq_ddpm_unet_create(&model, &small));
    for (int e = 0; e < model->n_entries; e++) {
        const dmq_entry *n = &model->entry[e];
        size_t count = dmq_shape_count(n->shape);
        double spread = n->shape.rank > 1 ? sqrt(n->shape.dim[0] / (double)count) : 0.1;
        int is_gamma = strstr(n->name, "norm") && strstr(n->name, "weight");

        for (size_t i = 0; i < count; i++) {
            double u = dmq_uniform(7, DMQ_FOR_TEST, (uint64_t)e, 0, (uint32_t)i);

            model->params[n->offset + i] = (dmq_real)(is_gamma + spread * (2 * u - 1));
        }
    }
    CHECK_OK(dmq_model_place(model, lanes));
    return model;
}

static dmq_status look(void *context, dmq_queue *queue, int step, uint64_t first, const dmq_real *x,
                       const dmq_real *eps)
{
    int *calls = context;

    (void)queue;
    (void)step;
    (void)first;
    (void)x;
    (void)eps;
    ++*calls;
    return DMQ_OK;
}

static void images_of(dmq_real *out, const dmq_backend *be, const dmq_sampler *sampler, int n,
                      const dmq_sample_watch *watch)
{
    dmq_lanes *lanes = NULL;
    dmq_sample *sample = NULL;
    dmq_model *model;

    CHECK_OK(dmq_lanes_create(&lanes, be, 1));
    model = model_on(lanes);
    CHECK_OK(dmq_sample_create(&sample, model, sampler, NULL, lanes));
    for (uint64_t seed = 0; seed < 2; seed++) /* the recording of one seed is not that of another */
        CHECK_OK(dmq_sample_run(sample, out + seed * (size_t)n * PER, SEED + seed, FIRST,
                                (uint64_t)n, NULL, watch));
    dmq_sample_destroy(sample);
    dmq_model_destroy(model);
    dmq_lanes_destroy(lanes);
}

static void recorded_images_are_those_of_single_calls(void **state)
{
    static const dmq_sampler_config configs[] = {
        { DMQ_DDIM, .steps = 4, .eta = 0.7 },
        { DMQ_DPM_SOLVER, .steps = 4, .solver = DMQ_SOLVER_3S },
    };
    int n = check_device.backend->shard; /* of two groups */
    size_t count = (size_t)2 * (size_t)n * PER;
    dmq_real *recorded = check_reals(count), *watched = check_reals(count);
    dmq_real *wanted = check_reals(count);
    dmq_schedule *schedule = NULL;

    (void)state;
    if (strcmp(check_device.backend->name, "simt") == 0)
        check_skip("a network thread by thread takes minutes, and records nothing");
    CHECK_OK(dmq_schedule_create(&schedule, 1000, 1e-4, 2e-2));
    for (size_t k = 0; k < sizeof configs / sizeof *configs; k++) {
        int calls = 0;
        const dmq_sample_watch watch = { &calls, look, NULL };
        dmq_sampler *s = NULL;

        CHECK_OK(dmq_sampler_create(&s, schedule, &configs[k]));
        images_of(recorded, check_device.backend, s, n, NULL);
        images_of(watched, check_device.backend, s, n, &watch);
        check_equal("recorded", recorded, watched, count);
        assert_true(calls >= 2 * 2 * s->n_steps);
        images_of(wanted, dmq_backend_ref(), s, n, NULL);
        check_same("images", recorded, wanted, count, 2e-3, 2e-3, 1);
        dmq_sampler_destroy(s);
    }
    dmq_schedule_destroy(schedule);
    check_report("images");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { CHECK_TEST(recorded_images_are_those_of_single_calls) };

    dmq_log_verbosity_set(DMQ_QUIET);
    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
