#include "calib/calib_inner.h"

#include "base/machine.h"
#include "base/memory.h"
#include "kernels/noise.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

void dmq_calib_defaults(dmq_calib_config *config)
{
    *config = (dmq_calib_config){ .per_timestep = 256, .interval = 5, .validation = 0.05 };
}

static int branches(const dmq_calib_config *c)
{
    return c->branches == 2 ? 2 : 1;
}

/* Validation samples of each step. */
static int n_validation(const dmq_calib_config *c)
{
    int b = branches(c), states = c->per_timestep / b;
    int n = (int)(c->validation * states + 0.5);

    return b * (c->validation > 0 && n < 1 ? 1 : n);
}

dmq_status dmq_calib_check(const dmq_calib_config *config, const dmq_sampler *sampler)
{
    dmq_calib_config of_sampler = *config, *c = &of_sampler;

    c->branches = dmq_sampler_branches(sampler);
    if (c->per_timestep < 1) {
        return dmq_fail(DMQ_EINVAL, "calibrate.per_timestep = %d: must be at least 1",
                        c->per_timestep);
    }
    if (c->held_out < 0)
        return dmq_fail(DMQ_EINVAL, "calibrate.held_out = %d: must not be negative", c->held_out);
    if (c->per_timestep % c->branches != 0 || c->held_out % c->branches != 0) {
        return dmq_fail(DMQ_EINVAL,
                        "calibrate.per_timestep = %d, held out beside them: %d: must be even with "
                        "guidance, which makes two samples of a state",
                        c->per_timestep, c->held_out);
    }
    if (c->interval < 1 || c->interval > sampler->n_steps) {
        return dmq_fail(DMQ_EINVAL,
                        "calibrate.interval = %d: must be 1..%d, the steps of the sampler",
                        c->interval, sampler->n_steps);
    }
    if (!(c->validation >= 0 && c->validation < 1)) {
        return dmq_fail(DMQ_EINVAL, "calibrate.validation = %g: must be 0..1, below 1",
                        c->validation);
    }
    if (n_validation(c) >= c->per_timestep) {
        return dmq_fail(
            DMQ_EINVAL,
            "calibrate.validation = %g takes %d of %d samples a timestep: none is left to "
            "train on\n  hint: raise calibrate.per_timestep",
            c->validation, n_validation(c), c->per_timestep);
    }
    return DMQ_OK;
}

void dmq_calib_destroy(dmq_calib *calib)
{
    if (!calib)
        return;
    dmq_free(calib->t);
    dmq_free(calib->x);
    dmq_free(calib->label);
    dmq_free(calib->weight_step);
    dmq_free(calib->role);
    dmq_free(calib->sampler);
    dmq_free(calib);
}

static void assign_roles(dmq_calib *c, int *permutation)
{
    int b = branches(&c->config);
    int n_val = n_validation(&c->config) / b, n_cal = c->config.per_timestep;

    for (int s = 0; s < c->n_weight_steps; s++) {
        uint8_t *role = c->role + (size_t)s * (size_t)c->per_step;

        dmq_permutation(permutation, n_cal / b, c->config.seed, DMQ_FOR_SPLIT,
                        (uint64_t)c->weight_step[s], 0);
        for (int j = 0; j < c->per_step; j++)
            role[j] = j < n_cal ? DMQ_TRAIN : DMQ_HELD_OUT;
        for (int j = 0; j < n_val; j++) {
            for (int i = 0; i < b; i++)
                role[b * permutation[j] + i] = DMQ_VALIDATION;
        }
    }
}

