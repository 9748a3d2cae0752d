/*
 * One meta-iteration of the sample weights: their gradient on 32 training and 5 groups of 8 validation
 * samples, through softmax, and Adam on the logits. By form (off: no alignment term; r1 surrogate, r3
 * original, r2 sequential) and by route (explicit J, matrix-free). Beside bench/reference/meta.py, which
 * has r1 and r3 by unrolled differentiation; weights only, as there.
 *
 *   bench_meta [--backend cpu] [--threads 2] [--only 64@16/r1] [--reps 20] [--ms 200] [--check 1] [--clock wall|cpu]
 *              [--profile 0] [--count 0] [--shard 0]
 *
 * First a line "meta_unit": a plain AdaRound iteration of the block, the unit in which stderr tells the
 * meta-iterations. A device is given plans of 50 of either, which it records once and replays; the gradients of all
 * Hessian-vector products are one pass of it, with weights of their own for each (a host takes them one by one). The
 * error is that of the gradient against the reference backend's (of a device: cpu's), on a tenth of the samples.
 * FLOPs: of the passes that the form needs, counted for explicit J (a gradient 2.5 forwards, a Hessian-vector product
 * two gradients); the matrix-free route does more for the same.
 */
#include "bench.h"
#include "resblock.h"
#include "setup.h"

#include "base/memory.h"
#include "bilevel/meta.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRAIN = 32, GROUPS = 5, EACH = 8, SAMPLES = TRAIN + GROUPS * EACH };

typedef struct meta {
    bench_resblock b;
    dmq_hyper *hyper;
    dmq_meta *iterations;
    dmq_groups groups;
    int n; /* training samples */
    int sample[SAMPLES];
    dmq_real s[TRAIN], w[TRAIN], d_mse[TRAIN], d_gm[TRAIN];
    int number, plan; /* meta-iterations so far; iterations of one call */
} meta;

typedef struct form {
    const char *name;
    dmq_gm_form form;
    int with_gm;
    double forwards; /* of the validation batch, beside the 2.5 of the training batch for J */
} form;

static const form forms[] = { { "off", DMQ_GM_SURROGATE, 0, 2.5 },
                              { "r1", DMQ_GM_SURROGATE, 1, 7.5 },
                              { "r3", DMQ_GM_ORIGINAL, 1, 7.5 },
                              { "r2", DMQ_GM_SEQUENTIAL, 1, 5 } };

static dmq_status evaluate(meta *m)
{
    return dmq_hyper_eval(m->hyper, m->b.state->alpha, m->sample, m->n, m->w, &m->groups, m->d_mse,
                          m->d_gm, NULL);
}

/* A plan of as many iterations as learning gives a device, all of the same samples. */
static dmq_status plan(void *context)
{
    static int pick[BENCH_PLAN * TRAIN], sample[BENCH_PLAN * TRAIN];
    static dmq_groups groups[BENCH_PLAN];
    static uint32_t iteration[BENCH_PLAN];
    meta *m = context;

    for (int r = 0; r < m->plan; r++) {
        iteration[r] = (uint32_t)m->number++;
        groups[r] = m->groups;
        for (int i = 0; i < m->n; i++) {
            pick[r * m->n + i] = i;
            sample[r * m->n + i] = m->sample[i];
        }
    }
    return dmq_meta_plan_set(m->iterations, &(dmq_meta_plan){ .theta = m->b.state->alpha,
                                                              .rows = m->plan,
                                                              .n = m->n,
                                                              .pick = pick,
                                                              .sample = sample,
                                                              .groups = groups,
                                                              .iteration = iteration });
}

static dmq_status run(void *context)
{
    meta *m = context;

    return dmq_meta_run(m->iterations, m->plan);
}

/* With what the host asks of it in the end. */
static dmq_status iterate(void *context)
{
    meta *m = context;
    dmq_meta_look look;
    dmq_status st = DMQ_OK;

    DMQ_TRY(plan(m));
    DMQ_TRY(run(m));
    DMQ_TRY(dmq_meta_look_at(m->iterations, &look));
done:
    return st;
}

/* On a device a plan of as many iterations as reconstruction gives it, all of the same samples. */
static dmq_status plain(void *context)
{
    static int sample[BENCH_PLAN * TRAIN];
    static dmq_real loss[BENCH_PLAN * TRAIN];
    meta *m = context;

    for (int i = 0; i < m->plan * m->n; i++)
        sample[i] = m->sample[i % m->n];
    return bench_resblock_iterate(&m->b, sample, m->n, 1, m->plan, loss);
}

/* A block with n training samples and k groups behind them, and the optimizer of one form and route. */
static dmq_status open_meta(meta *m, dmq_lanes *lanes, const int size[2], int n, int k)
{
    dmq_status st = DMQ_OK;

    memset(m, 0, sizeof *m);
    m->n = n;
    m->groups.k = k;
    for (int i = 0; i < SAMPLES; i++)
        m->sample[i] = i;
    for (int t = 0; t < k; t++) {
        m->groups.sample[t] = m->sample + n + t * EACH;
        m->groups.count[t] = EACH;
    }
    for (int i = 0; i < n; i++)
        m->s[i] = (dmq_real)(1.0 / 32);
    DMQ_TRY(bench_resblock_open(
        &m->b, lanes,
        &(bench_resblock_config){ .channels = size[0], .size = size[1], .samples = n + k * EACH }));
done:
    return st;
}

