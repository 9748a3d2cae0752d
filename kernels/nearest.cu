/* The nearest of n codes on the device: a thread a row, codes by tiles through shared memory.

   4096 rows against 8192 codes of 3 numbers are 0.3 GFLOP and 96 KB of codes, beside 670 GFLOP of the decoder
   behind it: what counts is that each thread sees the codes in their order, so that ties go to the first one,
   and that no sum is contracted or reordered. */
#include "kernels/device.cuh"

extern "C" {
#include "kernels/nearest.h"
#include "kernels/nearest_math.h"
}

#ifdef DMQ_SIMT
enum { BLOCK = 32, TILE = 8 };
#else
enum { BLOCK = 64, TILE = 512 };
#endif

/* A tile is as many codes as fit in TILE packs of 4 numbers, at least one: codes, then their squares. */
static inline int codes_of_tile(int d)
{
    return d < 4 * TILE ? 4 * TILE / d : 1;
}

static __global__ void nearest(dmq_nearest_args a, int tile)
{
    DMQ_SHARED(dmq_real, code);
    dmq_real *square = code + (size_t)tile * a.d;

    for (size_t first = (size_t)blockIdx.x * BLOCK; first < (size_t)a.rows;
         first += (size_t)gridDim.x * BLOCK) {
        size_t i = first + threadIdx.x;
        int here = i < (size_t)a.rows, found = 0;
        const dmq_real *x = a.x + (here ? i : 0) * a.d;
        dmq_real xx = dmq_nearest_dot(x, x, a.d), best = INFINITY;

        for (int from = 0; from < a.n; from += tile) {
            int count = a.n - from < tile ? a.n - from : tile;

            __syncthreads(); /* the tile before has been read */
            for (int k = (int)threadIdx.x; k < count * a.d; k += BLOCK)
                code[k] = a.code[(size_t)from * a.d + k];
            __syncthreads();
            for (int j = (int)threadIdx.x; j < count; j += BLOCK)
                square[j] = dmq_nearest_dot(code + j * a.d, code + j * a.d, a.d);
            __syncthreads();
            for (int j = 0; j < count; j++) {
                dmq_real distance =
                    dmq_nearest_distance(xx, square[j], dmq_nearest_dot(x, code + j * a.d, a.d));

                if (dmq_nearest_takes(distance, best)) {
                    best = distance;
                    found = from + j;
                }
            }
        }
        for (int k = 0; here && a.y && k < a.d; k++)
            a.y[i * a.d + k] = dmq_nearest_value(a.code[(size_t)found * a.d + k], best);
        if (here && a.index)
            a.index[i] = found;
    }
}

DMQ_DEVICE(dmq_nearest)(dmq_queue *queue, const dmq_nearest_args *a)
{
    int tile = codes_of_tile(a->d);
    size_t bytes = (size_t)tile * (size_t)(a->d + 1) * sizeof(dmq_real);

    if (bytes > 48 << 10) {
        return dmq_fail(DMQ_ENOTSUP, "nearest: codes of %d numbers, the device takes up to %d",
                        a->d, (48 << 10) / (int)sizeof(dmq_real) - 1);
    }
    return DMQ_LAUNCH(nearest, dmq_grid((size_t)a->rows, BLOCK), BLOCK, bytes, queue, *a, tile);
}
