/* A block's gradients of single samples and its meta-iterations on a device, against the reference: what
   learning sample weights asks of a backend, all of it. */
#include "check.h"

#include "base/log.h"
#include "bilevel/learn.h"
#include "recon/reconstruct.h"
#include "unit/quant_fixture.h"

enum { FEW = 11, GROUPS = 2, MOST = 64 };

typedef struct setting {
    dmq_model *m;
    dmq_lanes *host, *lanes;
    dmq_calib *calib;
    dmq_qmodel *q;
    dmq_cache *cache;
    dmq_block *b;
    dmq_recon_state *state;
} setting;

static void set_up(setting *s, const dmq_backend *be, const char *unit)
{
    int u;

    s->m = fixture_model();
    s->host = fixture_lanes("ref", 1);
    OK(dmq_lanes_create(&s->lanes, be, 1));
    s->calib = fixture_calib(s->m, s->host);
    s->q = fixture_qmodel(s->m, s->host, "tfmq", 4, 0);
    OK(dmq_model_place(s->m, s->lanes));
    OK(dmq_qmodel_place(s->q, s->lanes));
    OK(dmq_cache_create(&s->cache, s->q, s->calib, s->lanes, &(dmq_cache_config){ 0 }));
    u = fixture_unit(s->m, unit);
    if (s->m->unit[u].kind != DMQ_UNIT_TEMPORAL)
        OK(dmq_cache_open(s->cache, u));
    OK(dmq_block_create(&s->b, s->q, s->calib, s->cache, s->lanes, u, 0));
    OK(dmq_recon_state_create(&s->state, s->b));
}

static void tear_down(setting *s)
{
    dmq_recon_state_destroy(s->state);
    dmq_block_destroy(s->b);
    dmq_cache_destroy(s->cache);
    dmq_qmodel_destroy(s->q);
    dmq_calib_destroy(s->calib);
    dmq_lanes_destroy(s->lanes);
    dmq_lanes_destroy(s->host);
    dmq_model_destroy(s->m);
}

/* The backend under test as a device is: memory apart, wide passes. */
static dmq_backend device(void)
{
    dmq_backend be = *check_device.backend;

    be.host_memory = 0;
    be.shard = 32;
    return be;
}

static double difference(const dmq_real *a, const dmq_real *b, size_t n)
{
    double off = 0, size = 0;

    for (size_t i = 0; i < n; i++) {
        off += pow((double)a[i] - (double)b[i], 2);
        size += pow((double)b[i], 2);
    }
    assert_true(size > 0);
    return sqrt(off / size);
}

static const char *const units[] = { "down.1.block.0", "mid.attn_1" };

/* J from one pass over all samples, and from a pass a sample on the reference. */
static void rows_of_one_pass(void **state)
{
    const dmq_backend be = device();
    static dmq_real loss[2][FEW];
    int sample[FEW];

    (void)state;
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        dmq_real *rows[2] = { NULL, NULL };
        size_t count = 0;

        for (int side = 0; side < 2; side++) {
            setting s;
            dmq_problem *p;
            dmq_real *jacobian;

            set_up(&s, side ? dmq_backend_ref() : &be, units[u]);
            p = &s.b->problem;
            count = FEW * p->n_theta;
            for (int i = 0; i < FEW; i++)
                sample[i] = (i * 17 + 3) % p->n_samples;
            rows[side] = check_reals(count);
            OK(dmq_space_alloc(&jacobian, p->space, count));
            OK(p->grad_each(p->context, s.state->alpha, sample, FEW, jacobian, loss[side]));
            OK(dmq_space_get(p->space, rows[side], jacobian, count * sizeof *jacobian));
            dmq_space_free(p->space, jacobian);
            tear_down(&s);
        }
        check_same("losses", loss[0], loss[1], FEW, 1e-5, 1e-5, 1);
        print_message("  %s: J off by %.1e\n", units[u], difference(rows[0], rows[1], count));
        assert_true(difference(rows[0], rows[1], count) < 1e-4);
        (void)check_release(NULL);
    }
}

static double memory_left;

static double memory_free(void)
{
    return memory_left;
}

/* Samples and weights of draws as their caller brings them: POINTS of them, 5 samples each. */
enum { POINTS = 4, EACH = 5 };

static dmq_draw draws_of(const check_on *on, const dmq_problem *p, int sample[POINTS * EACH],
                         dmq_real weight[POINTS * EACH])
{
    int places = p->places(p->context, EACH);
    size_t all = (size_t)(POINTS * places);
    int *index = check_bytes((size_t)p->index_rows * all, sizeof *index);
    dmq_real *padded = check_reals(all);

    for (int i = 0; i < POINTS * EACH; i++) {
        sample[i] = (i * 13 + 2) % p->n_samples;
        weight[i] = (dmq_real)(0.5 + 0.1 * (i % 7));
        padded[i / EACH * places + i % EACH] = weight[i];
    }
    for (int s = 0; s < POINTS; s++)
        p->index(p->context, index + s * places, all, sample + s * EACH, EACH, places);
    return (dmq_draw){ .index = check_up(on, index, (size_t)p->index_rows * all, sizeof *index),
                       .stride = all,
                       .sample = index,
                       .weight = check_up_real(on, padded, all),
                       .loss = check_room(on, NULL, all),
                       .n = EACH };
}

