/**
 * A convolution as a graph of cuDNN's operations.
 *
 *   fp32, tf32   y = conv(x, w) [+ beta y]           beta of the operation itself
 *                y = conv(x, w) + bias               two operations, which engines take as one
 *   halves       y = factor conv(x, w) [+ bias]      x and w in half precision, sums and y in FP32; factor (1) is
 *                                                    on the device and takes their scales back (kernels/half.h)
 *
 * and the same for the gradients, whose operands and result are other ones of x, w and y. NHWC, weights KRSC.
 * The factor is not for us alone: a convolution of halves with FP32 results and nothing behind it has no engine in
 * cuDNN 9.19, for any pass, on a device of compute capability 9.0.
 */
#ifndef DMQ_CUDA_CONV2D_OPS_H
#define DMQ_CUDA_CONV2D_OPS_H

#include "cuda/engines.h"
#include "kernels/conv2d.h"

typedef enum dmq_conv_direction {
    DMQ_CONV_FORWARD,
    DMQ_CONV_BACKWARD_DATA,
    DMQ_CONV_BACKWARD_WEIGHTS
} dmq_conv_direction;

/** Tensors by what they are in the forward pass; their numbers in the graph. RESULT is what a pass makes. */
enum {
    DMQ_CONV_X = 1,
    DMQ_CONV_W,
    DMQ_CONV_Y,
    DMQ_CONV_FACTOR,
    DMQ_CONV_BIAS,
    DMQ_CONV_RESULT,
    DMQ_CONV_TENSORS
};

/** What a graph is made for besides sizes. */
typedef struct dmq_conv_form {
    dmq_conv_direction pass;
    dmq_precision precision; /**< DMQ_FP16: operands are halves */
    int bias;                /**< forward; not with add */
    int add;                 /**< not of halves */
    int align
        [DMQ_CONV_TENSORS]; /**< bytes that an array begins at a multiple of: 4, 8 or 16; [0] is not used */
} dmq_conv_form;

enum { DMQ_CONV_PARTS = 16 };

/** Descriptors, in the order in which they were made; the graph is the last. Starts as zeros. */
typedef struct dmq_conv_ops {
    cudnnBackendDescriptor_t part[DMQ_CONV_PARTS], graph;
    int count;
} dmq_conv_ops;

/** Of the tensors x, w and y the one that a pass makes. */
int dmq_conv_made(dmq_conv_direction pass);

/**
 * Describe it: of the args the sizes alone count. handle may be NULL where cuDNN is 9.8 or newer.
 *
 * @return EDEVICE where the library refuses the description
 */
dmq_status dmq_conv_ops_make(dmq_conv_ops *out, cudnnHandle_t handle, const dmq_conv2d_args *a,
                             const dmq_conv_form *form);

/** Release what was made, also after a failure. */
void dmq_conv_ops_release(dmq_conv_ops *ops);

#endif
