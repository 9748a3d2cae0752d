/* Caches: push and recompute give the same bits, and what the network computes as a whole. */
#include "quant/hooks.h"
#include "quant_fixture.h"
#include "recon/cache.h"
#include "recon/unit_tape.h"

#include <unistd.h>

typedef struct copy {
    const dmq_backend *be;
    dmq_real *in[DMQ_VISITS]; /* (n, per) */
} copy;

static dmq_status keep(void *context, int first, int count, const dmq_rows in[DMQ_VISITS], int lane,
                       dmq_queue *queue)
{
    copy *c = context;
    dmq_status st = DMQ_OK;

    (void)lane;
    for (int k = 0; k < DMQ_VISITS; k++) {
        dmq_real *rows = NULL;
        size_t n = (size_t)count * in[k].per;

        if (!in[k].data)
            continue;
        DMQ_TRY(c->be->alloc((void **)&rows, n * sizeof *rows));
        st = dmq_rows_run(c->be, queue, rows, count, &in[k], first, count);
        if (st == DMQ_OK) {
            st = c->be->download(queue, c->in[k] + (size_t)first * in[k].per, rows,
                                 n * sizeof *rows);
        }
        if (st == DMQ_OK)
            st = c->be->sync(queue);
        c->be->free(rows);
        DMQ_TRY(st);
    }
done:
    return st;
}

/* All that a unit reads and its targets, as copies. */
static void look(copy *out, dmq_real **target, dmq_cache *cache, dmq_lanes *lanes,
                 const dmq_calib *calib, const dmq_model *m, int unit)
{
    const dmq_unit *u = &m->unit[unit];
    int value[3] = { u->in[0], u->in[1], u->emb };
    dmq_rows rows;

    *out = (copy){ .be = dmq_lanes_backend(lanes) };
    for (int k = 0; k < 3; k++) {
        if (value[k] >= 0) {
            out->in[k] = calloc((size_t)calib->n * dmq_shape_count(m->value[value[k]].shape),
                                sizeof(dmq_real));
        }
    }
    OK(dmq_cache_open(cache, unit));
    rows = dmq_cache_target(cache);
    *target = calloc((size_t)calib->n * rows.per, sizeof(dmq_real));
    out->in[DMQ_VISIT_TARGET] = calloc((size_t)calib->n * rows.per, sizeof(dmq_real));
    OK(dmq_cache_visit(cache, keep, out, 1));
    OK(dmq_store_get(rows.store, dmq_lanes_queue(lanes, 0), *target, 0, calib->n));
    assert_memory_equal(out->in[DMQ_VISIT_TARGET], *target,
                        (size_t)calib->n * rows.per * sizeof(dmq_real));
    dmq_cache_close(cache);
}

static void drop(copy *c, dmq_real *target)
{
    for (int k = 0; k < DMQ_VISITS; k++)
        free(c->in[k]);
    free(target);
}

