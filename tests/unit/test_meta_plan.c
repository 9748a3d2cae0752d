/* Meta-iterations that the device runs by itself: one by one, in plans, and recorded once and replayed, they
   give the same bits, of all forms and with J and without. */
#include "base/log.h"
#include "bilevel/learn.h"
#include "quant_fixture.h"
#include "recon/reconstruct.h"
#include "recorder.h"

enum { GROUPS = 3, MOST = 64 };

typedef struct setting {
    dmq_model *m;
    dmq_lanes *host, *lanes;
    dmq_calib *calib;
    dmq_qmodel *q;
    dmq_cache *cache;
    dmq_block *b;
    dmq_recon_state *state;
    int train[MOST], n_train, memory[GROUPS][MOST];
    dmq_groups groups;
} setting;

static void set_up(setting *s, const dmq_backend *be, const char *unit)
{
    int u;

    *s = (setting){ .m = fixture_model(), .host = fixture_lanes("ref", 1) };
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
    s->n_train = dmq_calib_list(s->calib, DMQ_TRAIN, s->train);
    s->groups.k = GROUPS;
    for (int t = 0; t < GROUPS;
         t++) { /* what is left of training takes the validation samples' place */
        s->groups.sample[t] = s->memory[t];
        s->groups.count[t] = dmq_calib_group(s->calib, DMQ_TRAIN, t, GROUPS, s->memory[t]);
    }
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

typedef struct outcome {
    dmq_real s[MOST];
    dmq_learn_log log;
} outcome;

static dmq_learn_config settings(dmq_gm_form form, int matrix_free)
{
    dmq_learn_config c;

    dmq_learn_defaults(&c);
    c.form = form;
    c.mode = DMQ_EXACT;
    c.matrix_free = matrix_free;
    c.normalize = form == DMQ_GM_ORIGINAL;
    c.batch = 11;
    c.validation_batch = 5;
    c.visits = 3.6;
    c.ess_stop = 0;
    c.seed = 9;
    return c;
}

static void learn_on(outcome *out, const dmq_backend *be, const char *unit,
                     const dmq_learn_config *c)
{
    setting s;

    memset(out, 0, sizeof *out);
    set_up(&s, be, unit);
    OK(dmq_learn_weights(&s.b->problem, s.state->alpha, s.train, s.n_train, &s.groups, c, out->s,
                         &out->log));
    out->log.seconds = 0;
    tear_down(&s);
}

static void same(const outcome *a, const outcome *b)
{
    assert_memory_equal(a->s, b->s, sizeof a->s);
    assert_memory_equal(&a->log, &b->log, sizeof a->log);
}

static double spread(const dmq_real *s, const dmq_real *from)
{
    double sum = 0;

    for (int i = 0; i < MOST; i++)
        sum += pow((double)s[i] - (from ? (double)from[i] : 1.0 / 32), 2);
    return sqrt(sum);
}

/* The recorder without its recordings, and with the shards of a device or of a host. */
static dmq_backend plain(int shard)
{
    dmq_backend be = recorder();

    be.shard = shard;
    be.capture_begin = NULL;
    be.capture_end = NULL;
    be.graph_launch = NULL;
    be.graph_destroy = NULL;
    return be;
}

static void a_recording_is_its_iteration(void **state)
{
    static const struct {
        dmq_gm_form form;
        int matrix_free;
        const char *unit;
    } ways[] = {
        { DMQ_GM_SURROGATE, 0, "down.1.block.0" },
        { DMQ_GM_SEQUENTIAL, 1, "mid.attn_1" },
        { DMQ_GM_ORIGINAL, 0, "mid.attn_1" },
    };
    static outcome eager, replayed, host, apart;

    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        dmq_learn_config c = settings(ways[i].form, ways[i].matrix_free);
        dmq_backend wide = plain(32), be = recorder();

        be.shard = 32;
        recorded.launches = 0;
        learn_on(&eager, &wide, ways[i].unit, &c);
        assert_int_equal(recorded.launches, 0);
        learn_on(&replayed, &be, ways[i].unit, &c);
        /* the first one runs as it is; all others are replays of one recording */
        assert_int_equal(recorded.launches, replayed.log.iterations - 1);
        assert_true(replayed.log.iterations > DMQ_LOGITS_FREEZE);
        assert_int_equal(recorded.n, 0); /* destroyed with the plan */
        same(&eager, &replayed);

        if (i > 0)
            continue;
        learn_on(&host, dmq_backend_ref(), ways[i].unit, &c);
        learn_on(&apart, dmq_backend_check(), ways[i].unit, &c);
        same(&host, &apart);
        /* gradients in other runs of samples: other roundings */
        assert_true(spread(host.s, NULL) > 0.1);
        assert_true(spread(eager.s, host.s) < 2e-2 * spread(host.s, NULL));
    }
}

/* Stopped in the middle of a plan: as if there had been no iterations behind it. */
static void a_stop_is_the_same_in_a_plan(void **state)
{
    dmq_learn_config c = settings(DMQ_GM_SURROGATE, 0);
    dmq_backend be = recorder(), one = plain(32);
    static outcome planned, all;

    (void)state;
    be.shard = 32;
    learn_on(&all, &one, "down.1.block.0", &c);
    c.ess_stop = 1 - (1 - all.log.ess) * 0.5;
    learn_on(&planned, &be, "down.1.block.0", &c);
    assert_int_equal(planned.log.stopped_by_ess, 1);
    assert_in_range(planned.log.iterations, 2, all.log.iterations - 1);
    assert_true(planned.log.ess >= c.ess_stop);
    one.host_memory = 1; /* a plan for each iteration */
    learn_on(&all, &one, "down.1.block.0", &c);
    assert_int_equal(all.log.iterations, planned.log.iterations);
}

/* What a meta-iteration asks of a device: each call is a launch or more, and on small blocks all that counts. */
static void few_launches(void **state)
{
    static const struct {
        dmq_gm_form form;
        int normalize, matrix_free, most;
    } ways[] = {
        { DMQ_GM_SURROGATE, 0, 0, 53 },  { DMQ_GM_SURROGATE, 1, 0, 54 },
        { DMQ_GM_SURROGATE, 1, 1, 151 }, { DMQ_GM_SEQUENTIAL, 0, 0, 67 },
        { DMQ_GM_ORIGINAL, 0, 0, 53 },
    };
    static outcome out;

    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        dmq_learn_config c = settings(ways[i].form, ways[i].matrix_free);
        dmq_backend be = recorder();

        be.shard = 32;
        c.normalize = ways[i].normalize;
        learn_on(&out, &be, "down.1.block.0", &c);
        print_message("  form %d%s%s: %d calls\n", (int)ways[i].form,
                      ways[i].normalize ? ", normalized" : "",
                      ways[i].matrix_free ? ", matrix-free" : "", recorded.calls);
        assert_in_range(recorded.calls, 1, ways[i].most);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recording_is_its_iteration),
        cmocka_unit_test(a_stop_is_the_same_in_a_plan),
        cmocka_unit_test(few_launches),
    };
    dmq_log_verbosity_set(DMQ_QUIET);
    return cmocka_run_group_tests_name("meta_plan", tests, NULL, NULL);
}
