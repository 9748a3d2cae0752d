/*
 * The UNet once on a batch, random weights: the networks that ship (16x16 and 32x32, batch 16) and the
 * CIFAR-10 one (batch 8; on a device 1, 16 and 256), there also with fake-quantized weights and inputs of
 * every layer, W4A8 ("cifar10-w4a8"). Beside bench/reference/forward.py and reference/device/forward.py.
 *
 *   bench_forward [--backend cpu] [--threads 2] [--only cifar10] [--reps 20] [--ms 200] [--check 1]
 *                 [--clock wall|cpu] [--profile 0] [--precision fp32|tf32] [--count 0] [--shard 0]
 *
 * On the CPU the batch is cut into shards of at most 8, one a thread and more. A device has it in one piece
 * and in its memory: "forward" launches every kernel, "replay" the same pass as one recording, and
 * "replay_device" is that without the host's time. The error is that of the first sample against the
 * reference backend (of a device: cpu). Images a second go to stderr.
 */
#include "bench.h"
#include "resblock.h"
#include "setup.h"

#include "base/memory.h"
#include "model/ddpm_unet.h"
#include "quant/hooks.h"
#include "quant/ranges.h"
#include "tape/shards.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BATCH = 256, MAX_SHARD = 8 };

typedef struct network {
    const char *name;
    int batch, quant;
    dmq_ddpm_unet_config config;
} network;

typedef struct vars {
    dmq_var *x, *t, *y;
} vars;

typedef struct forward {
    dmq_model *model;
    dmq_qmodel *q; /* NULL: full precision */
    dmq_shards *shards;
    const dmq_backend *be;
    dmq_queue *queue;
    void *graph;
    int batch;
    size_t per;
    dmq_real *x, *y; /* (batch, per) */
    dmq_real t[MAX_BATCH];
} forward;

static dmq_status record(void *context, dmq_tape *tape, int size, void *state)
{
    const forward *f = context;
    dmq_shape s = f->model->input;
    vars *v = state;

    s.dim[0] = size;
    v->x = dmq_tape_input(tape, "x", s);
    v->t = dmq_tape_input(tape, "t", dmq_shape1(size));
    if (f->q) {
        dmq_attach attach;
        dmq_hooks hooks;

        dmq_attach_init(&attach, f->q);
        attach.acts = 1;
        hooks = dmq_attach_hooks(&attach);
        v->y = dmq_model_record(f->model, tape, &hooks, v->x, v->t, NULL);
    } else {
        v->y = dmq_model_record(f->model, tape, NULL, v->x, v->t, NULL);
    }
    dmq_tape_output(tape, v->y);
    return DMQ_OK;
}

static dmq_status fill(void *context, const dmq_shard *s)
{
    const forward *f = context;
    const vars *v = s->state;
    const dmq_backend *be = dmq_tape_backend(s->tape);
    dmq_real t[MAX_BATCH];
    dmq_status st = DMQ_OK;

    for (int r = 0; r < s->size; r++)
        t[r] = f->t[dmq_shard_sample(s, r)];
    DMQ_TRY(be->upload(s->queue, v->t->value, t, (size_t)s->size * sizeof *t));
    DMQ_TRY(be->upload(s->queue, v->x->value, f->x + (size_t)s->first * f->per,
                       (size_t)s->count * f->per * sizeof *f->x));
    for (int r = s->count; r < s->size; r++) {
        DMQ_TRY(be->upload(s->queue, v->x->value + (size_t)r * f->per,
                           f->x + (size_t)dmq_shard_sample(s, r) * f->per, f->per * sizeof *f->x));
    }
done:
    return st;
}

static dmq_status take(void *context, const dmq_shard *s)
{
    const forward *f = context;
    const vars *v = s->state;

    return dmq_tape_backend(s->tape)->download(s->queue, f->y + (size_t)s->first * f->per,
                                               v->y->value,
                                               (size_t)s->count * f->per * sizeof *f->y);
}

static dmq_status run(void *context)
{
    forward *f = context;

    return dmq_shards_run(
        f->shards,
        &(dmq_shards_job){
            .n = f->batch, .part = DMQ_PART_ALL, .context = f, .fill = fill, .take = take });
}

