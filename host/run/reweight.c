#include "run/reweight.h"

#include "base/memory.h"
#include "base/signal.h"
#include "bilevel/diagnose.h"
#include "calib/batch.h"

#include <string.h>

void dmq_reweight_settings(dmq_learn_config *out, const dmq_config *c, int unit)
{
    int form = dmq_config_enum(c, "reweight.form");

    dmq_learn_defaults(out);
    out->form = (dmq_gm_form)(form > 0 ? form - 1 : 0); /* "off" comes first in the schema */
    out->mode = (dmq_weight_mode)dmq_config_enum(c, "reweight.mode");
    out->gm_weight = (dmq_gm_weight)dmq_config_enum(c, "reweight.gm_weight");
    out->rho_0 = dmq_config_real(c, "reweight.rho"); /* 0: the policy's own */
    out->cosine = dmq_config_enum(c, "reweight.similarity") == 1;
    out->normalize = dmq_config_bool(c, "reweight.normalize");
    out->matrix_free = dmq_config_enum(c, "reweight.jacobian") == 1;
    out->permute = dmq_config_bool(c, "reweight.permute");
    out->tau = dmq_config_real(c, "reweight.tau");
    out->visits = dmq_config_real(c, "reweight.visits");
    out->lr = dmq_config_real(c, "reweight.lr");
    out->batch = dmq_config_int(c, "reweight.batch");
    out->validation_batch = dmq_config_int(c, "reweight.validation_batch");
    out->ess_stop = dmq_config_real(c, "reweight.ess_stop");
    out->eta_move = dmq_config_real(c, "reweight.eta_move");
    out->eta = dmq_config_real(c, "reweight.eta");
    out->seed = (uint64_t)dmq_config_int64(c, "seed");
    out->unit = (uint64_t)unit;
}

int dmq_reweight_groups(const dmq_config *c, const dmq_calib *calib)
{
    int k = dmq_config_int(c, "reweight.groups"); /* learning with more is refused beforehand */

    return k < calib->n_weight_steps ? k : calib->n_weight_steps;
}

dmq_status dmq_reweight_groups_of(dmq_groups *out, int *memory, const dmq_calib *calib,
                                  dmq_role role, const dmq_config *c)
{
    int *next = memory;

    out->k = dmq_reweight_groups(c, calib);
    for (int g = 0; g < out->k; g++) {
        out->sample[g] = next;
        out->count[g] = dmq_calib_group(calib, role, g, out->k, next);
        if (out->count[g] == 0) {
            return dmq_fail(DMQ_EINVAL,
                            "timestep group %d of %d has no %s sample\n  hint: raise "
                            "calibrate.%s, or calibrate.per_timestep",
                            g + 1, out->k, role == DMQ_VALIDATION ? "validation" : "held-out",
                            role == DMQ_VALIDATION ? "validation" : "held_out");
        }
        next += out->count[g];
    }
    return DMQ_OK;
}

/* Iterations of a warm-up that the device is given at once; between two such plans a stop is heard. */
enum { PLAN_ROWS = 50 };

typedef struct warm_up {
    const int *train;
    int n_train, batch;
    const dmq_recon_config *recon;
    int *sample; /* (PLAN_ROWS, batch) */
    dmq_real *w;
    dmq_step_scalars scalars[PLAN_ROWS];
} warm_up;

/* Iterations first, ..., first + rows - 1 (from 1 on), under uniform weights and without the regularizer. */
static dmq_status warm(warm_up *k, dmq_block *b, const dmq_recon_state *state, int first, int rows)
{
    dmq_status st = DMQ_OK;

    for (int r = 0; r < rows; r++) {
        dmq_batch_draw(k->sample + (size_t)r * (size_t)k->batch, k->batch, k->train, k->n_train,
                       k->recon->seed, (uint64_t)b->unit, (uint32_t)(first + r));
        k->scalars[r] = (dmq_step_scalars){ .adam = dmq_adam_begin((dmq_real)k->recon->lr,
                                                                   (dmq_real)0.9, (dmq_real)0.999,
                                                                   (dmq_real)1e-8, first + r) };
    }
    DMQ_TRY(dmq_block_plan_set(b, &(dmq_block_plan){ .rows = rows,
                                                     .n = k->batch,
                                                     .sample = k->sample,
                                                     .weight = k->w,
                                                     .scalars = k->scalars,
                                                     .alpha = state->alpha,
                                                     .m = state->m,
                                                     .v = state->v }));
    DMQ_TRY(dmq_block_run(b, rows));
done:
    return st;
}

