/* The loop of AdaRound: schedule, gain over nearest, determinism, stop and resume, whole runs. */
#include "base/log.h"
#include "base/signal.h"
#include "quant_fixture.h"
#include "recon/run.h"

typedef struct setting {
    dmq_model *m;
    dmq_lanes *lanes;
    dmq_calib *calib;
    dmq_qmodel *q;
    dmq_cache *cache;
    dmq_block *b;
    dmq_recon_state *state;
    int train[64], held[64];
    dmq_recon_job job;
    dmq_recon_config config;
} setting;

static void set_up(setting *s, int lanes, const char *unit)
{
    int u;

    memset(s, 0, sizeof *s);
    s->m = fixture_model();
    s->lanes = fixture_lanes("cpu", lanes);
    s->calib = fixture_calib(s->m, s->lanes);
    s->q = fixture_qmodel(s->m, s->lanes, "tfmq", 3, 0);
    OK(dmq_cache_create(&s->cache, s->q, s->calib, s->lanes, &(dmq_cache_config){ 0 }));
    u = fixture_unit(s->m, unit);
    if (s->m->unit[u].kind != DMQ_UNIT_TEMPORAL)
        OK(dmq_cache_open(s->cache, u));
    OK(dmq_block_create(&s->b, s->q, s->calib, s->cache, s->lanes, u, 0));
    OK(dmq_recon_state_create(&s->state, s->b));
    s->job.n_train = dmq_calib_list(s->calib, DMQ_TRAIN, s->train);
    s->job.n_held_out = dmq_calib_list(s->calib, DMQ_HELD_OUT, s->held);
    s->job.train = s->train;
    s->job.held_out = s->held;
    s->job.unit = (uint64_t)u;
    s->job.tau = 1;
    dmq_recon_defaults(&s->config);
    s->config.iters = 300;
    s->config.batch = 16;
    s->config.lr = 0.02;
    s->config.seed = 5;
}

static void tear_down(setting *s)
{
    dmq_recon_state_destroy(s->state);
    dmq_block_destroy(s->b);
    dmq_cache_destroy(s->cache);
    dmq_qmodel_destroy(s->q);
    dmq_calib_destroy(s->calib);
    dmq_lanes_destroy(s->lanes);
    dmq_model_destroy(s->m);
}

/* qdiffusion.md 2.3 and 9, test 4. */
static void the_schedule_is_the_papers(void **state)
{
    static const struct {
        int c;
        double beta;
    } point[] = { { 4000, 20 }, { 8000, 15.5 }, { 12000, 11 }, { 16000, 6.5 }, { 20000, 2 } };
    dmq_recon_config c;
    int active;

    (void)state;
    dmq_recon_defaults(&c);
    assert_int_equal(c.iters, 20000);
    (void)dmq_recon_beta(&c, 3999, &active);
    assert_int_equal(active, 0);
    (void)dmq_recon_beta(&c, 1, &active);
    assert_int_equal(active, 0);
    for (size_t i = 0; i < sizeof point / sizeof *point; i++) {
        assert_true(fabs(dmq_recon_beta(&c, point[i].c, &active) - point[i].beta) < 1e-12);
        assert_int_equal(active, 1);
    }
}

static void held_out_loss_falls_well_below_nearest(void **state)
{
    setting s;
    dmq_recon_report r;

    (void)state;
    set_up(&s, 2, "down.0.block.0");
    OK(dmq_reconstruct(s.b, &s.config, &s.job, s.state, &r));
    assert_int_equal(r.iterations, 300);
    assert_false(r.not_better);
    assert_true(r.undecided < 0.2);
    if (r.nearest_held < 1.5 * r.final_held || r.nearest_train < 1.5 * r.final_train) {
        fail_msg("held-out %g -> %g, training %g -> %g", r.nearest_held, r.final_held,
                 r.nearest_train, r.final_train);
    }
    tear_down(&s);
}

static void the_temporal_unit_is_learned_on_its_outputs(void **state)
{
    setting s;
    dmq_recon_report r;

    (void)state;
    set_up(&s, 2, "temporal");
    assert_int_equal(s.b->problem.n_samples, 5);
    assert_int_equal(dmq_temporal_train(s.calib, dmq_cache_slots(s.cache, DMQ_OF_T), s.train), 30);
    for (int i = 0; i < 30; i++)
        assert_int_equal(s.train[i], i / 6);
    s.job.n_held_out = 0;
    OK(dmq_reconstruct(s.b, &s.config, &s.job, s.state, &r));
    assert_true(r.nearest_train > 2 * r.final_train);
    tear_down(&s);
}

