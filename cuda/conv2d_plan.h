/**
 * Plans of convolutions by cuDNN: descriptors and the algorithm, made when a queue meets a shape.
 *
 * NHWC, deterministic algorithms alone, products by the precision of the device. Halves go by a graph
 * (conv2d_graph.h); where the library has none (channels that are no multiples of 8 among them) their products
 * are rounded to TF32, which has the same mantissa. Where cuDNN cannot be asked (one-sided padding but of
 * halves, arrays that are not aligned, no such library) the plan says so, and our own kernel
 * (kernels/conv2d.cu) does the work.
 */
#ifndef DMQ_CUDA_CONV2D_PLAN_H
#define DMQ_CUDA_CONV2D_PLAN_H

#include "cuda/choices.h"
#include "cuda/conv2d_graph.h"

typedef struct dmq_cuda_conv_plan {
    dmq_cuda_conv_graph *graph; /* of halves; the rest is not there then. NULL: none */
    cudnnTensorDescriptor_t x, y, bias;
    cudnnFilterDescriptor_t w;
    cudnnConvolutionDescriptor_t conv;
    cudnnActivationDescriptor_t identity;
    int algorithm;    /* DMQ_CUDA_PLAIN: our own kernel */
    int fuses_bias;   /* the one algorithm that can has not refused yet */
    size_t workspace; /* bytes */
} dmq_cuda_conv_plan;

/** The plan of a shape and pass on a queue, made if it is not there. It stays the queue's. */
dmq_status dmq_cuda_conv_plan_of(dmq_cuda_conv_plan **out, dmq_queue *queue,
                                 const dmq_conv2d_args *a, dmq_conv_direction pass);

#endif