static void push_and_recompute_give_the_same_bits(void **state)
{
    dmq_model *m = fixture_model();
    dmq_lanes *one = fixture_lanes("cpu", 1), *three = fixture_lanes("cpu", 3);
    dmq_calib *calib = fixture_calib(m, one);
    dmq_qmodel *q = fixture_qmodel(m, one, "tfmq", 4, 0);
    dmq_cache *push = NULL, *again = NULL;
    double budget;

    (void)state;
    OK(dmq_cache_create(&push, q, calib, three, &(dmq_cache_config){ 0 }));
    assert_false(dmq_cache_recomputes(push));
    budget = dmq_cache_bytes_push(push) - 1;
    /* less and less, until it says what it needs */
    for (int halves = 0; halves < 20; halves++, budget *= 0.7) {
        dmq_status st =
            dmq_cache_create(&again, q, calib, one, &(dmq_cache_config){ .budget_bytes = budget });

        if (st != DMQ_OK) {
            assert_int_equal(st, DMQ_EINVAL);
            assert_non_null(strstr(dmq_message(), "need at least"));
            assert_true(halves > 0);
            budget /= 0.7;
            break;
        }
        assert_true(dmq_cache_recomputes(again));
        dmq_cache_destroy(again);
    }
    OK(dmq_cache_create(&again, q, calib, one, &(dmq_cache_config){ .budget_bytes = budget }));
    for (int u = 1; u < m->n_units; u++) {
        copy a, b;
        dmq_real *ta, *tb;
        int value[3] = { m->unit[u].in[0], m->unit[u].in[1], m->unit[u].emb };

        look(&a, &ta, push, three, calib, m, u);
        look(&b, &tb, again, one, calib, m, u);
        for (int k = 0; k < 3; k++) {
            if (value[k] >= 0) {
                assert_memory_equal(a.in[k], b.in[k],
                                    (size_t)calib->n * sizeof(dmq_real) *
                                        dmq_shape_count(m->value[value[k]].shape));
            }
        }
        assert_memory_equal(ta, tb,
                            (size_t)calib->n * sizeof(dmq_real) *
                                dmq_shape_count(m->value[m->unit[u].out].shape));
        assert_true(dmq_cache_bytes(push) <= dmq_cache_bytes_push(push));
        assert_true(dmq_cache_bytes(again) <= budget);
        drop(&a, ta);
        drop(&b, tb);
    }
    dmq_cache_destroy(push);
    dmq_cache_destroy(again);
    dmq_qmodel_destroy(q);
    dmq_calib_destroy(calib);
    dmq_lanes_destroy(one);
    dmq_lanes_destroy(three);
    dmq_model_destroy(m);
}

/* Bytes of everything, far more than there is. */
#define ALL 1e9

static void same_rows(const dmq_model *m, const dmq_calib *calib, int unit, const copy *a,
                      const copy *b)
{
    const dmq_unit *u = &m->unit[unit];
    int value[DMQ_VISITS] = { u->in[0], u->in[1], u->emb, u->out };

    for (int k = 0; k < DMQ_VISITS; k++) {
        if (value[k] >= 0) {
            assert_memory_equal(a->in[k], b->in[k],
                                (size_t)calib->n * dmq_value_per(m, value[k]) * sizeof(dmq_real));
        }
    }
}

/* Wherever rows lie, and whoever brings them, they are what they were. */
static void every_tier_gives_the_same_bits(void **state)
{
    static const struct {
        const char *backend;
        int lanes;
        dmq_cache_config config; /* budget_bytes as a share of what push needs */
        int recomputes, tiers;   /* tiers: a bit for each that must be in use */
    } arm[] = {
        { "cpu", 2, { .budget_bytes = 1e-6, .host_bytes = ALL }, 0, 2 },
        { "cpu", 3, { .budget_bytes = 1e-6, .disk_bytes = ALL }, 0, 4 },
        { "check", 1, { .budget_bytes = 0.8, .host_bytes = 2e5, .disk_bytes = ALL }, 0, 7 },
        { "check", 2, { .budget_bytes = 1e-6, .disk_bytes = ALL }, 0, 4 },
        { "check", 1, { .budget_bytes = 0.2, .disk_bytes = ALL, .any_order = 1 }, 1, 5 },
    };
    dmq_model *m = fixture_model();
    dmq_lanes *host = fixture_lanes("ref", 1);
    dmq_calib *calib = fixture_calib(m, host);
    dmq_qmodel *q = fixture_qmodel(m, host, "tfmq", 4, 0);
    char folder[] = "scratch-of-test_recon_cache";

    (void)state;
    for (size_t i = 0; i < sizeof arm / sizeof *arm; i++) {
        dmq_lanes *lanes = fixture_lanes(arm[i].backend, arm[i].lanes);
        dmq_model *placed = fixture_model();
        dmq_qmodel *qp = fixture_qmodel(placed, host, "tfmq", 4, 0);
        dmq_lanes *plain = fixture_lanes(strcmp(arm[i].backend, "cpu") == 0 ? "cpu" : "ref", 1);
        dmq_cache_config config = arm[i].config;
        dmq_cache *push = NULL, *cache = NULL;
        int used = 0;

        OK(dmq_model_place(placed, lanes));
        OK(dmq_qmodel_place(qp, lanes));
        OK(dmq_cache_create(&push, q, calib, plain, &(dmq_cache_config){ 0 }));
        config.budget_bytes *= dmq_cache_bytes_push(push);
        config.folder = folder;
        OK(dmq_cache_create(&cache, qp, calib, lanes, &config));
        assert_int_equal(dmq_cache_recomputes(cache), arm[i].recomputes);
        for (int u = 1; u < m->n_units; u++) {
            copy a, b;
            dmq_real *ta, *tb;

            look(&a, &ta, push, plain, calib, m, u);
            look(&b, &tb, cache, lanes, calib, placed, u);
            same_rows(m, calib, u, &a, &b);
            drop(&a, ta);
            drop(&b, tb);
        }
        for (int t = 0; t < DMQ_TIERS; t++) {
            const dmq_tiers *tiers = dmq_cache_tiers(cache);

            used |= (tiers->peak[t] > 0) << t;
            if (t > 0)
                assert_true(tiers->peak[t] <= tiers->budget[t]);
        }
        assert_int_equal(used, arm[i].tiers);
        assert_int_equal(rmdir(folder), arm[i].config.disk_bytes > 0 ? 0 : -1); /* nothing in it */
        dmq_cache_destroy(push);
        dmq_cache_destroy(cache);
        dmq_qmodel_destroy(qp);
        dmq_model_destroy(placed);
        dmq_lanes_destroy(lanes);
        dmq_lanes_destroy(plain);
    }
    dmq_qmodel_destroy(q);
    dmq_calib_destroy(calib);
    dmq_lanes_destroy(host);
    dmq_model_destroy(m);
}

