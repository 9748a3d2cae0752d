/* A block as a function of its rounding: gradients, tangents, seeds, lanes. Runs also in double. */
#include "quant_fixture.h"
#include "recon/block.h"

#ifdef DMQ_REAL_DOUBLE
#define BACKEND "ref"
#define TIGHT   1e-9
#define FD      1e-6
#else
#define BACKEND "cpu"
#define TIGHT   1e-4
#define FD      5e-3
#endif

typedef struct setting {
    dmq_model *m;
    dmq_lanes *lanes;
    dmq_calib *calib;
    dmq_qmodel *q;
    dmq_cache *cache;
    dmq_block *b;
    dmq_real *theta;
} setting;

static dmq_real *reals(size_t n)
{
    dmq_real *p = calloc(n, sizeof *p);

    assert_non_null(p);
    return p;
}

static void set_up(setting *s, const char *backend, int lanes, const char *policy, int acts,
                   const char *unit)
{
    int u;

    s->m = fixture_model();
    s->lanes = fixture_lanes(backend, lanes);
    s->calib = fixture_calib(s->m, s->lanes);
    s->q = fixture_qmodel(s->m, s->lanes, policy, 4, 8);
    if (acts) {
        OK(dmq_qmodel_tables(s->q, s->calib->n_steps));
        for (int l = 0; l < s->m->n_layers; l++) {
            for (int k = 0;
                 k < s->calib->n_steps * s->q->layer[l].table_cols && s->q->layer[l].act_bits;
                 k++) {
                s->q->layer[l].act_scale[k] =
                    (dmq_real)(0.03 + 0.002 * (k / s->q->layer[l].table_cols));
                s->q->layer[l].act_zero[k] = 100;
            }
        }
    }
    OK(dmq_cache_create(&s->cache, s->q, s->calib, s->lanes, &(dmq_cache_config){ .acts = acts }));
    u = fixture_unit(s->m, unit);
    if (s->m->unit[u].kind != DMQ_UNIT_TEMPORAL)
        OK(dmq_cache_open(s->cache, u));
    OK(dmq_block_create(&s->b, s->q, s->calib, s->cache, s->lanes, u, acts));
    s->theta = reals(s->b->problem.n_theta);
    OK(dmq_block_init(s->b, s->theta));
    /* away from the init: there gradients come from clipped weights and the prefix alone */
    for (size_t i = 0; i < s->b->problem.n_theta; i++)
        s->theta[i] += (dmq_real)(0.5 * fixture_normal(5, (uint32_t)i));
}

static void tear_down(setting *s)
{
    free(s->theta);
    dmq_block_destroy(s->b);
    dmq_cache_destroy(s->cache);
    dmq_qmodel_destroy(s->q);
    dmq_calib_destroy(s->calib);
    dmq_lanes_destroy(s->lanes);
    dmq_model_destroy(s->m);
}

