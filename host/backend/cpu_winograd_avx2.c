/* Winograd's convolution in registers of 8 numbers. */
#include "backend/cpu_winograd_code.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#pragma GCC target("avx2,fma")

enum { WIDTH = 8, BLOCK = 4 };
typedef float vec __attribute__((vector_size(WIDTH * sizeof(float))));

#define INLINE static inline __attribute__((always_inline))

/* a b + c, rounded once */
INLINE vec madd(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

INLINE vec all(float x)
{
    return _mm256_set1_ps(x);
}

/* 0 where x <= 0; a NaN stays */
INLINE vec positive(vec x)
{
    return _mm256_and_ps(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_NLE_UQ), x);
}

#include "backend/cpu_winograd_body.h"

#include "backend/cpu_winograd_line_body.h"

const dmq_winograd_code dmq_winograd_avx2 = { .name = "winograd:avx2",
                                              .weights = weights_to_points,
                                              .convolve = convolve,
                                              .correlate = correlate,
                                              .line_weights = line_weights,
                                              .line_convolve = line_convolve,
                                              .five_weights = five_weights,
                                              .five_convolve = five_convolve };
#endif
