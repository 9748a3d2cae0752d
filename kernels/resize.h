/**
 * Bilinear resizing of 8-bit images, with the normalisation that the reader of them wants, NHWC.
 *
 *   l = level / unit
 *   y = alpha * (top + (bottom - top) * fy) + beta,   top = l(y0,x0) + (l(y0,x1) - l(y0,x0)) * fx, bottom likewise
 *
 * with y0 = floor(s), y1 = min(y0 + 1, h - 1), fy = s - y0 for row d, and columns likewise. Where s is:
 *
 *   TF1         s = d * (h / ho)                       no half pixels: torch-fidelity, the graph of ADM's evaluator
 *   half pixel  s = max((d + 0.5) * (h / ho) - 0.5, 0) pytorch-fid, F.interpolate with align_corners false
 *
 * All in the order of the formula (resize_math.h), the quotient h / ho rounded first: the same bits everywhere, and
 * those of TensorFlow 1 for unit 1. Nothing is filtered where an image shrinks.
 *
 * @see specs: models.md 6.2
 */
#ifndef DMQ_KERNELS_RESIZE_H
#define DMQ_KERNELS_RESIZE_H

#include "kernels/kernel.h"

/** In the order of evaluate.resize. */
typedef enum dmq_resize { DMQ_RESIZE_TF1, DMQ_RESIZE_HALF_PIXEL } dmq_resize;

typedef struct dmq_resize_args {
    dmq_resize rule;
    const uint8_t *x; /**< (n, h, w, c) levels */
    dmq_real *y;      /**< (n, ho, wo, c) */
    int n, h, wd, c;  /**< of x */
    int ho, wo;       /**< of y */
    dmq_real unit;    /**< levels are divided by it: 1, or 255 */
    dmq_real alpha, beta;
} dmq_resize_args;

dmq_status dmq_resize_levels_ref(dmq_queue *queue, const dmq_resize_args *a);

#endif
