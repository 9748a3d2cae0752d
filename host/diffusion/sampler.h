/**
 * Samplers: lists of steps, in order of execution, with all coefficients in FP64.
 *
 * A step is one call of the network and the move of x after it. Everything that belongs to a step (quantizer
 * tables, calibration states, corrections, noise) is keyed by its index i, never by t: the quadratic
 * spacing of 100 steps visits t = 0 four times, the first two calls of PLMS share a move, and a singlestep
 * solver of order 3 makes three calls for a move from grid point to grid point. So there are as many tables
 * as calls, and n_steps is the number of calls.
 *
 *   x_{i+1} = r_i x_i + c_i q_i + sum over slots of weight_is slot_s + sigma_i z
 *   q = eps(x_i, t_i); for dpm_solver (x_i - sqrt(1-a) eps)/sqrt(a), the predicted image
 *   a, a': alpha-bar at t_i and at the target
 *
 *   ddim: sigma^2 = eta^2 (1-a')/(1-a) (1 - a/a'), r = sqrt(a'/a), d = sqrt(1 - a' - sigma^2),
 *         c = d - sqrt(a'(1-a)/a)
 *   ddpm: as ddim with eta = 1 on the same steps, no noise at the last, and sigma^2 =
 *           fixed_large   beta = 1 - a/a': "ddpm_noisy" of the ddim repository (with clip_x0), and the
 *                         evaluation of pytorch_diffusion (all T steps, clip_x0), which has another
 *                         variance at t = 0, but draws no noise there
 *           fixed_small   the posterior variance: LDM without DDIM (all T steps)
 *           learned_range what the network chooses between the logarithms of the two: DiT, on the
 *                         respaced steps of spacing linspace; the last step draws no noise
 *   plms: ddim with eta = 0 and eps replaced by eps~ =
 *           (eps + eps(x~, t'))/2 with x~ the end of a plain step, a second call at the next t; then
 *           (3 eps - eps_1)/2, (23 eps - 16 eps_1 + 5 eps_2)/12, (55 eps - 59 eps_1 + 37 eps_2 - 9 eps_3)/24
 *   dpm_solver: DPM-Solver++ (dpm_solver.h): multistep 2m, singlestep 2s and 3s
 *
 * Whole t (all but dpm_solver), S = steps:
 *   uniform: t = 0, s, 2s, ... with s = floor(T/S), which may be more than S
 *   quad: t_k = int((k sqrt(0.8 T)/(S-1))^2)
 *   linspace: t_k = rint(k (T-1)/(S-1)), the respacing of guided-diffusion
 *   repository ddim: the last target is a' = 1. ldm: every t is one higher, the last target is
 *   alpha_bar[0], and S for which t = T would appear (s divides T-1) are refused
 * Times of dpm_solver: uniform, quad and logsnr, all from T to 1/T of the way (dpm_solver.h).
 *
 * Classifier-free guidance: the network answers twice in one call, on a joined batch of 2 B rows, without
 * and with the label: eps = eps_null + guidance (eps_cond - eps_null) in the guided channels, eps_cond in
 * the others. LDM's batch is [null, cond], DiT's [cond, null]. The two rows of a trajectory have the same x
 * and the same step index: tables of quantizers see both branches as they would two samples.
 *
 * @see specs: corrections.md 0.2 and 0.3, models.md 5.1 to 5.7
 */
#ifndef DMQ_DIFFUSION_SAMPLER_H
#define DMQ_DIFFUSION_SAMPLER_H

#include "backend/backend.h"
#include "diffusion/schedule.h"

typedef enum dmq_sampler_kind { DMQ_DDIM, DMQ_DDPM, DMQ_PLMS, DMQ_DPM_SOLVER } dmq_sampler_kind;

typedef enum dmq_spacing {
    DMQ_SPACING_UNIFORM,
    DMQ_SPACING_QUAD,
    DMQ_SPACING_LINSPACE,
    DMQ_SPACING_LOGSNR
} dmq_spacing;

/** Whose steps: what t is counted from, and where the last step ends. */
typedef enum dmq_repository { DMQ_REPOSITORY_DDIM, DMQ_REPOSITORY_LDM } dmq_repository;

typedef enum dmq_variance { DMQ_FIXED_LARGE, DMQ_FIXED_SMALL, DMQ_LEARNED_RANGE } dmq_variance;

typedef enum dmq_solver { DMQ_SOLVER_2M, DMQ_SOLVER_2S, DMQ_SOLVER_3S } dmq_solver;

typedef struct dmq_sampler_config {
    dmq_sampler_kind kind;
    dmq_spacing spacing;
    int steps;
    double eta;            /**< ddim; for ddpm 1, for the others 0 */
    dmq_variance variance; /**< ddpm */
    int clip_x0;           /**< ddim, ddpm: clip the x0 prediction to [-1, 1] */
    dmq_repository repository;
    dmq_solver solver;     /**< dpm_solver */
    int lower_order_below; /**< 2m: fewer steps than this end with a step of order 1 */
    double guidance;       /**< classifier-free guidance; 0, 1: none */
    int cond_first; /**< with it: the order in a joined batch, [cond, null], not [null, cond] */
    int guided_channels; /**< with it: the first so many of the noise (3 for DiT); 0: all */
} dmq_sampler_config;

/** Steps of 2m below which the LDM repository lowers the last one's order. */
enum { DMQ_LOWER_ORDER_BELOW = 15 };

typedef struct dmq_sampler_step {
    int index;        /**< 0 works on pure noise */
    double t;         /**< given to the network; whole but for dpm_solver */
    double t_next;    /**< of the state that x moves to; -1: the image */
    double a, a_next; /**< alpha-bar at t, and of what x moves to */
    double r, c, d, sigma;
    double q_x, q_e; /**< q = q_x x + q_e eps; plms, dpm_solver */
    double slot[DMQ_SAMPLER_SLOTS];
    int keep_q, keep_x;      /**< slots that q and x go to, -1: none */
    double log_min, log_max; /**< learned variance */
} dmq_sampler_step;

typedef struct dmq_sampler {
    dmq_sampler_config config;
    dmq_sampler_form form; /**< of its moves (kernels/sampler.h) */
    dmq_sampler_step *step;
    int n_steps; /**< calls of the network; may differ from config.steps */
} dmq_sampler;

/** EINVAL with both sides and a way out. */
dmq_status dmq_sampler_create(dmq_sampler **out, const dmq_schedule *schedule,
                              const dmq_sampler_config *config);
void dmq_sampler_destroy(dmq_sampler *sampler);

/** Rows of a trajectory in a call of the network: 2 with guidance, else 1. */
int dmq_sampler_branches(const dmq_sampler *sampler);

/** Whether branch 0 or 1 is the one without a condition. */
int dmq_sampler_is_null(const dmq_sampler *sampler, int branch);

/**
 * "ddim, 100 steps, quad, eta 0, clip": what a calibration set or a table made for a sampler is held against.
 */
dmq_status dmq_sampler_text(char **out, const dmq_sampler *sampler);

/** How many more or fewer steps than asked for are made, and why; *out NULL: as many. */
dmq_status dmq_sampler_note(char **out, const dmq_sampler *sampler);

#endif
