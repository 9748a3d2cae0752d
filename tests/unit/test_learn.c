/* Learning sample weights: one shot against exact, effective sample size, the permuted control, and the
   planted case: a quarter of the targets corrupted. The block is that of the golden values, with samples
   of five noise levels. */
#include "bilevel/learn.h"

#include "bilevel/diagnose.h"
#include "bilevel/vec.h"
#include "kernels/noise.h"
#include "kernels/optim.h"
#include "kernels/simplex.h"
#include "toy_problem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { N_TRAIN = 160, N_VAL = 40, N_HELD = 60, N = N_TRAIN + N_VAL + N_HELD, BATCH = 32 };

static toy *block;
static int train[N_TRAIN], held[N_HELD], val[TOY_K][N_VAL / TOY_K];
static dmq_groups groups;

static void ok(dmq_status st)
{
    if (st != DMQ_OK)
        fail_msg("%s", dmq_message());
}

static void normal(dmq_real *out, int n, size_t per, uint32_t step)
{
    dmq_noise_args a = {
        .out = out, .n = n, .per = per, .seed = 3, .purpose = DMQ_FOR_TEST, .step = step
    };

    ok(dmq_noise_normal_ref(NULL, &a));
}

static int group_of(int sample)
{
    return sample % TOY_K;
}

/* Targets are the block at the golden theta, on inputs without the mismatch that a prefix brings. */
static void make_samples(void)
{
    static dmq_real mismatch[N * TOY_X];

    normal(block->x, N, TOY_X, 0);
    normal(block->emb, N, TOY_C, 1);
    normal(mismatch, N, TOY_X, 2);
    for (int i = 0; i < N; i++) {
        double level = 0.4 + 0.3 * group_of(i); /* groups differ in size, as timesteps do */

        for (int j = 0; j < TOY_X; j++)
            block->x[(size_t)i * TOY_X + (size_t)j] *= (dmq_real)level;
        for (int j = 0; j < TOY_C; j++)
            block->emb[i * TOY_C + j] *= (dmq_real)0.3;
    }
    for (int i = 0; i < N; i++) {
        ok(toy_pass(block, block->theta, i));
        memcpy(block->y + (size_t)i * TOY_X, block->out->value, TOY_X * sizeof(dmq_real));
    }
    for (size_t j = 0; j < (size_t)N * TOY_X; j++)
        block->x[j] += (dmq_real)0.05 * mismatch[j];
}

