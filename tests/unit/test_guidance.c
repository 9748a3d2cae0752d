/* Guidance: images and calibration sets of a network that knows classes, small enough to be written down. */
#include "base/log.h"
#include "base/memory.h"
#include "calib/calib_file.h"
#include "diffusion/forward.h"
#include "diffusion/labels.h"
#include "diffusion/moves.h"
#include "diffusion/sample.h"
#include "recorder.h"
#include "tensor/layout.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

enum { C = 4, SIDE = 3, PER = SIDE * SIDE * C, CLASSES = 5, IMAGES = 11, SEED = 9 };

#define OK(call)                                      \
    do {                                              \
        dmq_status status_of_call = (call);           \
        if (status_of_call != DMQ_OK)                 \
            fail_msg("%s: %s", #call, dmq_message()); \
    } while (0)

/* ------------------------------------------------------------------ the network

   y = x + table[label] + time(t); eps = silu(y), and v = gelu(y) behind it where the variance is learned */

static dmq_real table[(CLASSES + 1) * C];

static dmq_status record_temporal(const dmq_model *m, dmq_tape *tape, const dmq_hooks *hooks,
                                  dmq_var *t, const dmq_index *label, dmq_var **emb)
{
    (void)m;
    (void)hooks;
    emb[1] = dmq_record_binary(
        tape, DMQ_ADD,
        dmq_record_embed(tape, dmq_tape_constant(tape, "table", dmq_shape2(CLASSES + 1, C), table),
                         label),
        dmq_record_time_embed(tape, t, C, 2, 0));
    return DMQ_OK;
}

static dmq_var *record(const dmq_model *m, const dmq_unit *unit, dmq_tape *tape,
                       const dmq_hooks *hooks, dmq_var *in0, dmq_var *in1, dmq_var *emb)
{
    dmq_var *y = dmq_record_binary(tape, DMQ_ADD, in0, emb);

    (void)unit;
    (void)hooks;
    (void)in1;
    if (m->value[2].shape.dim[3] == C)
        return dmq_record_unary(tape, DMQ_SILU, y);
    return dmq_record_concat(tape, dmq_record_unary(tape, DMQ_SILU, y),
                             dmq_record_unary(tape, DMQ_GELU, y));
}

typedef struct toy {
    dmq_model model;
    dmq_unit unit[2];
    dmq_value value[3];
} toy;

static void toy_init(toy *net, int learned)
{
    static const dmq_arch arch = { "toy", record, record_temporal };
    static char text[] = "toy";

    *net = (toy){ .unit = { { .kind = DMQ_UNIT_TEMPORAL, .out = 1, .in = { -1, -1 } },
                            { .kind = DMQ_UNIT_LAYER, .out = 2, .in = { 0, -1 }, .emb = 1 } },
                  .value = { { .shape = dmq_shape4(1, SIDE, SIDE, C) },
                             { .shape = dmq_shape2(1, C), .emb_of = DMQ_OF_T | DMQ_OF_LABEL },
                             { .shape = dmq_shape4(1, SIDE, SIDE, learned ? 2 * C : C) } } };
    net->model = (dmq_model){ .arch = &arch,
                              .config_text = text,
                              .input = net->value[0].shape,
                              .n_classes = CLASSES,
                              .n_labels = CLASSES + 1,
                              .unit = net->unit,
                              .n_units = 2,
                              .value = net->value,
                              .n_values = 3,
                              .output = 2 };
}

static double network(double x, int label, double t, int c, int variance)
{
    double f = c % 2 ? exp(-log(10000.0) / 2) : 1;
    double y = x + (double)table[label * C + c] + (c < 2 ? sin(t * f) : cos(t * f));

    return variance ? 0.5 * y * (1 + erf(y / sqrt(2.0))) : y / (1 + exp(-y));
}

static int set_up(void **state)
{
    (void)state;
    for (int i = 0; i < (CLASSES + 1) * C; i++)
        table[i] = (dmq_real)(2 * dmq_uniform(1, DMQ_FOR_TEST, 0, 0, (uint32_t)i) - 1);
    return 0;
}

/* ------------------------------------------------------------------ what it must do */

static dmq_sampler *sampler_of(dmq_sampler_config config)
{
    dmq_schedule *schedule = NULL;
    dmq_sampler *s = NULL;

    OK(dmq_schedule_create(&schedule, 1000, 1e-4, 0.02));
    OK(dmq_sampler_create(&s, schedule, &config));
    dmq_schedule_destroy(schedule);
    return s;
}

static void noise(dmq_real *out, dmq_purpose purpose, uint64_t image, int step)
{
    OK(dmq_noise_normal_ref(NULL, &(dmq_noise_args){ .out = out,
                                                     .n = 1,
                                                     .per = PER,
                                                     .seed = SEED,
                                                     .purpose = purpose,
                                                     .first = image,
                                                     .step = (uint32_t)step,
                                                     .channels = C }));
}

/* One trajectory of a sampler with linear moves, up to the input of call `steps`. */
static void trajectory(double x[PER], const dmq_sampler *s, int steps, int label, uint64_t image,
                       dmq_purpose latent, dmq_purpose step_noise)
{
    const dmq_sampler_config *g = &s->config;
    int guided = g->guided_channels > 0 ? g->guided_channels : C;
    dmq_real z[PER];

    noise(z, latent, image, 0);
    for (int i = 0; i < PER; i++)
        x[i] = (double)z[i];
    for (int k = 0; k < steps; k++) {
        const dmq_sampler_step *p = &s->step[k];

        noise(z, step_noise, image, k);
        for (int i = 0; i < PER; i++) {
            int c = i % C;
            double e = network(x[i], label, p->t, c, 0), spread = p->sigma;
            double null = network(x[i], CLASSES, p->t, c, 0);

            if (g->variance == DMQ_LEARNED_RANGE) {
                double f = (network(x[i], label, p->t, c, 1) + 1) / 2;

                spread *= exp((f * p->log_max + (1 - f) * p->log_min) / 2);
            }
            if (dmq_sampler_branches(s) == 2 && c < guided)
                e = null + g->guidance * (e - null);
            x[i] = p->r * x[i] + p->c * e + (p->sigma != 0 ? spread * (double)z[i] : 0);
        }
    }
}

static void near(const dmq_real *got, const double *want, const char *what, int which)
{
    for (int i = 0; i < PER; i++) {
        if (!(fabs((double)got[i] - want[i]) <= 1e-4 * (1 + fabs(want[i]))))
            fail_msg("%s %d, number %d: %g, expected %g", what, which, i, (double)got[i], want[i]);
    }
}

static const dmq_sampler_config configs[] = {
    { DMQ_DDIM, .steps = 6, .guidance = 1 },
    { DMQ_DDIM, .steps = 6, .guidance = 3 },
    { DMQ_DDIM, .steps = 6, .eta = 0.5, .guidance = 1.5, .cond_first = 1 },
    { DMQ_DDPM, DMQ_SPACING_LINSPACE, .steps = 6, .eta = 1, .variance = DMQ_LEARNED_RANGE,
      .guidance = 1.5, .cond_first = 1, .guided_channels = 3 },
};

enum { CONFIGS = sizeof configs / sizeof *configs, FIRST = 3 };

static void draw(dmq_real *out, const dmq_model *model, const dmq_backend *be, const dmq_sampler *s,
                 const int *label)
{
    dmq_lanes *lanes = NULL;
    dmq_sample *sample = NULL;

    OK(dmq_lanes_create(&lanes, be, 1));
    OK(dmq_sample_create(&sample, model, s, NULL, lanes));
    OK(dmq_sample_run(sample, out, SEED, FIRST, IMAGES, label, NULL));
    dmq_sample_destroy(sample);
    dmq_lanes_destroy(lanes);
}

static void images_are_those_of_the_guided_recursion(void **state)
{
    static dmq_real images[IMAGES * PER], replayed[IMAGES * PER], plain[IMAGES * PER];
    dmq_backend be = recorder();

    (void)state;
    for (size_t k = 0; k < CONFIGS; k++) {
        dmq_sampler *s = sampler_of(configs[k]);
        int label[IMAGES];
        toy net;

        toy_init(&net, configs[k].variance == DMQ_LEARNED_RANGE);
        for (int i = 0; i < IMAGES; i++)
            label[i] = i % CLASSES;
        draw(images, &net.model, dmq_backend_ref(), s, label);
        for (int i = 0; i < IMAGES; i++) {
            double x[PER];

            trajectory(x, s, s->n_steps, label[i], (uint64_t)(FIRST + i), DMQ_FOR_LATENT,
                       DMQ_FOR_SAMPLER);
            near(images + i * PER, x, "image", i);
        }
        recorded.launches = 0;
        draw(replayed, &net.model, &be, s, label);
        assert_memory_equal(replayed, images, sizeof images);
        assert_true(recorded.launches > 0);
        if (k == 0)
            memcpy(plain, images, sizeof plain);
        if (k == 1) /* guidance does something */
            assert_memory_not_equal(plain, images, PER * sizeof *plain);
        dmq_sampler_destroy(s);
    }
}

static void calibration_keeps_both_branches(void **state)
{
    static const char path[] = "/tmp/dmq-test-guidance.h5";
    dmq_calib_config config = {
        .per_timestep = 22, .held_out = 4, .interval = 2, .validation = 0.2, .seed = SEED
    };
    dmq_lanes *lanes = NULL;

    (void)state;
    OK(dmq_lanes_create(&lanes, dmq_backend_ref(), 2));
    for (size_t k = 1; k < CONFIGS; k++) {
        dmq_sampler *s = sampler_of(configs[k]), *other = sampler_of(configs[0]);
        int cond = configs[k].cond_first ? 0 : 1, validation = 0;
        dmq_calib *c = NULL, *back = NULL;
        toy net;

        config.fresh = k == 2;
        toy_init(&net, configs[k].variance == DMQ_LEARNED_RANGE);
        OK(dmq_calib_run(&c, &net.model, s, &config, lanes));
        assert_int_equal(c->per_step, 26);
        for (int step = 0; step < c->n_steps; step++) {
            for (int p = 0; p < 13; p++) {
                const dmq_real *first = dmq_calib_state(c, step, 2 * p);
                int label = dmq_calib_label(c, step, 2 * p + cond);
                double x[PER];

                assert_memory_equal(first, dmq_calib_state(c, step, 2 * p + 1),
                                    PER * sizeof *first);
                assert_int_equal(dmq_calib_label(c, step, 2 * p + 1 - cond), CLASSES);
                assert_in_range(label, 0, CLASSES - 1);
                trajectory(x, s, step, label, (uint64_t)(config.fresh ? step * 13 + p : p),
                           DMQ_FOR_CALIB, DMQ_FOR_CALIB_STEP);
                near(first, x, "state of step", step);
            }
        }
        for (int i = 0; i < c->n; i += 2) {
            assert_int_equal(c->role[i], c->role[i + 1]);
            assert_int_equal(c->role[i] == DMQ_HELD_OUT, i % 26 >= 22);
            validation += c->role[i] == DMQ_VALIDATION;
        }
        assert_int_equal(validation, 2 * c->n_weight_steps); /* a fifth of 11 pairs */
        OK(dmq_calib_save(c, path));
        OK(dmq_calib_load(&back, path));
        assert_int_equal(back->config.branches, 2);
        assert_memory_equal(back->label, c->label,
                            (size_t)(c->n_steps * c->per_step) * sizeof *c->label);
        OK(dmq_calib_fits(back, &net.model, s));
        assert_int_equal(dmq_calib_fits(back, &net.model, other), DMQ_EDATA);
        dmq_calib_destroy(c);
        dmq_calib_destroy(back);
        dmq_sampler_destroy(s);
        dmq_sampler_destroy(other);
    }
    remove(path);
    dmq_lanes_destroy(lanes);
}

/* Of a network that gives a variance too, the noise. */
static void a_pass_gives_the_noise(void **state)
{
    enum { N = 11 };
    static dmq_real x[N * PER], out[N * PER], nchw[N * PER], files[N * PER], back[N * PER];
    dmq_real t[N];
    dmq_lanes *lanes = NULL;
    int label[N];

    (void)state;
    OK(dmq_lanes_create(&lanes, dmq_backend_ref(), 2));
    for (int i = 0; i < N; i++) {
        noise(x + i * PER, DMQ_FOR_TEST, (uint64_t)i, 0);
        t[i] = (dmq_real)(0.5 + 90 * i);
        label[i] = i % (CLASSES + 1);
    }
    for (int learned = 0; learned < 2; learned++) {
        toy net;

        toy_init(&net, learned);
        memset(out, 0, sizeof out);
        OK(dmq_forward_run(
            &net.model, NULL, lanes,
            &(dmq_forward_args){ .x = x, .t = t, .label = label, .out = out, .n = N, .nhwc = 1 }));
        for (int i = 0; i < N; i++) {
            double want[PER];

            for (int k = 0; k < PER; k++)
                want[k] = network((double)x[i * PER + k], label[i], (double)t[i], k % C, 0);
            near(out + i * PER, want, "noise of sample", i);
        }
        dmq_nchw_from_nhwc(nchw, x, N, C, SIDE, SIDE); /* as files order it */
        OK(dmq_forward_run(
            &net.model, NULL, lanes,
            &(dmq_forward_args){ .x = nchw, .t = t, .label = label, .out = files, .n = N }));
        dmq_nhwc_from_nchw(back, files, N, C, SIDE, SIDE);
        assert_memory_equal(back, out, sizeof out);
    }
    dmq_lanes_destroy(lanes);
}

static void what_cannot_be_guided_is_refused(void **state)
{
    dmq_calib_config config = { .per_timestep = 3, .interval = 1 };
    dmq_sampler_config too_many = configs[3];
    dmq_sampler *s = sampler_of(configs[1]), *learned = sampler_of(configs[3]), *many;
    dmq_lanes *lanes = NULL;
    dmq_sample *sample = NULL;
    dmq_calib *calib = NULL;
    toy net;

    (void)state;
    too_many.guided_channels = C + 1;
    many = sampler_of(too_many);
    OK(dmq_lanes_create(&lanes, dmq_backend_ref(), 1));
    toy_init(&net, 0);
    assert_int_equal(dmq_calib_run(&calib, &net.model, s, &config, lanes), DMQ_EINVAL);
    assert_non_null(strstr(dmq_message(), "per_timestep = 3"));
    assert_int_equal(dmq_sample_create(&sample, &net.model, learned, NULL, lanes), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "4 channels for 4, a learned variance takes twice"));
    assert_int_equal(dmq_sample_create(&sample, &net.model, many, NULL, lanes), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "guided_channels = 5"));
    net.model.n_labels = CLASSES;
    assert_int_equal(dmq_sample_create(&sample, &net.model, s, NULL, lanes), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "has no null label"));
    net.model.n_classes = net.model.n_labels = 0;
    assert_int_equal(dmq_sample_create(&sample, &net.model, s, NULL, lanes), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "knows no classes"));
    dmq_sampler_destroy(s);
    dmq_sampler_destroy(learned);
    dmq_sampler_destroy(many);
    dmq_lanes_destroy(lanes);
}