/* The last unit's target is eps of the network; its input on the quantized path, that of the quantized. */
static void both_paths_are_the_whole_network(void **state)
{
    dmq_model *m = fixture_model();
    dmq_lanes *lanes = fixture_lanes("ref", 2);
    dmq_calib *calib = fixture_calib(m, lanes);
    dmq_qmodel *q = fixture_qmodel(m, lanes, "tfmq", 4, 0);
    int last = fixture_unit(m, "conv_out"), in = m->unit[last].in[0], sample = 23;
    size_t per = dmq_shape_count(m->input), per_in = dmq_shape_count(m->value[in].shape);
    dmq_cache *cache = NULL;
    dmq_attach attach;
    dmq_hooks hooks;
    dmq_real *target;
    copy c;

    (void)state;
    OK(dmq_cache_create(&cache, q, calib, lanes, &(dmq_cache_config){ 0 }));
    look(&c, &target, cache, lanes, calib, m, last);
    dmq_attach_init(&attach, q);
    hooks = dmq_attach_hooks(&attach);
    for (int quant = 0; quant < 2; quant++) {
        dmq_tape *tape = NULL;
        dmq_var *x, *t, *eps, **value = calloc((size_t)m->n_values, sizeof *value);
        const dmq_hooks *h = quant ? &hooks : NULL;

        OK(dmq_tape_create(&tape, dmq_backend_ref(), DMQ_TAPE_FORWARD));
        x = value[0] = dmq_tape_input(tape, "x", m->input);
        t = dmq_tape_input(tape, "t", dmq_shape1(1));
        OK(dmq_model_record_temporal(m, tape, h, t, NULL, value));
        for (int u = 1; u < m->n_units; u++) {
            const dmq_unit *n = &m->unit[u];

            value[n->out] = dmq_model_record_unit(m, u, tape, h, value[n->in[0]],
                                                  n->in[1] < 0 ? NULL : value[n->in[1]],
                                                  n->emb < 0 ? NULL : value[n->emb]);
        }
        eps = quant ? value[in] : value[m->output];
        dmq_tape_output(tape, eps);
        OK(dmq_tape_plan(tape));
        memcpy(x->value, dmq_calib_x(calib, sample), per * sizeof(dmq_real));
        t->value[0] = (dmq_real)calib->t[dmq_calib_step(calib, sample)];
        OK(dmq_tape_forward(tape, NULL, DMQ_PART_ALL));
        for (size_t i = 0; i < (quant ? per_in : per); i++) {
            const dmq_real *cached =
                quant ? c.in[0] + (size_t)sample * per_in : target + (size_t)sample * per;

            assert_true(fabs((double)(cached[i] - eps->value[i])) < 1e-3);
        }
        free(value);
        dmq_tape_destroy(tape);
    }
    drop(&c, target);
    dmq_cache_destroy(cache);
    dmq_qmodel_destroy(q);
    dmq_calib_destroy(calib);
    dmq_lanes_destroy(lanes);
    dmq_model_destroy(m);
}

