/**
 * Shared by the files of the forecast only.
 */
#ifndef DMQ_RUN_FORECAST_INNER_H
#define DMQ_RUN_FORECAST_INNER_H

#include "calib/calib.h"
#include "quant/qmodel.h"
#include "recon/run.h"
#include "run/forecast.h"

/** How much there is of what, in the run and in the miniature. */
typedef struct dmq_scale {
    int n, train, validation, held_out; /**< samples of the weight set */
    int steps, weight_steps, per_step;
} dmq_scale;

typedef struct dmq_forecasting {
    dmq_forecast *f;
    const dmq_experiment *e;
    dmq_scale full, mini;
    dmq_calib *calib; /**< the miniature's */
    dmq_qmodel *q;
    dmq_recon_run_config recon;
} dmq_forecasting;

/** Measure and scale reconstruction: f->unit, f->quantize but for ranges and tables, memory of quantize. */
dmq_status dmq_forecast_units(dmq_forecasting *g);

#endif
