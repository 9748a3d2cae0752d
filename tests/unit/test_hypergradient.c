/* Hypergradients of sample weights against nested autograd (PyTorch, float64); also in double, where
   central differences with a small step and the closed forms agree with it to 1e-9. */
#include "bilevel/hypergradient.h"

#include "bilevel/learn.h"
#include "bilevel/vec.h"
#include "kernels/noise.h"
#include "kernels/simplex.h"
#include "toy_problem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#ifdef DMQ_REAL_DOUBLE
#define CLOSED_FORM 1e-9 /* J, d_mse and values */
#define WITH_HVP    1e-9
#define HVP_MOVE    1e-5
#define REORDERED   1e-11
#else
#define CLOSED_FORM 1e-4
#define WITH_HVP    5e-3
#define HVP_MOVE    1e-2
#define REORDERED   1e-5
#endif
#define ETA 2.0

static dmq_h5 *golden;
static toy *block;
static int train[TOY_N];
static dmq_groups groups;
static int group_sample[TOY_K][TOY_M];
static dmq_real omega[TOY_N];

static void ok(dmq_status st)
{
    if (st != DMQ_OK)
        fail_msg("%s", dmq_message());
}

static double relative(const dmq_real *a, const dmq_real *b, size_t n)
{
    double diff = 0, size = 0;

    for (size_t i = 0; i < n; i++) {
        diff += pow((double)a[i] - (double)b[i], 2);
        size += pow((double)b[i], 2);
    }
    assert_true(size > 0);
    return sqrt(diff / size);
}

static void expect_close(const char *what, const dmq_real *a, const dmq_real *b, size_t n,
                         double tolerance)
{
    double r = relative(a, b, n);

    print_message("  %-44s %.2e of %.0e\n", what, r, tolerance);
    if (!(r <= tolerance))
        fail_msg("%s: relative error %.3e, allowed %.0e", what, r, tolerance);
}

