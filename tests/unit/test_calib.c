/* Calibration sets: roles, trajectories, the batch plan, files. */
#include "calib/batch.h"
#include "calib/calib_file.h"
#include "calib/calib_inner.h"
#include "calib/slots.h"
#include "quant_fixture.h"
#include "recorder.h"

#include <unistd.h>

static char path[128];

static const char *scratch(void)
{
    snprintf(path, sizeof path, "/tmp/dmq-test-calib-%d.h5", (int)getpid());
    return path;
}

static dmq_calib *collect_on(const dmq_model *m, dmq_lanes *lanes, int fresh)
{
    dmq_calib_config config = { .per_timestep = 7,
                                .held_out = 2,
                                .interval = 2,
                                .validation = 0.15,
                                .seed = 3,
                                .fresh = fresh };
    dmq_sampler *s = fixture_sampler(10);
    dmq_calib *c = NULL;

    OK(dmq_calib_run(&c, m, s, &config, lanes));
    dmq_sampler_destroy(s);
    return c;
}

static dmq_calib *collect(const dmq_model *m, const char *backend, int lanes_count, int fresh)
{
    dmq_lanes *lanes = fixture_lanes(backend, lanes_count);
    dmq_calib *c = collect_on(m, lanes, fresh);

    dmq_lanes_destroy(lanes);
    return c;
}

/* A device records the first move of the network after it has made it once, and replays it for all others. */
static void a_recorded_collection_has_the_same_bits(void **state)
{
    const dmq_backend be = recorder();
    dmq_model *m[2] = { fixture_model(), fixture_model() };
    dmq_lanes *lanes = NULL;

    (void)state;
    OK(dmq_lanes_create(&lanes, &be, 1));
    OK(dmq_model_place(m[1], lanes));
    for (int fresh = 0; fresh < 2; fresh++) {
        dmq_calib *c[2] = { collect(m[0], "ref", 1, fresh) };
        size_t bytes = (size_t)c[0]->n_steps * (size_t)c[0]->per_step *
                       dmq_shape_count(c[0]->image) * sizeof *c[0]->x;

        recorded.launches = 0;
        c[1] = collect_on(m[1], lanes, fresh);
        /* two shards of nine trajectories, nine moves; afresh a shard of a step has as many as come before it */
        assert_int_equal(recorded.launches, (fresh ? 2 * 45 : 2 * 9) - 1);
        assert_int_equal(recorded.n, 0); /* given back */
        assert_memory_equal(c[1]->x, c[0]->x, bytes);
        dmq_calib_destroy(c[0]);
        dmq_calib_destroy(c[1]);
    }
    dmq_lanes_destroy(lanes);
    dmq_model_destroy(m[0]);
    dmq_model_destroy(m[1]);
}

/* 48 TiB. */
static void states_that_no_machine_holds_are_refused(void **state)
{
    const dmq_calib_config config = { .per_timestep = 1 << 20, .interval = 5 };
    dmq_calib *c = NULL;

    (void)state;
    assert_int_equal(dmq_calib_create(&c, &config, dmq_shape4(1, 64, 64, 3), 1000), DMQ_ENOMEM);
    assert_null(c);
    assert_non_null(strstr(dmq_message(), "1048576 states of 1000 steps take 48000.0 GiB"));
    assert_non_null(strstr(dmq_message(), "hint: a smaller calibrate.per_timestep"));
}

static void roles_are_alike_in_number_for_every_step(void **state)
{
    dmq_model *m = fixture_model();
    dmq_calib *c = collect(m, "ref", 2, 0);
    int list[64], n, seen = 0;

    (void)state;
    assert_int_equal(c->per_step, 9);
    assert_int_equal(c->n_weight_steps, 5);
    assert_int_equal(c->n, 45);
    for (int s = 0; s < 5; s++) {
        int count[3] = { 0 };

        assert_int_equal(c->weight_step[s], 2 * s);
        for (int j = 0; j < 9; j++)
            count[c->role[s * 9 + j]]++;
        assert_int_equal(count[DMQ_TRAIN], 6);
        assert_int_equal(count[DMQ_VALIDATION], 1);
        assert_int_equal(count[DMQ_HELD_OUT], 2);
        assert_int_equal(c->role[s * 9 + 7], DMQ_HELD_OUT);
        assert_int_equal(c->role[s * 9 + 8], DMQ_HELD_OUT);
    }
    n = dmq_calib_list(c, DMQ_TRAIN, list);
    assert_int_equal(n, 30);
    assert_int_equal(dmq_calib_list(c, DMQ_HELD_OUT, NULL), 10);
    /* groups: contiguous, disjoint, complete; 5 steps in 2 groups are 2 and 3 */
    for (int g = 0; g < 2; g++) {
        n = dmq_calib_group(c, DMQ_VALIDATION, g, 2, list);
        assert_int_equal(n, g == 0 ? 2 : 3);
        for (int i = 0; i < n; i++, seen++) {
            assert_int_equal(dmq_calib_slot(c, list[i]), seen);
            assert_int_equal(dmq_calib_step(c, list[i]), 2 * seen);
        }
    }
    dmq_calib_destroy(c);
    dmq_model_destroy(m);
}

