/**
 * Scalars of half.h.
 */
#ifndef DMQ_KERNELS_HALF_MATH_H
#define DMQ_KERNELS_HALF_MATH_H

#include "kernels/kernel.h"

#include <string.h>

DMQ_HD uint32_t dmq_half_word(float x)
{
    uint32_t u;

    memcpy(&u, &x, sizeof u);
    return u;
}

DMQ_HD float dmq_half_number(uint32_t u)
{
    float x;

    memcpy(&x, &u, sizeof x);
    return x;
}

/** Bits of the nearest half: ties to even, infinity from 65520 on, NaN stays NaN. */
DMQ_HD uint16_t dmq_half_bits(float x)
{
    uint32_t u = dmq_half_word(x), sign = u >> 16 & 0x8000U, magnitude = u & 0x7FFFFFFFU;

    if (magnitude > 0x7F800000U)
        return (uint16_t)(sign | 0x7E00U | (magnitude >> 13 & 0x3FFU));
    if (magnitude >= 0x477FF000U)
        return (uint16_t)(sign | 0x7C00U);
    if (magnitude <
        0x38800000U) /* no normal half: 0.5 has an ulp of 2^-24, so the sum rounds there */
        return (uint16_t)(sign | (dmq_half_word(dmq_half_number(magnitude) + 0.5F) - 0x3F000000U));
    magnitude += 0xFFFU + (magnitude >> 13 & 1U);
    return (uint16_t)(sign | ((magnitude >> 13) - (112U << 10)));
}

/**
 * The power of two that brings `most`, at least 0, into [2^14, 2^15); at most 2^126, which is what numbers
 * below 2^-112 get. 1 for 0, infinity and NaN.
 */
DMQ_HD float dmq_half_scale(float most)
{
    int exponent = (int)(dmq_half_word(most) >> 23 & 255U), e;

    if (!(most > 0) || exponent == 255)
        return 1;
    e = 14 - (exponent - 127); /* of a subnormal number less than it takes */
    return dmq_half_number((uint32_t)((e < 126 ? e : 126) + 127) << 23);
}

/** alpha / s_a / s_b. One after the other: the product of the two may leave the range of a float. */
DMQ_HD float dmq_half_factor(float alpha, float s_a, float s_b)
{
    return alpha / s_a / s_b;
}

#endif
