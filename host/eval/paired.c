#include "eval/paired.h"

#include "base/memory.h"

#include <math.h>

dmq_status dmq_paired_error(dmq_paired *out, const float *q, const float *f, size_t n, size_t per)
{
    dmq_status st = DMQ_OK;
    double *mean = NULL, squares = 0, bias = 0;

    DMQ_TRY(dmq_alloc((void **)&mean, per, sizeof *mean));
    for (size_t i = 0; i < n; i++) {
        double sum = 0;

        for (size_t j = 0; j < per; j++) {
            double d = (double)q[i * per + j] - (double)f[i * per + j];

            mean[j] += d;
            sum += d * d;
        }
        if (!isfinite(sum)) {
            st = dmq_fail(DMQ_EDATA, "paired error: image %zu is not finite", i);
            goto done;
        }
        squares += sum;
    }
    for (size_t j = 0; j < per; j++)
        bias += mean[j] / (double)n * (mean[j] / (double)n);
    out->mse = squares / ((double)n * (double)per);
    out->bias = bias / (double)per;
    out->rest = out->mse - out->bias;
    out->psnr = out->mse > 0 ? 10 * log10(4 / out->mse) : INFINITY;
done:
    dmq_free(mean);
    return st;
}