/* Points of theta, each with its own samples, by one pass; and one by one on the reference. */
static void gradients_at_points(void **state)
{
    static const char *const of[] = { "down.1.block.0", "mid.attn_1", "temporal" };
    dmq_backend be = device();

    (void)state;
    be.memory_free = NULL;
    for (size_t u = 0; u < sizeof of / sizeof *of; u++) {
        dmq_real *got = NULL, *want = NULL, *theta = NULL, *grad, *point;
        dmq_real weight[POINTS * EACH], loss[POINTS * EACH], first[64];
        int sample[POINTS * EACH], places;
        size_t n_theta, count;
        dmq_problem *p;
        dmq_draw draws;
        setting s;

        set_up(&s, &be, of[u]);
        p = &s.b->problem;
        n_theta = p->n_theta;
        count = POINTS * n_theta;
        theta = check_reals(count);
        got = check_reals(count);
        want = check_reals(count);
        for (size_t i = 0; i < count; i++)
            theta[i] = (dmq_real)fixture_normal(5, (uint32_t)i);
        draws = draws_of(&check_device, p, sample, weight);
        places = p->places(p->context, EACH);
        assert_int_equal(p->points(p->context, EACH, POINTS), POINTS);
        grad = check_room(&check_device, NULL, count);
        point = check_up_real(&check_device, theta, count);
        for (int again = 0; again < 2; again++) { /* what one leaves, the next does not see */
            OK(p->grad_points_of(p->context, point, &draws, POINTS, grad));
            OK(dmq_space_get(p->space, got, grad, count * sizeof *got)); /* it waits */
            OK(dmq_space_get(p->space, first, draws.loss, (size_t)places * sizeof *first));
            OK(p->grad(p->context, point, sample, NULL, EACH, grad, loss));
        }
        check_same("losses", first, loss, EACH, 1e-5, 1e-5, 1);
        tear_down(&s);

        set_up(&s, dmq_backend_ref(), of[u]);
        p = &s.b->problem;
        for (int i = 0; i < POINTS; i++) {
            OK(p->grad(p->context, theta + (size_t)i * n_theta, sample + i * EACH,
                       weight + i * EACH, EACH, want + (size_t)i * n_theta, NULL));
        }
        tear_down(&s);
        print_message("  %s: off by %.1e\n", of[u], difference(got, want, count));
        assert_true(difference(got, want, count) < 1e-4);
        (void)check_release(NULL);
    }
}

/* No more points than there is memory for, and one where a backend has no use of more. */
static void points_that_fit(void **state)
{
    dmq_backend be = device();
    int many, fewer;
    setting s;

    (void)state;
    be.memory_free = memory_free;
    memory_left = 1e12;
    set_up(&s, &be, units[0]);
    many = s.b->problem.points(s.b, EACH, 1000);
    assert_in_range(many, 16, 64);
    assert_int_equal(s.b->problem.points(s.b, 33, 1000), 1); /* more than a shard */
    for (memory_left = 1e3; (fewer = s.b->problem.points(s.b, EACH, 1000)) < many;
         memory_left *= 1.5)
        assert_in_range(fewer, 1, many);
    assert_true(memory_left > 6.0 * many * (double)s.b->problem.n_theta * sizeof(dmq_real));
    tear_down(&s);
    set_up(&s, dmq_backend_ref(), units[0]);
    assert_int_equal(s.b->problem.points(s.b, EACH, 1000), 1);
    tear_down(&s);
}

/* The exact loop of the three forms: as many steps, the same weights but for roundings. */
static void weights_of_a_device(void **state)
{
    const dmq_backend be = device();
    static const dmq_gm_form forms[] = { DMQ_GM_SURROGATE, DMQ_GM_SEQUENTIAL, DMQ_GM_ORIGINAL };

    (void)state;
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        dmq_real s_of[2][MOST] = { { 0 } };
        dmq_learn_log log[2];
        dmq_learn_config c;

        dmq_learn_defaults(&c);
        c.form = forms[f];
        c.mode = DMQ_EXACT;
        c.batch = 7;
        c.validation_batch = 3;
        c.visits = 0.5;
        c.ess_stop = 0;
        for (int side = 0; side < 2; side++) {
            int train[MOST], memory[GROUPS][MOST], n_train;
            dmq_groups groups = { .k = GROUPS };
            setting s;

            set_up(&s, side ? dmq_backend_ref() : &be, units[0]);
            n_train = dmq_calib_list(s.calib, DMQ_TRAIN, train);
            for (int t = 0; t < GROUPS; t++) {
                groups.sample[t] = memory[t];
                groups.count[t] = dmq_calib_group(s.calib, DMQ_VALIDATION, t, GROUPS, memory[t]);
            }
            OK(dmq_learn_weights(&s.b->problem, s.state->alpha, train, n_train, &groups, &c,
                                 s_of[side], &log[side]));
            for (int i = 0; i < n_train; i++)
                s_of[side][i] -= (dmq_real)(1.0 / 32); /* what was learned */
            tear_down(&s);
        }
        print_message("  form %d: off by %.1e after %d iterations\n", (int)forms[f],
                      difference(s_of[0], s_of[1], MOST), log[0].iterations);
        assert_int_equal(log[0].iterations, log[1].iterations);
        assert_true(difference(s_of[0], s_of[1], MOST) < 5e-2);
        assert_true(fabs(log[0].loss_mse - log[1].loss_mse) < 1e-4 * fabs(log[1].loss_mse));
        assert_true(fabs(log[0].group_cosine - log[1].group_cosine) < 1e-3);
        assert_true(fabs(log[0].rho - log[1].rho) < 5e-2 * log[1].rho);
        assert_true(fabs(log[0].cosine_mse_gm - log[1].cosine_mse_gm) < 5e-2);
        (void)check_release(NULL);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(rows_of_one_pass),
        CHECK_TEST(gradients_at_points),
        CHECK_TEST(points_that_fit),
        CHECK_TEST(weights_of_a_device),
    };

    dmq_log_verbosity_set(DMQ_QUIET);
    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