/* The state at the point where J is taken: the initial one, or after a warm-up under uniform weights. */
static dmq_status point(dmq_block *b, const dmq_config *c, const int *train, int n_train,
                        const dmq_recon_config *recon, const dmq_recon_state *state)
{
    int iters = dmq_config_int(c, "reweight.point_iters");
    warm_up k = { .train = train,
                  .n_train = n_train,
                  .batch = recon->batch < n_train ? recon->batch : n_train,
                  .recon = recon };
    size_t count = PLAN_ROWS * (size_t)k.batch;
    dmq_status st = DMQ_OK;

    if (dmq_config_enum(c, "reweight.point") == 0)
        goto done;
    if (iters <= 0)
        iters = (int)(recon->warmup * recon->iters);
    DMQ_TRY(dmq_alloc((void **)&k.w, count, sizeof *k.w));
    DMQ_TRY(dmq_alloc((void **)&k.sample, count, sizeof *k.sample));
    for (size_t i = 0; i < count; i++)
        k.w[i] = (dmq_real)(1.0 / k.batch);
    DMQ_TRY(dmq_block_soften(b, state->alpha));
    for (int i = 1; i <= iters; i += PLAN_ROWS) {
        if (dmq_stop_requested())
            DMQ_TRY(dmq_fail(DMQ_ESTOP, "stopped on the way to the point of the sample weights"));
        DMQ_TRY(warm(&k, b, state, i, iters - i + 1 < PLAN_ROWS ? iters - i + 1 : PLAN_ROWS));
    }
done:
    dmq_free(k.w);
    dmq_free(k.sample);
    return st;
}

dmq_status dmq_reweight_block(dmq_block *b, const dmq_config *c, const dmq_calib *calib,
                              const int *train, int n_train, const int *held, int n_held,
                              const dmq_recon_config *recon, dmq_real *s, dmq_unit_log *log)
{
    dmq_learn_config config;
    dmq_groups groups;
    dmq_recon_state *at = NULL;
    dmq_real *align = NULL;
    int *memory = NULL;
    dmq_status st = DMQ_OK;

    dmq_reweight_settings(&config, c, b->unit);
    DMQ_TRY(dmq_alloc((void **)&memory, (size_t)calib->n, sizeof *memory));
    DMQ_TRY(dmq_alloc((void **)&align, (size_t)n_train, sizeof *align));
    DMQ_TRY(dmq_reweight_groups_of(&groups, memory, calib, DMQ_VALIDATION, c));
    DMQ_TRY(dmq_recon_state_create(&at, b));
    DMQ_TRY(point(b, c, train, n_train, recon, at));
    DMQ_TRY(dmq_learn_weights(&b->problem, at->alpha, train, n_train, &groups, &config, s,
                              &log->weights));
    log->weighted = 1;
    if (n_held > 0) {
        DMQ_TRY(dmq_alignment_with(&b->problem, at->alpha, train, n_train, held, n_held, align));
        DMQ_TRY(dmq_spearman(s, align, n_train, &log->spearman));
    }
done:
    dmq_recon_state_destroy(at);
    dmq_free(memory);
    dmq_free(align);
    return st;
}

dmq_status dmq_reweight_cosines(dmq_block *b, const dmq_config *c, const dmq_calib *calib,
                                const dmq_real *alpha, double *mean, double *matrix)
{
    dmq_groups groups;
    int *memory = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&memory, (size_t)calib->n, sizeof *memory));
    DMQ_TRY(dmq_reweight_groups_of(&groups, memory, calib, DMQ_VALIDATION, c));
    DMQ_TRY(dmq_group_cosines(&b->problem, alpha, &groups, matrix, mean));
done:
    dmq_free(memory);
    return st;
}

dmq_status dmq_reweight_group_losses(dmq_block *b, const dmq_config *c, const dmq_calib *calib,
                                     double *loss)
{
    dmq_groups groups;
    dmq_real *each = NULL;
    int *memory = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&memory, (size_t)calib->n, sizeof *memory));
    DMQ_TRY(dmq_alloc((void **)&each, (size_t)calib->n, sizeof *each));
    DMQ_TRY(dmq_reweight_groups_of(&groups, memory, calib, DMQ_HELD_OUT, c));
    for (int g = 0; g < groups.k; g++) {
        loss[g] = 0;
        DMQ_TRY(dmq_block_losses(b, groups.sample[g], groups.count[g], each));
        for (int i = 0; i < groups.count[g]; i++)
            loss[g] += (double)each[i] / groups.count[g];
    }
done:
    dmq_free(memory);
    dmq_free(each);
    return st;
}
