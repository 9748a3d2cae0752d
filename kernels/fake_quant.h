/**
 * Uniform affine fake quantization.
 *
 *   u = x / scale           code = clip(rint(u) + zero, lo, hi)          y = (code - zero) * scale
 *
 * A division and half to even, as torch.round(x / delta) has it: x * (1/scale) differs near ties.
 * Same codes, bit for bit, from every implementation. NaN in, NaN out.
 *
 * Straight through, once for both passes (inside = lo <= rint(u) + zero <= hi, ends included; a NaN
 * counts as inside, so that it is seen in the gradients too):
 *   dy/dx = inside       dy/dscale = rint(u) - u inside, lo - zero below, hi - zero above
 * zero has no gradient. lsq_gain multiplies dscale: 1 (BRECQ, Q-Diffusion) or 1/sqrt(count * hi) (LSQ).
 *
 * x is seen as (n, outer, c, inner). Parameters are a table (rows, c): the row of image i is row[i]
 * (NULL: row 0 for all). Per tensor: c = 1. NHWC per channel: inner = 1. A weight KRSC per output
 * channel: n = 1, outer = 1, c = K, inner = RSC.
 *
 * @see LSQ, arXiv:1902.08153; BRECQ, arXiv:2102.05426
 */
#ifndef DMQ_KERNELS_FAKE_QUANT_H
#define DMQ_KERNELS_FAKE_QUANT_H

#include "kernels/kernel.h"

typedef struct dmq_fake_quant_args {
    const dmq_real *x;     /**< (n, outer, c, inner) */
    const dmq_real *scale; /**< (rows, c), > 0, in units of x */
    const dmq_real *zero;  /**< (rows, c), whole numbers */
    const int *row;        /**< (n), 0..rows-1, optional */
    dmq_real *y;           /**< as x, may be x; forward */
    int16_t *code;         /**< as x: clipped code, zero still in it; NaN: 0; optional; forward */
    const dmq_real *dy;    /**< as x; backward */
    dmq_real *dx;          /**< as x, may be dy if add = 0, optional; backward */
    dmq_real *dscale;      /**< (rows, c), optional; backward: always added to */
    const dmq_real *x_tan; /**< as x, optional; jvp */
    const dmq_real *scale_tan; /**< (rows, c), optional; jvp */
    dmq_real *y_tan;           /**< as x; jvp */
    int n, outer, c, inner;
    int rows;
    dmq_real lo, hi;   /**< ends of the code range, e.g. 0 and 255 */
    dmq_real lsq_gain; /**< factor of dscale */
    int add;           /**< of dx */
} dmq_fake_quant_args;

dmq_status dmq_fake_quant_forward_ref(dmq_queue *queue, const dmq_fake_quant_args *a);
dmq_status dmq_fake_quant_backward_ref(dmq_queue *queue, const dmq_fake_quant_args *a);
dmq_status dmq_fake_quant_jvp_ref(dmq_queue *queue, const dmq_fake_quant_args *a);

#endif
