/**
 * Vector quantization: each row becomes the nearest of n codes.
 *
 *   index[i] = argmin_j (|x_i|^2 + |e_j|^2) - 2 <x_i, e_j>,   y[i] = e_index[i]
 *
 * Same codes, bit for bit, from every implementation: all sums run over k = 0..d-1 one by one, in the order
 * of the formula (nearest_math.h). Of codes at the same distance the first is taken. The formula cancels: rows
 * far from the origin see distances that differ by less than |x|^2 2^-23 as equal, as the released code does.
 * A NaN in a row makes that row of y NaN, one in a code makes NaN of every row; index is then the first such code.
 * There is no derivative.
 *
 * @see VQ-VAE, arXiv:1711.00937; first stages VQ-f4 of latent diffusion, arXiv:2112.10752
 */
#ifndef DMQ_KERNELS_NEAREST_H
#define DMQ_KERNELS_NEAREST_H

#include "kernels/kernel.h"

typedef struct dmq_nearest_args {
    const dmq_real *x;    /**< (rows, d) */
    const dmq_real *code; /**< (n, d) */
    dmq_real *y;          /**< (rows, d), not x; optional */
    int *index;           /**< (rows); optional */
    int rows, d, n;       /**< n >= 1 */
} dmq_nearest_args;

dmq_status dmq_nearest_ref(dmq_queue *queue, const dmq_nearest_args *a);

#endif
