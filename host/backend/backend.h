/**
 * A backend: a table of functions, one slot an operation and pass, typed by kernels/<op>.h.
 *
 *   ref    plain loops, complete: the definition
 *   check  ref on memory that the host cannot touch, poisoned by NaN: who goes past upload, download and
 *          the slots faults, and who reads what nobody wrote gets NaN
 *   cpu    ref with oneDNN, OpenBLAS and vector code
 *   cuda   the device (when the build and the machine have one)
 *
 * Parallel work is laid out by dmq_lanes (lanes.h): a lane is one thread with one queue; a CPU queue
 * computes single-threaded, so that the result of a piece of work does not depend on who runs it.
 */
#ifndef DMQ_BACKEND_BACKEND_H
#define DMQ_BACKEND_BACKEND_H

#include "kernels/adaround.h"
#include "kernels/conv2d.h"
#include "kernels/embed.h"
#include "kernels/fake_quant.h"
#include "kernels/group_norm.h"
#include "kernels/hyper.h"
#include "kernels/jacobian.h"
#include "kernels/kernel.h"
#include "kernels/layer_norm.h"
#include "kernels/layout.h"
#include "kernels/logits.h"
#include "kernels/loss.h"
#include "kernels/matmul.h"
#include "kernels/nearest.h"
#include "kernels/noise.h"
#include "kernels/observe.h"
#include "kernels/optim.h"
#include "kernels/pointwise.h"
#include "kernels/pool2d.h"
#include "kernels/resample.h"
#include "kernels/resize.h"
#include "kernels/sampler.h"
#include "kernels/schedule.h"
#include "kernels/simplex.h"
#include "kernels/softmax.h"

/** Every operation slot: X(name of slot, type of its arguments). All are present in every backend. */
#define DMQ_BACKEND_OPS(X)                      \
    X(conv2d_forward, dmq_conv2d_args)          \
    X(conv2d_backward_data, dmq_conv2d_args)    \
    X(conv2d_backward_weights, dmq_conv2d_args) \
    X(matmul, dmq_matmul_args)                  \
    X(col_sum, dmq_col_sum_args)                \
    X(softmax_forward, dmq_softmax_args)        \
    X(softmax_derive, dmq_softmax_args)         \
    X(xent_forward, dmq_xent_args)              \
    X(xent_backward, dmq_xent_args)             \
    X(fake_quant_forward, dmq_fake_quant_args)  \
    X(fake_quant_backward, dmq_fake_quant_args) \
    X(fake_quant_jvp, dmq_fake_quant_args)      \
    X(adaround_init, dmq_adaround_args)         \
    X(adaround_forward, dmq_adaround_args)      \
    X(adaround_backward, dmq_adaround_args)     \
    X(adaround_jvp, dmq_adaround_args)          \
    X(adaround_curve, dmq_adaround_args)        \
    X(adaround_regularize, dmq_adaround_args)   \
    X(adaround_step, dmq_adaround_step_args)    \
    X(group_norm_forward, dmq_group_norm_args)  \
    X(group_norm_backward, dmq_group_norm_args) \
    X(group_norm_jvp, dmq_group_norm_args)      \
    X(layer_norm_forward, dmq_layer_norm_args)  \
    X(layer_norm_backward, dmq_layer_norm_args) \
    X(layer_norm_jvp, dmq_layer_norm_args)      \
    X(unary_forward, dmq_unary_args)            \
    X(unary_derive, dmq_unary_args)             \
    X(geglu_forward, dmq_geglu_args)            \
    X(geglu_backward, dmq_geglu_args)           \
    X(geglu_jvp, dmq_geglu_args)                \
    X(binary_forward, dmq_binary_args)          \
    X(binary_backward, dmq_binary_args)         \
    X(axpby, dmq_axpby_args)                    \
    X(fill, dmq_fill_args)                      \
    X(copy2d, dmq_copy2d_args)                  \
    X(permute, dmq_permute_args)                \
    X(upsample_forward, dmq_resample_args)      \
    X(upsample_backward, dmq_resample_args)     \
    X(avg_pool_forward, dmq_resample_args)      \
    X(avg_pool_backward, dmq_resample_args)     \
    X(pool2d_forward, dmq_pool2d_args)          \
    X(pool2d_backward, dmq_pool2d_args)         \
    X(pool2d_jvp, dmq_pool2d_args)              \
    X(resize_levels, dmq_resize_args)           \
    X(embed_forward, dmq_embed_args)            \
    X(embed_backward, dmq_embed_args)           \
    X(gather, dmq_gather_args)                  \
    X(time_embed, dmq_time_embed_args)          \
    X(nearest, dmq_nearest_args)                \
    X(minmax, dmq_minmax_args)                  \
    X(range_search, dmq_range_search_args)      \
    X(loss_forward, dmq_loss_args)              \
    X(loss_backward, dmq_loss_args)             \
    X(loss_both, dmq_loss_args)                 \
    X(loss_jvp, dmq_loss_args)                  \
    X(adam, dmq_adam_args)                      \
    X(sum_blocks, dmq_sum_blocks_args)          \
    X(dot, dmq_dot_args)                        \
    X(jacobian_times, dmq_jacobian_args)        \
    X(jacobian_dots, dmq_jacobian_args)         \
    X(noise_normal, dmq_noise_args)             \
    X(sampler_update, dmq_sampler_args)         \
    X(schedule_take, dmq_schedule_args)         \
    X(schedule_keep, dmq_schedule_args)         \
    X(simplex_forward, dmq_simplex_args)        \
    X(simplex_backward, dmq_simplex_args)       \
    X(hyper_scale, dmq_hyper_args)              \
    X(hyper_mse, dmq_hyper_args)                \
    X(hyper_align, dmq_hyper_args)              \
    X(hyper_steps, dmq_hyper_args)              \
    X(hyper_walk, dmq_hyper_args)               \
    X(hyper_join, dmq_hyper_args)               \
    X(logits_take, dmq_logits_args)             \
    X(logits_step, dmq_logits_args)

