/**
 * Operations that can be recorded. Each returns its result, or NULL after a failure that
 * dmq_tape_plan reports. Shapes are in memory order (shape.h); formulas are in kernels/<op>.h.
 */
#ifndef DMQ_TAPE_OPS_H
#define DMQ_TAPE_OPS_H

#include "tape/tape.h"

/** Padding of a convolution in pixels. */
typedef struct dmq_pad {
    int top, bottom, left, right;
} dmq_pad;

/** x (N,H,W,C), w (K,R,S,C), bias (K) or NULL -> (N,Ho,Wo,K). */
dmq_var *dmq_record_conv2d(dmq_tape *tape, dmq_var *x, dmq_var *w, dmq_var *bias, int stride,
                           dmq_pad pad);

/** x (..., D), w (K,D), bias (K) or NULL -> (..., K). */
dmq_var *dmq_record_linear(dmq_tape *tape, dmq_var *x, dmq_var *w, dmq_var *bias);

/** a (N,M,P) or its transpose, b (N,P,Q) or its transpose -> alpha * a b, (N,M,Q). */
dmq_var *dmq_record_matmul(dmq_tape *tape, dmq_var *a, int trans_a, dmq_var *b, int trans_b,
                           double alpha);

/** Over the last axis. */
dmq_var *dmq_record_softmax(dmq_tape *tape, dmq_var *x);

/**
 * Attention of each head over its own d columns: softmax(alpha q k^T) v. q (N,L,C), k and v (N,M,C), heads
 * side by side, C = heads * d -> (N,L,C). The probabilities are made piecewise and not kept.
 */
dmq_var *dmq_record_attention(dmq_tape *tape, dmq_var *q, dmq_var *k, dmq_var *v, int heads,
                              double alpha);

/** The same of qkv (N,L,3C); by_head 1: q, k, v of head 0, then of head 1, ...; 0: all q, all k, all v. */
dmq_var *dmq_record_attention_qkv(dmq_tape *tape, dmq_var *qkv, int heads, int by_head,
                                  double alpha);

/** x (N,H,W,C) or (N,L,C), gamma and beta (C). */
dmq_var *dmq_record_group_norm(dmq_tape *tape, dmq_var *x, dmq_var *gamma, dmq_var *beta,
                               int groups, double eps);

/** Over the last axis; gamma and beta (D), or both NULL: ones and zeros. */
dmq_var *dmq_record_layer_norm(dmq_tape *tape, dmq_var *x, dmq_var *gamma, dmq_var *beta,
                               double eps);

dmq_var *dmq_record_unary(dmq_tape *tape, dmq_unary_kind kind, dmq_var *x);

/** x (..., 2D) -> (..., D). */
dmq_var *dmq_record_geglu(dmq_tape *tape, dmq_var *x);

/**
 * p + q or p * q. q has p's shape, or is (N,C) beside (N,H,W,C) or (N,L,C), or (C) beside (..., C),
 * or holds one number.
 */
dmq_var *dmq_record_binary(dmq_tape *tape, dmq_binary_kind kind, dmq_var *p, dmq_var *q);

/** Along the last axis (channels). */
dmq_var *dmq_record_concat(dmq_tape *tape, dmq_var *a, dmq_var *b);

/** The same of n, 1 to 6, in their order. */
dmq_var *dmq_record_concat_all(dmq_tape *tape, dmq_var *const *part, int n);

/** count positions from `from` along an axis. */
dmq_var *dmq_record_slice(dmq_tape *tape, dmq_var *x, int axis, int from, int count);

/** Nearest, (N,H,W,C) -> (N,fH,fW,C); average pooling, (N,H,W,C) -> (N,H/f,W/f,C). */
dmq_var *dmq_record_upsample(dmq_tape *tape, dmq_var *x, int factor);
dmq_var *dmq_record_avg_pool(dmq_tape *tape, dmq_var *x, int factor);

/** Windows of k x k with any stride, 0 <= pad < k: kernels/pool2d.h. */
dmq_var *dmq_record_pool2d(dmq_tape *tape, dmq_pool_kind kind, dmq_var *x, int k, int stride,
                           int pad);

/** table (rows,D) -> (N,D). */
dmq_var *dmq_record_embed(dmq_tape *tape, dmq_var *table, const dmq_index *index);

/** t (N) -> (N,d); carries no gradient. */
dmq_var *dmq_record_time_embed(dmq_tape *tape, dmq_var *t, int d, double divisor, int cos_first);

/** The nearest of the rows of code (n,D) for each row of x (..., D); there is no derivative. */
dmq_var *dmq_record_nearest(dmq_tape *tape, dmq_var *x, dmq_var *code);

/** Same numbers in the same order, other shape: shares memory. */
dmq_var *dmq_record_reshape(dmq_tape *tape, dmq_var *x, dmq_shape shape);

/** Axis d of the result is axis perm[d] of x. */
dmq_var *dmq_record_permute(dmq_tape *tape, dmq_var *x, const int perm[4]);

/**
 * Loss of each sample, (N), reduced as gac.md 1.1: images sum over channels and mean over pixels,
 * tokens sum over tokens and mean over features, vectors sum. f may have a gradient, y has none.
 */
dmq_var *dmq_record_loss(dmq_tape *tape, dmq_var *f, dmq_var *y, double power);

/**
 * Let the targets of a recorded loss be rows of a table from now on, read where they lie: y[i] = rows[index[i]], in
 * the place of what y holds. Backend memory; rows NULL: y again.
 */
void dmq_loss_rows(dmq_var *loss, const dmq_real *rows, int count, const int *index);

/** Cross entropy of each sample, (N). x (N,classes). */
dmq_var *dmq_record_xent(dmq_tape *tape, dmq_var *x, const dmq_index *label);

/** How fake quantization is applied. Scales and zeros are a table (rows, c): see kernels/fake_quant.h. */
typedef struct dmq_quant_spec {
    dmq_var *scale;       /**< (rows, c): a constant, or a parameter when the step is learned */
    dmq_var *zero;        /**< (rows, c) constant */
    const dmq_index *row; /**< row of each sample, or NULL */
    double lo, hi;
    double lsq_gain; /**< 1 */
    int per_channel; /**< 0: c = 1.  1: c = last axis of x (activations), or axis 0 if weight */
    int weight;      /**< x is a weight: channels are axis 0, no samples */
} dmq_quant_spec;

dmq_var *dmq_record_fake_quant(dmq_tape *tape, dmq_var *x, const dmq_quant_spec *spec);

/** The soft weight of alpha; w (K,...) constant, scale and zero (K) constant; alpha has w's shape. */
dmq_var *dmq_record_adaround(dmq_tape *tape, dmq_var *alpha, dmq_var *w, dmq_var *scale,
                             dmq_var *zero, double lo, double hi);

/**
 * A function of the caller on the way: y = fn(x), called in every forward pass on the thread that runs
 * it; y has x's shape and is not x. For observers; there is no derivative.
 */
typedef dmq_status dmq_probe_fn(void *context, const dmq_backend *be, dmq_queue *queue,
                                dmq_shape shape, const dmq_real *x, dmq_real *y);

dmq_var *dmq_record_probe(dmq_tape *tape, dmq_var *x, dmq_probe_fn *fn, void *context);

#endif
