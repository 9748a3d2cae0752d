#include "eval/interval.h"

#include "kernels/noise.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

void dmq_bootstrap_draw(uint32_t *index, size_t first, size_t n, const dmq_bootstrap *how, int b)
{
    uint32_t word[4];

    assert(first + n <= UINT32_MAX);
    for (size_t i = 0; i < n; i++) {
        size_t at = first + i;

        if (i == 0 || at % 4 == 0)
            dmq_philox(word, how->seed, DMQ_FOR_BOOTSTRAP, (uint64_t)b, 0, (uint32_t)(at / 4));
        index[i] = (uint32_t)((uint64_t)word[at % 4] * n >> 32);
    }
}

static int ascending(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static double quantile(const double *sorted, int n, double q)
{
    double place = q * (n - 1);
    int low = (int)floor(place), high = low + 1 < n ? low + 1 : low;

    return sorted[low] + (sorted[high] - sorted[low]) * (place - low);
}

void dmq_interval_of(dmq_interval *out, double *values, const dmq_bootstrap *how)
{
    int n = how->resamples;
    double sum = 0;

    assert(n >= 1 && how->level > 0 && how->level < 1);
    for (int i = 0; i < n; i++)
        sum += values[i];
    qsort(values, (size_t)n, sizeof *values, ascending);
    out->mean = sum / n;
    out->low = quantile(values, n, (1 - how->level) / 2);
    out->high = quantile(values, n, (1 + how->level) / 2);
}
