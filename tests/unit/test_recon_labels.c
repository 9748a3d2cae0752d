/* Labels on their way through caches and blocks: what a network with classes computes as a whole. */
#include "diffusion/forward.h"
#include "model/ldm_unet.h"
#include "quant/hooks.h"
#include "quant_fixture.h"
#include "recon/block.h"

static dmq_model *network(void)
{
    static const dmq_ldm_unet_config config = { .in_channels = 3,
                                                .out_channels = 3,
                                                .resolution = 8,
                                                .model_channels = 8,
                                                .channel_mult = { 1, 2 },
                                                .n_levels = 2,
                                                .num_res_blocks = 1,
                                                .attention = { 2 },
                                                .n_attention = 1,
                                                .num_heads = 2,
                                                .context_dim = 12,
                                                .n_classes = 5,
                                                .norm_groups = 4 };
    dmq_model *m = NULL;

    OK(dmq_ldm_unet_create(&m, &config));
    fixture_fill(m);
    return m;
}

/* eps of every sample of the weight set, with its own label, or all with the same one. */
static dmq_real *forward(const dmq_model *m, const dmq_calib *c, const dmq_hook_source *source,
                         dmq_lanes *lanes, int same_label)
{
    size_t per = dmq_shape_count(m->input), n = (size_t)c->n;
    dmq_real *x = calloc(n * per, sizeof *x), *t = calloc(n, sizeof *t),
             *out = calloc(n * per, sizeof *out);
    int *label = calloc(n, sizeof *label);
    const dmq_forward_args args = {
        .x = x, .t = t, .label = label, .out = out, .n = c->n, .nhwc = 1
    };

    for (int i = 0; i < c->n; i++) {
        int k = dmq_calib_step(c, i);

        memcpy(x + (size_t)i * per, dmq_calib_x(c, i), per * sizeof *x);
        t[i] = (dmq_real)c->t[k];
        label[i] = same_label >= 0 ? same_label : dmq_calib_label(c, k, i % c->per_step);
    }
    OK(dmq_forward_run(m, source, lanes, &args));
    free(x);
    free(t);
    free(label);
    return out;
}

/* Sum over channels, mean over pixels. */
static double loss_of(const dmq_real *a, const dmq_real *b, const dmq_model *m, int i)
{
    size_t per = dmq_shape_count(m->input);
    double sum = 0;

    for (size_t k = (size_t)i * per; k < (size_t)(i + 1) * per; k++)
        sum += ((double)a[k] - (double)b[k]) * ((double)a[k] - (double)b[k]);
    return sum / (m->input.dim[1] * m->input.dim[2]);
}

/* The loss of the last unit is the error of the whole network, sample by sample. */
static void check_last_unit(int recompute)
{
    dmq_lanes *lanes = fixture_lanes("cpu", 2);
    dmq_model *m = network();
    dmq_calib *c = fixture_calib(m, lanes);
    dmq_qmodel *q = fixture_qmodel(m, lanes, "all", 4, 0);
    dmq_attach attach;
    dmq_hook_source source;
    dmq_real *fp = forward(m, c, NULL, lanes, -1), *other = forward(m, c, NULL, lanes, 2), *found;
    dmq_real *loss = calloc((size_t)c->n, sizeof *loss);
    int *sample = calloc((size_t)c->n, sizeof *sample), last = fixture_unit(m, "out.2"), apart = 0;
    dmq_cache *cache = NULL;
    dmq_block *b = NULL;

    dmq_attach_init(&attach, q);
    source = dmq_attach_source(&attach);
    found = forward(m, c, &source, lanes, -1);
    OK(dmq_cache_create(&cache, q, c, lanes, &(dmq_cache_config){ .any_order = recompute }));
    assert_int_equal(dmq_cache_recomputes(cache), recompute);
    OK(dmq_cache_open(cache, last));
    OK(dmq_block_create(&b, q, c, cache, lanes, last, 0));
    OK(dmq_block_take_quantized(b));
    for (int i = 0; i < c->n; i++)
        sample[i] = i;
    OK(dmq_block_losses(b, sample, c->n, loss));
    for (int i = 0; i < c->n; i++) {
        double want = loss_of(found, fp, m, i);

        if (fabs((double)loss[i] - want) > 1e-4 * want)
            fail_msg("sample %d: loss %.6g, the network's error is %.6g", i, (double)loss[i], want);
        apart += loss_of(other, fp, m, i) > 0.1 * want;
    }
    assert_true(apart > c->n / 2); /* a wrong label would be seen */
    dmq_block_destroy(b);
    dmq_cache_close(cache);
    dmq_cache_destroy(cache);
    free(fp);
    free(other);
    free(found);
    free(loss);
    free(sample);
    dmq_qmodel_destroy(q);
    dmq_calib_destroy(c);
    dmq_model_destroy(m);
    dmq_lanes_destroy(lanes);
}

