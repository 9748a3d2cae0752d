/**
 * exp, sigmoid and the normal distribution in plain C, without branches or calls, so that a loop over
 * them becomes vector code without fast-math; and the attribute that compiles such a loop for several
 * instruction sets.
 *
 *   dmq_cpu_exp      exp(x), 1 ulp, subnormal results included
 *   dmq_cpu_sigmoid  1/(1 + exp(-x)), 3 ulp, subnormal results included
 *   dmq_cpu_silu     x sigmoid(x), 4 ulp while sigmoid(x) is a normal number (x > -87)
 *   dmq_cpu_phi      Phi(x), distribution of the normal law, 4 ulp also in the lower tail
 *   dmq_cpu_gelu     x Phi(x), 4 ulp while Phi(x) is a normal number (x > -13)
 *   dmq_cpu_gelu_tanh  x sigmoid(2 u), u = sqrt(2/pi) (x + 0.044715 x^3), 2 ulp of x; slope 2 ulp of 1
 *   dmq_cpu_pow      x^p for x >= 0 and p in [1, 32], (1.5 + 1.2 p) ulp; 0 where x or x^p is
 *                    subnormal, infinite from 2^127
 *
 * NaN in, NaN out. No operation is contracted, so every instruction set gives the same bits.
 */
#ifndef DMQ_BACKEND_CPU_MATH_H
#define DMQ_BACKEND_CPU_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/** Before a function with hot loops. Not under sanitizers: the resolver runs before they are ready. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define DMQ_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define DMQ_CLONES
#endif

/** For helpers of such a function, which must take over its instruction set. */
#define DMQ_INLINE static inline __attribute__((always_inline))

/** A loop whose arrays may be the same array at the same index, and overlap in no other way. */
#define DMQ_EACH(...) _Pragma("GCC ivdep") for (__VA_ARGS__)

