/* The sampler's update on the device: 12 bytes an element, 16 with noise, each read and written once.
   The same expression as the host's, not contracted: the same bits. */
#include "kernels/map.cuh"

extern "C" {
#include "kernels/sampler.h"
#include "kernels/sampler_math.h"
}

template <bool CLIP, bool NOISE> struct update {
    dmq_sampler_args a;

    enum { depth = 4 };
    template <int W> struct held {
        dmq_pack<W> x, eps, z;
    };
    template <int W> __device__ void load(held<W> &h, size_t pack) const
    {
        h.x = dmq_load<W>(a.x, pack);
        h.eps = dmq_load<W>(a.eps, pack);
        h.z = dmq_old<W>(a.z, pack, NOISE);
    }
    template <int W> __device__ void store(held<W> &h, size_t pack) const
    {
        for (int k = 0; k < W; k++) {
            dmq_real x = h.x.at[k], e = h.eps.at[k];
            dmq_real y = CLIP ? dmq_sampler_clipped(x, e, a.sqrt_a, a.sqrt_1ma, a.sqrt_an, a.d)
                              : dmq_sampler_linear(x, e, a.r, a.c);

            h.x.at[k] = NOISE ? y + a.sigma * h.z.at[k] : y;
        }
        dmq_store<W>(a.out, pack, h.x);
    }
};

template <bool CLIP> static dmq_status run(dmq_queue *queue, const dmq_sampler_args *a)
{
    bool aligned = dmq_aligned(a->x, a->eps, a->out);
    update<CLIP, false> plain = { *a };
    update<CLIP, true> noisy = { *a };

    return a->sigma == 0 ? dmq_map(queue, plain, a->count, aligned)
                         : dmq_map(queue, noisy, a->count, aligned && dmq_aligned(a->z));
}

DMQ_DEVICE(dmq_sampler_update)(dmq_queue *queue, const dmq_sampler_args *a)
{
    return a->clip ? run<true>(queue, a) : run<false>(queue, a);
}