static double dot(const dmq_real *a, const dmq_real *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static double norm(const dmq_real *a, size_t n)
{
    return sqrt(dot(a, a, n));
}

static double difference(const dmq_real *a, const dmq_real *b, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sqrt(sum) / norm(b, n);
}

static double weighted_loss(const setting *s, const dmq_real *theta, const int *sample,
                            const dmq_real *weight, int n)
{
    dmq_real *loss = reals((size_t)n);
    double sum;

    OK(s->b->problem.loss(s->b->problem.context, theta, sample, n, loss));
    sum = weight ? dot(weight, loss, (size_t)n) : 0;
    for (int i = 0; i < n && !weight; i++)
        sum += (double)loss[i];
    free(loss);
    return sum;
}

/*
 * The identities of problem.h on one unit: grad against central differences along a direction; the rows
 * of grad_each add up to grad; jvp is J' v; loss is the loss of all of them.
 */
static void identities(setting *s)
{
    dmq_problem *p = &s->b->problem;
    size_t n_theta = p->n_theta;
    int n = p->n_samples < 11 ? p->n_samples : 11, sample[11];
    dmq_real *grad = reals(n_theta), *joined = reals(n_theta), *v = reals(n_theta);
    dmq_real *theta = reals(n_theta), *jacobian = reals((size_t)n * n_theta);
    dmq_real weight[11], loss[11], again[11], product[11], by_rows[11];
    double best = 1e9, unit;

    for (int i = 0; i < n; i++) {
        sample[i] = (i * 17 + 3) % p->n_samples;
        weight[i] = (dmq_real)(fixture_normal(8, (uint32_t)i)); /* signs are free */
    }
    OK(p->grad(p->context, s->theta, sample, weight, n, grad, loss));
    unit = sqrt((double)n_theta) / norm(grad, n_theta);
    /* half along the gradient: across it, differences would be rounding in float */
    for (size_t i = 0; i < n_theta; i++)
        v[i] = (dmq_real)(fixture_normal(6, (uint32_t)i) + (double)grad[i] * unit);
    OK(p->loss(p->context, s->theta, sample, n, again));
    assert_memory_equal(loss, again, (size_t)n * sizeof *loss);
    assert_true(norm(grad, n_theta) > 0);

    OK(p->grad_each(p->context, s->theta, sample, n, jacobian, again));
    for (int i = 0; i < n; i++) {
        assert_true(fabs((double)(loss[i] - again[i])) <= TIGHT * fabs((double)loss[i]));
        for (size_t k = 0; k < n_theta; k++)
            joined[k] += weight[i] * jacobian[(size_t)i * n_theta + k];
        by_rows[i] = (dmq_real)dot(jacobian + (size_t)i * n_theta, v, n_theta);
    }
    assert_true(difference(joined, grad, n_theta) < TIGHT);
    OK(p->jvp(p->context, s->theta, sample, n, v, product));
    assert_true(difference(product, by_rows, (size_t)n) < TIGHT);

    /* kinks of the clips are crossed by few numbers; the best of some steps is taken */
    for (double e = 1e-5; e < 3e-2; e *= 10) {
        double up, down, d = dot(grad, v, n_theta);

        for (size_t i = 0; i < n_theta; i++)
            theta[i] = s->theta[i] + (dmq_real)e * v[i];
        up = weighted_loss(s, theta, sample, weight, n);
        for (size_t i = 0; i < n_theta; i++)
            theta[i] = s->theta[i] - (dmq_real)e * v[i];
        down = weighted_loss(s, theta, sample, weight, n);
        d = fabs((up - down) / (2 * e) - d) / fabs(d);
        best = d < best ? d : best;
    }
    if (best > FD)
        fail_msg("gradient differs from central differences by %g", best);
    free(grad);
    free(joined);
    free(v);
    free(theta);
    free(jacobian);
}

static void run_identities(const char *policy, int acts, const char *unit)
{
    setting s;

    set_up(&s, BACKEND, 2, policy, acts, unit);
    identities(&s);
    tear_down(&s);
}

static void identities_hold_on_every_kind_of_unit(void **state)
{
    (void)state;
    run_identities("tfmq", 0, "down.0.block.0");     /* no shortcut: x goes into the sum */
    run_identities("tfmq", 0, "up.0.block.0");       /* two inputs, full-precision shortcut */
    run_identities("qdiffusion", 0, "up.0.block.0"); /* learned split shortcut */
    run_identities("tfmq", 0, "mid.attn_1");
    run_identities("tfmq", 0, "up.1.upsample.conv");
    run_identities("tfmq", 0, "temporal");
}

/* The quantizer between the convolutions is a staircase: no finite differences, but all the rest. */
static void activations_are_quantized_by_the_row_of_the_step(void **state)
{
    setting s, f;
    int n = 45, sample[45];
    dmq_real loss[45], plain[45];

    (void)state;
    set_up(&s, BACKEND, 2, "tfmq", 1, "down.1.block.0");
    set_up(&f, BACKEND, 2, "tfmq", 0, "down.1.block.0");
    for (int i = 0; i < n; i++)
        sample[i] = i;
    OK(s.b->problem.loss(s.b->problem.context, s.theta, sample, n, loss));
    OK(f.b->problem.loss(f.b->problem.context, f.theta, sample, n, plain));
    assert_memory_not_equal(loss, plain, sizeof loss);
    /* only the table row of step 4 (slot 2, samples 18..26) changes: only those losses do */
    s.q->layer[fixture_layer(s.m, "down.1.block.0.conv2")].act_scale[4] *= 4;
    OK(s.b->problem.loss(s.b->problem.context, s.theta, sample, n, plain));
    for (int i = 0; i < n; i++)
        assert_int_equal(loss[i] == plain[i], i < 18 || i > 26);
    tear_down(&s);
    tear_down(&f);
}

/* Everything that passes compute, for 1, 2 and 3 lanes, bit for bit. */
static void lanes_do_not_change_a_bit(void **state)
{
    dmq_real *grad[3] = { NULL }, *alpha[3];
    dmq_real loss[3][45], tan[3][45];
    size_t n_theta = 0;
    int sample[80];

    (void)state;
    for (int k = 0; k < 3; k++) {
        setting s;
        dmq_real *m, *v;
        dmq_block_step step = { .lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8 };

        set_up(&s, BACKEND, k + 1, "tfmq", 0, "down.1.block.0");
        n_theta = s.b->problem.n_theta;
        for (int i = 0; i < 80; i++)
            sample[i] = (i * 7) % 45;
        grad[k] = reals(n_theta);
        alpha[k] = reals(n_theta);
        m = reals(n_theta);
        v = reals(n_theta);
        memcpy(alpha[k], s.theta, n_theta * sizeof *m);
        /* more than one wave: 80 samples are 10 shards */
        OK(s.b->problem.grad(s.b, s.theta, sample, NULL, 80, grad[k], NULL));
        OK(s.b->problem.jvp(s.b, s.theta, sample, 45, grad[k], tan[k]));
        step.alpha = alpha[k];
        step.m = m;
        step.v = v;
        step.reg_weight = 0.01;
        step.reg_beta = 20;
        OK(dmq_block_soften(s.b, alpha[k]));
        for (step.step = 1; step.step <= 3; step.step++)
            OK(dmq_block_iterate(s.b, sample + step.step, NULL, 30, &step, loss[k]));
        free(m);
        free(v);
        tear_down(&s);
    }
    for (int k = 1; k < 3; k++) {
        assert_memory_equal(grad[0], grad[k], n_theta * sizeof(dmq_real));
        assert_memory_equal(alpha[0], alpha[k], n_theta * sizeof(dmq_real));
        assert_memory_equal(tan[0], tan[k], sizeof tan[0]);
        assert_memory_equal(loss[0], loss[k], 30 * sizeof(dmq_real));
    }
    for (int k = 0; k < 3; k++) {
        free(grad[k]);
        free(alpha[k]);
    }
}

/* An iteration is gradient, regularizer, Adam and soft weights, one behind the other. */
static void an_iteration_is_the_composition(void **state)
{
    setting s;
    dmq_problem *p;
    size_t n;
    int sample[6] = { 1, 9, 17, 30, 44, 2 };
    dmq_real weight[6] = { (dmq_real)0.3, (dmq_real)0.1, (dmq_real)0.2,
                           (dmq_real)0.2, (dmq_real)0.1, (dmq_real)0.1 };
    dmq_real *grad, *alpha, *m, *v, loss[6], after[6], expected[6];
    double reg = 0, sum = 0, lr = 0.01;

    (void)state;
    set_up(&s, BACKEND, 2, "tfmq", 0, "down.1.block.0");
    p = &s.b->problem;
    n = p->n_theta;
    grad = reals(n);
    alpha = reals(n);
    m = reals(n);
    v = reals(n);
    OK(p->grad(p->context, s.theta, sample, weight, 6, grad, expected));
    memcpy(alpha, s.theta, n * sizeof *alpha);
    OK(dmq_block_soften(s.b, alpha));
    OK(dmq_block_iterate(s.b, sample, weight, 6,
                         &(dmq_block_step){ .alpha = alpha,
                                            .m = m,
                                            .v = v,
                                            .lr = lr,
                                            .beta1 = 0.9,
                                            .beta2 = 0.999,
                                            .eps = 1e-8,
                                            .reg_weight = 0.01,
                                            .reg_beta = 7,
                                            .step = 1,
                                            .reg_value = &reg },
                         loss));
    assert_memory_equal(loss, expected, sizeof loss);
    for (size_t i = 0; i < n; i++) {
        double sg = 1 / (1 + exp(-(double)s.theta[i])), h = 1.2 * sg - 0.1, g = (double)grad[i],
               step;

        if (h > 0 && h < 1)
            g -= 0.01 * 2 * 7 * pow(fabs(2 * h - 1), 6) * (h > 0.5 ? 1 : -1) * 1.2 * sg * (1 - sg);
        h = h < 0 ? 0 : h > 1 ? 1 : h;
        sum += 0.01 * (1 - pow(fabs(2 * h - 1), 7));
        step = lr * g / (fabs(g) + 1e-8); /* the first step of Adam */
        if (fabs(g) > 1e-7)
            assert_true(fabs((double)alpha[i] - ((double)s.theta[i] - step)) < 1e-4);
    }
    assert_true(fabs(sum - reg) < 1e-4 * sum);
    /* and the weights are those of the new alpha */
    OK(dmq_block_losses(s.b, sample, 6, after));
    OK(p->loss(p->context, alpha, sample, 6, expected));
    assert_memory_equal(after, expected, sizeof after);
    free(grad);
    free(alpha);
    free(m);
    free(v);
    tear_down(&s);
}

static void hard_rounding_is_what_the_model_then_holds(void **state)
{
    setting s;
    int sample[45];
    dmq_real loss[45], again[45];
    const dmq_qlayer *l;

    (void)state;
    set_up(&s, BACKEND, 2, "tfmq", 0, "mid.attn_1");
    for (int i = 0; i < 45; i++)
        sample[i] = i;
    OK(dmq_block_harden(s.b, s.theta));
    OK(dmq_block_losses(s.b, sample, 45, loss));
    OK(dmq_block_take_quantized(s.b));
    OK(dmq_block_losses(s.b, sample, 45, again));
    assert_memory_equal(loss, again, sizeof loss);
    for (int i = 0; i < s.b->n_layers; i++) {
        dmq_real before;

        l = &s.q->layer[s.b->layer[i]];
        assert_true(l->learned);
        for (int k = 0; k < l->rows * l->per; k++)
            assert_in_range(l->code[k], 0, 15);
        before = dmq_qmodel_weight(s.q, s.b->layer[i])[7];
        dmq_qmodel_dequantize(s.q, s.b->layer[i]);
        assert_true(before == dmq_qmodel_weight(s.q, s.b->layer[i])[7]);
    }
    tear_down(&s);
}

/* The loss without any of the block's shortcuts: results of the whole unit out of the caches. */
static void losses_are_those_of_the_unit_as_a_whole(void **state)
{
    static const char *const unit[] = { "down.0.block.0", "up.0.block.0", "mid.attn_1" };
    static const char *const next[] = { "down.0.downsample.conv", "up.0.block.1", "mid.block_2" };

    (void)state;
    for (int k = 0; k < 3; k++) {
        setting s;
        int sample[45];
        dmq_real loss[45], *kept;
        dmq_rows f, y;
        dmq_shape shape;

        set_up(&s, BACKEND, 2, "tfmq", 0, unit[k]);
        shape = s.m->value[s.m->unit[s.b->unit].out].shape;
        for (int i = 0; i < 45; i++)
            sample[i] = i;
        OK(dmq_block_harden(s.b, s.theta));
        OK(dmq_block_losses(s.b, sample, 45, loss));
        y = dmq_cache_target(s.cache);
        kept = reals(45 * y.per); /* opening the next unit lets go of it */
        memcpy(kept, y.data, 45 * y.per * sizeof *kept);
        dmq_cache_close(s.cache);
        OK(dmq_cache_open(s.cache, fixture_unit(s.m, next[k]))); /* pushes the hardened unit */
        f = dmq_cache_resident(s.cache, 0);
        for (int i = 0; i < 45; i++) {
            double sum = 0;

            for (size_t e = 0; e < y.per; e++) {
                sum +=
                    pow((double)(f.data[(size_t)i * f.per + e] - kept[(size_t)i * y.per + e]), 2);
            }
            sum /= (double)shape.dim[1] * shape.dim[2];
            assert_true(fabs(sum - (double)loss[i]) < TIGHT * sum);
        }
        free(kept);
        tear_down(&s);
    }
}

static void a_unit_without_quantized_layers_is_refused(void **state)
{
    setting s;
    dmq_block *b = NULL;
    int u;

    (void)state;
    set_up(&s, BACKEND, 1, "tfmq", 0, "temporal");
    u = fixture_unit(s.m, "conv_in");
    assert_int_equal(dmq_block_learnable(s.q, u), 0);
    OK(dmq_cache_open(s.cache, u));
    assert_int_equal(dmq_block_create(&b, s.q, s.calib, s.cache, s.lanes, u, 0), DMQ_EINVAL);
    assert_non_null(strstr(dmq_message(), "conv_in"));
    tear_down(&s);
}

static void running_out_of_memory_is_clean(void **state)
{
    setting s;
    dmq_status st = DMQ_ENOMEM;
    int sample[3] = { 1, 2, 3 };
    dmq_real loss[3], *jacobian;

    (void)state;
    set_up(&s, BACKEND, 1, "tfmq", 0, "down.1.block.0");
    jacobian = reals(3 * s.b->problem.n_theta);
    for (long n = 1; st != DMQ_OK; n++) {
        dmq_block *b = NULL;

        dmq_alloc_fail_at(n);
        st = dmq_block_create(&b, s.q, s.calib, s.cache, s.lanes, s.b->unit, 0);
        if (st == DMQ_OK)
            st = b->problem.grad_each(b, s.theta, sample, 3, jacobian, loss);
        if (st == DMQ_OK)
            st = b->problem.jvp(b, s.theta, sample, 3, s.theta, loss);
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK || st == DMQ_ENOMEM);
        dmq_block_destroy(b);
    }
    free(jacobian);
    tear_down(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identities_hold_on_every_kind_of_unit),
        cmocka_unit_test(activations_are_quantized_by_the_row_of_the_step),
        cmocka_unit_test(lanes_do_not_change_a_bit),
        cmocka_unit_test(an_iteration_is_the_composition),
        cmocka_unit_test(hard_rounding_is_what_the_model_then_holds),
        cmocka_unit_test(losses_are_those_of_the_unit_as_a_whole),
        cmocka_unit_test(a_unit_without_quantized_layers_is_refused),
        cmocka_unit_test(running_out_of_memory_is_clean),
    };
    return cmocka_run_group_tests_name("recon_block", tests, NULL, NULL);
}
