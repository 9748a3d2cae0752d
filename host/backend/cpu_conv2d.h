/**
 * Convolution on the CPU: three ways to compute one, and the rule that chooses.
 *
 *   direct     oneDNN on NHWC as it lies (brgconv, jit)
 *   winograd   our own on NHWC as it lies: 3x3; forward also 5x5, and lines of 3 and 7 (cpu_winograd.h)
 *   im2col     our own columns and a matrix product, for what the other two have no code for
 *
 * The rule looks at the shape and the instruction set, never at a clock: two runs choose alike, and
 * the same bits come out. What it chooses was measured (bench/bench_conv2d.c).
 */
#ifndef DMQ_BACKEND_CPU_CONV2D_H
#define DMQ_BACKEND_CPU_CONV2D_H

#include "backend/backend.h"

typedef enum dmq_conv_pass {
    DMQ_CONV_FORWARD,
    DMQ_CONV_BACKWARD_DATA,
    DMQ_CONV_BACKWARD_WEIGHTS
} dmq_conv_pass;

typedef enum dmq_conv_algorithm {
    DMQ_CONV_AUTO, /**< by the rule */
    DMQ_CONV_DIRECT,
    DMQ_CONV_WINOGRAD,
    DMQ_CONV_IM2COL
} dmq_conv_algorithm;

/** The rule: the fastest by measurement that this machine's instructions allow. Never AUTO. */
dmq_status dmq_cpu_conv_choose(dmq_conv_algorithm *out, dmq_conv_pass pass,
                               const dmq_conv2d_args *a);

/**
 * One pass by a given algorithm: for benches and tests; the slots call it with AUTO.
 *
 * @return ENOTSUP when the algorithm has no fast code for this shape on this machine
 */
dmq_status dmq_cpu_conv_run(dmq_queue *queue, dmq_conv_pass pass, dmq_conv_algorithm algorithm,
                            const dmq_conv2d_args *a);

/** Name of what runs for a shape, "brgconv:avx512_core" or "im2col"; valid while a queue lives. */
dmq_status dmq_cpu_conv_name(const char **out, dmq_conv_pass pass, dmq_conv_algorithm algorithm,
                             const dmq_conv2d_args *a);

/**
 * cpu_conv2d_dnnl.c: direct, y, dx and dw only. Its plans (a primitive and what surrounds
 * it) are made at their first use, and shared by all queues.
 *
 * @param queue  NULL: make the plan only
 * @param name   oneDNN's name of what runs; optional
 * @return       ENOTSUP when there is only a slow reference for the shape, or nothing
 */
dmq_status dmq_cpu_conv_dnnl(dmq_queue *queue, dmq_conv_pass pass, const dmq_conv2d_args *a,
                             const char **name);

/** For the queue: a oneDNN stream, and with the first one the engine; with the last, all plans go. */
dmq_status dmq_cpu_conv_open(void **stream);
void dmq_cpu_conv_close(void *stream); /**< takes NULL */

/** cpu_conv2d_im2col.c: y, dx and dw of any shape; scratch of dmq_cpu_im2col_bytes. */
size_t dmq_cpu_im2col_bytes(const dmq_conv2d_args *a);
dmq_status dmq_cpu_im2col(dmq_conv_pass pass, const dmq_conv2d_args *a, float *scratch);

#endif