/* All states are in the host's memory at once: told before it is taken, or the system would end the process. */
static dmq_status check_room(const dmq_calib *c)
{
    double gib = 1073741824.0, bytes, have;

    bytes = (double)c->n_steps * c->per_step * (double)dmq_shape_count(c->image) * sizeof *c->x;
    have = dmq_machine_memory();
    if (have == 0 || bytes <= have)
        return DMQ_OK;
    return dmq_fail(DMQ_ENOMEM,
                    "calibrate: %d states of %d steps take %.1f GiB, this machine has %.1f GiB\n"
                    "  hint: a smaller calibrate.per_timestep, or fewer steps",
                    c->per_step, c->n_steps, bytes / gib, have / gib);
}

dmq_status dmq_calib_create(dmq_calib **out, const dmq_calib_config *config, dmq_shape image,
                            int n_steps)
{
    dmq_calib *c = NULL;
    int *permutation = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&c, 1, sizeof *c));
    c->config = *config;
    c->image = image;
    c->n_steps = n_steps;
    c->per_step = config->per_timestep + config->held_out;
    c->n_weight_steps = (n_steps + config->interval - 1) / config->interval;
    c->n = c->n_weight_steps * c->per_step;
    DMQ_TRY(check_room(c));
    DMQ_TRY(dmq_alloc((void **)&c->t, (size_t)n_steps, sizeof *c->t));
    DMQ_TRY(dmq_alloc((void **)&c->x, (size_t)n_steps * (size_t)c->per_step,
                      dmq_shape_count(image) * sizeof *c->x));
    DMQ_TRY(dmq_alloc((void **)&c->weight_step, (size_t)c->n_weight_steps, sizeof *c->weight_step));
    DMQ_TRY(dmq_alloc((void **)&c->role, (size_t)c->n, sizeof *c->role));
    DMQ_TRY(dmq_alloc((void **)&permutation, (size_t)config->per_timestep, sizeof *permutation));
    for (int s = 0; s < c->n_weight_steps; s++)
        c->weight_step[s] = s * config->interval;
    assign_roles(c, permutation);
    *out = c;
    c = NULL;
done:
    dmq_free(permutation);
    dmq_calib_destroy(c);
    return st;
}

dmq_status dmq_calib_labels(dmq_calib *c)
{
    return dmq_alloc((void **)&c->label, (size_t)c->n_steps * (size_t)c->per_step,
                     sizeof *c->label);
}

const dmq_real *dmq_calib_state(const dmq_calib *c, int k, int j)
{
    assert(k >= 0 && k < c->n_steps && j >= 0 && j < c->per_step);
    return c->x + ((size_t)k * (size_t)c->per_step + (size_t)j) * dmq_shape_count(c->image);
}

int dmq_calib_label(const dmq_calib *c, int k, int j)
{
    assert(k >= 0 && k < c->n_steps && j >= 0 && j < c->per_step);
    return c->label ? c->label[(size_t)k * (size_t)c->per_step + (size_t)j] : 0;
}

const dmq_real *dmq_calib_x(const dmq_calib *c, int i)
{
    return dmq_calib_state(c, dmq_calib_step(c, i), i % c->per_step);
}

int dmq_calib_step(const dmq_calib *c, int i)
{
    return c->weight_step[dmq_calib_slot(c, i)];
}

int dmq_calib_slot(const dmq_calib *c, int i)
{
    assert(i >= 0 && i < c->n);
    return i / c->per_step;
}

int dmq_calib_list(const dmq_calib *c, dmq_role role, int *out)
{
    int n = 0;

    for (int i = 0; i < c->n; i++) {
        if (c->role[i] != role)
            continue;
        if (out)
            out[n] = i;
        n++;
    }
    return n;
}

int dmq_calib_group(const dmq_calib *c, dmq_role role, int g, int k, int *out)
{
    int from = (int)((int64_t)g * c->n_weight_steps / k);
    int to = (int)((int64_t)(g + 1) * c->n_weight_steps / k), n = 0;

    assert(g >= 0 && g < k);
    for (int i = from * c->per_step; i < to * c->per_step; i++) {
        if (c->role[i] != role)
            continue;
        if (out)
            out[n] = i;
        n++;
    }
    return n;
}