/* One trajectory by hand: noise, network, update, in the plainest way. */
static void states_are_those_of_the_sampler(void **state)
{
    dmq_model *m = fixture_model();
    dmq_calib *c = collect(m, "ref", 2, 0), *f = collect(m, "ref", 2, 1);
    dmq_sampler *s = fixture_sampler(10);
    size_t per = dmq_shape_count(m->input);
    dmq_tape *tape = NULL;
    dmq_var *x, *t, *eps;
    uint64_t sample[2] = { 4, 9 * 3 + 4 }; /* shared: trajectory 4; fresh: state 4 of step 3 */

    (void)state;
    OK(dmq_tape_create(&tape, dmq_backend_ref(), DMQ_TAPE_FORWARD));
    x = dmq_tape_input(tape, "x", m->input);
    t = dmq_tape_input(tape, "t", dmq_shape1(1));
    eps = dmq_model_record(m, tape, NULL, x, t, NULL);
    dmq_tape_output(tape, eps);
    OK(dmq_tape_plan(tape));
    for (int which = 0; which < 2; which++) {
        OK(dmq_noise_normal_ref(NULL, &(dmq_noise_args){ .out = x->value,
                                                         .n = 1,
                                                         .per = per,
                                                         .seed = 3,
                                                         .purpose = DMQ_FOR_CALIB,
                                                         .sample = &sample[which],
                                                         .channels = 3 }));
        for (int k = 0; k <= 3; k++) {
            const dmq_sampler_step *p = &s->step[k];

            if (which == 0 || k == 3) {
                for (size_t i = 0; i < per; i++) {
                    assert_true(fabs((double)(dmq_calib_state(which ? f : c, k, 4)[i] -
                                              x->value[i])) < 2e-4);
                }
            }
            t->value[0] = (dmq_real)p->t;
            assert_true(c->t[k] == (dmq_real)p->t);
            OK(dmq_tape_forward(tape, NULL, DMQ_PART_ALL));
            for (size_t i = 0; i < per; i++) {
                double v = (double)x->value[i], e = (double)eps->value[i];
                double x0 = (v - sqrt(1 - p->a) * e) / sqrt(p->a);

                x0 = x0 < -1 ? -1 : x0 > 1 ? 1 : x0;
                x->value[i] = (dmq_real)(sqrt(p->a_next) * x0 +
                                         p->d * (v - sqrt(p->a) * x0) / sqrt(1 - p->a));
            }
        }
    }
    /* the weight set is a view of it */
    assert_ptr_equal(dmq_calib_x(c, 9 * 2 + 5), dmq_calib_state(c, 4, 5));
    dmq_tape_destroy(tape);
    dmq_sampler_destroy(s);
    dmq_calib_destroy(c);
    dmq_calib_destroy(f);
    dmq_model_destroy(m);
}

static void lanes_do_not_change_a_bit(void **state)
{
    static const char *const backend[] = { "ref", "cpu" };
    dmq_model *m = fixture_model();

    (void)state;
    for (int b = 0; b < 2; b++) {
        dmq_calib *one = collect(m, backend[b], 1, b), *three = collect(m, backend[b], 3, b);

        assert_memory_equal(one->x, three->x,
                            10 * 9 * dmq_shape_count(m->input) * sizeof(dmq_real));
        assert_memory_equal(one->role, three->role, 45);
        dmq_calib_destroy(one);
        dmq_calib_destroy(three);
    }
    dmq_model_destroy(m);
}

static void batches_hold_no_sample_twice_and_all_are_drawn(void **state)
{
    int from[40], out[32], again[32], hits[40] = { 0 };

    (void)state;
    for (int i = 0; i < 40; i++)
        from[i] = 100 + i;
    for (int c = 1; c <= 500; c++) {
        int seen[40] = { 0 };

        dmq_batch_draw(out, 32, from, 40, 1, 2, (uint32_t)c);
        dmq_batch_draw(again, 32, from, 40, 1, 2, (uint32_t)c);
        assert_memory_equal(out, again, sizeof out);
        for (int i = 0; i < 32; i++) {
            assert_in_range(out[i], 100, 139);
            assert_false(seen[out[i] - 100]++);
            hits[out[i] - 100]++;
        }
    }
    for (int i = 0; i < 40; i++) /* 400 expected, sd 9 */
        assert_in_range(hits[i], 350, 450);
    dmq_batch_draw(again, 32, from, 40, 1, 3, 500);
    assert_memory_not_equal(out, again, sizeof out);
}