DMQ_INLINE float dmq_cpu_from_bits(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

DMQ_INLINE uint32_t dmq_cpu_to_bits(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/** exp(r + low) 2^n for n = rint(x log2 e): the steps that exp and phi share. x in [-104, 89] or NaN. */
DMQ_INLINE float dmq_cpu_exp_sum(float x, float low)
{
    const float shifter = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
    float z = x * 1.44269504f + shifter;
    float n = z - shifter;
    /* ln 2 = 0.693359375 - 2.12194440e-4: n times the first part is exact */
    float r = (x - n * 0.693359375f) + (n * 2.12194440e-4f + low);
    float p = 1.381453825e-3f;
    /* 2^n in two factors: n reaches -150, where one factor would not be a normal number */
    uint32_t whole = dmq_cpu_to_bits(z) - dmq_cpu_to_bits(shifter);
    int32_t half = (int32_t)whole >> 1;
    float f1 = dmq_cpu_from_bits((uint32_t)(half + 127) << 23);
    float f2 = dmq_cpu_from_bits((whole - (uint32_t)half + 127u) << 23);

    p = p * r + 8.368745446e-3f;
    p = p * r + 4.166838899e-2f;
    p = p * r + 1.666652113e-1f;
    p = p * r + 4.999999404e-1f;
    return (1.0f + (r + r * r * p)) * f1 * f2;
}

DMQ_INLINE float dmq_cpu_exp(float x)
{
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    return dmq_cpu_exp_sum(x, 0.0f);
}

DMQ_INLINE float dmq_cpu_sigmoid(float x)
{
    float e =
        dmq_cpu_exp(-fabsf(x)); /* at most 1: no overflow, and small results keep their bits */

    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

DMQ_INLINE float dmq_cpu_silu(float x)
{
    return x * dmq_cpu_sigmoid(x);
}

/** d silu / dx = s (1 + x (1 - s)) */
DMQ_INLINE float dmq_cpu_silu_slope(float x)
{
    float s = dmq_cpu_sigmoid(x);

    return s * (1.0f + x * (1.0f - s));
}

/** Density of the normal law. x^2 in two parts, since its rounding error is multiplied by x^2. */
DMQ_INLINE float dmq_cpu_density_part(float x)
{
    float high = dmq_cpu_from_bits(dmq_cpu_to_bits(x) & 0xfffff000u);
    float low = (x - high) * (x + high);

    return dmq_cpu_exp_sum(-0.5f * high * high, -0.5f * low);
}

DMQ_INLINE float dmq_cpu_phi(float x)
{
    float t = fabsf(x);
    float q, p;

    t = t > 14.25f ? 14.25f : t;
    /* (1 - Phi(t)) exp(t^2/2) (1 + t) as a polynomial in (t - 3.5)/(t + 3.5) */
    q = (t - 3.5f) / (t + 3.5f);
    p = 1.464704546e-4f;
    p = p * q + 9.323472477e-5f;
    p = p * q - 1.388608478e-3f;
    p = p * q + 2.954129304e-4f;
    p = p * q + 1.037224662e-2f;
    p = p * q - 3.026333265e-2f;
    p = p * q + 3.804837912e-2f;
    p = p * q + 7.873860886e-4f;
    p = p * q - 9.771259129e-2f;
    p = p * q + 4.785531759e-1f;
    p = p / (1.0f + t) * dmq_cpu_density_part(t);
    return x < 0.0f ? p : 1.0f - p;
}

DMQ_INLINE float dmq_cpu_gelu(float x)
{
    return x * dmq_cpu_phi(x);
}

/** d gelu / dx = Phi(x) + x phi(x). */
DMQ_INLINE float dmq_cpu_gelu_slope(float x)
{
    float t = fabsf(x);

    t = t > 14.25f ? 14.25f : t;
    return dmq_cpu_phi(x) + x * (0.398942280f * dmq_cpu_density_part(t));
}

DMQ_INLINE float dmq_cpu_gelu_tanh(float x)
{
    return x * dmq_cpu_sigmoid(1.59576912f * (x + 0.044715f * (x * x * x)));
}

/** s + x s (1 - s) 2 u'; s (1 - s) by e = exp(-|2 u|), since 1 - s loses what x u' multiplies. */
DMQ_INLINE float dmq_cpu_gelu_tanh_slope(float x)
{
    float at = 1.59576912f * (x + 0.044715f * (x * x * x));
    float e = dmq_cpu_exp(-fabsf(at)), sum = 1.0f + e;

    return (at < 0.0f ? e : 1.0f) / sum +
           x * (e / (sum * sum)) * (1.59576912f * (1.0f + 0.134145f * (x * x)));
}

/** x^p = 2^(p e) 2^(p log2 m), x = 2^e m; the whole part of p e + p log2 m is taken off before rounding. */
DMQ_INLINE float dmq_cpu_pow(float x, float p)
{
    const float shifter = 12582912.0f;
    uint32_t bits = dmq_cpu_to_bits(x);
    /* m in [sqrt(1/2), sqrt(2)) */
    uint32_t e = (bits - 0x3f3504f3u) & 0xff800000u;
    float m = dmq_cpu_from_bits(bits - e), k = (float)((int32_t)e >> 23);
    float s = (m - 1.0f) / (m + 1.0f), z = s * s;
    float log_m =
        s * (2.885390080f + z * (9.617988537e-1f + z * (5.767138337e-1f + z * 4.317483409e-1f)));
    /* the first part of p times a whole number below 2^8 is exact */
    float p_high = dmq_cpu_from_bits(dmq_cpu_to_bits(p) & 0xffff0000u);
    float high = p_high * k, low = (p - p_high) * k + p * log_m;
    float t = high + low;
    float n, r, y;
    uint32_t whole;

    t = t < -200.0f ? -200.0f : t;
    t = t > 200.0f ? 200.0f : t;
    t += shifter;
    n = t - shifter;
    r = (high - n) + low;
    y = 1.546973482e-4f;
    y = y * r + 1.339086684e-3f;
    y = y * r + 9.618030772e-3f;
    y = y * r + 5.550357106e-2f;
    y = y * r + 2.402265108e-1f;
    y = y * r + 6.931471880e-1f;
    y = y * r + 1.0f;
    whole = dmq_cpu_to_bits(t) - dmq_cpu_to_bits(shifter);
    y *= dmq_cpu_from_bits((whole + 127u) << 23);
    y = n < -126.0f ? 0.0f : y; /* one condition a line: joined ones are not vector code */
    y = x < 1.17549435e-38f ? 0.0f : y;
    y = n > 127.0f ? INFINITY : y;
    return x == x ? y : x;
}

#endif
