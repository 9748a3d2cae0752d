/**
 * Element-wise operations.
 *
 *   unary     y = f(x)                      f: silu x*sigmoid(x), gelu x*Phi(x) (erf form), relu, identity,
 *             gelu_tanh x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2
 *   derive    out = f'(x) * v               backward (v = dy) and tangent (v = x_tan) alike
 *   geglu     y = a * gelu(g), (a | g) the halves of the last axis
 *   binary    y = p + q or p * q with broadcast over three axes (stride 0 repeats)
 *   axpby     y = alpha x + beta y, or alpha x + beta z
 *   fill      y = value
 */
#ifndef DMQ_KERNELS_POINTWISE_H
#define DMQ_KERNELS_POINTWISE_H

#include "kernels/kernel.h"

typedef enum dmq_unary_kind {
    DMQ_SILU,
    DMQ_GELU,
    DMQ_RELU,
    DMQ_IDENTITY,
    DMQ_GELU_TANH
} dmq_unary_kind;

typedef struct dmq_unary_args {
    dmq_unary_kind kind;
    const dmq_real *x; /**< (count) */
    dmq_real *y;       /**< (count), may be x; forward */
    const dmq_real *v; /**< (count); derive */
    dmq_real *out;     /**< (count), may be v if add = 0; derive */
    size_t count;
    int add; /**< of out */
} dmq_unary_args;

dmq_status dmq_unary_forward_ref(dmq_queue *queue, const dmq_unary_args *a);
dmq_status dmq_unary_derive_ref(dmq_queue *queue, const dmq_unary_args *a);

typedef struct dmq_geglu_args {
    const dmq_real *x;     /**< (rows, 2 d) */
    dmq_real *y;           /**< (rows, d); forward */
    const dmq_real *dy;    /**< (rows, d); backward */
    dmq_real *dx;          /**< (rows, 2 d); backward */
    const dmq_real *x_tan; /**< (rows, 2 d); jvp */
    dmq_real *y_tan;       /**< (rows, d); jvp */
    int rows, d;
    int add; /**< of dx */
} dmq_geglu_args;

dmq_status dmq_geglu_forward_ref(dmq_queue *queue, const dmq_geglu_args *a);
dmq_status dmq_geglu_backward_ref(dmq_queue *queue, const dmq_geglu_args *a);
dmq_status dmq_geglu_jvp_ref(dmq_queue *queue, const dmq_geglu_args *a);

typedef enum dmq_binary_kind { DMQ_ADD, DMQ_MUL } dmq_binary_kind;

typedef struct dmq_binary_args {
    dmq_binary_kind kind;
    const dmq_real *p, *q; /**< element (i,j,l) at i*stride[0] + j*stride[1] + l*stride[2] */
    dmq_real *y; /**< (dim0, dim1, dim2) contiguous; may be p if p is contiguous; forward */
    int dim[3];
    ptrdiff_t stride_p[3], stride_q[3]; /**< 0 repeats along an axis */
    const dmq_real *dy;                 /**< as y; backward */
    dmq_real *dp, *dq; /**< as p and q, each optional; sums over repeated axes in fixed order */
    int add;           /**< of y (forward) */
    int add_p, add_q;  /**< of dp and dq */
} dmq_binary_args;

dmq_status dmq_binary_forward_ref(dmq_queue *queue, const dmq_binary_args *a);
dmq_status dmq_binary_backward_ref(dmq_queue *queue, const dmq_binary_args *a);

typedef struct dmq_axpby_args {
    const dmq_real *x;    /**< (count) */
    dmq_real *y;          /**< (count), may be x */
    const dmq_real *z;    /**< (count), optional: in the place of y in the sum; may be x or y */
    dmq_real alpha, beta; /**< beta = 0: y and z are not read */
    size_t count;
} dmq_axpby_args;

dmq_status dmq_axpby_ref(dmq_queue *queue, const dmq_axpby_args *a);

typedef struct dmq_fill_args {
    dmq_real *y; /**< (count) */
    size_t count;
    dmq_real value;
} dmq_fill_args;

dmq_status dmq_fill_ref(dmq_queue *queue, const dmq_fill_args *a);

#endif
