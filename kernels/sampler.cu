/* The sampler's update on the device: 12 bytes an element, 16 with noise, read and written once for all the
   passes of a network. The same expression as the host's, not contracted: the same bits. */
#include "kernels/map.cuh"

extern "C" {
#include "kernels/sampler.h"
#include "kernels/sampler_math.h"
}

static __global__ void __launch_bounds__(DMQ_MAP_BLOCK)
    update(dmq_sampler_args a, dmq_divider channels, size_t count)
{
    const dmq_sampler_coef k = *a.coef;

    DMQ_EACH_INDEX(i, count)
    {
        unsigned channel, pixel = dmq_divide((unsigned)i, &channel, channels);

        dmq_sampler_move(&a, &k, pixel, (int)channel);
    }
}

DMQ_DEVICE(dmq_sampler_update)(dmq_queue *queue, const dmq_sampler_args *a)
{
    size_t count = a->pixels * (size_t)a->channels;
    dmq_status st = dmq_map_fits("sampler", count);

    if (st != DMQ_OK || count == 0)
        return st;
    return DMQ_LAUNCH(update, dmq_map_grid((count + DMQ_MAP_BLOCK - 1) / DMQ_MAP_BLOCK),
                      DMQ_MAP_BLOCK, 0, queue, *a, dmq_divider_of((size_t)a->channels), count);
}
