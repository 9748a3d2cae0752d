/**
 * Two normal numbers from two words, by operations that IEEE 754 rounds exactly (+, -, *, /, sqrt,
 * rint): the same bits from the reference, from vector code and from a device (which must not
 * contract a*b + c). Against the mathematical value: 1e-14 before the rounding to float.
 */
#ifndef DMQ_KERNELS_NOISE_MATH_H
#define DMQ_KERNELS_NOISE_MATH_H

#include "kernels/kernel.h"

#include <string.h>

#define DMQ_LN2 0.69314718055994530942
#define DMQ_PI  3.14159265358979323846

/** (word + 0.5) 2^-32, in (0, 1), exact. */
DMQ_HD double dmq_noise_open(uint32_t word)
{
    return ((double)word + 0.5) * 0x1p-32;
}

/** ln u of a normal number: u = 2^k f with f in [2/3, 4/3], ln f = 2 atanh((f-1)/(f+1)) by its series. */
DMQ_HD double dmq_noise_log(double u)
{
    uint64_t bits, one = (uint64_t)1023 << 52;
    double m, e, f, k, s, z, p;
    int high;

    memcpy(&bits, &u, sizeof bits);
    e = (double)(int)(bits >> 52) - 1023.0;
    bits = (bits & (((uint64_t)1 << 52) - 1)) | one;
    memcpy(&m, &bits, sizeof m);
    high = m > 4.0 / 3.0;
    f = high ? 0.5 * m : m;
    k = high ? e + 1.0 : e;
    s = (f - 1.0) / (f + 1.0);
    z = s * s;
    p = 1.0 / 23.0;
    p = p * z + 1.0 / 21.0;
    p = p * z + 1.0 / 19.0;
    p = p * z + 1.0 / 17.0;
    p = p * z + 1.0 / 15.0;
    p = p * z + 1.0 / 13.0;
    p = p * z + 1.0 / 11.0;
    p = p * z + 1.0 / 9.0;
    p = p * z + 1.0 / 7.0;
    p = p * z + 1.0 / 5.0;
    p = p * z + 1.0 / 3.0;
    return k * DMQ_LN2 + (2.0 * s + 2.0 * s * (z * p));
}

/** sin of an angle in [-pi/4, pi/4]. */
DMQ_HD double dmq_noise_sin(double t)
{
    double z = t * t, p;

    p = 1.0 / 355687428096000.0; /* 1/17!, alternating down to 1/3! */
    p = p * z - 1.0 / 1307674368000.0;
    p = p * z + 1.0 / 6227020800.0;
    p = p * z - 1.0 / 39916800.0;
    p = p * z + 1.0 / 362880.0;
    p = p * z - 1.0 / 5040.0;
    p = p * z + 1.0 / 120.0;
    p = p * z - 1.0 / 6.0;
    return t + t * (z * p);
}

/** cos of an angle in [-pi/4, pi/4]. */
DMQ_HD double dmq_noise_cos(double t)
{
    double z = t * t, p;

    p = 1.0 / 20922789888000.0; /* 1/16!, alternating down to 1/2! */
    p = p * z - 1.0 / 87178291200.0;
    p = p * z + 1.0 / 479001600.0;
    p = p * z - 1.0 / 3628800.0;
    p = p * z + 1.0 / 40320.0;
    p = p * z - 1.0 / 720.0;
    p = p * z + 1.0 / 24.0;
    p = p * z - 1.0 / 2.0;
    return 1.0 + z * p;
}

/** Box-Muller: sqrt(-2 ln u) (cos, sin)(2 pi v), u and v in (0, 1). */
DMQ_HD void dmq_noise_pair(double *a, double *b, double u, double v)
{
    double r = sqrt(-2.0 * dmq_noise_log(u));
    double q = rint(4.0 * v), t = 2.0 * DMQ_PI * (v - 0.25 * q); /* exact difference, |t| <= pi/4 */
    double s = dmq_noise_sin(t), c = dmq_noise_cos(t);
    int odd = q == 1.0 || q == 3.0;
    double x = odd ? s : c, y = odd ? c : s; /* a quarter turn swaps them */

    *a = r * (q == 1.0 || q == 2.0 ? -x : x);
    *b = r * (q == 2.0 || q == 3.0 ? -y : y);
}

#endif
