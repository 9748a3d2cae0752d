/* The identities that hold to the last digits, of quantizers, losses and sample weights, on the
   reference: also in double, where they hold to 1e-9. */
#include "check.h"

#include "kernels/adaround_math.h"
#include "kernels/fake_quant_math.h"

static const int is_double = sizeof(dmq_real) == 8;

/* What a fourth-order difference with this step may be off by. */
static double step_size(void)
{
    return is_double ? 1e-3 : 3e-2;
}

static double unit(void)
{
    return is_double ? 1e-9 : 2e-4;
}

static void near(double got, double want, double size)
{
    if (!(fabs(got - want) <= unit() * (1 + size)))
        fail_msg("%.12g for %.12g, size %.3g", got, want, size);
}

/* Weights of f(x+h), f(x-h), f(x+2h), f(x-2h) in the derivative. */
static const double at[4] = { 1, -1, 2, -2 };
static const double weight[4] = { 8.0 / 12, -8.0 / 12, -1.0 / 12, 1.0 / 12 };

enum { K = 3, PER = 11, COUNT = K * PER };

typedef struct rounding {
    dmq_real *w, *scale, *zero, *alpha, *dw, *tan, *w_soft, *w_tan, *dalpha;
    dmq_adaround_layer layer;
    dmq_adaround_args args;
} rounding;

/* Alphas within the smooth part of h, with room for the differences; codes within the range. */
static void rounding_init(rounding *r, uint64_t seed)
{
    uint64_t stream = check_stream(seed);

    r->w = check_random(COUNT, &stream);
    r->dw = check_random(COUNT, &stream);
    r->tan = check_random(COUNT, &stream);
    r->alpha = check_reals(COUNT);
    r->scale = check_reals(K);
    r->zero = check_reals(K);
    r->w_soft = check_reals(COUNT);
    r->w_tan = check_reals(COUNT);
    r->dalpha = check_reals(COUNT);
    for (int k = 0; k < K; k++) {
        r->scale[k] = (dmq_real)(float)(0.6 + 0.3 * check_uniform(&stream));
        r->zero[k] = 7;
    }
    for (int i = 0; i < COUNT; i++) {
        r->alpha[i] = (dmq_real)(4.0 * check_uniform(&stream) - 2.0);
        r->tan[i] = (dmq_real)(2.0 * check_uniform(&stream) - 1.0);
    }
    r->layer = (dmq_adaround_layer){ .w = r->w,
                                     .scale = r->scale,
                                     .zero = r->zero,
                                     .alpha = r->alpha,
                                     .w_soft = r->w_soft,
                                     .dw = r->dw,
                                     .alpha_tan = r->tan,
                                     .w_tan = r->w_tan,
                                     .dalpha = r->dalpha,
                                     .k = K,
                                     .per = PER,
                                     .lo = 0,
                                     .hi = 15 };
    r->args = (dmq_adaround_args){ .layer = &r->layer, .n_layers = 1 };
}

/* dalpha, w_soft and the regularizer at alpha + s tan, times weight, are added to the sums. */
static void rounding_moved(rounding *r, double s, double by, double *w, double *d, double *reg)
{
    dmq_real *alpha = check_reals(COUNT);
    double value = 0;

    for (int i = 0; i < COUNT; i++)
        alpha[i] = (dmq_real)((double)r->alpha[i] + s * (double)r->tan[i]);
    r->layer.alpha = alpha;
    r->args.reg_value = &value;
    CHECK_OK(dmq_adaround_forward_ref(NULL, &r->args));
    CHECK_OK(dmq_adaround_regularize_ref(NULL, &r->args));
    CHECK_OK(dmq_adaround_backward_ref(NULL, &r->args));
    r->layer.alpha = r->alpha;
    for (int i = 0; i < COUNT; i++) {
        w[i] += by * (double)r->w_soft[i];
        d[i] += by * (double)r->dalpha[i];
    }
    *reg += by * value;
}

static void adaround_has_its_derivatives(void **state)
{
    rounding r;
    double w[COUNT] = { 0 }, d[COUNT] = { 0 }, reg = 0, value = 0;
    const double h = step_size();

    (void)state;
    rounding_init(&r, 1);
    r.args.reg_weight = 1;
    r.args.reg_beta = (dmq_real)2.5;
    for (int p = 0; p < 4; p++)
        rounding_moved(&r, at[p] * h, weight[p] / h, w, d, &reg);
    r.args.reg_value = &value;
    CHECK_OK(dmq_adaround_jvp_ref(NULL, &r.args));
    CHECK_OK(dmq_adaround_curve_ref(NULL, &r.args));
    for (int i = 0; i < COUNT; i++) {
        near((double)r.w_tan[i], w[i], 1);
        near((double)r.dalpha[i], d[i], 1);
    }
    CHECK_OK(dmq_adaround_regularize_ref(NULL, &r.args));
    near(check_dot(r.dalpha, r.tan, COUNT), reg, 0);
}