static int setup(void **state)
{
    (void)state;
    ok(dmq_h5_open(&golden, DMQ_GOLDEN_DIR "/hypergradient.h5", DMQ_H5_READ));
    ok(toy_create(&block, golden, TOY_ALL));
    ok(dmq_h5_read_real(omega, golden, "omega", DMQ_DIMS(TOY_N)));
    for (int i = 0; i < TOY_N; i++)
        train[i] = i;
    groups.k = TOY_K;
    for (int t = 0; t < TOY_K; t++) {
        for (int i = 0; i < TOY_M; i++)
            group_sample[t][i] = TOY_N + t * TOY_M + i;
        groups.sample[t] = group_sample[t];
        groups.count[t] = TOY_M;
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    toy_destroy(block);
    dmq_h5_close(golden);
    return 0;
}

static void jacobian_and_tangent(void **state)
{
    static dmq_real j[TOY_N * TOY_P], expected[TOY_N * TOY_P], direction[TOY_P], dots[TOY_N],
        want[TOY_N], loss[TOY_N], want_loss[TOY_N];

    (void)state;
    ok(dmq_h5_read_real(expected, golden, "jacobian", DMQ_DIMS(TOY_N, TOY_P)));
    ok(dmq_h5_read_real(direction, golden, "direction", DMQ_DIMS(TOY_P)));
    ok(dmq_h5_read_real(want, golden, "dots", DMQ_DIMS(TOY_N)));
    ok(dmq_h5_read_real(want_loss, golden, "train_loss", DMQ_DIMS(TOY_N)));
    ok(toy_grad_each(block, block->theta, train, TOY_N, j, loss));
    ok(toy_jvp(block, block->theta, train, TOY_N, direction, dots));
    expect_close("loss of each sample", loss, want_loss, TOY_N, CLOSED_FORM);
    expect_close("per-sample gradients J", j, expected, TOY_N * TOY_P, CLOSED_FORM);
    expect_close("tangents J'v", dots, want, TOY_N, CLOSED_FORM);
}

#ifdef DMQ_REAL_DOUBLE
/* Against the exact product along a random direction, with a step that crosses no clamp. In float the step
   of 1e-2 crosses some, which a random direction sees and the directions of the method (sums of gradients,
   zero where a clamp holds) do not: that row of the specification is the d_gm of closed_forms. */
static void hessian_vector_product(void **state)
{
    static dmq_real v[TOY_P], want[TOY_P], work[2 * TOY_P], hv[TOY_P];

    (void)state;
    ok(dmq_h5_read_real(v, golden, "direction", DMQ_DIMS(TOY_P)));
    ok(dmq_h5_read_real(want, golden, "hvp", DMQ_DIMS(TOY_P)));
    ok(dmq_hvp(&block->problem, block->theta, groups.sample[0], TOY_M, v, HVP_MOVE, work, hv));
    expect_close("H v by central difference", hv, want, TOY_P, 1e-9);
}
#endif

static const dmq_hyper_config base = { .with_gm = 1, .eta = ETA, .hvp_move = HVP_MOVE, .rate = 1 };

static void one_form(dmq_gm_form form, int cosine, int normalize, int matrix_free)
{
    dmq_hyper_config c = base;
    dmq_hyper_result r;
    dmq_hyper *h = NULL;
    dmq_real d_mse[TOY_N], d_gm[TOY_N], want[TOY_N], value[1], got[1];
    char name[96], what[160];

    c.form = form;
    c.cosine = cosine;
    c.normalize = normalize;
    c.matrix_free = matrix_free;
    ok(dmq_hyper_create(&h, &block->problem, TOY_N, TOY_K, &c));
    ok(dmq_hyper_eval(h, block->theta, train, TOY_N, omega, &groups, d_mse, d_gm, &r));
#define GOLDEN(tail)                                                                               \
    ((void)snprintf(name, sizeof name, "%s/%s/%s/" tail,                                           \
                    form == DMQ_GM_ORIGINAL ? "original" : "surrogate", cosine ? "cosine" : "dot", \
                    normalize ? "normalized" : "plain"),                                           \
     (void)snprintf(what, sizeof what, "%s%s", name, matrix_free ? " (matrix-free)" : ""), name)
    ok(dmq_h5_read_real(value, golden, GOLDEN("value_mse"), DMQ_DIMS(1)));
    got[0] = (dmq_real)r.loss_mse;
    expect_close(what, got, value, 1, CLOSED_FORM);
    ok(dmq_h5_read_real(value, golden, GOLDEN("value_gm"), DMQ_DIMS(1)));
    got[0] = (dmq_real)r.loss_gm;
    expect_close(what, got, value, 1, CLOSED_FORM);
    ok(dmq_h5_read_real(want, golden, GOLDEN("d_mse"), DMQ_DIMS(TOY_N)));
    expect_close(what, d_mse, want, TOY_N, CLOSED_FORM);
    ok(dmq_h5_read_real(want, golden, GOLDEN("d_gm"), DMQ_DIMS(TOY_N)));
    expect_close(what, d_gm, want, TOY_N, WITH_HVP);
    dmq_hyper_destroy(h);
}

static void closed_forms(void **state)
{
    (void)state;
    for (int form = 0; form < 2; form++) {
        for (int cosine = 0; cosine < 2; cosine++) {
            for (int normalize = 0; normalize < 2; normalize++) {
                for (int free = 0; free < 2; free++)
                    one_form(form ? DMQ_GM_ORIGINAL : DMQ_GM_SURROGATE, cosine, normalize, free);
            }
        }
    }
}

/* Differences of some groups at a time, or of all: the same sums in another order. */
static void waves_of_groups(void **state)
{
    static const int points[] = { 1, 4, 6, 7, 8, 10 };
    dmq_real d_mse[TOY_N], d_gm[TOY_N], want[TOY_N], same[TOY_N];

    (void)state;
    for (int form = 0; form < 2; form++) {
        for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
            dmq_hyper_config c = base;
            dmq_hyper *h = NULL;
            char what[64];

            c.form = form ? DMQ_GM_ORIGINAL : DMQ_GM_SURROGATE;
            c.cosine = 1;
            block->points = points[i];
            ok(dmq_hyper_create(&h, &block->problem, TOY_N, TOY_K, &c));
            ok(dmq_hyper_eval(h, block->theta, train, TOY_N, omega, &groups, d_mse, d_gm, NULL));
            dmq_hyper_destroy(h);
            block->points = 1;
            if (i == 0) {
                memcpy(want, d_gm, sizeof want);
                memcpy(same, d_mse, sizeof same);
                continue;
            }
            assert_memory_equal(d_mse, same, sizeof same);
            (void)snprintf(what, sizeof what, "form %d, %d points at a time", form, points[i]);
            expect_close(what, d_gm, want, TOY_N, REORDERED);
        }
    }
}

