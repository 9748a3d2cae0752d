/* Reconstruction and sample weights on a device whose memory the host cannot touch: bit for bit what they
   are on the host, and nobody reaches past upload, download and slots. Also in double. */
#include "base/log.h"
#include "bilevel/diagnose.h"
#include "bilevel/learn.h"
#include "quant_fixture.h"
#include "recon/run.h"

/* What is run, and on what. */
typedef struct arm {
    const char *policy;
    int acts;
    dmq_unit_order order;
    double budget_share; /* > 0: of what push needs, so that prefixes are recomputed */
    double
        host_bytes; /* > 0: on check, nothing is kept on the device, that much in host memory, the
                            rest on disk */
    int weighted;
    dmq_learn_config learn;
} arm;

enum { GROUPS = 2, MOST = 64 };

/* What came out. */
typedef struct outcome {
    dmq_real *w_quant;
    dmq_real s[32][MOST]; /* of each unit */
    double cosine[32], align[32][MOST];
    dmq_recon_report report[32];
    int n;
} outcome;

typedef struct hooked {
    const arm *a;
    const dmq_calib *calib;
    outcome *out;
} hooked;

static dmq_groups groups_of(const dmq_calib *calib, int memory[GROUPS][MOST])
{
    dmq_groups g = { .k = GROUPS };

    for (int t = 0; t < GROUPS; t++) {
        g.sample[t] = memory[t];
        g.count[t] = dmq_calib_group(calib, DMQ_VALIDATION, t, GROUPS, memory[t]);
    }
    return g;
}

static dmq_status weigh(void *context, dmq_unit_work *w)
{
    hooked *h = context;
    int memory[GROUPS][MOST], held[MOST], n_held = dmq_calib_list(h->calib, DMQ_HELD_OUT, held);
    dmq_groups groups = groups_of(h->calib, memory);
    dmq_problem *p = &w->block->problem;
    dmq_learn_config config = h->a->learn;
    dmq_learn_log log;
    dmq_real align[MOST];
    double matrix[GROUPS * GROUPS];
    dmq_status st = DMQ_OK;

    if (!h->a->weighted || w->number % 5 != 3) /* a few units will do */
        return DMQ_OK;
    config.unit = (uint64_t)w->unit;
    DMQ_TRY(
        dmq_learn_weights(p, w->state->alpha, w->train, w->n_train, &groups, &config, w->s, &log));
    DMQ_TRY(dmq_group_cosines(p, w->state->alpha, &groups, matrix, &h->out->cosine[h->out->n]));
    DMQ_TRY(dmq_alignment_with(p, w->state->alpha, w->train, w->n_train, held, n_held, align));
    for (int i = 0; i < w->n_train; i++)
        h->out->align[h->out->n][i] = (double)align[i];
    memcpy(h->out->s[h->out->n], w->s, (size_t)w->n_train * sizeof *w->s);
    w->weighted = 1;
done:
    return st;
}

static dmq_status finished(void *context, const dmq_unit_work *w, const dmq_recon_report *report)
{
    hooked *h = context;

    (void)w;
    h->out->report[h->out->n] = *report;
    h->out->report[h->out->n++].seconds = 0;
    return DMQ_OK;
}

static void make_tables(dmq_qmodel *q, int steps)
{
    OK(dmq_qmodel_tables(q, steps));
    for (int l = 0; l < q->model->n_layers; l++) {
        for (int k = 0; k < steps * q->layer[l].table_cols && q->layer[l].act_bits; k++) {
            q->layer[l].act_scale[k] = (dmq_real)(0.03 + 0.002 * (k / q->layer[l].table_cols));
            q->layer[l].act_zero[k] = 100;
        }
    }
}