#ifdef DMQ_REAL_DOUBLE /* |2h - 1|^20 changes fast: a smaller step would be needed in float */
static void regularizer_at_the_start_of_its_schedule(void **state)
{
    rounding r;
    double h = 1e-4, sum = 0;

    (void)state;
    rounding_init(&r, 2);
    for (int i = 0; i < COUNT; i++) {
        sum = 0;
        for (int p = 0; p < 4; p++)
            sum += weight[p] / h * (double)dmq_ada_reg(r.alpha[i] + (dmq_real)(at[p] * h), 20);
        near((double)dmq_ada_dreg(r.alpha[i], 20), sum, fabs(sum));
    }
}
#endif

static void adaround_transposes(void **state)
{
    rounding r;
    double left, right;

    (void)state;
    rounding_init(&r, 3);
    CHECK_OK(dmq_adaround_jvp_ref(NULL, &r.args));
    CHECK_OK(dmq_adaround_backward_ref(NULL, &r.args));
    left = check_dot(r.w_tan, r.dw, COUNT);
    right = check_dot(r.dalpha, r.tan, COUNT);
    assert_true(fabs(left - right) <= (is_double ? 1e-14 : 1e-6) * (1 + fabs(left)));
    /* soft weights at the start are the weights */
    CHECK_OK(dmq_adaround_init_ref(NULL, &r.args));
    CHECK_OK(dmq_adaround_forward_ref(NULL, &r.args));
    for (int i = 0; i < COUNT; i++)
        assert_true(fabs((double)(r.w_soft[i] - r.w[i])) <= (is_double ? 1e-14 : 1e-6));
}

static void the_step_is_its_parts(void **state)
{
    rounding r, q;
    dmq_real *moments = check_reals(4 * COUNT);
    dmq_adaround_step_args s;
    dmq_adam_args adam = { .m = moments + 2 * COUNT,
                           .v = moments + 3 * COUNT,
                           .count = COUNT,
                           .lr = (dmq_real)0.01,
                           .beta1 = (dmq_real)0.9,
                           .beta2 = (dmq_real)0.999,
                           .eps = (dmq_real)1e-8 };

    (void)state;
    rounding_init(&r, 4);
    rounding_init(&q, 4);
    r.args.reg_weight = q.args.reg_weight = (dmq_real)0.01;
    r.args.reg_beta = q.args.reg_beta = 7;
    s = (dmq_adaround_step_args){ .round = r.args,
                                  .m = moments,
                                  .v = moments + COUNT,
                                  .lr = adam.lr,
                                  .beta1 = adam.beta1,
                                  .beta2 = adam.beta2,
                                  .eps = adam.eps };
    for (int step = 1; step <= 5; step++) {
        s.step = adam.step = step;
        CHECK_OK(dmq_adaround_step_ref(NULL, &s));
        q.args.add = 0;
        CHECK_OK(dmq_adaround_backward_ref(NULL, &q.args));
        q.args.add = 1;
        CHECK_OK(dmq_adaround_regularize_ref(NULL, &q.args));
        adam.p = q.alpha;
        adam.g = q.dalpha;
        CHECK_OK(dmq_adam_ref(NULL, &adam));
        CHECK_OK(dmq_adaround_forward_ref(NULL, &q.args));
    }
    check_equal("alpha", r.alpha, q.alpha, COUNT);
    check_equal("w_soft", r.w_soft, q.w_soft, COUNT);
    check_equal("moments", moments, moments + 2 * COUNT, 2 * COUNT);
}

static void loss_has_its_derivatives(void **state)
{
    const double power[] = { 2, 2.4, 3 };

    (void)state;
    for (int k = 0; k < 3; k++) {
        uint64_t stream = check_stream(5);
        dmq_real *f = check_random(COUNT, &stream), *y = check_random(COUNT, &stream);
        dmq_real *tan = check_random(COUNT, &stream), *moved = check_reals(COUNT);
        dmq_real *df = check_reals(COUNT), loss[K], loss_tan[K];
        dmq_real ones[K] = { 1, 1, 1 };
        double sum[K] = { 0 }, h = step_size();
        dmq_loss_args a = { .f = f,
                            .y = y,
                            .loss = loss,
                            .dloss = ones,
                            .df = df,
                            .f_tan = tan,
                            .loss_tan = loss_tan,
                            .n = K,
                            .per = PER,
                            .coef = (dmq_real)0.25,
                            .power = (dmq_real)power[k] };

        for (int i = 0; i < COUNT; i++) /* |e|^2.4 has no fourth derivative at 0: keep off it */
            y[i] = f[i] + (f[i] > y[i] ? (dmq_real)-1.5 : (dmq_real)1.5);
        for (int i = 0; i < COUNT; i++)
            tan[i] /= 4;
        CHECK_OK(dmq_loss_jvp_ref(NULL, &a));
        CHECK_OK(dmq_loss_backward_ref(NULL, &a));
        a.f = moved;
        for (int p = 0; p < 4; p++) {
            for (int i = 0; i < COUNT; i++)
                moved[i] = (dmq_real)((double)f[i] + at[p] * h * (double)tan[i]);
            CHECK_OK(dmq_loss_forward_ref(NULL, &a));
            for (int i = 0; i < K; i++)
                sum[i] += weight[p] / h * (double)loss[i];
        }
        for (int i = 0; i < K; i++) {
            near((double)loss_tan[i], sum[i], fabs(sum[i]));
            assert_true(fabs(check_dot(df + i * PER, tan + i * PER, PER) - (double)loss_tan[i]) <=
                        (is_double ? 1e-14 : 2e-6) * (1 + fabs(sum[i])));
        }
    }
}