/** For queue_create: a queue for copies and events alone, without what computing needs. */
#define DMQ_COPIES (-1)

typedef struct dmq_backend {
    const char *name;
    int host_memory; /**< 1: alloc gives memory that host code may use as its own */
    int shard;       /**< samples in one piece of work: what keeps a queue busy (8 on a CPU core) */

    dmq_status (*alloc)(void **out, size_t bytes); /**< 64-byte aligned, not initialized */
    void (*free)(void *memory);                    /**< takes NULL */
    /** In the order of the queue; host memory may be written again when the call returns. */
    dmq_status (*upload)(dmq_queue *queue, void *device, const void *host, size_t bytes);
    /** In the order of the queue; host memory may be read when the queue has been synchronized. */
    dmq_status (*download)(dmq_queue *queue, void *host, const void *device, size_t bytes);
    /** lane: number of the thread that computes on it, or DMQ_COPIES. */
    dmq_status (*queue_create)(dmq_queue **out, int lane);
    void (*queue_destroy)(dmq_queue *queue); /**< takes NULL */
    dmq_status (*sync)(dmq_queue *queue);

    /** Host memory that the device copies from by itself; not initialized. */
    dmq_status (*pinned_alloc)(void **out, size_t bytes);
    void (*pinned_free)(void *memory); /**< takes NULL */
    /** An upload from such memory, which is not to be written before it is done; does not wait for it. */
    dmq_status (*fetch)(dmq_queue *queue, void *device, const void *pinned, size_t bytes);
    /**
     * A place in a queue. What is asked of a queue after `wait` is done when all that had been asked of the
     * other one before the last `record` is done; an event that was never recorded is waited for by nobody.
     */
    dmq_status (*event_create)(void **out);
    void (*event_destroy)(void *event); /**< takes NULL */
    dmq_status (*event_record)(dmq_queue *queue, void *event);
    dmq_status (*event_wait)(dmq_queue *queue, void *event);
    /** Optional: bytes that alloc can still give; NULL: nobody knows. */
    double (*memory_free)(void);

    /**
     * Optional, all four or none (NULL): what is asked of a queue between begin and end is not done but
     * recorded, and done by each launch, with the pointers and numbers of that time. No copy from or to the
     * host, no event and no allocation in between; a sync does nothing. Every slot that is recorded has run
     * on the queue before with the same arguments, so that its plans are made.
     */
    dmq_status (*capture_begin)(dmq_queue *queue);
    dmq_status (*capture_end)(dmq_queue *queue, void **graph);
    dmq_status (*graph_launch)(dmq_queue *queue, void *graph);
    void (*graph_destroy)(void *graph); /**< takes NULL */

/* NOLINTNEXTLINE(bugprone-macro-parentheses): a declarator takes none */
#define DMQ_SLOT(slot, args) dmq_status (*slot)(dmq_queue * queue, const args *a);
    DMQ_BACKEND_OPS(DMQ_SLOT)
#undef DMQ_SLOT
} dmq_backend;

/**
 * The backend of a name ("ref", "check", "cpu", "cuda" or "cuda:1" for one device of several, or "auto": cuda
 * where a device and its libraries are here and work, else cpu; decided once a process).
 *
 * @return ENOTSUP when it is absent, with a message that says whether the build or the machine lacks it
 */
dmq_status dmq_backend_open(const dmq_backend **out, const char *name);

/** What auto chose and why, in one line: "cpu, since ..."; "" where nobody has asked for it. */
const char *dmq_backend_auto_reason(void);

const dmq_backend *dmq_backend_ref(void);
const dmq_backend *dmq_backend_check(void);
const dmq_backend *dmq_backend_cpu(void);

/** The CUDA device of a number; only in a build with CUDA. ENOTSUP when the machine has no such device. */
dmq_status dmq_backend_cuda_open(const dmq_backend **out, int device);

#endif
