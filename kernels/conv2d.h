/**
 * 2-d convolution (cross-correlation, as the frameworks mean it), any stride, any padding.
 *
 *   y[n,i,j,k] = bias[k] + sum_{r,s,c} x[n, i*stride - pad_top + r, j*stride - pad_left + s, c] w[k,r,s,c]
 *   with relu: y = max(y, 0) of that, and of what it is added to; NaN stays
 *   dx         = the transpose in x, dw = the transpose in w, dbias[k] = sum_{n,i,j} dy[n,i,j,k]
 *
 * Outside of x counts as zero. Sizes: ho = (h + pad_top + pad_bottom - r)/stride + 1, wo likewise;
 * the down-sampling of the DDPM UNet is r = s = 3, stride 2, pad_bottom = pad_right = 1 alone.
 * The tangent of y is forward(x_tan, w) + forward(x, w_tan): the forward slot with add = 1.
 *
 * Gradients of single images: with per > 0 backward_weights has one dw for each run of `per` images (n is a
 * multiple of it), the g-th at dw + g apart, and dbias likewise.
 *
 * Sets of weights: with sets > 1 forward and backward_data take the images in as many runs of n/sets (n is a
 * multiple), the g-th with the weights at w + g sets_apart; the bias is one for all. What a run gives is what a
 * call with it alone gives, to the rounding of an implementation whose algorithms know the size of a batch.
 */
#ifndef DMQ_KERNELS_CONV2D_H
#define DMQ_KERNELS_CONV2D_H

#include "kernels/kernel.h"

typedef struct dmq_conv2d_args {
    const dmq_real *x;    /**< (n, h, w, c) */
    const dmq_real *w;    /**< (k, r, s, c) */
    const dmq_real *bias; /**< (k), optional */
    dmq_real *y;          /**< (n, ho, wo, k), not x; forward */
    const dmq_real *dy;   /**< gradient of y; both backward passes */
    dmq_real *dx;         /**< as x; backward_data */
    dmq_real *dw;         /**< as w; backward_weights */
    dmq_real *dbias;      /**< (k), optional; backward_weights */
    int n, h, wd, c;      /**< images, height, width, channels in */
    int k, r, s;          /**< channels out, kernel height, kernel width */
    int stride;           /**< both directions */
    int pad_top, pad_left;
    int ho, wo;        /**< size of y; bottom and right padding follow from it */
    int add;           /**< 1: add to y, dx, or dw and dbias */
    int relu;          /**< 1: forward ends with a ReLU */
    int per;           /**< backward_weights: images of one dw; 0: all of them */
    size_t apart;      /**< with per: numbers from one dw, or dbias, to the next */
    int sets;          /**< forward, backward_data: sets of weights; 0: one, as 1 */
    size_t sets_apart; /**< with sets: numbers from one set to the next */
    /** Calls of one number, but for 0, see the same numbers in x and in w (`same`), in dy (`same_dy`): of what
        an implementation makes of them in forward, or of dy in backward_data, the later ones may make use.
        same >> 20 is the number of the pass that a call belongs to. */
    uint64_t same, same_dy;
    int again_x, again_w; /**< forward with `same`: a backward call will read x, w */
} dmq_conv2d_args;

/** forward or backward_data of the g-th run of `sets` alone, for an implementation that takes them one by one. */
static inline dmq_conv2d_args dmq_conv2d_set(const dmq_conv2d_args *a, int g)
{
    size_t images = (size_t)(a->n / a->sets), first = (size_t)g * images;
    size_t in = first * (size_t)a->h * (size_t)a->wd * (size_t)a->c;
    size_t out = first * (size_t)a->ho * (size_t)a->wo * (size_t)a->k;
    dmq_conv2d_args run = *a;

    run.w += (size_t)g * a->sets_apart;
    if (run.x)
        run.x += in;
    if (run.dx)
        run.dx += in;
    if (run.y)
        run.y += out;
    if (run.dy)
        run.dy += out;
    run.n = (int)images;
    run.sets = 0;
    return run;
}

/** backward_weights of the g-th run alone, for an implementation that takes them one by one. */
static inline dmq_conv2d_args dmq_conv2d_run(const dmq_conv2d_args *a, int g)
{
    size_t first = (size_t)g * (size_t)a->per;
    dmq_conv2d_args run = *a;

    run.x += first * (size_t)a->h * (size_t)a->wd * (size_t)a->c;
    run.dy += first * (size_t)a->ho * (size_t)a->wo * (size_t)a->k;
    run.dw += (size_t)g * a->apart;
    if (a->dbias)
        run.dbias += (size_t)g * a->apart;
    run.n = a->per;
    run.per = 0;
    return run;
}

dmq_status dmq_conv2d_forward_ref(dmq_queue *queue, const dmq_conv2d_args *a);
dmq_status dmq_conv2d_backward_data_ref(dmq_queue *queue, const dmq_conv2d_args *a);
dmq_status dmq_conv2d_backward_weights_ref(dmq_queue *queue, const dmq_conv2d_args *a);

#endif
