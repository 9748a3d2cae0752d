#include "kernels/pointwise_math.h"
#include "kernels/ref_util.h"

dmq_status dmq_unary_forward_ref(dmq_queue *queue, const dmq_unary_args *a)
{
    (void)queue;
    for (size_t i = 0; i < a->count; i++)
        a->y[i] = dmq_unary(a->kind, a->x[i]);
    return DMQ_OK;
}

dmq_status dmq_unary_derive_ref(dmq_queue *queue, const dmq_unary_args *a)
{
    (void)queue;
    for (size_t i = 0; i < a->count; i++)
        dmq_ref_put(a->out + i, dmq_unary_slope(a->kind, a->x[i]) * a->v[i], a->add);
    return DMQ_OK;
}

dmq_status dmq_geglu_forward_ref(dmq_queue *queue, const dmq_geglu_args *a)
{
    (void)queue;
    for (ptrdiff_t i = 0; i < a->rows; i++) {
        const dmq_real *left = a->x + i * 2 * a->d, *gate = left + a->d;

        for (ptrdiff_t j = 0; j < a->d; j++)
            a->y[i * a->d + j] = left[j] * dmq_gelu(gate[j]);
    }
    return DMQ_OK;
}

dmq_status dmq_geglu_backward_ref(dmq_queue *queue, const dmq_geglu_args *a)
{
    (void)queue;
    for (ptrdiff_t i = 0; i < a->rows; i++) {
        const dmq_real *left = a->x + i * 2 * a->d, *gate = left + a->d;
        dmq_real *dleft = a->dx + i * 2 * a->d, *dgate = dleft + a->d;

        for (ptrdiff_t j = 0; j < a->d; j++) {
            dmq_real dy = a->dy[i * a->d + j];

            dmq_ref_put(dleft + j, dy * dmq_gelu(gate[j]), a->add);
            dmq_ref_put(dgate + j, dy * left[j] * dmq_gelu_derive(gate[j]), a->add);
        }
    }
    return DMQ_OK;
}

dmq_status dmq_geglu_jvp_ref(dmq_queue *queue, const dmq_geglu_args *a)
{
    (void)queue;
    for (ptrdiff_t i = 0; i < a->rows; i++) {
        const dmq_real *left = a->x + i * 2 * a->d, *gate = left + a->d;
        const dmq_real *left_tan = a->x_tan + i * 2 * a->d, *gate_tan = left_tan + a->d;

        for (ptrdiff_t j = 0; j < a->d; j++) {
            a->y_tan[i * a->d + j] =
                left_tan[j] * dmq_gelu(gate[j]) + left[j] * dmq_gelu_derive(gate[j]) * gate_tan[j];
        }
    }
    return DMQ_OK;
}

static ptrdiff_t offset(const ptrdiff_t stride[3], int i, int j, int l)
{
    return i * stride[0] + j * stride[1] + l * stride[2];
}

#define FOR_ELEMENTS(dim)                  \
    for (int i = 0; i < (dim)[0]; i++)     \
        for (int j = 0; j < (dim)[1]; j++) \
            for (int l = 0; l < (dim)[2]; l++)

dmq_status dmq_binary_forward_ref(dmq_queue *queue, const dmq_binary_args *a)
{
    dmq_real *y = a->y;

    (void)queue;
    FOR_ELEMENTS(a->dim)
    {
        dmq_real p = a->p[offset(a->stride_p, i, j, l)];
        dmq_real q = a->q[offset(a->stride_q, i, j, l)];

        dmq_ref_put(y++, a->kind == DMQ_ADD ? p + q : p * q, a->add);
    }
    return DMQ_OK;
}

/* One side's gradient: dy, times the other side of a product, summed over the axes that repeat. */
static void backward_side(dmq_real *d, const ptrdiff_t stride[3], int add, const dmq_real *other,
                          const ptrdiff_t other_stride[3], const dmq_binary_args *a)
{
    const dmq_real *dy = a->dy;
    int own[3];

    for (int axis = 0; axis < 3; axis++)
        own[axis] = stride[axis] == 0 ? 1 : a->dim[axis];
    if (!add) {
        FOR_ELEMENTS(own)
        d[offset(stride, i, j, l)] = 0;
    }
    FOR_ELEMENTS(a->dim)
    {
        dmq_real slope = a->kind == DMQ_ADD ? 1 : other[offset(other_stride, i, j, l)];

        d[offset(stride, i, j, l)] += slope * *dy++;
    }
}

dmq_status dmq_binary_backward_ref(dmq_queue *queue, const dmq_binary_args *a)
{
    (void)queue;
    if (a->dp)
        backward_side(a->dp, a->stride_p, a->add_p, a->q, a->stride_q, a);
    if (a->dq)
        backward_side(a->dq, a->stride_q, a->add_q, a->p, a->stride_p, a);
    return DMQ_OK;
}

dmq_status dmq_axpby_ref(dmq_queue *queue, const dmq_axpby_args *a)
{
    const dmq_real *z = a->z ? a->z : a->y;

    (void)queue;
    for (size_t i = 0; i < a->count; i++) {
        dmq_real scaled = a->alpha * a->x[i];

        a->y[i] = a->beta == 0 ? scaled : scaled + a->beta * z[i];
    }
    return DMQ_OK;
}

dmq_status dmq_fill_ref(dmq_queue *queue, const dmq_fill_args *a)
{
    (void)queue;
    for (size_t i = 0; i < a->count; i++)
        a->y[i] = a->value;
    return DMQ_OK;
}
