#include "run/settings.h"

#include <stdlib.h>

void dmq_calib_settings(dmq_calib_config *out, const dmq_config *c)
{
    dmq_calib_defaults(out);
    out->per_timestep = dmq_config_int(c, "calibrate.per_timestep");
    out->interval = dmq_config_int(c, "calibrate.interval");
    out->validation = dmq_config_real(c, "calibrate.validation");
    out->held_out = (int)(dmq_config_real(c, "calibrate.held_out") * out->per_timestep + 0.5);
    if (dmq_config_real(c, "sampler.guidance") != 1)
        out->held_out += out->held_out % 2; /* two samples of a state: calib.h */
    out->fresh = dmq_config_enum(c, "calibrate.trajectories") == 1;
    out->seed = (uint64_t)dmq_config_int64(c, "seed");
}

void dmq_ranges_settings(dmq_ranges_config *out, const dmq_config *c)
{
    dmq_ranges_defaults(out);
    out->init = (dmq_range_init)dmq_config_enum(c, "quant.weight.init");
    out->per_tensor = dmq_config_enum(c, "quant.weight.granularity") == 1;
    out->candidates = dmq_config_int(c, "quant.weight.mse_candidates");
    out->power = dmq_config_real(c, "quant.weight.mse_power");
}

void dmq_recon_settings(dmq_recon_config *out, const dmq_config *c)
{
    const double *beta = dmq_config_reals(c, "recon.beta", NULL);

    dmq_recon_defaults(out);
    out->iters = dmq_config_int(c, "recon.iters");
    out->batch = dmq_config_int(c, "recon.batch");
    out->lr = dmq_config_real(c, "recon.lr");
    out->round_weight = dmq_config_real(c, "recon.round_weight");
    out->beta_hi = beta[0];
    out->beta_lo = beta[1];
    out->warmup = dmq_config_real(c, "recon.warmup");
    out->seed = (uint64_t)dmq_config_int64(c, "seed");
    out->checkpoint_every = 50; /* looked at; written when a minute has passed, or on a signal */
}

void dmq_recon_run_settings(dmq_recon_run_config *out, const dmq_config *c)
{
    int temporal = dmq_config_int(c, "recon.tib_iters");

    *out = (dmq_recon_run_config){
        .temporal_iters = temporal < 0    ? 0 /* as recon.iters */
                          : temporal == 0 ? -1
                                          : temporal,
        .order = (dmq_unit_order)dmq_config_enum(c, "recon.order"),
        .cache = { .budget_bytes = (double)dmq_config_int64(c, "recon.cache_budget"),
                   .host_bytes = (double)dmq_config_int64(c, "recon.cache_host"),
                   .disk_bytes = (double)dmq_config_int64(c, "recon.cache_disk"),
                   .folder = getenv("DMQ_SCRATCH") },
    };
    dmq_recon_settings(&out->recon, c);
}

void dmq_tables_settings(dmq_tables_config *out, const dmq_config *c)
{
    dmq_tables_defaults(out);
    out->init = (dmq_tables_init)dmq_config_enum(c, "quant.act.init");
    out->single = dmq_config_enum(c, "quant.act.tables") == 1;
    out->batch = dmq_config_int(c, "quant.act.batch");
    out->momentum = dmq_config_real(c, "quant.act.momentum");
    out->seed = (uint64_t)dmq_config_int64(c, "seed");
}

dmq_status dmq_policy_settings(dmq_choice *choice, const dmq_config *c, const dmq_model *model)
{
    dmq_policy policy = { .kind = dmq_config_text(c, "quant.policy"),
                          .weight_bits = dmq_config_int(c, "quant.weight.bits"),
                          .act_bits = dmq_config_int(c, "quant.act.bits") };
    dmq_status st;

    policy.rule = dmq_config_texts(c, "quant.rules", &policy.n_rules);
    policy.act_channels = dmq_config_enum(c, "quant.act.granularity") == 1;
    st = dmq_policy_apply(choice, model, &policy);
    if (st != DMQ_OK) {
        st = dmq_origin_note(
            st, dmq_config_origin(c, policy.n_rules > 0 ? "quant.rules" : "quant.policy"));
    }
    return st;
}