static dmq_status set_form(meta *m, const form *f, int matrix_free)
{
    dmq_hyper_config c = { .form = f->form,
                           .with_gm = f->with_gm,
                           .matrix_free = matrix_free,
                           .hvp_move = 1e-2,
                           .rate = 1,
                           .order_seed = 1 };
    dmq_status st = DMQ_OK;
    double eta;

    dmq_meta_destroy(m->iterations);
    dmq_hyper_destroy(m->hyper);
    m->iterations = NULL;
    m->hyper = NULL;
    for (int i = 0; i < m->n; i++)
        m->w[i] = (dmq_real)(1.0 / m->n);
    DMQ_TRY(dmq_hyper_create(&m->hyper, &m->b.block->problem, m->n, m->groups.k, &c));
    DMQ_TRY(dmq_hyper_eta_for_move(m->hyper, m->b.state->alpha, m->sample, m->n, m->w, 1e-4, &eta));
    dmq_hyper_set_eta(m->hyper, eta);
    if (f->form == DMQ_GM_SEQUENTIAL) {
        DMQ_TRY(dmq_hyper_rate_for_share(m->hyper, m->b.state->alpha, m->sample, m->n, m->w,
                                         &m->groups, 0.1));
    }
    DMQ_TRY(dmq_meta_create(
        &m->iterations, m->hyper,
        &(dmq_meta_config){
            .n_train = m->n, .tau = 1, .lr = 0.05, .gm_weight = DMQ_GM_LITERAL, .rho_0 = 1 }));
    DMQ_TRY(dmq_meta_logits_set(m->iterations, m->s));
done:
    return st;
}

static void close_meta(meta *m)
{
    dmq_meta_destroy(m->iterations);
    dmq_hyper_destroy(m->hyper);
    bench_resblock_close(&m->b);
    memset(m, 0, sizeof *m);
}

/* The two parts of the gradient for a few samples, here and on the reference backend. */
static dmq_status compare(double *worst, const bench_setup *setup, const int size[2], const form *f,
                          int matrix_free)
{
    enum { FEW = 8, FEW_GROUPS = 2 };
    static meta side[2];
    dmq_lanes *ref = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_lanes_create(&ref, bench_setup_judge(setup),
                             setup->be->host_memory ? dmq_lanes_count(setup->lanes) : 0));
    for (int i = 0; i < 2; i++) {
        DMQ_TRY(open_meta(&side[i], i ? ref : setup->lanes, size, FEW, FEW_GROUPS));
        DMQ_TRY(set_form(&side[i], f, matrix_free));
        DMQ_TRY(evaluate(&side[i]));
    }
    *worst = fmax(bench_error(side[0].d_mse, side[1].d_mse, FEW),
                  bench_error(side[0].d_gm, side[1].d_gm, FEW));
done:
    for (int i = 0; i < 2; i++)
        close_meta(&side[i]);
    dmq_lanes_destroy(ref);
    return st;
}

/* One form and route of a size whose plain iteration took unit_us (0: unknown). */
static dmq_status bench_form(meta *m, const bench_setup *setup, const int size[2], const form *f,
                             int matrix_free, double unit_us)
{
    dmq_status st = DMQ_OK;
    bench_result result;
    char shape[64];
    bench_case c = bench_setup_case(setup, "meta", shape, iterate, m);

    (void)snprintf(shape, sizeof shape, "%d@%d/%s/%s", size[0], size[1], f->name,
                   matrix_free ? "matrix-free" : "explicit");
    if (!bench_setup_wants(setup, shape))
        return DMQ_OK;
    if (setup->check) {
        DMQ_TRY(compare(&c.worst_error, setup, size, f, matrix_free));
        DMQ_TRY(bench_setup_within(setup, &c, 5e-2));
    }
    DMQ_TRY(set_form(m, f, matrix_free));
    c.flop = 2 * m->b.macs * (2.5 * TRAIN + f->forwards * GROUPS * EACH);
    c.calls = m->plan;
    DMQ_TRY(bench_setup_measure(&result, setup, &c));
    c.op = "meta_device";
    c.run = run;
    DMQ_TRY(bench_setup_queued(NULL, setup, &c, plan));
    if (setup->count)
        goto done;
    (void)fprintf(stderr, "# %s: %.2f plain iterations at best, %.2f at the median\n", shape,
                  result.min_us / unit_us, result.median_us / unit_us);
done:
    return st;
}

static dmq_status bench_size(meta *m, const bench_setup *setup, const int size[2])
{
    dmq_status st = DMQ_OK;
    bench_result unit;
    char shape[64];
    bench_case c = bench_setup_case(setup, "meta_unit", shape, plain, m);

    (void)snprintf(shape, sizeof shape, "%d@%d/", size[0], size[1]);
    if (setup->only[0] && strncmp(shape, setup->only, strlen(shape)) != 0)
        return DMQ_OK;
    DMQ_TRY(open_meta(m, setup->lanes, size, TRAIN, GROUPS));
    (void)snprintf(shape, sizeof shape, "%d@%d/weights", size[0], size[1]);
    m->plan = c.calls = setup->be->host_memory || setup->count ? 1 : BENCH_PLAN;
    c.flop = 2 * 2.5 * m->b.macs * TRAIN;
    DMQ_TRY(bench_setup_measure(&unit, setup, &c));
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        for (int matrix_free = 0; matrix_free < 2; matrix_free++)
            DMQ_TRY(bench_form(m, setup, size, &forms[i], matrix_free, unit.min_us));
    }
done:
    close_meta(m);
    return st;
}

int main(int argc, char **argv)
{
    static meta m;
    bench_setup setup;
    dmq_status st = DMQ_OK;

    DMQ_TRY(bench_setup_open(&setup, "bench_meta", argc, argv));
    for (int k = 0; k < 4; k++) { /* on a CPU the first two */
        if (k < 2 || !setup.be->host_memory)
            DMQ_TRY(bench_size(&m, &setup, bench_resblock_sizes[k]));
    }
done:
    return bench_setup_close(&setup, st);
}
