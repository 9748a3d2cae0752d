/**
 * Convolutions by cuDNN's graphs: its newer kernels, padding of either side, bias behind the sum, FP32 results of
 * products of halves. None of it is to be had by the older calls.
 *
 * The engine is the first of the library's own list that is wanted (engines.h), makes a plan and fits the workspace:
 * a rule of shape, device and version. With DMQ_CUDA_CHOICES (choices.h) the first few are timed once, and the file
 * keeps the name of the fastest.
 *
 * add is the operation's own beta in fp32 and tf32. Products of halves go through memory of the queue's and are
 * added from there: an operation behind the sum may not read what it writes. With add, the bias is a launch of its
 * own.
 */
#ifndef DMQ_CUDA_CONV2D_GRAPH_H
#define DMQ_CUDA_CONV2D_GRAPH_H

#include "cuda/conv2d_ops.h"
#include "cuda/device.h"

typedef struct dmq_cuda_conv_graph dmq_cuda_conv_graph;

/** What the graph of a pass is made for: precision as given, the rest by the args. */
dmq_conv_form dmq_cuda_conv_form(const dmq_conv2d_args *a, dmq_conv_direction pass,
                                 dmq_precision precision);

/**
 * *out is NULL where the library knows no way, which is no failure, or where the choice of that key is another way.
 *
 * @return ENOMEM; EDATA when the choice is an engine that is not there
 */
dmq_status dmq_cuda_conv_graph_create(dmq_cuda_conv_graph **out, dmq_queue *queue,
                                      const dmq_conv2d_args *a, const dmq_conv_form *form,
                                      const char *key);

/** Takes NULL. */
void dmq_cuda_conv_graph_destroy(dmq_cuda_conv_graph *graph);

/**
 * The pass; bias and add as of the args, dbias is left alone.
 *
 * @return ENOTSUP where the library takes the plan back: nothing was written
 */
dmq_status dmq_cuda_conv_graph_run(const dmq_cuda_conv_graph *graph, dmq_queue *queue,
                                   const dmq_conv2d_args *a);

#endif
