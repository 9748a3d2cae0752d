#include "calib/batch.h"

#include "kernels/noise.h"

#include <assert.h>

void dmq_batch_draw(int *out, int n, const int *from, int n_from, uint64_t seed, uint64_t unit,
                    uint32_t iteration)
{
    assert(n >= 1 && n <= n_from);
    for (int i = 0; i < n; i++) {
        int top = n_from - n + i, seen = 0;
        int at = (int)(dmq_uniform(seed, DMQ_FOR_BATCH, unit, iteration, (uint32_t)i) * (top + 1));

        for (int k = 0; k < i; k++)
            seen |= out[k] == at;
        out[i] = seen ? top : at;
    }
    for (int i = 0; i < n; i++)
        out[i] = from[out[i]];
}
