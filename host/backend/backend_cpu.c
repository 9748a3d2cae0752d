#include "backend/cpu.h"
#include "base/memory.h"

#include <string.h>

static dmq_status cpu_alloc(void **out, size_t bytes)
{
    return dmq_alloc(out, bytes, 1);
}

static dmq_status cpu_copy(dmq_queue *queue, void *to, const void *from, size_t bytes)
{
    (void)queue;
    if (bytes > 0)
        memcpy(to, from, bytes);
    return DMQ_OK;
}

static dmq_status cpu_sync(dmq_queue *queue)
{
    (void)queue;
    return DMQ_OK;
}

/* Every slot by name: what ends in _ref has no faster form here. */
static const dmq_backend cpu = {
    .name = "cpu",
    .alloc = cpu_alloc,
    .free = dmq_free,
    .upload = cpu_copy,
    .download = cpu_copy,
    .queue_create = dmq_queue_create_cpu,
    .queue_destroy = dmq_queue_destroy_cpu,
    .sync = cpu_sync,

    .conv2d_forward = dmq_conv2d_forward_cpu,
    .conv2d_backward_data = dmq_conv2d_backward_data_cpu,
    .conv2d_backward_weights = dmq_conv2d_backward_weights_cpu,
    .matmul = dmq_matmul_cpu,
    .col_sum = dmq_col_sum_ref,
    .softmax_forward = dmq_softmax_forward_ref,
    .softmax_derive = dmq_softmax_derive_ref,
    .xent_forward = dmq_xent_forward_ref,
    .xent_backward = dmq_xent_backward_ref,
    .fake_quant_forward = dmq_fake_quant_forward_ref,
    .fake_quant_backward = dmq_fake_quant_backward_ref,
    .fake_quant_jvp = dmq_fake_quant_jvp_ref,
    .adaround_init = dmq_adaround_init_ref,
    .adaround_forward = dmq_adaround_forward_ref,
    .adaround_backward = dmq_adaround_backward_ref,
    .adaround_jvp = dmq_adaround_jvp_ref,
    .adaround_curve = dmq_adaround_curve_ref,
    .adaround_regularize = dmq_adaround_regularize_ref,
    .adaround_step = dmq_adaround_step_ref,
    .group_norm_forward = dmq_group_norm_forward_ref,
    .group_norm_backward = dmq_group_norm_backward_ref,
    .group_norm_jvp = dmq_group_norm_jvp_ref,
    .layer_norm_forward = dmq_layer_norm_forward_ref,
    .layer_norm_backward = dmq_layer_norm_backward_ref,
    .layer_norm_jvp = dmq_layer_norm_jvp_ref,
    .unary_forward = dmq_unary_forward_ref,
    .unary_derive = dmq_unary_derive_ref,
    .geglu_forward = dmq_geglu_forward_ref,
    .geglu_backward = dmq_geglu_backward_ref,
    .geglu_jvp = dmq_geglu_jvp_ref,
    .binary_forward = dmq_binary_forward_ref,
    .binary_backward = dmq_binary_backward_ref,
    .axpby = dmq_axpby_ref,
    .copy2d = dmq_copy2d_ref,
    .permute = dmq_permute_ref,
    .upsample_forward = dmq_upsample_forward_ref,
    .upsample_backward = dmq_upsample_backward_ref,
    .avg_pool_forward = dmq_avg_pool_forward_ref,
    .avg_pool_backward = dmq_avg_pool_backward_ref,
    .embed_forward = dmq_embed_forward_ref,
    .embed_backward = dmq_embed_backward_ref,
    .time_embed = dmq_time_embed_ref,
    .minmax = dmq_minmax_ref,
    .range_search = dmq_range_search_ref,
    .loss_forward = dmq_loss_forward_ref,
    .loss_backward = dmq_loss_backward_ref,
    .loss_jvp = dmq_loss_jvp_ref,
    .adam = dmq_adam_ref,
    .sum_blocks = dmq_sum_blocks_ref,
    .dot = dmq_dot_ref,
    .noise_normal = dmq_noise_normal_ref,
    .sampler_update = dmq_sampler_update_ref,
    .simplex_forward = dmq_simplex_forward_ref,
    .simplex_backward = dmq_simplex_backward_ref,
};

const dmq_backend *dmq_backend_cpu(void)
{
    return &cpu;
}