static void the_last_units_loss_is_the_networks_error(void **state)
{
    (void)state;
    check_last_unit(0);
}

static void so_it_is_when_prefixes_are_recomputed(void **state)
{
    (void)state;
    check_last_unit(1);
}

/* Sample i is slot i: a step of the weight set, since no embedding of t reads the label. */
static void the_temporal_units_samples_are_steps(void **state)
{
    dmq_lanes *lanes = fixture_lanes("cpu", 1);
    dmq_model *m = network();
    dmq_calib *c = fixture_calib(m, lanes);
    dmq_qmodel *q = fixture_qmodel(m, lanes, "all", 4, 0);
    const dmq_slots *slots;
    dmq_cache *cache = NULL;
    dmq_block *b = NULL;
    int seen[5] = { 0 };

    (void)state;
    OK(dmq_cache_create(&cache, q, c, lanes, &(dmq_cache_config){ 0 }));
    OK(dmq_block_create(&b, q, c, cache, lanes, fixture_unit(m, "temporal"), 0));
    assert_int_equal(b->problem.n_samples, c->n_weight_steps);
    slots = dmq_cache_slots(cache, DMQ_OF_LABEL);
    assert_in_range(slots->n, 2, 5);
    for (int i = 0; i < c->n; i++)
        seen[dmq_calib_label(c, dmq_calib_step(c, i), i % c->per_step)] = 1;
    assert_int_equal(seen[0] + seen[1] + seen[2] + seen[3] + seen[4], slots->n);
    assert_null(dmq_cache_slots(cache, DMQ_OF_T | DMQ_OF_LABEL));
    dmq_block_destroy(b);
    dmq_cache_destroy(cache);
    dmq_qmodel_destroy(q);
    dmq_calib_destroy(c);
    dmq_model_destroy(m);
    dmq_lanes_destroy(lanes);
}

static void labels_are_asked_for(void **state)
{
    dmq_lanes *lanes = fixture_lanes("ref", 1);
    dmq_model *m = network(), *plain = fixture_model();
    dmq_real x[2 * 192] = { 0 }, t[2] = { 0 }, out[2 * 192];
    int label[2] = { 5, 6 };
    dmq_forward_args a = { .x = x, .t = t, .out = out, .n = 2 };

    (void)state;
    assert_int_equal(dmq_forward_run(m, NULL, lanes, &a), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "needs a label"));
    a.label = label;
    assert_int_equal(dmq_forward_run(plain, NULL, lanes, &a), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "knows no classes"));
    assert_int_equal(dmq_forward_run(m, NULL, lanes, &a), DMQ_EDATA); /* 5 is the null label */
    assert_non_null(strstr(dmq_message(), "label of sample 1 is 6: must be 0..5"));
    label[1] = 0;
    OK(dmq_forward_run(m, NULL, lanes, &a));
    dmq_model_destroy(m);
    dmq_model_destroy(plain);
    dmq_lanes_destroy(lanes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_units_loss_is_the_networks_error),
        cmocka_unit_test(so_it_is_when_prefixes_are_recomputed),
        cmocka_unit_test(the_temporal_units_samples_are_steps),
        cmocka_unit_test(labels_are_asked_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