/* ------------------------------------------------------------------ labels of images */

static void labels_are_the_same_however_they_are_asked_for(void **state)
{
    enum { N = 100, N_CLASSES = 7 };
    static const dmq_label_choice choices[] = { DMQ_LABELS_BALANCED, DMQ_LABELS_RANDOM,
                                                DMQ_LABELS_ONE };

    (void)state;
    for (size_t k = 0; k < 3; k++) {
        dmq_labels l = { .choice = choices[k], .one = 4, .n_classes = N_CLASSES, .seed = 3 };
        int whole[N], part[N], count[N_CLASSES] = { 0 }, sorted = 1;

        OK(dmq_labels_fill(whole, &l, 0, N));
        for (int from = 0; from < N; from += 9)
            OK(dmq_labels_fill(part + from, &l, (uint64_t)from, N - from < 9 ? N - from : 9));
        assert_memory_equal(whole, part, sizeof whole);
        for (int i = 0; i < N; i++) {
            assert_in_range(whole[i], 0, N_CLASSES - 1);
            count[whole[i]]++;
            sorted &= i % N_CLASSES == 0 || whole[i] > whole[i - 1];
        }
        if (choices[k] == DMQ_LABELS_ONE)
            assert_int_equal(count[4], N);
        if (choices[k] == DMQ_LABELS_BALANCED) {
            assert_false(sorted); /* each block in an order of its own */
            for (int c = 0; c < N_CLASSES; c++)
                assert_in_range(count[c], N / N_CLASSES, N / N_CLASSES + 1);
            l.seed++;
            OK(dmq_labels_fill(part, &l, 0, N));
            assert_memory_not_equal(whole, part, sizeof whole);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_are_those_of_the_guided_recursion),
        cmocka_unit_test(calibration_keeps_both_branches),
        cmocka_unit_test(a_pass_gives_the_noise),
        cmocka_unit_test(what_cannot_be_guided_is_refused),
        cmocka_unit_test(labels_are_the_same_however_they_are_asked_for),
    };
    dmq_log_verbosity_set(DMQ_QUIET);
    return cmocka_run_group_tests_name("guidance", tests, set_up, NULL);
}
