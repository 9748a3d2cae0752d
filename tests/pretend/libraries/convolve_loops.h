/**
 * The loops of a pretended convolution, over packed floats: compiled without sanitizers and for speed, since
 * they see nothing of the caller's.
 */
#ifndef DMQ_TESTS_CONVOLVE_LOOPS_H
#define DMQ_TESTS_CONVOLVE_LOOPS_H

typedef struct conv_loops {
    int n, h, wd, c, k, r, s, ho, wo;
    int stride[2], dilation[2], before[2];
    int reduced, backwards;
    unsigned turn; /* where sums begin */
} conv_loops;

/** y (n, ho, wo, k) of x (n, h, wd, c) and w (r, s, c, k) */
void conv_loops_forward(float *y, const float *x, const float *w, const conv_loops *l);

/** dx (n, h, wd, c) of dy (n, ho, wo, k) and w (r, s, k, c) */
void conv_loops_backward_data(float *dx, const float *dy, const float *w, const conv_loops *l);

/** dw (k, r, s, c) of x and dy */
void conv_loops_backward_filter(float *dw, const float *x, const float *dy, const conv_loops *l);

/** c (m, n) += a (m, k) b (k, n), with sums over k that begin at `first` and go round. */
void product_loops(float *c, const float *a, const float *b, int m, int n, int k, int first);

#endif