/* The pass alone, on what run left in the inputs of the one shard. */
static dmq_status pass(void *context)
{
    const forward *f = context;

    return dmq_tape_forward(dmq_shards_tape(f->shards, 0), f->queue, DMQ_PART_ALL);
}

static dmq_status pass_and_wait(void *context)
{
    const forward *f = context;
    dmq_status st = DMQ_OK;

    DMQ_TRY(pass(context));
    DMQ_TRY(f->be->sync(f->queue));
done:
    return st;
}

static dmq_status replay(void *context)
{
    const forward *f = context;

    return f->be->graph_launch(f->queue, f->graph);
}

static dmq_status replay_and_wait(void *context)
{
    const forward *f = context;
    dmq_status st = DMQ_OK;

    DMQ_TRY(replay(context));
    DMQ_TRY(f->be->sync(f->queue));
done:
    return st;
}

/* 4 bits by the extremes (a search gives other numbers and the same work), one table for all steps. */
static dmq_status quantize(forward *f, dmq_lanes *lanes)
{
    static const dmq_ranges_config extremes = { .init = DMQ_RANGE_MAX };
    dmq_policy policy = { .kind = "tfmq", .weight_bits = 4, .act_bits = 8 };
    dmq_choice *choice = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&choice, (size_t)f->model->n_layers, sizeof *choice));
    DMQ_TRY(dmq_policy_apply(choice, f->model, &policy));
    DMQ_TRY(dmq_qmodel_create(&f->q, f->model, choice));
    DMQ_TRY(dmq_qmodel_place(f->q, lanes));
    DMQ_TRY(dmq_ranges_run(f->q, lanes, &extremes));
    DMQ_TRY(dmq_qmodel_tables(f->q, 1));
    for (int l = 0; l < f->model->n_layers; l++) {
        for (int c = 0; c < f->q->layer[l].table_cols && f->q->layer[l].act_bits; c++) {
            f->q->layer[l].act_scale[c] = (dmq_real)(4.8 / 255); /* SiLU of what is about normal */
            f->q->layer[l].act_zero[c] = 15;
        }
        if (f->q->layer[l].act_bits)
            DMQ_TRY(dmq_qmodel_push_row(f->q, dmq_lanes_queue(lanes, 0), l, 0));
    }
done:
    dmq_free(choice);
    return st;
}

static dmq_status open_forward(forward *f, const network *net, dmq_lanes *lanes, int batch)
{
    int each = (batch + dmq_lanes_count(lanes) - 1) / dmq_lanes_count(lanes);
    dmq_status st = DMQ_OK;

    memset(f, 0, sizeof *f);
    f->batch = batch;
    f->be = dmq_lanes_backend(lanes);
    f->queue = dmq_lanes_queue(lanes, 0);
    DMQ_TRY(dmq_ddpm_unet_create(&f->model, &net->config));
    bench_fill_model(f->model);
    DMQ_TRY(dmq_model_place(f->model, lanes));
    if (net->quant)
        DMQ_TRY(quantize(f, lanes));
    f->per = dmq_shape_count(f->model->input);
    DMQ_TRY(dmq_alloc((void **)&f->x, (size_t)batch, f->per * sizeof *f->x));
    DMQ_TRY(dmq_alloc((void **)&f->y, (size_t)batch, f->per * sizeof *f->y));
    bench_fill(f->x, (size_t)batch * f->per, 3);
    for (int i = 0; i < batch; i++)
        f->t[i] = (dmq_real)((i * 617 + 500) % 1000);
    DMQ_TRY(dmq_shards_create(
        &f->shards, lanes,
        &(dmq_shards_config){ .size = each < MAX_SHARD || !f->be->host_memory ? each : MAX_SHARD,
                              .passes = DMQ_TAPE_FORWARD,
                              .state_bytes = sizeof(vars),
                              .context = f,
                              .record = record }));
done:
    return st;
}

static void close_forward(forward *f)
{
    if (f->graph)
        f->be->graph_destroy(f->graph);
    dmq_shards_destroy(f->shards);
    dmq_free(f->x);
    dmq_free(f->y);
    dmq_qmodel_destroy(f->q);
    dmq_model_destroy(f->model);
    memset(f, 0, sizeof *f);
}

