/* Normal numbers: words by the generator, Box-Muller as vector code; the same bits as the reference. */
#include "backend/cpu_math.h"
#include "backend/cpu_quant.h"
#include "kernels/noise_math.h"

#include <assert.h>

enum { BLOCK = 128 }; /* calls of the generator at a time, four words each */

DMQ_CLONES static void box_muller(float *out, const double *u, const double *v, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double a, b;

        dmq_noise_pair(&a, &b, u[i], v[i]);
        out[2 * i] = (float)a;
        out[2 * i + 1] = (float)b;
    }
}

/* Element e, numbered as in (C, H, W), goes to (H, W, C). */
static void scatter(const dmq_noise_args *a, float *out, const float *z, size_t first, size_t count)
{
    size_t c = (size_t)a->channels, hw = a->per / c;
    size_t channel = first / hw, pixel = first % hw;

    for (size_t k = 0; k < count; k++) {
        out[pixel * c + channel] = z[k];
        if (++pixel == hw) {
            pixel = 0;
            channel++;
        }
    }
}

dmq_status dmq_noise_normal_cpu(dmq_queue *queue, const dmq_noise_args *a)
{
    uint32_t step = a->step_now ? (uint32_t)*a->step_now : a->step;

    (void)queue;
    assert(a->channels <= 0 || a->per % (size_t)a->channels == 0);
    assert(a->per / 4 <= UINT32_MAX);
    for (int i = 0; i < a->n; i++) {
        uint64_t sample = a->sample ? a->sample[i] : a->first + (uint64_t)i;
        float *out = a->out + (size_t)i * a->per;

        for (size_t e = 0; e < a->per; e += 4 * BLOCK) {
            size_t count = a->per - e < 4 * BLOCK ? a->per - e : 4 * BLOCK;
            size_t calls = (count + 3) / 4;
            double u[2 * BLOCK], v[2 * BLOCK];
            float z[4 * BLOCK];

            for (size_t k = 0; k < calls; k++) {
                uint32_t w[4];

                dmq_philox(w, a->seed, a->purpose, sample, step, (uint32_t)(e / 4 + k));
                u[2 * k] = dmq_noise_open(w[0]);
                v[2 * k] = dmq_noise_open(w[1]);
                u[2 * k + 1] = dmq_noise_open(w[2]);
                v[2 * k + 1] = dmq_noise_open(w[3]);
            }
            box_muller(z, u, v, 2 * calls);
            if (a->channels > 0) {
                scatter(a, out, z, e, count);
            } else {
                memcpy(out + e, z, count * sizeof *z);
            }
        }
    }
    return DMQ_OK;
}
