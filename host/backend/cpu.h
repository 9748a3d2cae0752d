/**
 * The cpu backend from inside: its queue, and the slots that it replaces.
 *
 * A queue computes single-threaded, whoever calls it: libraries are told so around each call. It owns
 * scratch memory that lives from call to call. Scratch grows to what the most demanding call of any
 * queue so far has needed, for all queues at once: after every shape has been seen once, by any lane,
 * no lane allocates again.
 */
#ifndef DMQ_BACKEND_CPU_H
#define DMQ_BACKEND_CPU_H

#include "backend/backend.h"

/**
 * Scratch memory of this call, 64-byte aligned, contents undefined: valid until the next call on this
 * queue. Ask once a call, for everything that the call needs.
 */
dmq_status dmq_cpu_scratch(void **out, dmq_queue *queue, size_t bytes);

/** oneDNN's stream of this queue; the type is oneDNN's and known where it is called. */
void *dmq_cpu_stream(const dmq_queue *queue);

/** Make libraries single-threaded in this thread; what it answers goes to dmq_cpu_threads_restore. */
int dmq_cpu_threads_one(void);
void dmq_cpu_threads_restore(int threads);

dmq_status dmq_queue_create_cpu(dmq_queue **out, int lane);
void dmq_queue_destroy_cpu(dmq_queue *queue);

/* cpu_conv2d.c */
dmq_status dmq_conv2d_forward_cpu(dmq_queue *queue, const dmq_conv2d_args *a);
dmq_status dmq_conv2d_backward_data_cpu(dmq_queue *queue, const dmq_conv2d_args *a);
dmq_status dmq_conv2d_backward_weights_cpu(dmq_queue *queue, const dmq_conv2d_args *a);

/* cpu_matmul.c */
dmq_status dmq_matmul_cpu(dmq_queue *queue, const dmq_matmul_args *a);

/* cpu_norm.c */
dmq_status dmq_group_norm_forward_cpu(dmq_queue *queue, const dmq_group_norm_args *a);
dmq_status dmq_group_norm_backward_cpu(dmq_queue *queue, const dmq_group_norm_args *a);
dmq_status dmq_group_norm_jvp_cpu(dmq_queue *queue, const dmq_group_norm_args *a);

/* cpu_rows.c */
dmq_status dmq_softmax_forward_cpu(dmq_queue *queue, const dmq_softmax_args *a);
dmq_status dmq_softmax_derive_cpu(dmq_queue *queue, const dmq_softmax_args *a);
dmq_status dmq_layer_norm_forward_cpu(dmq_queue *queue, const dmq_layer_norm_args *a);
dmq_status dmq_layer_norm_backward_cpu(dmq_queue *queue, const dmq_layer_norm_args *a);
dmq_status dmq_layer_norm_jvp_cpu(dmq_queue *queue, const dmq_layer_norm_args *a);

/* cpu_pointwise.c */
dmq_status dmq_unary_forward_cpu(dmq_queue *queue, const dmq_unary_args *a);
dmq_status dmq_unary_derive_cpu(dmq_queue *queue, const dmq_unary_args *a);
dmq_status dmq_geglu_forward_cpu(dmq_queue *queue, const dmq_geglu_args *a);
dmq_status dmq_geglu_backward_cpu(dmq_queue *queue, const dmq_geglu_args *a);
dmq_status dmq_geglu_jvp_cpu(dmq_queue *queue, const dmq_geglu_args *a);
dmq_status dmq_binary_forward_cpu(dmq_queue *queue, const dmq_binary_args *a);
dmq_status dmq_binary_backward_cpu(dmq_queue *queue, const dmq_binary_args *a);
dmq_status dmq_axpby_cpu(dmq_queue *queue, const dmq_axpby_args *a);

/* cpu_nearest.c */
dmq_status dmq_nearest_cpu(dmq_queue *queue, const dmq_nearest_args *a);

/* cpu_pool.c */
dmq_status dmq_pool2d_forward_cpu(dmq_queue *queue, const dmq_pool2d_args *a);
dmq_status dmq_resize_levels_cpu(dmq_queue *queue, const dmq_resize_args *a);

/* cpu_layout.c */
dmq_status dmq_col_sum_cpu(dmq_queue *queue, const dmq_col_sum_args *a);
dmq_status dmq_copy2d_cpu(dmq_queue *queue, const dmq_copy2d_args *a);
dmq_status dmq_permute_cpu(dmq_queue *queue, const dmq_permute_args *a);
dmq_status dmq_embed_forward_cpu(dmq_queue *queue, const dmq_embed_args *a);
dmq_status dmq_gather_cpu(dmq_queue *queue, const dmq_gather_args *a);
dmq_status dmq_upsample_forward_cpu(dmq_queue *queue, const dmq_resample_args *a);
dmq_status dmq_upsample_backward_cpu(dmq_queue *queue, const dmq_resample_args *a);

#endif
