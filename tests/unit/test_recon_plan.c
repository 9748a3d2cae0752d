/* Iterations planned and run by the device: one by one, as a plan, and recorded once and replayed, they
   give the same bits. */
#include "base/log.h"
#include "quant_fixture.h"
#include "recon/reconstruct.h"
#include "recorder.h"

enum { BATCH = 11, ROWS = 9 };

/* ------------------------------------------------------------------ a block on a backend */

typedef struct setting {
    dmq_model *m;
    dmq_lanes *host, *lanes;
    dmq_calib *calib;
    dmq_qmodel *q;
    dmq_cache *cache;
    dmq_block *b;
    dmq_recon_state *state;
} setting;

/* Where rows are kept; by default on the device. */
static dmq_cache_config tiers;

static void set_up(setting *s, const dmq_backend *be, int lanes, const char *unit)
{
    int u;

    s->m = fixture_model();
    s->host = fixture_lanes("ref", 1);
    OK(dmq_lanes_create(&s->lanes, be, lanes));
    s->calib = fixture_calib(s->m, s->host);
    s->q = fixture_qmodel(s->m, s->host, "tfmq", 4, 0);
    OK(dmq_model_place(s->m, s->lanes));
    OK(dmq_qmodel_place(s->q, s->lanes));
    OK(dmq_cache_create(&s->cache, s->q, s->calib, s->lanes, &tiers));
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

/* Batches, weights and numbers of the optimizer: all of them change from row to row. */
typedef struct script {
    int sample[ROWS * BATCH];
    dmq_real weight[ROWS * BATCH];
    dmq_step_scalars scalars[ROWS];
} script;

static double reg_weight(int row)
{
    return row < 2 ? 0 : 0.01 * row;
}

static double reg_beta(int row)
{
    return 20 - row;
}

static void write_script(script *k)
{
    for (int i = 0; i < ROWS * BATCH; i++) {
        k->sample[i] = (i * 7 + i / BATCH) % 45;
        k->weight[i] = (dmq_real)(0.02 + 0.01 * (i % 13));
    }
    for (int r = 0; r < ROWS; r++) {
        k->scalars[r].adam =
            dmq_adam_begin((dmq_real)0.02, (dmq_real)0.9, (dmq_real)0.999, (dmq_real)1e-8, r + 1);
        k->scalars[r].reg_weight = (dmq_real)reg_weight(r);
        k->scalars[r].reg_beta = (dmq_real)reg_beta(r);
    }
}

/* alpha, m and v after all rows, and their losses. */
typedef struct outcome {
    dmq_real *state;
    size_t n_theta;
    dmq_real loss[ROWS * BATCH];
} outcome;

static void take(outcome *out, const setting *s)
{
    out->n_theta = s->state->n_theta;
    out->state = malloc(3 * out->n_theta * sizeof *out->state);
    assert_non_null(out->state);
    OK(dmq_recon_state_get(out->state, s->state));
}

static void same(const outcome *a, const outcome *b)
{
    assert_int_equal(a->n_theta, b->n_theta);
    assert_memory_equal(a->state, b->state, 3 * a->n_theta * sizeof *a->state);
    assert_memory_equal(a->loss, b->loss, sizeof a->loss);
}

static void one_by_one_on(outcome *out, const script *k, const dmq_backend *be, int lanes)
{
    setting s;

    set_up(&s, be, lanes, "down.1.block.0");
    OK(dmq_block_soften(s.b, s.state->alpha));
    for (int r = 0; r < ROWS; r++) {
        OK(dmq_block_iterate(s.b, k->sample + r * BATCH, k->weight + r * BATCH, BATCH,
                             &(dmq_block_step){ .alpha = s.state->alpha,
                                                .m = s.state->m,
                                                .v = s.state->v,
                                                .lr = 0.02,
                                                .beta1 = 0.9,
                                                .beta2 = 0.999,
                                                .eps = 1e-8,
                                                .reg_weight = reg_weight(r),
                                                .reg_beta = reg_beta(r),
                                                .step = r + 1 },
                             out->loss + r * BATCH));
    }
    take(out, &s);
    tear_down(&s);
}

static void one_by_one(outcome *out, const script *k, int lanes)
{
    one_by_one_on(out, k, dmq_backend_ref(), lanes);
}

/* Two plans, of five rows and of the others, losses fetched at the end of each. */
static void planned(outcome *out, const script *k, const dmq_backend *be, int lanes)
{
    enum { FIRST = 5 };
    static const int look_at[20] = {
        3, 1, 4, 1, 5, 9, 2, 6, 5, 35, 8, 9, 7, 9, 3, 2, 38, 4, 6, 44
    };
    dmq_real loss[20];
    setting s;

    set_up(&s, be, lanes, "down.1.block.0");
    OK(dmq_block_soften(s.b, s.state->alpha));
    for (int from = 0; from < ROWS; from += FIRST) {
        int rows = ROWS - from < FIRST ? ROWS - from : FIRST;

        OK(dmq_block_plan_set(s.b, &(dmq_block_plan){ .rows = rows,
                                                      .n = BATCH,
                                                      .sample = k->sample + from * BATCH,
                                                      .weight = k->weight + from * BATCH,
                                                      .scalars = k->scalars + from,
                                                      .alpha = s.state->alpha,
                                                      .m = s.state->m,
                                                      .v = s.state->v }));
        OK(dmq_block_run(s.b, rows - 1));
        OK(dmq_block_losses(s.b, look_at, 20, loss)); /* changes nothing */
        OK(dmq_block_run(s.b, 1));
        OK(dmq_block_plan_losses(s.b, 0, rows, out->loss + from * BATCH));
    }
    take(out, &s);
    tear_down(&s);
}

static void plans_are_iterations(void **state)
{
    static script k;
    static outcome direct, plan, check, replay;
    dmq_backend be = recorder();

    (void)state;
    write_script(&k);
    one_by_one(&direct, &k, 1);
    planned(&plan, &k, dmq_backend_ref(), 3);
    same(&direct, &plan);
    planned(&check, &k, dmq_backend_check(), 1);
    same(&direct, &check);
    recorded.launches = 0;
    planned(&replay, &k, &be, 1);
    same(&direct, &replay);
    /* the first one runs as it is; all others are replayed from one recording, over both plans */
    assert_int_equal(recorded.launches, ROWS - 1);
    assert_int_equal(recorded.n, 0); /* destroyed with the block */
    free(direct.state);
    free(plan.state);
    free(check.state);
    free(replay.state);
}

/* Rows that are brought ahead from host memory or the disk; another call inside a plan. */
static void brought_rows_are_the_same(void **state)
{
    static script k;
    static outcome direct, brought;
    dmq_backend be = recorder();
    const struct {
        const dmq_backend *be;
        int lanes;
        double host, disk;
    } arm[] = { { dmq_backend_ref(), 3, 0, 1e9 },
                { dmq_backend_check(), 1, 1e9, 0 },
                { &be, 1, 1e6, 1e9 },
                { &be, 1, 0, 1e9 } };

    (void)state;
    write_script(&k);
    tiers = (dmq_cache_config){ 0 };
    one_by_one(&direct, &k, 1);
    for (size_t i = 0; i < sizeof arm / sizeof *arm; i++) {
        tiers = (dmq_cache_config){ .budget_bytes = 1,
                                    .host_bytes = arm[i].host,
                                    .disk_bytes = arm[i].disk };
        recorded.launches = 0;
        planned(&brought, &k, arm[i].be, arm[i].lanes);
        same(&direct, &brought);
        assert_int_equal(recorded.launches, arm[i].be == &be ? ROWS - 1 : 0);
        free(brought.state);
    }
    one_by_one_on(&brought, &k, dmq_backend_ref(), 2);
    same(&direct, &brought);
    free(brought.state);
    tiers = (dmq_cache_config){ 0 };
    free(direct.state);
}

/* With other addresses or another number of samples, the recording is of no use any more. */
static void a_recording_is_dropped_in_time(void **state)
{
    static script k;
    dmq_backend be = recorder();
    dmq_real *other = NULL, loss[ROWS * BATCH];
    dmq_block_plan plan = { .rows = 3, .n = BATCH, .sample = k.sample, .scalars = k.scalars };
    setting s;

    (void)state;
    write_script(&k);
    set_up(&s, &be, 1, "mid.attn_1");
    OK(dmq_block_soften(s.b, s.state->alpha));
    plan.alpha = s.state->alpha;
    plan.m = s.state->m;
    plan.v = s.state->v;
    recorded.launches = 0;
    OK(dmq_block_plan_set(s.b, &plan));
    OK(dmq_block_run(s.b, 3));
    assert_int_equal(recorded.launches, 2);
    OK(dmq_space_alloc(&other, dmq_block_space(s.b), s.state->n_theta));
    OK(dmq_space_fill(dmq_block_space(s.b), other, 0, s.state->n_theta));
    plan.m = other;
    OK(dmq_block_plan_set(s.b, &plan));
    assert_int_equal(recorded.n, 0);
    OK(dmq_block_run(s.b, 2));
    assert_int_equal(recorded.launches, 3);
    plan.n = BATCH - 1; /* as many places, but another padding */
    OK(dmq_block_plan_set(s.b, &plan));
    OK(dmq_block_run(s.b, 1));
    assert_int_equal(recorded.launches, 3);
    OK(dmq_block_plan_losses(s.b, 0, 1, loss));
    dmq_space_free(dmq_block_space(s.b), other);
    tear_down(&s);
}

/* A call is a launch or more of a device, where small blocks are nothing but launches: these numbers may not grow. */
static void an_iteration_is_few_calls(void **state)
{
    static const struct {
        const char *unit;
        int calls;
    } few[] = { { "down.0.block.0", 11 },
                { "up.0.block.0", 11 }, /* whose shortcut is a convolution in full precision */
                { "mid.attn_1", 21 } };
    static script k;
    dmq_backend be = recorder();

    (void)state;
    write_script(&k);
    be.shard = 32; /* as a device's: a batch is one shard */
    for (size_t i = 0; i < sizeof few / sizeof *few; i++) {
        setting s;
        dmq_block_plan plan = { .rows = 2, .n = BATCH, .sample = k.sample, .scalars = k.scalars };

        set_up(&s, &be, 1, few[i].unit);
        OK(dmq_block_soften(s.b, s.state->alpha));
        plan.alpha = s.state->alpha;
        plan.m = s.state->m;
        plan.v = s.state->v;
        OK(dmq_block_plan_set(s.b, &plan));
        OK(dmq_block_run(s.b, 2));
        if (recorded.n != few[i].calls)
            fail_msg("%s: an iteration is %d calls, must be %d", few[i].unit, recorded.n,
                     few[i].calls);
        tear_down(&s);
    }
}

/* The whole loop, with its checkpoints, on what replays and on the host. */
static void reconstruction_replays(void **state)
{
    dmq_backend be = recorder();
    const dmq_backend *on[] = { dmq_backend_ref(), &be };
    dmq_recon_report report[2];
    dmq_real *w[2];
    size_t n = 0;

    (void)state;
    for (int i = 0; i < 2; i++) {
        setting s;
        int train[64];
        dmq_recon_job job = { .train = train, .tau = 1 };
        dmq_recon_config config;

        if (i == 1) /* and from the disk */
            tiers = (dmq_cache_config){ .budget_bytes = 1, .disk_bytes = 1e9 };
        set_up(&s, on[i], 1, "down.1.block.0");
        job.n_train = dmq_calib_list(s.calib, DMQ_TRAIN, train);
        dmq_recon_defaults(&config);
        config.iters = 25;
        config.batch = BATCH;
        config.lr = 0.02;
        config.checkpoint_every = 10;
        recorded.launches = 0;
        tiers = (dmq_cache_config){ 0 };
        OK(dmq_reconstruct(s.b, &config, &job, s.state, &report[i]));
        assert_int_equal(recorded.launches, i ? 24 : 0);
        report[i].seconds = 0;
        n = s.m->n_params;
        w[i] = malloc(n * sizeof *w[i]);
        assert_non_null(w[i]);
        memcpy(w[i], s.q->w_quant, n * sizeof *w[i]);
        tear_down(&s);
    }
    assert_memory_equal(&report[0], &report[1], sizeof *report);
    assert_memory_equal(w[0], w[1], n * sizeof *w[0]);
    free(w[0]);
    free(w[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_are_iterations),
        cmocka_unit_test(brought_rows_are_the_same),
        cmocka_unit_test(a_recording_is_dropped_in_time),
        cmocka_unit_test(an_iteration_is_few_calls),
        cmocka_unit_test(reconstruction_replays),
    };
    dmq_log_verbosity_set(DMQ_QUIET);
    return cmocka_run_group_tests_name("recon_plan", tests, NULL, NULL);
}
