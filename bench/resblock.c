#include "resblock.h"

#include "base/memory.h"
#include "bench.h"
#include "kernels/optim_math.h"
#include "model/ddpm_unet.h"
#include "quant/ranges.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const int bench_resblock_sizes[BENCH_RESBLOCKS][2] = { { 32, 32 },  { 64, 16 },  { 128, 32 },
                                                       { 256, 16 }, { 384, 32 }, { 960, 8 } };

/* Sampler steps of the calibration set: rows of the tables. */
enum { STEPS = 8 };

void bench_fill_model(dmq_model *m)
{
    for (int e = 0; e < m->n_entries; e++) {
        const dmq_entry *n = &m->entry[e];
        size_t count = dmq_shape_count(n->shape);
        dmq_real *p = m->params + n->offset;
        int is_norm = strstr(n->name, "norm") != NULL && strstr(n->name, "weight") != NULL;
        double gain = n->shape.rank > 1 ? sqrt(n->shape.dim[0] / (double)count) : 0.1;

        bench_fill(p, count, (unsigned)e + 1);
        for (size_t i = 0; i < count; i++)
            p[i] = (dmq_real)(gain * p[i] + is_norm);
    }
}

static dmq_status make_model(bench_resblock *b, dmq_lanes *lanes, int channels, int size,
                             int attention)
{
    dmq_ddpm_unet_config c = { .in_channels = 3,
                               .out_channels = 3,
                               .resolution = size,
                               .ch = channels,
                               .ch_mult = { 1 },
                               .n_levels = 1,
                               .num_res_blocks = 1,
                               .attention = { attention ? size : 0 },
                               .n_attention = attention,
                               .norm_groups = channels / 4 < 32 ? channels / 4 : 32,
                               .norm_eps = 1e-6 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_ddpm_unet_create(&b->model, &c));
    bench_fill_model(b->model);
    DMQ_TRY(dmq_model_place(b->model, lanes));
done:
    return st;
}

/* A weight set of the given size; its states are noise, no network is run for them. */
static dmq_status make_calib(bench_resblock *b, int samples)
{
    size_t per = dmq_shape_count(b->model->input);
    dmq_calib *c = NULL;
    dmq_status st = DMQ_OK;

    assert(samples % STEPS == 0);
    DMQ_TRY(dmq_alloc((void **)&c, 1, sizeof *c));
    b->calib = c;
    c->config = (dmq_calib_config){ .per_timestep = samples / STEPS, .interval = 1 };
    c->image = b->model->input;
    c->n_steps = c->n_weight_steps = STEPS;
    c->per_step = samples / STEPS;
    c->n = samples;
    DMQ_TRY(dmq_alloc((void **)&c->t, STEPS, sizeof *c->t));
    DMQ_TRY(dmq_alloc((void **)&c->weight_step, STEPS, sizeof *c->weight_step));
    DMQ_TRY(dmq_alloc((void **)&c->role, (size_t)samples, 1));
    DMQ_TRY(dmq_alloc((void **)&c->x, (size_t)samples, per * sizeof *c->x));
    for (int k = 0; k < STEPS; k++) {
        c->t[k] = (dmq_real)(999 - k * (1000 / STEPS));
        c->weight_step[k] = k;
    }
    bench_fill(c->x, (size_t)samples * per, 77);
done:
    return st;
}

/* Tables for SiLU of normally distributed numbers, each step its own: -0.28 .. about 4.5. */
static dmq_status make_tables(dmq_qmodel *q, dmq_queue *queue)
{
    dmq_status st = dmq_qmodel_tables(q, STEPS);

    for (int l = 0; l < q->model->n_layers && st == DMQ_OK; l++) {
        for (int k = 0; k < STEPS && q->layer[l].act_bits; k++) {
            q->layer[l].act_scale[k] = (dmq_real)((4.8 + 0.05 * k) / 255);
            q->layer[l].act_zero[k] = 15;
            st = st == DMQ_OK ? dmq_qmodel_push_row(q, queue, l, k) : st;
        }
    }
    return st;
}

static dmq_status make_qmodel(bench_resblock *b, dmq_lanes *lanes, const char *unit, int acts)
{
    char text[DMQ_NAME_MAX + 16];
    const char *rule = text;
    dmq_policy policy = { .kind = "rules", .rule = &rule, .n_rules = 1 };
    dmq_choice *choice = NULL;
    dmq_status st = DMQ_OK;

    (void)snprintf(text, sizeof text, "%s.*: %s", unit, acts ? "w4a8" : "w4");
    DMQ_TRY(dmq_alloc((void **)&choice, (size_t)b->model->n_layers, sizeof *choice));
    DMQ_TRY(dmq_policy_apply(choice, b->model, &policy));
    for (int l = 0; l < b->model->n_layers; l++) {
        if (b->model->layer[l].temporal)
            choice[l] = (dmq_choice){ 0 };
    }
    DMQ_TRY(dmq_qmodel_create(&b->q, b->model, choice));
    DMQ_TRY(dmq_qmodel_place(b->q, lanes));
    DMQ_TRY(dmq_ranges_run(b->q, lanes, NULL));
    if (acts)
        DMQ_TRY(make_tables(b->q, dmq_lanes_queue(lanes, 0)));
done:
    dmq_free(choice);
    return st;
}

