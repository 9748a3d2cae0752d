/**
 * Plans of convolutions by cuDNN, made when a queue meets a shape: which way they go, and all that it needs.
 *
 *   1. a graph (conv2d_graph.h), in the precision of the device; where it has none for halves, in TF32, which has
 *      the same mantissa (channels that are no multiples of 8 are not asked for)
 *   2. the older calls, for a library whose graphs know no way: deterministic algorithms alone; one padding for both
 *      sides and arrays at multiples of 16 bytes
 *   3. our own kernel (kernels/conv2d.cu)
 */
#ifndef DMQ_CUDA_CONV2D_PLAN_H
#define DMQ_CUDA_CONV2D_PLAN_H

#include "cuda/choices.h"
#include "cuda/conv2d_graph.h"

typedef struct dmq_cuda_conv_plan {
    dmq_cuda_conv_graph *graph; /* the rest is not there then. NULL: none */
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
