/* Sampler update, plain loop. */
#include "kernels/sampler.h"
#include "kernels/sampler_math.h"

#include <assert.h>

dmq_status dmq_sampler_update_ref(dmq_queue *queue, const dmq_sampler_args *a)
{
    (void)queue;
    assert(a->z || a->sigma == 0);
    for (size_t i = 0; i < a->count; i++) {
        dmq_real x = a->x[i], e = a->eps[i], y;

        y = a->clip ? dmq_sampler_clipped(x, e, a->sqrt_a, a->sqrt_1ma, a->sqrt_an, a->d)
                    : dmq_sampler_linear(x, e, a->r, a->c);
        a->out[i] = a->sigma != 0 ? y + a->sigma * a->z[i] : y;
    }
    return DMQ_OK;
}
