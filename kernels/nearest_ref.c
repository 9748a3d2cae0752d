#include "kernels/nearest_math.h"

dmq_status dmq_nearest_ref(dmq_queue *queue, const dmq_nearest_args *a)
{
    (void)queue;
    for (ptrdiff_t i = 0; i < a->rows; i++) {
        const dmq_real *x = a->x + i * a->d, *e;
        dmq_real xx = dmq_nearest_dot(x, x, a->d), best = (dmq_real)INFINITY;
        ptrdiff_t found = 0;

        for (ptrdiff_t j = 0; j < a->n; j++) {
            dmq_real distance;

            e = a->code + j * a->d;
            distance =
                dmq_nearest_distance(xx, dmq_nearest_dot(e, e, a->d), dmq_nearest_dot(x, e, a->d));
            if (dmq_nearest_takes(distance, best)) {
                best = distance;
                found = j;
            }
        }
        e = a->code + found * a->d;
        for (ptrdiff_t k = 0; a->y && k < a->d; k++)
            a->y[i * a->d + k] = dmq_nearest_value(e[k], best);
        if (a->index)
            a->index[i] = (int)found;
    }
    return DMQ_OK;
}
