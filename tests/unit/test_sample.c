/* Sampling and single passes: the same bits however the work is cut, the recursion it stands for. */
#include "base/memory.h"
#include "base/signal.h"
#include "base/status.h"
#include "diffusion/forward.h"
#include "diffusion/sample.h"
#include "model/ddpm_unet.h"
#include "model/init.h"
#include "recorder.h"
#include "tensor/layout.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { SIZE = 8, PER = 3 * SIZE * SIZE, IMAGES = 20, SEED = 5 };

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

static dmq_model *model;
static dmq_schedule *schedule;

#define OK(call)                                      \
    do {                                              \
        dmq_status status_of_call = (call);           \
        if (status_of_call != DMQ_OK)                 \
            fail_msg("%s: %s", #call, dmq_message()); \
    } while (0)

static dmq_real *reals(size_t n)
{
    void *p = NULL;
    OK(dmq_alloc(&p, n, sizeof(dmq_real)));
    return p;
}

static const dmq_backend *backend_of(const char *name)
{
    const dmq_backend *be = NULL;
    OK(dmq_backend_open(&be, name));
    return be;
}

/** A network whose every layer matters, also those that training begins with near zero. */
static int set_up(void **state)
{
    (void)state;
    OK(dmq_ddpm_unet_create(&model, &small));
    dmq_model_init(model, 3);
    for (int i = 0; i < model->n_layers; i++) {
        const dmq_entry *w = &model->entry[model->layer[i].weight];
        double spread = 1 / sqrt((double)dmq_shape_count(w->shape) / w->shape.dim[0]);
        for (size_t k = 0; k < dmq_shape_count(w->shape); k++) {
            model->params[w->offset + k] =
                (dmq_real)(spread *
                           (2 * dmq_uniform(1, DMQ_FOR_TEST, (uint64_t)i, 0, (uint32_t)k) - 1));
        }
    }
    OK(dmq_schedule_create(&schedule, 1000, 1e-4, 0.02));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dmq_model_destroy(model);
    dmq_schedule_destroy(schedule);
    return 0;
}

static dmq_sampler *sampler_of(dmq_sampler_config config)
{
    dmq_sampler *s = NULL;
    OK(dmq_sampler_create(&s, schedule, &config));
    return s;
}

static void draw_images(dmq_real *out, const char *backend, int lanes_count,
                        const dmq_sampler *sampler, const dmq_hook_source *source, uint64_t first,
                        uint64_t count, const dmq_sample_watch *watch)
{
    dmq_lanes *lanes = NULL;
    dmq_sample *sample = NULL;

    OK(dmq_lanes_create(&lanes, backend_of(backend), lanes_count));
    OK(dmq_sample_create(&sample, model, sampler, source, lanes));
    OK(dmq_sample_run(sample, out, SEED, first, count, NULL, watch));
    assert_true(dmq_sample_bytes(sample) > 0);
    dmq_sample_destroy(sample);
    dmq_lanes_destroy(lanes);
}

static void any_lanes_and_any_ranges_give_the_same_bits(void **state)
{
    (void)state;
    static const char *const backends[] = { "ref", "cpu" };
    static const uint64_t cuts[][6] = { { 0, 20 }, { 0, 5, 13, 20 }, { 0, 1, 8, 9, 19, 20 } };
    static const int n_cuts[] = { 2, 4, 6 };
    dmq_real *whole = reals(IMAGES * PER), *parts = reals(IMAGES * PER);
    dmq_sampler *s =
        sampler_of((dmq_sampler_config){ DMQ_DDIM, DMQ_SPACING_QUAD, .steps = 6, .eta = 0.7 });

    for (size_t b = 0; b < sizeof backends / sizeof *backends; b++) {
        draw_images(whole, backends[b], 1, s, NULL, 0, IMAGES, NULL);
        for (int lanes = 1; lanes <= 3; lanes++) {
            const uint64_t *cut = cuts[lanes - 1];
            memset(parts, 0, IMAGES * PER * sizeof *parts);
            for (int i = 0; i + 1 < n_cuts[lanes - 1]; i++) {
                draw_images(parts + cut[i] * PER, backends[b], lanes, s, NULL, cut[i],
                            cut[i + 1] - cut[i], NULL);
            }
            assert_memory_equal(parts, whole, IMAGES * PER * sizeof *whole);
        }
        /* Far away numbers are other images. */
        draw_images(parts, backends[b], 2, s, NULL, (uint64_t)1 << 40, IMAGES, NULL);
        assert_memory_not_equal(parts, whole, PER * sizeof *whole);
    }
    dmq_sampler_destroy(s);
    dmq_free(whole);
    dmq_free(parts);
}

static void noise(dmq_real *out, dmq_purpose purpose, int step)
{
    OK(dmq_noise_normal_ref(NULL, &(dmq_noise_args){ .out = out,
                                                     .n = IMAGES,
                                                     .per = PER,
                                                     .seed = SEED,
                                                     .purpose = purpose,
                                                     .step = (uint32_t)step,
                                                     .channels = 3 }));
}

/* The definition, with the network called on t through its temporal unit, in double. */
static void the_images_are_those_of_the_recursion(void **state)
{
    (void)state;
    static const dmq_sampler_config configs[] = {
        { DMQ_DDIM, DMQ_SPACING_QUAD, .steps = 10, .eta = 0 },
        { DMQ_DDIM, DMQ_SPACING_UNIFORM, .steps = 5, .eta = 1 },
        { DMQ_DDPM, DMQ_SPACING_UNIFORM, .steps = 5, .eta = 1 },
    };
    dmq_real *x = reals(IMAGES * PER), *eps = reals(IMAGES * PER), *z = reals(IMAGES * PER),
             *images = reals(IMAGES * PER), t[IMAGES];
    dmq_lanes *lanes = NULL;

    OK(dmq_lanes_create(&lanes, backend_of("ref"), 2));
    for (size_t c = 0; c < sizeof configs / sizeof *configs; c++) {
        dmq_sampler *s = sampler_of(configs[c]);
        noise(x, DMQ_FOR_LATENT, 0);
        for (int i = 0; i < s->n_steps; i++) {
            const dmq_sampler_step *step = &s->step[i];
            for (int n = 0; n < IMAGES; n++)
                t[n] = (dmq_real)step->t;
            OK(dmq_forward_run(
                model, NULL, lanes,
                &(dmq_forward_args){ .x = x, .t = t, .out = eps, .n = IMAGES, .nhwc = 1 }));
            noise(z, DMQ_FOR_SAMPLER, i);
            for (size_t k = 0; k < IMAGES * PER; k++) {
                x[k] = (dmq_real)(step->r * (double)x[k] + step->c * (double)eps[k] +
                                  step->sigma * (double)z[k]);
            }
        }
        draw_images(images, "ref", 2, s, NULL, 0, IMAGES, NULL);
        for (size_t k = 0; k < IMAGES * PER; k++) {
            if (!(fabs((double)(images[k] - x[k])) <= 2e-4 * (1 + fabs((double)x[k])))) {
                fail_msg("config %zu, number %zu: %g, expected %g", c, k, (double)images[k],
                         (double)x[k]);
            }
        }
        dmq_sampler_destroy(s);
    }
    dmq_lanes_destroy(lanes);
    dmq_free(x);
    dmq_free(eps);
    dmq_free(z);
    dmq_free(images);
}

typedef struct seen {
    dmq_real *x; /* (steps, IMAGES, PER) */
    int next[IMAGES];
    int done;
} seen;

static dmq_status see(void *context, dmq_queue *queue, int step, uint64_t first, const dmq_real *x,
                      const dmq_real *eps)
{
    seen *s = context;
    (void)queue;
    (void)eps;
    for (uint64_t n = first; n < first + 8 && n < IMAGES; n++) {
        if (s->next[n]++ != step)
            return dmq_fail(DMQ_EDATA, "steps out of order");
        memcpy(s->x + ((uint64_t)step * IMAGES + n) * PER, x + (n - first) * PER, PER * sizeof *x);
    }
    return DMQ_OK;
}

static void count_done(void *context, uint64_t first, int n)
{
    seen *s = context;
    (void)first;
#pragma omp atomic
    s->done += n;
}

static void who_watches_sees_every_step_and_changes_nothing(void **state)
{
    (void)state;
    dmq_sampler *s = sampler_of((dmq_sampler_config){ DMQ_DDIM, DMQ_SPACING_QUAD, .steps = 100 });
    dmq_real *plain = reals(IMAGES * PER), *watched = reals(IMAGES * PER), *z = reals(IMAGES * PER);
    seen seen_by = { .x = reals(100 * IMAGES * PER) };
    const dmq_sample_watch watch = { &seen_by, see, count_done };

    draw_images(plain, "ref", 2, s, NULL, 0, IMAGES, NULL); /* four steps are left out here */
    draw_images(watched, "ref", 2, s, NULL, 0, IMAGES, &watch);
    assert_memory_equal(plain, watched, IMAGES * PER * sizeof *plain);
    assert_int_equal(seen_by.done, IMAGES);
    for (int n = 0; n < IMAGES; n++)
        assert_int_equal(seen_by.next[n], 100);
    noise(z, DMQ_FOR_LATENT, 0);
    assert_memory_equal(seen_by.x, z, IMAGES * PER * sizeof *z);
    /* The network does something: a trajectory that stands still would pass all of the above. */
    assert_memory_not_equal(seen_by.x + 99 * IMAGES * PER, seen_by.x, PER * sizeof *z);
    dmq_free(seen_by.x);
    dmq_free(plain);
    dmq_free(watched);
    dmq_free(z);
    dmq_sampler_destroy(s);
}

/* A table with a row a step, added to what conv_out reads: as activation tables are looked up. */
typedef struct table {
    dmq_real *value; /* (steps, 8) */
    int steps, asked;
    const dmq_index *row;
} table;

static dmq_var *add_row(void *context, dmq_tape *tape, const dmq_layer *layer, dmq_var *x)
{
    table *t = context;
    if (!layer->last)
        return x;
    return dmq_record_binary(
        tape, DMQ_ADD, x,
        dmq_record_embed(tape, dmq_tape_constant(tape, "table", dmq_shape2(t->steps, 8), t->value),
                         t->row));
}

static dmq_hooks hooks_of(void *context, dmq_tape *tape, const dmq_index *row)
{
    table *t = context;
    (void)tape;
    t->asked++;
    t->row = row;
    return (dmq_hooks){ .context = context, .input = add_row };
}

static void hooks_find_the_row_of_the_step(void **state)
{
    (void)state;
    dmq_sampler *s = sampler_of((dmq_sampler_config){ .steps = 5 });
    dmq_real *plain = reals(IMAGES * PER), *hooked = reals(IMAGES * PER);
    seen with = { .x = reals(5 * IMAGES * PER) }, without = { .x = reals(5 * IMAGES * PER) };
    const dmq_sample_watch watch = { &with, see, NULL }, watch_plain = { &without, see, NULL };
    table t = { .value = reals(5 * 8), .steps = 5 };
    const dmq_hook_source source = { &t, hooks_of };
    size_t count = IMAGES * PER;

    draw_images(plain, "ref", 2, s, NULL, 0, IMAGES, &watch_plain);
    draw_images(hooked, "ref", 2, s, &source, 0, IMAGES, NULL);
    assert_int_equal(t.asked, 3); /* the tape of the embeddings, and one a lane */
    assert_memory_equal(plain, hooked, count * sizeof *plain);
    t.value[3 * 8] = 1; /* step 3 of 0..4 */
    draw_images(hooked, "ref", 2, s, &source, 0, IMAGES, &watch);
    assert_memory_equal(with.x, without.x, 4 * count * sizeof *plain); /* x entering steps 0..3 */
    assert_memory_not_equal(with.x + 4 * count, without.x + 4 * count, PER * sizeof *plain);
    assert_memory_not_equal(hooked, plain, PER * sizeof *plain);
    dmq_free(t.value);
    dmq_free(with.x);
    dmq_free(without.x);
    dmq_free(plain);
    dmq_free(hooked);
    dmq_sampler_destroy(s);
}

/* Images first .. first + n - 1 of each of two seeds, one after the other on the same tapes. */
static void draw_seeds(dmq_real *out, const dmq_backend *be, const dmq_sampler *sampler,
                       const dmq_hook_source *source, uint64_t first, uint64_t n)
{
    dmq_lanes *lanes = NULL;
    dmq_sample *sample = NULL;

    OK(dmq_lanes_create(&lanes, be, 1));
    OK(dmq_model_place(model, lanes));
    OK(dmq_sample_create(&sample, model, sampler, source, lanes));
    for (uint64_t seed = 0; seed < 2; seed++)
        OK(dmq_sample_run(sample, out + seed * n * PER, SEED + seed, first, n, NULL, NULL));
    dmq_sample_destroy(sample);
    dmq_lanes_destroy(lanes);
    OK(dmq_lanes_create(&lanes, backend_of("ref"), 1));
    OK(dmq_model_place(model, lanes));
    dmq_lanes_destroy(lanes);
}

/* On what records and replays as a device does, and on memory that the host cannot touch. */
static void recorded_calls_are_replayed_to_the_same_bits(void **state)
{
    (void)state;
    enum { STEPS = 50, N = 9 };
    static const dmq_sampler_config configs[] = {
        { DMQ_DDIM, DMQ_SPACING_QUAD, .steps = STEPS, .eta = 0.7 },
        { DMQ_DDPM, DMQ_SPACING_QUAD, .steps = 20, .eta = 1, .clip_x0 = 1 },
        { DMQ_DDIM, DMQ_SPACING_UNIFORM, .steps = 20 },
        { DMQ_PLMS, .steps = 20, .repository = DMQ_REPOSITORY_LDM },
        { DMQ_DPM_SOLVER, .steps = 20, .solver = DMQ_SOLVER_3S },
    };
    size_t count = (size_t)2 * N * PER;
    dmq_real *direct = reals(count), *replayed = reals(count);
    dmq_backend be = recorder();
    table t = { .value = reals(STEPS * 8), .steps = STEPS };
    const dmq_hook_source source = { &t, hooks_of };

    for (int i = 0; i < STEPS * 8; i++)
        t.value[i] = (dmq_real)(0.01 * (i % 29)); /* every step has a row of its own */
    for (size_t c = 0; c < sizeof configs / sizeof *configs; c++) {
        dmq_sampler *s = sampler_of(configs[c]);
        int calls = 0;

        for (int i = 0; i < s->n_steps; i++)
            calls += s->form != DMQ_MOVE_LINEAR || s->step[i].t != s->step[i].t_next;
        draw_seeds(direct, backend_of("ref"), s, &source, 3, N);
        recorded.launches = 0;
        draw_seeds(replayed, &be, s, &source, 3, N);
        assert_memory_equal(replayed, direct, count * sizeof *direct);
        /* two groups a seed; the first call of each runs as it is, and nothing else does */
        assert_int_equal(recorded.launches, 2 * (2 * calls - 1));
        assert_int_equal(recorded.n, 0);
        dmq_sampler_destroy(s);
        s = sampler_of((dmq_sampler_config){ configs[c].kind, .steps = 4, .eta = configs[c].eta });
        draw_seeds(direct, backend_of("ref"), s, NULL, 3, 5);
        draw_seeds(replayed, backend_of("check"), s, NULL, 3, 5);
        assert_memory_equal(replayed, direct, 2 * 5 * PER * sizeof *direct);
        dmq_sampler_destroy(s);
    }
    dmq_free(t.value);
    dmq_free(direct);
    dmq_free(replayed);
}

static void a_pass_in_either_order_and_any_number_is_the_same(void **state)
{
    (void)state;
    dmq_real *x = reals(IMAGES * PER), *y = reals(IMAGES * PER), *part = reals(IMAGES * PER),
             *nchw = reals(IMAGES * PER), *back = reals(IMAGES * PER), t[IMAGES];
    dmq_lanes *one = NULL, *three = NULL;

    OK(dmq_lanes_create(&one, backend_of("cpu"), 1));
    OK(dmq_lanes_create(&three, backend_of("cpu"), 3));
    noise(x, DMQ_FOR_TEST, 0);
    for (int i = 0; i < IMAGES; i++)
        t[i] = (dmq_real)(37 * i);
    OK(dmq_forward_run(model, NULL, one,
                       &(dmq_forward_args){ .x = x, .t = t, .out = y, .n = IMAGES, .nhwc = 1 }));
    OK(dmq_forward_run(model, NULL, three,
                       &(dmq_forward_args){ .x = x, .t = t, .out = part, .n = 11, .nhwc = 1 }));
    assert_memory_equal(part, y, 11 * PER * sizeof *y);
    dmq_nchw_from_nhwc(nchw, x, IMAGES, 3, SIZE, SIZE);
    OK(dmq_forward_run(model, NULL, three,
                       &(dmq_forward_args){ .x = nchw, .t = t, .out = part, .n = IMAGES }));
    dmq_nhwc_from_nchw(back, part, IMAGES, 3, SIZE, SIZE);
    assert_memory_equal(back, y, IMAGES * PER * sizeof *y);
    dmq_stop_request(15);
    assert_int_equal(
        dmq_forward_run(model, NULL, three,
                        &(dmq_forward_args){ .x = x, .t = t, .out = part, .n = 11, .nhwc = 1 }),
        DMQ_ESTOP);
    dmq_stop_request(0);
    x[12 * PER + 5] = NAN;
    assert_int_equal(
        dmq_forward_run(model, NULL, one,
                        &(dmq_forward_args){ .x = x, .t = t, .out = y, .n = IMAGES, .nhwc = 1 }),
        DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "sample 12"));
    dmq_lanes_destroy(one);
    dmq_lanes_destroy(three);
    dmq_free(x);
    dmq_free(y);
    dmq_free(part);
    dmq_free(nchw);
    dmq_free(back);
}

