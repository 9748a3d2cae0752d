/**
 * 16-bit floats as bit patterns: IEEE half (5 bits of exponent) and bfloat16 (8).
 *
 * To float is exact. From float rounds to nearest, ties to even, overflow to infinity, keeps NaN and
 * subnormals: the same bits as F16C, PyTorch and numpy.
 */
#ifndef DMQ_BASE_HALF_H
#define DMQ_BASE_HALF_H

#include <stddef.h>
#include <stdint.h>

float dmq_half_to_float(uint16_t bits);

uint16_t dmq_half_from_float(float x);

float dmq_bfloat16_to_float(uint16_t bits);

uint16_t dmq_bfloat16_from_float(float x);

/** n of them. */
void dmq_half_to_floats(float *out, const uint16_t *bits, size_t n);

void dmq_half_from_floats(uint16_t *out, const float *x, size_t n);

#endif
