/* A tiny random UNet, its sampler and calibration set: what the tests of calib, quant and recon share. */
#ifndef DMQ_TESTS_QUANT_FIXTURE_H
#define DMQ_TESTS_QUANT_FIXTURE_H

#include "backend/lanes.h"
#include "base/memory.h"
#include "calib/calib.h"
#include "diffusion/schedule.h"
#include "kernels/noise.h"
#include "model/ddpm_unet.h"
#include "quant/qmodel.h"
#include "quant/ranges.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OK(call) assert_int_equal((call), DMQ_OK)

static inline double fixture_normal(uint64_t stream, uint32_t i)
{
    double u = dmq_uniform(11, DMQ_FOR_TEST, stream, 0, 2 * i);
    double v = dmq_uniform(11, DMQ_FOR_TEST, stream, 0, 2 * i + 1);

    return sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * v);
}

/* Weights of unit gain: with those of an untrained network every block would be the identity. */
static inline void fixture_fill(dmq_model *m)
{
    for (int e = 0; e < m->n_entries; e++) {
        const dmq_entry *n = &m->entry[e];
        size_t count = dmq_shape_count(n->shape);
        int is_weight = n->shape.rank > 1,
            is_gamma = strstr(n->name, "norm") && strstr(n->name, "weight");
        double gain = is_weight ? 1 / sqrt((double)count / n->shape.dim[0]) : 0.1;

        for (size_t i = 0; i < count; i++) {
            m->params[n->offset + i] =
                (dmq_real)(gain * fixture_normal((uint64_t)e, (uint32_t)i) + (is_gamma ? 1 : 0));
        }
    }
}

static inline dmq_model *fixture_model(void)
{
    static const dmq_ddpm_unet_config config = { .in_channels = 3,
                                                 .out_channels = 3,
                                                 .resolution = 8,
                                                 .ch = 16,
                                                 .ch_mult = { 1, 2 },
                                                 .n_levels = 2,
                                                 .num_res_blocks = 1,
                                                 .attention = { 4 },
                                                 .n_attention = 1,
                                                 .norm_groups = 4,
                                                 .norm_eps = 1e-6 };
    dmq_model *m = NULL;

    OK(dmq_ddpm_unet_create(&m, &config));
    fixture_fill(m);
    return m;
}

static inline dmq_sampler *fixture_sampler(int steps)
{
    dmq_sampler_config config = {
        .kind = DMQ_DDIM, .spacing = DMQ_SPACING_QUAD, .steps = steps, .clip_x0 = 1
    };
    dmq_schedule *schedule = NULL;
    dmq_sampler *s = NULL;

    OK(dmq_schedule_create(&schedule, 1000, 1e-4, 0.02));
    OK(dmq_sampler_create(&s, schedule, &config));
    dmq_schedule_destroy(schedule);
    return s;
}

static inline dmq_lanes *fixture_lanes(const char *backend, int count)
{
    const dmq_backend *be = NULL;
    dmq_lanes *lanes = NULL;

    OK(dmq_backend_open(&be, backend));
    OK(dmq_lanes_create(&lanes, be, count));
    return lanes;
}

/* 10 steps, 7 calibration and 2 held-out samples a step, weight set of 5 steps: 45 samples. */
static inline dmq_calib *fixture_calib(const dmq_model *m, dmq_lanes *lanes)
{
    dmq_calib_config config = {
        .per_timestep = 7, .held_out = 2, .interval = 2, .validation = 0.15, .seed = 3
    };
    dmq_sampler *s = fixture_sampler(10);
    dmq_calib *c = NULL;

    OK(dmq_calib_run(&c, m, s, &config, lanes));
    dmq_sampler_destroy(s);
    return c;
}

static inline dmq_qmodel *fixture_qmodel(const dmq_model *m, dmq_lanes *lanes, const char *kind,
                                         int weight_bits, int act_bits)
{
    dmq_policy policy = { .kind = kind, .weight_bits = weight_bits, .act_bits = act_bits };
    dmq_choice *choice = NULL;
    dmq_qmodel *q = NULL;
    dmq_ranges_config ranges;

    dmq_ranges_defaults(&ranges);
    OK(dmq_alloc((void **)&choice, (size_t)m->n_layers, sizeof *choice));
    OK(dmq_policy_apply(choice, m, &policy));
    OK(dmq_qmodel_create(&q, m, choice));
    OK(dmq_ranges_run(q, lanes, &ranges));
    dmq_free(choice);
    return q;
}

static inline int fixture_unit(const dmq_model *m, const char *name)
{
    for (int u = 0; u < m->n_units; u++) {
        if (strcmp(m->unit[u].name, name) == 0)
            return u;
    }
    fail_msg("no unit %s", name);
    return -1;
}

static inline int fixture_layer(const dmq_model *m, const char *name)
{
    const dmq_layer *l = dmq_model_layer(m, name);

    assert_non_null(l);
    return l->index;
}

#endif