static void weights_decide_what_is_learned(void **state)
{
    setting s;
    dmq_recon_report r;
    dmq_real logits[64], loss[2][64];
    double late[2] = { 0, 0 };

    (void)state;
    for (int heavy = 0; heavy < 2; heavy++) {
        set_up(&s, 2, "down.1.block.0");
        for (int i = 0; i < 30; i++)
            logits[i] = heavy && i >= 24 ? 4 : 0; /* the samples of the last slot */
        s.job.s = logits;
        OK(dmq_reconstruct(s.b, &s.config, &s.job, s.state, &r));
        OK(dmq_block_losses(s.b, s.train, 30, loss[heavy]));
        for (int i = 24; i < 30; i++)
            late[heavy] += (double)loss[heavy][i];
        tear_down(&s);
    }
    assert_true(late[1] < 0.9 * late[0]);

    /* equal logits are the uniform weights */
    for (int k = 0; k < 2; k++) {
        set_up(&s, 1, "down.1.block.0");
        for (int i = 0; i < 30; i++)
            logits[i] = (dmq_real)(1.0 / 32);
        s.job.s = k ? logits : NULL;
        s.config.iters = 20;
        OK(dmq_reconstruct(s.b, &s.config, &s.job, s.state, &r));
        OK(dmq_block_losses(s.b, s.train, 30, loss[k]));
        tear_down(&s);
    }
    for (int i = 0; i < 30; i++)
        assert_true(fabs((double)(loss[0][i] - loss[1][i])) < 1e-3 * fabs((double)loss[0][i]));
}

/* A checkpoint as a file would hold it. */
typedef struct stored {
    dmq_real *alpha, *m, *v;
    int iteration, calls, stop_at;
} stored;

static dmq_status store(void *context, const dmq_recon_state *s)
{
    stored *to = context;

    to->calls++;
    memcpy(to->alpha, s->alpha, s->n_theta * sizeof *s->alpha);
    memcpy(to->m, s->m, s->n_theta * sizeof *s->m);
    memcpy(to->v, s->v, s->n_theta * sizeof *s->v);
    to->iteration = s->iteration;
    if (to->calls == to->stop_at)
        dmq_stop_request(15);
    return DMQ_OK;
}

static void a_stopped_run_continues_to_the_same_bits(void **state)
{
    setting whole, part;
    dmq_recon_report r;
    stored file = { .stop_at = 2 };
    size_t n;

    (void)state;
    set_up(&whole, 2, "down.1.block.0");
    whole.config.iters = 60;
    n = whole.state->n_theta;
    OK(dmq_reconstruct(whole.b, &whole.config, &whole.job, whole.state, &r));

    file.alpha = calloc(3 * n, sizeof *file.alpha);
    file.m = file.alpha + n;
    file.v = file.m + n;
    set_up(&part, 3, "down.1.block.0"); /* other lanes, too */
    part.config = whole.config;
    part.config.checkpoint_every = 20;
    part.job.checkpoint = store;
    part.job.context = &file;
    assert_int_equal(dmq_reconstruct(part.b, &part.config, &part.job, part.state, &r), DMQ_ESTOP);
    dmq_stop_request(0);
    assert_int_equal(file.calls, 3); /* 20, 40, and again on stopping */
    assert_int_equal(file.iteration, 40);
    tear_down(&part);

    set_up(&part, 1, "down.1.block.0");
    part.config = whole.config;
    memcpy(part.state->alpha, file.alpha, n * sizeof *file.alpha);
    memcpy(part.state->m, file.m, n * sizeof *file.m);
    memcpy(part.state->v, file.v, n * sizeof *file.v);
    part.state->iteration = file.iteration;
    OK(dmq_reconstruct(part.b, &part.config, &part.job, part.state, &r));
    assert_memory_equal(whole.state->alpha, part.state->alpha, n * sizeof *file.alpha);
    assert_memory_equal(whole.q->w_quant, part.q->w_quant, whole.m->n_params * sizeof *file.alpha);
    free(file.alpha);
    tear_down(&whole);
    tear_down(&part);
}

