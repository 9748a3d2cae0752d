/**
 * Numbers as a device rounds them: TF32, halves, and what engines of less precision make of their operands.
 *
 * A device may cut a float to TF32 or round it to the nearest; here it is the nearest, half to even. A test's
 * tolerance must hold for both.
 */
#ifndef DMQ_TESTS_NUMBERS_H
#define DMQ_TESTS_NUMBERS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { BITS_FLOAT = 24, BITS_TF32 = 11, BITS_HALF = 11, BITS_BFLOAT = 8 };

/** x with that many bits of mantissa, the first one among them; the range of a float. */
static inline float round_to_bits(float x, int bits)
{
    uint32_t u, cut;

    if (bits >= BITS_FLOAT || !isfinite(x))
        return x;
    memcpy(&u, &x, sizeof u);
    cut = (uint32_t)1 << (BITS_FLOAT - bits);
    u += cut / 2 - 1 + (u / cut & 1);
    u &= ~(cut - 1);
    memcpy(&x, &u, sizeof x);
    return x;
}

/** The float nearest to x among halves: 11 bits, steps of 2^-24 below 2^-14, infinite from 65520 on. */
static inline float round_to_half(float x)
{
    float r = fabsf(x) < 0x1p-14f ? rintf(x * 0x1p24f) * 0x1p-24f : round_to_bits(x, BITS_HALF);

    return fabsf(r) > 65504.0f ? copysignf(INFINITY, x) : r;
}

/** What the sixteen bits of a half mean. */
static inline float float_of_half(uint16_t h)
{
    int exponent = h >> 10 & 31;
    float fraction = (float)(h & 1023), size;

    if (exponent == 31)
        size = fraction == 0 ? INFINITY : NAN;
    else if (exponent == 0)
        size = fraction * 0x1p-24f;
    else
        size = ldexpf(1024 + fraction, exponent - 25);
    return h >> 15 ? -size : size;
}

/** The bits of the half nearest to x. */
static inline uint16_t half_of_float(float x)
{
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    float r = fabsf(round_to_half(x));
    int exponent;

    if (isnan(x))
        return (uint16_t)(sign | 0x7e00);
    if (isinf(r))
        return (uint16_t)(sign | 0x7c00);
    if (r < 0x1p-14f)
        return (uint16_t)(sign | (uint16_t)(r * 0x1p24f));
    (void)frexpf(r, &exponent); /* r = f * 2^exponent, f in [1/2, 1) */
    return (uint16_t)(sign | (uint16_t)((exponent + 14) << 10) |
                      ((uint16_t)ldexpf(r, 11 - exponent) & 1023));
}

#endif