static void files_hold_the_set_and_refuse_others(void **state)
{
    dmq_model *m = fixture_model();
    dmq_calib *c = collect(m, "ref", 2, 0), *back = NULL;
    dmq_sampler *same = fixture_sampler(10), *other = fixture_sampler(9);
    FILE *file;
    long size;

    (void)state;
    OK(dmq_calib_save(c, scratch()));
    OK(dmq_calib_load(&back, path));
    assert_int_equal(back->n, c->n);
    assert_int_equal(back->config.seed, 3);
    assert_int_equal(back->config.held_out, 2);
    assert_string_equal(back->sampler, "ddim, 10 steps, quad, eta 0, clip");
    assert_memory_equal(back->t, c->t, 10 * sizeof *c->t);
    assert_memory_equal(back->role, c->role, (size_t)c->n);
    for (size_t i = 0; i < 90 * dmq_shape_count(m->input); i++)
        assert_true(back->x[i] == (dmq_real)(float)c->x[i]);
    OK(dmq_calib_fits(back, m, same));
    assert_int_equal(dmq_calib_fits(back, m, other), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "another sampler: \"ddim, 10 steps"));
    m->params[m->entry[0].offset] += 1;
    assert_int_equal(dmq_calib_fits(back, m, same), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "another model"));
    dmq_calib_destroy(back);

    file = fopen(path, "r+b");
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    assert_int_equal(ftruncate(fileno(file), size / 2), 0);
    fclose(file);
    assert_int_equal(dmq_calib_load(&back, path), DMQ_EDATA);
    remove(path);
    assert_int_equal(dmq_calib_load(&back, path), DMQ_ENOINPUT);
    dmq_sampler_destroy(same);
    dmq_sampler_destroy(other);
    dmq_calib_destroy(c);
    dmq_model_destroy(m);
}

/* A set for a solver that calls the network within a step, at times that are fractions. */
static void every_call_of_a_solver_has_its_states(void **state)
{
    dmq_calib_config config = { .per_timestep = 3, .interval = 2, .validation = 0.15, .seed = 3 };
    dmq_sampler_config two = { DMQ_DPM_SOLVER, .steps = 5, .solver = DMQ_SOLVER_2S }, three = two;
    dmq_model *m = fixture_model();
    dmq_lanes *lanes = fixture_lanes("ref", 1);
    dmq_schedule *schedule = NULL;
    dmq_sampler *s = NULL, *other = NULL;
    dmq_calib *c = NULL, *back = NULL;
    int fractions = 0;

    (void)state;
    three.solver = DMQ_SOLVER_3S;
    OK(dmq_schedule_create(&schedule, 1000, 1e-4, 0.02));
    OK(dmq_sampler_create(&s, schedule, &two));
    OK(dmq_sampler_create(&other, schedule, &three));
    OK(dmq_calib_run(&c, m, s, &config, lanes));
    assert_int_equal(c->n_steps, 5);
    assert_int_equal(c->n, 9);
    OK(dmq_calib_save(c, scratch()));
    OK(dmq_calib_load(&back, path));
    for (int k = 0; k < 5; k++) {
        assert_true(c->t[k] == (dmq_real)s->step[k].t && back->t[k] == c->t[k]);
        fractions += c->t[k] != dmq_rint(c->t[k]);
        assert_true(k == 0 || c->t[k] < c->t[k - 1]);
    }
    assert_true(fractions >= 3);
    OK(dmq_calib_fits(back, m, s));
    assert_int_equal(dmq_calib_fits(back, m, other), DMQ_EDATA);
    remove(path);
    dmq_calib_destroy(c);
    dmq_calib_destroy(back);
    dmq_sampler_destroy(s);
    dmq_sampler_destroy(other);
    dmq_schedule_destroy(schedule);
    dmq_lanes_destroy(lanes);
    dmq_model_destroy(m);
}

static void settings_that_cannot_be_are_named(void **state)
{
    dmq_sampler *s = fixture_sampler(10);
    dmq_calib_config c;

    (void)state;
    dmq_calib_defaults(&c);
    assert_int_equal(c.per_timestep, 256);
    OK(dmq_calib_check(&c, s));
    c.interval = 11;
    assert_int_equal(dmq_calib_check(&c, s), DMQ_EINVAL);
    assert_non_null(strstr(dmq_message(), "interval = 11: must be 1..10"));
    c.interval = 5;
    c.per_timestep = 1;
    assert_int_equal(dmq_calib_check(&c, s), DMQ_EINVAL);
    assert_non_null(strstr(dmq_message(), "none is left"));
    c.validation = 0;
    OK(dmq_calib_check(&c, s));
    c.held_out = -1;
    assert_int_equal(dmq_calib_check(&c, s), DMQ_EINVAL);
    dmq_sampler_destroy(s);
}

