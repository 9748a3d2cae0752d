/*
 * The ranges of all weights of a network by the search for the least error, 4 bits, a range for every output
 * channel, and nearest rounding to them: the stage that everything begins with. On the CPU of the 32x32
 * network that ships, on a device of the CIFAR-10 one. Beside bench/reference/device/ranges.py.
 *
 *   bench_ranges [--backend cpu] [--threads 2] [--only TEXT] [--reps 5] [--ms 0] [--check 1] [--clock wall|cpu]
 *
 * FLOPs: 12 a weight and candidate (quotient, rounding, two ends, difference, product, difference, absolute
 * value, power). The error is the share of codes that are not those of the reference backend (of a device:
 * cpu), on the small network.
 */
#include "bench.h"
#include "resblock.h"
#include "setup.h"

#include "base/memory.h"
#include "model/ddpm_unet.h"
#include "quant/ranges.h"

#include <stdio.h>
#include <string.h>

enum { CANDIDATES = 80, FLOP_EACH = 12 };

typedef struct search {
    dmq_model *model;
    dmq_qmodel *q;
    dmq_lanes *lanes;
    double weights;
} search;

static const dmq_ddpm_unet_config shapes32 = { .in_channels = 3,
                                               .out_channels = 3,
                                               .resolution = 32,
                                               .ch = 32,
                                               .ch_mult = { 1, 2, 2 },
                                               .n_levels = 3,
                                               .num_res_blocks = 1,
                                               .attention = { 16 },
                                               .n_attention = 1,
                                               .norm_groups = 8,
                                               .norm_eps = 1e-6 };

static dmq_status run(void *context)
{
    search *s = context;

    return dmq_ranges_run(s->q, s->lanes, NULL);
}

static dmq_status open_search(search *s, const dmq_ddpm_unet_config *net, dmq_lanes *lanes)
{
    dmq_policy policy = { .kind = "tfmq", .weight_bits = 4 };
    dmq_choice *choice = NULL;
    dmq_coverage coverage;
    dmq_status st = DMQ_OK;

    memset(s, 0, sizeof *s);
    s->lanes = lanes;
    DMQ_TRY(dmq_ddpm_unet_create(&s->model, net));
    bench_fill_model(s->model);
    DMQ_TRY(dmq_model_place(s->model, lanes));
    DMQ_TRY(dmq_alloc((void **)&choice, (size_t)s->model->n_layers, sizeof *choice));
    DMQ_TRY(dmq_policy_apply(choice, s->model, &policy));
    dmq_coverage_of(&coverage, s->model, choice);
    s->weights = coverage.weights_quantized;
    DMQ_TRY(dmq_qmodel_create(&s->q, s->model, choice));
    DMQ_TRY(dmq_qmodel_place(s->q, lanes));
done:
    dmq_free(choice);
    return st;
}

static void close_search(search *s)
{
    dmq_qmodel_destroy(s->q);
    dmq_model_destroy(s->model);
    memset(s, 0, sizeof *s);
}

static dmq_status compare(double *share, const bench_setup *setup)
{
    search side[2] = { 0 };
    dmq_lanes *ref = NULL;
    double other = 0, all = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_lanes_create(&ref, bench_setup_judge(setup), setup->be->host_memory ? 2 : 0));
    for (int i = 0; i < 2; i++) {
        DMQ_TRY(open_search(&side[i], &shapes32, i ? ref : setup->lanes));
        DMQ_TRY(run(&side[i]));
    }
    for (int l = 0; l < side[0].model->n_layers; l++) {
        const dmq_qlayer *a = &side[0].q->layer[l], *b = &side[1].q->layer[l];

        for (size_t i = 0; a->code && i < (size_t)a->rows * (size_t)a->per; i++) {
            other += a->code[i] != b->code[i];
            all++;
        }
    }
    *share = other / all;
done:
    close_search(&side[0]);
    close_search(&side[1]);
    dmq_lanes_destroy(ref);
    return st;
}

int main(int argc, char **argv)
{
    search s = { 0 };
    bench_setup setup;
    const char *name;
    dmq_status st = DMQ_OK;

    DMQ_TRY(bench_setup_open(&setup, "bench_ranges", argc, argv));
    name = setup.be->host_memory ? "shapes32" : bench_option(argc, argv, "--net", "cifar10");
    DMQ_TRY(open_search(&s, strcmp(name, "cifar10") == 0 ? &dmq_ddpm_unet_cifar10 : &shapes32,
                        setup.lanes));
    {
        bench_case c = bench_setup_case(&setup, "ranges", name, run, &s);

        c.reps = setup.reps < 5 ? setup.reps : 5;
        if (setup.check) {
            DMQ_TRY(compare(&c.worst_error, &setup));
            DMQ_TRY(bench_setup_within(&setup, &c, 1e-3));
        }
        c.flop = FLOP_EACH * CANDIDATES * s.weights;
        c.bytes = 4 * s.weights;
        DMQ_TRY(bench_setup_measure(NULL, &setup, &c));
    }
done:
    close_search(&s);
    return bench_setup_close(&setup, st);
}
