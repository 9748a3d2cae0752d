#include "eval/bounded.h"

#include "backend/cpu_math.h"

#include <math.h>

#define LARGEST 0x1p24f

DMQ_CLONES static int bounded(const float *x, size_t n)
{
    int out = 0;

    for (size_t i = 0; i < n; i++)
        out |= !(fabsf(x[i]) < LARGEST);
    return !out;
}

dmq_status dmq_features_bounded(const char *what, const float *x, size_t rows, size_t d,
                                size_t first)
{
    for (size_t i = 0; i < rows; i++) {
        size_t j = 0;
        double value;

        if (bounded(x + i * d, d))
            continue;
        while (fabsf(x[i * d + j]) < LARGEST)
            j++;
        value = (double)x[i * d + j];
        return dmq_fail(DMQ_EDATA, "%s%sfeatures: row %zu %s: number %zu is %g", what,
                        *what ? " " : "", first + i,
                        isfinite(value) ? "is not below 2^24" : "is not finite", j, value);
    }
    return DMQ_OK;
}
