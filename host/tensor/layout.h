/**
 * Between the order of files (NCHW, KCRS) and that of memory (NHWC, KRSC): converted at the boundary,
 * once. Weights are the same permutation: n = K, c = C, h = R, w = S.
 */
#ifndef DMQ_TENSOR_LAYOUT_H
#define DMQ_TENSOR_LAYOUT_H

#include "kernels/kernel.h"

/** out (n, h, w, c) from in (n, c, h, w); they do not overlap. */
void dmq_nhwc_from_nchw(dmq_real *out, const dmq_real *in, int n, int c, int h, int w);

/** out (n, c, h, w) from in (n, h, w, c); they do not overlap. */
void dmq_nchw_from_nhwc(dmq_real *out, const dmq_real *in, int n, int c, int h, int w);

#endif