static void sample_weights_have_their_gradient(void **state)
{
    enum { N = 12 };
    uint64_t stream = check_stream(6);
    dmq_real *s = check_random(N, &stream), *d = check_random(N, &stream);
    dmq_real *v = check_random(N, &stream), w[N], ds[N], moved[N];
    dmq_simplex_args a = { s, w, d, ds, N, (dmq_real)0.7 };
    double sum = 0, h = step_size();

    (void)state;
    CHECK_OK(dmq_simplex_forward_ref(NULL, &a));
    CHECK_OK(dmq_simplex_backward_ref(NULL, &a));
    a.s = moved;
    for (int p = 0; p < 4; p++) {
        for (int i = 0; i < N; i++)
            moved[i] = (dmq_real)((double)s[i] + at[p] * h * (double)v[i]);
        CHECK_OK(dmq_simplex_forward_ref(NULL, &a));
        sum += weight[p] / h * check_dot(w, d, N);
    }
    near(check_dot(ds, v, N), sum, fabs(sum));
}

/* specs: gac.md 1.8: 6e-17 in double */
static void batch_softmax_is_the_renormalized_one(void **state)
{
    enum { ALL = 40, BATCH = 8 };
    uint64_t stream = check_stream(7);
    dmq_real *s = check_random(ALL, &stream), all[ALL], part[BATCH], batch[BATCH];
    dmq_simplex_args a = { s, all, NULL, NULL, ALL, (dmq_real)0.7 };
    double sum = 0;

    (void)state;
    CHECK_OK(dmq_simplex_forward_ref(NULL, &a));
    for (int i = 0; i < BATCH; i++) {
        part[i] = s[5 * i + 1];
        sum += (double)all[5 * i + 1];
    }
    a.s = part;
    a.w = batch;
    a.n = BATCH;
    CHECK_OK(dmq_simplex_forward_ref(NULL, &a));
    for (int i = 0; i < BATCH; i++) {
        assert_true(fabs((double)batch[i] - (double)all[5 * i + 1] / sum) <
                    (is_double ? 1e-16 : 1e-7));
    }
}

/* y with the rounding held is smooth in the scale, and that slope is the gradient. */
static void scale_gradient_is_that_of_the_held_rounding(void **state)
{
    uint64_t stream = check_stream(8);

    (void)state;
    for (int i = 0; i < 200; i++) {
        dmq_real x = (dmq_real)(float)(8 * check_uniform(&stream) - 4);
        dmq_real scale = (dmq_real)(float)(0.1 + 0.3 * check_uniform(&stream)), zero = 6;
        dmq_real code = dmq_fq_code(x, scale, zero);
        double offset = rint((double)(x / scale)) - (double)(x / scale);
        double sum = 0, h = step_size() / 10;

        for (int p = 0; p < 4; p++) {
            double s = (double)scale + at[p] * h, y;

            y = code < 0 ? -(double)zero * s : code > 15 ? (15 - (double)zero) * s : 0;
            if (dmq_fq_inside(code, 0, 15))
                y = ((double)x / s + offset) * s;
            sum += weight[p] / h * y;
        }
        near((double)dmq_fq_dscale(x, scale, zero, 0, 15), sum, 10);
    }
}

static void adam_starts_with_a_step_of_lr(void **state)
{
    dmq_real p[3] = { 1, 1, 1 }, m[3] = { 0 }, v[3] = { 0 };
    dmq_real g[3] = { (dmq_real)0.5, (dmq_real)-2e-4, 0 };
    dmq_adam_args a = {
        p, m, v, g, 3, (dmq_real)0.125, (dmq_real)0.9, (dmq_real)0.999, (dmq_real)1e-8, 1
    };

    (void)state;
    CHECK_OK(dmq_adam_ref(NULL, &a));
    for (int i = 0; i < 3; i++) {
        double want = 1 - 0.125 * (double)g[i] / (fabs((double)g[i]) + 1e-8);

        assert_true(fabs((double)p[i] - want) < (is_double ? 1e-14 : 1e-6));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(adaround_has_its_derivatives),
#ifdef DMQ_REAL_DOUBLE
        CHECK_TEST(regularizer_at_the_start_of_its_schedule),
#endif
        CHECK_TEST(adaround_transposes),
        CHECK_TEST(the_step_is_its_parts),
        CHECK_TEST(loss_has_its_derivatives),
        CHECK_TEST(sample_weights_have_their_gradient),
        CHECK_TEST(batch_softmax_is_the_renormalized_one),
        CHECK_TEST(scale_gradient_is_that_of_the_held_rounding),
        CHECK_TEST(adam_starts_with_a_step_of_lr),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
