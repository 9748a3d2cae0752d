#include "backend/cpu_winograd.h"
#include "backend/cpu_math.h"

#include <string.h>

enum { B = DMQ_BLOCK, TAPS = 9, POINTS = 6 };

/* 16 numbers as one: the compiler splits it into what registers there are. */
typedef float lanes __attribute__((vector_size(B * sizeof(float))));

/* A row of G at a point p is (1, p, p^2) / prod (p - others); at infinity (0, 0, 1). */
#define P1 0.625
#define P2 1.5
#define N0 (P1 * P1 * P2 * P2)
#define N1 (2 * P1 * P1 * (P1 * P1 - P2 * P2))
#define N2 (2 * P2 * P2 * (P2 * P2 - P1 * P1))

/* out = G (g0, g1, g2)^T for 16 output channels at once */
DMQ_INLINE void expand(lanes out[POINTS], const lanes *g0, const lanes *g1, const lanes *g2)
{
    lanes even1 = *g0 * (float)(1 / N1) + *g2 * (float)(P1 * P1 / N1);
    lanes even2 = *g0 * (float)(1 / N2) + *g2 * (float)(P2 * P2 / N2);
    lanes odd1 = *g1 * (float)(P1 / N1), odd2 = *g1 * (float)(P2 / N2);

    out[0] = *g0 * (float)(1 / N0);
    out[1] = even1 + odd1;
    out[2] = even1 - odd1;
    out[3] = even2 + odd2;
    out[4] = even2 - odd2;
    out[5] = *g2;
}

/* Taps of 16 x 16 channels as (tap, c, k). */
DMQ_INLINE void gather(lanes taps[TAPS][B], const dmq_winograd_layout *layout, const float *w,
                       int k, int c, int turned)
{
    size_t width = (size_t)(turned ? layout->k : layout->c);

    for (int t = 0; t < TAPS; t++) {
        if (turned) {
            const float *from = w + ((size_t)c * TAPS + (size_t)(TAPS - 1 - t)) * width + k;

            for (int i = 0; i < B; i++)
                memcpy(&taps[t][i], from + (size_t)i * TAPS * width, sizeof(lanes));
        } else {
            const float *from = w + ((size_t)k * TAPS + (size_t)t) * width + c;

            for (int o = 0; o < B; o++)
                for (int i = 0; i < B; i++)
                    taps[t][i][o] = from[(size_t)o * TAPS * width + (size_t)i];
        }
    }
}

/* U = G g G^T: first over the rows of taps, then over their columns. */
DMQ_INLINE void transform(lanes out[POINTS * POINTS][B], lanes taps[TAPS][B])
{
    for (int i = 0; i < B; i++) {
        lanes rows[3][POINTS], point[POINTS];

        for (int s = 0; s < 3; s++)
            expand(rows[s], &taps[s][i], &taps[3 + s][i], &taps[6 + s][i]);
        for (int a = 0; a < POINTS; a++) {
            expand(point, &rows[0][a], &rows[1][a], &rows[2][a]);
            for (int b = 0; b < POINTS; b++)
                out[a * POINTS + b][i] = point[b];
        }
    }
}

DMQ_CLONES
static void weights_block(lanes u[POINTS * POINTS][B], const dmq_winograd_layout *layout,
                          const float *w, int k, int c, int turned)
{
    lanes taps[TAPS][B];

    if (turned)
        gather(taps, layout, w, k, c, 1);
    else
        gather(taps, layout, w, k, c, 0);
    transform(u, taps);
}

void dmq_cpu_winograd_weights(float *out, const dmq_winograd_layout *layout, const float *w,
                              int turned)
{
    int blocks_k = layout->k / B, blocks_c = layout->c / B;
    size_t plane = (size_t)blocks_c * (size_t)layout->big_k * B * B;
    lanes u[POINTS * POINTS]
           [B]; /* whole planes at a time to memory: 36 streams would evict each other */

    for (int k = 0; k < blocks_k; k++)
        for (int c = 0; c < blocks_c; c++) {
            int far_k = k / layout->big_k, near_k = k % layout->big_k;
            int far_c = c / layout->big_c, near_c = c % layout->big_c;
            size_t at =
                (((size_t)far_c * (size_t)layout->big_k + (size_t)near_k) * (size_t)layout->big_c +
                 (size_t)near_c) *
                B * B;

            weights_block(u, layout, w, k * B, c * B, turned);
            at += (size_t)far_k * POINTS * POINTS * plane;
            for (int p = 0; p < POINTS * POINTS; p++, at += plane)
                memcpy(out + at, u[p], sizeof u[p]);
        }
}

void dmq_cpu_to_blocks(float *dst, const float *src, int n, size_t hw, int c)
{
    size_t width = (size_t)c, blocks = width / B;

    for (size_t i = 0; i < (size_t)n; i++)
        for (size_t b = 0; b < blocks; b++) {
            const float *from = src + i * hw * width + b * B;
            float *to = dst + (i * blocks + b) * hw * B;

            for (size_t p = 0; p < hw; p++)
                memcpy(to + p * B, from + p * width, B * sizeof *to);
        }
}

DMQ_CLONES
static void from_block(float *to, const float *from, size_t hw, size_t width, int add)
{
    for (size_t p = 0; p < hw; p++, to += width, from += B) {
        if (!add) {
            memcpy(to, from, B * sizeof *to);
            continue;
        }
        for (size_t l = 0; l < B; l++)
            to[l] += from[l];
    }
}

void dmq_cpu_from_blocks(float *dst, const float *src, int n, size_t hw, int c, int add)
{
    size_t width = (size_t)c, blocks = width / B;

    for (size_t i = 0; i < (size_t)n; i++)
        for (size_t b = 0; b < blocks; b++)
            from_block(dst + i * hw * width + b * B, src + (i * blocks + b) * hw * B, hw, width,
                       add);
}
