/* Normal numbers on the device: a thread calls the generator once and has four of them.

   4 bytes written a number, nothing read. What bounds it is arithmetic: the bits of the host want logarithm
   and angle in double without contraction, about 65 double operations a number; at 64 a cycle and
   multiprocessor that is 0.9 TB/s of numbers, and a batch of 256 images of 32x32 takes 4 us. */
#include "kernels/map.cuh"

#include <Random123/philox.h>

extern "C" {
#include "kernels/noise.h"
#include "kernels/noise_math.h"
}

struct stream {
    dmq_noise_args a;
    dmq_divider calls, hw; /* of the generator for a sample; pixels of a channel */
    int wide;
};

static __device__ dmq_pack<4> four_normals(const dmq_noise_args &a, uint64_t sample, unsigned call)
{
    uint32_t step = a.step_now ? (uint32_t)*a.step_now : a.step;
    philox4x32_ctr_t counter = { { call, step, (uint32_t)sample, (uint32_t)(sample >> 32) } };
    philox4x32_key_t key = { { (uint32_t)a.seed, (uint32_t)(a.seed >> 32) ^ (uint32_t)a.purpose } };
    philox4x32_ctr_t w = philox4x32_R(10, counter, key);
    dmq_pack<4> z;

    for (int k = 0; k < 4; k += 2) {
        double u, v;

        dmq_noise_pair(&u, &v, dmq_noise_open(w.v[k]), dmq_noise_open(w.v[k + 1]));
        z.at[k] = (dmq_real)u;
        z.at[k + 1] = (dmq_real)v;
    }
    return z;
}

static __global__ void __launch_bounds__(DMQ_MAP_BLOCK) normal(stream s, size_t count)
{
    const dmq_noise_args &a = s.a;

    DMQ_EACH_INDEX(i, count)
    {
        unsigned call, n = dmq_divide((unsigned)i, &call, s.calls);
        dmq_pack<4> z = four_normals(a, a.sample ? a.sample[n] : a.first + n, call);
        dmq_real *out = a.out + (size_t)n * a.per;

        if (s.wide) {
            dmq_store<4>(out, call, z);
            continue;
        }
        for (unsigned k = 0; k < 4 && (size_t)call * 4 + k < a.per; k++) {
            unsigned e = call * 4 + k;

            if (a.channels > 0) { /* numbered as in (C, H, W), lies as (H, W, C) */
                unsigned pixel, c = dmq_divide(e, &pixel, s.hw);

                out[(size_t)pixel * (unsigned)a.channels + c] = z.at[k];
            } else {
                out[e] = z.at[k];
            }
        }
    }
}

DMQ_DEVICE(dmq_noise_normal)(dmq_queue *queue, const dmq_noise_args *a)
{
    size_t calls = (a->per + 3) / 4, count = (size_t)a->n * calls;
    dmq_status st = dmq_map_fits("noise", count > a->per ? count : a->per);
    stream s;

    if (st != DMQ_OK || count == 0)
        return st;
    s.a = *a;
    s.calls = dmq_divider_of(calls);
    s.hw = dmq_divider_of(a->channels > 0 ? a->per / (size_t)a->channels : 1);
    s.wide = a->channels <= 0 && a->per % 4 == 0 && dmq_aligned(a->out);
    return DMQ_LAUNCH(normal, dmq_map_grid((count + DMQ_MAP_BLOCK - 1) / DMQ_MAP_BLOCK),
                      DMQ_MAP_BLOCK, 0, queue, s, count);
}
