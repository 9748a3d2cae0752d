/**
 * Layer norm over the last axis: y = (x - mean) * rstd * gamma + beta, biased variance over d.
 * Passes and options as group norm's without the fused parts.
 */
#ifndef DMQ_KERNELS_LAYER_NORM_H
#define DMQ_KERNELS_LAYER_NORM_H

#include "kernels/kernel.h"

typedef struct dmq_layer_norm_args {
    const dmq_real *x;            /**< (rows, d) */
    const dmq_real *gamma, *beta; /**< (d) */
    dmq_real *y;                  /**< (rows, d) */
    dmq_real *mean, *rstd;        /**< (rows); written by forward, read by the other passes */
    int rows, d;
    dmq_real eps;
    const dmq_real *dy;       /**< backward */
    dmq_real *dx;             /**< optional */
    dmq_real *dgamma, *dbeta; /**< optional */
    int add, add_param;
    const dmq_real *x_tan, *gamma_tan, *beta_tan; /**< jvp; optional */
    dmq_real *y_tan;
} dmq_layer_norm_args;

dmq_status dmq_layer_norm_forward_ref(dmq_queue *queue, const dmq_layer_norm_args *a);
dmq_status dmq_layer_norm_backward_ref(dmq_queue *queue, const dmq_layer_norm_args *a);
dmq_status dmq_layer_norm_jvp_ref(dmq_queue *queue, const dmq_layer_norm_args *a);

#endif
