/* Sampler update, plain loop. */
#include "kernels/sampler.h"
#include "kernels/sampler_math.h"

#include <assert.h>

dmq_status dmq_sampler_update_ref(dmq_queue *queue, const dmq_sampler_args *a)
{
    (void)queue;
    assert(a->z || a->coef->sigma == 0);
    assert(a->form != DMQ_MOVE_KEPT || (a->slots && a->keep));
    assert(a->eps_channels >= (a->form == DMQ_MOVE_LEARNED ? 2 : 1) * a->channels);
    assert(!a->null || (a->guided >= 1 && a->guided <= a->channels));
    for (size_t pixel = 0; pixel < a->pixels; pixel++) {
        for (int c = 0; c < a->channels; c++)
            dmq_sampler_move(a, a->coef, pixel, c);
    }
    return DMQ_OK;
}
