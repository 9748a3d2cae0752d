/*
 * One AdaRound iteration of a residual block at batch 32, as reconstruction runs it: 32 of 256 samples
 * gathered, forward, loss, backward, regularizer, Adam, soft weights. Beside bench/reference/iteration.py.
 *
 *   bench_iteration [--backend cpu] [--threads 2] [--only 64@16] [--reps 20] [--ms 200] [--check 1]
 *                   [--clock wall|cpu] [--profile 0] [--precision fp32|tf32] [--plan 50]
 *                   [--unit down.0.block.0] [--count 0] [--shard 0]
 *
 * A device is given plans of 50 iterations, as reconstruction gives them; a time is that of one of them. A
 * second line, "iteration_device", is their time without the host's: draws, plans, launches and losses.
 * Sizes of latent networks run on a device, and on a CPU when --only names one. --count tells launches and bytes of
 * an iteration (of setup.h); the time of other units than the first residual block (resblock.h) is told without
 * FLOPs.
 *
 * The error is the worst one of losses, gradients and new roundings of one iteration of 8 samples, against
 * the reference backend (of a device: against cpu). FLOPs are those of the five convolution passes (two
 * forward, two of the weights, one of the data); the share of the FMA peak can pass 1, since Winograd needs
 * a quarter of them. Bytes: input and target of the batch, and what a step does to theta.
 */
#include "bench.h"
#include "resblock.h"
#include "setup.h"

#include "base/memory.h"
#include "calib/batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 256, BATCH = 32, FEW = 8 };

typedef struct iteration {
    bench_resblock b;
    int from[SAMPLES];
    int number, count; /* done so far; of a run */
    int sample[BENCH_PLAN * BATCH];
    dmq_real loss[BENCH_PLAN * BATCH];
} iteration;

/* The samples of the next iterations; the number of the first one. */
static int draw(iteration *it)
{
    int first = it->number + 1;

    for (int i = 0; i < it->count; i++) {
        it->number++;
        dmq_batch_draw(it->sample + (size_t)i * BATCH, BATCH, it->from, SAMPLES, 1, 0,
                       (uint32_t)it->number);
    }
    return first;
}

static dmq_status iterate(void *context)
{
    iteration *it = context;
    int first = draw(it);

    return bench_resblock_iterate(&it->b, it->sample, BATCH, first, it->count, it->loss);
}

static dmq_status plan(void *context)
{
    iteration *it = context;
    int first = draw(it);

    return bench_resblock_plan(&it->b, it->sample, BATCH, first, it->count);
}

static dmq_status launch(void *context)
{
    const iteration *it = context;

    return dmq_block_run(it->b.block, it->count);
}

/* One iteration on the same few samples, here and on the backend that judges. */
static dmq_status compare(double *worst, const bench_setup *setup, bench_resblock_config config)
{
    static const int sample[FEW] = { 0, 1, 2, 3, 4, 5, 6, 7 };
    bench_resblock side[2] = { 0 };
    dmq_lanes *ref = NULL;
    dmq_real loss[2][FEW], *state[2] = { NULL, NULL };
    dmq_status st = DMQ_OK;
    size_t n = 0;

    config.samples = FEW;
    DMQ_TRY(dmq_lanes_create(&ref, bench_setup_judge(setup), setup->be->host_memory ? 2 : 0));
    for (int i = 0; i < 2; i++) {
        DMQ_TRY(bench_resblock_open(&side[i], i ? ref : setup->lanes, &config));
        DMQ_TRY(bench_resblock_iterate(&side[i], sample, FEW, 1, 1, loss[i]));
        n = side[i].block->problem.n_theta;
        DMQ_TRY(dmq_alloc((void **)&state[i], 3 * n, sizeof *state[i]));
        DMQ_TRY(dmq_recon_state_get(state[i], side[i].state));
    }
    *worst = bench_error(loss[0], loss[1], FEW);
    for (int k = 0; k < 2; k++) { /* alpha; the first moment, now 0.1 times the gradient */
        double e = bench_error(state[0] + (size_t)k * n, state[1] + (size_t)k * n, n);

        *worst = e > *worst ? e : *worst;
    }
done:
    for (int i = 0; i < 2; i++) {
        dmq_free(state[i]);
        bench_resblock_close(&side[i]);
    }
    dmq_lanes_destroy(ref);
    return st;
}

static dmq_status bench_size(iteration *it, const bench_setup *setup,
                             const bench_resblock_config *config, int count)
{
    int channels = config->channels, size = config->size;
    dmq_status st = DMQ_OK;
    char shape[64];
    bench_result result;
    bench_case c = bench_setup_case(setup, "iteration", shape, iterate, it);

    (void)snprintf(shape, sizeof shape, "%d@%d/%s%s%s", channels, size,
                   config->acts ? "act8" : "weights", config->unit ? "/" : "",
                   config->unit ? config->unit : "");
    if (!bench_setup_wants(setup, shape))
        return DMQ_OK;
    if (setup->check) {
        DMQ_TRY(compare(&c.worst_error, setup, *config));
        DMQ_TRY(bench_setup_within(setup, &c, 1e-3));
    }
    DMQ_TRY(bench_resblock_open(&it->b, setup->lanes, config));
    it->number = 0;
    it->count = c.calls = setup->be->host_memory || setup->count ? 1 : count;
    c.flop = config->unit ? 0 : 2 * 2.5 * it->b.macs * BATCH;
    c.bytes =
        4.0 * (2.0 * BATCH * channels * size * size +       /* a step: alpha, m and v in and out, */
               9.0 * (double)it->b.block->problem.n_theta); /* weight, gradient, soft weight */
    DMQ_TRY(bench_setup_measure(&result, setup, &c));
    c.op = "iteration_device";
    c.run = launch;
    DMQ_TRY(bench_setup_queued(NULL, setup, &c, plan));
done:
    bench_resblock_close(&it->b);
    return st;
}

int main(int argc, char **argv)
{
    static iteration it;
    bench_setup setup;
    dmq_status st = DMQ_OK;
    int count = atoi(bench_option(argc, argv, "--plan", "50"));
    const char *unit = bench_option(argc, argv, "--unit", NULL);

    DMQ_TRY(bench_setup_open(&setup, "bench_iteration", argc, argv));
    for (int i = 0; i < SAMPLES; i++)
        it.from[i] = i;
    for (int k = 0; k < BENCH_RESBLOCKS; k++) {
        if (k >= BENCH_RESBLOCKS_CPU && setup.be->host_memory && !strchr(setup.only, '@'))
            break;
        for (int acts = 1; acts >= 0; acts--) {
            const bench_resblock_config config = { .channels = bench_resblock_sizes[k][0],
                                                   .size = bench_resblock_sizes[k][1],
                                                   .samples = SAMPLES,
                                                   .acts = acts,
                                                   .unit = unit };

            DMQ_TRY(bench_size(&it, &setup, &config, count < BENCH_PLAN ? count : BENCH_PLAN));
        }
    }
done:
    return bench_setup_close(&setup, st);
}
