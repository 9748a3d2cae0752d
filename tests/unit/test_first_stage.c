/* A latent model through the flow: latents are sampled, images decoded from them; keys, files, refusals. */
#include "base/log.h"
#include "base/progress.h"
#include "base/schema.h"
#include "eval/images.h"
#include "io/file.h"
#include "model/decode.h"
#include "model/dit.h"
#include "model/features.h"
#include "model/model_file.h"
#include "quant_fixture.h"
#include "run/stage.h"
#include "scratch.h"

static const dmq_decoder_config vq = {
    .resolution = 16,
    .out_channels = 3,
    .ch = 8,
    .ch_mult = { 1, 2 },
    .n_levels = 2,
    .num_res_blocks = 1,
    .z_channels = 3,
    .embed_dim = 3,
    .n_embed = 20,
    .norm_groups = 4,
    .norm_eps = 1e-6,
};

static const dmq_dit_config dit = {
    .in_channels = 4,
    .out_channels = 8,
    .resolution = 8,
    .patch = 2,
    .hidden = 16,
    .depth = 1,
    .heads = 2,
    .n_classes = 3,
};

static const dmq_features_config features = {
    .resolution = 16,
    .channels = 3,
    .classes = 4,
    .width = { 8 },
    .n_stages = 1,
    .norm_groups = 4,
};

/* A random network, saved under a name of the scratch folder. */
static void save(dmq_model *m, const char *name, int T)
{
    const dmq_model_info info = { .T = T, .beta_start = 1e-4, .beta_end = 0.02 };

    fixture_fill(m);
    OK(dmq_model_save(m, &info, in_folder(name), 0));
    dmq_model_destroy(m);
}

static void save_decoder(const char *name, const dmq_decoder_config *config)
{
    dmq_model *m = NULL;

    OK(dmq_decoder_create(&m, config));
    save(m, name, 0);
}

static int set_up(void **state)
{
    dmq_decoder_config other = vq;
    dmq_model *m = NULL;

    if (scratch_make(state) != 0)
        return -1;
    dmq_log_verbosity_set(DMQ_QUIET);
    dmq_progress_form_set(DMQ_PROGRESS_NONE);
    save(fixture_model(), "unet.h5", 1000);
    OK(dmq_features_create(&m, &features));
    save(m, "features.h5", 0);
    OK(dmq_dit_create(&m, &dit));
    save(m, "dit.h5", 1000);
    save_decoder("decoder.h5", &vq);
    other.n_embed = 0;
    other.embed_dim = other.z_channels = 4;
    save_decoder("kl.h5", &other);
    other = vq;
    other.n_embed = 21;
    save_decoder("codes21.h5", &other);
    other.resolution = 32;
    save_decoder("large.h5", &other);
    return 0;
}

/* A configuration with the decoder of a name (NULL: none) and a NULL-terminated list of settings. */
static dmq_config *configure(const char *decoder, const char *const *more)
{
    static const char *const common[] = {
        "sampler.steps=3",
        "sampler.spacing=uniform",
        "calibrate.per_timestep=4",
        "calibrate.interval=1",
        "calibrate.validation=0.25",
        "calibrate.held_out=0.25",
        "quant.weight.round=nearest",
        "quant.act=off",
        "sample.count=20",
        "sample.grid=4",
        "evaluate.metrics=[paired]",
    };
    const dmq_origin here = { .kind = DMQ_ORIGIN_FLAG, .place = "the test" };
    dmq_config *c = NULL;

    OK(dmq_schema_config(&c));
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        OK(dmq_config_set_flag(c, common[i]));
    for (; more && *more; more++)
        OK(dmq_config_set_flag(c, *more));
    OK(dmq_config_set(c, "model.checkpoint", in_folder("unet.h5"), &here));
    if (decoder)
        OK(dmq_config_set(c, "first_stage.checkpoint", in_folder(decoder), &here));
    return c;
}

#define SETTINGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* Run up to a stage (-1: all) into a folder; the images of the full-precision model. */
static dmq_images run(const char *folder, int stage, int threads, const char *const *more)
{
    dmq_config *c = configure("decoder.h5", more);
    dmq_experiment *e = NULL;
    dmq_folder *f = NULL;
    dmq_images images = { 0 };
    char path[160];

    OK(dmq_experiment_open(&e, c, "cpu", threads));
    OK(dmq_stages_check(e, stage, NULL));
    OK(dmq_folder_open(&f, &(dmq_folder_options){ .path = in_folder(folder) }));
    OK(dmq_stages_run(e, f, &(dmq_stage_options){ .only = stage }));
    dmq_folder_close(f);
    dmq_experiment_close(e);
    dmq_config_destroy(c);
    (void)snprintf(path, sizeof path, "%s/images-fp.h5", folder);
    OK(dmq_images_load(&images, in_folder(path), NULL));
    return images;
}

