/**
 * Convolutions of halves with FP32 sums and FP32 results, by cuDNN's graphs: the older calls would round their
 * results to halves.
 *
 * A graph of one operation for each shape and pass; the first engine of the library's own list that is
 * deterministic, adds in FP32 and fits the workspace: a rule of shape, device and version, not timed.
 */
#ifndef DMQ_CUDA_CONV2D_GRAPH_H
#define DMQ_CUDA_CONV2D_GRAPH_H

#include "cuda/device.h"
#include "kernels/conv2d.h"

typedef enum dmq_conv_direction {
    DMQ_CONV_FORWARD,
    DMQ_CONV_BACKWARD_DATA,
    DMQ_CONV_BACKWARD_WEIGHTS
} dmq_conv_direction;

typedef struct dmq_cuda_conv_graph dmq_cuda_conv_graph;

/** *out is NULL where the library knows no way, which is no failure. ENOMEM. */
dmq_status dmq_cuda_conv_graph_create(dmq_cuda_conv_graph **out, dmq_queue *queue,
                                      const dmq_conv2d_args *a, dmq_conv_direction pass);

/** Takes NULL. */
void dmq_cuda_conv_graph_destroy(dmq_cuda_conv_graph *graph);

/** The pass, its operands scaled and cast on the way; bias and add as of the args. dbias is left alone. */
dmq_status dmq_cuda_conv_graph_run(dmq_cuda_conv_graph *graph, dmq_queue *queue,
                                   const dmq_conv2d_args *a, dmq_conv_direction pass);

#endif
