/**
 * Error of the noise prediction at the states of full-precision trajectories, the same input to both:
 *
 *   error[i] = mean over C, H, W of (eps_q(x_i, t_i) - eps_fp(x_i, t_i))^2
 *
 * It needs few samples, does not accumulate along the trajectory, and tells early from late steps.
 */
#ifndef DMQ_EVAL_NOISE_ERROR_H
#define DMQ_EVAL_NOISE_ERROR_H

#include "backend/lanes.h"
#include "model/hook_source.h"

/**
 * @param source  hooks of the quantized model
 * @param x       n pointers to (H, W, C), host memory
 * @param t, row  (n) timestep and sampler step of each
 * @param label   (n) its label; NULL for a network without classes
 * @param error   (n) out; of the noise, where the network gives a variance behind it
 */
dmq_status dmq_noise_error(double *error, const dmq_model *model, const dmq_hook_source *source,
                           dmq_lanes *lanes, const dmq_real *const *x, const dmq_real *t,
                           const int *row, const int *label, int n);

#endif
