/* Philox numbers: normals of a batch, and words, uniforms and permutations for host code. */
#include "kernels/noise.h"
#include "kernels/noise_math.h"

#include <Random123/philox.h>
#include <assert.h>

void dmq_philox(uint32_t out[4], uint64_t seed, dmq_purpose purpose, uint64_t sample, uint32_t step,
                uint32_t block)
{
    philox4x32_ctr_t counter = { { block, step, (uint32_t)sample, (uint32_t)(sample >> 32) } };
    philox4x32_key_t key = { { (uint32_t)seed, (uint32_t)(seed >> 32) ^ (uint32_t)purpose } };
    philox4x32_ctr_t words = philox4x32_R(10, counter, key);

    for (int i = 0; i < 4; i++)
        out[i] = words.v[i];
}

/* Where element e, numbered as in (C, H, W), lies. */
static size_t place(const dmq_noise_args *a, size_t e)
{
    size_t c, hw;

    if (a->channels <= 0)
        return e;
    c = (size_t)a->channels;
    hw = a->per / c;
    return (e % hw) * c + e / hw;
}

dmq_status dmq_noise_normal_ref(dmq_queue *queue, const dmq_noise_args *a)
{
    uint32_t step = a->step_now ? (uint32_t)*a->step_now : a->step;

    (void)queue;
    assert(a->channels <= 0 || a->per % (size_t)a->channels == 0);
    assert(a->per / 4 <= UINT32_MAX);
    for (int i = 0; i < a->n; i++) {
        uint64_t sample = a->sample ? a->sample[i] : a->first + (uint64_t)i;
        dmq_real *out = a->out + (size_t)i * a->per;

        for (size_t e = 0; e < a->per; e += 4) {
            uint32_t w[4];
            double z[4];

            dmq_philox(w, a->seed, a->purpose, sample, step, (uint32_t)(e / 4));
            dmq_noise_pair(&z[0], &z[1], dmq_noise_open(w[0]), dmq_noise_open(w[1]));
            dmq_noise_pair(&z[2], &z[3], dmq_noise_open(w[2]), dmq_noise_open(w[3]));
            for (size_t k = 0; k < 4 && e + k < a->per; k++)
                out[place(a, e + k)] = (dmq_real)z[k];
        }
    }
    return DMQ_OK;
}

double dmq_uniform(uint64_t seed, dmq_purpose purpose, uint64_t sample, uint32_t step, uint32_t i)
{
    uint32_t w[4];
    uint64_t bits;

    dmq_philox(w, seed, purpose, sample, step, i / 2);
    bits = (uint64_t)w[2 * (i % 2)] << 32 | w[2 * (i % 2) + 1];
    return (double)(bits >> 11) * 0x1p-53;
}

void dmq_permutation(int *out, int n, uint64_t seed, dmq_purpose purpose, uint64_t sample,
                     uint32_t step)
{
    for (int i = 0; i < n; i++)
        out[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int j = (int)(dmq_uniform(seed, purpose, sample, step, (uint32_t)i) * (double)(i + 1));
        int kept = out[i];

        out[i] = out[j];
        out[j] = kept;
    }
}
