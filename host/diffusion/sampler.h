/**
 * Samplers: lists of steps, in order of execution, with all coefficients in FP64.
 *
 *   x_{i+1} = r_i x_i + c_i eps(x_i, t_i) + sigma_i z        a, a': alpha-bar at t_i and at the target
 *   ddim: sigma^2 = eta^2 (1-a')/(1-a) (1 - a/a'), r = sqrt(a'/a), d = sqrt(1 - a' - sigma^2),
 *         c = d - sqrt(a'(1-a)/a)
 *   ddpm: as ddim with eta = 1 on the same steps, and sigma^2 = beta = 1 - a/a' ("fixed large")
 *         or the posterior variance ("fixed small"); no noise at the last step
 *   uniform: t = 0, s, 2s, ... with s = floor(T/steps); quad: t_k = int((k sqrt(0.8 T)/(S-1))^2)
 *
 * Everything that belongs to a step (quantizer tables, corrections) is keyed by its index i, never by
 * t: the quadratic spacing of 100 steps visits t = 0 four times.
 *
 * @see specs: corrections.md 0.2 and 0.3, models.md 5.1 to 5.3
 */
#ifndef DMQ_DIFFUSION_SAMPLER_H
#define DMQ_DIFFUSION_SAMPLER_H

#include "backend/backend.h"
#include "diffusion/schedule.h"

typedef enum dmq_sampler_kind { DMQ_DDIM, DMQ_DDPM } dmq_sampler_kind;
typedef enum dmq_spacing { DMQ_SPACING_UNIFORM, DMQ_SPACING_QUAD } dmq_spacing;

typedef struct dmq_sampler_config {
    dmq_sampler_kind kind;
    dmq_spacing spacing;
    int steps;
    double eta;      /**< ddim; an error for ddpm unless 1 */
    int fixed_small; /**< ddpm: posterior variance instead of beta */
    int clip_x0;     /**< clip the x0 prediction to [-1, 1] */
} dmq_sampler_config;

typedef struct dmq_sampler_step {
    int index;  /**< 0 works on pure noise */
    int t;      /**< given to the network */
    int t_next; /**< -1 after the last */
    double a, a_next;
    double r, c, d, sigma;
} dmq_sampler_step;

typedef struct dmq_sampler {
    dmq_sampler_config config;
    dmq_sampler_form form; /**< of its moves (kernels/sampler.h) */
    dmq_sampler_step *step;
    int n_steps; /**< may differ from config.steps: ceil(T / floor(T/steps)) for uniform */
} dmq_sampler;

dmq_status dmq_sampler_create(dmq_sampler **out, const dmq_schedule *schedule,
                              const dmq_sampler_config *config);
void dmq_sampler_destroy(dmq_sampler *sampler);

#endif
