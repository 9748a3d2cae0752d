/* Nearest codes, LANES codes at a time. The codes are turned around once a call, so that the same number of
   neighbouring codes lies side by side; each lane then takes the steps of the reference in its order. */
#include "backend/cpu.h"
#include "backend/cpu_math.h"
#include "kernels/nearest_math.h"

enum { LANES = 64 };

/* (n, d) -> blocks of d rows of LANES numbers and a row of squares. What fills the last block up is never
   the least: a square of infinity. */
static void turn(float *out, const dmq_nearest_args *a)
{
    size_t d = (size_t)a->d, n = (size_t)a->n;

    for (size_t first = 0; first < n; first += LANES, out += (d + 1) * LANES) {
        for (size_t l = 0; l < LANES; l++) {
            size_t j = first + l < n ? first + l : n - 1;
            const float *e = a->code + j * d;

            for (size_t k = 0; k < d; k++)
                out[k * LANES + l] = e[k];
            out[d * LANES + l] = first + l < n ? dmq_nearest_dot(e, e, a->d) : INFINITY;
        }
    }
}

/* Distances of a block's codes; 1 when one of them may be taken. */
DMQ_INLINE int distances(float *distance, const float *block, const float *x, size_t d, float xx,
                         float best)
{
    const float *square = block + d * LANES;
    int takes = 0;

    for (size_t l = 0; l < LANES; l++)
        distance[l] = 0;
    for (size_t k = 0; k < d; k++) {
        for (size_t l = 0; l < LANES; l++)
            distance[l] += x[k] * block[k * LANES + l];
    }
    for (size_t l = 0; l < LANES; l++) {
        distance[l] = dmq_nearest_distance(xx, square[l], distance[l]);
        takes |= !(distance[l] >= best);
    }
    return takes;
}

DMQ_CLONES
static int search(float *best_out, const float *x, const float *block, size_t d, size_t n)
{
    float distance[LANES], best = INFINITY, xx = dmq_nearest_dot(x, x, (int)d);
    size_t found = 0;

    for (size_t first = 0; first < n; first += LANES, block += (d + 1) * LANES) {
        size_t count = n - first < LANES ? n - first : LANES;

        if (!distances(distance, block, x, d, xx, best))
            continue;
        for (size_t l = 0; l < count; l++) {
            if (dmq_nearest_takes(distance[l], best)) {
                best = distance[l];
                found = first + l;
            }
        }
    }
    *best_out = best;
    return (int)found;
}

dmq_status dmq_nearest_cpu(dmq_queue *queue, const dmq_nearest_args *a)
{
    size_t d = (size_t)a->d, n = (size_t)a->n, blocks = (n + LANES - 1) / LANES;
    dmq_status st = DMQ_OK;
    void *memory = NULL;

    DMQ_TRY(dmq_cpu_scratch(&memory, queue, blocks * LANES * (d + 1) * sizeof(float)));
    turn(memory, a);
    for (size_t i = 0; i < (size_t)a->rows; i++) {
        float best;
        int found = search(&best, a->x + i * d, memory, d, n);

        for (size_t k = 0; a->y && k < d; k++)
            a->y[i * d + k] = dmq_nearest_value(a->code[(size_t)found * d + k], best);
        if (a->index)
            a->index[i] = found;
    }
done:
    return st;
}
