/**
 * Memory to time ways of a convolution on: arrays of its sizes, none of them zeros, which a device multiplies faster.
 */
#ifndef DMQ_CUDA_CONV2D_BENCH_H
#define DMQ_CUDA_CONV2D_BENCH_H

#include "cuda/device.h"
#include "kernels/conv2d.h"

/** Starts as zeros. */
typedef struct dmq_conv_bench {
    void *x, *y, *w, *bias; /**< also of halves: then they are half full */
    void *factor;           /**< (1) */
} dmq_conv_bench;

dmq_status dmq_conv_bench_open(dmq_conv_bench *out, dmq_queue *queue, const dmq_conv2d_args *a);
void dmq_conv_bench_close(dmq_conv_bench *bench);

#endif
