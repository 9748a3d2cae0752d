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
        CHECK_TEST(weights_of_a_device),
    };

    dmq_log_verbosity_set(DMQ_QUIET);
    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