static int setup(void **state)
{
    dmq_h5 *golden = NULL;

    (void)state;
    ok(dmq_h5_open(&golden, DMQ_GOLDEN_DIR "/hypergradient.h5", DMQ_H5_READ));
    ok(toy_create(&block, golden, N));
    dmq_h5_close(golden);
    make_samples();
    for (int i = 0; i < TOY_P; i++) { /* away from the targets: what is to be learned */
        block->theta[i] +=
            (dmq_real)(0.8 * (dmq_uniform(9, DMQ_FOR_TEST, 0, 3, (uint32_t)i) - 0.5));
    }
    for (int i = 0; i < N_TRAIN; i++)
        train[i] = i;
    for (int i = 0; i < N_HELD; i++)
        held[i] = N_TRAIN + N_VAL + i;
    groups.k = TOY_K;
    for (int i = 0; i < N_VAL; i++)
        val[group_of(N_TRAIN + i)][i / TOY_K] = N_TRAIN + i;
    for (int t = 0; t < TOY_K; t++) {
        groups.sample[t] = val[t];
        groups.count[t] = N_VAL / TOY_K;
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    toy_destroy(block);
    return 0;
}

static void learn(const dmq_learn_config *c, dmq_real *s, dmq_learn_log *log)
{
    ok(dmq_learn_weights(&block->problem, block->theta, train, N_TRAIN, &groups, c, s, log));
}

/* d of the two modes is the same as long as theta hardly moves: so are the weights, up to the draw of the
   validation batches. */
static void exact_against_one_shot(void **state)
{
    dmq_real one[N_TRAIN], exact[N_TRAIN];
    dmq_learn_config c;
    dmq_learn_log log;
    double rho;

    (void)state;
    for (int form = 0; form < 2; form++) {
        dmq_learn_defaults(&c);
        c.form = DMQ_GM_ORIGINAL;
        c.gm_weight = form ? DMQ_GM_CAPPED : DMQ_GM_OFF;
        c.ess_stop = 0;
        c.eta_move = 3e-4; /* of the first batch; later ones move up to 4e-4 */
        c.validation_batch = 0;
        learn(&c, one, &log);
        c.mode = DMQ_EXACT;
        learn(&c, exact, &log);
        ok(dmq_spearman(one, exact, N_TRAIN, &rho));
        print_message("  %s: Spearman %.3f, rms move %.1e, ESS %.3f, cos(mse, gm) %+.2f\n",
                      form ? "capped" : "off", rho, log.move, log.ess, log.cosine_mse_gm);
        assert_true(log.move <= 4e-4);
        assert_true(rho >= 0.9);
    }
}

static void stops_by_effective_sample_size(void **state)
{
    dmq_real s[N_TRAIN], p[N_TRAIN];
    dmq_learn_config c;
    dmq_learn_log log;
    double sum_s = 0, sum_p = 0;
    int same = 0;

    (void)state;
    dmq_learn_defaults(&c);
    c.gm_weight = DMQ_GM_OFF;
    c.visits = 200;
    learn(&c, s, &log);
    assert_true(log.stopped_by_ess);
    assert_true(log.ess >= 0.9 && log.ess < 0.93);
    c.permute = 1;
    learn(&c, p, &log);
    for (int i = 0; i < N_TRAIN; i++) {
        sum_s += (double)s[i];
        sum_p += (double)p[i];
        same += s[i] == p[i];
    }
    assert_true(fabs(sum_s - sum_p) < 1e-4 && same < N_TRAIN / 4);
    assert_true(fabs(log.ess - dmq_ess(s, N_TRAIN, 1, NULL)) < 1e-6);
}

/* AdaRound's data term alone under the weights; returns the held-out loss. */
static double reconstruct(const dmq_real *s)
{
    static dmq_real theta[TOY_P], m[TOY_P], v[TOY_P], g[TOY_P];
    dmq_real logits[BATCH], w[BATCH], loss[N_HELD];
    dmq_simplex_args simplex = { .s = logits, .w = w, .n = BATCH, .tau = 1 };
    int order[N_TRAIN];
    double sum = 0;

    memcpy(theta, block->theta, sizeof theta);
    memset(m, 0, sizeof m);
    memset(v, 0, sizeof v);
    for (int k = 1; k <= 120; k++) {
        dmq_adam_args adam = { .p = theta,
                               .m = m,
                               .v = v,
                               .g = g,
                               .count = TOY_P,
                               .lr = (dmq_real)0.02,
                               .beta1 = (dmq_real)0.9,
                               .beta2 = (dmq_real)0.999,
                               .eps = (dmq_real)1e-8,
                               .step = k };

        dmq_permutation(order, N_TRAIN, 11, DMQ_FOR_BATCH, 0, (uint32_t)k);
        for (int i = 0; i < BATCH; i++)
            logits[i] = s ? s[order[i]] : 0;
        ok(dmq_simplex_forward_ref(NULL, &simplex));
        ok(toy_grad(block, theta, order, w, BATCH, g, NULL)); /* train[i] is sample i */
        ok(dmq_adam_ref(NULL, &adam));
    }
    ok(toy_loss(block, theta, held, N_HELD, loss));
    for (int i = 0; i < N_HELD; i++)
        sum += (double)loss[i] / N_HELD;
    return sum;
}

static double mass_on(const dmq_real *s, const int *bad)
{
    double all = 0, part = 0;

    for (int i = 0; i < N_TRAIN; i++) {
        all += exp((double)s[i]);
        part += bad[i] ? exp((double)s[i]) : 0;
    }
    return part / all;
}

/* With normalized gradients the corrupted quarter falls below half of its share and the held-out loss
   improves on uniform; permuted weights do neither. */
static void planted(void **state)
{
    static dmq_real clean[N_TRAIN * TOY_X], noise[N_TRAIN * TOY_X];
    dmq_real s[N_TRAIN], permuted[N_TRAIN];
    dmq_learn_config c;
    dmq_learn_log log;
    int bad[N_TRAIN], n_bad = 0;
    double uniform, learned, control, share, mass, control_mass;

    (void)state;
    memcpy(clean, block->y, sizeof clean);
    normal(noise, N_TRAIN, TOY_X, 5);
    for (int i = 0; i < N_TRAIN; i++) {
        bad[i] = (i / TOY_K) % 4 == 0;
        n_bad += bad[i];
        for (int j = 0; bad[i] && j < TOY_X; j++)
            block->y[(size_t)i * TOY_X + (size_t)j] += noise[(size_t)i * TOY_X + (size_t)j];
    }
    share = (double)n_bad / N_TRAIN;
    dmq_learn_defaults(&c);
    c.gm_weight = DMQ_GM_OFF;
    c.normalize = 1;
    c.visits = 60; /* as in the study: a long phase, down to an effective size of one half */
    c.ess_stop = 0.5;
    learn(&c, s, &log);
    mass = mass_on(s, bad);
    c.permute = 1;
    learn(&c, permuted, &log);
    control_mass = mass_on(permuted, bad);
    uniform = reconstruct(NULL);
    learned = reconstruct(s);
    control = reconstruct(permuted);
    print_message(
        "  mass on the corrupted %.0f %%: %.3f, permuted %.3f; held-out loss against uniform: "
        "%+.1f %%, permuted %+.1f %%; ESS %.2f\n",
        100 * share, mass, control_mass, 100 * (learned / uniform - 1),
        100 * (control / uniform - 1), log.ess);
    memcpy(block->y, clean, sizeof clean);
    assert_true(mass < share / 2);
    assert_true(learned < uniform);
    assert_true(control_mass > share / 2);
    assert_true(control >= uniform);
}

static void spearman(void **state)
{
    const dmq_real a[5] = { 1, 2, 3, 4, 5 }, b[5] = { 2, 4, 6, 8, 100 }, c[5] = { 5, 4, 3, 2, 1 },
                   tied[5] = { 1, 1, 2, 2, 3 };
    double rho;

    (void)state;
    ok(dmq_spearman(a, b, 5, &rho));
    assert_true(fabs(rho - 1) < 1e-12);
    ok(dmq_spearman(a, c, 5, &rho));
    assert_true(fabs(rho + 1) < 1e-12);
    ok(dmq_spearman(a, tied, 5, &rho)); /* scipy.stats.spearmanr */
    assert_true(fabs(rho - 0.9486832980505138) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spearman),
        cmocka_unit_test(exact_against_one_shot),
        cmocka_unit_test(stops_by_effective_sample_size),
        cmocka_unit_test(planted),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