/* Calibration samples and ranges are those of the reference on both sides. */
static void run_on(outcome *out, const char *backend, int n_lanes, const arm *a)
{
    dmq_model *m = fixture_model();
    dmq_lanes *host = fixture_lanes("ref", 1), *lanes = fixture_lanes(backend, n_lanes);
    dmq_calib *calib = fixture_calib(m, host);
    dmq_qmodel *q = fixture_qmodel(m, host, a->policy, 4, a->acts ? 8 : 0);
    dmq_cache *cache = NULL;
    hooked h = { .a = a, .calib = calib, .out = out };
    dmq_recon_hooks hooks = { .context = &h, .weigh = weigh, .finished = finished };
    dmq_recon_run_config config = { .order = a->order, .acts = a->acts, .temporal_iters = 1 };

    memset(out, 0, sizeof *out);
    if (a->acts)
        make_tables(q, calib->n_steps);
    OK(dmq_model_place(m, lanes));
    OK(dmq_qmodel_place(q, lanes));
    if (a->budget_share > 0) {
        OK(dmq_cache_create(&cache, q, calib, lanes, &(dmq_cache_config){ 0 }));
        config.cache.budget_bytes = a->budget_share * dmq_cache_bytes_push(cache);
        dmq_cache_destroy(cache);
    }
    if (a->host_bytes > 0 && strcmp(backend, "check") == 0) {
        config.cache =
            (dmq_cache_config){ .budget_bytes = 1, .host_bytes = a->host_bytes, .disk_bytes = 1e9 };
    }
    dmq_recon_defaults(&config.recon);
    config.recon.iters = 1;
    config.recon.batch = 20; /* not a multiple of a shard */
    config.recon.lr = 0.05;
    config.recon.seed = 5;
    OK(dmq_recon_run(q, calib, lanes, &config, &hooks));
    out->w_quant = malloc(m->n_params * sizeof *out->w_quant);
    assert_non_null(out->w_quant);
    memcpy(out->w_quant, q->w_quant, m->n_params * sizeof *out->w_quant);
    for (int l = 0; l < m->n_layers; l++) { /* codes came along */
        if (q->layer[l].weight_bits == 0)
            continue;
        dmq_qmodel_dequantize(q, l);
        assert_memory_equal(dmq_qmodel_weight(q, l),
                            out->w_quant + m->entry[m->layer[l].weight].offset,
                            (size_t)(q->layer[l].rows * q->layer[l].per) * sizeof(dmq_real));
    }
    dmq_qmodel_destroy(q);
    dmq_calib_destroy(calib);
    dmq_lanes_destroy(lanes);
    dmq_lanes_destroy(host);
    dmq_model_destroy(m);
}

static void same_bits(const arm *a)
{
    static outcome ref, check;
    dmq_model *m = fixture_model();

    run_on(&ref, "ref", 2, a);
    run_on(&check, "check", 1, a);
    assert_int_equal(ref.n, check.n);
    assert_true(ref.n > 8);
    assert_memory_equal(ref.s, check.s, sizeof ref.s);
    assert_memory_equal(ref.cosine, check.cosine, sizeof ref.cosine);
    assert_memory_equal(ref.align, check.align, sizeof ref.align);
    assert_memory_equal(ref.report, check.report, sizeof ref.report);
    assert_memory_equal(ref.w_quant, check.w_quant, m->n_params * sizeof *ref.w_quant);
    if (a->weighted) { /* something was learned */
        assert_true(ref.s[2][0] != ref.s[2][1]);
        assert_true(ref.align[2][0] != 0);
    }
    free(ref.w_quant);
    free(check.w_quant);
    dmq_model_destroy(m);
}

static arm with(dmq_gm_form form)
{
    arm a = { .policy = "tfmq", .weighted = 1 };

    dmq_learn_defaults(&a.learn);
    a.learn.form = form;
    a.learn.batch = 10;
    a.learn.visits = 2;
    a.learn.validation_batch = 2;
    a.learn.seed = 5;
    return a;
}

static void without_weights(void **state)
{
    (void)state;
    same_bits(&(arm){ .policy = "qdiffusion", .acts = 1 });
    same_bits(&(arm){ .policy = "all", .order = DMQ_ORDER_REFERENCE });
    same_bits(&(arm){ .policy = "tfmq", .budget_share = 0.9 });
    same_bits(&(arm){ .policy = "qdiffusion", .acts = 1, .host_bytes = 5e5 });
}

static void the_forms(void **state)
{
    arm a = with(DMQ_GM_SURROGATE);

    (void)state;
    same_bits(&a);
    a = with(DMQ_GM_ORIGINAL);
    a.learn.cosine = 1;
    a.host_bytes = 1e6;
    same_bits(&a);
    a = with(DMQ_GM_SEQUENTIAL);
    a.learn.normalize = 1;
    a.learn.matrix_free = 1;
    same_bits(&a);
}

static void the_exact_loop(void **state)
{
    arm a = with(DMQ_GM_SURROGATE);

    (void)state;
    a.learn.mode = DMQ_EXACT;
    a.learn.visits = 1;
    same_bits(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_weights),
        cmocka_unit_test(the_forms),
        cmocka_unit_test(the_exact_loop),
    };
    dmq_log_verbosity_set(DMQ_QUIET);
    return cmocka_run_group_tests_name("recon_apart", tests, NULL, NULL);
}