static dmq_status compare(double *error, forward *f, const network *net, const bench_setup *setup)
{
    forward one = { 0 };
    dmq_lanes *ref = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_lanes_create(&ref, bench_setup_judge(setup), 1));
    DMQ_TRY(open_forward(&one, net, ref, 1));
    DMQ_TRY(run(&one));
    DMQ_TRY(run(f));
    *error = bench_error(f->y, one.y, one.per);
done:
    close_forward(&one);
    dmq_lanes_destroy(ref);
    return st;
}

/* The pass as the host launches it, as one recording, and as the device alone would do it. */
static dmq_status measure_device(bench_result *result, forward *f, const bench_setup *setup,
                                 bench_case *c)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(run(f)); /* inputs are in place from here on */
    c->run = pass_and_wait;
    DMQ_TRY(bench_setup_measure(result, setup, c));
    if (!f->be->capture_begin || setup->count)
        goto done;
    DMQ_TRY(f->be->capture_begin(f->queue));
    st = pass(f);
    DMQ_TRY(f->be->capture_end(f->queue, &f->graph) == DMQ_OK ? st : DMQ_EDEVICE);
    c->op = "replay";
    c->run = replay_and_wait;
    DMQ_TRY(bench_measure(result, c));
    c->op = "replay_device";
    c->run = replay;
    DMQ_TRY(bench_setup_queued(NULL, setup, c, NULL));
done:
    return st;
}

static dmq_status bench_network(const network *net, const bench_setup *setup)
{
    dmq_status st = DMQ_OK;
    forward f = { 0 };
    char shape[64] = "";
    bench_result result;
    double macs, bytes;
    bench_case c = bench_setup_case(setup, "forward", shape, run, &f);

    (void)snprintf(shape, sizeof shape, "%s/b%d", net->name, net->batch);
    if (!bench_setup_wants(setup, shape))
        return DMQ_OK;
    DMQ_TRY(open_forward(&f, net, setup->lanes, net->batch));
    if (setup->check) {
        DMQ_TRY(compare(&c.worst_error, &f, net, setup));
        /* Quantized: a code more or less where a number lies between two of them. */
        DMQ_TRY(bench_setup_within(setup, &c, net->quant ? 1e-2 : 1e-4));
    }
    dmq_tape_cost(dmq_shards_tape(f.shards, 0), &macs, &bytes);
    c.flop = 2 * macs * dmq_shards_count(f.shards, net->batch);
    if (setup->be->host_memory) {
        DMQ_TRY(bench_setup_measure(&result, setup, &c));
    } else {
        DMQ_TRY(measure_device(&result, &f, setup, &c));
    }
    if (setup->count)
        goto done;
    (void)fprintf(stderr, "# %s: %.3f GFLOP an image, %.1f images/s at best, %.1f at the median\n",
                  shape, c.flop / net->batch * 1e-9, net->batch / result.min_us * 1e6,
                  net->batch / result.median_us * 1e6);
done:
    close_forward(&f);
    return st;
}

static network shipped(const char *name, int size, int attention)
{
    return (network){ name,
                      16,
                      0,
                      { .in_channels = 3,
                        .out_channels = 3,
                        .resolution = size,
                        .ch = 32,
                        .ch_mult = { 1, 2, 2 },
                        .n_levels = 3,
                        .num_res_blocks = 1,
                        .attention = { attention },
                        .n_attention = 1,
                        .norm_groups = 8,
                        .norm_eps = 1e-6 } };
}

int main(int argc, char **argv)
{
    static const int batch[] = { 1, 16, 256 };
    network net[2] = { shipped("shapes16", 16, 8), shipped("shapes32", 32, 16) };
    bench_setup setup;
    dmq_status st = DMQ_OK;

    DMQ_TRY(bench_setup_open(&setup, "bench_forward", argc, argv));
    for (int i = 0; i < 2; i++)
        DMQ_TRY(bench_network(&net[i], &setup));
    if (setup.be->host_memory) {
        DMQ_TRY(bench_network(&(network){ "cifar10", 8, 0, dmq_ddpm_unet_cifar10 }, &setup));
        goto done;
    }
    for (int quant = 0; quant < 2; quant++) {
        for (int i = 0; i < 3; i++) {
            DMQ_TRY(bench_network(&(network){ quant ? "cifar10-w4a8" : "cifar10", batch[i], quant,
                                              dmq_ddpm_unet_cifar10 },
                                  &setup));
        }
    }
done:
    return bench_setup_close(&setup, st);
}
