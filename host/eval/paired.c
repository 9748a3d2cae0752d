#include "eval/paired.h"

#include "base/memory.h"

#include <math.h>

dmq_status dmq_paired_create(dmq_paired_sum **out, size_t per)
{
    dmq_status st = DMQ_OK;
    dmq_paired_sum *s = NULL;

    DMQ_TRY(dmq_alloc((void **)&s, 1, sizeof *s));
    s->per = per;
    DMQ_TRY(dmq_alloc((void **)&s->difference, per, sizeof *s->difference));
    *out = s;
    s = NULL;
done:
    dmq_paired_destroy(s);
    return st;
}

void dmq_paired_destroy(dmq_paired_sum *sum)
{
    if (!sum)
        return;
    dmq_free(sum->difference);
    dmq_free(sum);
}

dmq_status dmq_paired_add(dmq_paired_sum *s, const float *q, const float *f, size_t n)
{
    for (size_t i = 0; i < n; i++, s->n++) {
        double sum = 0;

        for (size_t j = 0; j < s->per; j++) {
            double d = (double)q[i * s->per + j] - (double)f[i * s->per + j];

            s->difference[j] += d;
            sum += d * d;
        }
        if (!isfinite(sum))
            return dmq_fail(DMQ_EDATA, "paired error: image %zu is not finite", s->n);
        s->squares += sum;
    }
    return DMQ_OK;
}

void dmq_paired_result(dmq_paired *out, const dmq_paired_sum *s)
{
    double n = (double)s->n, bias = 0;

    for (size_t j = 0; j < s->per; j++)
        bias += s->difference[j] / n * (s->difference[j] / n);
    out->mse = s->squares / (n * (double)s->per);
    out->bias = bias / (double)s->per;
    out->rest = out->mse - out->bias;
    out->psnr = out->mse > 0 ? 10 * log10(4 / out->mse) : INFINITY;
}

dmq_status dmq_paired_error(dmq_paired *out, const float *q, const float *f, size_t n, size_t per)
{
    dmq_status st = DMQ_OK;
    dmq_paired_sum *s = NULL;

    DMQ_TRY(dmq_paired_create(&s, per));
    DMQ_TRY(dmq_paired_add(s, q, f, n));
    dmq_paired_result(out, s);
done:
    dmq_paired_destroy(s);
    return st;
}