/* The n-th allocation fails, for every n: collecting, saving, loading. */
static void running_out_of_memory_is_clean(void **state)
{
    dmq_model *m = fixture_model();
    dmq_lanes *lanes = fixture_lanes("cpu", 1);
    dmq_sampler *s = fixture_sampler(3);
    dmq_calib_config config = { .per_timestep = 3, .interval = 1, .validation = 0.3 };
    dmq_status st = DMQ_ENOMEM;

    (void)state;
    for (long n = 1; st != DMQ_OK; n++) {
        dmq_calib *c = NULL, *back = NULL;

        dmq_alloc_fail_at(n);
        st = dmq_calib_run(&c, m, s, &config, lanes);
        if (st == DMQ_OK)
            st = dmq_calib_save(c, scratch());
        if (st == DMQ_OK)
            st = dmq_calib_load(&back, path);
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK || st == DMQ_ENOMEM);
        dmq_calib_destroy(c);
        dmq_calib_destroy(back);
    }
    remove(path);
    dmq_sampler_destroy(s);
    dmq_lanes_destroy(lanes);
    dmq_model_destroy(m);
}

/* 45 samples of 5 steps, 9 each, with labels 5, 3, 5, 3, ... at the first step, 7 and 8 at the others. */
static void slots_are_the_distinct_steps_and_labels(void **state)
{
    dmq_lanes *lanes = fixture_lanes("ref", 1);
    dmq_model *m = fixture_model();
    dmq_calib *c = fixture_calib(m, lanes);
    dmq_slots *of_t = NULL, *of_label = NULL, *of_both = NULL;
    static const int labels[] = { 3, 5, 7, 8 };

    (void)state;
    assert_null(c->label);
    OK(dmq_slots_create(&of_both, c, DMQ_OF_T | DMQ_OF_LABEL));
    assert_int_equal(of_both->n, c->n_weight_steps); /* without labels the step alone tells */
    dmq_slots_destroy(of_both);
    OK(dmq_calib_labels(c));
    for (int k = 0; k < c->n_steps; k++) {
        for (int j = 0; j < c->per_step; j++)
            c->label[k * c->per_step + j] = k == 0 ? 5 - 2 * (j % 2) : 7 + j % 2;
    }
    OK(dmq_slots_create(&of_t, c, DMQ_OF_T));
    OK(dmq_slots_create(&of_label, c, DMQ_OF_LABEL));
    OK(dmq_slots_create(&of_both, c, DMQ_OF_T | DMQ_OF_LABEL));
    assert_int_equal(of_t->n, 5);
    assert_int_equal(of_label->n, 4);
    assert_int_equal(of_both->n, 10);
    for (int i = 0; i < 4; i++)
        assert_int_equal(of_label->label[i], labels[i]);
    for (int i = 0; i < c->n; i++) {
        int k = dmq_calib_step(c, i), label = dmq_calib_label(c, k, i % c->per_step);

        assert_int_equal(of_t->of[i], dmq_calib_slot(c, i));
        assert_int_equal(of_t->step[of_t->of[i]], k);
        assert_int_equal(of_label->label[of_label->of[i]], label);
        assert_int_equal(of_both->step[of_both->of[i]], k);
        assert_int_equal(of_both->label[of_both->of[i]], label);
    }
    dmq_slots_destroy(of_t);
    dmq_slots_destroy(of_label);
    dmq_slots_destroy(of_both);
    dmq_calib_destroy(c);
    dmq_model_destroy(m);
    dmq_lanes_destroy(lanes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_that_no_machine_holds_are_refused),
        cmocka_unit_test(a_recorded_collection_has_the_same_bits),
        cmocka_unit_test(roles_are_alike_in_number_for_every_step),
        cmocka_unit_test(states_are_those_of_the_sampler),
        cmocka_unit_test(lanes_do_not_change_a_bit),
        cmocka_unit_test(batches_hold_no_sample_twice_and_all_are_drawn),
        cmocka_unit_test(slots_are_the_distinct_steps_and_labels),
        cmocka_unit_test(files_hold_the_set_and_refuse_others),
        cmocka_unit_test(every_call_of_a_solver_has_its_states),
        cmocka_unit_test(settings_that_cannot_be_are_named),
        cmocka_unit_test(running_out_of_memory_is_clean),
    };
    return cmocka_run_group_tests_name("calib", tests, NULL, NULL);
}
