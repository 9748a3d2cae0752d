/**
 * AdaRound: learned rounding of a weight, between floor and ceiling.
 *
 *   h(alpha) = clip(sigmoid(alpha) (zeta - gamma) + gamma, 0, 1)             gamma = -0.1, zeta = 1.1
 *   soft:   q = clip(floor(w/scale) + h + zero, lo, hi)      w_soft = (q - zero) * scale
 *   hard:   h replaced by [alpha >= 0]
 *   init:   alpha = -log((zeta - gamma)/(r - gamma) - 1),  r = w/scale - floor(w/scale), so that h = r
 *
 *   D  = dw_soft/dalpha   = scale (zeta - gamma) s(1 - s)          [0 < h~ < 1] [lo < floor + h + zero < hi]
 *   D2 = d2w_soft/dalpha2 = scale (zeta - gamma) s(1 - s)(1 - 2s)  same masks,  s = sigmoid(alpha)
 *
 *   backward: dalpha = D * dw            jvp: w_tan = D * alpha_tan
 *   curve:    dalpha = D2 * alpha_tan * dw        the rounding's own part of a Hessian-vector product
 *
 *   regularizer: R = weight * sum (1 - |2h - 1|^beta),  dR/dalpha = -2 weight beta |2h-1|^(beta-1) sign(2h-1) h'
 *
 * One layer: w, alpha (k, per) with scale and zero (k). A block's layers are given as an array, so that
 * a device handles them in one launch.
 *
 * @see AdaRound, arXiv:2004.10568; BRECQ, arXiv:2102.05426
 */
#ifndef DMQ_KERNELS_ADAROUND_H
#define DMQ_KERNELS_ADAROUND_H

#include "kernels/kernel.h"
#include "kernels/schedule.h"

#define DMQ_ADAROUND_GAMMA (-0.1)
#define DMQ_ADAROUND_ZETA  1.1

typedef struct dmq_adaround_layer {
    const dmq_real *w;         /**< (k, per) full-precision weight, KRSC */
    const dmq_real *scale;     /**< (k) */
    const dmq_real *zero;      /**< (k) */
    dmq_real *alpha;           /**< (k, per); written by init, else read */
    dmq_real *w_soft;          /**< (k, per); written by forward */
    int16_t *code;             /**< (k, per), optional; written by forward with hard = 1 */
    const dmq_real *dw;        /**< (k, per); backward, curve */
    const dmq_real *alpha_tan; /**< (k, per); jvp, where NULL is all 1, so that w_tan = D; curve */
    dmq_real *w_tan;           /**< (k, per); written by jvp */
    dmq_real *dalpha;          /**< (k, per), may be dw; written by backward, curve, regularize */
    int k, per;
    dmq_real lo, hi; /**< 0 and 2^bits - 1 */
} dmq_adaround_layer;

typedef struct dmq_adaround_args {
    const dmq_adaround_layer
        *layer; /**< (n_layers), host memory; what they point at is the device's */
    int n_layers;
    int hard;            /**< forward: 1 rounds by the sign of alpha */
    int add;             /**< of dalpha */
    dmq_real reg_weight; /**< regularize: 0.01 by the papers; 0 adds nothing */
    dmq_real reg_beta;   /**< regularize */
    double *reg_value;   /**< regularize: R, summed in double in a fixed order; optional */
} dmq_adaround_args;

dmq_status dmq_adaround_init_ref(dmq_queue *queue, const dmq_adaround_args *a);
dmq_status dmq_adaround_forward_ref(dmq_queue *queue, const dmq_adaround_args *a);
dmq_status dmq_adaround_backward_ref(dmq_queue *queue, const dmq_adaround_args *a);
dmq_status dmq_adaround_jvp_ref(dmq_queue *queue, const dmq_adaround_args *a);
dmq_status dmq_adaround_curve_ref(dmq_queue *queue, const dmq_adaround_args *a);
dmq_status dmq_adaround_regularize_ref(dmq_queue *queue, const dmq_adaround_args *a);

/**
 * One optimizer step of a block in one pass over its numbers: dalpha = D * dw + dR/dalpha; Adam on
 * alpha; w_soft of the new alpha. Equals backward, regularize, adam and forward in this order.
 */
typedef struct dmq_adaround_step_args {
    dmq_adaround_args round; /**< its layers; dalpha is not written */
    dmq_real *m, *v;         /**< moments, one block: layers one behind the other */
    dmq_real lr, beta1, beta2, eps;
    int step; /**< 1, 2, ... */
    /** (1), optional: read instead of lr to step and of round's reg_weight and reg_beta. */
    const dmq_step_scalars *scalars;
} dmq_adaround_step_args;

/** What a step reads: its scalars, or the fields beside them. */
DMQ_HD dmq_step_scalars dmq_adaround_scalars(const dmq_adaround_step_args *a)
{
    dmq_step_scalars s;

    if (a->scalars)
        return *a->scalars;
    s.adam = dmq_adam_begin(a->lr, a->beta1, a->beta2, a->eps, a->step);
    s.reg_weight = a->round.reg_weight;
    s.reg_beta = a->round.reg_beta;
    return s;
}

dmq_status dmq_adaround_step_ref(dmq_queue *queue, const dmq_adaround_step_args *a);

#endif
