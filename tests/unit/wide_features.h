/**
 * Wide features that tests/golden/make_moments.py makes the same of: exact in float, so no file holds them.
 */
#ifndef DMQ_TESTS_WIDE_FEATURES_H
#define DMQ_TESTS_WIDE_FEATURES_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/** 24 bits of a hash of a counter (the finalizer of MurmurHash3). */
static inline double wide_word(size_t n)
{
    uint32_t h = (uint32_t)n;

    h ^= h >> 16;
    h *= UINT32_C(0x85ebca6b);
    h ^= h >> 13;
    h *= UINT32_C(0xc2b2ae35);
    h ^= h >> 16;
    return h >> 8;
}

/** Rows first .. first + n - 1 of d numbers: one of its own, and one of 8 that columns of a row share. */
static inline void wide_features(float *out, size_t first, size_t n, size_t d)
{
    for (size_t i = first; i < first + n; i++) {
        for (size_t j = 0; j < d; j++) {
            double own = floor(wide_word(i * d + j) / 65536) - 128;
            double shared = floor(wide_word(i * 8 + j % 8 + 0x40000000) / 262144) - 32;

            *out++ = (float)(own * ldexp(1, -(int)(j % 6 + 6)) + shared / 64 +
                             ldexp(1, -(int)(first % 3 + 2)));
        }
    }
}

#endif
