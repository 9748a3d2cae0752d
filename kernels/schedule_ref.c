#include "kernels/schedule.h"

#include <assert.h>
#include <string.h>

dmq_status dmq_schedule_keep_ref(dmq_queue *queue, const dmq_schedule_args *a)
{
    size_t k = (size_t)a->counter[0], n = (size_t)a->n_result;

    (void)queue;
    assert(a->counter[0] >= a->counter[1] && a->counter[0] <= a->rows);
    if (a->counter[1] && n > 0)
        memcpy(a->results + (k - 1) * n, a->result, n * sizeof *a->result);
    a->counter[1] = 0;
    return DMQ_OK;
}

dmq_status dmq_schedule_take_ref(dmq_queue *queue, const dmq_schedule_args *a)
{
    size_t k = (size_t)a->counter[0], n_index = (size_t)a->n_index, n_real = (size_t)a->n_real;

    assert(a->counter[0] >= 0 && a->counter[0] < a->rows);
    (void)dmq_schedule_keep_ref(queue, a);
    if (n_index > 0)
        memcpy(a->index_now, a->index + k * n_index, n_index * sizeof *a->index);
    if (n_real > 0)
        memcpy(a->real_now, a->real + k * n_real, n_real * sizeof *a->real);
    if (a->scalars)
        *a->scalars_now = a->scalars[k];
    a->counter[0] = (int)k + 1;
    a->counter[1] = 1;
    return DMQ_OK;
}