static int find_unit(const dmq_model *m, const char *name)
{
    for (int u = 0; u < m->n_units; u++) {
        if (strcmp(m->unit[u].name, name) == 0)
            return u;
    }
    return -1;
}

static dmq_status make_state(bench_resblock *b)
{
    size_t n = b->block->problem.n_theta;
    dmq_real *host = NULL, *noise;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&host, 4 * n, sizeof *host));
    noise = host + 3 * n;
    DMQ_TRY(dmq_recon_state_create(&b->state, b->block));
    DMQ_TRY(dmq_recon_state_get(host, b->state));
    bench_fill(noise, n, 5);
    for (size_t i = 0; i < n; i++)
        host[i] += (dmq_real)0.5 * noise[i];
    DMQ_TRY(dmq_recon_state_put(b->state, host));
    DMQ_TRY(dmq_block_soften(b->block, b->state->alpha));
done:
    dmq_free(host);
    return st;
}

dmq_status bench_resblock_open(bench_resblock *b, dmq_lanes *lanes, const bench_resblock_config *c)
{
    const char *name = c->unit ? c->unit : "down.0.block.0";
    dmq_status st = DMQ_OK;
    int unit;

    memset(b, 0, sizeof *b);
    b->macs = 2.0 * c->size * c->size * c->channels * c->channels * 9;
    DMQ_TRY(make_model(b, lanes, c->channels, c->size, strstr(name, "attn") != NULL));
    unit = find_unit(b->model, name);
    if (unit < 0)
        return dmq_fail(DMQ_EINVAL, "bench: --unit %s: the network has none of this name", name);
    DMQ_TRY(make_calib(b, c->samples));
    DMQ_TRY(make_qmodel(b, lanes, name, c->acts));
    DMQ_TRY(
        dmq_cache_create(&b->cache, b->q, b->calib, lanes, &(dmq_cache_config){ .acts = c->acts }));
    DMQ_TRY(dmq_cache_open(b->cache, unit));
    DMQ_TRY(dmq_block_create(&b->block, b->q, b->calib, b->cache, lanes, unit, c->acts));
    DMQ_TRY(make_state(b));
done:
    if (st != DMQ_OK)
        bench_resblock_close(b);
    return st;
}

void bench_resblock_close(bench_resblock *b)
{
    dmq_recon_state_destroy(b->state);
    dmq_block_destroy(b->block);
    dmq_cache_destroy(b->cache);
    dmq_qmodel_destroy(b->q);
    dmq_calib_destroy(b->calib);
    dmq_model_destroy(b->model);
    memset(b, 0, sizeof *b);
}

dmq_status bench_resblock_plan(bench_resblock *b, const int *sample, int n, int number, int count)
{
    dmq_step_scalars scalars[BENCH_PLAN];
    static dmq_real weight[BENCH_PLAN * DMQ_BATCH_MAX];

    assert(count >= 1 && count <= BENCH_PLAN && n <= DMQ_BATCH_MAX);
    for (int i = 0; i < count * n; i++)
        weight[i] = (dmq_real)(1.0 / n);
    for (int i = 0; i < count; i++) {
        scalars[i].adam = dmq_adam_begin((dmq_real)1e-3, (dmq_real)0.9, (dmq_real)0.999,
                                         (dmq_real)1e-8, number + i);
        scalars[i].reg_weight = (dmq_real)0.01;
        scalars[i].reg_beta = 10;
    }
    return dmq_block_plan_set(b->block, &(dmq_block_plan){ .rows = count,
                                                           .n = n,
                                                           .sample = sample,
                                                           .weight = weight,
                                                           .scalars = scalars,
                                                           .alpha = b->state->alpha,
                                                           .m = b->state->m,
                                                           .v = b->state->v });
}

dmq_status bench_resblock_iterate(bench_resblock *b, const int *sample, int n, int number,
                                  int count, dmq_real *loss)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(bench_resblock_plan(b, sample, n, number, count));
    DMQ_TRY(dmq_block_run(b->block, count));
    DMQ_TRY(dmq_block_plan_losses(b->block, 0, count, loss));
done:
    return st;
}