static void images_are_the_decoded_latents(void **state)
{
    dmq_images got = run("kept", DMQ_RUN_SAMPLE_FP, 2,
                         SETTINGS("first_stage.keep_latents=true", "first_stage.scale_factor=0.5",
                                  "sample.batch=8"));
    const size_t per = (size_t)16 * 16 * 3;
    const dmq_backend *be = NULL;
    dmq_lanes *lanes = NULL;
    dmq_model *m = NULL;
    dmq_decode *d = NULL;
    dmq_real *want = NULL;

    (void)state;
    assert_int_equal(got.n, 20);
    assert_true(dmq_shape_equal(got.one, dmq_shape4(1, 16, 16, 3)));
    assert_true(dmq_shape_equal(got.one_latent, dmq_shape4(1, 8, 8, 3)));
    assert_non_null(got.latents);
    OK(dmq_backend_open(&be, "cpu"));
    OK(dmq_lanes_create(&lanes, be, 1));
    OK(dmq_model_load(&m, NULL, in_folder("decoder.h5")));
    OK(dmq_model_place(m, lanes));
    OK(dmq_decode_create(&d, m, 0.5, lanes));
    OK(dmq_alloc((void **)&want, 20 * per, sizeof *want));
    OK(dmq_decode_run(d, want, got.latents, 20, NULL, NULL));
    assert_memory_equal(got.data, want, 20 * per * sizeof *want);
    assert_true(memcmp(want, want + per, per * sizeof *want) != 0);
    dmq_decode_destroy(d);
    dmq_model_destroy(m);
    dmq_lanes_destroy(lanes);
    dmq_free(want);
    dmq_images_release(&got);
}

/* Neither what is kept nor how the job is cut changes a bit. */
static void batch_threads_and_keeping_change_nothing(void **state)
{
    dmq_images a = run("cut8", DMQ_RUN_SAMPLE_FP, 2, SETTINGS("sample.batch=8"));
    dmq_images b = run("whole", DMQ_RUN_SAMPLE_FP, 1, SETTINGS("sample.batch=64"));
    dmq_images c = run("latents", DMQ_RUN_SAMPLE_FP, 1, SETTINGS("first_stage.keep_latents=true"));
    size_t bytes = (size_t)20 * 16 * 16 * 3 * sizeof(dmq_real);

    (void)state;
    assert_null(a.latents);
    assert_memory_equal(a.data, b.data, bytes);
    assert_memory_equal(a.data, c.data, bytes);
    dmq_images_release(&a);
    dmq_images_release(&b);
    dmq_images_release(&c);
}

static void all_stages_run_and_score_images(void **state)
{
    char network[160];
    dmq_images fp;
    dmq_json *metrics = NULL, *manifest = NULL;

    (void)state;
    (void)snprintf(network, sizeof network, "evaluate.features=%s", in_folder("features.h5"));
    fp = run("all", -1, 2,
             SETTINGS("sample.levels=truncate", "first_stage.keep_latents=true",
                      "evaluate.metrics=[fd]", "evaluate.reference_count=300", network));
    assert_true(dmq_shape_equal(fp.one, dmq_shape4(1, 16, 16, 3)));
    OK(dmq_json_load(&metrics, in_folder("all/metrics.json")));
    assert_true(dmq_json_real(dmq_json_find(metrics, "quantized.mse.value"), 0) > 0);
    assert_true(dmq_json_real(dmq_json_find(metrics, "quantized.latent_mse.value"), 0) > 0);
    assert_true(dmq_json_real(dmq_json_find(metrics, "quantized.fd.value"), 0) > 0);
    assert_non_null(
        strstr(dmq_json_text(dmq_json_find(metrics, "fp.fd.id"), ""), "uint8-truncate"));
    assert_true(dmq_file_exists(in_folder("all/grid.png")));
    OK(dmq_json_load(&manifest, in_folder("all/run.json")));
    assert_int_equal(strlen(dmq_json_text(dmq_json_find(manifest, "first_stage.sha256"), "")), 64);
    dmq_json_destroy(metrics);
    dmq_json_destroy(manifest);
    dmq_images_release(&fp);
}

/* DiT learns its variance in channels of its own, which no decoder sees. */
static void dit_and_kl_make_images(void **state)
{
    dmq_config *c = configure("kl.h5", SETTINGS("sampler.kind=ddpm", "sampler.spacing=linspace",
                                                "sampler.variance=learned_range",
                                                "first_stage.scale_factor=0.18215",
                                                "first_stage.keep_latents=true"));
    const dmq_origin here = { .kind = DMQ_ORIGIN_FLAG, .place = "the test" };
    dmq_experiment *e = NULL;
    dmq_folder *f = NULL;
    dmq_images images = { 0 };

    (void)state;
    OK(dmq_config_set(c, "model.checkpoint", in_folder("dit.h5"), &here));
    OK(dmq_experiment_open(&e, c, "cpu", 1));
    OK(dmq_stages_check(e, -1, NULL));
    OK(dmq_folder_open(&f, &(dmq_folder_options){ .path = in_folder("dit") }));
    OK(dmq_stages_run(e, f, &(dmq_stage_options){ .only = -1 }));
    dmq_folder_close(f);
    dmq_experiment_close(e);
    dmq_config_destroy(c);
    OK(dmq_images_load(&images, in_folder("dit/images-q.h5"), NULL));
    assert_true(dmq_shape_equal(images.one, dmq_shape4(1, 16, 16, 3)));
    assert_true(dmq_shape_equal(images.one_latent, dmq_shape4(1, 8, 8, 4)));
    assert_true(dmq_file_exists(in_folder("dit/grid.png")));
    dmq_images_release(&images);
}