static void a_signal_stops_and_a_nan_is_told(void **state)
{
    (void)state;
    dmq_sampler *s = sampler_of((dmq_sampler_config){ .steps = 5 });
    dmq_real *out = reals(IMAGES * PER), kept;
    const dmq_entry *bias = dmq_model_entry(model, "conv_out.bias");
    dmq_lanes *lanes = NULL;
    dmq_sample *sample = NULL;

    OK(dmq_lanes_create(&lanes, backend_of("ref"), 2));
    OK(dmq_sample_create(&sample, model, s, NULL, lanes));
    dmq_stop_request(15);
    assert_int_equal(dmq_sample_run(sample, out, SEED, 0, IMAGES, NULL, NULL), DMQ_ESTOP);
    dmq_stop_request(0);
    kept = model->params[bias->offset];
    model->params[bias->offset] = NAN;
    assert_int_equal(dmq_sample_run(sample, out, SEED, 16, 4, NULL, NULL), DMQ_EDIVERGE);
    assert_non_null(strstr(dmq_message(), "image 16"));
    model->params[bias->offset] = kept;
    OK(dmq_sample_run(sample, out, SEED, 16, 4, NULL, NULL)); /* parameters are read anew */
    dmq_sample_destroy(sample);
    dmq_sample_destroy(NULL);
    dmq_lanes_destroy(lanes);
    dmq_sampler_destroy(s);
    dmq_free(out);
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    dmq_sampler *s = sampler_of((dmq_sampler_config){ .steps = 2, .eta = 1 });
    dmq_real *out = reals(8 * PER);
    dmq_lanes *lanes = NULL;
    dmq_status st;
    long n = 0, step = 1;

    OK(dmq_lanes_create(&lanes, backend_of("ref"), 1));
    do {
        dmq_sample *sample = NULL;
        dmq_alloc_fail_at(n += step);
        st = dmq_sample_create(&sample, model, s, NULL, lanes);
        if (st == DMQ_OK)
            st = dmq_sample_run(sample, out, SEED, 0, 8, NULL, NULL);
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK || st == DMQ_ENOMEM);
        dmq_sample_destroy(sample);
    } while (st != DMQ_OK);
    dmq_lanes_destroy(lanes);
    dmq_sampler_destroy(s);
    dmq_free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_lanes_and_any_ranges_give_the_same_bits),
        cmocka_unit_test(the_images_are_those_of_the_recursion),
        cmocka_unit_test(who_watches_sees_every_step_and_changes_nothing),
        cmocka_unit_test(hooks_find_the_row_of_the_step),
        cmocka_unit_test(recorded_calls_are_replayed_to_the_same_bits),
        cmocka_unit_test(a_pass_in_either_order_and_any_number_is_the_same),
        cmocka_unit_test(a_signal_stops_and_a_nan_is_told),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
