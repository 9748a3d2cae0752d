/**
 * The noise schedule: beta_t, alpha-bar_t in FP64.
 *
 *   linear: beta = linspace(beta_start, beta_end, T)        alpha_bar_t = prod_{i<=t} (1 - beta_i)
 *   scaled: beta = linspace(sqrt(beta_start), sqrt(beta_end), T)^2: what the LDM repository calls linear
 *   forward noising: x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps
 *
 * @see specs: models.md 1.8 and the golden values of section 8
 */
#ifndef DMQ_DIFFUSION_SCHEDULE_H
#define DMQ_DIFFUSION_SCHEDULE_H

#include "base/status.h"

typedef struct dmq_schedule {
    int T;
    double *beta;      /**< (T) */
    double *alpha_bar; /**< (T) */
} dmq_schedule;

/** EINVAL when T or a beta cannot be, as for the next. */
dmq_status dmq_schedule_create(dmq_schedule **out, int T, double beta_start, double beta_end);
dmq_status dmq_schedule_create_scaled(dmq_schedule **out, int T, double beta_start,
                                      double beta_end);
void dmq_schedule_destroy(dmq_schedule *schedule);

/** alpha-bar at integer t; 1 at t = -1. */
double dmq_schedule_alpha_bar(const dmq_schedule *schedule, int t);

#endif