/* In another order the prefix is what the model is at that time. */
static void any_order_sees_the_present_prefix(void **state)
{
    dmq_model *m = fixture_model();
    dmq_lanes *lanes = fixture_lanes("ref", 2);
    dmq_calib *calib = fixture_calib(m, lanes);
    dmq_qmodel *q = fixture_qmodel(m, lanes, "tfmq", 4, 0);
    int late = fixture_unit(m, "up.0.block.1"), early = fixture_layer(m, "down.0.block.0.conv2");
    size_t bytes =
        (size_t)calib->n * sizeof(dmq_real) * dmq_shape_count(m->value[m->unit[late].in[0]].shape);
    dmq_cache *cache = NULL;
    dmq_real *ta, *tb;
    copy a, b;

    (void)state;
    OK(dmq_cache_create(&cache, q, calib, lanes, &(dmq_cache_config){ .any_order = 1 }));
    look(&a, &ta, cache, lanes, calib, m, late);
    for (int i = 0; i < q->layer[early].rows * q->layer[early].per; i++)
        q->layer[early].code[i] = (int16_t)(q->layer[early].code[i] ^ 1);
    dmq_qmodel_dequantize(q, early);
    look(&b, &tb, cache, lanes, calib, m, late);
    assert_memory_not_equal(a.in[0], b.in[0], bytes);
    assert_memory_equal(ta, tb, bytes / 2); /* targets are full precision */
    drop(&b, tb);
    look(&b, &tb, cache, lanes, calib, m, fixture_unit(m, "conv_in")); /* back to the front */
    drop(&a, ta);
    drop(&b, tb);
    dmq_cache_destroy(cache);
    dmq_qmodel_destroy(q);
    dmq_calib_destroy(calib);
    dmq_lanes_destroy(lanes);
    dmq_model_destroy(m);
}

static void running_out_of_memory_is_clean(void **state)
{
    const dmq_cache_config config[] = { { 0 }, { .budget_bytes = 1, .host_bytes = ALL } };
    dmq_model *m = fixture_model();
    dmq_lanes *lanes = fixture_lanes("cpu", 1);
    dmq_calib *calib = fixture_calib(m, lanes);
    dmq_qmodel *q = fixture_qmodel(m, lanes, "tfmq", 4, 0);

    (void)state;
    for (int i = 0; i < 2; i++) {
        dmq_status st = DMQ_ENOMEM;

        for (long n = 1; st != DMQ_OK; n += 1 + n / (i ? 10 : 50)) {
            dmq_cache *cache = NULL;

            dmq_alloc_fail_at(n);
            st = dmq_cache_create(&cache, q, calib, lanes, &config[i]);
            if (st == DMQ_OK)
                st = dmq_cache_open(cache, fixture_unit(m, i ? "conv_in" : "mid.block_1"));
            dmq_alloc_fail_at(0);
            assert_true(st == DMQ_OK || st == DMQ_ENOMEM);
            dmq_cache_destroy(cache);
        }
    }
    dmq_qmodel_destroy(q);
    dmq_calib_destroy(calib);
    dmq_lanes_destroy(lanes);
    dmq_model_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(push_and_recompute_give_the_same_bits),
        cmocka_unit_test(every_tier_gives_the_same_bits),
        cmocka_unit_test(both_paths_are_the_whole_network),
        cmocka_unit_test(any_order_sees_the_present_prefix),
        cmocka_unit_test(running_out_of_memory_is_clean),
    };
    return cmocka_run_group_tests_name("recon_cache", tests, NULL, NULL);
}
