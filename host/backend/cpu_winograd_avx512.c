/* Winograd's convolution in registers of 16 numbers. */
#include "backend/cpu_winograd_code.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#pragma GCC target("avx512f")

enum { WIDTH = 16, BLOCK = 8 };
typedef float vec __attribute__((vector_size(WIDTH * sizeof(float))));

#define INLINE static inline __attribute__((always_inline))

/* a b + c, rounded once */
INLINE vec madd(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

INLINE vec all(float x)
{
    return _mm512_set1_ps(x);
}

/* 0 where x <= 0; a NaN stays */
INLINE vec positive(vec x)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NLE_UQ), x);
}

#include "backend/cpu_winograd_body.h"

#include "backend/cpu_winograd_line_body.h"

const dmq_winograd_code dmq_winograd_avx512 = { .name = "winograd:avx512",
                                                .weights = weights_to_points,
                                                .convolve = convolve,
                                                .correlate = correlate,
                                                .line_weights = line_weights,
                                                .line_convolve = line_convolve,
                                                .five_weights = five_weights,
                                                .five_convolve = five_convolve };
#endif