static void key_of(char out[DMQ_HASH_TEXT], const char *decoder, const char *const *more,
                   dmq_stage_id id)
{
    dmq_config *c = configure(decoder, more);
    dmq_experiment *e = NULL;

    OK(dmq_experiment_open(&e, c, "cpu", 1));
    OK(dmq_stage_key(out, NULL, e, id));
    dmq_experiment_close(e);
    dmq_config_destroy(c);
}

/* Sampling and what comes after it know the decoder; what sees latents alone does not. */
static void keys_hold_the_decoder(void **state)
{
    static const dmq_stage_id knows[] = { DMQ_RUN_SAMPLE_FP, DMQ_RUN_SAMPLE, DMQ_RUN_EVALUATE };
    static const dmq_stage_id blind[] = { DMQ_RUN_CALIBRATE, DMQ_RUN_QUANTIZE };
    char a[DMQ_HASH_TEXT], b[DMQ_HASH_TEXT];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        key_of(a, "decoder.h5", NULL, knows[i]);
        key_of(b, "codes21.h5", NULL, knows[i]);
        assert_string_not_equal(a, b);
        key_of(b, NULL, NULL, knows[i]);
        assert_string_not_equal(a, b);
        key_of(b, "decoder.h5", SETTINGS("first_stage.scale_factor=2"), knows[i]);
        assert_string_not_equal(a, b);
        key_of(b, "decoder.h5", SETTINGS("first_stage.scale_factor=1"), knows[i]);
        assert_string_equal(a, b);
    }
    for (size_t i = 0; i < 2; i++) {
        key_of(a, "decoder.h5", NULL, blind[i]);
        key_of(b, NULL, NULL, blind[i]);
        assert_string_equal(a, b);
    }
}

static void refuse(const char *decoder, const char *const *more, dmq_status want, const char *text)
{
    dmq_config *c = configure(decoder, more);
    dmq_experiment *e = NULL;

    assert_int_equal(dmq_experiment_open(&e, c, "cpu", 1), want);
    assert_null(e);
    if (!strstr(dmq_message(), text))
        fail_msg("\"%s\" is not in: %s", text, dmq_message());
    dmq_config_destroy(c);
}

static void wrong_decoders_are_named(void **state)
{
    (void)state;
    refuse("none.h5", NULL, DMQ_ENOINPUT, "there is no decoder");
    refuse("unet.h5", NULL, DMQ_EDATA, "of kind ddpm_unet, a decoder was expected");
    refuse("large.h5", NULL, DMQ_EDATA, "decodes latents (3, 16, 16), the network makes (3, 8, 8)");
    refuse("decoder.h5", SETTINGS("first_stage.sha256=abc"), DMQ_EDATA,
           "first_stage.sha256 says abc");
}

/* The numbers of the released scripts: LDM truncates, ddim and DiT go to the nearest level. */
static void levels_are_those_of_the_scripts(void **state)
{
    const dmq_real x[8] = { -2, -1, 0, (dmq_real)0.001, (dmq_real)0.9999, 1, 3, (dmq_real)-0.3 };
    const int down[8] = { 0, 0, 127, 127, 254, 255, 255, 89 };
    const int near[8] = { 0, 0, 128, 128, 255, 255, 255, 89 };
    dmq_real y[8];

    (void)state;
    dmq_images_export(y, x, 8, DMQ_LEVELS_TRUNCATE);
    for (int i = 0; i < 8; i++)
        assert_true(fabs(((double)y[i] + 1) / 2 * 255 - down[i]) < 1e-4);
    dmq_images_export(y, x, 8, DMQ_LEVELS_ROUND);
    for (int i = 0; i < 8; i++)
        assert_true(fabs(((double)y[i] + 1) / 2 * 255 - near[i]) < 1e-4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_are_the_decoded_latents),
        cmocka_unit_test(batch_threads_and_keeping_change_nothing),
        cmocka_unit_test(all_stages_run_and_score_images),
        cmocka_unit_test(dit_and_kl_make_images),
        cmocka_unit_test(keys_hold_the_decoder),
        cmocka_unit_test(wrong_decoders_are_named),
        cmocka_unit_test(levels_are_those_of_the_scripts),
    };

    return cmocka_run_group_tests(tests, set_up, scratch_remove);
}
