#include "base/half.h"

#include <string.h>

static uint32_t bits_of(float x)
{
    uint32_t u;

    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float x;

    memcpy(&x, &u, sizeof x);
    return x;
}

float dmq_half_to_float(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000U) << 16;
    uint32_t exponent = bits >> 10 & 31U;
    uint32_t mantissa = bits & 1023U;

    if (exponent == 31)
        return float_of(sign | 0x7F800000U | mantissa << 13);
    if (exponent == 0) /* mantissa * 2^-24, exact in float */
        return float_of(sign | bits_of((float)mantissa * 0x1p-24F));
    return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t dmq_half_from_float(float x)
{
    uint32_t u = bits_of(x);
    uint32_t sign = u >> 16 & 0x8000U;
    uint32_t magnitude = u & 0x7FFFFFFFU;

    if (magnitude > 0x7F800000U)
        return (uint16_t)(sign | 0x7E00U | (magnitude >> 13 & 0x3FFU));
    if (magnitude >= 0x477FF000U) /* 65520, half way to the number behind 65504 */
        return (uint16_t)(sign | 0x7C00U);
    if (magnitude < 0x38800000U) { /* below 2^-14: adding 0.5 lets the addition round at 2^-24 */
        float shifted = float_of(magnitude) + 0.5F;

        return (uint16_t)(sign | (bits_of(shifted) - 0x3F000000U));
    }
    magnitude += 0xFFFU + (magnitude >> 13 & 1U);
    return (uint16_t)(sign | ((magnitude >> 13) - (112U << 10)));
}

float dmq_bfloat16_to_float(uint16_t bits)
{
    return float_of((uint32_t)bits << 16);
}

uint16_t dmq_bfloat16_from_float(float x)
{
    uint32_t u = bits_of(x);

    if ((u & 0x7FFFFFFFU) > 0x7F800000U)
        return (uint16_t)(u >> 16 | 0x40U);
    return (uint16_t)((u + 0x7FFFU + (u >> 16 & 1U)) >> 16);
}

void dmq_half_to_floats(float *out, const uint16_t *bits, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = dmq_half_to_float(bits[i]);
}

void dmq_half_from_floats(uint16_t *out, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = dmq_half_from_float(x[i]);
}