static void nothing_is_allocated_inside_an_iteration(void **state)
{
    static const int iters[3] = {
        2, 2, 30
    }; /* the first one makes plans and memory of backend and queues */
    long calls[3];

    (void)state;
    for (int k = 0; k < 3; k++) {
        dmq_recon_report r;
        dmq_real logits[64] = { 0 };
        setting s;
        long before;

        set_up(&s, 1, "up.0.block.0");
        s.config.iters = iters[k];
        s.job.s = logits;
        before = dmq_alloc_count();
        OK(dmq_reconstruct(s.b, &s.config, &s.job, s.state, &r));
        calls[k] = dmq_alloc_count() - before;
        tear_down(&s);
    }
    assert_int_equal(calls[1], calls[2]);
}

static void what_is_not_better_is_told(void **state)
{
    setting s;
    dmq_recon_report r;
    long before;

    (void)state;
    set_up(&s, 2, "down.1.block.0");
    s.config.iters = 3;
    s.config.lr = 5; /* random rounding */
    before = dmq_log_warnings("not-better");
    OK(dmq_reconstruct(s.b, &s.config, &s.job, s.state, &r));
    assert_true(r.not_better);
    assert_int_equal(dmq_log_warnings("not-better"), before + 1);

    s.config.batch = 65;
    assert_int_equal(dmq_reconstruct(s.b, &s.config, &s.job, s.state, &r), DMQ_EINVAL);
    assert_non_null(strstr(dmq_message(), "recon.batch = 65: must be 1..64"));
    tear_down(&s);

    set_up(&s, 2, "down.1.block.0");
    s.state->alpha[3] = (dmq_real)NAN;
    assert_int_equal(dmq_reconstruct(s.b, &s.config, &s.job, s.state, &r), DMQ_EDIVERGE);
    tear_down(&s);
}

/* ------------------------------------------------------------------ whole runs */

/* Keeps codes of finished units, and stops after some. */
typedef struct keeper {
    dmq_qmodel *q;
    int finished[64], n_finished, stop_after, restored;
    int order[64];
} keeper;

static dmq_status restore(void *context, dmq_unit_work *work, dmq_unit_progress *progress)
{
    keeper *k = context;

    if (k->finished[work->unit]) {
        *progress = DMQ_UNIT_FINISHED; /* codes are still in q */
        k->restored++;
    }
    return DMQ_OK;
}

static dmq_status finished(void *context, const dmq_unit_work *work, const dmq_recon_report *report)
{
    keeper *k = context;

    (void)report;
    k->order[k->n_finished++] = work->unit;
    k->finished[work->unit] = 1;
    if (k->n_finished == k->stop_after)
        dmq_stop_request(15);
    return DMQ_OK;
}

static void run_whole(dmq_qmodel *q, const dmq_calib *calib, int lanes_count,
                      const dmq_recon_run_config *config, keeper *k, dmq_status expect)
{
    dmq_lanes *lanes = fixture_lanes("cpu", lanes_count);
    dmq_recon_hooks hooks = { .context = k, .restore = restore, .finished = finished };

    k->q = q;
    assert_int_equal(dmq_recon_run(q, calib, lanes, config, &hooks), expect);
    dmq_lanes_destroy(lanes);
}

static void whole_runs_are_deterministic_and_resume(void **state)
{
    dmq_model *m = fixture_model();
    dmq_lanes *lanes = fixture_lanes("cpu", 2);
    dmq_calib *calib = fixture_calib(m, lanes);
    dmq_recon_run_config config = { .order = DMQ_ORDER_EXECUTION };
    keeper k = { .stop_after = -1 }, p = { .stop_after = 4 };
    dmq_qmodel *a, *b;

    (void)state;
    dmq_recon_defaults(&config.recon);
    config.recon.iters = 8;
    config.recon.batch = 8;
    config.recon.lr = 0.05;
    a = fixture_qmodel(m, lanes, "tfmq", 4, 0);
    run_whole(a, calib, 1, &config, &k, DMQ_OK);
    assert_int_equal(k.order[0], 0);
    assert_true(dmq_recon_run_total(a, &config) == 8.0 * k.n_finished);
    for (int i = 1; i < k.n_finished; i++)
        assert_true(k.order[i] > k.order[i - 1]);
    for (int l = 0; l < m->n_layers; l++)
        assert_int_equal(a->layer[l].learned, a->layer[l].weight_bits > 0);

    b = fixture_qmodel(m, lanes, "tfmq", 4, 0);
    run_whole(b, calib, 3, &config, &p, DMQ_ESTOP);
    dmq_stop_request(0);
    p.stop_after = -1;
    config.cache.budget_bytes = 1.2e6; /* and recompute what is left */
    run_whole(b, calib, 2, &config, &p, DMQ_OK);
    assert_int_equal(p.restored, 4);
    assert_memory_equal(a->w_quant, b->w_quant, m->n_params * sizeof(dmq_real));
    dmq_qmodel_destroy(a);
    dmq_qmodel_destroy(b);
    dmq_calib_destroy(calib);
    dmq_lanes_destroy(lanes);
    dmq_model_destroy(m);
}

