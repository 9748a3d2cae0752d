/**
 * Reconstruction loss of each sample.
 *
 *   loss[i] = coef * sum |f - y|^p               no 1/n: a sample's loss does not know its batch
 *   backward: df = dloss[i] * coef * p |f - y|^(p-1) sign(f - y)
 *   both:     forward and backward, the same bits, reading f and y once
 *   jvp:      loss_tan[i] = coef * sum p |f - y|^(p-1) sign(f - y) f_tan
 *
 * coef carries the reduction of the papers (sum over axis 1 of NCHW or (B, L, C), mean over the rest):
 * an image (C, H, W): 1/(HW);   tokens (L, D): 1/D;   a vector (D): 1. Sums in double, in fixed order.
 *
 * @see specs: gac.md 1.1, qdiffusion.md 3.5
 */
#ifndef DMQ_KERNELS_LOSS_H
#define DMQ_KERNELS_LOSS_H

#include "kernels/kernel.h"

typedef struct dmq_loss_args {
    const dmq_real *f; /**< (n, per): output */
    const dmq_real
        *y; /**< (n, per): target; with index (rows, per), and that of sample i is row index[i] */
    const int *index;      /**< (n), optional: 0..rows-1 */
    dmq_real *loss;        /**< (n); forward, both */
    const dmq_real *dloss; /**< (n); backward, both */
    dmq_real *df;          /**< (n, per); backward, both */
    const dmq_real *f_tan; /**< (n, per); jvp */
    dmq_real *loss_tan;    /**< (n); jvp */
    int n, rows;           /**< rows: with index */
    size_t per;
    dmq_real coef, power; /**< power 2 or 2.4 */
    int add;              /**< of df */
} dmq_loss_args;

dmq_status dmq_loss_forward_ref(dmq_queue *queue, const dmq_loss_args *a);
dmq_status dmq_loss_backward_ref(dmq_queue *queue, const dmq_loss_args *a);
dmq_status dmq_loss_both_ref(dmq_queue *queue, const dmq_loss_args *a);
dmq_status dmq_loss_jvp_ref(dmq_queue *queue, const dmq_loss_args *a);

#endif
