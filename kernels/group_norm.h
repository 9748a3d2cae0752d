/**
 * Group norm over NHWC, with what usually stands around it, fused.
 *
 *   plain:  y = (x - mean_g) * rstd_g * gamma + beta        mean, variance over (hw, c/groups), biased
 *   fused:  y = fq(act(norm(x + shift)))                    each part optional
 *
 * shift (n, c) is the time embedding that a residual block adds before its second norm; act is SiLU;
 * fq is dmq_fake_quant per tensor with a table over steps. A fused call equals the composition of the
 * plain operations (tested), and its backward pass recomputes what is cheap.
 *
 *   backward: dx (also the gradient of x + shift), dshift (n, c) = sum_hw dx, dgamma, dbeta (c)
 *   jvp:      x^' = rstd (x' - mean x' - x^ mean(x^ x')) per group, y' = act'(.) inside (gamma x^' + ...)
 *
 * Statistics by two passes (mean, then centred squares).
 */
#ifndef DMQ_KERNELS_GROUP_NORM_H
#define DMQ_KERNELS_GROUP_NORM_H

#include "kernels/kernel.h"

typedef struct dmq_group_norm_args {
    const dmq_real *x;            /**< (n, hw, c) */
    const dmq_real *shift;        /**< (n, c), optional */
    const dmq_real *gamma, *beta; /**< (c) */
    dmq_real *y;                  /**< (n, hw, c) */
    dmq_real *mean, *rstd;        /**< (n, groups); written by forward, read by the other passes */
    int n, hw, c, groups;
    dmq_real eps;
    int silu;                     /**< 1: SiLU after the affine map */
    int quant;                    /**< 1: fake quantization after it, by the fields below */
    const dmq_real *scale, *zero; /**< (rows) */
    const int *row;               /**< (n), optional */
    int rows;
    dmq_real lo, hi;

    const dmq_real *dy;       /**< (n, hw, c); backward */
    dmq_real *dx;             /**< (n, hw, c), optional */
    dmq_real *dshift;         /**< (n, c), optional */
    dmq_real *dgamma, *dbeta; /**< (c), optional */
    int add;                  /**< of dx */
    int add_param;            /**< of dgamma and dbeta */
    int add_shift;            /**< of dshift */

    const dmq_real *x_tan, *shift_tan, *gamma_tan, *beta_tan; /**< jvp; each optional (zero) */
    dmq_real *y_tan;                                          /**< (n, hw, c); jvp */
} dmq_group_norm_args;

dmq_status dmq_group_norm_forward_ref(dmq_queue *queue, const dmq_group_norm_args *a);
dmq_status dmq_group_norm_backward_ref(dmq_queue *queue, const dmq_group_norm_args *a);
dmq_status dmq_group_norm_jvp_ref(dmq_queue *queue, const dmq_group_norm_args *a);

#endif