static void through_the_softmax(void **state)
{
    dmq_hyper_config c = base;
    dmq_hyper_result r;
    dmq_hyper *h = NULL;
    dmq_real s[TOY_N], w[TOY_N], d_mse[TOY_N], d_gm[TOY_N], ds[TOY_N], want[TOY_N];
    dmq_simplex_args simplex = { .s = s, .w = w, .d = d_mse, .ds = ds, .n = TOY_N, .tau = 1 };

    (void)state;
    c.form = DMQ_GM_ORIGINAL;
    ok(dmq_h5_read_real(s, golden, "s", DMQ_DIMS(TOY_N)));
    ok(dmq_simplex_forward_ref(NULL, &simplex));
    ok(dmq_hyper_create(&h, &block->problem, TOY_N, TOY_K, &c));
    ok(dmq_hyper_eval(h, block->theta, train, TOY_N, w, &groups, d_mse, d_gm, &r));
    for (int i = 0; i < TOY_N; i++)
        d_mse[i] += d_gm[i];
    ok(dmq_simplex_backward_ref(NULL, &simplex));
    ok(dmq_h5_read_real(want, golden, "ds_literal_original", DMQ_DIMS(TOY_N)));
    expect_close("dL/ds of the literal sum", ds, want, TOY_N, CLOSED_FORM);
    dmq_hyper_destroy(h);
}

#ifdef DMQ_REAL_DOUBLE /* products of 1e-10 and less: for double alone */
/* rho = |d_gm|/|d_mse| grows with kappa^3 and eta^2 for R1, with kappa and not eta for R3. eta is small:
   the law is about the limit of a step that changes no Hessian. */
static double rho_at(dmq_gm_form form, double kappa, double eta)
{
    dmq_hyper_config c = base;
    dmq_hyper_result r;
    dmq_hyper *h = NULL;
    dmq_real d_mse[TOY_N], d_gm[TOY_N];

    c.form = form;
    c.eta = eta;
    block->kappa = kappa;
    ok(dmq_hyper_create(&h, &block->problem, TOY_N, TOY_K, &c));
    ok(dmq_hyper_eval(h, block->theta, train, TOY_N, omega, &groups, d_mse, d_gm, &r));
    dmq_hyper_destroy(h);
    block->kappa = 1;
    return dmq_vec_norm(d_gm, TOY_N) / dmq_vec_norm(d_mse, TOY_N);
}

static void scaling_law(void **state)
{
    const double eta = 1e-2;
    double surrogate = rho_at(DMQ_GM_SURROGATE, 1, eta), original = rho_at(DMQ_GM_ORIGINAL, 1, eta);

    (void)state;
    double k1 = log2(rho_at(DMQ_GM_SURROGATE, 2, eta) / surrogate);
    double e1 = log2(rho_at(DMQ_GM_SURROGATE, 1, 2 * eta) / surrogate);
    double k3 = log2(rho_at(DMQ_GM_ORIGINAL, 2, eta) / original);
    double e3 = log2(rho_at(DMQ_GM_ORIGINAL, 1, 2 * eta) / original);

    print_message("  exponents: R1 kappa %.4f (3) eta %.4f (2), R3 kappa %.4f (1) eta %.4f (0)\n",
                  k1, e1, k3, e3);
    assert_true(fabs(k1 - 3) < 5e-3);
    assert_true(fabs(e1 - 2) < 5e-3);
    assert_true(fabs(k3 - 1) < 5e-3);
    assert_true(fabs(e3) < 5e-3);
}
#endif