static void reference_order_takes_the_decoder_backwards(void **state)
{
    dmq_model *m = fixture_model();
    dmq_lanes *lanes = fixture_lanes("cpu", 2);
    dmq_calib *calib = fixture_calib(m, lanes);
    dmq_qmodel *q = fixture_qmodel(m, lanes, "tfmq", 4, 0);
    dmq_recon_run_config config = { .order = DMQ_ORDER_REFERENCE };
    keeper k = { .stop_after = -1 };
    int up0 = fixture_unit(m, "up.0.block.0"), up1 = fixture_unit(m, "up.1.block.0"), seen0 = 0;
    dmq_unit_order order;

    (void)state;
    dmq_recon_defaults(&config.recon);
    config.recon.iters = 2;
    config.recon.batch = 4;
    run_whole(q, calib, 2, &config, &k, DMQ_OK);
    assert_int_equal(k.order[0], 0);
    for (int i = 0; i < k.n_finished; i++) {
        if (k.order[i] == up0)
            seen0 = 1;
        if (k.order[i] == up1)
            assert_true(seen0);
    }
    OK(dmq_unit_order_parse(&order, "reference"));
    assert_int_equal(order, DMQ_ORDER_REFERENCE);
    assert_int_equal(dmq_unit_order_parse(&order, "random"), DMQ_EINVAL);
    dmq_qmodel_destroy(q);
    dmq_calib_destroy(calib);
    dmq_lanes_destroy(lanes);
    dmq_model_destroy(m);
}

static void running_out_of_memory_is_clean(void **state)
{
    dmq_model *m = fixture_model();
    dmq_lanes *lanes = fixture_lanes("cpu", 1);
    dmq_calib *calib = fixture_calib(m, lanes);
    dmq_recon_run_config config = { .order = DMQ_ORDER_EXECUTION };
    dmq_status st = DMQ_ENOMEM;

    (void)state;
    dmq_recon_defaults(&config.recon);
    config.recon.iters = 1;
    config.recon.batch = 4;
    for (long n = 1; st != DMQ_OK; n += 1 + n / 20) {
        dmq_qmodel *q = fixture_qmodel(m, lanes, "tfmq", 4, 0);

        dmq_alloc_fail_at(n);
        st = dmq_recon_run(q, calib, lanes, &config, NULL);
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK || st == DMQ_ENOMEM);
        dmq_qmodel_destroy(q);
    }
    dmq_calib_destroy(calib);
    dmq_lanes_destroy(lanes);
    dmq_model_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_schedule_is_the_papers),
        cmocka_unit_test(held_out_loss_falls_well_below_nearest),
        cmocka_unit_test(the_temporal_unit_is_learned_on_its_outputs),
        cmocka_unit_test(weights_decide_what_is_learned),
        cmocka_unit_test(a_stopped_run_continues_to_the_same_bits),
        cmocka_unit_test(nothing_is_allocated_inside_an_iteration),
        cmocka_unit_test(what_is_not_better_is_told),
        cmocka_unit_test(whole_runs_are_deterministic_and_resume),
        cmocka_unit_test(reference_order_takes_the_decoder_backwards),
        cmocka_unit_test(running_out_of_memory_is_clean),
    };
    dmq_log_verbosity_set(DMQ_QUIET);
    return cmocka_run_group_tests_name("reconstruct", tests, NULL, NULL);
}
