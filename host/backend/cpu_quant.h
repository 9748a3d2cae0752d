/**
 * The cpu backend's vector code for quantizers, losses, the optimizer and noise: the slots that
 * backend_cpu.c puts into the table. Contracts are those of kernels/<op>.h; all single-threaded.
 *
 * Bit for bit the reference: fake_quant (forward, dx, jvp), the hard codes of adaround, range_search's
 * winner with scale and zero, minmax, adam, sum_blocks, noise_normal. The others differ by the
 * order of sums, which is fixed, and by a few ulp of exp and pow (cpu_math.h).
 */
#ifndef DMQ_BACKEND_CPU_QUANT_H
#define DMQ_BACKEND_CPU_QUANT_H

#include "backend/backend.h"

/* cpu_fake_quant.c */
dmq_status dmq_fake_quant_forward_cpu(dmq_queue *queue, const dmq_fake_quant_args *a);
dmq_status dmq_fake_quant_backward_cpu(dmq_queue *queue, const dmq_fake_quant_args *a);
dmq_status dmq_fake_quant_jvp_cpu(dmq_queue *queue, const dmq_fake_quant_args *a);

/* cpu_adaround.c */
dmq_status dmq_adaround_forward_cpu(dmq_queue *queue, const dmq_adaround_args *a);
dmq_status dmq_adaround_backward_cpu(dmq_queue *queue, const dmq_adaround_args *a);
dmq_status dmq_adaround_jvp_cpu(dmq_queue *queue, const dmq_adaround_args *a);
dmq_status dmq_adaround_curve_cpu(dmq_queue *queue, const dmq_adaround_args *a);
dmq_status dmq_adaround_regularize_cpu(dmq_queue *queue, const dmq_adaround_args *a);
dmq_status dmq_adaround_step_cpu(dmq_queue *queue, const dmq_adaround_step_args *a);

/* cpu_observe.c */
dmq_status dmq_minmax_cpu(dmq_queue *queue, const dmq_minmax_args *a);
dmq_status dmq_range_search_cpu(dmq_queue *queue, const dmq_range_search_args *a);

/* cpu_sums.c */
dmq_status dmq_loss_forward_cpu(dmq_queue *queue, const dmq_loss_args *a);
dmq_status dmq_loss_backward_cpu(dmq_queue *queue, const dmq_loss_args *a);
dmq_status dmq_loss_both_cpu(dmq_queue *queue, const dmq_loss_args *a);
dmq_status dmq_loss_jvp_cpu(dmq_queue *queue, const dmq_loss_args *a);
dmq_status dmq_adam_cpu(dmq_queue *queue, const dmq_adam_args *a);
dmq_status dmq_sum_blocks_cpu(dmq_queue *queue, const dmq_sum_blocks_args *a);
dmq_status dmq_dot_cpu(dmq_queue *queue, const dmq_dot_args *a);

/* cpu_jacobian.c: dots bit for bit the reference's */
dmq_status dmq_jacobian_times_cpu(dmq_queue *queue, const dmq_jacobian_args *a);
dmq_status dmq_jacobian_dots_cpu(dmq_queue *queue, const dmq_jacobian_args *a);

/* cpu_noise.c */
dmq_status dmq_noise_normal_cpu(dmq_queue *queue, const dmq_noise_args *a);

#endif