/* R2 averaged over many group orders is the gradient of L_MSE + rate (K-1)/4 L_GM: its alignment part
   is rate (K-1)/4 times that of R1, and what is left over shrinks with the rate. */
static void sequential_form(void **state)
{
    dmq_hyper_config c = base;
    dmq_hyper_result r;
    dmq_hyper *h = NULL;
    dmq_real d_mse[TOY_N], d_gm[TOY_N], want[TOY_N], mean[2][TOY_N];
    double left[2];

    (void)state;
    ok(dmq_h5_read_real(want, golden, "surrogate/dot/plain/d_gm", DMQ_DIMS(TOY_N)));
    c.form = DMQ_GM_SEQUENTIAL;
    c.order_seed = 5;
    for (int pass = 0; pass < 2; pass++) {
        const int orders = 120;
        dmq_real scaled[TOY_N];

        c.rate = pass ? 2.0 : 4.0;
        memset(mean[pass], 0, sizeof mean[pass]);
        ok(dmq_hyper_create(&h, &block->problem, TOY_N, TOY_K, &c));
        for (int i = 0; i < orders; i++) {
            dmq_hyper_set_order(h, (uint32_t)i);
            ok(dmq_hyper_eval(h, block->theta, train, TOY_N, omega, &groups, d_mse, d_gm, &r));
            dmq_vec_axpby(mean[pass], 1, d_gm, 1.0 / orders, TOY_N);
        }
        dmq_hyper_destroy(h);
        h = NULL;
        dmq_vec_axpby(scaled, 0, want, c.rate * (TOY_K - 1) / 4, TOY_N);
        left[pass] = relative(mean[pass], scaled, TOY_N);
    }
    print_message("  R2 against rate (K-1)/4 R1: %.2e at rate 4, %.2e at rate 2\n", left[0],
                  left[1]);
#ifdef DMQ_REAL_DOUBLE /* in float the differences of w are below rounding */
    assert_true(left[0] < 1e-2);
    assert_true(left[1] < 1e-2);
#endif
}

static void gm_policies(void **state)
{
    const dmq_real m[4] = { 1, -1, 2, -2 }, g[4] = { -3, 1, 1, 5 },
                   w[4] = { .25f, .25f, .25f, .25f };
    dmq_real d[4];
    dmq_gm_stats stats;
    double dot = 0, rest = 0;

    (void)state;
    dmq_gm_combine(d, m, g, w, 4, DMQ_GM_OFF, 1, 0, &stats);
    for (int i = 0; i < 4; i++)
        assert_true(d[i] == m[i]); /* m is centred already */
    dmq_gm_combine(d, m, g, w, 4, DMQ_GM_LITERAL, 1, 0, &stats);
    for (int i = 0; i < 4; i++)
        assert_true(fabs((double)(d[i] - (m[i] + g[i] - 1))) < 1e-6); /* g has mean 1 */
    dmq_gm_combine(d, m, g, w, 4, DMQ_GM_PROJECTED, 1, 0, &stats);
    for (int i = 0; i < 4; i++) {
        dot += (double)m[i] * (double)(d[i] - m[i]);
        rest += pow((double)(d[i] - m[i]), 2);
    }
    assert_true(fabs(dot) < 1e-5);
    assert_true(fabs(rest - 10) < 1e-5); /* rho_0 = 1: as long as m */
    dmq_gm_combine(d, m, g, w, 4, DMQ_GM_CAPPED, 0.3, 0, &stats);
    rest = 0;
    for (int i = 0; i < 4; i++)
        rest += pow((double)(d[i] - m[i]), 2);
    assert_true(fabs(rest - 0.09 * 10) < 1e-5);
    assert_true(stats.cosine < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jacobian_and_tangent),   cmocka_unit_test(closed_forms),
        cmocka_unit_test(through_the_softmax),    cmocka_unit_test(waves_of_groups),
#ifdef DMQ_REAL_DOUBLE
        cmocka_unit_test(hessian_vector_product), cmocka_unit_test(scaling_law),
#endif
        cmocka_unit_test(sequential_form),        cmocka_unit_test(gm_policies),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
