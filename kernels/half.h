/**
 * Operands in half precision for products whose sums and results stay FP32: 10 bits of mantissa, as TF32 has
 * them, in half the bytes.
 *
 *   scale  s = 2^e with s max|x| in [2^14, 2^15): nothing overflows, and what is 2^-29 of the largest number
 *          still has all its bits. 1 where x is zero or its largest number is not finite: NaN and infinity
 *          stay what they are, and are seen in the result
 *   cast   y = half(s x), to nearest, ties to even (base/half.h has the same bits)
 *   factor f = (alpha / s_a / s_b, beta): what a product of two such operands is multiplied by, and what its
 *          old result is
 *   finish y = f[0] p + bias  (added to y when f[1] = 1)
 *
 * A power of two changes no bit of a product but where its operand is below the range of normal halves.
 * Numbers of s and f are on the device: nobody waits for them.
 */
#ifndef DMQ_KERNELS_HALF_H
#define DMQ_KERNELS_HALF_H

#include "kernels/kernel.h"

/** Shares of an operand of which a device finds the largest number each. */
enum { DMQ_HALF_PARTS = 528 };

typedef struct dmq_half_args {
    const dmq_real *x; /**< (batch, rows, cols), rows ld and matrices `stride` numbers apart */
    size_t batch, rows, cols, ld, stride;
    float *scale; /**< (1) */
    uint16_t *y;  /**< (batch, rows, cols), one behind the other */
    int kept;     /**< 1: scale and y hold it already, and stay as they are; x is not read */
} dmq_half_args;

/** Both operands of a product: scale, cast, factor. */
typedef struct dmq_half_pair_args {
    dmq_half_args of[2];
    float *factor; /**< (2) */
    float alpha, beta;
    float *
        part; /**< (2, DMQ_HALF_PARTS) overwritten on a device: whoever asks for a product may have its
                      operands in the queue's scratch. The reference takes NULL */
} dmq_half_pair_args;

typedef struct dmq_half_finish_args {
    const dmq_real *p;    /**< (rows, cols), may be y where it is not added to */
    const float *factor;  /**< (2) */
    const dmq_real *bias; /**< (cols), optional */
    dmq_real *y;          /**< (rows, cols) */
    size_t rows, cols;
    int add;
} dmq_half_finish_args;

dmq_status dmq_half_pair_ref(dmq_queue *queue, const dmq_half_pair_args *a);
dmq_status dmq_half_finish_ref(dmq_queue *queue, const dmq_half_finish_args *a);

#endif
